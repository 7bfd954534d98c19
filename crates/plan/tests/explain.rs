//! What holds of every explanation: it accounts for every miss once, and its remedies are what they claim.

#[allow(dead_code, reason = "each test file uses a part")]
mod common;

use common::{Case, Dice, any_case};
use proptest::prelude::*;
use statmux_core::{DeviceId, Group, ModelId, ParallelConfig, Placement, PlacementWindows, Slo, Span};
use statmux_plan::explain::{Cause, Change, Explanation, losses, remedies, without};
use statmux_plan::policy;
use statmux_plan::{Evaluator, Parameters, Scene, Search, Silent};
use statmux_sim::simulate;

/// A placement with some replicas taken away, so that there is something to explain.
fn placement(case: &Case, seed: u64) -> Option<Placement> {
    let problem = case.problem();
    let policy = (policy::find("round-robin").expect("it exists").build)(&Parameters::default());
    let mut placement = policy
        .place(&Search { problem: &problem, evaluator: &Evaluator::new(&problem), progress: &Silent })
        .ok()?
        .windows
        .0
        .remove(0)
        .placement;
    let dice = &mut Dice::new(seed);
    for group in &mut placement.groups {
        group.models.retain(|_| !dice.one_in(4));
    }
    Some(placement)
}

fn scene<'a>(case: &'a Case, placement: &'a Placement) -> Scene<'a> {
    let Case { cluster, models, settings, train } = case;
    Scene { cluster, models, settings, placement, workload: train }
}

fn missed(case: &Case, placement: &Placement) -> u64 {
    let windows = PlacementWindows::fixed(placement.clone());
    let run = simulate(&case.cluster, &case.models, &windows, &case.train, &case.settings).expect("it runs");
    run.outcomes.iter().filter(|outcome| !outcome.in_slo()).count() as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_miss_has_one_cause_and_one_time(seed in any::<u64>()) {
        let case = any_case(seed);
        let Some(placement) = placement(&case, seed) else { return Ok(()) };
        let explanation = Explanation::new(&scene(&case, &placement), 7).expect("it runs");
        prop_assert_eq!(explanation.missed(), missed(&case, &placement));
        let counts = case.train.counts(case.models.len());
        for misses in &explanation.models {
            prop_assert!(misses.missed > 0);
            prop_assert_eq!(misses.causes.iter().sum::<u64>(), misses.missed);
            prop_assert_eq!(misses.over_time.iter().sum::<u64>(), misses.missed);
            prop_assert_eq!(misses.requests, counts[misses.model.index()]);
            let of = |cause| misses.causes[Cause::ALL.iter().position(|&known| known == cause).expect("listed")];
            if misses.replicas == 0 {
                prop_assert_eq!(of(Cause::NoReplica) + of(Cause::NoMemory), misses.missed);
            } else {
                prop_assert_eq!(of(Cause::NoReplica) + of(Cause::NoMemory), 0);
            }
        }
    }

    #[test]
    fn remedies_help_as_much_as_they_say(seed in any::<u64>()) {
        let case = any_case(seed);
        let Some(placement) = placement(&case, seed) else { return Ok(()) };
        let scene = scene(&case, &placement);
        let explanation = Explanation::new(&scene, 1).expect("it runs");
        for remedy in remedies(&scene, &explanation).expect("they run") {
            prop_assert!(remedy.missed < explanation.missed());
            if let Change::Replica { model, group } = remedy.change {
                let mut more = placement.clone();
                more.groups[group.index()].models.push(model);
                more.groups[group.index()].models.sort_unstable();
                let max_batch = case.settings.scheduler.max_batch;
                prop_assert!(more.check(&case.cluster, &case.models, max_batch).is_ok());
                prop_assert_eq!(missed(&case, &more), remedy.missed);
            }
        }
    }

    #[test]
    fn a_lost_group_serves_nobody(seed in any::<u64>()) {
        let case = any_case(seed);
        let Some(placement) = placement(&case, seed) else { return Ok(()) };
        let losses = losses(&scene(&case, &placement)).expect("they run");
        for (group, lost) in placement.groups.iter().zip(losses) {
            let left = without(&placement, &group.devices[..1]);
            prop_assert_eq!(left.replicas(), placement.replicas() - group.models.len());
            prop_assert_eq!(missed(&case, &left), lost);
        }
    }
}

/// One device, two models; the second floods it, so the first is late though alone it would not be.
#[test]
fn who_floods_and_who_suffers_are_told_apart() {
    let mut case = common::published_case(3);
    case.models.truncate(2);
    let seconds = case.models[0].profile.single_device_seconds().expect("it was measured");
    case.models[1].profile = case.models[0].profile.clone();
    case.models.iter_mut().for_each(|model| model.slo = Slo::Scale(3.0));
    let at = |factor: f64| statmux_core::Time::from_seconds(factor * seconds).expect("a time");
    let mut arrivals: Vec<_> = (0..20).map(|_| (at(0.0), ModelId(1))).collect();
    arrivals.push((at(0.0), ModelId(0)));
    case.train.arrived = arrivals.iter().map(|(at, _)| *at).collect();
    case.train.model = arrivals.iter().map(|(_, model)| *model).collect();
    case.train.slo.clear();
    case.train.duration = Span::from_millis(60_000);
    let models = vec![ModelId(0), ModelId(1)];
    let group = Group { devices: vec![DeviceId(0)], config: ParallelConfig::SINGLE, models };
    let placement = Placement { groups: vec![group] };
    let explanation = Explanation::new(&scene(&case, &placement), 1).expect("it runs");
    let causes: Vec<_> = explanation.models.iter().map(|misses| (misses.model, misses.causes)).collect();
    let [flooding, suffering] = causes.as_slice() else { panic!("both miss: {causes:?}") };
    assert_eq!((flooding.0, suffering.0), (ModelId(1), ModelId(0)));
    assert_eq!(suffering.1, [0, 0, 0, 0, 1, 0]);
    assert!(flooding.1[3] >= 16 && flooding.1[4] == 0, "{flooding:?}");
}
