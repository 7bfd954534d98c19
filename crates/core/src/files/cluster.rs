//! The `[cluster]` and `[[models]]` tables of a scenario.

use super::error::FileError;
use super::instance_names;
use super::quantity::Quantity;
use crate::cluster::{Cluster, Device};
use crate::links::{Bandwidth, Link, Links};
use crate::model::{ModelSpec, Slo};
use crate::profile::{ModelProfile, Profile};
use crate::units::{Bytes, Span};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// `[cluster]`: either `devices` equal ones, or a list of nodes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterTable {
    devices: Option<u32>,
    devices_per_node: Option<u32>,
    memory: Option<Quantity<Bytes>>,
    #[serde(default)]
    nodes: Vec<NodeTable>,
    links: Option<LinksTable>,
}

/// `[cluster.links]`: what hops between pipeline stages cost. Keys left out are as in [`Links::ASSUMED`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinksTable {
    within_node: Option<LinkTable>,
    between_nodes: Option<LinkTable>,
    activation: Option<Quantity<Bytes>>,
}

/// A link: its bandwidth and latency, or "free".
#[derive(Clone, Copy, Debug)]
enum LinkTable {
    Free,
    Costs { bandwidth: Option<Bandwidth>, latency: Option<Span> },
}

/// `[[cluster.nodes]]`: machines that differ.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeTable {
    #[serde(default = "one")]
    count: u32,
    devices: u32,
    memory: Quantity<Bytes>,
    #[serde(default = "full_speed")]
    speed: f64,
}

/// `[[models]]`: one model, or `count` alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelTable {
    /// The name, `{i}` counting from 0 within this entry (`{i:02}`: with at least two digits).
    pub name: Option<String>,
    /// The names one by one, instead.
    pub names: Option<Vec<String>>,
    /// How many; 1, or as many as there are names.
    pub count: Option<u32>,
    /// The architecture's name in the profile files.
    pub profile: String,
    /// The promised latency.
    #[serde(default)]
    pub slo: SloValue,
    /// What a server loads: the name of a preset, or a folder with the model's files. Planner and simulator do
    /// without.
    pub source: Option<String>,
}

/// An SLO as written: `{ scale = 5.0 }`, `{ latency = "755 ms" }` or `"none"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SloValue(pub Slo);

const MOST_DEVICES: u32 = 1 << 20;
const MOST_MODELS: usize = 1 << 20;

fn one() -> u32 {
    1
}

fn full_speed() -> f64 {
    1.0
}

impl Default for SloValue {
    fn default() -> Self {
        Self(Slo::None)
    }
}

impl ClusterTable {
    /// The cluster described; `path` is named in errors.
    pub fn build(&self, path: &Path) -> Result<Cluster, FileError> {
        let wrong = |field: &str, what: &str| FileError::at_field(path, format!("cluster.{field}"), what);
        let cluster = if self.nodes.is_empty() {
            let devices = self.devices.ok_or_else(|| wrong("devices", "is missing: how many devices are there?"))?;
            let memory = self
                .memory
                .ok_or_else(|| wrong("memory", "is missing: the weights budget of one device, such as \"13 GiB\""))?;
            if memory.0 == Bytes::ZERO {
                return Err(wrong("memory", "is 0: no model fits on a device without memory"));
            }
            if devices > MOST_DEVICES {
                return Err(wrong("devices", "is over a million"));
            }
            if self.devices_per_node == Some(0) {
                return Err(wrong("devices_per_node", "is 0"));
            }
            Cluster::uniform(devices, self.devices_per_node.unwrap_or(8), memory.0)
        } else {
            if self.devices.is_some() || self.devices_per_node.is_some() || self.memory.is_some() {
                return Err(wrong(
                    "nodes",
                    "and cluster.devices exclude each other: the nodes say how many devices there are",
                ));
            }
            self.unequal_nodes(&wrong)?
        };
        if cluster.is_empty() {
            return Err(wrong("devices", "is 0: nothing can be served without a device"));
        }
        Ok(cluster.with_links(self.links.as_ref().map_or(Links::ASSUMED, LinksTable::links)))
    }

    fn unequal_nodes(&self, wrong: &impl Fn(&str, &str) -> FileError) -> Result<Cluster, FileError> {
        let mut devices = Vec::new();
        let mut node = 0;
        for entry in &self.nodes {
            if !(entry.speed > 0.0 && entry.speed.is_finite()) {
                return Err(wrong("nodes", &format!("has a device speed of {}: it must be positive", entry.speed)));
            }
            if entry.count == 0 || entry.devices == 0 || entry.memory.0 == Bytes::ZERO {
                let what = format!(
                    "has an entry of {} x {} devices with {}: all three must be above 0",
                    entry.count, entry.devices, entry.memory.0
                );
                return Err(wrong("nodes", &what));
            }
            if u64::from(entry.count) * u64::from(entry.devices) > u64::from(MOST_DEVICES) {
                return Err(wrong("nodes", "has over a million devices"));
            }
            for _ in 0..entry.count {
                let device = Device { memory: entry.memory.0, node, speed: entry.speed };
                devices.extend(std::iter::repeat_n(device, entry.devices as usize));
                node += 1;
            }
        }
        Ok(Cluster::new(devices))
    }
}

impl LinksTable {
    fn links(&self) -> Links {
        let link = |table: Option<LinkTable>, assumed: Link| match table {
            None => assumed,
            Some(LinkTable::Free) => Link::FREE,
            Some(LinkTable::Costs { bandwidth, latency }) => {
                Link { bandwidth: bandwidth.or(assumed.bandwidth), latency: latency.unwrap_or(assumed.latency) }
            }
        };
        Links {
            within_node: link(self.within_node, Links::ASSUMED.within_node),
            between_nodes: link(self.between_nodes, Links::ASSUMED.between_nodes),
            activation: self.activation.map_or(Links::ASSUMED.activation, |quantity| quantity.0),
            stated: true,
        }
    }
}

impl<'de> Deserialize<'de> for LinkTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = LinkTable;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a link: { bandwidth = \"12.5 GB/s\", latency = \"50 us\" } or \"free\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<LinkTable, E> {
                match text {
                    "free" => Ok(LinkTable::Free),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<LinkTable, M::Error> {
                let (mut bandwidth, mut latency) = (None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "bandwidth" => bandwidth = Some(map.next_value::<Quantity<Bandwidth>>()?.0),
                        "latency" => latency = Some(map.next_value::<Quantity<Span>>()?.0),
                        _ => return Err(M::Error::unknown_field(&key, &["bandwidth", "latency"])),
                    }
                }
                Ok(LinkTable::Costs { bandwidth, latency })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl ModelTable {
    /// How many models the entry describes.
    pub fn instances(&self) -> usize {
        self.names.as_ref().map_or(self.count.unwrap_or(1) as usize, Vec::len)
    }
}

/// The model instances that `tables` describe, with their profiles.
pub fn instances(path: &Path, tables: &[ModelTable], profiles: &[Profile]) -> Result<Vec<ModelSpec>, FileError> {
    let known: BTreeMap<&str, &Arc<ModelProfile>> =
        profiles.iter().flat_map(|profile| &profile.models).map(|(name, model)| (name.as_str(), model)).collect();
    let mut models = Vec::new();
    let mut names = BTreeSet::new();
    for (index, table) in tables.iter().enumerate() {
        let field = |key: &str| format!("models[{index}].{key}");
        let profile = *known.get(table.profile.as_str()).ok_or_else(|| {
            FileError::unknown_name(path, field("profile"), "profile", &table.profile, known.keys().copied())
        })?;
        let own = instance_names::names(
            table.name.as_deref(),
            table.names.as_deref(),
            table.count,
            MOST_MODELS.saturating_sub(models.len()),
        );
        let own = own.map_err(|(key, what, help)| {
            let error = FileError::at_field(path, field(key), what);
            match help {
                Some(help) => error.with_help(help),
                None => error,
            }
        })?;
        if table.slo.0 == Slo::Latency(Span::ZERO) {
            return Err(FileError::at_field(path, field("slo"), "is 0: nothing is answered in no time")
                .with_help("a model without a promise has slo = \"none\""));
        }
        if matches!(table.slo.0, Slo::Scale(_)) && profile.single_device_seconds().is_none() {
            let what = format!("is a scale, but profile `{}` has no single-device latency (op 1, pp 1)", table.profile);
            let help = "give the SLO as { latency = \"755 ms\" }";
            return Err(FileError::at_field(path, field("slo"), what).with_help(help));
        }
        for name in own {
            if !names.insert(name.clone()) {
                let key = if table.names.is_some() { "names" } else { "name" };
                return Err(FileError::at_field(path, field(key), format!("yields the name `{name}` a second time")));
            }
            models.push(ModelSpec { name, slo: table.slo.0, profile: Arc::clone(profile) });
        }
    }
    if models.is_empty() {
        return Err(FileError::at_field(path, "models", "is empty: name at least one model to serve"));
    }
    Ok(models)
}

impl<'de> Deserialize<'de> for SloValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = SloValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an SLO: { scale = 5.0 }, { latency = \"755 ms\" } or \"none\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<SloValue, E> {
                match text {
                    "none" => Ok(SloValue(Slo::None)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<SloValue, M::Error> {
                let mut slo = None;
                while let Some(key) = map.next_key::<String>()? {
                    let value = match key.as_str() {
                        "scale" => {
                            let scale: f64 = map.next_value()?;
                            if !(scale > 0.0 && scale.is_finite()) {
                                return Err(M::Error::custom(format!("an SLO scale of {scale} is not positive")));
                            }
                            Slo::Scale(scale)
                        }
                        "latency" => Slo::Latency(map.next_value::<Quantity<Span>>()?.0),
                        _ => return Err(M::Error::unknown_field(&key, &["scale", "latency"])),
                    };
                    if slo.replace(value).is_some() {
                        return Err(M::Error::custom("an SLO has either a scale or a latency, not both"));
                    }
                }
                slo.map(SloValue).ok_or_else(|| M::Error::custom("an empty SLO: give scale, latency or \"none\""))
            }
        }

        deserializer.deserialize_any(Either)
    }
}
