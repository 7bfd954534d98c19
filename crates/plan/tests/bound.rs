//! What the bound promises: no placement and no scheduler exceeds it.

#[allow(dead_code, reason = "each test file uses a part")]
mod common;

use common::{Dice, any_case, any_placement};
use proptest::prelude::*;
use statmux_core::PlacementWindows;
use statmux_plan::bound::{Assumptions, fewest_devices, upper_bound, upper_bound_of_fixed};
use statmux_sched::{Admission, AnyDiscipline, Dispatch};
use statmux_sim::simulate;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_placement_and_no_scheduler_exceeds_the_bound(seed in any::<u64>()) {
        let mut case = any_case(seed);
        let dice = &mut Dice::new(!seed);
        let scheduler = &mut case.settings.scheduler;
        scheduler.dispatch = Dispatch::ALL[dice.below(4) as usize];
        scheduler.discipline = AnyDiscipline::ALL[dice.below(3) as usize];
        scheduler.admission = if dice.one_in(4) { Admission::None } else { Admission::Deadline };
        scheduler.max_batch = 1 << dice.below(4);
        let placement = any_placement(&case, dice);
        let windows = PlacementWindows::fixed(placement);
        let run = simulate(&case.cluster, &case.models, &windows, &case.train, &case.settings).expect("it runs");
        let in_slo = run.outcomes.iter().filter(|outcome| outcome.in_slo()).count() as f64;
        let assumptions = Assumptions {
            stage_penalty: case.settings.stage_penalty,
            fixed_overhead: case.settings.scheduler.fixed_overhead.seconds(),
            max_batch: u32::MAX,
        };
        let fixed = upper_bound_of_fixed(&case.cluster, &case.models, &case.train, &assumptions);
        prop_assert!(in_slo <= fixed.in_slo + 1e-6, "{in_slo} of {} is above {fixed:?}", case.train.len());
        let any = upper_bound(&case.cluster, &case.models, &case.train, &assumptions);
        prop_assert!(fixed.in_slo <= any.in_slo);
        let reached = in_slo / case.train.len().max(1) as f64;
        let fewest = fewest_devices(&case.cluster, &case.models, &case.train, &assumptions, reached - 1e-9);
        prop_assert!(fewest.is_some_and(|fewest| fewest as usize <= case.cluster.len()), "{fewest:?}");
    }
}
