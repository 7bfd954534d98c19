//! Late binding without an event queue: the scheduler's rules in a loop that looks only where something is decided.
//!
//! The machine tells everybody of every event; for what becomes of requests, only two kinds of moment matter: an
//! arrival, and a first stage that frees up while something waits that its group holds. Everything else (requests
//! that become hopeless, batches that leave their last stage) changes no decision, so it is looked at when it matters.
//!
//! That rests on the order of what waits for a model being that of deadlines, so that what is hopeless stands in
//! front: [`DEADLINE_ORDER`](statmux_sched::Discipline::DEADLINE_ORDER) says where it is, and [`applies`] asks. Without admission nothing is hopeless
//! and any order will do. Tests hold outcomes equal to the event-driven machine's, to the nanosecond.

mod run;

use super::Tally;
use crate::settings::SimulationSettings;
use run::Run;
use statmux_core::summary::GroupUse;
use statmux_core::{Cluster, GroupId, ModelId, ModelSpec, Outcome, Placement, Served, Span, Time, Workload};
use statmux_sched::rules::{walk, walk_to_end};
use statmux_sched::{Admission, AnyDiscipline, Dispatch, Feedback, Settings, TimesError};
use std::ops::Range;

/// Whether this loop serves `workload` under `settings` as the machine does.
pub fn applies(settings: &SimulationSettings, workload: &Workload) -> bool {
    let Settings { dispatch, admission, discipline, max_waiting, feedback, .. } = settings.scheduler;
    let in_front = || discipline.deadline_order().holds(!workload.slo.is_empty());
    settings.faults.is_empty()
        && dispatch == Dispatch::LateBinding
        && max_waiting == usize::MAX
        && feedback == Feedback::Off
        && (admission == Admission::None || in_front())
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By model: requests answered in time.
    pub in_slo: Vec<u64>,
    /// By group: how long its stages computed, together.
    pub busy: Vec<Span>,
}

/// A placement, ready to serve under late binding.
#[derive(Clone, Debug)]
pub struct LateTrack {
    groups: Vec<Group>,
    models: Vec<Model>,
    replicas: Vec<Replica>,
    spans: Vec<Span>,
    stages: usize,
    /// Words of a set of models.
    words: usize,
    overhead: Span,
    admission: Admission,
    max_batch: usize,
    discipline: AnyDiscipline,
}

#[derive(Clone, Debug)]
struct Group {
    clocks: Range<usize>,
    /// One bit per model.
    held: Vec<u64>,
}

#[derive(Clone, Debug)]
struct Model {
    /// By group: the group, and the position in `replicas`.
    holders: Vec<(u32, u32)>,
    /// The shortest latency of any replica.
    latency: Span,
}

/// A model on a group.
#[derive(Clone, Debug)]
struct Replica {
    /// (row, batch size), smallest first.
    sizes: Vec<(usize, usize)>,
    /// Where the rows begin in `spans`.
    spans: usize,
}

/// Requests that run together, as a run tells of them.
struct Launch {
    group: usize,
    model: usize,
    started: Time,
    /// Fixed overhead included.
    finished: Time,
}

impl LateTrack {
    /// Prepares `placement` for workloads that this loop [`applies`] to under `settings`.
    pub fn new(
        placement: &Placement,
        cluster: &Cluster,
        models: &[ModelSpec],
        settings: &SimulationSettings,
    ) -> Result<Self, TimesError> {
        let scheduler = &settings.scheduler;
        let words = models.len().div_ceil(64);
        let mut track = Self {
            groups: Vec::with_capacity(placement.groups.len()),
            models: models.iter().map(|_| Model { holders: Vec::new(), latency: Span::MAX }).collect(),
            replicas: Vec::new(),
            spans: Vec::new(),
            stages: 0,
            words,
            overhead: scheduler.fixed_overhead,
            admission: scheduler.admission,
            max_batch: scheduler.max_batch.max(1) as usize,
            discipline: scheduler.discipline,
        };
        for (index, group) in placement.groups.iter().enumerate() {
            let stages = group.config.pp as usize;
            let mut held = vec![0; words];
            for &model in &group.models {
                held[model.index() / 64] |= 1 << (model.index() % 64);
                let spec = &models[model.index()];
                let missing = || TimesError::new(GroupId::from_index(index), &spec.name);
                let profile = spec.profile.config(group.config).ok_or_else(missing)?;
                let from = track.spans.len();
                let mut sizes = Vec::new();
                for size in profile.batch_sizes().take_while(|&size| size as usize <= track.max_batch) {
                    let seconds =
                        group.stage_seconds(cluster, spec, settings.stage_penalty, size).ok_or_else(missing)?;
                    track.spans.extend(seconds.into_iter().map(|stage| Span::from_seconds(stage).unwrap_or(Span::MAX)));
                    sizes.push((sizes.len(), size as usize));
                }
                let latency = track.spans[from..from + stages].iter().copied().sum();
                let replica = u32::try_from(track.replicas.len()).expect("fewer replicas than ids");
                track.replicas.push(Replica { sizes, spans: from });
                let of_model = &mut track.models[model.index()];
                of_model.holders.push((GroupId::from_index(index).0, replica));
                of_model.latency = of_model.latency.min(latency);
            }
            track.groups.push(Group { clocks: track.stages..track.stages + stages, held });
            track.stages += stages;
        }
        Ok(track)
    }

    /// Serves `workload`, whose requests have the SLOs `model_slo` where they have none of their own, and counts.
    pub fn counts(&self, workload: &Workload, model_slo: &[Span]) -> Counts {
        let mut in_slo = vec![0; self.models.len()];
        let busy = Run::new(self).serve(workload, model_slo, |_, launch, is_in_slo| {
            in_slo[launch.model] += u64::from(is_in_slo);
        });
        Counts { in_slo, busy }
    }

    /// The same, with all that other engines count; what was never launched counts as given to no group.
    pub fn tally(&self, workload: &Workload, model_slo: &[Span]) -> Tally {
        let mut tally = Tally {
            requests: workload.counts(self.models.len()),
            in_slo: vec![0; self.models.len()],
            dispatched: vec![0; self.groups.len()],
            latency_sum: 0.0,
        };
        let mut latencies = vec![Span::ZERO; workload.len()];
        Run::new(self).serve(workload, model_slo, |row, launch, in_slo| {
            tally.in_slo[launch.model] += u64::from(in_slo);
            tally.dispatched[launch.group] += 1;
            latencies[row] = launch.finished.since(workload.arrived[row]);
        });
        // In the order of requests, as sums of floats depend on it.
        tally.latency_sum = latencies.into_iter().fold(0.0, |sum, latency| sum + latency.seconds());
        tally
    }

    /// The same, saying what became of each request and each group.
    pub fn outcomes(&self, workload: &Workload, model_slo: &[Span]) -> (Vec<Outcome>, Vec<GroupUse>) {
        let unserved = |model: &ModelId| match self.models[model.index()].holders.is_empty() {
            true => Outcome::NoReplica,
            false => Outcome::Rejected,
        };
        let mut outcomes: Vec<Outcome> = workload.model.iter().map(unserved).collect();
        let mut uses = vec![GroupUse::default(); self.groups.len()];
        let busy = Run::new(self).serve(workload, model_slo, |row, launch, in_slo| {
            let &Launch { group, started, finished, .. } = launch;
            uses[group].requests += 1;
            outcomes[row] = Outcome::Served(Served { group: GroupId::from_index(group), started, finished, in_slo });
        });
        uses.iter_mut().zip(busy).for_each(|(used, busy)| used.busy = busy);
        (outcomes, uses)
    }

    /// The stage times of a replica at its `row`-th batch size.
    #[inline]
    fn row(&self, group: usize, replica: usize, row: usize) -> &[Span] {
        let stages = self.groups[group].clocks.len();
        let from = self.replicas[replica].spans + row * stages;
        &self.spans[from..from + stages]
    }

    /// When a batch that may start now would leave the last stage; `ends` gets its ends at all of them.
    #[inline]
    fn walk(&self, now: Time, clocks: &[Time], group: usize, replica: usize, row: usize, ends: &mut [Time]) -> Time {
        let at = self.groups[group].clocks.clone();
        walk(now, &clocks[at.clone()], self.row(group, replica, row), &mut ends[at])
    }

    /// When a batch that may start now would be answered.
    #[inline]
    fn answer(&self, now: Time, clocks: &[Time], group: usize, replica: usize, row: usize) -> Time {
        let clocks = &clocks[self.groups[group].clocks.clone()];
        walk_to_end(now, clocks, self.row(group, replica, row)) + self.overhead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_must_rank_requests() {
        let mut settings = SimulationSettings::default();
        let same = Workload::default();
        let own = Workload {
            arrived: vec![Time::ZERO],
            model: vec![ModelId(0)],
            slo: vec![Span::ZERO],
            ..Workload::default()
        };
        assert!(!applies(&settings, &same));
        settings.scheduler.dispatch = Dispatch::LateBinding;
        assert!(applies(&settings, &same));
        assert!(!applies(&settings, &own));
        settings.scheduler.discipline = AnyDiscipline::Edf;
        assert!(applies(&settings, &own));
        settings.scheduler.max_waiting = 9;
        assert!(!applies(&settings, &own));
    }

    #[test]
    fn without_admission_any_order_will_do() {
        let mut settings = SimulationSettings::default();
        settings.scheduler.dispatch = Dispatch::LateBinding;
        settings.scheduler.admission = Admission::None;
        let own = Workload { slo: vec![Span::ZERO], ..Workload::default() };
        for discipline in AnyDiscipline::ALL {
            settings.scheduler.discipline = discipline;
            assert!(applies(&settings, &own), "{}", discipline.name());
        }
    }
}
