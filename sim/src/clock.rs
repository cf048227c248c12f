//! A node's own clocks: monotonic time that runs a little fast or slow and
//! starts anew with the process, and a wall clock that may be anywhere. Turns
//! true virtual time into what the node sees, and back.

use precentor_core::event::Now;
use precentor_core::time::Time;

/// 2026-01-01, in milliseconds since 1970.
const EPOCH_MS: u64 = 1_767_225_600_000;
const MILLION: u128 = 1_000_000;

/// The clocks of one life of one node.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started_us: u64,
    /// What the monotonic clock showed at the start.
    base_us: u64,
    /// Microseconds per true second: 1,000,000 if exact.
    rate: u64,
    wall_offset_ms: u64,
}

impl Clock {
    /// Clocks that start now, running `rate` microseconds in a true second.
    #[must_use]
    pub fn start(true_us: u64, base_us: u64, rate: u64, wall_offset_ms: u64) -> Clock {
        Clock {
            started_us: true_us,
            base_us,
            rate,
            wall_offset_ms,
        }
    }

    /// What the node's clocks show.
    #[must_use]
    pub fn now(&self, true_us: u64) -> Now {
        let elapsed_us = u128::from(true_us.saturating_sub(self.started_us));
        let local_us = (elapsed_us * u128::from(self.rate) / MILLION) as u64;
        Now {
            time: Time(self.base_us + local_us),
            wall_ms: EPOCH_MS + self.wall_offset_ms + true_us / 1_000,
        }
    }

    /// The first true time at which the node's clock shows at least `time`;
    /// never before `true_us`.
    #[must_use]
    pub fn when(&self, time: Time, true_us: u64) -> u64 {
        let local_us = u128::from(time.0.saturating_sub(self.base_us));
        let elapsed_us = (local_us * MILLION).div_ceil(u128::from(self.rate));
        let at_us = u64::try_from(elapsed_us).unwrap_or(u64::MAX / 2);
        self.started_us.saturating_add(at_us).max(true_us)
    }

    /// The wall clock jumps.
    pub fn set_wall_offset_ms(&mut self, wall_offset_ms: u64) {
        self.wall_offset_ms = wall_offset_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_due_when_its_time_comes_and_not_before() {
        for rate in [900_000, 999_950, 1_000_000, 1_100_000] {
            let clock = Clock::start(5_000_000, 123, rate, 0);
            for local_us in [123, 124, 1_000, 77_777, 10_000_123] {
                let due_us = clock.when(Time(local_us), 0);
                assert!(clock.now(due_us).time >= Time(local_us), "rate {rate}");
                if due_us > 5_000_000 {
                    assert!(clock.now(due_us - 1).time < Time(local_us), "rate {rate}");
                }
            }
        }
    }

    #[test]
    fn a_fast_clock_is_ahead_after_a_second() {
        let clock = Clock::start(0, 0, 1_100_000, 7);
        assert_eq!(clock.now(1_000_000).time, Time(1_100_000));
        assert_eq!(clock.now(1_000_000).wall_ms, EPOCH_MS + 7 + 1_000);
    }
}
