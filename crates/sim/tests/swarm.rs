//! Many seeds, each a random set of faults: nothing unsafe while they last, healing and progress when they are over.
//!
//! A few seeds run always; `STATMUX_SWARM_SEEDS=1000` runs more. A failure names its seed, and
//! `STATMUX_SWARM_FIRST=<seed>` begins there.

mod common;

use common::{model, placement};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use statmux_core::{ModelId, Outcome, Seed, Slo, Span, Time, Workload};
use statmux_sched::{Admission, AnyDiscipline, Dispatch, Feedback, Settings, StageTimes};
use statmux_sim::fault::FaultRates;
use statmux_sim::simulate::{model_slos, run_events};
use statmux_sim::{Fault, FaultKind, SimulationSettings, StageRun};

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn faults_do_no_harm_and_what_is_healed_serves() {
    let first = from_environment("STATMUX_SWARM_FIRST", 0);
    for seed in first..first + from_environment("STATMUX_SWARM_SEEDS", 40) {
        let result = std::panic::catch_unwind(|| one_seed(seed));
        assert!(result.is_ok(), "swarm seed {seed} failed; STATMUX_SWARM_FIRST={seed} runs it first");
    }
}

/// Requests arrive for 100 s; faults begin in the first 40 s and are over, or cut off, at 60 s.
fn one_seed(seed: u64) {
    let mut rng = ChaCha12Rng::seed_from_u64(Seed(seed).stream("swarm").0);
    let models: Vec<_> = (0..rng.random_range(1..6))
        .map(|index| {
            let millis: Vec<u16> = (0..8).map(|_| rng.random_range(5..40)).collect();
            let slo = if rng.random_bool(0.2) {
                Slo::None
            } else {
                Slo::Latency(Span::from_millis(rng.random_range(800..3_000)))
            };
            model(index, &millis, slo)
        })
        .collect();
    // The first group holds every model, so that all can be served once it has healed.
    let mut groups = vec![(rng.random_range(0..7), u8::MAX)];
    groups.extend((0..rng.random_range(0..4)).map(|_| (rng.random_range(0..7), rng.random::<u8>())));
    let (cluster, placement) = placement(&groups, models.len());
    let mut settings = SimulationSettings {
        scheduler: Settings {
            dispatch: Dispatch::ALL[rng.random_range(0..4)],
            admission: Admission::ALL[rng.random_range(0..2)],
            discipline: AnyDiscipline::ALL[rng.random_range(0..AnyDiscipline::ALL.len())],
            max_batch: rng.random_range(1..5),
            fixed_overhead: Span::from_millis(rng.random_range(0..3)),
            max_waiting: if rng.random_bool(0.3) { rng.random_range(3..20) } else { usize::MAX },
            feedback: if rng.random_bool(0.5) { Feedback::Ewma { weight: 0.2 } } else { Feedback::Off },
            ..Settings::default()
        },
        ..SimulationSettings::default()
    };
    let rates = FaultRates {
        between: Span::from_millis(rng.random_range(1_000..10_000)),
        repair: Span::from_millis(rng.random_range(100..5_000)),
        slow_share: rng.random_range(0.0..1.0),
        slowdown: rng.random_range(0.5..4.0),
    };
    let healed = Time::from_nanos(60_000_000_000);
    settings.faults = rates.draw(placement.groups.len(), Time::from_nanos(40_000_000_000), Seed(seed));
    for fault in &mut settings.faults {
        fault.lasts = fault.lasts.min(healed.since(fault.at));
    }
    let workload = poisson(&mut rng, models.len());

    let times = StageTimes::new(&placement, &cluster, &models, 0.0, settings.scheduler.max_batch).expect("profiled");
    let slos = model_slos(&models);
    let mut runs: Vec<StageRun> = Vec::new();
    let mut note = |run| runs.push(run);
    let (outcomes, _) = run_events(&times, &times, &workload, &slos, &settings, &settings.faults, Some(&mut note));

    // Safety. That every request ends once and no batch starts on a busy stage is asserted by the driver.
    runs.sort_by_key(|run| (run.group, run.stage, run.started, run.ended));
    for pair in runs.windows(2) {
        let same = (pair[0].group, pair[0].stage) == (pair[1].group, pair[1].stage);
        assert!(!same || pair[0].ended <= pair[1].started, "two batches on one stage: {pair:?}");
    }
    let lost = settings.faults.iter().filter(|fault| fault.kind == FaultKind::Lost);
    let lost: Vec<&Fault> = lost.collect();
    for (index, outcome) in outcomes.iter().enumerate() {
        let arrived = workload.arrived[index];
        match outcome {
            Outcome::Served(served) => assert!(served.started >= arrived && served.finished > served.started),
            Outcome::Failed => assert!(!lost.is_empty(), "request {index} failed without a loss"),
            Outcome::NoReplica => {
                let all_lost = lost.iter().any(|fault| fault.at <= arrived && arrived <= fault.at + fault.lasts);
                assert!(all_lost, "request {index} found no group, but the first holds every model");
            }
            Outcome::Rejected => {}
        }
    }
    // Progress. The load is light: once the backlog of the faults is gone, everything is answered in time.
    let late =
        workload.arrived.iter().zip(&outcomes).filter(|(arrived, _)| **arrived > healed + Span::from_millis(30_000));
    let (in_slo, all) = late.fold((0, 0), |(good, all), (_, outcome)| (good + usize::from(outcome.in_slo()), all + 1));
    assert!(all > 20, "requests arrive to the end");
    assert!(in_slo * 10 >= all * 9, "after healing only {in_slo} of {all} requests are answered in time");
}

fn poisson(rng: &mut ChaCha12Rng, models: usize) -> Workload {
    let mut workload = Workload::default();
    let mut at = 0.0;
    while at < 100.0 {
        at -= (1.0 - rng.random::<f64>()).ln() / 4.0;
        workload.arrived.push(Time::from_seconds(at).expect("a short run"));
        workload.model.push(ModelId::from_index(rng.random_range(0..models)));
    }
    workload
}

#[test]
fn feedback_learns_that_the_profile_is_wrong() {
    // Stages take 1.5 times as long as the scheduler believes.
    let millis: Vec<u16> = vec![20, 25, 30, 15];
    let stretched: Vec<u16> = vec![30, 38, 45, 23];
    let groups = [(0, u8::MAX), (1, u8::MAX)];
    let (cluster, placement) = placement(&groups, 2);
    let times = |millis: &[u16]| {
        let models = [0, 1].map(|index| model(index, millis, Slo::Latency(Span::from_millis(150))));
        (StageTimes::new(&placement, &cluster, &models, 0.0, 1).expect("profiled"), model_slos(&models))
    };
    let ((believed, slos), (truth, _)) = (times(&millis), times(&stretched));
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let mut workload = poisson(&mut rng, 2);
    // Ten times as dense: overload, so that admission decides all the time.
    workload.arrived.iter_mut().for_each(|at| *at = Time::from_nanos(at.nanos() / 10));
    let late_share = |feedback| {
        let mut settings = SimulationSettings::default();
        settings.scheduler.feedback = feedback;
        let (outcomes, _) = run_events(&believed, &truth, &workload, &slos, &settings, &[], None);
        let warm = &outcomes[outcomes.len() / 4..];
        let late = warm.iter().filter(|outcome| matches!(outcome, Outcome::Served(served) if !served.in_slo)).count();
        let good = warm.iter().filter(|outcome| outcome.in_slo()).count();
        (late as f64 / (late + good) as f64, good)
    };
    let (blind, blind_good) = late_share(Feedback::Off);
    let (learnt, learnt_good) = late_share(Feedback::Ewma { weight: 0.2 });
    assert!(blind > 0.05, "a wrong profile makes answers late: {blind}");
    assert!(learnt < 0.01, "a corrected one hardly any: {learnt}, uncorrected {blind}");
    assert!(learnt_good > blind_good, "and more are in time: {learnt_good}, uncorrected {blind_good}");
}
