//! The time that a thread spent on a core. Wall time would count what others
//! do on a busy machine, and the budgets of a campaign are in core-seconds.
//! Measures the simulator itself; a run never sees it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A stopwatch for the thread that started it.
#[derive(Clone, Copy, Debug)]
pub struct CoreClock(Duration);

impl CoreClock {
    /// Starts now.
    #[must_use]
    pub fn start() -> CoreClock {
        CoreClock(now())
    }

    /// What this thread spent since the start. On another thread it means nothing.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        now().saturating_sub(self.0)
    }
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}
