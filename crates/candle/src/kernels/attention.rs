//! Softmax attention over packed sequences.

use super::matmul::{Matrix, multiply};
use super::vector::{softmax, widest};
use super::{CpuSlice, composed_on};
use candle_core::{D, DType, Result, Tensor};
use std::ops::Range;

/// Some columns of a matrix: those of all heads, beginning at `first`.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub(crate) matrix: &'a Tensor,
    pub(crate) first: usize,
}

/// The heads of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heads {
    /// Values per head.
    pub(crate) dim: usize,
    /// For each query head, which of the shard's key and value heads it reads.
    pub(crate) key_of: Vec<usize>,
    /// How many key and value heads the shard has.
    pub(crate) keys: usize,
}

/// One sequence: which query rows are its own, and where its keys and values lie.
pub(crate) struct Sequence<'a> {
    pub(crate) queries: Range<usize>,
    pub(crate) keys: Columns<'a>,
    pub(crate) values: Columns<'a>,
    /// Rows of `keys` and `values` that belong to the sequence.
    pub(crate) key_rows: Range<usize>,
}

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// All of its sequence.
    All,
    /// Those up to its own; the last query is as late as the last key.
    Past,
}

/// For every query row, the weighted mean of its sequence's values, head beside head.
pub(crate) fn attention(
    queries: Columns<'_>,
    sequences: &[Sequence<'_>],
    heads: &Heads,
    sight: Sight,
) -> Result<Tensor> {
    let device = queries.matrix.device();
    if composed_on(device) {
        let parts = sequences.iter().map(|sequence| composed(queries, sequence, heads, sight));
        return Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0);
    }
    let width = heads.key_of.len() * heads.dim;
    let rows = queries.matrix.dim(0)?;
    let mut out = vec![0.0; rows * width];
    let query_values = CpuSlice::of(queries.matrix)?;
    let query_stride = queries.matrix.dim(1)?;
    let mut scores = Vec::new();
    for sequence in sequences {
        let (keys, values) = (CpuSlice::of(sequence.keys.matrix)?, CpuSlice::of(sequence.values.matrix)?);
        let (key_stride, value_stride) = (sequence.keys.matrix.dim(1)?, sequence.values.matrix.dim(1)?);
        let (length, seen) = (sequence.queries.len(), sequence.key_rows.len());
        scores.resize(length * seen, 0.0);
        for (head, &key_head) in heads.key_of.iter().enumerate() {
            let query = &query_values[sequence.queries.start * query_stride + queries.first + head * heads.dim..];
            let key = &keys[sequence.key_rows.start * key_stride + sequence.keys.first + key_head * heads.dim..];
            let value =
                &values[sequence.key_rows.start * value_stride + sequence.values.first + key_head * heads.dim..];
            let scale = 1.0 / (heads.dim as f32).sqrt();
            let query = Matrix::new(query, length, heads.dim, query_stride);
            let key = Matrix::new(key, seen, heads.dim, key_stride);
            multiply(&mut scores, seen, query, key.transposed(), scale);
            widest(|| {
                for (row, scores) in scores.chunks_exact_mut(seen).enumerate() {
                    let visible = visible(sight, row, length, seen);
                    softmax(&mut scores[..visible]);
                    scores[visible..].fill(0.0);
                }
            });
            let out = &mut out[sequence.queries.start * width + head * heads.dim..];
            let value = Matrix::new(value, seen, heads.dim, value_stride);
            multiply(out, width, Matrix::new(&scores, length, seen, seen), value, 1.0);
        }
    }
    Tensor::from_vec(out, (rows, width), device)
}

/// How many keys query `row` of `length` sees, of `seen` keys.
#[inline(always)]
fn visible(sight: Sight, row: usize, length: usize, seen: usize) -> usize {
    match sight {
        Sight::All => seen,
        Sight::Past => seen - length + row + 1,
    }
}

/// One sequence by candle's operations, for other devices than the processor.
fn composed(queries: Columns<'_>, sequence: &Sequence<'_>, heads: &Heads, sight: Sight) -> Result<Tensor> {
    let (length, seen) = (sequence.queries.len(), sequence.key_rows.len());
    let count = heads.key_of.len();
    let split = |columns: Columns<'_>, rows: &Range<usize>, heads_there: usize| {
        let part = columns.matrix.narrow(0, rows.start, rows.len())?;
        let part = part.narrow(1, columns.first, heads_there * heads.dim)?;
        part.reshape((rows.len(), heads_there, heads.dim))?.transpose(0, 1)?.contiguous()
    };
    let query = split(queries, &sequence.queries, count)?;
    let device = query.device();
    let map: Vec<u32> = heads.key_of.iter().map(|&head| head as u32).collect();
    let map = Tensor::new(map, device)?;
    let key = split(sequence.keys, &sequence.key_rows, heads.keys)?.index_select(&map, 0)?;
    let value = split(sequence.values, &sequence.key_rows, heads.keys)?.index_select(&map, 0)?;
    let scores = (query.matmul(&key.transpose(1, 2)?.contiguous()?)? / (heads.dim as f64).sqrt())?;
    let scores = match sight {
        Sight::All => scores,
        Sight::Past => {
            let hidden = |row: usize, column: usize| column >= visible(sight, row, length, seen);
            let mask: Vec<f32> =
                (0..length * seen).map(|i| if hidden(i / seen, i % seen) { f32::NEG_INFINITY } else { 0.0 }).collect();
            scores.broadcast_add(&Tensor::from_vec(mask, (1, length, seen), device)?)?
        }
    };
    let peak = scores.max_keepdim(D::Minus1)?;
    let weights = scores.broadcast_sub(&peak)?.exp()?;
    let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
    let mixed = weights.to_dtype(DType::F32)?.matmul(&value)?;
    mixed.transpose(0, 1)?.contiguous()?.reshape((length, count * heads.dim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{close, noise};

    #[test]
    fn attention_agrees_with_candle() {
        let heads = Heads { dim: 8, key_of: vec![0, 0, 1, 1], keys: 2 };
        let (queries, stored) = (noise(7, 40, 1), noise(30, 50, 2));
        for sight in [Sight::All, Sight::Past] {
            let sequence = |queries: Range<usize>, key_rows: Range<usize>| Sequence {
                queries,
                keys: Columns { matrix: &stored, first: 3 },
                values: Columns { matrix: &stored, first: 30 },
                key_rows,
            };
            let sequences = [sequence(0..1, 0..1), sequence(1..5, 1..12), sequence(5..7, 20..22)];
            let queries = Columns { matrix: &queries, first: 5 };
            let ours = attention(queries, &sequences, &heads, sight).expect("fits");
            let parts = sequences.iter().map(|sequence| composed(queries, sequence, &heads, sight).expect("fits"));
            close(&ours, &Tensor::cat(&parts.collect::<Vec<_>>(), 0).expect("fits"));
        }
    }
}
