//! The files that scenarios name, written into the data folder of the figures.

use crate::case::digest;
use crate::error::FiguresError;
use crate::layers::{derive, derive_large};
use statmux_core::files::{parse_profile, profile_json, write_atomically};
use statmux_core::{Bytes, ConfigProfile, ModelProfile, ParallelConfig, Profile};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The profile of the six models of the published sets.
pub const V100: &str = "v100-alpaserve-scaled.json";

const V100_TEXT: &str = include_str!("../../../profiles/v100-alpaserve-scaled.json");

/// The same models with stages derived layer by layer.
pub const V100_LAYERS: &str = "v100-alpaserve-layers.json";

/// The very large model.
pub const V100_LARGE: &str = "v100-bert-104b.json";

/// The files that scenarios name, and what stands for their content.
#[derive(Clone, Debug, Default)]
pub struct Support {
    /// Digest of the content by file name.
    digests: BTreeMap<String, String>,
    /// The measured profile.
    pub v100: Profile,
    /// The same models with stages derived layer by layer.
    pub layers: Profile,
}

impl Support {
    /// Writes all files into `folder`.
    pub(crate) fn write(folder: &Path) -> Result<Self, FiguresError> {
        let v100 = parse_profile(Path::new(V100), V100_TEXT)?;
        let layers = derive(&v100)?;
        let mut support = Self { digests: BTreeMap::new(), v100, layers };
        support.put(folder, V100, V100_TEXT.as_bytes())?;
        let layers = profile_json(&support.layers);
        support.put(folder, V100_LAYERS, layers.as_bytes())?;
        let large = derive_large(&support.v100)?;
        support.put(folder, V100_LARGE, profile_json(&large).as_bytes())?;
        for alpha in ALPHAS {
            let profile = support.with_overhead(alpha)?;
            support.put(folder, &alpha_profile(alpha), profile_json(&profile).as_bytes())?;
        }
        Ok(support)
    }

    fn put(&mut self, folder: &Path, name: &str, bytes: &[u8]) -> Result<(), FiguresError> {
        write_atomically(&folder.join(name), bytes)?;
        self.digests.insert(name.to_owned(), digest(&[&String::from_utf8_lossy(bytes)]));
        Ok(())
    }

    /// What stands for the content of all files that `scenario` names.
    pub(crate) fn digest_for(&self, scenario: &str) -> String {
        let named = self.digests.iter().filter(|(name, _)| scenario.contains(name.as_str()));
        named.map(|(_, digest)| digest.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The measured profile of one architecture.
    pub fn model(&self, name: &str) -> Result<&Arc<ModelProfile>, FiguresError> {
        self.v100.models.get(name).ok_or_else(|| FiguresError::Embedded(format!("no profile of {name}")))
    }

    /// bert-2.6b with eight equal stages of `alpha` times an eighth of the latency on one device.
    fn with_overhead(&self, alpha: f64) -> Result<Profile, FiguresError> {
        let base = self.model("bert-2.6b")?;
        let alone = base.single_device_seconds().expect("the embedded profile has one-device times");
        let single = base.config(ParallelConfig::SINGLE).expect("the embedded profile has one-device times");
        let weights = single.largest_stage_weight().get();
        let pipeline = ConfigProfile {
            stage_seconds: BTreeMap::from([(1, vec![alpha * alone / 8.0; 8])]),
            stage_weights: vec![Bytes::new(weights / 8); 8],
            stage_activations: BTreeMap::new(),
        };
        let configs = BTreeMap::from([(ParallelConfig::SINGLE, single.clone()), (ParallelConfig::new(1, 8), pipeline)]);
        let provenance = format!("assumed: eight equal stages of {alpha} x 1/8 of the latency on one device");
        let model = ModelProfile::new("bert-2.6b", provenance.clone(), configs);
        let models = BTreeMap::from([("bert-2.6b".to_owned(), Arc::new(model))]);
        Ok(Profile { device: self.v100.device.clone(), provenance, models })
    }
}

/// The overheads of the figure on pipeline overhead.
pub const ALPHAS: [f64; 6] = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5];

/// The profile whose eight stages take `alpha` times an eighth each.
pub fn alpha_profile(alpha: f64) -> String {
    format!("bert-2.6b-overhead-{alpha:.1}.json")
}
