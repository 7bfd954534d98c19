//! One run: a placement, a workload, settings; outcomes come out.

use crate::engine::{Observer, StageRun, World, drive};
use crate::fault::Fault;
use crate::settings::SimulationSettings;
use crate::tight::late::{self, LateTrack};
use crate::tight::{Arrivals, Track};
use statmux_core::summary::GroupUse;
use statmux_core::{Cluster, GroupId, ModelSpec, Outcome, PlacementWindows, Served, Span, Time, Workload};
use statmux_sched::{StageTimes, TimesError, machine};

/// What became of every request and every group.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// One per request, in the order of the workload. Groups are counted through all windows.
    pub outcomes: Vec<Outcome>,
    /// One per group of every window.
    pub groups: Vec<GroupUse>,
}

/// How a run is computed. All but the last agree to the nanosecond where they apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The scheduler's machine, event by event.
    Events,
    /// Its rules in a tight loop.
    Tight,
    /// The same for late binding, in a loop of its own.
    Late,
    /// [`Engine::Tight`] in the arithmetic of the published simulator.
    Peer,
}

/// Why a run could not begin.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// The placement names a configuration without a profile.
    #[error(transparent)]
    Times(#[from] TimesError),
    /// A fault names a group that is not there.
    #[error("a fault names group {}, but the placement has {groups} groups", .group.0)]
    NoSuchGroup {
        /// The group named.
        group: GroupId,
        /// How many there are.
        groups: usize,
    },
}

impl Engine {
    /// The fastest engine that computes a run of `workload` under `settings` exactly.
    pub fn fastest(settings: &SimulationSettings, workload: &Workload) -> Self {
        match settings {
            settings if settings.is_peer() => Self::Peer,
            settings if settings.is_tight() => Self::Tight,
            settings if late::applies(settings, workload) => Self::Late,
            _ => Self::Events,
        }
    }
}

/// Runs `workload` on the placement of each window in turn, with the fastest engine that is exact.
///
/// A window's placement serves requests that arrive strictly after its start (the first serves all before the
/// second). Each window begins with idle groups: loading is free and takes no time, as published.
pub fn simulate(
    cluster: &Cluster,
    models: &[ModelSpec],
    windows: &PlacementWindows,
    workload: &Workload,
    settings: &SimulationSettings,
) -> Result<Run, SimulateError> {
    simulate_with(Engine::fastest(settings, workload), cluster, models, windows, workload, settings, None)
}

/// The same, telling `observer` of every stage of every batch; group ids count through all windows.
pub fn simulate_observed(
    cluster: &Cluster,
    models: &[ModelSpec],
    windows: &PlacementWindows,
    workload: &Workload,
    settings: &SimulationSettings,
    observer: Observer<'_>,
) -> Result<Run, SimulateError> {
    simulate_with(Engine::Events, cluster, models, windows, workload, settings, Some(observer))
}

/// The same with a given engine. An observer sees the runs of [`Engine::Events`] only.
pub fn simulate_with(
    engine: Engine,
    cluster: &Cluster,
    models: &[ModelSpec],
    windows: &PlacementWindows,
    workload: &Workload,
    settings: &SimulationSettings,
    mut observer: Option<Observer<'_>>,
) -> Result<Run, SimulateError> {
    let mut run = Run { outcomes: Vec::with_capacity(workload.len()), groups: Vec::new() };
    let mut from = 0;
    for (index, window) in windows.0.iter().enumerate() {
        let until = windows
            .0
            .get(index + 1)
            .map_or(workload.len(), |next| workload.arrived.partition_point(|&arrived| arrived <= next.starts));
        let groups = window.placement.groups.len();
        let faults = faults_of_window(settings, index, groups)?;
        let sliced;
        let part = if from == 0 && until == workload.len() {
            workload
        } else {
            sliced = workload.slice(from..until);
            &sliced
        };
        let (outcomes, uses) = match engine {
            Engine::Peer => {
                let track = Track::<f64>::new(&window.placement, cluster, models, settings)?;
                track.outcomes(&Arrivals::new(part, models))
            }
            Engine::Tight => {
                let track = Track::<Time>::new(&window.placement, cluster, models, settings)?;
                track.outcomes(&Arrivals::new(part, models))
            }
            Engine::Late => {
                let track = LateTrack::new(&window.placement, cluster, models, settings)?;
                track.outcomes(part, &model_slos(models))
            }
            Engine::Events => {
                let batch = settings.scheduler.max_batch;
                let times = StageTimes::new(&window.placement, cluster, models, settings.stage_penalty, batch)?;
                let offset = run.groups.len();
                let mut shifted;
                let observer: Option<Observer<'_>> = match &mut observer {
                    Some(observer) => {
                        shifted = |run: StageRun| {
                            let group = GroupId::from_index(run.group.index() + offset);
                            observer(StageRun { group, ..run });
                        };
                        Some(&mut shifted)
                    }
                    None => None,
                };
                run_events(&times, &times, part, &model_slos(models), settings, &faults, observer)
            }
        };
        let offset = run.groups.len();
        run.outcomes.extend(outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Served(served) => {
                Outcome::Served(Served { group: GroupId::from_index(served.group.index() + offset), ..served })
            }
            other => other,
        }));
        run.groups.extend(uses);
        from = until;
    }
    Ok(run)
}

/// One window, event by event: the scheduler believes `believed` while stages take as long as `truth`.
pub fn run_events(
    believed: &StageTimes,
    truth: &StageTimes,
    workload: &Workload,
    model_slo: &[Span],
    settings: &SimulationSettings,
    faults: &[Fault],
    observer: Option<Observer<'_>>,
) -> (Vec<Outcome>, Vec<GroupUse>) {
    let scheduler = settings.scheduler;
    let world = World { truth, workload, model_slo, fixed_overhead: scheduler.fixed_overhead, faults, observer };
    drive(&mut machine(scheduler, believed.clone()), world)
}

/// Each model's SLO to the nearest nanosecond, [`Span::MAX`] for none.
pub fn model_slos(models: &[ModelSpec]) -> Vec<Span> {
    let slo = |model: &ModelSpec| model.slo_seconds().and_then(Span::from_seconds).unwrap_or(Span::MAX);
    models.iter().map(slo).collect()
}

/// Faults apply to the first window, the only one whose groups a scenario can name.
fn faults_of_window(settings: &SimulationSettings, window: usize, groups: usize) -> Result<Vec<Fault>, SimulateError> {
    if window > 0 {
        return Ok(Vec::new());
    }
    match settings.faults.iter().find(|fault| fault.group.index() >= groups) {
        Some(fault) => Err(SimulateError::NoSuchGroup { group: fault.group, groups }),
        None => Ok(settings.faults.clone()),
    }
}
