//! What a simulation is told apart from placement and workload.

use crate::fault::Fault;
use statmux_core::{Cluster, Links, Span};
use statmux_sched::{Admission, AnyDiscipline, Dispatch, Feedback, Settings};

/// The scheduler's settings and the assumptions about what surrounds it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SimulationSettings {
    /// What the scheduler is told.
    pub scheduler: Settings,
    /// Every stage latency is multiplied by `1 + stage_penalty * pp`.
    pub stage_penalty: f64,
    /// Trimmed from both ends of the run before statistics are taken.
    pub warmup: Span,
    /// What breaks, and when.
    pub faults: Vec<Fault>,
}

impl SimulationSettings {
    /// The fixed overhead of the published simulator.
    pub const PEER_OVERHEAD: Span = Span::from_millis(11);
    /// The stage penalty of the published simulator.
    pub const PEER_STAGE_PENALTY: f64 = 0.009;

    /// The settings that reproduce the published simulator.
    pub fn peer() -> Self {
        let scheduler = Settings {
            dispatch: Dispatch::LeastClock,
            admission: Admission::Deadline,
            discipline: AnyDiscipline::Fcfs,
            fixed_overhead: Self::PEER_OVERHEAD,
            ..Settings::default()
        };
        Self { scheduler, stage_penalty: Self::PEER_STAGE_PENALTY, ..Self::default() }
    }

    /// Whether these are the published simulator's settings, so that its arithmetic is used as well
    /// (single-precision stage times and SLOs, double-precision clocks): its ties fall as they fell there.
    pub fn is_peer(&self) -> bool {
        *self == Self { warmup: self.warmup, ..Self::peer() }
    }

    /// `cluster` as these settings know it: the published simulator has no links, so under exactly its settings hops
    /// cost nothing unless the scenario states what they cost.
    pub fn linked(&self, cluster: Cluster) -> Cluster {
        let free = self.is_peer() && !cluster.links().stated;
        if free { cluster.with_links(Links::FREE) } else { cluster }
    }

    /// Whether every decision falls at an arrival, so that no event queue is needed.
    pub fn is_tight(&self) -> bool {
        let scheduler = &self.scheduler;
        self.faults.is_empty()
            && matches!(scheduler.dispatch, Dispatch::LeastClock | Dispatch::EarliestFinish)
            && scheduler.discipline.in_order()
            && scheduler.max_batch <= 1
            && scheduler.max_waiting == usize::MAX
            && scheduler.feedback == Feedback::Off
    }
}
