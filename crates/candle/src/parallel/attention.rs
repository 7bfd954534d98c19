//! Self-attention cut by heads.

use super::Shard;
use super::layers::{ColumnLinear, LinearName, RowLinear};
use super::team::{Member, ShardError};
use crate::cache::LayerCache;
use crate::kernels::activation::Activation;
use crate::kernels::attention::{Columns, Heads, Sequence, Sight, attention};
use crate::kernels::rope::rotate;
use crate::lap::Lap;
use crate::weights::Loader;
use candle_core::Tensor;
use statmux_core::backend::BackendError;
use std::ops::Range;

/// How many heads a model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadCounts {
    pub(crate) queries: usize,
    /// Keys and values; fewer than `queries` if several queries share them.
    pub(crate) keys: usize,
    pub(crate) dim: usize,
}

/// The four projections of one attention layer in a file.
pub(crate) struct AttentionNames {
    /// Queries, keys and values: each its own layer, or all three the same one.
    pub(crate) inputs: Inputs,
    pub(crate) output: LinearName,
}

/// How a file stores the input projections.
pub(crate) enum Inputs {
    Separate {
        query: LinearName,
        key: LinearName,
        value: LinearName,
    },
    /// One layer, its outputs being queries, then keys, then values.
    Fused(LinearName),
}

/// One shard's part of an attention layer.
pub(crate) struct SelfAttention {
    input: ColumnLinear,
    output: RowLinear,
    heads: Heads,
}

impl HeadCounts {
    /// Which query heads, and which key heads they read, belong to a shard.
    ///
    /// Where there are fewer key heads than shards, several shards have the same one.
    fn part(self, shard: Shard) -> (Range<usize>, Range<usize>) {
        let queries = shard.part(self.queries);
        let share = self.queries / self.keys;
        (queries.clone(), queries.start / share..(queries.end - 1) / share + 1)
    }

    /// What one shard keeps of each token: the width of its keys, which is also that of its values.
    pub(crate) fn cache_width(self, shard: Shard) -> usize {
        self.part(shard).1.len() * self.dim
    }
}

impl SelfAttention {
    pub(crate) fn load(
        loader: &Loader<'_>,
        shard: Shard,
        counts: HeadCounts,
        names: &AttentionNames,
    ) -> Result<Self, BackendError> {
        let (queries, keys) = counts.part(shard);
        let share = counts.queries / counts.keys;
        let columns =
            |heads: &Range<usize>, first: usize| first + heads.start * counts.dim..first + heads.end * counts.dim;
        let input = match &names.inputs {
            Inputs::Separate { query, key, value } => ColumnLinear::load(
                loader,
                &[(query, columns(&queries, 0)), (key, columns(&keys, 0)), (value, columns(&keys, 0))],
            )?,
            Inputs::Fused(layer) => {
                let (first_key, first_value) =
                    (counts.queries * counts.dim, (counts.queries + counts.keys) * counts.dim);
                let parts = [columns(&queries, 0), columns(&keys, first_key), columns(&keys, first_value)]
                    .map(|part| (layer, part));
                ColumnLinear::load(loader, &parts)?
            }
        };
        let output = RowLinear::load(loader, &names.output, columns(&queries, 0))?;
        let key_of = queries.map(|head| head / share - keys.start).collect();
        Ok(Self { input, output, heads: Heads { dim: counts.dim, key_of, keys: keys.len() } })
    }

    /// Attention within each sequence, all tokens seeing all.
    pub(crate) fn encode(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        lap: &Lap,
        member: &Member<'_>,
    ) -> Result<Tensor, ShardError> {
        let projected = self.input.forward(x, Activation::Identity)?;
        let [queries, keys, values] = self.columns(&projected);
        let sequences: Vec<_> = lap
            .rows
            .iter()
            .map(|rows| Sequence { queries: rows.clone(), keys, values, key_rows: rows.clone() })
            .collect();
        let mixed = attention(queries, &sequences, &self.heads, Sight::All)?;
        self.output.forward(&mixed, residual, member)
    }

    /// Attention to all tokens so far, whose keys and values are in `cache` and join it there.
    ///
    /// With `frequencies`, queries and keys are rotated by their positions first.
    pub(crate) fn decode(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        lap: &Lap,
        cache: &mut LayerCache,
        frequencies: Option<&[f64]>,
        member: &Member<'_>,
    ) -> Result<Tensor, ShardError> {
        let mut projected = self.input.forward(x, Activation::Identity)?;
        if let Some(frequencies) = frequencies {
            let turned = self.heads.key_of.len() + self.heads.keys;
            projected = rotate(&projected, turned, self.heads.dim, &lap.positions, frequencies)?;
        }
        let [queries, keys, values] = self.columns(&projected);
        let width = self.heads.keys * self.heads.dim;
        for (rows, &sequence) in lap.rows.iter().zip(&lap.sequences) {
            let cut = |columns: Columns<'_>| {
                projected.narrow(0, rows.start, rows.len())?.narrow(1, columns.first, width)?.contiguous()
            };
            cache.append(sequence, lap.positions[rows.start] as usize, &cut(keys)?, &cut(values)?)?;
        }
        let sequences: Vec<_> = lap
            .rows
            .iter()
            .zip(&lap.sequences)
            .map(|(rows, &sequence)| {
                let (keys, values) = cache.of(sequence);
                let seen = lap.positions[rows.end - 1] as usize + 1;
                Sequence {
                    queries: rows.clone(),
                    keys: Columns { matrix: keys, first: 0 },
                    values: Columns { matrix: values, first: 0 },
                    key_rows: 0..seen,
                }
            })
            .collect();
        let mixed = attention(queries, &sequences, &self.heads, Sight::Past)?;
        self.output.forward(&mixed, residual, member)
    }

    /// Queries, keys and values in the output of the input projection.
    fn columns<'a>(&self, projected: &'a Tensor) -> [Columns<'a>; 3] {
        let queries = self.heads.key_of.len() * self.heads.dim;
        let keys = self.heads.keys * self.heads.dim;
        [0, queries, queries + keys].map(|first| Columns { matrix: projected, first })
    }
}
