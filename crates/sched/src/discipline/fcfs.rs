use super::{DeadlineOrder, Discipline};
use statmux_core::{Request, Span, Time};

/// Runs the request that arrived first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fcfs;

impl Discipline for Fcfs {
    const IN_ORDER: bool = true;
    const DEADLINE_ORDER: DeadlineOrder = DeadlineOrder::AmongEqualSlos;

    fn key(&self, request: &Request, _latency: Span) -> Time {
        request.arrived
    }
}
