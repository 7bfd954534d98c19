use super::{DeadlineOrder, Discipline};
use statmux_core::{Request, Span, Time};

/// Runs the request that must start soonest: slack shrinks for all alike, so the order of latest starts is
/// the order of slack at any moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastSlack;

impl Discipline for LeastSlack {
    const DEADLINE_ORDER: DeadlineOrder = DeadlineOrder::Everywhere;

    fn key(&self, request: &Request, latency: Span) -> Time {
        if request.deadline == Time::NEVER { Time::NEVER } else { request.deadline.before(latency) }
    }
}
