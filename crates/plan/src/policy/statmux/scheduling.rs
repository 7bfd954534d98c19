//! The scheduling options that a plan may choose along with its placement.

use statmux_sched::{AnyDiscipline, Dispatch};
use statmux_sim::SimulationSettings;

/// The part of the scheduler's settings that a plan may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// Which group takes an arrival.
    pub dispatch: Dispatch,
    /// In what order waiting requests run.
    pub discipline: AnyDiscipline,
    /// The most requests that run together.
    pub max_batch: u32,
}

/// Whether a search may choose them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchedulingChoice {
    /// The scenario's options stand.
    Fixed,
    /// Dispatch, discipline and largest batch are searched together with the placement.
    #[default]
    Search,
}

impl SchedulingChoice {
    /// Both, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::Fixed, Self::Search];

    /// Its name in a scenario.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Search => "search",
        }
    }
}

impl Scheduling {
    /// The options that `settings` have.
    pub fn of(settings: &SimulationSettings) -> Self {
        let scheduler = &settings.scheduler;
        Self { dispatch: scheduler.dispatch, discipline: scheduler.discipline, max_batch: scheduler.max_batch.max(1) }
    }

    /// `settings` with these options instead of their own.
    pub fn apply(&self, settings: &SimulationSettings) -> SimulationSettings {
        let mut settings = settings.clone();
        settings.scheduler.dispatch = self.dispatch;
        settings.scheduler.discipline = self.discipline;
        settings.scheduler.max_batch = self.max_batch;
        settings
    }
}
