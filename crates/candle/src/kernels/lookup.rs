//! Rows of a table by index.

use super::{CpuSlice, composed_on};
use candle_core::{Result, Tensor};
use std::ops::Range;

/// For each index, the row of `table` it names; zeros if another shard has it.
///
/// `table` holds the rows `own` of the whole table.
pub(crate) fn lookup(table: &Tensor, own: &Range<usize>, indices: &[u32]) -> Result<Tensor> {
    let (rows, columns) = table.dims2()?;
    debug_assert_eq!(rows, own.len());
    if composed_on(table.device()) {
        return composed(table, own, indices);
    }
    let values = CpuSlice::of(table)?;
    let mut out = vec![0.0; indices.len() * columns];
    for (out, &index) in out.chunks_exact_mut(columns).zip(indices) {
        if let Some(row) = (index as usize).checked_sub(own.start).filter(|&row| row < rows) {
            out.copy_from_slice(&values[row * columns..(row + 1) * columns]);
        }
    }
    Tensor::from_vec(out, (indices.len(), columns), table.device())
}

/// The same by candle's operations, for other devices than the processor.
fn composed(table: &Tensor, own: &Range<usize>, indices: &[u32]) -> Result<Tensor> {
    let here = |index: u32| own.contains(&(index as usize));
    let local: Vec<u32> = indices.iter().map(|&index| if here(index) { index - own.start as u32 } else { 0 }).collect();
    let keep: Vec<f32> = indices.iter().map(|&index| f32::from(here(index))).collect();
    let keep = Tensor::from_vec(keep, (indices.len(), 1), table.device())?;
    let local = Tensor::new(local, table.device())?;
    table.index_select(&local, 0)?.broadcast_mul(&keep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tests::{close, noise};

    #[test]
    fn lookups_agree_with_candle() {
        let table = noise(5, 3, 1);
        let indices = [12, 0, 10, 14, 99, 9, 15];
        let ours = lookup(&table, &(10..15), &indices).expect("fits");
        close(&ours, &composed(&table, &(10..15), &indices).expect("fits"));
        assert_eq!(ours.get(4).and_then(|row| row.to_vec1::<f32>()).expect("a row"), [0.0; 3]);
    }
}
