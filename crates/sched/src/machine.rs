//! The machine: takes events to the rules, and keeps the state they need.

mod gang;
mod loss;

use crate::batching::{companions, largest_in_time};
use crate::group::{GroupState, Launch, OnTime};
use crate::queue::{Queue, Rank};
use crate::rules::{in_time, least};
use crate::times::StageTimes;
use crate::{Action, Admission, Batch, Dispatch, Event, Members, Reason, Scheduler, Settings};
use statmux_core::{BatchId, GroupId, ModelId, Request, RequestId, Span, Time};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// The scheduler of statmux; [`machine`] makes it.
///
/// Where requests run in the order of arrival and alone (FCFS, no batching, no late binding), the finish of
/// a request is known when it arrives, and admission is exact: what is admitted is answered in time unless
/// the machine is slower than profiled. Elsewhere a request is refused on arrival only if it would be late
/// even as the next to run, and again as soon as that has become true while it waits.
#[derive(Clone, Debug)]
pub struct Machine {
    settings: Settings,
    /// Shared, so that a copy of the machine is cheap.
    times: Arc<StageTimes>,
    groups: Vec<GroupState>,
    /// Late binding: what waits, by model.
    central: Vec<Queue>,
    /// When waiting requests become hopeless; entries for requests that left are skipped when they come up.
    expiry: BinaryHeap<Reverse<(Time, Rank, Place)>>,
    waiting: usize,
    /// Requests that run by themselves only, and how many groups each has cost.
    apart: BTreeMap<RequestId, u32>,
    next_batch: u64,
    in_order: bool,
    /// Scratch space for stage ends.
    ends: Vec<Time>,
    /// Scratch space for positions in queues.
    passed: Vec<usize>,
}

/// Where a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    At(GroupId),
    Central(ModelId),
}

/// Why a request asks to be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It has just arrived.
    Arrival,
    /// It had been admitted, and its group was lost since.
    LostGroup,
    /// It had been admitted, and its batch failed.
    SplitBatch,
}

/// What becomes of a request that is admitted.
enum Placed {
    /// It can run at once on this group, which is idle.
    Starts(GroupId),
    /// It waits; if a group is named, that is idle and should look for work.
    Waits(Place, Rank, Option<GroupId>),
}

/// The scheduler that `settings` describe, discipline included, for the groups that `times` describes, all idle: the one
/// that simulates, serves and replays.
pub fn machine(settings: Settings, times: StageTimes) -> Machine {
    let ids = (0..times.groups()).map(GroupId::from_index);
    let in_order =
        settings.discipline.in_order() && settings.max_batch <= 1 && settings.dispatch != Dispatch::LateBinding;
    Machine {
        groups: ids.map(|id| GroupState::new(times.group(id))).collect(),
        central: vec![Queue::default(); times.models()],
        expiry: BinaryHeap::new(),
        waiting: 0,
        apart: BTreeMap::new(),
        next_batch: 0,
        in_order,
        ends: Vec::new(),
        passed: Vec::new(),
        settings,
        times: Arc::new(times),
    }
}

impl Machine {
    /// Requests that wait for a first stage.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Requests waiting for or running on `group`.
    pub fn in_flight(&self, group: GroupId) -> usize {
        self.groups[group.index()].in_flight
    }

    /// Takes a request in: dispatch, admission, queueing, and launch if a first stage is free. The limit of those that
    /// wait is for arrivals; who lost a group is refused for that, whatever else stands in the way.
    fn admit(&mut self, now: Time, request: Request, origin: Origin, actions: &mut Vec<Action>) {
        let refuse =
            |reason| Action::Reject(request.id, if origin == Origin::LostGroup { Reason::GroupLost } else { reason });
        let has_room = origin != Origin::Arrival || self.waiting < self.settings.max_waiting;
        let placed = match self.settings.dispatch {
            Dispatch::LateBinding => self.wait_centrally(now, request, has_room),
            _ => self.wait_at_group(now, request, has_room),
        };
        match placed {
            Ok(Placed::Starts(group)) => self.start(group, Members::One(request), 0, actions),
            // In order, a place in the queue is a promise.
            Ok(Placed::Waits(_, _, None)) if self.in_order => {}
            Ok(Placed::Waits(place, rank, None)) => self.note_expiry(request, place, rank),
            Ok(Placed::Waits(place, rank, Some(group))) => {
                self.launch_next(now, group, actions);
                if self.queue(place).contains(rank) {
                    self.note_expiry(request, place, rank);
                }
            }
            Err(reason) => actions.push(refuse(reason)),
        }
    }

    /// Gives `request` to a group, where it starts at once or waits.
    fn wait_at_group(&mut self, now: Time, request: Request, has_room: bool) -> Result<Placed, Reason> {
        let group = self.dispatch(now, request.model).ok_or(Reason::NoReplica)?;
        let times = self.times.group(group);
        let slot = times.slot(request.model).expect("the group holds the model");
        let model = &times.models()[slot];
        let spans = model.row(0, times.stages);
        let state = &mut self.groups[group.index()];
        debug_assert!(!self.in_order || !state.is_idle() || state.owes_nothing());
        let finish = if self.in_order {
            state.finish_if_last(now, slot, spans, &mut self.ends)
        } else {
            state.finish_if_next(now, slot, spans, &mut self.ends)
        };
        let answer = finish + self.settings.fixed_overhead;
        if self.settings.admission == Admission::Deadline && !in_time(request.arrived, answer, request.slo()) {
            return Err(Reason::TooLate { predicted: answer });
        }
        let starts = state.is_idle();
        if !starts && !has_room {
            return Err(Reason::QueueFull);
        }
        if self.in_order {
            state.promise(&self.ends);
        }
        if starts {
            // Nothing waits at an idle group, or it would run.
            return Ok(Placed::Starts(group));
        }
        let rank = if self.in_order {
            // The promise was to run after everything that waits, even if the request arrived earlier
            // and has lost its first group since.
            (now, now, request.id)
        } else {
            (self.settings.discipline.key(&request, model.latency), request.arrived, request.id)
        };
        state.note_waiting(model.bottleneck);
        state.queue.insert(rank, request);
        self.waiting += 1;
        Ok(Placed::Waits(Place::At(group), rank, None))
    }

    /// Queues `request` centrally. Returns where it waits now, and the idle group that would answer it first,
    /// if one can answer in time.
    fn wait_centrally(&mut self, now: Time, request: Request, has_room: bool) -> Result<Placed, Reason> {
        let holders = self.times.holders(request.model);
        if !holders.iter().any(|group| self.groups[group.index()].alive) {
            return Err(Reason::NoReplica);
        }
        let unlimited = self.settings.admission == Admission::None;
        let (mut earliest, mut earliest_idle, mut idle) = (Time::NEVER, Time::NEVER, None);
        for &group in holders.iter().filter(|group| self.groups[group.index()].alive) {
            let finish = finish_if_next(&self.times, &self.groups, now, group, request.model, &mut self.ends);
            let answer = finish + self.settings.fixed_overhead;
            earliest = earliest.min(answer);
            let launches = self.groups[group.index()].is_idle()
                && (unlimited || in_time(request.arrived, answer, request.slo()))
                && (idle.is_none() || answer < earliest_idle);
            if launches {
                (earliest_idle, idle) = (answer, Some(group));
            }
        }
        if !unlimited && !in_time(request.arrived, earliest, request.slo()) {
            return Err(Reason::TooLate { predicted: earliest });
        }
        if idle.is_none() && !has_room {
            return Err(Reason::QueueFull);
        }
        if let Some(group) = idle.filter(|_| self.waiting == 0) {
            // With nothing else waiting, this is what the group would choose.
            finish_if_next(&self.times, &self.groups, now, group, request.model, &mut self.ends);
            return Ok(Placed::Starts(group));
        }
        let latencies = holders.iter().filter_map(|&group| self.times.group(group).model(request.model));
        let latency = latencies.map(|model| model.latency).min().expect("a living group holds the model");
        let rank = (self.settings.discipline.key(&request, latency), request.arrived, request.id);
        self.central[request.model.index()].insert(rank, request);
        self.waiting += 1;
        Ok(Placed::Waits(Place::Central(request.model), rank, idle))
    }

    /// The living group that takes an arrival for `model`.
    fn dispatch(&self, now: Time, model: ModelId) -> Option<GroupId> {
        let Self { settings, times, groups, in_order, .. } = self;
        if let &[only] = times.holders(model) {
            return groups[only.index()].alive.then_some(only);
        }
        let alive = times.holders(model).iter().copied().filter(|group| groups[group.index()].alive);
        match settings.dispatch {
            Dispatch::LeastClock => least(alive, |group| groups[group.index()].last_clock(*in_order)),
            Dispatch::ShortestQueue => least(alive, |group| groups[group.index()].in_flight),
            Dispatch::EarliestFinish | Dispatch::LateBinding => least(alive, |group| {
                let group_times = times.group(group);
                let slot = group_times.slot(model).expect("holders hold the model");
                let spans = group_times.models()[slot].row(0, group_times.stages);
                let state = &groups[group.index()];
                state.finish_if_given(now, slot, spans, *in_order)
            }),
        }
    }

    /// The earliest that any living group could answer a request for `model` that runs next there.
    fn earliest_answer(&mut self, now: Time, model: ModelId) -> Time {
        let Self { settings, times, groups, ends, .. } = self;
        let alive = times.holders(model).iter().copied().filter(|group| groups[group.index()].alive);
        let finish = alive.map(|group| finish_if_next(times, groups, now, group, model, ends)).min();
        finish.unwrap_or(Time::NEVER) + settings.fixed_overhead
    }

    /// Remembers when `request`, which waits, becomes hopeless.
    fn note_expiry(&mut self, request: Request, place: Place, rank: Rank) {
        if self.settings.admission == Admission::None || request.deadline == Time::NEVER {
            return;
        }
        let hopeless = self.hopeless_from(&request, place);
        self.expiry.push(Reverse((hopeless, rank, place)));
    }

    /// From when on not even an idle group could answer a waiting request in time, as far as is known now.
    fn hopeless_from(&self, request: &Request, place: Place) -> Time {
        let alone = |group: GroupId| {
            let times = self.times.group(group);
            let slot = times.slot(request.model)?;
            Some(self.groups[group.index()].latency(slot, times.models()[slot].latency))
        };
        let latency = match place {
            Place::At(group) => alone(group),
            Place::Central(model) => self.times.holders(model).iter().filter_map(|&group| alone(group)).min(),
        };
        let latency = latency.expect("a request waits only where its model is held");
        let latest_start = request.deadline.before(self.settings.fixed_overhead).before(latency);
        latest_start + Span::from_nanos(1)
    }

    fn queue(&self, place: Place) -> &Queue {
        match place {
            Place::At(group) => &self.groups[group.index()].queue,
            Place::Central(model) => &self.central[model.index()],
        }
    }

    /// Launches the most urgent request that `group` can still answer in time, with companions, if its first
    /// stage is free; refuses what it comes across that nobody can answer in time any more.
    fn launch_next(&mut self, now: Time, group: GroupId, actions: &mut Vec<Action>) {
        if !self.groups[group.index()].is_idle() {
            return;
        }
        // Under late binding, only what may run nowhere else waits at a group.
        self.launch_from_group(now, group, actions);
        if self.settings.dispatch == Dispatch::LateBinding && self.groups[group.index()].is_idle() {
            self.launch_from_central(now, group, actions);
        }
    }

    fn launch_from_group(&mut self, now: Time, group: GroupId, actions: &mut Vec<Action>) {
        let index = group.index();
        while let Some(&(_, head)) = self.groups[index].queue.get(0) {
            let several;
            let alone = self.settings.max_batch <= 1 || self.groups[index].queue.len() == 1;
            let candidates: &[usize] = if alone || self.apart.contains_key(&head.id) {
                &[0]
            } else {
                several = self.together(&self.groups[index].queue, 0, head.model);
                &several
            };
            let Some((row, size)) = self.fit(now, group, Place::At(group), candidates) else {
                let answer = self.answer_if_next(now, group, head.model);
                self.leave(Place::At(group), 0);
                actions.push(Action::Reject(head.id, Reason::TooLate { predicted: answer }));
                if self.in_order {
                    self.groups[index].renew_promises(now, self.times.group(group), &mut self.ends);
                }
                continue;
            };
            return self.launch(group, Place::At(group), &candidates[..size], row, actions);
        }
    }

    fn launch_from_central(&mut self, now: Time, group: GroupId, actions: &mut Vec<Action>) {
        if self.waiting == 0 {
            return;
        }
        // Positions up to which each held model's queue was passed over, because this group would be too late.
        let mut passed = std::mem::take(&mut self.passed);
        passed.clear();
        passed.resize(self.times.group(group).models().len(), 0);
        while let Some((slot, model)) = self.most_urgent(group, &passed) {
            let first = passed[slot];
            let place = Place::Central(model);
            let queue = &self.central[model.index()];
            let head = queue.get(first).expect("it was just found there").1.id;
            let several;
            let alone = self.settings.max_batch <= 1 || queue.len() == first + 1;
            let candidates: &[usize] = if alone || self.apart.contains_key(&head) {
                &[first]
            } else {
                several = self.together(queue, first, model);
                &several
            };
            if let Some((row, size)) = self.fit(now, group, place, candidates) {
                self.launch(group, place, &candidates[..size], row, actions);
                break;
            }
            let request = self.queue(place).get(first).expect("it was just found there").1;
            let earliest = self.earliest_answer(now, model);
            if in_time(request.arrived, earliest, request.slo()) {
                passed[slot] += 1;
            } else {
                self.leave(place, first);
                actions.push(Action::Reject(request.id, Reason::TooLate { predicted: earliest }));
            }
        }
        self.passed = passed;
    }

    /// Positions in `queue`, from `first` on, of the most urgent requests for `model` that may run together.
    fn together(&self, queue: &Queue, first: usize, model: ModelId) -> Vec<usize> {
        companions(queue, first, self.settings.max_batch as usize, |request| {
            request.model == model && !self.apart.contains_key(&request.id)
        })
    }

    /// Of the models that `group` holds, the one whose central queue has the most urgent request from its position
    /// in `passed` on, and where the group lists it.
    fn most_urgent(&self, group: GroupId, passed: &[usize]) -> Option<(usize, ModelId)> {
        let held = self.times.group(group).models().iter().map(|times| times.model);
        let heads = held.zip(passed).enumerate();
        let heads =
            heads.filter_map(|(slot, (model, &at))| Some(((slot, model), self.central[model.index()].get(at)?.0)));
        least(heads, |(_, rank)| rank).map(|(head, _)| head)
    }

    /// The largest batch of the requests at positions `candidates` that `group` can answer in time if it starts
    /// now: its row of stage times and its size. Without admission control, the largest batch. Leaves in `self.ends`
    /// when it would leave each stage.
    fn fit(&mut self, now: Time, group: GroupId, place: Place, candidates: &[usize]) -> Option<(usize, usize)> {
        let queue = self.queue(place);
        let request = |&position: &usize| queue.get(position).expect("a candidate is in the queue").1;
        let model = request(&candidates[0]).model;
        let unlimited = self.settings.admission == Admission::None;
        let deadline = |position| if unlimited { Time::NEVER } else { request(position).deadline };
        let deadlines: Vec<Time>;
        let single;
        let deadlines: &[Time] = if let [only] = candidates {
            single = [deadline(only)];
            &single
        } else {
            deadlines = candidates.iter().map(deadline).collect();
            &deadlines
        };
        let times = self.times.group(group);
        let slot = times.slot(model).expect("the group holds the model");
        let entry = &times.models()[slot];
        let state = &self.groups[group.index()];
        let ends = &mut self.ends;
        let overhead = self.settings.fixed_overhead;
        let mut walked = None;
        let mut finish = |row| {
            walked = Some(row);
            state.finish_if_next(now, slot, entry.row(row, times.stages), ends) + overhead
        };
        let rows = entry.rows_up_to(candidates.len(), self.settings.max_batch.max(1));
        let (row, size) = largest_in_time(rows, deadlines, &mut finish)?;
        if walked != Some(row) {
            state.finish_if_next(now, slot, entry.row(row, times.stages), ends);
        }
        Some((row, size))
    }

    /// When `group` would answer a request for `model` that starts now.
    fn answer_if_next(&mut self, now: Time, group: GroupId, model: ModelId) -> Time {
        finish_if_next(&self.times, &self.groups, now, group, model, &mut self.ends) + self.settings.fixed_overhead
    }

    /// Launches the batch that [`Self::fit`] found.
    fn launch(&mut self, group: GroupId, place: Place, positions: &[usize], row: usize, actions: &mut Vec<Action>) {
        let requests = match positions {
            [only] => Members::One(self.leave(place, *only)),
            // From the back, so that positions stay valid.
            several => {
                let mut requests: Vec<_> = several.iter().rev().map(|&position| self.leave(place, position)).collect();
                requests.reverse();
                Members::Many(requests)
            }
        };
        self.start(group, requests, row, actions);
    }

    /// Puts `requests` on the first stage of `group`, which is free. They leave the stages at `self.ends`.
    fn start(&mut self, group: GroupId, requests: Members<Request>, row: usize, actions: &mut Vec<Action>) {
        let model = requests.as_slice()[0].model;
        let slot = self.times.group(group).slot(model).expect("the group holds the model");
        let predicted = *self.ends.last().expect("a group has at least one stage");
        let members = requests.map(|request| request.id);
        let id = BatchId(self.next_batch);
        self.next_batch += 1;
        self.groups[group.index()].launch(Launch { batch: id, requests, slot, row }, &self.ends);
        actions.push(Action::Launch(Batch { id, group, model, requests: members, predicted }));
    }

    /// Takes a request out of where it waits.
    fn leave(&mut self, place: Place, position: usize) -> Request {
        self.waiting -= 1;
        match place {
            Place::At(group) => {
                let state = &mut self.groups[group.index()];
                let request = state.queue.remove_at(position).expect("the position is in the queue");
                let times = self.times.group(group);
                state.note_left_queue(times.model(request.model).expect("only held models wait here").bottleneck);
                request
            }
            Place::Central(model) => {
                self.central[model.index()].remove_at(position).expect("the position is in the queue")
            }
        }
    }

    fn stage_freed(&mut self, now: Time, group: GroupId, actions: &mut Vec<Action>) {
        let Some(state) = self.groups.get_mut(group.index()) else { return };
        if !state.alive {
            return;
        }
        let (news, on_time) = state.stage_freed(now);
        if !news {
            return;
        }
        self.after_drift(now, group, on_time);
        self.launch_next(now, group, actions);
    }

    fn finished(&mut self, now: Time, group: GroupId, batch: BatchId, busy: Span, actions: &mut Vec<Action>) {
        let Some(state) = self.groups.get_mut(group.index()) else { return };
        let Some((done, on_time)) = state.finished(now, batch, busy, self.settings.feedback, self.times.group(group))
        else {
            return;
        };
        actions.extend(done.requests.as_slice().iter().map(|request| Action::Complete(request.id)));
        self.after_drift(now, group, on_time);
        self.launch_next(now, group, actions);
    }

    fn after_drift(&mut self, now: Time, group: GroupId, on_time: OnTime) {
        if on_time == OnTime::No && self.in_order {
            self.groups[group.index()].renew_promises(now, self.times.group(group), &mut self.ends);
        }
    }

    fn cancelled(&mut self, now: Time, id: RequestId, actions: &mut Vec<Action>) {
        let groups = (0..self.groups.len()).map(|index| Place::At(GroupId::from_index(index)));
        let models = (0..self.central.len()).map(|index| Place::Central(ModelId::from_index(index)));
        let found = groups.chain(models).find_map(|place| Some((place, self.queue(place).position(id)?)));
        let Some((place, position)) = found else { return };
        self.leave(place, position);
        if let Place::At(group) = place {
            self.after_drift(now, group, OnTime::No);
        }
        actions.push(Action::Reject(id, Reason::Cancelled));
    }

    fn woke(&mut self, now: Time, actions: &mut Vec<Action>) {
        while let Some(&Reverse((at, rank, place))) = self.expiry.peek() {
            if at > now {
                return;
            }
            self.expiry.pop();
            let Some((position, request)) = self.queue(place).find(rank) else { continue };
            // Feedback may have found the group faster than was thought when the request began to wait.
            let hopeless = self.hopeless_from(&request, place);
            if hopeless > now {
                self.expiry.push(Reverse((hopeless, rank, place)));
                continue;
            }
            self.leave(place, position);
            if let Place::At(group) = place {
                self.after_drift(now, group, OnTime::No);
            }
            let late = request.deadline + Span::from_nanos(1);
            actions.push(Action::Reject(request.id, Reason::TooLate { predicted: late }));
        }
    }
}

impl Scheduler for Machine {
    #[inline]
    fn handle(&mut self, now: Time, event: Event, actions: &mut Vec<Action>) {
        let before = actions.len();
        match event {
            Event::Arrived(request) => self.admit(now, request, Origin::Arrival, actions),
            Event::ArrivedTogether(requests) => self.admit_together(now, &requests, actions),
            Event::StageFreed(group) => self.stage_freed(now, group, actions),
            Event::Finished { group, batch, busy } => self.finished(now, group, batch, busy, actions),
            Event::Cancelled(id) => self.cancelled(now, id, actions),
            Event::Split { group, batch } => self.split(now, group, batch, actions),
            Event::GroupLost(loss) => self.lost(now, loss, actions),
            Event::GroupRestored(group) => self.restored(now, group, actions),
            Event::Woke => self.woke(now, actions),
        }
        if !self.apart.is_empty() {
            for action in &actions[before..] {
                if let Action::Complete(id) | Action::Reject(id, _) = action {
                    self.apart.remove(id);
                }
            }
        }
    }

    #[inline]
    fn next_wakeup(&self) -> Option<Time> {
        self.expiry.peek().map(|Reverse((at, _, _))| *at)
    }
}

fn finish_if_next(
    times: &StageTimes,
    groups: &[GroupState],
    now: Time,
    group: GroupId,
    model: ModelId,
    ends: &mut Vec<Time>,
) -> Time {
    let times = times.group(group);
    let slot = times.slot(model).expect("the group holds the model");
    groups[group.index()].finish_if_next(now, slot, times.models()[slot].row(0, times.stages), ends)
}
