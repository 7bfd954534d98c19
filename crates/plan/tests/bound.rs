//! What the bound promises: no placement and no scheduler exceeds it.

#[allow(dead_code, reason = "each test file uses a part")]
mod common;

use common::{Case, Dice, any_case, any_placement, published_case};
use proptest::prelude::*;
use statmux_core::{Cluster, PlacementWindows};
use statmux_plan::bound::Of::{AnyPlacements, StayingPlacements};
use statmux_plan::bound::{Assumptions, Bound, Of, fewest_devices, upper_bound};
use statmux_sched::{Admission, AnyDiscipline, Dispatch};
use statmux_sim::simulate;

fn bound(case: &Case, cluster: &Cluster, of: Of) -> Bound {
    upper_bound(cluster, &case.models, &case.train, &Assumptions::any_batch(&case.settings), of)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_placement_and_no_scheduler_exceeds_the_bound(seed in any::<u64>()) {
        let mut case = any_case(seed);
        let dice = &mut Dice::new(!seed);
        let scheduler = &mut case.settings.scheduler;
        scheduler.dispatch = Dispatch::ALL[dice.below(4) as usize];
        scheduler.discipline = AnyDiscipline::ALL[dice.below(AnyDiscipline::ALL.len() as u64) as usize];
        scheduler.admission = if dice.one_in(4) { Admission::None } else { Admission::Deadline };
        scheduler.max_batch = 1 << dice.below(4);
        let placement = any_placement(&case, dice);
        let windows = PlacementWindows::fixed(placement);
        let run = simulate(&case.cluster, &case.models, &windows, &case.train, &case.settings).expect("it runs");
        let in_slo = run.outcomes.iter().filter(|outcome| outcome.in_slo()).count() as f64;
        let staying = bound(&case, &case.cluster, StayingPlacements);
        prop_assert!(in_slo <= staying.in_slo + 1e-6, "{in_slo} of {} is above {staying:?}", case.train.len());
        prop_assert!(staying.in_slo <= bound(&case, &case.cluster, AnyPlacements).in_slo);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn more_devices_never_lower_the_bound_and_the_fewest_are_those_that_reach_it(seed in any::<u64>()) {
        let mut case = if seed & 1 == 0 { published_case(seed) } else { any_case(seed) };
        case.train = case.train.slice(0..case.train.len().min(60));
        let target = f64::from((seed >> 8) as u8) / 255.0;
        for of in [StayingPlacements, AnyPlacements] {
            let attained = |devices: u32| bound(&case, &case.cluster.resized(devices), of).attainment;
            let most = 2 * case.cluster.len() as u32;
            let bounds: Vec<f64> = (1..=most).map(attained).collect();
            prop_assert!(bounds.is_sorted(), "{bounds:?}");
            let assumptions = Assumptions::any_batch(&case.settings);
            let fewest = fewest_devices(&case.cluster, &case.models, &case.train, &assumptions, of, target);
            let first = bounds.iter().position(|&bound| bound >= target).map(|position| position as u32 + 1);
            match first {
                Some(first) => prop_assert_eq!(fewest, Some(first)),
                None => prop_assert!(fewest.is_none_or(|fewest| fewest > most), "{:?}", fewest),
            }
        }
    }
}
