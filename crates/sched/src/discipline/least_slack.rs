use super::{DeadlineOrder, Discipline};
use statmux_core::{Request, Span, Time};

/// Runs the request that must start soonest: slack shrinks for all alike, so the order of latest starts is
/// the order of slack at any moment.
#[derive(Clone, Copy, Debug)]
pub struct LeastSlack;

impl Discipline for LeastSlack {
    const NAME: &str = "least-slack";
    const ABOUT: &str = "the request with the least time to spare (deadline minus its own latency)";
    const DEADLINE_ORDER: DeadlineOrder = DeadlineOrder::Everywhere;

    fn key(request: &Request, latency: Span) -> Time {
        if request.deadline == Time::NEVER { Time::NEVER } else { request.deadline.before(latency) }
    }
}
