//! The arithmetic of transformers, one kernel to a file.
//!
//! Every kernel takes and gives back candle tensors. On the processor it works on their memory directly: one
//! thread, the widest vector instructions the machine has, no copies between steps, and sums that are fused with
//! what follows them. On other devices it is composed of candle's own operations.
//!
//! Batches are *packed*: the tokens of all sequences lie one after another in the rows of a matrix, without padding,
//! so nothing is computed for tokens that do not exist and no result depends on what else is in the batch.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod linear;
pub(crate) mod lookup;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod rope;
pub(crate) mod vector;

use candle_core::{Device, Error, Result, Storage, Tensor};
use parking_lot::RwLockReadGuard;

/// Whether kernels for `device` are composed of candle's operations.
pub(crate) fn composed_on(device: &Device) -> bool {
    #[cfg(test)]
    if tests::COMPOSED.get() {
        return true;
    }
    !device.is_cpu()
}

/// The memory of a contiguous `f32` tensor on the processor.
pub(crate) struct CpuSlice<'a> {
    storage: RwLockReadGuard<'a, Storage>,
    start: usize,
    end: usize,
}

impl<'a> CpuSlice<'a> {
    /// Reads `tensor`, which must be contiguous and on the processor.
    pub(crate) fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let (start, end) =
            layout.contiguous_offsets().ok_or_else(|| Error::Msg("a kernel was given a strided tensor".into()))?;
        let slice = Self { storage, start, end };
        slice.values()?;
        Ok(slice)
    }

    fn values(&self) -> Result<&[f32]> {
        match &*self.storage {
            Storage::Cpu(values) => Ok(&values.as_slice::<f32>()?[self.start..self.end]),
            _ => Err(Error::Msg("a processor kernel was given a tensor of another device".into())),
        }
    }
}

impl std::ops::Deref for CpuSlice<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.values().expect("checked when the slice was made")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use statmux_core::Seed;
    use std::cell::Cell;

    thread_local! {
        /// Whether this thread is that of a device which computes on the processor as GPUs would.
        pub(crate) static COMPOSED: Cell<bool> = const { Cell::new(false) };
    }

    /// A matrix of numbers in [-1, 1).
    pub(super) fn noise(rows: usize, columns: usize, seed: u64) -> Tensor {
        let number = |index| (Seed(seed).nth(index as u64).0 >> 40) as f32 / (1u32 << 23) as f32 - 1.0;
        let values: Vec<f32> = (0..rows * columns).map(number).collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).expect("the shape fits")
    }

    /// Asserts that two matrices differ by rounding only.
    pub(super) fn close(a: &Tensor, b: &Tensor) {
        assert_eq!(a.dims(), b.dims());
        let difference =
            (a - b).and_then(|d| d.abs()).and_then(|d| d.flatten_all()?.to_vec1::<f32>()).expect("same shape");
        assert!(difference.iter().all(|&difference| difference < 2e-5), "{difference:?}");
    }
}
