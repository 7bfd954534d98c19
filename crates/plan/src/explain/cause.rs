//! Who misses, when, and why.

use crate::Scene;
use crate::memory::{Footprint, Room};
use rayon::prelude::*;
use statmux_core::{GroupId, ModelId, Outcome, Span, Time, Workload};
use statmux_sched::StageTimes;
use statmux_sim::SimulateError;

/// Why a request missed its SLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// No group holds its model, though one has room for it.
    NoReplica,
    /// No group holds its model, and none has the memory to.
    NoMemory,
    /// Even an idle group that holds its model is slower than the SLO.
    TooSlow,
    /// Its model alone asked for more than the groups that hold it can do: it misses with no other model there.
    OwnBurst,
    /// Served in time if its model were alone: other models' requests were ahead.
    HeadOfLine,
    /// Lost with a group.
    GroupLost,
}

impl Cause {
    /// All causes, in the order in which they are listed.
    pub const ALL: [Self; 6] =
        [Self::NoReplica, Self::NoMemory, Self::TooSlow, Self::OwnBurst, Self::HeadOfLine, Self::GroupLost];

    /// The word used in result files.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoReplica => "no_replica",
            Self::NoMemory => "no_memory",
            Self::TooSlow => "too_slow",
            Self::OwnBurst => "own_burst",
            Self::HeadOfLine => "head_of_line",
            Self::GroupLost => "group_lost",
        }
    }

    /// What it means, as a sentence.
    pub fn about(self) -> &'static str {
        match self {
            Self::NoReplica => "no group holds the model, though one has room for it",
            Self::NoMemory => "no group holds the model, and none has the memory to",
            Self::TooSlow => "even an idle group that holds the model is slower than the SLO",
            Self::OwnBurst => "the model's own burst is beyond what its groups can do",
            Self::HeadOfLine => "other models' requests were ahead; alone it would have been served in time",
            Self::GroupLost => "a group failed",
        }
    }
}

/// What one model missed.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelMisses {
    /// The model.
    pub model: ModelId,
    /// Groups that hold it.
    pub replicas: usize,
    /// All its requests.
    pub requests: u64,
    /// Those that missed their SLO.
    pub missed: u64,
    /// The missed ones by cause, in the order of [`Cause::ALL`].
    pub causes: [u64; Cause::ALL.len()],
    /// The missed ones in equal parts of the run, first to last.
    pub over_time: Vec<u64>,
}

/// Who misses, when, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// All requests.
    pub requests: u64,
    /// How long one of the parts of [`ModelMisses::over_time`] is.
    pub part: Span,
    /// Models with misses, the most first; equal ones by id.
    pub models: Vec<ModelMisses>,
}

impl Explanation {
    /// Simulates `scene` as it is, and each model with misses alone; the run is cut into `parts` for the pictures.
    pub fn new(scene: &Scene<'_>, parts: usize) -> Result<Self, SimulateError> {
        let outcomes = scene.outcomes()?;
        let holders = scene.placement.holders(scene.models.len());
        let end = scene.workload.arrived.last().copied().unwrap_or(Time::ZERO).since(Time::ZERO);
        let part = Span::from_nanos(end.nanos() / parts.max(1) as u64 + 1);
        let fastest = fastest(scene)?;
        let mut rows = vec![Vec::new(); scene.models.len()];
        for (row, model) in scene.workload.model.iter().enumerate() {
            rows[model.index()].push(row);
        }
        let explain = |(index, own): (usize, Vec<usize>)| -> Result<Option<ModelMisses>, SimulateError> {
            let model = ModelId::from_index(index);
            let missed: Vec<usize> = (0..own.len()).filter(|&k| !outcomes[own[k]].in_slo()).collect();
            if missed.is_empty() {
                return Ok(None);
            }
            let workload = only(scene.workload, &own);
            let alone = Scene { workload: &workload, ..*scene }.outcomes()?;
            let mut misses = ModelMisses {
                model,
                replicas: holders[model.index()].len(),
                requests: own.len() as u64,
                missed: missed.len() as u64,
                causes: [0; Cause::ALL.len()],
                over_time: vec![0; parts],
            };
            let without = if has_room(scene, model) { Cause::NoReplica } else { Cause::NoMemory };
            let slo = scene.models[model.index()].slo_seconds().unwrap_or(f64::INFINITY);
            for k in missed {
                let slo = workload.slo.get(k).map_or(slo, |span| span.seconds());
                let cause = match (outcomes[own[k]], fastest[model.index()]) {
                    (Outcome::Failed, _) => Cause::GroupLost,
                    (_, None) => without,
                    (_, Some(idle)) if idle.seconds() > slo => Cause::TooSlow,
                    _ if alone[k].in_slo() => Cause::HeadOfLine,
                    _ => Cause::OwnBurst,
                };
                let place = Cause::ALL.iter().position(|&known| known == cause).expect("all are listed");
                misses.causes[place] += 1;
                let at = workload.arrived[k].since(Time::ZERO).nanos() / part.nanos();
                misses.over_time[at as usize] += 1;
            }
            Ok(Some(misses))
        };
        let explained: Vec<_> = rows.into_par_iter().enumerate().map(explain).collect();
        let mut models = Vec::new();
        for misses in explained {
            models.extend(misses?);
        }
        models.sort_by_key(|misses: &ModelMisses| (std::cmp::Reverse(misses.missed), misses.model));
        Ok(Self { requests: outcomes.len() as u64, part, models })
    }

    /// All missed requests.
    pub fn missed(&self) -> u64 {
        self.models.iter().map(|misses| misses.missed).sum()
    }

    /// All missed requests by cause, in the order of [`Cause::ALL`].
    pub fn causes(&self) -> [u64; Cause::ALL.len()] {
        std::array::from_fn(|place| self.models.iter().map(|misses| misses.causes[place]).sum())
    }
}

/// The least latency of each model on an idle group that holds it, fixed overhead included; `None` without one.
fn fastest(scene: &Scene<'_>) -> Result<Vec<Option<Span>>, SimulateError> {
    let Scene { cluster, models, settings, placement, .. } = *scene;
    let times = StageTimes::new(placement, cluster, models, settings.stage_penalty, 1)?;
    let overhead = settings.scheduler.fixed_overhead;
    let idle = |group: GroupId, model| times.spans(group, model, 1).map(|spans| spans.iter().copied().sum::<Span>());
    let fastest = |index: usize| {
        let model = ModelId(index as u32);
        times.holders(model).iter().filter_map(|&group| idle(group, model)).min().map(|span| span + overhead)
    };
    Ok((0..models.len()).map(fastest).collect())
}

/// Whether some group could hold `model` beside what it holds.
fn has_room(scene: &Scene<'_>, model: ModelId) -> bool {
    (0..scene.placement.groups.len()).any(|group| fits(scene, group, model))
}

/// Whether the group at `index` could hold `model` beside what it holds.
pub(super) fn fits(scene: &Scene<'_>, index: usize, model: ModelId) -> bool {
    let group = &scene.placement.groups[index];
    let max_batch = scene.settings.scheduler.max_batch.max(1);
    let footprint = |id: ModelId| Footprint::new(&scene.models[id.index()], group.config, max_batch);
    let held = group.models.iter().filter_map(|&held| footprint(held));
    let taken = held.fold(Room::new(group, scene.cluster), Room::with);
    footprint(model).is_some_and(|footprint| taken.with(footprint).holds())
}

/// The requests at `rows` alone.
fn only(workload: &Workload, rows: &[usize]) -> Workload {
    Workload {
        arrived: rows.iter().map(|&row| workload.arrived[row]).collect(),
        model: rows.iter().map(|&row| workload.model[row]).collect(),
        slo: if workload.slo.is_empty() { Vec::new() } else { rows.iter().map(|&row| workload.slo[row]).collect() },
        lengths: Vec::new(),
        duration: workload.duration,
    }
}
