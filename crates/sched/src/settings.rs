//! Everything a scheduler is told once, apart from stage times.

use crate::{Admission, AnyDiscipline, Dispatch, Feedback};
use statmux_core::Span;

/// The scheduling policies and limits of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Which group takes an arrival.
    pub dispatch: Dispatch,
    /// Whether it may run.
    pub admission: Admission,
    /// In what order.
    pub discipline: AnyDiscipline,
    /// The most requests that run together; 1 turns batching off.
    pub max_batch: u32,
    /// Added to every latency; occupies no device.
    pub fixed_overhead: Span,
    /// The most requests that may wait at once.
    pub max_waiting: usize,
    /// Whether measured times correct the profile.
    pub feedback: Feedback,
    /// How many groups a request may take down and still be run again, on any group. Beyond that it is refused, unless
    /// it ran in company: then it runs once more, alone and only on the group that was lost.
    pub retries_after_loss: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dispatch: Dispatch::default(),
            admission: Admission::default(),
            discipline: AnyDiscipline::default(),
            max_batch: 1,
            fixed_overhead: Span::ZERO,
            max_waiting: usize::MAX,
            feedback: Feedback::Off,
            retries_after_loss: 0,
        }
    }
}
