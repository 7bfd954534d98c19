//! Measures real models into a profile: first each layer alone, to see where to cut, then whole configurations.

use super::{RealDevices, open_backend};
use statmux_candle::{ModelChoice, ModelSource};
use statmux_core::units::{Bytes, Span};
use statmux_core::{ModelId, ModelProfile, ParallelConfig, Profile};
use statmux_plan::partition::{Chain, cut};
use statmux_serve::measure::{Journal, MeasureSettings, Measured, Measurement, Point, Progress, measure};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What is measured, and how.
#[derive(Clone, Debug)]
pub(crate) struct Measuring {
    /// The models, with their names in the file.
    pub(crate) models: Vec<(String, ModelSource)>,
    /// Memory of each device.
    pub(crate) memory: Bytes,
    /// Whether masked-language-model heads are loaded.
    pub(crate) masked_logits: bool,
    /// What combinations, how often. Its `models` are filled in here.
    pub(crate) settings: MeasureSettings,
}

/// What came of one point.
pub(crate) enum Told {
    /// One layer after the other: only where to cut comes of it.
    Layers,
    /// A point of the grid.
    Point(Point, Result<Measurement, String>),
}

/// Points to measure, those for the cuts included.
pub(crate) fn points(measuring: &Measuring) -> usize {
    let settings = &measuring.settings;
    let each = settings.configs.len() * settings.batches.len() * settings.lengths.len();
    measuring.models.len() * (each + usize::from(wants_cuts(settings)))
}

/// Measures whatever `journal` does not hold yet, telling of each point; `tell` may end the work there.
pub(crate) fn measure_all(
    measuring: &Measuring,
    journal: &mut Journal,
    mut tell: impl FnMut(Told) -> ControlFlow<()>,
) -> anyhow::Result<Measured> {
    let settings = MeasureSettings { models: ids(measuring), ..measuring.settings.clone() };
    let cuts = if wants_cuts(&settings) { measured_cuts(measuring, journal, &mut tell)? } else { Some(Vec::new()) };
    let Some(cuts) = cuts else {
        let profile = Profile { device: settings.device, provenance: String::new(), models: BTreeMap::new() };
        return Ok(Measured { profile, skipped: Vec::new(), left: points(measuring) });
    };
    let choices = choices(measuring, &cuts);
    let devices = settings.configs.iter().map(|config| config.devices()).max().unwrap_or(1) as usize;
    let backend = open_backend(RealDevices::Cpu, vec![measuring.memory; devices], &choices)?;
    let mut measured = measure(&backend, &settings, journal, |Progress { point, result, .. }| {
        tell(Told::Point(point.clone(), result.cloned().map_err(str::to_owned)))
    })?;
    measured.profile = with_cuts(measured.profile, measuring, &cuts);
    Ok(measured)
}

fn wants_cuts(settings: &MeasureSettings) -> bool {
    settings.configs.iter().any(|config| config.pp > 1)
}

pub(super) fn ids(measuring: &Measuring) -> Vec<(ModelId, String)> {
    measuring.models.iter().enumerate().map(|(index, (name, _))| (ModelId::from_index(index), name.clone())).collect()
}

/// Where to cut a model, by configuration.
type Cuts = BTreeMap<ParallelConfig, Vec<usize>>;

pub(super) fn choices(measuring: &Measuring, cuts: &[Cuts]) -> Vec<ModelChoice> {
    let choice = |(index, (_, source)): (usize, &(String, ModelSource))| ModelChoice {
        cuts: cuts.get(index).cloned().unwrap_or_default(),
        masked_logits: measuring.masked_logits,
        ..ModelChoice::new(source.clone())
    };
    measuring.models.iter().enumerate().map(choice).collect()
}

/// Runs each model with a stage for each layer, embeddings and head with the first and the last, and cuts it so that
/// the slowest stage is as fast as can be; `None` if `tell` ended that.
fn measured_cuts(
    measuring: &Measuring,
    journal: &mut Journal,
    tell: &mut impl FnMut(Told) -> ControlFlow<()>,
) -> anyhow::Result<Option<Vec<Cuts>>> {
    let settings = &measuring.settings;
    let choices = choices(measuring, &[]);
    let opened = open_backend(RealDevices::Cpu, vec![measuring.memory], &choices)?;
    let mut all = Vec::new();
    for (model, name) in ids(measuring) {
        let layers = opened.layer_costs(model)?.0.len();
        let backend = open_backend(RealDevices::Cpu, vec![measuring.memory; layers], &choices)?;
        let config = ParallelConfig::new(1, u32::try_from(layers).expect("models have few layers"));
        let each = MeasureSettings {
            models: vec![(model, name)],
            configs: vec![config],
            batches: settings.batches.iter().copied().min().into_iter().collect(),
            lengths: settings.lengths.iter().copied().max().into_iter().collect(),
            ..settings.clone()
        };
        let mut seconds = None;
        measure(&backend, &each, journal, |Progress { result, .. }| {
            seconds = result.ok().map(|measurement| measurement.stage_seconds.clone());
            ControlFlow::Continue(())
        })?;
        if tell(Told::Layers).is_break() {
            return Ok(None);
        }
        all.push(seconds.map(|seconds| cuts(&seconds, settings)).unwrap_or_default());
    }
    Ok(Some(all))
}

fn cuts(layer_seconds: &[f64], settings: &MeasureSettings) -> Cuts {
    let layers: Vec<Span> = layer_seconds.iter().filter_map(|&seconds| Span::from_seconds(seconds)).collect();
    let chain = Chain { layers: &layers, transfers: &[], memory: None };
    let cut = |&config: &ParallelConfig| {
        let stages = cut(&chain, config.pp as usize).ok()?.stages;
        Some((config, stages[1..].iter().map(|stage| stage.start).collect()))
    };
    settings.configs.iter().filter(|config| config.pp > 1).filter_map(cut).collect()
}

fn with_cuts(profile: Profile, measuring: &Measuring, cuts: &[Cuts]) -> Profile {
    let of = |model: &ModelProfile| {
        let base = |name: &str| model.name == name || model.name.starts_with(&format!("{name}@"));
        let index = measuring.models.iter().position(|(name, _)| base(name));
        index.and_then(|index| cuts.get(index)).cloned().unwrap_or_default()
    };
    let models = profile.models.into_iter().map(|(name, model)| {
        let cuts = of(&model);
        (name, Arc::new(ModelProfile::clone(&model).with_cuts(cuts)))
    });
    Profile { models: models.collect(), ..profile }
}
