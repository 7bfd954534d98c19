//! A build without NCCL: shards on several GPUs fetch each other's sums.

use crate::device::Device;
use candle_core::{Result, Tensor};
use statmux_core::backend::BackendError;
use std::sync::Arc;

/// There is none.
pub(crate) enum Ring {}

impl Ring {
    /// Nothing connects devices.
    pub(crate) fn over(_devices: &[Arc<Device>]) -> std::result::Result<Option<Self>, BackendError> {
        Ok(None)
    }

    /// What nothing adds.
    pub(crate) fn sum(&self, _rank: usize, _part: &Tensor) -> Result<Tensor> {
        match *self {}
    }
}
