//! One run of the loop: clocks, queues, and who is next.

use super::{LateTrack, Launch};
use statmux_core::{Request, RequestId, Span, Time, Workload};
use statmux_sched::Admission;
use statmux_sched::batching::largest_in_time;
use statmux_sched::rules::{in_time, least};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A request that waits. Ordered as the machine ranks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    key: Time,
    arrived: Time,
    id: RequestId,
    deadline: Time,
}

pub(super) struct Run<'t> {
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
    /// By group: how long its stages computed, together.
    busy: Vec<Span>,
}

/// A batch that can be launched; `ends` says when it leaves each stage.
#[derive(Clone, Copy)]
struct Batch {
    row: usize,
    size: usize,
    /// Without the fixed overhead.
    end: Time,
}

impl<'t> Run<'t> {
    pub(super) fn new(track: &'t LateTrack) -> Self {
        Self {
            track,
            clocks: vec![Time::ZERO; track.stages],
            ends: vec![Time::ZERO; track.stages],
            queues: vec![VecDeque::new(); track.models.len()],
            waiting: vec![0; track.words],
            due: BinaryHeap::new(),
            armed: vec![false; track.groups.len()],
            launched: vec![0; track.groups.len()],
            launches: 0,
            passed: Vec::new(),
            deadlines: Vec::new(),
            busy: vec![Span::ZERO; track.groups.len()],
        }
    }

    /// Serves `workload`. For every request that is launched, `note` is told its position in the workload, what became
    /// of it, and whether it was answered in time. Returns how long the stages of each group computed, together.
    pub(super) fn serve(
        mut self,
        workload: &Workload,
        model_slo: &[Span],
        mut note: impl FnMut(usize, &Launch, bool),
    ) -> Vec<Span> {
        for index in 0..workload.len() {
            if self.track.models[workload.model[index].index()].holders.is_empty() {
                continue;
            }
            let request = workload.request(index, model_slo);
            self.frees_until(request.arrived, &mut note);
            self.arrives(&request, &mut note);
        }
        self.frees_until(Time::NEVER, &mut note);
        self.busy
    }

    /// Lets every first stage that is free by `now` and has something waiting take it.
    #[inline]
    fn frees_until(&mut self, now: Time, note: &mut impl FnMut(usize, &Launch, bool)) {
        while let Some(&Reverse((at, _, group))) = self.due.peek() {
            if at > now {
                return;
            }
            self.due.pop();
            self.armed[group] = false;
            self.launch_next(at, group, note);
        }
    }

    #[inline]
    fn arrives(&mut self, request: &Request, note: &mut impl FnMut(usize, &Launch, bool)) {
        let model = request.model.index();
        let (track, clocks) = (self.track, &self.clocks);
        let of_model = &track.models[model];
        let admits = |answer| track.admission == Admission::None || in_time(request.arrived, answer, request.slo());
        let idle = of_model.holders.iter().filter_map(|&(group, replica)| {
            let (group, replica) = (group as usize, replica as usize);
            if clocks[track.groups[group].clocks.start] > request.arrived {
                return None;
            }
            let answer = track.answer(request.arrived, clocks, group, replica, 0);
            admits(answer).then_some((group, replica, answer))
        });
        let idle = least(idle, |(_, _, answer)| answer);
        if let Some((group, replica, _)) = idle
            && !self.has_waiting(group)
        {
            // With nothing else waiting, this is what the group would choose.
            let end = self.track.walk(request.arrived, clocks, group, replica, 0, &mut self.ends);
            let launch = self.start(request.arrived, (group, replica), model, Batch { row: 0, size: 1, end });
            return note(request.id.index(), &launch, launch.finished <= request.deadline);
        }
        if idle.is_none() && !admits(request.arrived + of_model.latency + track.overhead) {
            // Not even an idle group could answer it in time.
            return;
        }
        let key = track.discipline.key(request, of_model.latency);
        let waiting = Waiting { key, arrived: request.arrived, id: request.id, deadline: request.deadline };
        let queue = &mut self.queues[model];
        let mut at = queue.len();
        while at > 0 && queue[at - 1] > waiting {
            at -= 1;
        }
        queue.insert(at, waiting);
        self.waiting[model / 64] |= 1 << (model % 64);
        match idle {
            Some((group, ..)) => self.launch_next(request.arrived, group, note),
            None => {
                for &(group, _) in &self.track.models[model].holders {
                    let group = group as usize;
                    if self.frees_at(group) > request.arrived {
                        self.arm(group);
                    }
                }
            }
        }
    }

    /// When the first stage of `group` is done with what was launched.
    #[inline]
    fn frees_at(&self, group: usize) -> Time {
        self.clocks[self.track.groups[group].clocks.start]
    }

    /// Notes when the first stage of `group`, which is busy, frees up.
    #[inline]
    fn arm(&mut self, group: usize) {
        if !self.armed[group] {
            self.armed[group] = true;
            self.due.push(Reverse((self.frees_at(group), self.launched[group], group)));
        }
    }

    /// The most urgent waiting request of the models that `group` holds, past those that are passed over.
    #[inline]
    fn most_urgent(&self, group: usize) -> Option<(usize, usize)> {
        let mut best: Option<(&Waiting, usize, usize)> = None;
        for (word, (&held, &waiting)) in self.track.groups[group].held.iter().zip(&self.waiting).enumerate() {
            let mut bits = held & waiting;
            while bits != 0 {
                let model = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let passed = self.passed.iter().find(|(other, _)| *other == model).map_or(0, |&(_, count)| count);
                let Some(head) = self.queues[model].get(passed) else { continue };
                if best.is_none_or(|(least, ..)| head < least) {
                    best = Some((head, model, passed));
                }
            }
        }
        best.map(|(_, model, passed)| (model, passed))
    }

    /// The idle `group` takes the most urgent request it can answer in time, with companions.
    #[inline]
    fn launch_next(&mut self, now: Time, group: usize, note: &mut impl FnMut(usize, &Launch, bool)) {
        self.passed.clear();
        while let Some((model, first)) = self.most_urgent(group) {
            let holders = &self.track.models[model].holders;
            let &(_, replica) =
                holders.iter().find(|(holder, _)| *holder as usize == group).expect("the group holds it");
            if let Some(batch) = self.fit(now, group, replica as usize, model, first) {
                return self.launch(now, (group, replica as usize), (model, first), batch, note);
            }
            let head = self.queues[model][first];
            let answer = |&(holder, replica): &(u32, u32)| {
                self.track.answer(now, &self.clocks, holder as usize, replica as usize, 0)
            };
            let earliest = holders.iter().map(answer).min().expect("the model has a replica");
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

    /// The largest batch from position `first` of the queue of `model` that is answered in time.
    #[inline]
    fn fit(&mut self, now: Time, group: usize, replica: usize, model: usize, first: usize) -> Option<Batch> {
        let Self { track, queues, deadlines, clocks, ends, .. } = self;
        let queue = &queues[model];
        let available = (queue.len() - first).min(track.max_batch);
        let unlimited = track.admission == Admission::None;
        let deadline = |waiting: &Waiting| if unlimited { Time::NEVER } else { waiting.deadline };
        let single;
        let deadlines: &[Time] = if available == 1 {
            single = [deadline(&queue[first])];
            &single
        } else {
            deadlines.clear();
            deadlines.extend(queue.range(first..first + available).map(deadline));
            deadlines
        };
        let rows = track.replicas[replica].sizes.iter().copied();
        let mut walked = None;
        let mut finish = |row| {
            let end = track.walk(now, clocks, group, replica, row, ends);
            walked = Some((row, end));
            end + track.overhead
        };
        let (row, size) = largest_in_time(rows, deadlines, &mut finish)?;
        let end = match walked {
            Some((last, end)) if last == row => end,
            _ => track.walk(now, clocks, group, replica, row, ends),
        };
        Some(Batch { row, size, end })
    }

    #[inline]
    fn launch(
        &mut self,
        now: Time,
        (group, replica): (usize, usize),
        (model, first): (usize, usize),
        batch: Batch,
        note: &mut impl FnMut(usize, &Launch, bool),
    ) {
        let launch = self.start(now, (group, replica), model, batch);
        for _ in 0..batch.size {
            let member = self.leave(model, first);
            note(member.id.index(), &launch, launch.finished <= member.deadline);
        }
        if self.has_waiting(group) {
            self.arm(group);
        }
    }

    /// Puts a batch on the stages of `group`, the first of which is free. It leaves them at `ends`.
    #[inline]
    fn start(&mut self, now: Time, (group, replica): (usize, usize), model: usize, batch: Batch) -> Launch {
        let at = self.track.groups[group].clocks.clone();
        self.clocks[at.clone()].copy_from_slice(&self.ends[at]);
        self.busy[group] += self.track.row(group, replica, batch.row).iter().copied().sum();
        self.launched[group] = self.launches;
        self.launches += 1;
        Launch { group, model, started: now, finished: batch.end + self.track.overhead }
    }

    /// Whether something waits for a model that `group` holds.
    #[inline]
    fn has_waiting(&self, group: usize) -> bool {
        self.track.groups[group].held.iter().zip(&self.waiting).any(|(held, waiting)| held & waiting != 0)
    }

    #[inline]
    fn leave(&mut self, model: usize, position: usize) -> Waiting {
        let queue = &mut self.queues[model];
        let left = if position == 0 { queue.pop_front() } else { queue.remove(position) };
        if queue.is_empty() {
            self.waiting[model / 64] &= !(1 << (model % 64));
        }
        left.expect("the position is in the queue")
    }
}
