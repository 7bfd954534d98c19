//! Keys and values of the tokens so far.

use crate::device::{Device, Reservation};
use candle_core::{DType, Result, Tensor};
use statmux_core::backend::BackendError;

/// One shard's keys and values of a batch, for the layers of its stage.
///
/// It has room for every sequence to its full length from the start, and that memory is accounted to the device.
pub(crate) struct Cache {
    layers: Vec<LayerCache>,
    /// By sequence; none for those that have ended.
    memory: Vec<Option<Reservation>>,
}

/// One layer's part of a [`Cache`].
pub(crate) struct LayerCache {
    /// Keys and values by sequence, each of shape (capacity, width); none for those that have ended.
    sequences: Vec<Option<(Tensor, Tensor)>>,
}

impl Cache {
    /// Room for `layers` layers and sequences of the given full lengths, `width` values a key.
    pub(crate) fn new(
        device: &Device,
        layers: usize,
        lengths: &[usize],
        width: usize,
    ) -> std::result::Result<Self, BackendError> {
        let reserve = |&tokens: &usize| {
            let bytes = (layers * tokens * width * 2 * 4) as u64;
            device.memory.reserve(bytes, &format!("keys and values of {tokens} tokens")).map(Some)
        };
        let memory = lengths.iter().map(reserve).collect::<std::result::Result<_, _>>()?;
        let layer = || {
            let room = |&length: &usize| {
                let zeros = || Tensor::zeros((length, width), DType::F32, &device.tensors);
                Ok(Some((zeros()?, zeros()?)))
            };
            Ok(LayerCache { sequences: lengths.iter().map(room).collect::<Result<_>>()? })
        };
        let layers = (0..layers).map(|_| layer()).collect::<Result<_>>().map_err(crate::device::lost)?;
        Ok(Self { layers, memory })
    }

    /// Frees what is kept of a sequence that has ended.
    pub(crate) fn free(&mut self, sequence: usize) {
        self.layers.iter_mut().for_each(|layer| layer.sequences[sequence] = None);
        self.memory[sequence] = None;
    }

    /// The layers of the stage, in order.
    pub(crate) fn layers(&mut self) -> &mut [LayerCache] {
        &mut self.layers
    }
}

impl LayerCache {
    /// Puts the keys and values of new tokens of a sequence behind the `past` tokens already there.
    pub(crate) fn append(&mut self, sequence: usize, past: usize, keys: &Tensor, values: &Tensor) -> Result<()> {
        let (all_keys, all_values) = self.of(sequence);
        all_keys.slice_set(keys, 0, past)?;
        all_values.slice_set(values, 0, past)
    }

    /// All keys and values of a sequence, and the empty room behind them.
    pub(crate) fn of(&self, sequence: usize) -> (&Tensor, &Tensor) {
        let (keys, values) = self.sequences[sequence].as_ref().expect("sequences that have ended are in no lap");
        (keys, values)
    }
}
