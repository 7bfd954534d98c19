use super::{DeadlineOrder, Discipline};
use statmux_core::{Request, Span, Time};

/// Runs the request whose deadline is nearest.
#[derive(Clone, Copy, Debug)]
pub struct Edf;

impl Discipline for Edf {
    const NAME: &str = "edf";
    const ABOUT: &str = "the request whose deadline is nearest";
    const DEADLINE_ORDER: DeadlineOrder = DeadlineOrder::Everywhere;

    fn key(request: &Request, _latency: Span) -> Time {
        request.deadline
    }
}
