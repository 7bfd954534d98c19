//! Held against brute force, and against a general solver on the programs as published.

use super::program::{Filled, Program, SUM_WEIGHT};
use super::*;
use good_lp::{Expression, ProblemVariables, Solution as _, SolverModel, microlp, variable};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// The best objective of all mixes and all contents of every group.
fn brute_force(program: &Program) -> f64 {
    fn fill(program: &Program, kinds: &[usize], groups: &mut Vec<Filled>, best: &mut f64) {
        let Some((&kind, rest)) = kinds.split_first() else {
            *best = best.max(program.objective(groups));
            return;
        };
        let models = program.weights.len();
        for subset in 0..1_u32 << models {
            let held: Vec<_> = (0..models).filter(|model| subset >> model & 1 == 1).collect();
            if held.iter().map(|&model| program.weights[model]).sum::<u64>() > program.capacity(kind) {
                continue;
            }
            // Groups of a kind are alike: only nondecreasing contents.
            let held = Filled { kind, models: held };
            if groups.last().is_none_or(|last| *last <= held) {
                groups.push(held);
                fill(program, rest, groups, best);
                groups.pop();
            }
        }
    }
    let mut best = 0.0;
    for mix in program.mixes() {
        fill(program, &Program::groups(&mix).collect::<Vec<_>>(), &mut Vec::new(), &mut best);
    }
    best
}

/// The published program as it stands, solved by branch and bound over binary variables.
fn general_solver(program: &Program) -> f64 {
    let mut variables = ProblemVariables::new();
    let groups = program.devices as usize;
    let models = program.weights.len();
    // Whether group j is of kind k; a group may be of none.
    let shape: Vec<Vec<_>> =
        (0..groups).map(|_| program.kinds.iter().map(|_| variables.add(variable().binary())).collect()).collect();
    let on: Vec<Vec<Vec<_>>> = (0..models)
        .map(|_| shape.iter().map(|kinds| kinds.iter().map(|_| variables.add(variable().binary())).collect()).collect())
        .collect();
    let least = variables.add(variable().min(0.0));
    let tolerances: Vec<Expression> = (0..models)
        .map(|i| {
            (0..groups)
                .flat_map(|j| (0..program.kinds.len()).map(move |k| (j, k)))
                .map(|(j, k)| on[i][j][k] * program.values[i][k])
                .sum()
        })
        .collect();
    let sum: Expression = tolerances.iter().cloned().sum();
    let mut problem = variables.maximise(least + SUM_WEIGHT * sum).using(microlp);
    for tolerance in &tolerances {
        problem = problem.with((tolerance.clone() - least).geq(0.0));
    }
    let devices: Expression = shape
        .iter()
        .flat_map(|kinds| kinds.iter().zip(&program.kinds))
        .map(|(&variable, &size)| variable * f64::from(size))
        .sum();
    problem = problem.with(devices.eq(f64::from(program.devices)));
    for (j, kinds) in shape.iter().enumerate() {
        problem = problem.with(kinds.iter().copied().sum::<Expression>().leq(1.0));
        for (k, &is_kind) in kinds.iter().enumerate() {
            let share = |i: usize| program.weights[i] as f64 / program.budget as f64;
            let held: Expression = (0..models).map(|i| on[i][j][k] * share(i)).sum();
            problem = problem.with((held - is_kind * f64::from(program.kinds[k])).leq(0.0));
            for on_model in &on {
                problem = problem.with((on_model[j][k] - is_kind).leq(0.0));
            }
        }
    }
    let solved = problem.solve().expect("an empty placement is always possible");
    solved.eval(least) + SUM_WEIGHT * tolerances.iter().map(|tolerance| solved.eval(tolerance)).sum::<f64>()
}

fn assert_best(program: &Program, best: f64) -> Result<(), TestCaseError> {
    let found = solve::solve(program, Limits::default().work, &|| false);
    prop_assert!(program.is_legal(&found.groups), "{:?}", found.groups);
    prop_assert!((program.objective(&found.groups) - found.objective).abs() <= 1e-12 * found.objective);
    // The general solver's zeros are sometimes 2e-16.
    prop_assert!(found.bound >= best * (1.0 - 1e-9) - 1e-12);
    let close = (found.objective - best).abs() <= 1e-7 * best.max(1e-6);
    prop_assert!(close, "found {} with bound {}, best is {best}", found.objective, found.bound);
    Ok(())
}

fn program(kinds: &'static [u32], models: usize) -> impl Strategy<Value = Program> {
    let model = (1_u64..12, prop::collection::vec(prop_oneof![1 => Just(0.0), 5 => 0.1..10.0_f64], kinds.len()));
    (1_u32..=4, 4_u64..24, prop::collection::vec(model, 1..=models)).prop_map(move |(devices, budget, models)| {
        let (weights, values) = models.into_iter().unzip();
        Program { devices, budget, kinds: kinds.to_vec(), weights, values }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn single_devices_are_filled_as_well_as_by_brute_force(program in program(&[1], 5)) {
        assert_best(&program, brute_force(&program))?;
    }

    #[test]
    fn pipelines_are_filled_as_well_as_by_brute_force(program in program(&PIPELINES, 4)) {
        assert_best(&program, brute_force(&program))?;
    }

    #[test]
    fn small_instances_are_proven(program in program(&PIPELINES, 5)) {
        let found = solve::solve(&program, Limits::default().work, &|| false);
        prop_assert!(!program::exceeds(found.bound, found.objective));
    }
}

proptest! {
    // Fixed cases: the general solver works with tolerances, on which no random case should stumble.
    #![proptest_config(ProptestConfig { cases: 32, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn the_general_solver_agrees_on_single_devices(program in program(&[1], 4)) {
        assert_best(&program, general_solver(&program))?;
    }

    #[test]
    fn the_general_solver_agrees_on_pipelines(program in program(&PIPELINES, 3)) {
        prop_assume!(program.devices <= 3);
        assert_best(&program, general_solver(&program))?;
    }
}

fn replicated(weights: u64, latency: f64, rate: f64) -> ReplicatedModel {
    ReplicatedModel { weights: Bytes::new(weights), latency, rate }
}

#[test]
fn thirty_two_equal_models_on_twenty_devices_are_solved_exactly() {
    let models = vec![replicated(2_400_000_000, 0.151, 1.25); 32];
    let problem = SelectiveReplication { devices: 20, budget: Bytes::from_gib(13), models };
    let solution = problem.solve(&Limits::default()).unwrap();
    assert!(solution.proven);
    // Five fit on a device: 100 replicas, so that every model has three and four have one more.
    let value = 1.0 / 0.151 / 1.25;
    assert!((solution.ilp_objective - (3.0 * value + SUM_WEIGHT * 100.0 * value)).abs() < 1e-9);
    assert_eq!(solution.groups.iter().map(|group| group.models.len()).sum::<usize>(), 100);
}

#[test]
fn skewed_rates_are_solved_within_a_fiftieth_and_repeatably() {
    let sizes = [(2_400_000_000, 0.151), (5_400_000_000, 0.238), (4_800_000_000, 0.171)];
    let model = |i: usize| replicated(sizes[i % 3].0, sizes[i % 3].1, 8.0 / ((i + 1) as f64).sqrt());
    let problem =
        SelectiveReplication { devices: 20, budget: Bytes::from_gib(13), models: (0..32).map(model).collect() };
    let limits = Limits { work: 400_000, ..Limits::default() };
    let solution = problem.solve(&limits).unwrap();
    assert!(solution.bound <= 1.02 * solution.ilp_objective, "{} {}", solution.ilp_objective, solution.bound);
    assert_eq!(problem.solve(&limits).unwrap(), solution);
}

#[test]
fn a_pipeline_is_worth_what_it_can_finish_in_time() {
    let stages = |pp: u32, seconds: f64| (pp, vec![seconds; pp as usize]);
    let model = PipelinedModel {
        weights: Bytes::new(3),
        rate: 2.0,
        slo: 2.0,
        stages: BTreeMap::from([stages(1, 1.5), stages(2, 0.5), stages(4, 0.25)]),
    };
    let problem = ModelParallel { devices: 4, budget: Bytes::new(4), models: vec![model] };
    let solution = problem.solve(&Limits::default()).unwrap();
    // Alone: floor(0.5 / 1.5) + 1 = 1 on each of four; in pairs: floor(1 / 0.5) + 1 = 3 on each of two; all: 5.
    let tolerance = 2.0 * 3.0 * 0.99_f64.powi(2) / 2.0;
    assert!((solution.ilp_objective - tolerance * (1.0 + SUM_WEIGHT)).abs() < 1e-12);
    assert_eq!(solution.groups, [SolvedGroup { pp: 2, models: vec![0] }, SolvedGroup { pp: 2, models: vec![0] }]);
}

#[test]
fn quotients_are_floored_exactly() {
    let cases =
        [(1.0, 0.1, 9.0), (0.3, 0.1, 2.0), (0.5, 0.25, 2.0), (-0.1, 0.5, -1.0), (-1e-20, 0.5, -1.0), (0.0, 0.5, 0.0)];
    for (dividend, divisor, expected) in cases {
        assert_eq!(floor_divide(dividend, divisor), expected, "{dividend} / {divisor}");
    }
}

#[test]
fn models_without_requests_take_what_is_left() {
    let models = vec![replicated(3, 0.1, 1.0), replicated(2, 0.1, 0.0), replicated(9, 0.1, 0.0)];
    let problem = SelectiveReplication { devices: 2, budget: Bytes::new(6), models };
    let solution = problem.solve(&Limits::default()).unwrap();
    assert!((solution.ilp_objective - 20.0 * (1.0 + SUM_WEIGHT)).abs() < 1e-9);
    let held: Vec<_> = solution.groups.iter().map(|group| group.models.clone()).collect();
    assert_eq!(held, [vec![0], vec![0, 1]]);
}

#[test]
fn what_has_no_meaning_is_refused() {
    let solve = |model| {
        SelectiveReplication { devices: 1, budget: Bytes::new(1), models: vec![model] }.solve(&Limits::default())
    };
    assert!(matches!(solve(replicated(1, 0.1, -1.0)), Err(IntegerProgramError::Rate { model: 0, .. })));
    assert!(matches!(solve(replicated(1, 0.0, 1.0)), Err(IntegerProgramError::Latency { model: 0, .. })));
    assert!(matches!(solve(replicated(1, f64::NAN, 1.0)), Err(IntegerProgramError::Latency { .. })));
    let model = PipelinedModel { weights: Bytes::new(1), rate: 1.0, slo: f64::INFINITY, stages: BTreeMap::new() };
    let unbounded = ModelParallel { devices: 1, budget: Bytes::new(1), models: vec![model] };
    assert!(matches!(unbounded.solve(&Limits::default()), Err(IntegerProgramError::Slo { model: 0, .. })));
    let nothing = ModelParallel { devices: 3, budget: Bytes::new(1), models: vec![] };
    assert_eq!(nothing.solve(&Limits::default()).unwrap().ilp_objective, 0.0);
}
