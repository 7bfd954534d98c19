//! A whole search that ends where nothing comes of it any more.

use crate::progress::Bar;
use statmux_plan::{Progress, Report};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The share of a search's time after which nothing new means that nothing will come.
const SHARE: f64 = 0.2;

/// Steps of a search that must have come to nothing besides, however slow they are.
const STEPS: u32 = 50;

/// Shows a search on the bar, and stops it when it has come to nothing for long.
pub(super) struct Patience<'b> {
    bar: &'b Bar,
    /// Absent where the search does not go by the clock: it then always does all its steps, and is repeatable.
    most: Option<Duration>,
    last: Mutex<Last>,
}

struct Last {
    at: Instant,
    attainment: f64,
    steps: u32,
}

impl<'b> Patience<'b> {
    /// For a search of so many seconds by the clock.
    pub(super) fn new(bar: &'b Bar, seconds: Option<f64>) -> Self {
        let most = seconds.map(|seconds| Duration::from_secs_f64(seconds * SHARE));
        Self { bar, most, last: Mutex::new(Last { at: Instant::now(), attainment: f64::NAN, steps: 0 }) }
    }
}

impl Progress for Patience<'_> {
    fn report(&self, report: Report<'_>) {
        self.bar.report(report);
        let mut last = self.last.lock().expect("nobody panics while holding it");
        last.steps += 1;
        // Less is new as well: the search has gone on to harder traffic.
        #[allow(clippy::float_cmp)] // The same placement on the same traffic has the very same attainment.
        if report.attainment != last.attainment {
            *last = Last { at: Instant::now(), attainment: report.attainment, steps: 0 };
        }
    }

    fn stop(&self) -> bool {
        let last = self.last.lock().expect("nobody panics while holding it");
        let long = self.most.is_some_and(|most| last.steps >= STEPS && last.at.elapsed() > most);
        long || self.bar.stop()
    }
}
