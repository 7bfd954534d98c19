//! How soon our search is as good as AlpaServe's at its end, on requests that neither has seen.
//!
//! `cargo bench -p statmux-plan --bench quality`: for each case the time and attainment of AlpaServe's search with
//! buckets, then those of ours with doubling budgets until it attains as much.

#![allow(clippy::disallowed_methods)] // A benchmark reads the clock.

mod common;

use common::{SIX, models, requests};
use statmux_core::{Bytes, Cluster, ModelSpec, Seed, Workload};
use statmux_plan::policy::alpaserve::Alpaserve;
use statmux_plan::policy::buckets::Buckets;
use statmux_plan::policy::statmux::Statmux;
use statmux_plan::{Evaluator, Policy, Problem, Search, Silent};
use statmux_sim::{SimulationSettings, simulate};
use std::time::{Duration, Instant};

fn main() {
    // (what, devices, requests a second, the original's seconds with buckets or without)
    let cases = [("S3-like, 60 models, 32 devices", 32, 100.0, 13.8), ("60 models, 64 devices", 64, 240.0, 20.3)];
    for (name, devices, rate, original) in cases {
        let case = Case::new(devices, rate);
        let (to_beat, seconds, evaluations) = case.plan(&Buckets(Alpaserve { max_pp: 8, max_op: 4 }));
        println!("{name}: AlpaServe attains {to_beat:.4} after {seconds:.2} s, {evaluations} evaluations");
        for doublings in 0.. {
            let time = Duration::from_millis(50 << doublings);
            let (attained, seconds, evaluations) = case.plan(&Statmux { time, ..Statmux::default() });
            let ratio = original / seconds;
            println!(
                "{name}: statmux attains {attained:.4} after {seconds:.2} s, {evaluations} evaluations: 1/{ratio:.0} of \
                 the original's {original} s"
            );
            if attained >= to_beat || time > Duration::from_secs(20) {
                break;
            }
        }
    }
}

struct Case {
    cluster: Cluster,
    models: Vec<ModelSpec>,
    settings: SimulationSettings,
    train: Workload,
    test: Workload,
}

impl Case {
    /// Ten copies of each of six models; bursty requests (CV 4) for 200 s at `rate` per second, divided over the
    /// models by a power law.
    fn new(devices: u32, rate: f64) -> Self {
        let models = models(&SIX.repeat(10));
        let (train, test) = (requests(models.len(), rate, 0), requests(models.len(), rate, 1000));
        let cluster = Cluster::uniform(devices, 8, Bytes::from_gib(13));
        Self { cluster, models, settings: SimulationSettings::peer(), train, test }
    }

    /// What `policy` attains on the test requests, how long it plans, and with how many evaluations.
    fn plan(&self, policy: &dyn Policy) -> (f64, f64, u64) {
        let Self { cluster, models, settings, train, test } = self;
        let problem = Problem { cluster, models, settings, train, seed: Seed(0) };
        let began = Instant::now();
        let plan = policy
            .place(&Search { problem: &problem, evaluator: &Evaluator::new(&problem), progress: &Silent })
            .expect("a plan");
        let seconds = began.elapsed().as_secs_f64();
        let settings = plan.scheduling.map_or_else(|| settings.clone(), |scheduling| scheduling.apply(settings));
        let run = simulate(cluster, models, &plan.windows, test, &settings).expect("it can be simulated");
        let in_slo = run.outcomes.iter().filter(|outcome| outcome.in_slo()).count();
        (in_slo as f64 / test.len() as f64, seconds, plan.evaluations)
    }
}
