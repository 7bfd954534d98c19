//! In what order waiting requests run. To add one: a file here, a line in each `match` below.

mod edf;
mod fcfs;
mod least_slack;

pub use edf::Edf;
pub use fcfs::Fcfs;
pub use least_slack::LeastSlack;

use statmux_core::{Request, Span, Time};

/// Ranks waiting requests. Lower keys run first; ties go to the earlier arrival, then to the lower id.
pub trait Discipline {
    /// The key of `request`, whose batch-1 latency on the group it waits for is `latency`.
    fn key(&self, request: &Request, latency: Span) -> Time;

    /// Whether requests run in the order in which they arrive, so that their finish is known on arrival.
    const IN_ORDER: bool = false;

    /// Where the requests of one model, as ranked, stand in the order of their deadlines: of those that an idle group
    /// could have answered in time when they arrived, nobody behind another is due before it. A loop that only looks at
    /// the front of a queue for what has become hopeless rests on it; where nothing is promised, everything goes
    /// through the machine. Tests hold each discipline to its promise.
    const DEADLINE_ORDER: DeadlineOrder = DeadlineOrder::Nowhere;
}

/// Where the rank of requests of one model is that of their deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineOrder {
    /// Whatever their SLOs.
    Everywhere,
    /// Where all requests of the model have the same SLO.
    AmongEqualSlos,
    /// Nothing is promised.
    Nowhere,
}

impl DeadlineOrder {
    /// Whether the order is that of deadlines among requests of one model that `may_differ` in their SLOs.
    pub const fn holds(self, may_differ: bool) -> bool {
        match self {
            Self::Everywhere => true,
            Self::AmongEqualSlos => !may_differ,
            Self::Nowhere => false,
        }
    }
}

/// The disciplines that a scenario can name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnyDiscipline {
    /// First come, first served.
    #[default]
    Fcfs,
    /// Earliest deadline first.
    Edf,
    /// Least slack first.
    LeastSlack,
}

impl AnyDiscipline {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Fcfs, Self::Edf, Self::LeastSlack];

    /// Its name in a scenario.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fcfs => "fcfs",
            Self::Edf => "edf",
            Self::LeastSlack => "least-slack",
        }
    }

    /// What it does, in one line.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Fcfs => "first come, first served",
            Self::Edf => "the request whose deadline is nearest",
            Self::LeastSlack => "the request with the least time to spare (deadline minus its own latency)",
        }
    }

    /// [`Discipline::IN_ORDER`] of the discipline named.
    pub const fn in_order(self) -> bool {
        match self {
            Self::Fcfs => Fcfs::IN_ORDER,
            Self::Edf => Edf::IN_ORDER,
            Self::LeastSlack => LeastSlack::IN_ORDER,
        }
    }

    /// [`Discipline::DEADLINE_ORDER`] of the discipline named.
    pub const fn deadline_order(self) -> DeadlineOrder {
        match self {
            Self::Fcfs => Fcfs::DEADLINE_ORDER,
            Self::Edf => Edf::DEADLINE_ORDER,
            Self::LeastSlack => LeastSlack::DEADLINE_ORDER,
        }
    }
}

impl Discipline for AnyDiscipline {
    fn key(&self, request: &Request, latency: Span) -> Time {
        match self {
            Self::Fcfs => Fcfs.key(request, latency),
            Self::Edf => Edf.key(request, latency),
            Self::LeastSlack => LeastSlack.key(request, latency),
        }
    }
}
