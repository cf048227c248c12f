//! What the programs that measure share: time on a processor, medians, and the
//! bytes that something holds. Knows nothing of what is measured, and no
//! allocator: the program that measures brings it.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What this thread has had of a processor: whatever else runs on the machine
/// must not count.
///
/// # Panics
/// If the clock of the thread goes backwards.
#[must_use]
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("a thread runs forwards");
    let nanoseconds = u64::try_from(time.tv_nsec).expect("a part of a second");
    Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}

/// The value in the middle, or between the two in the middle.
///
/// # Panics
/// If there are no values.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

/// Runs something, and tells how many bytes of what it allocated it held at once,
/// at the most.
pub type PeakBytes = fn(&mut dyn FnMut()) -> u64;

/// More than any work holds for a while beside what it leaves behind. Nobody
/// writes to it, so that it takes no memory.
const BLOCK_BYTES: usize = 512 * 1024 * 1024;

/// How many bytes some work leaves allocated.
pub fn bytes_left(peak: PeakBytes, mut work: impl FnMut()) -> u64 {
    // A peak is all that is told of what is held. With a large block at the end,
    // the peak is there: what the work left, and the block.
    let most = peak(&mut || {
        work();
        drop(black_box(Vec::<u8>::with_capacity(BLOCK_BYTES)));
    });
    most.saturating_sub(BLOCK_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES, bytes_left, median};

    #[test]
    fn a_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0, 4.0]), 3.0);
        assert_eq!(median(vec![7.0]), 7.0);
    }

    #[test]
    fn what_is_left_is_the_peak_without_the_block() {
        let mut runs = 0;
        let peak = |work: &mut dyn FnMut()| {
            work();
            BLOCK_BYTES as u64 + 40
        };
        assert_eq!(bytes_left(peak, || runs += 1), 40);
        assert_eq!(runs, 1);
    }
}
