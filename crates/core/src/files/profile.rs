//! Profile files: measured stage times and memory (`docs/formats.md`, section 2).

use super::error::FileError;
use crate::parallel::ParallelConfig;
use crate::profile::{ConfigProfile, ModelProfile, Profile};
use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    version: u32,
    #[serde(default)]
    device: String,
    #[serde(default)]
    provenance: String,
    #[serde(deserialize_with = "super::unique::map")]
    models: BTreeMap<String, ModelEntry>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ModelEntry {
    configs: Vec<ConfigEntry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "super::unique::map")]
    cuts: BTreeMap<String, Vec<usize>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<u32>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ConfigEntry {
    op: u32,
    pp: u32,
    #[serde(deserialize_with = "super::unique::map")]
    stage_latency_s: BTreeMap<String, Vec<f64>>,
    stage_weight_bytes: Vec<f64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "super::unique::map")]
    stage_activation_bytes: BTreeMap<String, Vec<f64>>,
}

/// Reads a profile file.
pub fn read_profile(path: &Path) -> Result<Profile, FileError> {
    parse_profile(path, &super::read_text(path)?)
}

/// Parses the text of a profile file; `path` is only named in errors.
pub fn parse_profile(path: &Path, text: &str) -> Result<Profile, FileError> {
    let file: ProfileFile = super::parse_json(path, text)?;
    super::check_version(path, file.version)?;
    let mut models = BTreeMap::new();
    for (name, entry) in file.models {
        let field = format!("models[\"{name}\"]");
        if entry.configs.is_empty() {
            return Err(FileError::at_field(path, format!("{field}.configs"), "is empty: nothing was measured"));
        }
        let mut configs = BTreeMap::new();
        for (index, config) in entry.configs.into_iter().enumerate() {
            let field = format!("{field}.configs[{index}]");
            let key = ParallelConfig::new(config.op, config.pp);
            let profile =
                checked(config).map_err(|(key, what)| FileError::at_field(path, field.clone() + key, what))?;
            if configs.insert(key, profile).is_some() {
                return Err(FileError::at_field(path, field, format!("repeats {key}")));
            }
        }
        let cuts = checked_cuts(entry.cuts, &configs);
        let cuts = cuts.map_err(|what| FileError::at_field(path, format!("{field}.cuts"), what))?;
        if entry.tokens == Some(0) {
            return Err(FileError::at_field(path, format!("{field}.tokens"), "is 0: texts have at least one token"));
        }
        let model = ModelProfile::new(name.clone(), file.provenance.clone(), configs);
        let model = model.with_cuts(cuts).with_tokens(entry.tokens);
        models.insert(name, Arc::new(model));
    }
    Ok(Profile { device: file.device, provenance: file.provenance, models })
}

/// The text of a profile file that holds `profile`.
pub fn profile_json(profile: &Profile) -> String {
    let entry = |model: &ModelProfile| ModelEntry {
        configs: model
            .configs()
            .map(|(config, measured)| ConfigEntry {
                op: config.op,
                pp: config.pp,
                stage_latency_s: by_batch(&measured.stage_seconds, |&seconds| seconds),
                stage_weight_bytes: measured.stage_weights.iter().map(|bytes| bytes.get() as f64).collect(),
                stage_activation_bytes: by_batch(&measured.stage_activations, |bytes| bytes.get() as f64),
            })
            .collect(),
        cuts: written_cuts(model),
        tokens: model.tokens(),
    };
    let file = ProfileFile {
        version: super::VERSION,
        device: profile.device.clone(),
        provenance: profile.provenance.clone(),
        models: profile.models.iter().map(|(name, model)| (name.clone(), entry(model))).collect(),
    };
    serde_json::to_string_pretty(&file).expect("plain data serialises")
}

fn by_batch<T>(sizes: &BTreeMap<u32, Vec<T>>, number: impl Fn(&T) -> f64) -> BTreeMap<String, Vec<f64>> {
    sizes.iter().map(|(batch, stages)| (batch.to_string(), stages.iter().map(&number).collect())).collect()
}

type Wrong = (&'static str, String);

fn checked(entry: ConfigEntry) -> Result<ConfigProfile, Wrong> {
    if entry.op == 0 || entry.pp == 0 {
        return Err(("", format!("has op {} and pp {}: both count from 1", entry.op, entry.pp)));
    }
    if entry.op.checked_mul(entry.pp).is_none_or(|devices| devices > 1 << 16) {
        return Err(("", format!("has op {} and pp {}: more devices than any group", entry.op, entry.pp)));
    }
    let stages = entry.pp as usize;
    let stage_seconds = per_batch(".stage_latency_s", entry.stage_latency_s, stages, |seconds| {
        (seconds > 0.0 && seconds <= 1e6).then_some(seconds).ok_or("must be positive seconds")
    })?;
    if !stage_seconds.contains_key(&1) {
        return Err((".stage_latency_s", "lacks batch size \"1\"".to_owned()));
    }
    let bytes = |number: f64| {
        (number >= 0.0 && number < 2f64.powi(63))
            .then_some(Bytes::new(number as u64))
            .ok_or("must be a number of bytes")
    };
    let stage_weights = per_stage(".stage_weight_bytes", entry.stage_weight_bytes, stages, bytes)?;
    let stage_activations = per_batch(".stage_activation_bytes", entry.stage_activation_bytes, stages, bytes)?;
    Ok(ConfigProfile { stage_seconds, stage_weights, stage_activations })
}

type Cuts = BTreeMap<ParallelConfig, Vec<usize>>;

/// For each configuration the first layer of each stage but the first. The key `"4"` is for four stages whatever `op`,
/// `"2x4"` for those of two devices each.
fn checked_cuts(
    entries: BTreeMap<String, Vec<usize>>,
    configs: &BTreeMap<ParallelConfig, ConfigProfile>,
) -> Result<Cuts, String> {
    let (mut all, mut own) = (Cuts::new(), Cuts::new());
    for (key, layers) in entries {
        let (op, stages) = key.split_once('x').map_or((None, key.as_str()), |(op, stages)| (Some(op), stages));
        let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number > 0);
        let parsed = number(stages).zip(op.map_or(Some(None), |op| number(op).map(Some)));
        let (pp, op) = parsed.ok_or_else(|| {
            format!("has the key \"{key}\", which is not a number of stages, nor one with devices as in \"2x4\"")
        })?;
        if layers.len() + 1 != pp as usize {
            return Err(format!("has {layers:?} for {pp} stages: give the first layer of each stage but the first"));
        }
        if layers.first() == Some(&0) || !layers.is_sorted_by(|a, b| a < b) {
            return Err(format!("has {layers:?}: layers must increase, from 1 on"));
        }
        match op {
            Some(op) => drop(own.insert(ParallelConfig::new(op, pp), layers)),
            None => {
                let alike = configs.keys().copied().filter(|config| config.pp == pp);
                all.extend(alike.map(|config| (config, layers.clone())));
            }
        }
    }
    all.extend(own);
    Ok(all)
}

/// The cuts under their keys: one for all configurations with as many stages where they agree.
fn written_cuts(model: &ModelProfile) -> BTreeMap<String, Vec<usize>> {
    let agree = |pp: u32| {
        let mut cuts =
            model.configs().filter(|(config, _)| config.pp == pp).map(|(config, _)| model.cuts().get(&config));
        let first = cuts.next();
        cuts.all(|cut| Some(cut) == first)
    };
    let key = |config: ParallelConfig| {
        if agree(config.pp) { config.pp.to_string() } else { format!("{}x{}", config.op, config.pp) }
    };
    model.configs().filter_map(|(config, _)| Some((key(config), model.cuts().get(&config)?.clone()))).collect()
}

fn per_batch<T>(
    key: &'static str,
    entries: BTreeMap<String, Vec<f64>>,
    stages: usize,
    check: impl Fn(f64) -> Result<T, &'static str> + Copy,
) -> Result<BTreeMap<u32, Vec<T>>, Wrong> {
    let mut sizes = BTreeMap::new();
    for (batch, numbers) in entries {
        let size = batch.parse::<u32>().ok().filter(|&size| size > 0);
        let size = size.ok_or_else(|| (key, format!("has the key \"{batch}\", which is not a batch size")))?;
        if sizes.insert(size, per_stage(key, numbers, stages, check)?).is_some() {
            return Err((key, format!("has batch size {size} twice")));
        }
    }
    Ok(sizes)
}

fn per_stage<T>(
    key: &'static str,
    numbers: Vec<f64>,
    stages: usize,
    check: impl Fn(f64) -> Result<T, &'static str>,
) -> Result<Vec<T>, Wrong> {
    if numbers.len() != stages {
        return Err((key, format!("has {} numbers for {stages} stages", numbers.len())));
    }
    numbers.into_iter().map(|number| check(number).map_err(|what| (key, format!("has {number}: {what}")))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = r#"{"version": 1, "device": "V100", "provenance": "measured", "models": {"a": {"configs": [
        {"op": 1, "pp": 2, "stage_latency_s": {"1": [0.5, 0.25]}, "stage_weight_bytes": [10, 20]}],
        "cuts": {"2": [6]}}}}"#;

    #[test]
    fn profiles_survive_a_round_trip() {
        let profile = parse_profile(Path::new("p.json"), GOOD).expect("good");
        let again = parse_profile(Path::new("p.json"), &profile_json(&profile)).expect("good");
        let config = ParallelConfig::new(1, 2);
        assert_eq!(profile.models["a"].config(config), again.models["a"].config(config));
        assert_eq!(again.models["a"].cuts(), &BTreeMap::from([(ParallelConfig::new(1, 2), vec![6])]));
        assert_eq!(again.models["a"].config(config).expect("there").largest_stage_weight(), Bytes::new(20));
    }

    #[test]
    fn cuts_are_for_numbers_of_stages_or_for_configurations() {
        let two = r#"{"op": 2, "pp": 2, "stage_latency_s": {"1": [0.5, 0.25]}, "stage_weight_bytes": [10, 20]},
            {"op": 1, "pp": 2"#;
        let wide = GOOD.replace(r#"{"op": 1, "pp": 2"#, two);
        let cuts = |cuts: &str| {
            let profile = parse_profile(Path::new("p.json"), &wide.replace("{\"2\": [6]}", cuts)).expect("good");
            let again = parse_profile(Path::new("p.json"), &profile_json(&profile)).expect("good");
            assert_eq!(again.models["a"].cuts(), profile.models["a"].cuts());
            again.models["a"].cuts().values().map(|layers| layers[0]).collect::<Vec<_>>()
        };
        assert_eq!(cuts("{\"2\": [6]}"), [6, 6]);
        assert_eq!(cuts("{\"2\": [6], \"2x2\": [5]}"), [6, 5]);
        assert_eq!(cuts("{\"2x2\": [5]}").last(), Some(&5));
    }

    #[test]
    fn bad_profiles_say_where_and_what() {
        let check = |from: &str, to: &str, expected: &str| {
            let error = parse_profile(Path::new("p.json"), &GOOD.replace(from, to)).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("\"version\": 1", "\"version\": 2", "version is 2, but this statmux reads version 1");
        check("0.25]", "0.25, 1]", "models[\"a\"].configs[0].stage_latency_s has 3 numbers for 2 stages");
        check("0.25]", "-0.25]", "stage_latency_s has -0.25: must be positive seconds");
        check("{\"1\":", "{\"x\":", "has the key \"x\", which is not a batch size");
        check("{\"1\":", "{\"2\":", "lacks batch size \"1\"");
        check("{\"1\":", "{\"1\": [0.5, 0.5], \"1\":", "the key `1` stands here twice");
        check("{\"1\":", "{\"1\": [0.5, 0.5], \"01\":", "stage_latency_s has batch size 1 twice");
        check("\"a\": {", "\"a\": {\"configs\": []}, \"a\": {", "the key `a` stands here twice");
        check("\"pp\": 2", "\"pp\": 0", "both count from 1");
        check("{\"2\": [6]}", "{\"3\": [6]}", "models[\"a\"].cuts has [6] for 3 stages");
        check("{\"2\": [6]}", "{\"x2\": [6]}", "has the key \"x2\", which is not a number of stages");
        check("{\"2\": [6]}", "{\"2\": [0]}", "layers must increase, from 1 on");
        check("stage_weight_bytes", "stage_weights_bytes", "did you mean `stage_weight_bytes`?");
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,200}") {
            let _ = parse_profile(Path::new("p.json"), &text);
        }
    }
}
