//! What the benchmarks plan for: AlpaServe's sets of models on the repository's profile, and bursty requests.

use statmux_core::files::read_profile;
use statmux_core::{ModelId, ModelSpec, Seed, Slo, Span, Time, Workload};
use std::path::Path;

/// The six kinds of models of AlpaServe's set S3.
pub(crate) const SIX: [&str; 6] = ["bert-6.7b", "moe-5.3b", "bert-2.6b", "moe-2.4b", "bert-1.3b", "moe-1.3b"];

/// One model of each of these kinds, promised five times its latency alone.
pub(crate) fn models(kinds: &[&str]) -> Vec<ModelSpec> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../profiles/v100-alpaserve-scaled.json");
    let profile = read_profile(&path).expect("the repository's profile is sound");
    let model = |(index, &name): (usize, &&str)| ModelSpec {
        name: format!("m{index}"),
        slo: Slo::Scale(5.0),
        profile: profile.models[name].clone(),
    };
    kinds.iter().enumerate().map(model).collect()
}

/// Bursty requests (CV 4) for 200 s at `rate` per second, divided over the models by a power law.
pub(crate) fn requests(models: usize, rate: f64, seed: u64) -> Workload {
    const SECONDS: f64 = 200.0;
    // A mixture of two exponentials with mean 1 and CV about 4: mostly short gaps, sometimes long ones.
    const LONG: f64 = 0.03;
    let wanted = (rate * SECONDS) as usize;
    let total: f64 = (0..models).map(|model| ((model + 1) as f64).powf(-0.5)).sum();
    let mut requests = Vec::new();
    for model in 0..models {
        let share = ((model + 1) as f64).powf(-0.5) / total;
        let count = (wanted as f64 * share).round() as usize;
        let mut dice = (0..).map(|n| Seed(seed + model as u64).nth(n).0 as f64 / u64::MAX as f64);
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
