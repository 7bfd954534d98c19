//! The server's clock: nanoseconds since it started, and waiting for a point on it precisely.

use statmux_core::Time;
use std::time::{Duration, Instant};

/// A monotonic clock. Copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

/// Sleeping threads wake up later than asked, by this much on an idle machine; the rest is waited for awake.
const WAKE_UP: Duration = Duration::from_micros(25);

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The time since the clock started.
    pub fn now(&self) -> Time {
        Time::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long it is until `at`; zero if that has passed.
    pub fn until(&self, at: Time) -> Duration {
        Duration::from_nanos(at.since(self.now()).nanos())
    }

    /// Waits until `at`, within some ten microseconds where [`sharpen_timers`] was called on this thread.
    pub fn sleep_until(&self, at: Time) {
        loop {
            let wait = self.until(at);
            if wait.is_zero() {
                return;
            }
            if wait > WAKE_UP {
                std::thread::sleep(wait - WAKE_UP);
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

/// Asks the kernel not to round this thread's timers up (Linux does, by 50 microseconds, to save wake-ups).
pub fn sharpen_timers() {
    // A refusal costs precision only.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_timerslack(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use statmux_core::Span;

    #[test]
    fn waiting_never_ends_early() {
        let clock = Clock::start();
        sharpen_timers();
        for micros in [0, 10, 300, 2000] {
            let at = clock.now() + Span::from_nanos(micros * 1000);
            clock.sleep_until(at);
            assert!(clock.now() >= at);
        }
        assert_eq!(clock.until(Time::ZERO), Duration::ZERO);
    }
}
