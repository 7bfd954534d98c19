//! Linear layers and tables cut over shards.

use super::Shard;
use super::team::{Member, ShardError};
use crate::kernels::activation::Activation;
use crate::kernels::linear::{Weight, linear, project};
use crate::kernels::lookup::lookup;
use crate::weights::{Block, Loader, Stored};
use candle_core::Tensor;
use statmux_core::backend::BackendError;
use std::ops::Range;

/// A linear layer in a file: its name without `.weight` and `.bias`, its sizes, and how it is stored.
#[derive(Clone, Debug)]
pub(crate) struct LinearName {
    pub(crate) name: String,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) stored: Stored,
    pub(crate) bias: bool,
}

/// Linear layers cut by their outputs: every shard reads the whole input and makes its part of the output.
pub(crate) struct ColumnLinear {
    weight: Weight,
    bias: Option<Tensor>,
}

/// A linear layer cut by its inputs: every shard reads its part of the input and makes a part of each sum.
pub(crate) struct RowLinear {
    weight: Weight,
    bias: Option<Tensor>,
}

/// A table of vectors, one for each word, cut by words.
#[derive(Clone)]
pub(crate) struct WordTable {
    rows: Tensor,
    own: Range<usize>,
}

impl LinearName {
    /// A `torch.nn.Linear` with bias.
    pub(crate) fn torch(name: impl Into<String>, inputs: usize, outputs: usize) -> Self {
        Self { name: name.into(), inputs, outputs, stored: Stored::OutIn, bias: true }
    }

    /// The same without bias.
    pub(crate) fn unbiased(self) -> Self {
        Self { bias: false, ..self }
    }

    /// The same, stored as GPT-2 stores it.
    pub(crate) fn stored_in_out(self) -> Self {
        Self { stored: Stored::InOut, ..self }
    }

    fn block(&self, inputs: Range<usize>, outputs: Range<usize>) -> Block {
        Block {
            name: format!("{}.weight", self.name),
            stored: self.stored,
            inputs: (self.inputs, inputs),
            outputs: (self.outputs, outputs),
        }
    }
}

impl ColumnLinear {
    /// Loads the given outputs of one or more layers that read the same input, side by side.
    pub(crate) fn load(loader: &Loader<'_>, parts: &[(&LinearName, Range<usize>)]) -> Result<Self, BackendError> {
        let blocks: Vec<_> =
            parts.iter().map(|(layer, outputs)| layer.block(0..layer.inputs, outputs.clone())).collect();
        let biases: Vec<_> = parts
            .iter()
            .filter(|(layer, _)| layer.bias)
            .map(|(layer, outputs)| (format!("{}.bias", layer.name), layer.outputs, outputs.clone()))
            .collect();
        assert!(biases.is_empty() || biases.len() == parts.len(), "layers side by side all have a bias, or none has");
        let weight = loader.weight(&blocks)?;
        let bias = if biases.is_empty() { None } else { Some(loader.vectors(&biases)?) };
        Ok(Self { weight, bias })
    }

    /// Loads a whole layer, as every shard has it.
    pub(crate) fn whole(loader: &Loader<'_>, layer: &LinearName) -> Result<Self, BackendError> {
        Self::load(loader, &[(layer, 0..layer.outputs)])
    }

    pub(crate) fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor, ShardError> {
        Ok(linear(x, &self.weight, self.bias.as_ref(), activation)?)
    }
}

impl RowLinear {
    /// Loads the given inputs of a layer; every shard has the whole bias.
    pub(crate) fn load(loader: &Loader<'_>, layer: &LinearName, inputs: Range<usize>) -> Result<Self, BackendError> {
        let weight = loader.weight(&[layer.block(inputs, 0..layer.outputs)])?;
        let bias = layer.bias.then(|| loader.vector(&format!("{}.bias", layer.name), layer.outputs)).transpose()?;
        Ok(Self { weight, bias })
    }

    /// The layer's whole output plus `residual`, on every shard.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        member: &Member<'_>,
    ) -> Result<Tensor, ShardError> {
        let part = linear(x, &self.weight, None, Activation::Identity)?;
        member.sum(part, self.bias.as_ref(), residual)
    }
}

impl WordTable {
    /// Loads this shard's words of a table of `words` by `width`.
    pub(crate) fn load(
        loader: &Loader<'_>,
        shard: Shard,
        name: &str,
        words: usize,
        width: usize,
    ) -> Result<Self, BackendError> {
        let own = shard.part(words);
        Ok(Self { rows: loader.table(name, words, width, own.clone())?, own })
    }

    /// The vectors of `tokens`, on every shard.
    pub(crate) fn embed(&self, tokens: &[u32], member: &Member<'_>) -> Result<Tensor, ShardError> {
        member.sum(lookup(&self.rows, &self.own, tokens)?, None, None)
    }

    /// The inner products of each row of `x` with this shard's words.
    pub(crate) fn scores(&self, x: &Tensor) -> Result<Tensor, ShardError> {
        Ok(project(x, &self.rows)?)
    }

    /// The words this shard has.
    pub(crate) fn own(&self) -> Range<usize> {
        self.own.clone()
    }
}
