//! The machine: takes events to the rules, and keeps the state they need.
//!
//! A request is admitted here, waits at a group ([`group_queue`]) or for any ([`central`]), and comes to run by
//! [`launch`]; [`loss`] and [`gang`] are for groups that die and requests that come together.

mod central;
mod gang;
mod group_queue;
mod launch;
mod loss;

use crate::group::{GroupState, OnTime};
use crate::queue::{Queue, Rank};
use crate::times::{Replica, StageTimes};
use crate::{Action, Admission, Dispatch, Event, Members, Reason, Scheduler, Settings};
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
    /// It can run at once on this replica, whose group is idle.
    Starts(Replica),
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
            Ok(Placed::Starts(replica)) => self.start(now, replica, Members::One(request), 0, actions),
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

    /// Queues `request` at the group of `replica`, after all that waits there or where the discipline wants it.
    fn queue_at(&mut self, now: Time, replica: Replica, request: Request) -> Rank {
        let times = self.times.of(replica);
        let rank = if self.in_order {
            // The promise was to run after everything that waits, even if the request arrived earlier
            // and has lost its first group since.
            (now, now, request.id)
        } else {
            (self.settings.discipline.key(&request, times.latency), request.arrived, request.id)
        };
        let state = &mut self.groups[replica.group.index()];
        state.note_waiting(times.bottleneck);
        state.queue.insert(rank, request);
        self.waiting += 1;
        rank
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
        let alone = |&replica: &Replica| {
            self.groups[replica.group.index()].latency(replica.slot, self.times.of(replica).latency)
        };
        let latency = match place {
            Place::At(group) => alone(&self.times.awaited(group, request.model)),
            Place::Central(model) => self
                .times
                .replicas(model)
                .iter()
                .map(alone)
                .min()
                .expect("a request waits only for models that are held"),
        };
        let latest_start = request.deadline.before(self.settings.fixed_overhead).before(latency);
        latest_start + Span::from_nanos(1)
    }

    fn queue(&self, place: Place) -> &Queue {
        match place {
            Place::At(group) => &self.groups[group.index()].queue,
            Place::Central(model) => &self.central[model.index()],
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
            self.groups[group.index()].renew_promises(now, group, &self.times);
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
