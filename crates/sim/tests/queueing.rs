//! Queueing theory: with Poisson arrivals and deterministic service, mean latencies are known in closed form.
//!
//! `W(D, rate) = D + rate * D^2 / (2 * (1 - rate * D))` for one queue (M/D/1); a pipeline of deterministic stages
//! waits as if its slowest stage were the only queue. The cases are those of AlpaServe (OSDI 2023), section 3.4:
//! two models, two devices, 0.395 s on one device, 3 requests per second.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use statmux_core::{
    Bytes, Cluster, ConfigProfile, DeviceId, Group, ModelId, ModelProfile, ModelSpec, Outcome, ParallelConfig,
    Placement, PlacementWindows, Slo, Time, Workload,
};
use statmux_sched::{Admission, AnyDiscipline, Dispatch, Settings};
use statmux_sim::simulate::simulate_with;
use statmux_sim::tight::{Arrivals, Track};
use statmux_sim::{Engine, SimulationSettings};
use std::sync::Arc;

const SERVICE: f64 = 0.395;
const RATE: f64 = 3.0;

/// Mean latency of an M/D/1 queue whose service takes `slowest` on its slowest stage, `alone` in all.
fn mean_latency(alone: f64, slowest: f64, rate: f64) -> f64 {
    alone + rate * slowest * slowest / (2.0 * (1.0 - rate * slowest))
}

/// Two models with the same stage times, without SLO.
fn models(stages: &[f64]) -> Vec<ModelSpec> {
    let profile = |seconds: &[f64]| ConfigProfile {
        stage_seconds: [(1, seconds.to_vec())].into(),
        stage_weights: vec![Bytes::new(1); seconds.len()],
        ..ConfigProfile::default()
    };
    let mut configs = std::collections::BTreeMap::from([(ParallelConfig::SINGLE, profile(&[SERVICE]))]);
    configs.insert(ParallelConfig::new(1, stages.len() as u32), profile(stages));
    let profile = Arc::new(ModelProfile::new("bert-6.7b", "published", configs));
    ["first", "second"].map(|name| ModelSpec { name: name.to_owned(), slo: Slo::None, profile: profile.clone() }).into()
}

fn group(devices: std::ops::Range<u32>, models: &[u32]) -> Group {
    Group {
        config: ParallelConfig::new(1, devices.len() as u32),
        devices: devices.map(DeviceId).collect(),
        models: models.iter().copied().map(ModelId).collect(),
    }
}

/// Each model on a device of its own.
fn simple() -> Placement {
    Placement { groups: vec![group(0..1, &[0]), group(1..2, &[1])] }
}

/// Both models in two stages over both devices.
fn pipeline() -> Placement {
    Placement { groups: vec![group(0..2, &[0, 1])] }
}

/// Poisson arrivals at `rate`, each for the first model with probability `share`.
fn poisson(requests: usize, rate: f64, share: f64, seed: u64) -> Workload {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let mut workload = Workload::default();
    let mut at = 0.0;
    for _ in 0..requests {
        at -= (1.0 - rng.random::<f64>()).ln() / rate;
        workload.arrived.push(Time::from_seconds(at).expect("within 584 years"));
        workload.model.push(ModelId(u32::from(rng.random::<f64>() >= share)));
    }
    workload
}

fn settings() -> SimulationSettings {
    let scheduler = Settings { admission: Admission::None, dispatch: Dispatch::LeastClock, ..Settings::default() };
    SimulationSettings { scheduler, ..SimulationSettings::default() }
}

/// Checks the mean of `runs` simulated runs against `expected`, within 1 %.
fn check(placement: &Placement, stages: &[f64], share: f64, runs: u64, expected: f64) {
    const REQUESTS: usize = 4_000_000;
    let cluster = Cluster::uniform(2, 2, Bytes::from_gib(1));
    let models = models(stages);
    let track = Track::<Time>::new(placement, &cluster, &models, &settings()).expect("all is profiled");
    let latencies = (0..runs).map(|seed| {
        let arrivals = Arrivals::new(&poisson(REQUESTS, RATE, share, seed), &models);
        track.tally(&arrivals).latency_sum
    });
    let mean = latencies.sum::<f64>() / (runs as f64 * REQUESTS as f64);
    assert!((mean / expected - 1.0).abs() < 0.01, "simulated {mean}, by theory {expected}");
}

#[test]
fn one_queue_for_each_model() {
    let expected = |share: f64| {
        share * mean_latency(SERVICE, SERVICE, share * RATE)
            + (1.0 - share) * mean_latency(SERVICE, SERVICE, (1.0 - share) * RATE)
    };
    assert!((expected(0.5) - 0.6822).abs() < 1e-4);
    assert!((expected(0.2) - 3.288).abs() < 1e-3);
    check(&simple(), &[SERVICE / 2.0; 2], 0.5, 1, expected(0.5));
    // One of the queues is 95 % busy, so its mean converges slowly.
    check(&simple(), &[SERVICE / 2.0; 2], 0.2, 6, expected(0.2));
}

#[test]
fn a_pipeline_waits_half_as_long_whatever_the_split() {
    let expected = mean_latency(SERVICE, SERVICE / 2.0, RATE);
    assert!((expected - 0.5386).abs() < 1e-4);
    check(&pipeline(), &[SERVICE / 2.0; 2], 0.5, 1, expected);
    check(&pipeline(), &[SERVICE / 2.0; 2], 0.2, 1, expected);
}

#[test]
fn communication_lengthens_every_stage() {
    for alpha in [1.05, 1.1, 1.2] {
        let stage = alpha * SERVICE / 2.0;
        check(&pipeline(), &[stage; 2], 0.5, 1, mean_latency(2.0 * stage, stage, RATE));
    }
}

#[test]
fn uneven_stages_lengthen_the_slowest() {
    for beta in [1.1, 1.3, 1.5] {
        let slowest = beta * SERVICE / 2.0;
        let expected = mean_latency(SERVICE, slowest, RATE);
        check(&pipeline(), &[slowest, SERVICE - slowest], 0.2, 1, expected);
        check(&pipeline(), &[SERVICE - slowest, slowest], 0.2, 1, expected);
    }
}

#[test]
fn every_discipline_does_the_same_work() {
    let cluster = Cluster::uniform(1, 1, Bytes::from_gib(1));
    let models = models(&[SERVICE / 2.0; 2]);
    let windows = PlacementWindows::fixed(Placement { groups: vec![group(0..1, &[0, 1])] });
    let workload = poisson(200_000, 2.0, 0.2, 7);
    let waits = AnyDiscipline::ALL.map(|discipline| {
        let mut settings = settings();
        settings.scheduler.discipline = discipline;
        let run = simulate_with(Engine::Events, &cluster, &models, &windows, &workload, &settings, None);
        let run = run.expect("all is profiled");
        let latencies = run.outcomes.iter().zip(&workload.arrived).map(|(outcome, &arrived)| match outcome {
            Outcome::Served(served) => served.finished.since(arrived).nanos(),
            other => panic!("without admission all is served, not {other:?}"),
        });
        (latencies.sum::<u64>(), run.groups)
    });
    assert!(waits.iter().all(|wait| *wait == waits[0]));
}
