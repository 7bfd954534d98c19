//! Late binding without an event queue: the scheduler's rules in a loop that only counts.
//!
//! The machine tells everybody of every event; to count, only two kinds of moment matter: an arrival, and a first
//! stage that frees up while something waits that its group holds. Everything else (requests that become
//! hopeless, batches that leave their last stage) changes no decision, so it is looked at when it matters.
//! A test holds the counts equal to the event-driven machine's.

use statmux_core::{Cluster, GroupId, ModelSpec, Placement, Request, RequestId, Span, Time, Workload};
use statmux_sched::batching::largest_in_time;
use statmux_sched::rules::{in_time, walk};
use statmux_sched::{Admission, AnyDiscipline, Discipline, Dispatch, Feedback, Settings, TimesError};
use statmux_sim::SimulationSettings;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;

/// Whether counts under `settings` for `workload` can be had from this loop.
pub(super) fn applies(settings: &SimulationSettings, workload: &Workload) -> bool {
    let Settings { dispatch, discipline, max_waiting, feedback, .. } = settings.scheduler;
    // Requests of a model must rank as their deadlines do, so that what is hopeless stands in front.
    let ranked_by_deadline = workload.slo.is_empty() || discipline != AnyDiscipline::Fcfs;
    settings.faults.is_empty()
        && dispatch == Dispatch::LateBinding
        && ranked_by_deadline
        && max_waiting == usize::MAX
        && feedback == Feedback::Off
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// By model: requests answered in time.
    pub(super) in_slo: Vec<u64>,
    /// By group: how long its stages computed, together.
    pub(super) busy: Vec<Span>,
}

/// A placement, ready to count on.
#[derive(Debug)]
pub(super) struct LateTrack {
    groups: Vec<Group>,
    models: Vec<Model>,
    entries: Vec<Entry>,
    spans: Vec<Span>,
    stages: usize,
    words: usize,
    overhead: Span,
    unlimited: bool,
    max_batch: usize,
    discipline: AnyDiscipline,
}

#[derive(Debug)]
struct Group {
    clocks: Range<usize>,
    /// One bit per model.
    held: Vec<u64>,
}

#[derive(Debug)]
struct Model {
    /// Its replicas, by group: positions in `entries`.
    replicas: Vec<(u32, u32)>,
    /// The shortest latency of any replica.
    latency: Span,
}

/// A model on a group.
#[derive(Debug)]
struct Entry {
    /// (row, batch size), smallest first.
    sizes: Vec<(usize, usize)>,
    /// Where the rows begin in `spans`.
    spans: usize,
}

impl LateTrack {
    /// Prepares `placement`; the settings must be those that [`applies`] accepts.
    pub(super) fn new(
        placement: &Placement,
        cluster: &Cluster,
        models: &[ModelSpec],
        settings: &SimulationSettings,
    ) -> Result<Self, TimesError> {
        let scheduler = &settings.scheduler;
        let words = models.len().div_ceil(64);
        let mut track = Self {
            groups: Vec::with_capacity(placement.groups.len()),
            models: models.iter().map(|_| Model { replicas: Vec::new(), latency: Span::MAX }).collect(),
            entries: Vec::new(),
            spans: Vec::new(),
            stages: 0,
            words,
            overhead: scheduler.fixed_overhead,
            unlimited: scheduler.admission == Admission::None,
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
                let entry = u32::try_from(track.entries.len()).expect("fewer replicas than ids");
                track.entries.push(Entry { sizes, spans: from });
                let replicas = &mut track.models[model.index()];
                replicas.replicas.push((GroupId::from_index(index).0, entry));
                replicas.latency = replicas.latency.min(latency);
            }
            track.groups.push(Group { clocks: track.stages..track.stages + stages, held });
            track.stages += stages;
        }
        Ok(track)
    }

    /// Serves `workload` and counts; SLOs are `model_slo` where requests have none of their own.
    pub(super) fn count(&self, workload: &Workload, model_slo: &[Span]) -> Counts {
        let mut run = Run {
            track: self,
            clocks: vec![Time::ZERO; self.stages],
            ends: vec![Time::ZERO; self.stages],
            queues: vec![VecDeque::new(); self.models.len()],
            waiting: vec![0; self.words],
            due: BinaryHeap::new(),
            armed: vec![false; self.groups.len()],
            launched: vec![0; self.groups.len()],
            launches: 0,
            passed: Vec::new(),
            deadlines: Vec::new(),
            counts: Counts { in_slo: vec![0; self.models.len()], busy: vec![Span::ZERO; self.groups.len()] },
        };
        for index in 0..workload.len() {
            if self.models[workload.model[index].index()].replicas.is_empty() {
                continue;
            }
            let request = workload.request(index, model_slo);
            run.frees_until(request.arrived);
            run.arrives(&request);
        }
        run.frees_until(Time::NEVER);
        run.counts
    }
}

/// A request that waits. Ordered as the machine ranks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    key: Time,
    arrived: Time,
    id: RequestId,
    deadline: Time,
}

struct Run<'t> {
    track: &'t LateTrack,
    clocks: Vec<Time>,
    ends: Vec<Time>,
    /// By model, most urgent first.
    queues: Vec<VecDeque<Waiting>>,
    /// One bit per model: whether its queue has anything.
    waiting: Vec<u64>,
    /// First stages that free up while something waits for them: when, the launch that holds them, which.
    due: BinaryHeap<Reverse<(Time, u64, usize)>>,
    /// By group: whether it is in `due`.
    armed: Vec<bool>,
    /// By group: the number of its last launch.
    launched: Vec<u64>,
    launches: u64,
    /// Models whose most urgent requests this launch passes over, and how many.
    passed: Vec<(usize, usize)>,
    deadlines: Vec<Time>,
    counts: Counts,
}

impl Run<'_> {
    /// Lets every first stage that is free by `now` and has something waiting take it.
    fn frees_until(&mut self, now: Time) {
        while let Some(&Reverse((at, _, group))) = self.due.peek() {
            if at > now {
                return;
            }
            self.due.pop();
            self.armed[group] = false;
            self.launch_next(at, group);
        }
    }

    fn arrives(&mut self, request: &Request) {
        let model = request.model.index();
        let (mut earliest, mut idle) = (Time::NEVER, None);
        for &(group, entry) in &self.track.models[model].replicas {
            let clocks = &self.track.groups[group as usize].clocks;
            if self.clocks[clocks.start] > request.arrived {
                continue;
            }
            let answer = self.finish(request.arrived, group as usize, entry as usize, 0) + self.track.overhead;
            let launches = self.track.unlimited || in_time(request.arrived, answer, request.slo());
            if launches && (idle.is_none() || answer < earliest) {
                (earliest, idle) = (answer, Some(group as usize));
            }
        }
        let key = self.track.discipline.key(request, self.track.models[model].latency);
        let waiting = Waiting { key, arrived: request.arrived, id: request.id, deadline: request.deadline };
        let queue = &mut self.queues[model];
        let mut at = queue.len();
        while at > 0 && queue[at - 1] > waiting {
            at -= 1;
        }
        queue.insert(at, waiting);
        self.waiting[model / 64] |= 1 << (model % 64);
        match idle {
            Some(group) => self.launch_next(request.arrived, group),
            None => {
                for &(group, _) in &self.track.models[model].replicas {
                    self.arm(group as usize, request.arrived);
                }
            }
        }
    }

    /// Notes when `group`'s first stage frees up, if it is busy.
    fn arm(&mut self, group: usize, now: Time) {
        let free = self.clocks[self.track.groups[group].clocks.start];
        if !self.armed[group] && free > now {
            self.armed[group] = true;
            self.due.push(Reverse((free, self.launched[group], group)));
        }
    }

    /// The most urgent waiting request of the models that `group` holds, past those that are passed over.
    fn most_urgent(&self, group: usize) -> Option<(usize, usize)> {
        let mut best: Option<(Waiting, usize, usize)> = None;
        for (word, (&held, &waiting)) in self.track.groups[group].held.iter().zip(&self.waiting).enumerate() {
            let mut bits = held & waiting;
            while bits != 0 {
                let model = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let passed = self.passed.iter().find(|(other, _)| *other == model).map_or(0, |&(_, count)| count);
                let Some(&head) = self.queues[model].get(passed) else { continue };
                if best.is_none_or(|(least, ..)| head < least) {
                    best = Some((head, model, passed));
                }
            }
        }
        best.map(|(_, model, passed)| (model, passed))
    }

    /// The idle `group` takes the most urgent request it can answer in time, with companions.
    fn launch_next(&mut self, now: Time, group: usize) {
        self.passed.clear();
        while let Some((model, first)) = self.most_urgent(group) {
            let replicas = &self.track.models[model].replicas;
            let &(_, entry) =
                replicas.iter().find(|(holder, _)| *holder as usize == group).expect("the group holds it");
            if let Some((row, size)) = self.fit(now, group, entry as usize, model, first) {
                return self.launch(now, (group, entry as usize), model, first, (row, size));
            }
            let head = self.queues[model][first];
            let holders = replicas.iter();
            let finish = holders.map(|&(holder, entry)| self.finish(now, holder as usize, entry as usize, 0)).min();
            let earliest = finish.expect("the model has a replica") + self.track.overhead;
            if earliest <= head.deadline {
                match self.passed.iter_mut().find(|(other, _)| *other == model) {
                    Some((_, count)) => *count += 1,
                    None => self.passed.push((model, 1)),
                }
            } else {
                self.leave(model, first);
            }
        }
    }

    /// The largest batch from position `first` of the queue of `model` that is answered in time: row and size.
    fn fit(&mut self, now: Time, group: usize, entry: usize, model: usize, first: usize) -> Option<(usize, usize)> {
        let Self { track, queues, deadlines, ends, clocks, .. } = self;
        let queue = &queues[model];
        let available = (queue.len() - first).min(track.max_batch);
        deadlines.clear();
        let deadline = |waiting: &Waiting| if track.unlimited { Time::NEVER } else { waiting.deadline };
        deadlines.extend(queue.range(first..first + available).map(deadline));
        let sizes = &track.entries[entry].sizes;
        let rows = sizes.iter().copied().take_while(|&(_, size)| size <= available);
        largest_in_time(rows, deadlines, |row| track.walk(now, group, entry, row, clocks, ends) + track.overhead)
    }

    fn finish(&mut self, now: Time, group: usize, entry: usize, row: usize) -> Time {
        self.track.walk(now, group, entry, row, &self.clocks, &mut self.ends)
    }

    fn launch(
        &mut self,
        now: Time,
        (group, entry): (usize, usize),
        model: usize,
        first: usize,
        (row, size): (usize, usize),
    ) {
        let answer = self.finish(now, group, entry, row) + self.track.overhead;
        let at = self.track.groups[group].clocks.clone();
        self.clocks[at.clone()].copy_from_slice(&self.ends[at.clone()]);
        self.counts.busy[group] += self.track.row(group, entry, row).iter().copied().sum();
        for _ in 0..size {
            let member = self.leave(model, first);
            self.counts.in_slo[model] += u64::from(answer <= member.deadline);
        }
        self.launched[group] = self.launches;
        self.launches += 1;
        let held = &self.track.groups[group].held;
        if held.iter().zip(&self.waiting).any(|(held, waiting)| held & waiting != 0) {
            self.arm(group, now);
        }
    }

    fn leave(&mut self, model: usize, position: usize) -> Waiting {
        let queue = &mut self.queues[model];
        let left = if position == 0 { queue.pop_front() } else { queue.remove(position) };
        if queue.is_empty() {
            self.waiting[model / 64] &= !(1 << (model % 64));
        }
        left.expect("the position is in the queue")
    }
}

impl LateTrack {
    fn row(&self, group: usize, entry: usize, row: usize) -> &[Span] {
        let stages = self.groups[group].clocks.len();
        let from = self.entries[entry].spans + row * stages;
        &self.spans[from..from + stages]
    }

    fn walk(&self, now: Time, group: usize, entry: usize, row: usize, clocks: &[Time], ends: &mut [Time]) -> Time {
        let at = self.groups[group].clocks.clone();
        walk(now, &clocks[at.clone()], self.row(group, entry, row), &mut ends[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_cases::{Dice, any_case, any_placement};
    use proptest::prelude::*;
    use statmux_core::{ModelId, PlacementWindows};
    use statmux_sim::simulate;
    use statmux_sim::simulate::model_slos;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn counts_are_those_of_the_event_driven_machine(seed in any::<u64>()) {
            let mut case = any_case(seed);
            let dice = &mut Dice::new(!seed);
            let scheduler = &mut case.settings.scheduler;
            scheduler.dispatch = Dispatch::LateBinding;
            scheduler.discipline = AnyDiscipline::ALL[dice.below(3) as usize];
            scheduler.admission = if dice.one_in(3) { Admission::None } else { Admission::Deadline };
            scheduler.max_batch = 1 << dice.below(4);
            scheduler.max_waiting = usize::MAX;
            scheduler.feedback = Feedback::Off;
            case.settings.faults.clear();
            prop_assume!(applies(&case.settings, &case.train));
            let placement = any_placement(&case, dice);
            let track = LateTrack::new(&placement, &case.cluster, &case.models, &case.settings).expect("profiled");
            let counts = track.count(&case.train, &model_slos(&case.models));
            let windows = PlacementWindows::fixed(placement);
            let run = simulate(&case.cluster, &case.models, &windows, &case.train, &case.settings).expect("profiled");
            let mut in_slo = vec![0; case.models.len()];
            for (outcome, model) in run.outcomes.iter().zip(&case.train.model) {
                in_slo[model.index()] += u64::from(outcome.in_slo());
            }
            prop_assert_eq!(counts.in_slo, in_slo);
            let busy: Vec<Span> = run.groups.iter().map(|group| group.busy).collect();
            prop_assert_eq!(counts.busy, busy);
        }
    }

    #[test]
    fn deadlines_must_rank_requests() {
        let mut settings = SimulationSettings::default();
        assert!(!applies(&settings, &Workload::default()));
        settings.scheduler.dispatch = Dispatch::LateBinding;
        assert!(applies(&settings, &Workload::default()));
        let own = Workload {
            arrived: vec![Time::ZERO],
            model: vec![ModelId(0)],
            slo: vec![Span::ZERO],
            ..Workload::default()
        };
        assert!(!applies(&settings, &own));
        settings.scheduler.discipline = AnyDiscipline::Edf;
        assert!(applies(&settings, &own));
    }
}
