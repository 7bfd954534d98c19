//! Traffic that nobody saw: scenarios drawn from five families, planned on one stretch and scored on the next.
//!
//! Which trace, which models, which stretch and what is varied are drawn by a seed, so that nobody chose them. None of
//! the stretches is one that figures or suite show, or that settings of the search were chosen on.

use super::Result;
use super::case::{Case, Scored};
use super::rows::{Rows, UNSEEN};
use statmux_core::Seed;
use statmux_workload::synth::azure_functions_2021;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Policies that are compared.
pub(super) const POLICIES: [&str; 2] = ["alpaserve-buckets", "statmux"];

/// Scenarios of each family and set of models.
const EACH: u64 = 3;

/// Minutes of a trace that are planned on, and as many that are scored.
const MINUTES: u32 = 10;

/// A recorded trace, or one like it.
struct Family {
    name: &'static str,
    format: &'static str,
    file: &'static str,
    /// The first minutes of stretches that are scored; what is planned on lies before.
    scored_from: &'static [u32],
    /// How rates are estimated, and what a CV means.
    fit: &'static str,
    /// The usual CV, and others.
    cv: [f64; 5],
    /// By set of models: by what rates are multiplied.
    rates: [f64; 3],
}

/// Drawn from published statistics, by another seed than the figures'.
const MAF2_LIKE: &str = "azure-functions-2021-synthetic-seed-2.csv.gz";

/// The last of fourteen days is what is kept of it.
const LAST_DAY: u32 = 13 * 1440;

const FAMILIES: [Family; 4] = [
    Family {
        name: "MAF1",
        format: "azure-functions-2019",
        file: "../../crates/statmux/demo/azure-functions-2019-sample500.csv.gz",
        scored_from: &[730, 850, 910],
        fit: "fit = \"count\", interval = \"60 s\", cv",
        cv: [4.0, 1.0, 2.0, 6.0, 8.0],
        rates: [0.3, 0.45, 0.4],
    },
    Family {
        name: "MAF2-like",
        format: "azure-functions-2021",
        file: MAF2_LIKE,
        scored_from: &[LAST_DAY + 500, LAST_DAY + 1100],
        fit: "fit = \"gamma\", interval = \"300 s\", cv_scale",
        cv: [1.0, 0.5, 1.5, 2.0, 3.0],
        rates: [45.0, 75.0, 75.0],
    },
    Family {
        name: "ServeGen",
        format: "servegen",
        file: "data/servegen-reason-deepseek-r1.csv.gz",
        scored_from: &[18 * 60, 20 * 60 + 10],
        fit: "fit = \"gamma\", cv_scale",
        cv: [1.0, 0.5, 1.5, 2.0, 3.0],
        rates: [3.5, 5.0, 4.5],
    },
    Family {
        name: "Freyr",
        format: "azure-functions-2019",
        file: "data/azure-functions-2019-freyr1000.csv.gz",
        scored_from: &[35, 48],
        fit: "fit = \"count\", interval = \"60 s\", cv",
        cv: [4.0, 1.0, 2.0, 6.0, 8.0],
        // It has fewer calls than MAF1.
        rates: [1.32, 1.98, 1.76],
    },
];

/// Models, the devices they usually have, and other numbers of devices.
struct Set {
    name: &'static str,
    kinds: &'static [&'static str],
    models: usize,
    devices: [u32; 5],
}

const SETS: [Set; 3] = [
    Set { name: "s1", kinds: &["bert-1.3b"], models: 32, devices: [16, 8, 24, 32, 48] },
    Set { name: "s2", kinds: &["bert-6.7b"], models: 32, devices: [64, 32, 48, 96, 128] },
    Set {
        name: "s3",
        kinds: &["bert-1.3b", "bert-2.6b", "bert-6.7b", "moe-1.3b", "moe-2.4b", "moe-5.3b"],
        models: 60,
        devices: [48, 16, 24, 32, 64],
    },
];

/// What is not as usual.
#[derive(Clone, Copy)]
struct Varied {
    name: &'static str,
    rate: f64,
    cv: f64,
    slo: f64,
    devices: u32,
}

/// Chance by name and number.
struct Draw(Seed, u64);

impl Draw {
    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        self.1 += 1;
        values[(self.0.nth(self.1).0 % values.len() as u64) as usize]
    }

    fn varied(&mut self, set: &Set, cv: &[f64; 5]) -> Varied {
        let usual = Varied { name: "base", rate: 1.0, cv: cv[0], slo: 5.0, devices: set.devices[0] };
        match self.of(&[0, 1, 2, 3, 4]) {
            0 => usual,
            1 => Varied { name: "rate", rate: self.of(&[0.25, 0.5, 1.5, 2.0]), ..usual },
            2 => Varied { name: "cv", cv: self.of(&cv[1..]), ..usual },
            3 => Varied { name: "slo", slo: self.of(&[1.0, 1.5, 2.0, 10.0]), ..usual },
            _ => Varied { name: "devices", devices: self.of(&set.devices[1..]), ..usual },
        }
    }
}

/// Adds the rows that are missing, of the scenarios that `seed` draws.
pub(super) fn run(seed: u64) -> Result<()> {
    let synthetic = std::env::temp_dir().join(MAF2_LIKE);
    if !synthetic.exists() {
        let mut trace = azure_functions_2021(14.0, None, Seed(2));
        trace.calls.retain(|(at, _)| at.seconds() >= f64::from(LAST_DAY) * 60.0);
        trace.write(&synthetic)?;
    }
    let mut draw = Draw(Seed(seed).stream("unseen"), 0);
    for (number, set) in SETS.iter().enumerate() {
        for family in &FAMILIES {
            for each in 0..EACH {
                let varied = draw.varied(set, &family.cv);
                let from = draw.of(family.scored_from);
                let name = format!("{}-{}-{each}-{}", family.name, set.name, varied.name);
                let workload = family.workload(from, family.rates[number] * varied.rate, varied.cv, &synthetic);
                score(family.name, &name, &scenario(set, varied, &workload))?;
            }
        }
        for each in 0..EACH {
            let (kind, workload) = shifted_gamma(set, &mut draw);
            let usual = Varied { name: "base", rate: 1.0, cv: 0.0, slo: 5.0, devices: set.devices[0] };
            let name = format!("Gamma-{}-{each}-{kind}", set.name);
            score("shifted Gamma", &name, &scenario(set, usual, &workload))?;
        }
    }
    Ok(())
}

fn score(family: &str, name: &str, text: &str) -> Result<()> {
    let mut case = None;
    for policy in POLICIES {
        if Rows::read(UNSEEN)?.find(&[family, name, policy]).is_some() {
            continue;
        }
        let case = match &case {
            Some(case) => case,
            None => case.insert(Case::parse(Path::new("scenarios/suite/unseen.toml"), text)?),
        };
        let scored = case.score(policy)?;
        println!("{}", scored.line(name, policy));
        let Scored { train, test, requests, missed, fixed_bound, seconds, .. } = scored;
        Rows::add(
            UNSEEN,
            &format!("{family},{name},{policy},{train},{test},{requests},{missed},{fixed_bound},{seconds:.3}"),
        )?;
    }
    Ok(())
}

impl Family {
    fn workload(&self, from: u32, rate: f64, cv: f64, synthetic: &Path) -> String {
        let time = |minute: u32| format!("{}.{}.{}", minute / 1440, minute / 60 % 24, minute % 60);
        let window = |from: u32| format!("window = {{ start = {:?}, end = {:?} }}\n", time(from), time(from + MINUTES));
        let file = if self.file == MAF2_LIKE { synthetic.to_path_buf() } else { PathBuf::from(self.file) };
        format!(
            "kind = \"trace\"\nformat = {:?}\nfiles = [{file:?}]\n{}mapping = \"stripe\"\n\
             resample = {{ {} = {cv:?}, rate_scale = {rate:?} }}\n\n[workload.train]\n{}",
            self.format,
            window(from),
            self.fit,
            window(from - MINUTES),
        )
    }
}

/// Gamma arrivals whose popularity, rate or chance is another when they are scored.
fn shifted_gamma(set: &Set, draw: &mut Draw) -> (&'static str, String) {
    let kind = draw.of(&["rate", "swapped", "rotated", "drawn-again"]);
    let rate = draw.of(&[0.5, 0.8]) * f64::from(set.devices[0]) * if set.name == "s1" { 2.8 } else { 1.2 };
    let cv = draw.of(&[2.0, 4.0, 6.0]);
    let exponent: f64 = draw.of(&[0.5, 1.0]);
    let weights: Vec<f64> = (1..=set.models).map(|rank| (rank as f64).powf(-exponent)).collect();
    let mut shifted = weights.clone();
    match kind {
        "swapped" => {
            let any: Vec<usize> = (0..set.models).collect();
            (0..set.models / 5).for_each(|_| shifted.swap(draw.of(&any), draw.of(&any)));
        }
        "rotated" => shifted.rotate_left(set.models / 3),
        _ => {}
    }
    let trained = if kind == "rate" { 0.7 * rate } else { rate };
    let text = format!(
        "kind = \"gamma\"\nrate = {rate:?}\ncv = {cv:?}\nduration = \"300 s\"\nsplit = {shifted:?}\n\n\
         [workload.train]\nrate = {trained:?}\nduration = \"300 s\"\nsplit = {weights:?}\n"
    );
    (kind, text)
}

fn scenario(set: &Set, varied: Varied, workload: &str) -> String {
    let mut text = format!(
        "version = 1\nseed = 0\n[cluster]\ndevices = {}\ndevices_per_node = 8\nmemory = \"13 GiB\"\n\
         [profiles]\nfiles = [\"../../profiles/v100-alpaserve-scaled.json\"]\n\
         [simulation]\nfixed_overhead = \"11 ms\"\nstage_penalty = 0.009\ndispatch = \"least-clock\"\n\
         admission = \"deadline\"\ndiscipline = \"fcfs\"\n\n[workload]\n{workload}\n",
        varied.devices
    );
    for model in 0..set.models {
        let kind = set.kinds[model % set.kinds.len()];
        let _ =
            writeln!(text, "[[models]]\nname = \"m{model}\"\nprofile = {kind:?}\nslo = {{ scale = {:?} }}", varied.slo);
    }
    text
}
