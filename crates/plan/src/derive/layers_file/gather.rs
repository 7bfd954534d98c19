//! Rows put together to layers.

use super::super::{LayerCosts, LayerKind, OperatorCosts};
use super::row::Row;
use super::{LayersTable, MOST_LAYERS, ModelLayers};
use crate::intra_op::OperatorKind;
use statmux_core::files::FileError;
use statmux_core::units::Bytes;
use std::collections::BTreeMap;
use std::path::Path;

/// The most operators of a layer.
const MOST_OPERATORS: usize = 256;

/// What was read so far.
pub(super) struct Gathered<'a> {
    path: &'a Path,
    /// The name of a model without one.
    unnamed: String,
    models: Vec<Model>,
    /// Where each model stands in `models`.
    by_name: BTreeMap<String, usize>,
}

#[derive(Default)]
struct Model {
    name: String,
    tokens: Option<u32>,
    layers: Vec<Layer>,
    /// Where each layer stands in `layers`.
    by_name: BTreeMap<String, usize>,
}

/// A layer, or one of several equal ones, as far as its rows tell.
#[derive(Default)]
struct Layer {
    name: String,
    line: usize,
    own: Part,
    count: Option<u32>,
    block: Option<u32>,
    operators: Vec<(String, Part)>,
}

/// What rows tell of a layer or of an operator.
#[derive(Default)]
struct Part {
    line: usize,
    seconds: BTreeMap<u32, BTreeMap<u32, f64>>,
    weights: Option<Bytes>,
    activations: BTreeMap<u32, Bytes>,
    outputs: BTreeMap<u32, Bytes>,
    kind: Option<LayerKind>,
    splits: Option<u32>,
    tied: Option<Bytes>,
}

/// Notes `said` of `what`, which must not have been said otherwise.
fn agree<T: PartialEq>(slot: &mut Option<T>, said: Option<T>, what: &str) -> Result<(), String> {
    match (&slot, said) {
        (Some(known), Some(said)) if *known != said => Err(format!("{what} differs from that of an earlier row")),
        (None, said) => {
            *slot = said;
            Ok(())
        }
        _ => Ok(()),
    }
}

impl Part {
    fn add(&mut self, row: &Row) -> Result<(), String> {
        if self.line == 0 {
            self.line = row.line;
        }
        if self.seconds.entry(row.op).or_default().insert(row.batch, row.seconds).is_some() {
            return Err(format!("stands here a second time at op {}, batch {}", row.op, row.batch));
        }
        agree(&mut self.weights, row.weights, "weight_bytes")?;
        agree(&mut self.kind, row.kind, "kind")?;
        agree(&mut self.splits, row.splits, "splits")?;
        agree(&mut self.tied, row.tied, "tied_bytes")?;
        for (by_batch, said) in [(&mut self.activations, row.activations), (&mut self.outputs, row.output)] {
            // What one device holds decides, where it was measured.
            match said {
                Some(bytes) if row.op == 1 => drop(by_batch.insert(row.batch, bytes)),
                Some(bytes) => drop(by_batch.entry(row.batch).or_insert(bytes)),
                None => {}
            }
        }
        Ok(())
    }
}

impl<'a> Gathered<'a> {
    pub(super) fn new(path: &'a Path, unnamed: String) -> Self {
        Self { path, unnamed, models: Vec::new(), by_name: BTreeMap::new() }
    }

    /// Takes in the next row.
    pub(super) fn add(&mut self, row: Row) -> Result<(), FileError> {
        let name = row.model.clone().unwrap_or_else(|| self.unnamed.clone());
        let models = &mut self.models;
        let index = *self.by_name.entry(name.clone()).or_insert_with(|| {
            models.push(Model { name, ..Model::default() });
            models.len() - 1
        });
        self.models[index].add(&row).map_err(|what| {
            let of = row.operator.as_ref().map(|operator| format!(" (operator `{operator}`)")).unwrap_or_default();
            FileError::at_line(self.path, row.line, format!("layer `{}`{of}: {what}", row.layer)).with_help(
                "each layer has a name of its own and one row per op and batch size; `count` stands for equal layers, \
                 and what was said of a layer once may be left empty later",
            )
        })
    }

    /// The table, once all rows are in.
    pub(super) fn finish(self) -> Result<LayersTable, FileError> {
        let path = self.path;
        if self.models.is_empty() {
            let error = FileError::whole(path, "has a header but no rows");
            return Err(error.with_help("give one row for each layer and batch size"));
        }
        let models = self.models.into_iter().map(|model| {
            let layers: usize = model.layers.iter().map(|layer| layer.count.unwrap_or(1) as usize).sum();
            if layers > MOST_LAYERS {
                let what = format!("model `{}` has {layers} layers, more than {MOST_LAYERS}", model.name);
                return Err(FileError::whole(path, what).with_help("give several layers as one where no cut is wanted"));
            }
            let layers = model.layers.into_iter().map(|layer| layer.finish(path)).collect::<Result<Vec<_>, _>>()?;
            let layers = layers.into_iter().flatten().collect();
            Ok(ModelLayers { name: model.name, layers, tokens: model.tokens })
        });
        Ok(LayersTable { models: models.collect::<Result<_, _>>()? })
    }
}

impl Model {
    fn add(&mut self, row: &Row) -> Result<(), String> {
        agree(&mut self.tokens, row.tokens, "tokens")?;
        let layers = &mut self.layers;
        let index = *self.by_name.entry(row.layer.clone()).or_insert_with(|| {
            layers.push(Layer { name: row.layer.clone(), line: row.line, ..Layer::default() });
            layers.len() - 1
        });
        let layer = &mut self.layers[index];
        agree(&mut layer.count, row.count, "count")?;
        agree(&mut layer.block, row.block, "block")?;
        let Some(name) = &row.operator else { return layer.own.add(row) };
        if row.op != 1 {
            return Err(format!("op is {}, but operators are measured on one device", row.op));
        }
        if row.kind == Some(LayerKind::Block) {
            return Err("kind is block, but an operator is `product`, `local` or `whole`".to_owned());
        }
        let index = match layer.operators.iter().position(|(known, _)| known == name) {
            Some(index) => index,
            None if layer.operators.len() == MOST_OPERATORS => {
                return Err(format!("has more than {MOST_OPERATORS} operators"));
            }
            None => {
                layer.operators.push((name.clone(), Part::default()));
                layer.operators.len() - 1
            }
        };
        layer.operators[index].1.add(row)
    }
}

impl Layer {
    /// The layer, as often as it is there.
    fn finish(self, path: &Path) -> Result<Vec<LayerCosts>, FileError> {
        let unweighed = |line: usize, what: String| {
            FileError::at_line(path, line, format!("{what} has no weight_bytes")).with_help("0 stands for no weights")
        };
        let operators = self.operators.into_iter().map(|(name, part)| {
            let unweighed = || unweighed(part.line, format!("operator `{name}` of layer `{}`", self.name));
            let weights = part.weights.ok_or_else(unweighed)?;
            let kind = match part.kind {
                Some(LayerKind::One(kind)) => kind,
                _ => OperatorKind::Product,
            };
            let seconds = part.seconds.into_values().next().unwrap_or_default();
            let (outputs, splits) = (part.outputs, part.splits.unwrap_or(0));
            Ok((OperatorCosts { name, kind, seconds, weights, outputs, splits }, part.activations))
        });
        let (operators, inside): (Vec<_>, Vec<_>) =
            operators.collect::<Result<Vec<_>, FileError>>()?.into_iter().unzip();
        // What only the operators tell of: their weights together, the hungriest one's memory, the last one's output.
        let weights = match self.own.weights {
            Some(weights) => weights,
            None if self.own.seconds.is_empty() => operators.iter().map(|operator| operator.weights).sum(),
            None => return Err(unweighed(self.line, format!("layer `{}`", self.name))),
        };
        let mut activations = self.own.activations;
        if activations.is_empty() {
            for (batch, bytes) in inside.into_iter().flatten() {
                let most = activations.entry(batch).or_insert(bytes);
                *most = bytes.max(*most);
            }
        }
        let mut outputs = self.own.outputs;
        if outputs.is_empty() {
            outputs = operators.last().map(|operator| operator.outputs.clone()).unwrap_or_default();
        }
        if outputs.is_empty() {
            outputs.clone_from(&activations);
        }
        let layer = LayerCosts {
            name: self.name,
            seconds: self.own.seconds,
            weights,
            tied: self.own.tied.unwrap_or(Bytes::ZERO),
            activations,
            outputs,
            kind: self.own.kind.unwrap_or_default(),
            splits: self.own.splits.unwrap_or(0),
            operators,
            block: self.block.map(|block| block as usize),
        };
        let Some(count) = self.count else { return Ok(vec![layer]) };
        let each = |index: u32| LayerCosts {
            name: format!("{} {index}", layer.name),
            block: layer.block.map(|block| block + index as usize),
            ..layer.clone()
        };
        Ok((0..count).map(each).collect())
    }
}
