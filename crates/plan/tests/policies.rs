//! What holds of every policy on every problem.

#[allow(dead_code, reason = "each test file uses a part")]
mod common;

use common::{Case, any_case, published_case};
use proptest::prelude::*;
use statmux_core::{
    Bytes, Cluster, Group, ModelId, ModelProfile, Outcome, ParallelConfig, PlacementWindows, Share, Slo, Span, Time,
};
use statmux_plan::bound::{Assumptions, Of, upper_bound};
use statmux_plan::policy::clockwork::Clockwork;
use statmux_plan::{
    Evaluator, Parameters, Plan, PlanError, PolicyInfo, Progress, Report, Search, Silent, notes, policy,
};
use statmux_sim::{SimulationSettings, simulate};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn place(case: &Case, info: &PolicyInfo, progress: &dyn Progress) -> Result<Plan, PlanError> {
    let problem = case.problem();
    // A number of moves, not a time: the same plan every time.
    let parameters = Parameters { moves: Some(32), ..Parameters::default() };
    (info.build)(&parameters).place(&Search { problem: &problem, evaluator: &Evaluator::new(&problem), progress })
}

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started").install(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_plan_can_be_carried_out_and_is_the_same_on_any_number_of_threads(seed in any::<u64>()) {
        let case = any_case(seed);
        for info in policy::ALL {
            let plan = on_threads(1, || place(&case, info, &Silent));
            prop_assert_eq!(&plan, &on_threads(2, || place(&case, info, &Silent)), "{}", info.name);
            let plan = match plan {
                Ok(plan) => plan,
                Err(PlanError::TooFewDevices { .. } | PlanError::Impossible { .. }) => continue,
                Err(PlanError::IntegerProgram { .. }) if case.models.iter().any(|m| m.slo == Slo::None) => continue,
                Err(error) => return Err(TestCaseError::fail(format!("{}: {error}", info.name))),
            };
            let max_batch = plan.scheduling.map_or(case.settings.scheduler.max_batch, |chosen| chosen.max_batch);
            prop_assert!(plan.windows.0.is_sorted_by(|a, b| a.starts < b.starts), "{}", info.name);
            for window in &plan.windows.0 {
                let checked = window.placement.check(&case.cluster, &case.models, max_batch);
                prop_assert!(checked.is_ok(), "{}: {:?}", info.name, checked);
                let across = |group: &Group| group.stage_across_nodes(&case.cluster).is_some();
                prop_assert!(!window.placement.groups.iter().any(across), "{}: {:?}", info.name, window.placement);
                let sorted = |models: &[ModelId]| models.is_sorted_by(|a, b| a < b);
                prop_assert!(window.placement.groups.iter().all(|group| sorted(&group.models)), "{}", info.name);
            }
            let of = if info.replaces { Of::AnyPlacements } else { Of::StayingPlacements };
            prop_assert!(info.replaces || plan.windows.0.len() == 1, "{}", info.name);
            let assumptions = Assumptions::any_batch(&case.settings);
            let bound = upper_bound(&case.cluster, &case.models, &case.train, &assumptions, of).in_slo;
            let settings = plan.scheduling.map_or_else(|| case.settings.clone(), |chosen| chosen.apply(&case.settings));
            let run = simulate(&case.cluster, &case.models, &plan.windows, &case.train, &settings).expect("it runs");
            let in_slo = run.outcomes.iter().filter(|outcome| outcome.in_slo()).count() as f64;
            prop_assert!(in_slo <= bound + 1e-6, "{}: {} is above {}", info.name, in_slo, bound);
            for remark in notes::remarks(&case.problem(), &plan.windows) {
                prop_assert!(remark.ends_with('.'), "{}", remark);
            }
        }
    }

    #[test]
    fn what_is_left_out_of_an_evaluator_counts_as_not_served(seed in any::<u64>()) {
        let case = published_case(seed);
        let problem = case.problem();
        let all = Evaluator::new(&problem);
        let model = ModelId((seed % case.models.len() as u64) as u32);
        let mut placement = place(&case, &policy::ALL[0], &Silent).expect("a plan").windows.0.remove(0).placement;
        for group in &mut placement.groups {
            group.models.retain(|&held| held == model);
        }
        let whole = all.evaluate(&placement).expect("it can be simulated");
        let part = all.only(&[model]).evaluate(&placement).expect("it can be simulated");
        prop_assert_eq!(whole.score, part.score);
        prop_assert_eq!(whole.tally.dispatched, part.tally.dispatched);
    }
}

/// Requests answered in time by the plan of `statmux` for the first `devices` devices of `case`, by model.
fn served_on(case: &Case, devices: u32, floor: Option<Share>) -> Vec<u64> {
    let case = Case { cluster: case.cluster.resized(devices), ..case.clone() };
    let problem = case.problem();
    let policy = policy::find("statmux").expect("it exists");
    let parameters = Parameters { moves: Some(24), floor, ..Parameters::default() };
    let plan = (policy.build)(&parameters)
        .place(&Search { problem: &problem, evaluator: &Evaluator::new(&problem), progress: &Silent })
        .expect("a plan");
    let settings = plan.scheduling.map_or_else(|| case.settings.clone(), |chosen| chosen.apply(&case.settings));
    let placement = &plan.windows.0[0].placement;
    let max_batch = settings.scheduler.max_batch;
    placement.check(&case.cluster, &case.models, max_batch).expect("it can be carried out");
    let run = simulate(&case.cluster, &case.models, &plan.windows, &case.train, &settings).expect("it runs");
    let mut served = vec![0; case.models.len()];
    for (outcome, model) in run.outcomes.iter().zip(&case.train.model) {
        served[model.index()] += u64::from(outcome.in_slo());
    }
    served
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn more_devices_never_serve_fewer_of_the_requests_that_were_planned_for(seed in any::<u64>()) {
        let case = if seed & 1 == 0 { published_case(seed) } else { any_case(seed) };
        let all = case.cluster.len() as u32;
        let served = (1..=all).map(|devices| served_on(&case, devices, None).iter().sum()).collect::<Vec<u64>>();
        prop_assert!(served.is_sorted(), "{:?}", served);
    }

    #[test]
    fn more_devices_never_leave_models_further_below_their_floor(seed in any::<u64>()) {
        let case = any_case(seed);
        let floor = Share::new(0.8).expect("a share");
        let requests = case.train.counts(case.models.len());
        let short = |served: Vec<u64>| -> u64 {
            requests.iter().zip(served).map(|(&requests, served)| floor.short(requests, served)).sum()
        };
        let all = case.cluster.len() as u32;
        let short = (1..=all).map(|devices| short(served_on(&case, devices, Some(floor)))).collect::<Vec<u64>>();
        prop_assert!(short.is_sorted_by(|fewer, more| fewer >= more), "{:?}", short);
    }
}

/// One device holds one of two models; the whole is best served with both devices for the one that most ask for.
#[test]
fn the_floor_of_a_model_that_few_ask_for_goes_before_the_whole() {
    let mut case = published_case(1);
    case.models.truncate(1);
    case.models.push(case.models[0].clone());
    case.models[1].name = "rare".to_owned();
    case.models.iter_mut().for_each(|model| model.slo = Slo::Scale(1.5));
    let single = case.models[0].profile.config(ParallelConfig::SINGLE).expect("it was measured");
    // Two machines of one device, each with room for one model: no pipelines, no shards.
    case.cluster = Cluster::uniform(2, 1, single.largest_stage_weight());
    let profile = ModelProfile::new("one", "drawn", BTreeMap::from([(ParallelConfig::SINGLE, single.clone())]));
    case.models.iter_mut().for_each(|model| model.profile = Arc::new(profile.clone()));
    let seconds = case.models[0].profile.single_device_seconds().expect("it was measured");
    // Two to the first at once, whenever both are done with the last; one to the rare model in ten.
    let at = |index: usize| Time::from_seconds((index / 2) as f64 * 2.0 * seconds).expect("a time");
    case.train.arrived = (0..100).map(at).collect();
    case.train.model = (0..100).map(|index| ModelId(u32::from(index % 20 == 19))).collect();
    case.train.slo.clear();
    case.settings = SimulationSettings::default();
    let whole = served_on(&case, 2, None);
    let fair = served_on(&case, 2, Share::new(0.5));
    assert_eq!(whole[1], 0, "{whole:?}");
    assert!(fair[1] >= 3 && whole.iter().sum::<u64>() > fair.iter().sum(), "{whole:?} {fair:?}");
}

/// Asks to stop once it has been told of `left` candidates.
struct Impatient {
    left: AtomicUsize,
}

impl Progress for Impatient {
    fn report(&self, _: Report<'_>) {
        let one_less = |left: usize| Some(left.saturating_sub(1));
        self.left.fetch_update(Relaxed, Relaxed, one_less).expect("it always changes");
    }

    fn stop(&self) -> bool {
        self.left.load(Relaxed) == 0
    }
}

#[test]
fn a_search_that_is_stopped_returns_what_it_has() {
    let case = published_case(11);
    for info in policy::ALL {
        for left in 0..3 {
            let Ok(plan) = place(&case, info, &Impatient { left: left.into() }) else { continue };
            for window in &plan.windows.0 {
                window.placement.check(&case.cluster, &case.models, 1).expect("it can be carried out");
            }
            let stopped = plan.notes.iter().any(|note| note.contains("stopped early"));
            assert!(stopped || left > 0, "{} says that it was stopped: {:?}", info.name, plan.notes);
        }
    }
}

/// Windows open at an arrival; the next opens at the first arrival more than the interval later. The request that
/// opens a window is still served by the placement before.
#[test]
fn the_request_that_opens_a_window_is_served_by_the_placement_before() {
    let mut case = published_case(3);
    let seconds = [0.0, 1.0, 5.0, 5.5, 6.0, 100.0, 101.0];
    case.train.arrived = seconds.iter().map(|&at| Time::from_seconds(at).expect("a time")).collect();
    case.train.model = vec![ModelId(0); seconds.len()];
    let policy = Clockwork { interval: Span::from_millis(5000) };
    assert_eq!(policy.windows(&case.train), [0..3, 3..5, 5..7]);
    // In seconds as floating-point numbers, as published, 15.931 + 5 is a little less than 20.931.
    let mut tie = case.train.slice(0..2);
    tie.arrived = vec![Time::from_nanos(15_931_000_000), Time::from_nanos(20_931_000_000)];
    assert_eq!(policy.windows(&tie), [0..1, 1..2]);

    let mut windows = place(&case, policy::find("clockwork++").expect("it exists"), &Silent).expect("a plan").windows;
    assert_eq!(windows.0.iter().map(|window| window.starts.seconds()).collect::<Vec<_>>(), [0.0, 100.0]);
    // With nothing loaded before the second window, the request that opens it finds no replica.
    windows.0[0].placement.groups.iter_mut().for_each(|group| group.models.clear());
    case.models[0].slo = Slo::None;
    let run = simulate(&case.cluster, &case.models, &windows, &case.train, &case.settings).expect("it runs");
    let served: Vec<bool> = run.outcomes.iter().map(Outcome::in_slo).collect();
    assert_eq!(served, [false, false, false, false, false, false, true]);
}

/// As published, the greedy fills a device to the byte and the beam search does not.
#[test]
fn the_beam_leaves_memory_to_spare() {
    let mut case = published_case(1);
    let weights =
        case.models[0].profile.config(ParallelConfig::SINGLE).expect("it was measured").largest_stage_weight();
    case.models.truncate(1);
    case.train.model.fill(ModelId(0));
    let replicas = |memory: Bytes, name: &str| {
        let cluster = Cluster::uniform(1, 1, memory);
        let case = Case { cluster, ..case.clone() };
        let plan = place(&case, policy::find(name).expect("it exists"), &Silent).expect("a plan");
        plan.windows.0[0].placement.replicas()
    };
    assert_eq!(replicas(weights, "selective-replication"), 1);
    assert_eq!(replicas(weights, "selective-replication-beam"), 0);
    assert_eq!(replicas(weights + Bytes::new(1), "selective-replication-beam"), 1);
    assert_eq!(replicas(weights.saturating_sub(Bytes::new(1)), "selective-replication"), 0);
}

/// Of placements that serve equally well, the one with more replicas scores higher.
#[test]
fn without_requests_memory_is_filled_anyway() {
    let mut case = published_case(5);
    case.train.arrived.clear();
    case.train.model.clear();
    let plan = place(&case, policy::find("alpaserve").expect("it exists"), &Silent).expect("a plan");
    let replicas = plan.windows.0[0].placement.replicas();
    assert!(replicas > 0, "replicas count in the score");
}

#[test]
fn names_are_unique_and_every_parameter_is_explained() {
    for (index, info) in policy::ALL.iter().enumerate() {
        assert_eq!(policy::ALL.iter().position(|other| other.name == info.name), Some(index));
        assert_eq!((info.build)(&Parameters::default()).name(), info.name);
        assert!(info.parameters.iter().all(|parameter| !parameter.about.is_empty()), "{}", info.name);
    }
    assert!(policy::find(policy::DEFAULT).is_some());
}

#[test]
fn remarks_say_what_stands_idle_and_what_is_missing() {
    let case = published_case(8);
    let problem = case.problem();
    let placement = place(&case, policy::find("alpaserve").expect("it exists"), &Silent).expect("a plan");
    let mut placement = placement.windows.0[0].placement.clone();
    placement.groups.iter_mut().for_each(|group| group.models.clear());
    placement.groups.truncate(1);
    let remarks = notes::remarks(&problem, &PlacementWindows::fixed(placement)).join("\n");
    assert!(remarks.contains("1 group holds no model"), "{remarks}");
    assert!(remarks.contains("(100.0 %) are refused"), "{remarks}");
}
