//! What any driver may rely on, shown with a driver that is as unkind as the contract allows: batches take any
//! time at all, requests are cancelled, groups die, and events come twice or for things long gone.

mod common;

use proptest::prelude::*;
use statmux_core::{BatchId, GroupId, ModelId, Request, RequestId, Span, Time};
use statmux_sched::{
    Action, Admission, AnyDiscipline, Batch, Dispatch, Event, Feedback, Loss, Machine, Reason, Scheduler, Settings,
    StageTimes,
};
use std::collections::{BTreeMap, BTreeSet};

const MODELS: u32 = 3;

/// Each group holds two of the three models.
fn times(max_batch: u32) -> StageTimes {
    common::times(max_batch, [&[0, 1], &[1, 2], &[0, 2]], |size, _| 0.004 * f64::from(size + 1))
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// One request, or several that come together.
    Arrive {
        model: u32,
        count: u64,
        slo_ms: u64,
    },
    FreeStage {
        group: u32,
    },
    Finish {
        nth: usize,
        stale: bool,
    },
    Cancel {
        request: u64,
    },
    /// `culprit` counts the batches on the group; beyond them, it died by itself.
    Lose {
        group: u32,
        culprit: usize,
        returns: bool,
    },
    Split {
        nth: usize,
    },
    Restore {
        group: u32,
    },
    Wake,
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let step = prop_oneof![
        6 => (0..MODELS, prop_oneof![4 => Just(1), 1 => 2_u64..6], prop_oneof![Just(0), 5_u64..120])
            .prop_map(|(model, count, slo_ms)| Step::Arrive { model, count, slo_ms }),
        4 => (0_u32..3).prop_map(|group| Step::FreeStage { group }),
        6 => (0_usize..8, proptest::bool::weighted(0.1)).prop_map(|(nth, stale)| Step::Finish { nth, stale }),
        1 => (0_u64..60).prop_map(|request| Step::Cancel { request }),
        1 => (0_u32..3, 0_usize..3, proptest::bool::ANY)
            .prop_map(|(group, culprit, returns)| Step::Lose { group, culprit, returns }),
        1 => (0_usize..8).prop_map(|nth| Step::Split { nth }),
        2 => (0_u32..3).prop_map(|group| Step::Restore { group }),
        1 => Just(Step::Wake),
    ];
    (0_u64..12, step)
}

fn settings() -> impl Strategy<Value = Settings> {
    (
        proptest::sample::select(&Dispatch::ALL[..]),
        proptest::sample::select(&Admission::ALL[..]),
        proptest::sample::select(&AnyDiscipline::ALL[..]),
        1_u32..5,
        prop_oneof![Just(usize::MAX), 0_usize..6],
        proptest::bool::ANY,
        0_u32..3,
    )
        .prop_map(|(dispatch, admission, discipline, max_batch, max_waiting, learns, retries_after_loss)| {
            Settings {
                dispatch,
                admission,
                discipline,
                max_batch,
                max_waiting,
                fixed_overhead: Span::from_millis(1),
                feedback: if learns { Feedback::Ewma { weight: 0.3 } } else { Feedback::Off },
                retries_after_loss,
            }
        })
}

/// What the driver knows of a batch in the pipeline.
struct Flight {
    batch: Batch,
    on_first_stage: bool,
}

/// Drives a machine through any steps and checks every promise it makes.
struct Driver {
    machine: Machine,
    settings: Settings,
    now: Time,
    requests: u64,
    deadlines: BTreeMap<RequestId, Time>,
    ended: BTreeSet<RequestId>,
    flights: Vec<Flight>,
    alive: [bool; 3],
    /// Requests that were in a batch that failed, and the groups that each was on as they were lost.
    apart: BTreeMap<RequestId, Vec<GroupId>>,
}

impl Driver {
    fn event(&mut self, event: Event) {
        let mut actions = Vec::new();
        let waited = self.machine.waiting();
        self.machine.handle(self.now, event.clone(), &mut actions);
        for action in actions {
            match action {
                Action::Launch(batch) => self.launched(batch),
                Action::Complete(id) => self.end(id),
                Action::Reject(id, reason) => {
                    self.rejected(id, reason, &event);
                    self.end(id);
                }
            }
        }
        // Who was admitted once waits again whatever the limit.
        let waiting = self.machine.waiting();
        if matches!(event, Event::Arrived(_) | Event::ArrivedTogether(_)) {
            assert!(waiting <= self.settings.max_waiting.max(waited), "more wait than allowed");
        }
        if let Some(at) = self.machine.next_wakeup() {
            assert!(self.settings.admission == Admission::Deadline && at < Time::NEVER);
        }
    }

    fn launched(&mut self, batch: Batch) {
        let group = batch.group;
        assert!(self.alive[group.index()], "a launch on a lost group");
        assert!(!self.flights.iter().any(|flight| flight.batch.group == group && flight.on_first_stage));
        let members = batch.requests.as_slice();
        assert!(matches!(members.len(), 1 | 2 | 4) && members.len() <= self.settings.max_batch as usize);
        for id in members {
            assert!(!self.ended.contains(id), "{id} runs after its end");
            if let Some(lost) = self.apart.get(id) {
                assert_eq!(members.len(), 1, "{id} runs in company again");
                if lost.len() > self.settings.retries_after_loss as usize {
                    assert!(lost.contains(&group), "{id} puts another group at risk");
                    assert!(lost.len() <= self.settings.retries_after_loss as usize + 1, "{id} runs after all");
                }
            }
            let overhead = self.settings.fixed_overhead;
            if self.settings.admission == Admission::Deadline {
                assert!(batch.predicted + overhead <= self.deadlines[id], "{id} is launched to be late");
            }
        }
        self.flights.push(Flight { batch, on_first_stage: true });
    }

    fn rejected(&self, id: RequestId, reason: Reason, event: &Event) {
        match reason {
            Reason::NoReplica | Reason::QueueFull => {
                assert!(matches!(event, Event::Arrived(_) | Event::ArrivedTogether(_)));
            }
            Reason::TooLate { predicted } => {
                assert_eq!(self.settings.admission, Admission::Deadline);
                assert!(predicted > self.deadlines[&id], "refused at {predicted:?} though in time");
            }
            Reason::GroupLost => assert!(matches!(event, Event::GroupLost(_) | Event::GroupRestored(_))),
            Reason::CostGroup => {
                assert!(matches!(event, Event::GroupLost(_)));
                assert!(self.apart[&id].len() > self.settings.retries_after_loss as usize);
            }
            Reason::Cancelled => assert_eq!(*event, Event::Cancelled(id)),
        }
    }

    fn end(&mut self, id: RequestId) {
        assert!(self.deadlines.contains_key(&id), "{id} never arrived");
        assert!(self.ended.insert(id), "{id} ends twice");
    }

    fn finish(&mut self, nth: usize) {
        let Flight { batch, .. } = self.flights.remove(nth);
        let busy = Span::from_millis(17);
        self.event(Event::Finished { group: batch.group, batch: batch.id, busy });
        assert!(batch.requests.as_slice().iter().all(|id| self.ended.contains(id)), "an answer is lost");
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Arrive { model, count, slo_ms } => {
                let ids = (self.requests..self.requests + count).map(RequestId);
                self.requests += count;
                let deadline = if slo_ms == 0 { Time::NEVER } else { self.now + Span::from_millis(slo_ms) };
                self.deadlines.extend(ids.clone().map(|id| (id, deadline)));
                let request = |id| Request { id, model: ModelId(model), arrived: self.now, deadline };
                let requests: Vec<Request> = ids.map(request).collect();
                self.event(match requests[..] {
                    [only] => Event::Arrived(only),
                    _ => Event::ArrivedTogether(requests),
                });
            }
            Step::FreeStage { group } => {
                let group = GroupId(group);
                let first = |flight: &&mut Flight| flight.batch.group == group && flight.on_first_stage;
                if let Some(flight) = self.flights.iter_mut().find(first) {
                    flight.on_first_stage = false;
                    self.event(Event::StageFreed(group));
                }
            }
            Step::Finish { stale: true, .. } => {
                self.event(Event::Finished { group: GroupId(1), batch: BatchId(9999), busy: Span::ZERO });
            }
            Step::Finish { nth, stale: false } => {
                // Batches of a group finish in the order in which they were launched.
                if let Some(flight) = self.flights.get(nth) {
                    let group = flight.batch.group;
                    let oldest = self.flights.iter().position(|flight| flight.batch.group == group);
                    self.finish(oldest.expect("there is one"));
                }
            }
            Step::Cancel { request } => {
                let id = RequestId(request);
                let runs = self.flights.iter().any(|flight| flight.batch.requests.as_slice().contains(&id));
                self.event(Event::Cancelled(id));
                assert!(runs || !self.deadlines.contains_key(&id) || self.ended.contains(&id), "{id} waits on");
            }
            Step::Lose { group, culprit, returns } => {
                self.alive[group as usize] = false;
                let group = GroupId(group);
                let mut there = self.flights.iter().filter(|flight| flight.batch.group == group);
                let culprit = there.nth(culprit).map(|flight| flight.batch.clone());
                for &id in culprit.iter().flat_map(|batch| batch.requests.as_slice()) {
                    self.apart.entry(id).or_default().push(group);
                }
                self.flights.retain(|flight| flight.batch.group != group);
                let culprit = culprit.map(|batch| batch.id);
                self.event(Event::GroupLost(Loss { group, culprit, returns }));
            }
            Step::Split { nth } => {
                if nth < self.flights.len() && self.flights[nth].batch.requests.as_slice().len() > 1 {
                    let Flight { batch, .. } = self.flights.remove(nth);
                    for &id in batch.requests.as_slice() {
                        self.apart.entry(id).or_default();
                    }
                    self.event(Event::Split { group: batch.group, batch: batch.id });
                }
            }
            Step::Restore { group } => {
                self.alive[group as usize] = true;
                self.event(Event::GroupRestored(GroupId(group)));
            }
            Step::Wake => self.event(Event::Woke),
        }
    }

    /// Nothing more happens but what must: everything ends.
    fn settle(&mut self) {
        for group in 0..3 {
            self.step(Step::Restore { group });
        }
        for _ in 0..10_000 {
            if !self.flights.is_empty() {
                self.now += Span::from_millis(1);
                self.finish(0);
            } else if let Some(at) = self.machine.next_wakeup() {
                self.now = self.now.max(at);
                self.event(Event::Woke);
            } else {
                break;
            }
        }
        assert_eq!(self.ended.len() as u64, self.requests, "every request ends");
        assert_eq!(self.machine.waiting(), 0);
    }
}

fn run(settings: Settings, steps: &[(u64, Step)]) {
    let mut driver = Driver {
        machine: statmux_sched::machine(settings, times(settings.max_batch)),
        settings,
        now: Time::ZERO,
        requests: 0,
        deadlines: BTreeMap::new(),
        ended: BTreeSet::new(),
        flights: Vec::new(),
        alive: [true; 3],
        apart: BTreeMap::new(),
    };
    for &(millis, step) in steps {
        driver.now += Span::from_millis(millis);
        driver.step(step);
    }
    driver.settle();
    for group in 0..3 {
        assert_eq!(driver.machine.in_flight(GroupId(group)), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_contract_holds_whatever_happens(settings in settings(), steps in proptest::collection::vec(step(), 0..150)) {
        run(settings, &steps);
    }
}
