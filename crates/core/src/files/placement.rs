//! Placement files: which groups hold which models (`docs/formats.md`, section 4).

use super::error::FileError;
use crate::cluster::Cluster;
use crate::ids::{DeviceId, ModelId};
use crate::model::ModelSpec;
use crate::parallel::ParallelConfig;
use crate::placement::{Group, Placement, PlacementWindows, Window};
use crate::units::Time;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A placement as it stands in a file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlacementFile {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scheduling: Option<SchedulingEntry>,
    /// Whether the search for it was cut short.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    windows: Vec<WindowEntry>,
}

/// The scheduling options that a placement was made for, by the names that scenarios use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SchedulingEntry {
    /// Which group takes an arrival.
    pub dispatch: String,
    /// In what order waiting requests run.
    pub discipline: String,
    /// The most requests that run together.
    pub max_batch: u32,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WindowEntry {
    #[serde(default)]
    start_s: f64,
    groups: Vec<GroupEntry>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct GroupEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    devices: Option<Vec<u32>>,
    op: u32,
    pp: u32,
    models: Vec<String>,
}

impl PlacementFile {
    /// The file form of `windows`, models by name.
    pub fn new(windows: &PlacementWindows, models: &[ModelSpec]) -> Self {
        let group = |group: &Group| GroupEntry {
            devices: Some(group.devices.iter().map(|device| device.0).collect()),
            op: group.config.op,
            pp: group.config.pp,
            models: group.models.iter().map(|model| models[model.index()].name.clone()).collect(),
        };
        let window = |window: &Window| WindowEntry {
            start_s: window.starts.seconds(),
            groups: window.placement.groups.iter().map(group).collect(),
        };
        let windows = windows.0.iter().map(window).collect();
        Self { version: super::VERSION, scheduling: None, interrupted: false, windows }
    }

    /// The same, marked as what an interrupted search had by then.
    #[must_use]
    pub fn with_interrupted(mut self, interrupted: bool) -> Self {
        self.interrupted = interrupted;
        self
    }

    /// The same with scheduling options, which go before those of a scenario.
    #[must_use]
    pub fn with_scheduling(mut self, scheduling: Option<SchedulingEntry>) -> Self {
        self.scheduling = scheduling;
        self
    }

    /// Reads a placement file; [`Self::resolve`] checks it.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        super::parse_json(path, &super::read_text(path)?)
    }

    /// The scheduling options that the placement was made for, if it says so.
    pub fn scheduling(&self) -> Option<&SchedulingEntry> {
        self.scheduling.as_ref()
    }

    /// The text of the file.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data serialises") + "\n"
    }

    /// Turns names into ids, fills in omitted devices, and checks that the cluster can carry it out.
    pub fn resolve(
        self,
        path: &Path,
        cluster: &Cluster,
        models: &[ModelSpec],
        max_batch: u32,
    ) -> Result<PlacementWindows, FileError> {
        super::check_version(path, self.version)?;
        if self.windows.is_empty() {
            return Err(FileError::at_field(path, "windows", "is empty: at least one window is needed"));
        }
        let by_name =
            models.iter().enumerate().map(|(index, m)| (m.name.as_str(), ModelId::from_index(index))).collect();
        let mut windows: Vec<Window> = Vec::with_capacity(self.windows.len());
        for (index, entry) in self.windows.into_iter().enumerate() {
            let field = format!("windows[{index}]");
            let starts = Time::from_seconds(entry.start_s).ok_or_else(|| {
                FileError::at_field(path, format!("{field}.start_s"), format!("is {}, not a time", entry.start_s))
            })?;
            if windows.last().is_some_and(|last| last.starts >= starts) {
                return Err(FileError::at_field(
                    path,
                    format!("{field}.start_s"),
                    "is not later than the window before",
                ));
            }
            let placement = resolve_groups(path, &field, entry.groups, cluster, &by_name)?;
            placement
                .check(cluster, models, max_batch)
                .map_err(|error| FileError::at_field(path, format!("{field}:"), error.to_string()))?;
            windows.push(Window { starts, placement });
        }
        Ok(PlacementWindows(windows))
    }
}

/// The text of a placement file that holds `windows`.
pub fn placement_json(windows: &PlacementWindows, models: &[ModelSpec]) -> String {
    PlacementFile::new(windows, models).to_json()
}

fn resolve_groups(
    path: &Path,
    field: &str,
    entries: Vec<GroupEntry>,
    cluster: &Cluster,
    by_name: &BTreeMap<&str, ModelId>,
) -> Result<Placement, FileError> {
    let listed: BTreeSet<u32> = entries.iter().flat_map(|entry| entry.devices.iter().flatten()).copied().collect();
    let mut open = Vec::new();
    let mut groups = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let field = format!("{field}.groups[{index}]");
        if !entry.op.checked_mul(entry.pp).is_some_and(|size| size > 0 && size <= 1 << 16) {
            let what = format!("has op {} and pp {}: both count from 1", entry.op, entry.pp);
            return Err(FileError::at_field(path, &field, what));
        }
        if entry.devices.is_none() {
            open.push(index);
        }
        let devices = entry.devices.unwrap_or_default();
        let mut models = Vec::with_capacity(entry.models.len());
        for name in &entry.models {
            let model = by_name.get(name.as_str()).copied().ok_or_else(|| {
                FileError::unknown_name(path, format!("{field}.models"), "model", name, by_name.keys().copied())
            })?;
            if models.contains(&model) {
                return Err(FileError::at_field(path, format!("{field}.models"), format!("lists `{name}` twice")));
            }
            models.push(model);
        }
        models.sort_unstable();
        let config = ParallelConfig::new(entry.op, entry.pp);
        groups.push(Group { devices: devices.into_iter().map(DeviceId).collect(), config, models });
    }
    fill_in(&mut groups, &open, cluster, &listed);
    Ok(Placement { groups })
}

/// Gives the groups in `open` devices that are not in `listed`: the lowest ids in order, if that leaves every stage
/// within a node; else the groups with the widest stages choose first, each a node that has room.
fn fill_in(groups: &mut [Group], open: &[usize], cluster: &Cluster, listed: &BTreeSet<u32>) {
    let mut lowest = (0..).filter(|device| !listed.contains(device)).map(DeviceId);
    for &index in open {
        groups[index].devices = lowest.by_ref().take(groups[index].config.devices() as usize).collect();
    }
    let across = |&index: &usize| groups[index].stage_across_nodes(cluster).is_some();
    if !open.iter().any(across) {
        return;
    }
    let mut free: Vec<DeviceId> =
        (0..cluster.len() as u32).filter(|device| !listed.contains(device)).map(DeviceId).collect();
    let mut order = open.to_vec();
    order.sort_by_key(|&index| Reverse((groups[index].config.op, groups[index].config.devices())));
    let seated = order.iter().map(|&index| Some((index, cluster.seat(&mut free, groups[index].config)?)));
    // Where that fails too, the check names a group that has no room.
    for (index, devices) in seated.collect::<Option<Vec<_>>>().unwrap_or_default() {
        groups[index].devices = devices;
    }
}
