//! How long AlpaServe's search takes on the two cases its speed is promised for.
//!
//! `RAYON_NUM_THREADS=1 cargo bench -p statmux-plan` gives processor time; without the variable, all cores work.

mod common;

use common::{SIX, models, requests};
use divan::{Bencher, counter::ItemsCount};
use statmux_core::{Bytes, Cluster, ModelSpec, Seed, Workload};
use statmux_plan::policy::alpaserve::Alpaserve;
use statmux_plan::policy::selective_replication::SelectiveReplication;
use statmux_plan::{Evaluator, Policy, Problem, Search, Silent};
use statmux_sim::SimulationSettings;

fn main() {
    divan::main();
}

/// AlpaServe's set S1: 32 copies of one model on 16 devices, 64 requests a second for 200 s.
fn equal_models() -> Case {
    Case::new(&["bert-1.3b"; 32], 16, 64.0)
}

/// AlpaServe's set S3: ten copies of each of six models on 64 devices, 240 requests a second for 200 s.
fn mixed_models() -> Case {
    Case::new(&SIX.repeat(10), 64, 240.0)
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn alpaserve_32_models_16_devices_12800_requests(bencher: Bencher) {
    search(bencher, &equal_models(), &Alpaserve { max_pp: 8, max_op: 4 });
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn alpaserve_60_models_64_devices_48000_requests(bencher: Bencher) {
    search(bencher, &mixed_models(), &Alpaserve { max_pp: 8, max_op: 4 });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn selective_replication_32_models_16_devices_12800_requests(bencher: Bencher) {
    search(bencher, &equal_models(), &SelectiveReplication);
}

fn search(bencher: Bencher, case: &Case, policy: &dyn Policy) {
    let Case { cluster, models, train, settings } = case;
    let problem = Problem { cluster, models, settings, train, seed: Seed(0) };
    let place = || {
        policy
            .place(&Search { problem: &problem, evaluator: &Evaluator::new(&problem), progress: &Silent })
            .expect("a plan")
    };
    let plan = place();
    let evaluator = Evaluator::new(&problem);
    let score = evaluator.evaluate(&plan.windows.0[0].placement).expect("it can be simulated").score;
    println!("{} placements simulated; attainment {:.4}", plan.evaluations, score.attainment());
    bencher.counter(ItemsCount::new(plan.evaluations * train.len() as u64)).bench(place);
}

struct Case {
    cluster: Cluster,
    models: Vec<ModelSpec>,
    settings: SimulationSettings,
    train: Workload,
}

impl Case {
    /// Bursty requests (CV 4) for 200 s at `rate` per second, divided over the models by a power law.
    fn new(names: &[&str], devices: u32, rate: f64) -> Self {
        let models = models(names);
        let settings = SimulationSettings::peer();
        let cluster = Cluster::uniform(devices, 8, Bytes::from_gib(13));
        Self { cluster, train: requests(models.len(), rate, 0), models, settings }
    }
}
