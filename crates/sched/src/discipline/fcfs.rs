use super::{DeadlineOrder, Discipline};
use statmux_core::{Request, Span, Time};

/// Runs the request that arrived first.
#[derive(Clone, Copy, Debug)]
pub struct Fcfs;

impl Discipline for Fcfs {
    const NAME: &str = "fcfs";
    const ABOUT: &str = "first come, first served";
    const IN_ORDER: bool = true;
    const DEADLINE_ORDER: DeadlineOrder = DeadlineOrder::AmongEqualSlos;

    fn key(request: &Request, _latency: Span) -> Time {
        request.arrived
    }
}
