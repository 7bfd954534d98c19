//! How a request ended.

use crate::ids::GroupId;
use crate::units::{Span, Time};

/// The end of one request. Every request has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran to the end, in time or late.
    Served(Served),
    /// Admission refused it: it could not have met its deadline, or a limit was reached.
    Rejected,
    /// No group holds its model.
    NoReplica,
    /// It was lost with a group and could not be run elsewhere in time.
    Failed,
}

/// Where and when a request ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The group it ran on.
    pub group: GroupId,
    /// When its first stage began.
    pub started: Time,
    /// When its answer was ready, fixed overhead included.
    pub finished: Time,
    /// Whether that was within its SLO.
    pub in_slo: bool,
}

impl Outcome {
    /// Whether the request was answered within its SLO.
    pub fn in_slo(&self) -> bool {
        matches!(self, Self::Served(served) if served.in_slo)
    }

    /// Time from `arrived` to the answer, if there was one.
    pub fn latency(&self, arrived: Time) -> Option<Span> {
        match self {
            Self::Served(served) => Some(served.finished.since(arrived)),
            _ => None,
        }
    }

    /// The outcome called `name` in result files; `served` says where and when it ran, if it did, whatever it says
    /// of the SLO. `None` for a name nobody uses, or one that does not go with `served`.
    pub fn named(name: &str, served: Option<Served>) -> Option<Self> {
        match (name, served) {
            ("in_slo", Some(served)) => Some(Self::Served(Served { in_slo: true, ..served })),
            ("late", Some(served)) => Some(Self::Served(Served { in_slo: false, ..served })),
            ("rejected", None) => Some(Self::Rejected),
            ("no_replica", None) => Some(Self::NoReplica),
            ("failed", None) => Some(Self::Failed),
            _ => None,
        }
    }

    /// The word used for it in result files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Served(Served { in_slo: true, .. }) => "in_slo",
            Self::Served(_) => "late",
            Self::Rejected => "rejected",
            Self::NoReplica => "no_replica",
            Self::Failed => "failed",
        }
    }
}
