//! How long the search may go on.

use crate::policy::{Progress, Report};
use std::time::{Duration, Instant};

/// The time a search has, and who may end it earlier. With a number of neighbours given there is no such time.
pub(super) struct Limit<'l> {
    began: Instant,
    time: Option<Duration>,
    progress: &'l dyn Progress,
}

impl<'l> Limit<'l> {
    /// The clock starts now.
    #[allow(clippy::disallowed_methods)] // The time limit is the user's; with a number of moves no clock decides.
    pub(super) fn new(time: Option<Duration>, progress: &'l dyn Progress) -> Self {
        Self { began: Instant::now(), time, progress }
    }

    /// A limit that ends with the first `share` of the time.
    pub(super) fn part(&self, share: f64) -> Self {
        Self { time: self.time.map(|time| time.mul_f64(share)), ..*self }
    }

    /// A limit that begins now and has the time that was spent times `share`, as far as so much is left.
    #[allow(clippy::disallowed_methods)] // As above.
    pub(super) fn share_of_spent(&self, share: f64) -> Self {
        let spent = self.began.elapsed();
        let some = |time: Duration| time.saturating_sub(spent).min(spent.mul_f64(share));
        Self { began: Instant::now(), time: self.time.map(some), ..*self }
    }

    /// A limit that begins now and has half of the time that is left.
    #[allow(clippy::disallowed_methods)] // As above.
    pub(super) fn half_of_rest(&self) -> Self {
        let rest = |time: Duration| time.saturating_sub(self.began.elapsed()) / 2;
        Self { began: Instant::now(), time: self.time.map(rest), ..*self }
    }

    /// Whether the time is over, or somebody asks to stop.
    pub(super) fn is_over(&self) -> bool {
        self.within(1.0).stop()
    }

    /// The first `share` of the time.
    pub(super) fn within(&'l self, share: f64) -> Within<'l> {
        Within { limit: self, share }
    }
}

/// A part of a search: it is asked to stop when its share of the time is over.
pub(super) struct Within<'l> {
    limit: &'l Limit<'l>,
    share: f64,
}

impl Progress for Within<'_> {
    fn report(&self, report: Report<'_>) {
        self.limit.progress.report(report);
    }

    fn stop(&self) -> bool {
        let over = |time: Duration| self.limit.began.elapsed() >= time.mul_f64(self.share);
        self.limit.time.is_some_and(over) || self.limit.progress.stop()
    }
}
