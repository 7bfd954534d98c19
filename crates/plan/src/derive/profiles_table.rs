//! The `[profiles]` table of a scenario.

use super::{Deriving, LinkRate, derive_tables, read_layers};
use serde::Deserialize;
use statmux_core::files::{FileError, Quantity, read_profile};
use statmux_core::{Cluster, Profile, Span};
use std::path::{Path, PathBuf};

/// `[profiles]`: profile files, and tables of layers of which profiles are derived.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfilesTable {
    files: Option<Vec<PathBuf>>,
    #[serde(default)]
    layers: Vec<PathBuf>,
    derive: Option<DeriveTable>,
}

/// `[profiles.derive]`: how. Keys left out are as in [`Deriving`], as far as the cluster goes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeriveTable {
    #[serde(default)]
    op: Vec<u32>,
    #[serde(default)]
    pp: Vec<u32>,
    #[serde(default)]
    batch: Vec<u32>,
    link_bandwidth: Option<Quantity<LinkRate>>,
    link_latency: Option<Quantity<Span>>,
    split_efficiency: Option<f64>,
}

/// The widest stage that is derived for machines of many devices.
const WIDEST_OP: u32 = 64;

/// A profile and the file that it is from.
#[derive(Clone, Debug)]
pub struct NamedProfile {
    /// As the scenario names it; of layers, all their tables.
    pub name: String,
    /// What it says.
    pub profile: Profile,
}

impl ProfilesTable {
    /// Reads the profiles, and derives those of layers for the devices of `cluster`. `path` is the scenario's, to which
    /// files are relative and which errors name.
    ///
    /// # Errors
    /// If a file cannot be read or says what cannot be, or a key is out of range.
    pub fn read(&self, path: &Path, cluster: &Cluster) -> Result<Vec<NamedProfile>, FileError> {
        let folder = path.parent().unwrap_or(Path::new(""));
        if self.files.is_none() && self.layers.is_empty() {
            let error = FileError::at_field(path, "profiles.files", "is missing: where are stage times from?");
            return Err(error.with_help("name profile files, or tables of layers in profiles.layers"));
        }
        let read = |file: &PathBuf| {
            let profile = read_profile(&folder.join(file))?;
            Ok(NamedProfile { name: file.display().to_string(), profile })
        };
        let mut profiles = self.files.iter().flatten().map(read).collect::<Result<Vec<_>, FileError>>()?;
        if self.layers.is_empty() {
            return match self.derive {
                None => Ok(profiles),
                Some(_) => Err(FileError::at_field(path, "profiles.derive", "has nothing to derive from")
                    .with_help("name tables of layers in profiles.layers")),
            };
        }
        let deriving = self.derive.clone().unwrap_or_default().resolve(path, cluster)?;
        let files: Vec<PathBuf> = self.layers.iter().map(|file| folder.join(file)).collect();
        let tables = files.iter().map(|file| read_layers(file)).collect::<Result<Vec<_>, _>>()?;
        let tables: Vec<_> = files.iter().map(PathBuf::as_path).zip(&tables).collect();
        let names: Vec<String> = self.layers.iter().map(|file| file.display().to_string()).collect();
        let name = names.join(", ");
        let derived = derive_tables(&tables, &format!("as in {name}"), &name, &deriving)?;
        profiles.push(NamedProfile { name, profile: derived.profile });
        Ok(profiles)
    }
}

impl DeriveTable {
    fn resolve(self, path: &Path, cluster: &Cluster) -> Result<Deriving, FileError> {
        let wrong = |key: &str, what: String, help: &str| {
            Err(FileError::at_field(path, format!("profiles.derive.{key}"), what).with_help(help))
        };
        let mut batches = self.batch;
        if !batches.is_empty() {
            batches.push(1);
        }
        let (mut ops, mut pps) = (self.op, self.pp);
        let keys = [("op", &mut ops, 1 << 10), ("pp", &mut pps, 1 << 10), ("batch", &mut batches, 1 << 20)];
        for (key, numbers, most) in keys {
            if let Some(number) = numbers.iter().find(|number| !(1..=most).contains(*number)) {
                return wrong(key, format!("has {number}"), &format!("give whole numbers from 1 to {most}"));
            }
            numbers.sort_unstable();
            numbers.dedup();
        }
        let mut deriving =
            Deriving { ops, pps, batches, memory: Some(cluster.smallest_memory()), ..Deriving::default() };
        // A stage keeps within a machine. Otherwise the same for clusters of any size: some commands change it later.
        let widest = u32::try_from(cluster.largest_node()).unwrap_or(u32::MAX).min(WIDEST_OP);
        deriving.most_op = deriving.most_op.max(widest);
        let links = &mut deriving.links;
        links.rate = self.link_bandwidth.map_or(links.rate, |rate| rate.0);
        links.latency = self.link_latency.map_or(links.latency, |latency| latency.0);
        links.efficiency = self.split_efficiency.unwrap_or(links.efficiency);
        if !(links.efficiency > 0.0 && links.efficiency <= 1.0) {
            let what = format!("is {}", links.efficiency);
            return wrong("split_efficiency", what, "give a share above 0 and at most 1; 1 is a perfect split");
        }
        Ok(deriving)
    }
}
