//! What is known of the layers of a model.

use super::DeriveError;
use crate::intra_op::{Operator, OperatorKind};
use statmux_core::units::{Bytes, Span};
use std::collections::BTreeMap;

/// What was measured of one layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerCosts {
    /// Its name in messages.
    pub name: String,
    /// Seconds by devices it is split over (`op`), then by batch size. Degrees that were not measured are predicted:
    /// from `operators`, or, where there are none, from the time on one device and `kind`.
    pub seconds: BTreeMap<u32, BTreeMap<u32, f64>>,
    /// Its weights, all of them. Where `operators` are given and `op` was not measured, theirs count instead.
    pub weights: Bytes,
    /// The part of its weights that the first layer of the model holds as well (a word table that input and output
    /// share): counted once where one stage holds both. Only asked of the last layer.
    pub tied: Bytes,
    /// Working memory by batch size; none where it is not known.
    pub activations: BTreeMap<u32, Bytes>,
    /// What it hands to the next layer, by batch size; nothing where it is not known.
    pub outputs: BTreeMap<u32, Bytes>,
    /// What it is taken for where its operators are not known.
    pub kind: LayerKind,
    /// It can be split over any number of devices that divides this one (heads, columns); 0 for any number at all.
    pub splits: u32,
    /// The operators inside, in order; may be empty.
    pub operators: Vec<OperatorCosts>,
    /// Which layer of the model that a server loads it is, counted from 0; unknown, and for embeddings and heads, none.
    pub block: Option<usize>,
}

/// What a layer is taken for whose operators were not measured apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayerKind {
    /// A block of a transformer: attention with a third of its time and weights and an MLP with the rest, each a pair
    /// of products.
    #[default]
    Block,
    /// A single operator.
    One(OperatorKind),
}

/// What was measured of one operator on one device.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorCosts {
    /// Its name in messages.
    pub name: String,
    /// In which ways it may be split.
    pub kind: OperatorKind,
    /// Seconds by batch size.
    pub seconds: BTreeMap<u32, f64>,
    /// Its weights.
    pub weights: Bytes,
    /// Its output by batch size; nothing where it is not known.
    pub outputs: BTreeMap<u32, Bytes>,
    /// It can be split over any number of devices that divides this one (heads, columns); 0 for any number at all.
    pub splits: u32,
}

/// The batch sizes that every layer was measured with on one device, smallest first.
pub fn common_batches(layers: &[LayerCosts]) -> Vec<u32> {
    let has = |layer: &LayerCosts, batch: u32| match layer.seconds.get(&1) {
        Some(measured) => measured.contains_key(&batch),
        None => layer.operators.iter().all(|operator| operator.seconds.contains_key(&batch)),
    };
    let of_first = |layer: &LayerCosts| match (layer.seconds.get(&1), layer.operators.first()) {
        (Some(measured), _) => measured.keys().copied().collect::<Vec<_>>(),
        (None, Some(operator)) => operator.seconds.keys().copied().collect(),
        (None, None) => Vec::new(),
    };
    let first = layers.first().map(of_first).unwrap_or_default();
    first.into_iter().filter(|&batch| layers.iter().all(|layer| has(layer, batch))).collect()
}

/// `by_batch` at `batch`, in proportion where that size is not known; zero where none is.
pub(super) fn bytes_at(by_batch: &BTreeMap<u32, Bytes>, batch: u32) -> Bytes {
    let nearest = by_batch.range(..=batch).next_back().or_else(|| by_batch.iter().next());
    let Some((&size, &bytes)) = nearest else { return Bytes::ZERO };
    let scaled = (u128::from(bytes.get()) * u128::from(batch)).div_ceil(u128::from(size.max(1)));
    Bytes::new(u64::try_from(scaled).unwrap_or(u64::MAX))
}

/// The length of time that `seconds` are.
pub(super) fn span(name: &str, batch: u32, seconds: f64) -> Result<Span, DeriveError> {
    let error = || DeriveError::Time { name: name.to_owned(), seconds: seconds.to_string(), batch };
    Span::from_seconds(seconds).ok_or_else(error)
}

impl LayerCosts {
    /// The operators inside, with the times measured for `batch`; `op` is only named in errors.
    pub(super) fn operators(&self, batch: u32, op: u32) -> Result<Vec<Operator>, DeriveError> {
        if self.operators.is_empty() {
            return self.assumed(batch, op);
        }
        let at_batch = |operator: &OperatorCosts| {
            let layer = || format!("{} ({})", self.name, operator.name);
            let unmeasured = || DeriveError::Unmeasured { layer: layer(), op, batch };
            let &seconds = operator.seconds.get(&batch).ok_or_else(unmeasured)?;
            Ok(Operator {
                name: operator.name.clone(),
                kind: operator.kind,
                compute: span(&layer(), batch, seconds)?,
                weights: operator.weights,
                output: bytes_at(&operator.outputs, batch),
                splits: operator.splits,
            })
        };
        self.operators.iter().map(at_batch).collect()
    }

    /// The operators that `kind` takes the layer for.
    fn assumed(&self, batch: u32, op: u32) -> Result<Vec<Operator>, DeriveError> {
        let unmeasured = || DeriveError::Unmeasured { layer: self.name.clone(), op, batch };
        let seconds = self.seconds.get(&1).and_then(|measured| measured.get(&batch)).ok_or_else(unmeasured)?;
        let whole = span(&self.name, batch, *seconds)?;
        let output = bytes_at(&self.outputs, batch);
        let operator = |kind, compute, weights, output| Operator {
            name: self.name.clone(),
            kind,
            compute,
            weights,
            output,
            splits: self.splits,
        };
        Ok(match self.kind {
            LayerKind::One(kind) => vec![operator(kind, whole, self.weights, output)],
            LayerKind::Block => {
                // Attention is wider inside than its output by queries, keys and values, the MLP by the usual four.
                let parts = [(1, 3), (1, 1), (2, 4), (2, 1)];
                let (mut time, mut weights) = (Span::ZERO, Bytes::ZERO);
                let mut done = 0;
                let pairs = parts.into_iter().map(|(share, wider)| {
                    done += share;
                    // What is left of the rounding goes to the later parts, so that the sum is the whole.
                    let next_time = Span::from_nanos((u128::from(whole.nanos()) * done / 6) as u64);
                    let next_weights = Bytes::new((u128::from(self.weights.get()) * done / 6) as u64);
                    let part = operator(
                        OperatorKind::Product,
                        Span::from_nanos(next_time.nanos() - time.nanos()),
                        Bytes::new(next_weights.get() - weights.get()),
                        output * wider,
                    );
                    (time, weights) = (next_time, next_weights);
                    part
                });
                pairs.collect()
            }
        })
    }
}
