//! What is asked of the system.

use crate::ids::{ModelId, RequestId};
use crate::units::{Span, Time};

/// One inference request, as the scheduler sees it: no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Unique within a run.
    pub id: RequestId,
    /// The model it asks for.
    pub model: ModelId,
    /// When it reached the system.
    pub arrived: Time,
    /// When its answer stops being useful; [`Time::NEVER`] without an SLO.
    pub deadline: Time,
}

impl Request {
    /// The time between arrival and deadline; [`Span::MAX`] without an SLO.
    #[inline]
    pub fn slo(&self) -> Span {
        if self.deadline == Time::NEVER { Span::MAX } else { self.deadline.since(self.arrived) }
    }
}

/// How long a request's prompt and answer are, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// Tokens in the prompt.
    pub prompt: u32,
    /// Tokens generated; known to the simulator, hidden from policies.
    pub output: u32,
}
