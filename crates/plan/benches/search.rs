//! How long AlpaServe's search takes on the two cases its speed is promised for.
//!
//! `RAYON_NUM_THREADS=1 cargo bench -p statmux-plan` gives processor time; without the variable, all cores work.

use divan::{Bencher, counter::ItemsCount};
use statmux_core::files::read_profile;
use statmux_core::{Bytes, Cluster, ModelId, ModelSpec, Seed, Slo, Span, Time, Workload};
use statmux_plan::policy::alpaserve::Alpaserve;
use statmux_plan::policy::selective_replication::SelectiveReplication;
use statmux_plan::{Evaluator, Policy, Problem, Silent};
use statmux_sim::SimulationSettings;
use std::path::Path;

fn main() {
    divan::main();
}

/// AlpaServe's set S1: 32 copies of one model on 16 devices, 64 requests a second for 200 s.
fn equal_models() -> Case {
    Case::new(&["bert-1.3b"; 32], 16, 64.0)
}

/// AlpaServe's set S3: ten copies of each of six models on 64 devices, 240 requests a second for 200 s.
fn mixed_models() -> Case {
    let six = ["bert-6.7b", "moe-5.3b", "bert-2.6b", "moe-2.4b", "bert-1.3b", "moe-1.3b"];
    Case::new(&six.repeat(10), 64, 240.0)
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
    let place = || policy.place(&problem, &Evaluator::new(&problem), &Silent).expect("a plan");
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
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../profiles/v100-alpaserve-scaled.json");
        let profile = read_profile(&path).expect("the repository's profile is sound");
        let model = |(index, &name): (usize, &&str)| ModelSpec {
            name: format!("m{index}"),
            slo: Slo::Scale(5.0),
            profile: profile.models[name].clone(),
        };
        let models: Vec<ModelSpec> = names.iter().enumerate().map(model).collect();
        let settings = SimulationSettings::peer();
        let cluster = Cluster::uniform(devices, 8, Bytes::from_gib(13));
        Self { cluster, train: requests(models.len(), rate), models, settings }
    }
}

fn requests(models: usize, rate: f64) -> Workload {
    const SECONDS: f64 = 200.0;
    // A mixture of two exponentials with mean 1 and CV about 4: mostly short gaps, sometimes long ones.
    const LONG: f64 = 0.03;
    let wanted = (rate * SECONDS) as usize;
    let total: f64 = (0..models).map(|model| ((model + 1) as f64).powf(-0.5)).sum();
    let mut requests = Vec::new();
    for model in 0..models {
        let share = ((model + 1) as f64).powf(-0.5) / total;
        let count = (wanted as f64 * share).round() as usize;
        let mut dice = (0..).map(|n| Seed(model as u64).nth(n).0 as f64 / u64::MAX as f64);
        let mut draw = || dice.next().expect("it never ends");
        let mut gaps = Vec::with_capacity(count);
        for _ in 0..count {
            let scale = if draw() < LONG { 0.5 / LONG } else { 0.5 / (1.0 - LONG) };
            gaps.push(-(1.0 - draw()).max(1e-12).ln() * scale);
        }
        // Stretched to the whole time, so that the rate is exact.
        let sum: f64 = gaps.iter().sum();
        let mut at = 0.0;
        for gap in gaps {
            at += gap * SECONDS / sum;
            requests.push((Time::from_seconds(at).expect("a time"), ModelId::from_index(model)));
        }
    }
    requests.sort();
    let (arrived, model) = requests.into_iter().unzip();
    Workload { arrived, model, duration: Span::from_millis(200_000), ..Workload::default() }
}
