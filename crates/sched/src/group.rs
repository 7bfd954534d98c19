//! What the scheduler knows of one group: its clocks, what waits, what runs, and how far off its profile is.

use crate::queue::Queue;
use crate::rules::{walk_on, walk_to_end};
use crate::times::{GroupTimes, ModelTimes, StageTimes};
use crate::{Feedback, Members};
use statmux_core::{BatchId, GroupId, Request, Span, Time};
use std::borrow::Cow;
use std::collections::VecDeque;

/// The state of one group.
#[derive(Clone, Debug)]
pub(crate) struct GroupState {
    pub(crate) alive: bool,
    /// While it is down: whether it is expected back.
    pub(crate) returns: bool,
    /// When each stage is predicted to be done with all that was launched.
    clocks: Vec<Time>,
    /// The same with all that waits here; kept only where requests run in the order of arrival.
    promised: Vec<Time>,
    /// What waits for this group (nothing under late binding).
    pub(crate) queue: Queue,
    /// Bottleneck time of all that waits here.
    backlog: Span,
    /// Launched and not yet finished, in order of launch, which is the order of finish.
    running: VecDeque<Running>,
    /// The batch on the first stage.
    first_stage: Option<BatchId>,
    /// Requests waiting or running here.
    pub(crate) in_flight: usize,
    /// By slot: real over profiled time, as measured so far.
    factors: Vec<f64>,
}

/// A batch in the pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) batch: BatchId,
    /// Kept whole, so that they can run elsewhere if the group dies.
    pub(crate) requests: Members<Request>,
    slot: usize,
    /// Which of its model's batch sizes it has.
    row: usize,
    /// When the last stage should be done.
    predicted: Time,
}

/// A batch about to be launched.
pub(crate) struct Launch {
    pub(crate) batch: BatchId,
    pub(crate) requests: Members<Request>,
    pub(crate) slot: usize,
    pub(crate) row: usize,
}

impl GroupState {
    pub(crate) fn new(times: &GroupTimes) -> Self {
        Self {
            alive: true,
            returns: false,
            clocks: vec![Time::ZERO; times.stages],
            promised: vec![Time::ZERO; times.stages],
            queue: Queue::default(),
            backlog: Span::ZERO,
            running: VecDeque::new(),
            first_stage: None,
            in_flight: 0,
            factors: vec![1.0; times.models().len()],
        }
    }

    /// Whether the first stage can take a batch.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.alive && self.first_stage.is_none()
    }

    /// When the first stage is predicted to be free, if something is on it.
    pub(crate) fn frees_at(&self) -> Option<Time> {
        (self.alive && self.first_stage.is_some()).then(|| self.clocks[0])
    }

    /// When a batch launched as soon as the first stage is free would finish.
    #[inline]
    pub(crate) fn finish_if_next(&self, now: Time, slot: usize, spans: &[Span]) -> Time {
        walk_to_end(now, &self.clocks, &self.corrected(slot, spans))
    }

    /// When a request would finish that runs after everything waiting here. Exact where order is that of arrival.
    #[inline]
    pub(crate) fn finish_if_last(&self, now: Time, slot: usize, spans: &[Span]) -> Time {
        walk_to_end(now, &self.promised, &self.corrected(slot, spans))
    }

    /// When a request would finish that is given to this group now: [`Self::finish_if_last`] where order is that of
    /// arrival (`in_order`). Elsewhere all that waits is taken to delay the first stage.
    #[inline]
    pub(crate) fn finish_if_given(&self, now: Time, slot: usize, spans: &[Span], in_order: bool) -> Time {
        let (clocks, from) =
            if in_order { (&self.promised, now) } else { (&self.clocks, now.max(self.clocks[0]) + self.backlog) };
        walk_to_end(from, clocks, &self.corrected(slot, spans))
    }

    /// Whether what is promised is what was launched, as it must be where nothing waits.
    pub(crate) fn owes_nothing(&self) -> bool {
        self.promised == self.clocks
    }

    /// When the last stage is free of all that was promised; `in_order` as for [`Self::finish_if_last`].
    #[inline]
    pub(crate) fn last_clock(&self, in_order: bool) -> Time {
        let clocks = if in_order { &self.promised } else { &self.clocks };
        let last = *clocks.last().expect("a group has at least one stage");
        if in_order { last } else { last + self.backlog }
    }

    /// Notes a promise to run a request after everything waiting here.
    #[inline]
    pub(crate) fn promise(&mut self, now: Time, slot: usize, spans: &[Span]) {
        let spans = corrected(self.factors[slot], spans);
        walk_on(now, &mut self.promised, &spans);
    }

    #[inline]
    pub(crate) fn note_waiting(&mut self, bottleneck: Span) {
        self.backlog += bottleneck;
        self.in_flight += 1;
    }

    #[inline]
    pub(crate) fn note_left_queue(&mut self, bottleneck: Span) {
        self.backlog = self.backlog - bottleneck;
        self.in_flight -= 1;
    }

    /// Puts a batch on the first stage, which is free; `spans` are those of its row. Returns when it should finish.
    #[inline]
    pub(crate) fn launch(&mut self, now: Time, launch: Launch, spans: &[Span]) -> Time {
        let Launch { batch, requests, slot, row } = launch;
        let spans = corrected(self.factors[slot], spans);
        let predicted = walk_on(now, &mut self.clocks, &spans);
        self.first_stage = Some(batch);
        self.in_flight += requests.as_slice().len();
        self.running.push_back(Running { batch, requests, slot, row, predicted });
        predicted
    }

    /// The first stage is free. Returns whether that was news, and whether it came when predicted.
    #[inline]
    pub(crate) fn stage_freed(&mut self, now: Time) -> (bool, OnTime) {
        if self.first_stage.take().is_none() {
            return (false, OnTime::Yes);
        }
        let predicted = self.clocks[0];
        self.clocks[0] = now;
        if now == predicted {
            return (true, OnTime::Yes);
        }
        // A late first stage delays all that follows it; an early one says nothing yet about the others.
        let late = now.since(predicted);
        self.clocks[1..].iter_mut().for_each(|clock| *clock += late);
        if let Some(newest) = self.running.back_mut() {
            newest.predicted += late;
        }
        (true, OnTime::No)
    }

    /// A batch is done: takes it out of the pipeline, if it is there.
    #[inline]
    pub(crate) fn finished(
        &mut self,
        now: Time,
        batch: BatchId,
        busy: Span,
        feedback: Feedback,
        times: &GroupTimes,
    ) -> Option<(Running, OnTime)> {
        let position = self.running.iter().position(|running| running.batch == batch)?;
        let running = if position == 0 { self.running.pop_front() } else { self.running.remove(position) };
        let running = running.expect("found at this position");
        self.in_flight -= running.requests.as_slice().len();
        let mut on_time = if now == running.predicted { OnTime::Yes } else { OnTime::No };
        if now != running.predicted {
            let last = self.clocks.last_mut().expect("a group has at least one stage");
            let (late, early) = (now.since(running.predicted), running.predicted.since(now));
            *last = (*last + late).before(early).max(now);
            for behind in &mut self.running {
                behind.predicted = (behind.predicted + late).before(early).max(now);
            }
        }
        if feedback != Feedback::Off {
            let factor = &mut self.factors[running.slot];
            let profiled = times.models()[running.slot].row(running.row, times.stages).iter().copied().sum();
            let corrected = feedback.corrected(*factor, profiled, busy);
            if corrected != *factor {
                *factor = corrected;
                on_time = OnTime::No;
            }
        }
        if self.first_stage == Some(batch) {
            self.first_stage = None;
            self.clocks[0] = now;
        }
        Some((running, on_time))
    }

    /// The latency of a model alone on this group, given what was measured so far.
    #[inline]
    pub(crate) fn latency(&self, slot: usize, profiled: Span) -> Span {
        let factor = self.factors[slot];
        if factor == 1.0 { profiled } else { profiled.scale(factor) }
    }

    /// Promises again what waits, after the clocks moved by more than launches.
    pub(crate) fn renew_promises(&mut self, now: Time, group: GroupId, times: &StageTimes) {
        self.promised.copy_from_slice(&self.clocks);
        for request in self.queue.iter() {
            let replica = times.awaited(group, request.model);
            let spans = corrected(self.factors[replica.slot], times.row(replica, 0));
            walk_on(now, &mut self.promised, &spans);
        }
    }

    /// Everything on the group is gone: returns the members of `culprit`, if that ran, and then what else ran and what
    /// waited.
    pub(crate) fn lose(&mut self, culprit: Option<BatchId>) -> (Option<Members<Request>>, Vec<Request>) {
        self.alive = false;
        self.first_stage = None;
        self.backlog = Span::ZERO;
        self.in_flight = 0;
        let (mut guilty, mut others) = (None, Vec::new());
        for running in self.running.drain(..) {
            if culprit == Some(running.batch) {
                guilty = Some(running.requests);
            } else {
                others.extend_from_slice(running.requests.as_slice());
            }
        }
        others.extend(self.queue.drain());
        (guilty, others)
    }

    /// The group is back, as profiled; what waits for it does so still.
    pub(crate) fn restore(&mut self, now: Time) {
        self.alive = true;
        self.returns = false;
        self.clocks.fill(now);
        self.promised.fill(now);
        self.factors.fill(1.0);
    }

    /// The profile's `spans`, corrected by what was measured so far.
    #[inline]
    fn corrected<'s>(&self, slot: usize, spans: &'s [Span]) -> Cow<'s, [Span]> {
        corrected(self.factors[slot], spans)
    }
}

#[inline]
fn corrected(factor: f64, spans: &[Span]) -> Cow<'_, [Span]> {
    if factor == 1.0 {
        return Cow::Borrowed(spans);
    }
    Cow::Owned(spans.iter().map(|span| span.scale(factor)).collect())
}

/// Whether something happened when it was predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnTime {
    Yes,
    No,
}

impl ModelTimes {
    /// The rows whose batch size is at most `available` and `max_batch`, smallest first.
    #[inline]
    pub(crate) fn rows_up_to(&self, available: usize, max_batch: u32) -> impl Iterator<Item = (usize, usize)> + '_ {
        let limit = available.min(max_batch as usize);
        self.sizes.iter().map(|&size| size as usize).enumerate().take_while(move |&(_, size)| size <= limit)
    }
}
