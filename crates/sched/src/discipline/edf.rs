use super::{DeadlineOrder, Discipline};
use statmux_core::{Request, Span, Time};

/// Runs the request whose deadline is nearest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edf;

impl Discipline for Edf {
    const DEADLINE_ORDER: DeadlineOrder = DeadlineOrder::Everywhere;

    fn key(&self, request: &Request, _latency: Span) -> Time {
        request.deadline
    }
}
