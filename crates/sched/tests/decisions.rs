//! One table for each kind of decision: dispatch, admission, order, batching, loss and restoration.

use statmux_core::{
    Bytes, Cluster, ConfigProfile, DeviceId, Group, GroupId, ModelId, ModelProfile, ModelSpec, ParallelConfig,
    Placement, Request, RequestId, Slo, Span, Time,
};
use statmux_sched::{
    Action, Admission, AnyDiscipline, Dispatch, Event, Feedback, Loss, Machine, Reason, Scheduler, Settings, StageTimes,
};
use std::sync::Arc;

/// Model 0 takes 10 ms, model 1 20 ms; a batch of two takes 1.5 times as long. Each group is one device of the
/// given speed and holds both models.
fn times(speeds: &[f64]) -> StageTimes {
    let model = |index: usize| {
        let seconds = [0.010, 0.020][index];
        let profile = ConfigProfile {
            stage_seconds: [(1, vec![seconds]), (2, vec![seconds * 1.5])].into(),
            stage_weights: vec![Bytes::new(1)],
            ..ConfigProfile::default()
        };
        let profile = ModelProfile::new("any", "assumed", [(ParallelConfig::SINGLE, profile)].into());
        ModelSpec { name: format!("m{index}"), slo: Slo::None, profile: Arc::new(profile) }
    };
    let group = |device| Group {
        devices: vec![DeviceId(device)],
        config: ParallelConfig::SINGLE,
        models: vec![ModelId(0), ModelId(1)],
    };
    let device = |&speed: &f64| statmux_core::Device { memory: Bytes::from_gib(1), node: 0, speed };
    let cluster = Cluster::new(speeds.iter().map(device).collect());
    let placement = Placement { groups: (0..speeds.len() as u32).map(group).collect() };
    StageTimes::new(&placement, &cluster, &[model(0), model(1)], 0.0, 2).expect("profiled")
}

fn at(millis: u64) -> Time {
    Time::ZERO + Span::from_millis(millis)
}

fn machine(settings: Settings, speeds: &[f64]) -> Machine {
    statmux_sched::machine(settings, times(speeds))
}

/// A short text for what was done: `launch r0+r1 on g0`, `complete r0`, `reject r1 (QueueFull)`.
fn said(actions: &[Action]) -> String {
    let one = |action: &Action| match action {
        Action::Launch(batch) => {
            let members: Vec<_> = batch.requests.as_slice().iter().map(ToString::to_string).collect();
            format!("launch {} on {}", members.join("+"), batch.group)
        }
        Action::Complete(id) => format!("complete {id}"),
        Action::Reject(id, Reason::TooLate { predicted }) => {
            format!("reject {id} (at {} ms)", predicted.nanos() as f64 / 1e6)
        }
        Action::Reject(id, reason) => format!("reject {id} ({reason:?})"),
    };
    actions.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Something to tell the machine, at a time in milliseconds.
enum Tell {
    /// A request for a model with an SLO in milliseconds (0 for none); ids count from 0.
    Arrive(u32, u64),
    /// The n-th launch finished.
    Finish(usize),
    /// The same, having computed this many milliseconds.
    FinishAfter(usize, u64),
    Cancel(u64),
    Lose(u32),
    /// A group died of the n-th launch, and is expected back.
    Kill(u32, usize),
    /// The n-th launch failed, for one of its members.
    Split(usize),
    Restore(u32),
    Wake,
}

use Tell::{Arrive, Cancel, Finish, FinishAfter, Kill, Lose, Restore, Split, Wake};

fn check(settings: Settings, speeds: &[f64], story: &[(u64, Tell, &str)]) {
    let mut machine = machine(settings, speeds);
    let (mut launched, mut requests) = (Vec::new(), 0);
    for (line, (millis, tell, expected)) in story.iter().enumerate() {
        let now = at(*millis);
        let event = match *tell {
            Arrive(model, slo) => {
                let id = RequestId(requests);
                requests += 1;
                let deadline = if slo == 0 { Time::NEVER } else { now + Span::from_millis(slo) };
                Event::Arrived(Request { id, model: ModelId(model), arrived: now, deadline })
            }
            Finish(nth) => finished(&launched[nth], Span::from_millis(10)),
            FinishAfter(nth, busy) => finished(&launched[nth], Span::from_millis(busy)),
            Cancel(id) => Event::Cancelled(RequestId(id)),
            Lose(group) => Event::GroupLost(Loss::of(GroupId(group))),
            Kill(group, nth) => {
                Event::GroupLost(Loss { group: GroupId(group), culprit: Some(launched[nth].id), returns: true })
            }
            Split(nth) => Event::Split { group: launched[nth].group, batch: launched[nth].id },
            Restore(group) => Event::GroupRestored(GroupId(group)),
            Wake => Event::Woke,
        };
        let mut actions = Vec::new();
        machine.handle(now, event, &mut actions);
        assert_eq!(said(&actions), *expected, "line {line} of the story");
        launched.extend(actions.into_iter().filter_map(|action| match action {
            Action::Launch(batch) => Some(batch),
            _ => None,
        }));
    }
}

fn finished(batch: &statmux_sched::Batch, busy: Span) -> Event {
    Event::Finished { group: batch.group, batch: batch.id, busy }
}

fn with(dispatch: Dispatch) -> Settings {
    Settings { dispatch, ..Settings::default() }
}

#[test]
fn least_clock_takes_the_group_idle_longest() {
    let story = [
        (0, Arrive(0, 0), "launch r0 on g0"),
        (0, Arrive(0, 0), "launch r1 on g1"),
        (10, Finish(0), "complete r0"),
        (10, Finish(1), "complete r1"),
        (20, Arrive(1, 0), "launch r2 on g0"),
        (30, Arrive(0, 0), "launch r3 on g1"),
        (40, Finish(2), "complete r2"),
        (40, Finish(3), "complete r3"),
        // Both are free and were until 40: a tie goes to the lower group.
        (50, Arrive(0, 0), "launch r4 on g0"),
    ];
    check(with(Dispatch::LeastClock), &[1.0, 1.0], &story);
}

#[test]
fn shortest_queue_counts_requests_not_time() {
    let story = [
        (0, Arrive(1, 0), "launch r0 on g0"),
        (0, Arrive(0, 0), "launch r1 on g1"),
        (1, Arrive(0, 0), ""),
        // One more request than on g1, though each group is busy until 20.
        (2, Arrive(0, 0), ""),
        (10, Finish(1), "complete r1, launch r3 on g1"),
        (20, Finish(0), "complete r0, launch r2 on g0"),
    ];
    check(with(Dispatch::ShortestQueue), &[1.0, 1.0], &story);
}

#[test]
fn earliest_finish_prefers_a_fast_group_with_a_queue() {
    let story = [
        (0, Arrive(0, 0), "launch r0 on g1"),
        (0, Arrive(0, 0), ""),
        // A third on the fast group would finish at 3 x 2.5 ms, on the idle slow one at 10 ms.
        (0, Arrive(0, 0), ""),
        (0, Arrive(0, 0), "launch r3 on g0"),
    ];
    check(with(Dispatch::EarliestFinish), &[1.0, 4.0], &story[..3]);
    check(with(Dispatch::EarliestFinish), &[1.0, 3.0], &story);
}

#[test]
fn late_binding_waits_for_whoever_is_free_first() {
    let story = [
        (0, Arrive(1, 0), "launch r0 on g0"),
        (0, Arrive(0, 0), "launch r1 on g1"),
        (1, Arrive(0, 0), ""),
        (2, Arrive(0, 0), ""),
        (10, Finish(1), "complete r1, launch r2 on g1"),
        (20, Finish(0), "complete r0, launch r3 on g0"),
    ];
    check(with(Dispatch::LateBinding), &[1.0, 1.0], &story);
}

#[test]
fn late_binding_passes_over_what_only_another_group_can_answer() {
    let story = [
        (0, Arrive(1, 0), "launch r0 on g1"),
        (0, Arrive(1, 0), "launch r1 on g0"),
        // g0 needs 40 ms for model 0; g1 is free at 5 and needs 2.5.
        (1, Arrive(0, 30), ""),
        (2, Arrive(0, 0), ""),
        (4, Finish(1), "complete r1, launch r3 on g0"),
        (5, Finish(0), "complete r0, launch r2 on g1"),
    ];
    check(with(Dispatch::LateBinding), &[0.25, 4.0], &story);
    let hopeless = [
        (0, Arrive(1, 0), "launch r0 on g0"),
        (1, Arrive(0, 35), ""),
        // Its latest start was 26.
        (26, Wake, ""),
        (27, Wake, "reject r1 (at 36.000001 ms)"),
    ];
    check(with(Dispatch::LateBinding), &[1.0], &hopeless);
}

#[test]
fn admission_states_its_reasons() {
    let settings = Settings { max_waiting: 1, fixed_overhead: Span::from_millis(1), ..Settings::default() };
    let story = [
        (0, Arrive(0, 11), "launch r0 on g0"),
        (0, Arrive(0, 20), "reject r1 (at 21 ms)"),
        (0, Arrive(0, 21), ""),
        (0, Arrive(0, 100), "reject r3 (QueueFull)"),
        (1, Cancel(2), "reject r2 (Cancelled)"),
        (1, Cancel(2), ""),
        (2, Arrive(0, 19), ""),
        (3, Arrive(7, 100), "reject r5 (NoReplica)"),
        (10, Finish(0), "complete r0, launch r4 on g0"),
    ];
    check(settings, &[1.0], &story);
    let settings = Settings { admission: Admission::None, ..Settings::default() };
    check(settings, &[1.0], &[(0, Arrive(0, 1), "launch r0 on g0"), (0, Arrive(0, 1), ""), (9, Wake, "")]);
}

#[test]
fn disciplines_order_the_queue() {
    let order = |discipline, second, third| {
        let settings = Settings { discipline, ..Settings::default() };
        let story = [
            (0, Arrive(0, 0), "launch r0 on g0"),
            // Deadlines 62, 58 and 60; latest starts 42, 48 and 40.
            (2, Arrive(1, 60), ""),
            (3, Arrive(0, 55), ""),
            (10, Finish(0), second),
            (30, Finish(1), third),
        ];
        check(settings, &[1.0], &story);
    };
    order(AnyDiscipline::Fcfs, "complete r0, launch r1 on g0", "complete r1, launch r2 on g0");
    order(AnyDiscipline::Edf, "complete r0, launch r2 on g0", "complete r2, launch r1 on g0");
    order(AnyDiscipline::LeastSlack, "complete r0, launch r1 on g0", "complete r1, launch r2 on g0");
}

#[test]
fn batches_form_under_the_tightest_deadline() {
    let settings = Settings { max_batch: 2, ..Settings::default() };
    let together = |slo, launch: &str| {
        let story = [
            (0, Arrive(0, 0), "launch r0 on g0"),
            (1, Arrive(0, 0), ""),
            (2, Arrive(1, 0), ""),
            (3, Arrive(0, slo), ""),
            (10, Finish(0), launch),
        ];
        check(settings, &[1.0], &story);
    };
    // A batch of two takes 15 ms and would finish at 25.
    together(22, "complete r0, launch r1+r3 on g0");
    together(21, "complete r0, launch r1 on g0");
}

#[test]
fn a_loss_moves_requests_and_a_restoration_takes_them() {
    let story = [
        (0, Arrive(0, 100), "launch r0 on g0"),
        (0, Arrive(0, 25), "launch r1 on g1"),
        (1, Arrive(1, 31), ""),
        // r0 runs again behind r1; r2, which waited on g0, could finish on g1 at 40, after its deadline.
        (5, Lose(0), "reject r2 (GroupLost)"),
        (10, Finish(1), "complete r1, launch r0 on g1"),
        (10, Finish(0), ""),
        (12, Lose(1), "reject r0 (GroupLost)"),
        (12, Lose(1), ""),
        (13, Arrive(0, 0), "reject r3 (NoReplica)"),
        (14, Restore(0), ""),
        (15, Arrive(0, 0), "launch r4 on g0"),
    ];
    check(with(Dispatch::ShortestQueue), &[1.0, 1.0], &story);
    let central = [
        (0, Arrive(0, 0), "launch r0 on g0"),
        (0, Arrive(0, 0), "launch r1 on g1"),
        (1, Arrive(0, 0), ""),
        (2, Lose(1), ""),
        (3, Restore(1), "launch r1 on g1"),
        (10, Finish(0), "complete r0, launch r2 on g0"),
    ];
    check(with(Dispatch::LateBinding), &[1.0, 1.0], &central);
}

#[test]
fn feedback_changes_what_is_admitted() {
    let story = |admitted| {
        [(0, Arrive(0, 0), "launch r0 on g0"), (20, FinishAfter(0, 20), "complete r0"), (30, Arrive(0, 15), admitted)]
    };
    check(Settings::default(), &[1.0], &story("launch r1 on g0"));
    let settings = Settings { feedback: Feedback::Ewma { weight: 0.6 }, ..Settings::default() };
    // 10 ms x (1 + 0.6 x (20 / 10 - 1)).
    check(settings, &[1.0], &story("reject r1 (at 46 ms)"));
}

#[test]
fn what_cost_a_group_alone_is_refused_and_all_else_runs() {
    let story = [
        (0, Arrive(0, 0), "launch r0 on g0"),
        (0, Arrive(0, 0), "launch r1 on g1"),
        (1, Arrive(0, 0), ""),
        (2, Kill(0, 0), "reject r0 (CostGroup)"),
        (10, Finish(1), "complete r1, launch r2 on g1"),
        (20, Finish(2), "complete r2"),
        (30, Restore(0), ""),
    ];
    check(with(Dispatch::ShortestQueue), &[1.0, 1.0], &story);
    // Where no other group is up, the innocent wait for this one, unless that stays away.
    let alone = |r2| {
        [
            (0, Arrive(0, 0), "launch r0 on g0"),
            (1, Arrive(0, 50), ""),
            (1, Arrive(0, 8), r2),
            (1, Arrive(0, 45), ""),
            (2, Kill(0, 0), "reject r0 (CostGroup)"),
            (3, Arrive(0, 0), "reject r4 (NoReplica)"),
            // r1 would end at 51 at the latest, r3 at 46.
            (37, Wake, "reject r3 (at 46.000001 ms)"),
            (38, Restore(0), "launch r1 on g0"),
            (48, Finish(1), "complete r1"),
            (49, Arrive(0, 0), "launch r5 on g0"),
            (50, Arrive(0, 0), ""),
            (51, Kill(0, 2), "reject r5 (CostGroup)"),
            (52, Lose(0), "reject r6 (GroupLost)"),
        ]
    };
    // After r1, or as the next to run: late binding promises no place in a queue.
    check(with(Dispatch::EarliestFinish), &[1.0], &alone("reject r2 (at 30 ms)"));
    check(with(Dispatch::LateBinding), &[1.0], &alone("reject r2 (at 20 ms)"));
}

#[test]
fn what_cost_a_group_in_company_runs_once_more_alone_and_only_there() {
    let check = |retries_after_loss, rest: [(u64, Tell, &'static str); 7]| {
        let start = [
            (0, Arrive(0, 0), "launch r0 on g0"),
            (0, Arrive(0, 0), "launch r1 on g1"),
            (1, Arrive(0, 0), ""),
            (1, Arrive(0, 0), ""),
            (10, Finish(0), "complete r0, launch r2+r3 on g0"),
        ];
        let story: Vec<_> = start.into_iter().chain(rest).collect();
        let settings = Settings { max_batch: 2, retries_after_loss, ..with(Dispatch::LateBinding) };
        check(settings, &[1.0, 1.0], &story);
    };
    let confined = [
        (11, Kill(0, 2), ""),
        (12, Finish(1), "complete r1"),
        (13, Restore(0), "launch r2 on g0"),
        (23, Finish(3), "complete r2, launch r3 on g0"),
        (24, Kill(0, 4), "reject r3 (CostGroup)"),
        (25, Restore(0), ""),
        (26, Arrive(0, 0), "launch r4 on g0"),
    ];
    check(0, confined);
    // With a retry allowed, any group may take them, one by one.
    let retried = [
        (11, Kill(0, 2), ""),
        (12, Finish(1), "complete r1, launch r2 on g1"),
        (22, Finish(3), "complete r2, launch r3 on g1"),
        (23, Kill(1, 4), "reject r3 (CostGroup)"),
        (24, Restore(0), ""),
        (25, Lose(1), ""),
        (26, Arrive(0, 0), "launch r4 on g0"),
    ];
    check(1, retried);
}

#[test]
fn a_batch_that_is_split_runs_one_by_one() {
    let settings = Settings { max_batch: 2, ..Settings::default() };
    let story = [
        (0, Arrive(0, 0), "launch r0 on g0"),
        (1, Arrive(0, 0), ""),
        (1, Arrive(0, 42), ""),
        (1, Arrive(0, 0), ""),
        (1, Arrive(0, 0), ""),
        (10, Finish(0), "complete r0, launch r1+r2 on g0"),
        // Its members stand where they stood; who waited behind them runs in company.
        (20, Split(1), "launch r1 on g0"),
        (30, Finish(2), "complete r1, launch r2 on g0"),
        (30, Split(2), ""),
        (40, Finish(3), "complete r2, launch r3+r4 on g0"),
        (41, Split(0), ""),
    ];
    check(settings, &[1.0], &story);
}
