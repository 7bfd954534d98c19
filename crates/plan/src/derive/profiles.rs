//! Profiles of all models of a table of layers.

use super::{DeriveError, Derived, LARGEST_OP, LARGEST_PP, LayersTable, Links, ModelLayers, Wanted, derive_profile};
use statmux_core::files::FileError;
use statmux_core::profile::Profile;
use statmux_core::units::Bytes;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// How to derive profiles.
#[derive(Clone, Debug, PartialEq)]
pub struct Deriving {
    /// What is assumed of the devices.
    pub links: Links,
    /// Devices per stage; empty for all powers of two up to `most_op`.
    pub ops: Vec<u32>,
    /// Stages; empty for all powers of two up to `most_pp`.
    pub pps: Vec<u32>,
    /// Batch sizes; empty for those that every layer was measured with.
    pub batches: Vec<u32>,
    /// What a device can hold, where cuts are to keep to it if they can.
    pub memory: Option<Bytes>,
    /// See `ops`.
    pub most_op: u32,
    /// See `pps`.
    pub most_pp: u32,
}

impl Default for Deriving {
    fn default() -> Self {
        Self {
            links: Links::default(),
            ops: Vec::new(),
            pps: Vec::new(),
            batches: Vec::new(),
            memory: None,
            most_op: LARGEST_OP,
            most_pp: LARGEST_PP,
        }
    }
}

/// Profiles of the models of tables of layers, and what is to be said of each.
#[derive(Clone, Debug)]
pub struct DerivedProfiles {
    /// All models.
    pub profile: Profile,
    /// Model by model, in the order of the tables.
    pub models: Vec<Derived>,
}

/// Derives the profiles of all models of `tables`, each with the file that it is from, which errors name. `device` and
/// `source` (where the times are from) go into the profile.
///
/// # Errors
/// If a model stands in two tables, or its layers do not tell what is wanted.
pub fn derive_tables(
    tables: &[(&Path, &LayersTable)],
    device: &str,
    source: &str,
    deriving: &Deriving,
) -> Result<DerivedProfiles, FileError> {
    let mut all: Vec<Derived> = Vec::new();
    for (path, table) in tables {
        for model in &table.models {
            if all.iter().any(|derived| derived.profile.name == model.name) {
                let what = format!("model `{}` stands in another table, too", model.name);
                return Err(FileError::whole(path, what).with_help("give each model a name of its own"));
            }
            all.push(derived(path, model, source, deriving)?);
        }
    }
    let provenance = provenance(source, deriving, &all);
    let models = all.iter_mut().map(|derived| {
        derived.profile = derived.profile.clone().with_provenance(provenance.clone());
        (derived.profile.name.clone(), Arc::new(derived.profile.clone()))
    });
    let models: BTreeMap<_, _> = models.collect();
    Ok(DerivedProfiles { profile: Profile { device: device.to_owned(), provenance, models }, models: all })
}

fn derived(path: &Path, model: &ModelLayers, source: &str, deriving: &Deriving) -> Result<Derived, FileError> {
    let mut wanted = Wanted::all(&model.layers, deriving.most_op, deriving.most_pp);
    let asked = [&deriving.ops, &deriving.pps, &deriving.batches];
    for (slot, asked) in [&mut wanted.ops, &mut wanted.pps, &mut wanted.batches].into_iter().zip(asked) {
        if !asked.is_empty() {
            slot.clone_from(asked);
        }
    }
    if deriving.batches.is_empty() && !wanted.batches.contains(&1) {
        let what = format!("model `{}`: not every layer has a time for batch size 1 at op 1", model.name);
        return Err(FileError::whole(path, what).with_help("add the rows that are missing"));
    }
    wanted.memory = deriving.memory;
    let derived = derive_profile(&model.name, source, &model.layers, &deriving.links, &wanted);
    let derived = derived.map_err(|error| in_file(path, &model.name, &error))?;
    Ok(Derived { profile: derived.profile.clone().with_tokens(model.tokens), ..derived })
}

fn in_file(path: &Path, model: &str, error: &DeriveError) -> FileError {
    let what = match error {
        DeriveError::Nothing(Some(cause)) => format!("model `{model}`: {error}: {cause}"),
        _ => format!("model `{model}`: {error}"),
    };
    let help = match error {
        DeriveError::Unmeasured { op, batch, .. } => {
            format!("add a row for it, or ask for no batch size {batch} (or no op {op})")
        }
        DeriveError::Time { .. } => "give a time above 0".to_owned(),
        DeriveError::Efficiency => "1 means that devices are used perfectly".to_owned(),
        DeriveError::Wanted => "ask for op, pp and batch sizes from 1 on, batch size 1 among them".to_owned(),
        DeriveError::Layers(_) => "give several layers as one where no cut is wanted".to_owned(),
        DeriveError::Nothing(_) => "ask for at most as many stages as there are layers".to_owned(),
    };
    FileError::whole(path, what).with_help(help)
}

/// What is measured, what is assumed, and what follows from it, in one sentence.
fn provenance(source: &str, deriving: &Deriving, all: &[Derived]) -> String {
    let Links { rate, latency, efficiency } = deriving.links;
    let mut text = format!(
        "derived: from single layers ({source}), cut so that the slowest stage is as fast as it can be; links assumed: \
         {rate}, {latency} a transfer"
    );
    let mut predicted: Vec<u32> = all.iter().flat_map(|derived| derived.predicted.iter().copied()).collect();
    predicted.sort_unstable();
    predicted.dedup();
    if !predicted.is_empty() {
        let ops: Vec<String> = predicted.iter().map(u32::to_string).collect();
        let percent = (efficiency * 1000.0).round() / 10.0;
        let ops = ops.join(", ");
        text.push_str(&format!("; op {ops} predicted, with split operators assumed to use devices at {percent} %"));
    }
    if let Some(memory) = deriving.memory {
        text.push_str(&format!("; a device's weights kept within {memory} where a cut can"));
    }
    text
}
