//! Measures the layers of real models one by one, for profiles that are derived from them.

use super::measuring::{Measuring, Told, choices, ids};
use super::{RealDevices, open_backend};
use statmux_core::backend::{Backend, Task};
use statmux_core::{Bytes, ModelId, ParallelConfig};
use statmux_plan::derive::{LayerCosts, LayersTable, ModelLayers};
use statmux_serve::measure::{Journal, Load, MeasureSettings, Measurement, Progress, measure};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Layers that were measured.
#[derive(Debug)]
pub(crate) struct MeasuredLayers {
    /// What was found; models that cannot be measured are left out.
    pub(crate) table: LayersTable,
    /// How it was measured.
    pub(crate) provenance: String,
    /// Points that were left when `tell` ended the work.
    pub(crate) left: usize,
}

/// Bytes of one number of an activation: candle's processor cores compute in single precision.
const NUMBER: u64 = 4;

/// Points of one model: each degree, batch size and length.
fn each(measuring: &Measuring, ops: &[u32]) -> usize {
    ops.len() * measuring.settings.batches.len() * measuring.settings.lengths.len()
}

/// Points to measure.
pub(crate) fn layer_points(measuring: &Measuring, ops: &[u32]) -> usize {
    measuring.models.len() * each(measuring, ops)
}

/// Runs each model with a stage for each layer, embeddings and head with the first and the last, one batch at a time, so
/// that no stage slows another down. `ops` are the degrees to measure.
pub(crate) fn measure_layers(
    measuring: &Measuring,
    ops: &[u32],
    journal: &mut Journal,
    mut tell: impl FnMut(Told) -> ControlFlow<()>,
) -> anyhow::Result<MeasuredLayers> {
    let choices = choices(measuring, &[]);
    let opened = open_backend(RealDevices::Cpu, vec![measuring.memory], &choices)?;
    let widest = ops.iter().copied().max().unwrap_or(1);
    let mut found = MeasuredLayers { table: LayersTable::default(), provenance: String::new(), left: 0 };
    for (index, (model, name)) in ids(measuring).into_iter().enumerate() {
        let layers = u32::try_from(opened.layer_costs(model)?.0.len()).expect("models have few layers");
        let backend =
            open_backend(RealDevices::Cpu, vec![measuring.memory; layers as usize * widest as usize], &choices)?;
        let settings = MeasureSettings {
            models: vec![(model, name.clone())],
            configs: ops.iter().map(|&op| ParallelConfig::new(op, layers)).collect(),
            load: Load::Alone,
            ..measuring.settings.clone()
        };
        let mut points: Vec<Measurement> = Vec::new();
        let measured = measure(&backend, &settings, journal, |Progress { point, result, .. }| {
            points.extend(result.ok().cloned());
            tell(Told::Point(point.clone(), result.cloned().map_err(str::to_owned)))
        })?;
        if measured.left > 0 {
            let models = measuring.models.len() - index - 1;
            found.left = measured.left + models * each(measuring, ops);
            return Ok(found);
        }
        found.provenance = measured.profile.provenance;
        let mut tables = tables(&backend, &settings, (model, &name), &points)?;
        let whole = whole_weights(&opened, &settings, journal)?;
        for last in tables.iter_mut().filter_map(|table| table.layers.last_mut()) {
            last.tied = whole.map_or(Bytes::ZERO, |whole| last_tied(&points, whole));
        }
        found.table.models.extend(tables);
    }
    Ok(found)
}

/// The weights of the model on a single device, if it fits there.
fn whole_weights(
    backend: &impl Backend,
    settings: &MeasureSettings,
    journal: &mut Journal,
) -> anyhow::Result<Option<Bytes>> {
    let once = MeasureSettings {
        configs: vec![ParallelConfig::SINGLE],
        batches: vec![1],
        lengths: settings.lengths.iter().copied().min().into_iter().collect(),
        warm_up: 1,
        repeats: 1,
        ..settings.clone()
    };
    let mut weights = None;
    measure(backend, &once, journal, |Progress { result, .. }| {
        weights = result.ok().map(|measured| measured.stage_weights.iter().copied().map(Bytes::new).sum());
        ControlFlow::Continue(())
    })?;
    Ok(weights)
}

/// What the layers hold beyond the whole: what the first and the last share.
fn last_tied(points: &[Measurement], whole: Bytes) -> Bytes {
    let single = points.iter().find(|measured| measured.point.op == 1);
    let all: Bytes = single.iter().flat_map(|measured| &measured.stage_weights).copied().map(Bytes::new).sum();
    all.saturating_sub(whole)
}

/// The layers of one model, a table for each length of text.
fn tables(
    backend: &impl Backend,
    settings: &MeasureSettings,
    (model, name): (ModelId, &str),
    points: &[Measurement],
) -> anyhow::Result<Vec<ModelLayers>> {
    let card = backend.card(model)?;
    let mut tables = Vec::new();
    for &tokens in &settings.lengths {
        let handed_on = match card.task {
            Task::Encode { .. } => tokens,
            // The last token is not fed back.
            Task::Generate => tokens + settings.output_tokens.saturating_sub(1),
        };
        let output = Bytes::new(u64::from(handed_on) * u64::from(card.hidden) * NUMBER);
        let mut layers: Vec<LayerCosts> = Vec::new();
        let of_length = points.iter().filter(|measured| measured.point.tokens == tokens);
        for measured in of_length {
            let (op, batch) = (measured.point.op, measured.point.batch);
            if layers.is_empty() {
                let named =
                    |layer| LayerCosts { name: format!("layer {layer}"), block: Some(layer), ..LayerCosts::default() };
                layers = (0..measured.stage_seconds.len()).map(named).collect();
            }
            for (index, layer) in layers.iter_mut().enumerate() {
                layer.seconds.entry(op).or_default().insert(batch, measured.stage_seconds[index]);
                if op == 1 {
                    layer.weights = Bytes::new(measured.stage_weights[index]);
                    layer.activations.insert(batch, Bytes::new(measured.stage_activations[index]));
                    layer.outputs.insert(batch, output * u64::from(batch));
                }
            }
        }
        // Without the times on one device there is nothing to derive from.
        if layers.iter().all(|layer| layer.seconds.get(&1).is_some_and(has_one)) && !layers.is_empty() {
            let name = if settings.lengths.len() > 1 { format!("{name}@{tokens}") } else { name.to_owned() };
            tables.push(ModelLayers { name, layers, tokens: Some(tokens) });
        }
    }
    Ok(tables)
}

fn has_one(by_batch: &BTreeMap<u32, f64>) -> bool {
    by_batch.contains_key(&1)
}
