//! Requests that come together: all are taken in or none, and nothing is left to be found out later.

mod common;

use proptest::prelude::*;
use statmux_core::{GroupId, ModelId, Request, RequestId, Span, Time};
use statmux_sched::{
    Action, Admission, AnyDiscipline, Batch, Dispatch, Event, Machine, Reason, Scheduler, Settings, StageTimes, machine,
};
use std::collections::BTreeMap;

/// The first model is on all groups, the second on the longest alone.
fn times(max_batch: u32) -> StageTimes {
    common::times(max_batch, [&[0], &[0], &[0, 1]], |size, stage| 0.003 * f64::from(size + 1 + stage))
}

/// Who comes, after how many milliseconds: so many for a model, to be answered within a time (0: any).
#[derive(Clone, Copy, Debug)]
struct Call {
    after_ms: u64,
    model: u32,
    count: usize,
    slo_ms: u64,
}

fn call(most: usize) -> impl Strategy<Value = Call> {
    let slo = prop_oneof![1 => Just(0), 6 => 5_u64..200];
    (0_u64..30, 0_u32..2, 1..=most, slo).prop_map(|(after_ms, model, count, slo_ms)| Call {
        after_ms,
        model,
        count,
        slo_ms,
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    (
        proptest::sample::select(&Dispatch::ALL[..]),
        proptest::sample::select(&Admission::ALL[..]),
        proptest::sample::select(&AnyDiscipline::ALL[..]),
        1_u32..5,
        prop_oneof![3 => Just(usize::MAX), 1 => 0_usize..12],
    )
        .prop_map(|(dispatch, admission, discipline, max_batch, max_waiting)| Settings {
            dispatch,
            admission,
            discipline,
            max_batch,
            max_waiting,
            fixed_overhead: Span::from_millis(1),
            ..Settings::default()
        })
}

/// A world in which every batch takes exactly as long as profiled.
#[derive(Clone)]
struct World {
    machine: Machine,
    times: StageTimes,
    now: Time,
    /// When first stages come free (`false`) and batches finish (`true`), of several at a time the lower group's first.
    coming: BTreeMap<(Time, GroupId, bool, u64), Batch>,
    /// When each stage of each group is free.
    clocks: Vec<Vec<Time>>,
    /// All that the machine did.
    done: Vec<(Time, Action)>,
}

impl World {
    fn new(settings: Settings) -> Self {
        let times = times(settings.max_batch);
        let clocks = (0..times.groups()).map(|index| vec![Time::ZERO; times.stages(GroupId::from_index(index))]);
        let clocks = clocks.collect();
        let machine = machine(settings, times.clone());
        Self { machine, times, now: Time::ZERO, coming: BTreeMap::new(), clocks, done: Vec::new() }
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.machine.handle(self.now, event, &mut actions);
        for action in &actions {
            self.done.push((self.now, action.clone()));
            let Action::Launch(batch) = action else { continue };
            let size = batch.requests.as_slice().len();
            let spans = self.times.spans(batch.group, batch.model, size as u32).expect("a profiled size");
            let mut at = self.now;
            for (clock, &span) in self.clocks[batch.group.index()].iter_mut().zip(spans) {
                at = at.max(*clock) + span;
                *clock = at;
            }
            let first = self.clocks[batch.group.index()][0];
            if spans.len() > 1 {
                self.coming.insert((first, batch.group, false, batch.id.0), batch.clone());
            }
            self.coming.insert((at, batch.group, true, batch.id.0), batch.clone());
        }
        actions
    }

    /// Lets all happen that happens until `until`.
    fn pass(&mut self, until: Time) {
        loop {
            let next = self.coming.first_key_value().map(|(&key, _)| key);
            let wakes = self.machine.next_wakeup();
            match (next, wakes) {
                (Some(key), wakes) if key.0 <= until && wakes.is_none_or(|at| key.0 <= at) => {
                    let batch = self.coming.remove(&key).expect("it is there");
                    self.now = key.0;
                    if key.2 {
                        let spans = self.times.spans(batch.group, batch.model, batch.requests.as_slice().len() as u32);
                        let busy = spans.expect("profiled").iter().copied().sum();
                        self.event(Event::Finished { group: batch.group, batch: batch.id, busy });
                    } else {
                        self.event(Event::StageFreed(batch.group));
                    }
                }
                (_, Some(at)) if at <= until => {
                    self.now = self.now.max(at);
                    self.event(Event::Woke);
                }
                _ => break,
            }
        }
        self.now = self.now.max(until);
    }

    /// The requests of a call that comes now.
    fn requests(&self, call: &Call, first: u64) -> Vec<Request> {
        let deadline = if call.slo_ms == 0 { Time::NEVER } else { self.now + Span::from_millis(call.slo_ms) };
        let request = |id| Request { id: RequestId(id), model: ModelId(call.model), arrived: self.now, deadline };
        (first..first + call.count as u64).map(request).collect()
    }
}

/// Whether `actions` refuse none or all of `requests`, and which.
fn refused(actions: &[Action], requests: &[Request]) -> Option<Reason> {
    let reasons: Vec<Reason> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Reject(id, reason) if requests.iter().any(|request| request.id == *id) => Some(*reason),
            _ => None,
        })
        .collect();
    assert!(reasons.is_empty() || reasons.len() == requests.len(), "{} of {}", reasons.len(), requests.len());
    reasons.first().copied()
}

/// One by one or together is the same for one.
fn alone(settings: Settings, calls: &[Call]) {
    let mut single = World::new(settings);
    let mut gang = World::new(settings);
    for (id, call) in calls.iter().enumerate() {
        let at = single.now + Span::from_millis(call.after_ms);
        single.pass(at);
        gang.pass(at);
        let request = single.requests(&Call { count: 1, ..*call }, id as u64);
        single.event(Event::Arrived(request[0]));
        gang.event(Event::ArrivedTogether(request));
    }
    assert_eq!(single.done, gang.done);
}

fn together(settings: Settings, calls: &[Call]) {
    let mut world = World::new(settings);
    let mut first = 0;
    for (index, call) in calls.iter().enumerate() {
        world.pass(world.now + Span::from_millis(call.after_ms));
        let requests = world.requests(call, first);
        first += call.count as u64;
        let before = world.clone();
        let idle = before.machine.waiting() == 0 && before.coming.is_empty();
        let actions = world.event(Event::ArrivedTogether(requests.clone()));
        let soonest =
            world.times.soonest(ModelId(call.model), call.count, settings.max_batch) + settings.fixed_overhead;
        if let Some(reason) = refused(&actions, &requests) {
            assert_eq!(actions.len(), requests.len(), "a refused gang changes nothing");
            if let (true, Reason::TooLate { predicted }) = (idle, reason) {
                assert!(predicted > requests[0].deadline);
            }
            // What follows is as if it had never come.
            let (mut after, mut without) = (world.clone(), before);
            for call in calls[index + 1..].iter().take(3) {
                for other in [&mut after, &mut without] {
                    other.pass(other.now + Span::from_millis(call.after_ms));
                    let more = other.requests(call, first + 1000);
                    other.event(Event::ArrivedTogether(more));
                }
            }
            assert_eq!(after.done[world.done.len()..], without.done[world.done.len() - requests.len()..]);
        } else if settings.admission == Admission::Deadline && call.count > 1 {
            assert!(requests[0].deadline == Time::NEVER || world.now + soonest <= requests[0].deadline, "impossible");
            // With nothing else arriving, every member is answered in time.
            let mut alone = world.clone();
            alone.pass(alone.now + Span::from_millis(100_000));
            for request in &requests {
                let end = alone.done.iter().find_map(|(at, action)| match action {
                    Action::Complete(id) if *id == request.id => Some(*at + settings.fixed_overhead),
                    _ => None,
                });
                assert!(end.is_some_and(|end| end <= request.deadline), "{} is let down: {end:?}", request.id);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_gang_of_one_is_an_arrival(settings in settings(), calls in proptest::collection::vec(call(1), 1..40)) {
        alone(settings, &calls);
    }

    #[test]
    fn all_are_answered_in_time_or_none_is_taken_in(
        settings in settings(),
        calls in proptest::collection::vec(call(12), 1..20),
    ) {
        together(settings, &calls);
    }
}
