//! Which configurations to derive.

use super::{DeriveError, LayerCosts, common_batches};
use statmux_core::units::Bytes;

/// Which configurations to derive: every `op` with every `pp`, at every batch size.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Devices per stage.
    pub ops: Vec<u32>,
    /// Stages; numbers above the number of layers are passed over.
    pub pps: Vec<u32>,
    /// Batch sizes; 1 must be among them, for profiles always have it.
    pub batches: Vec<u32>,
    /// What a device can hold. Wherever some cut keeps to it, a cut that does is taken.
    pub memory: Option<Bytes>,
}

/// The widest stage that is derived unless others are asked for: the devices of most machines.
pub const LARGEST_OP: u32 = 8;

/// The longest pipeline that is derived unless others are asked for.
pub const LARGEST_PP: u32 = 64;

impl Wanted {
    /// All that `layers` tell of: stages of 1, 2, 4, … devices up to `most_op`, pipelines of 1, 2, 4, … stages up to
    /// `most_pp` and the number of layers, and the batch sizes that every layer was measured with.
    pub fn all(layers: &[LayerCosts], most_op: u32, most_pp: u32) -> Self {
        let powers = |most: u32| (0..u32::BITS).map(|bit| 1 << bit).take_while(move |&size| size <= most);
        let deepest = u32::try_from(layers.len()).unwrap_or(u32::MAX).min(most_pp);
        Self {
            ops: powers(most_op).collect(),
            pps: powers(deepest).collect(),
            batches: common_batches(layers),
            memory: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), DeriveError> {
        let counts = self.ops.iter().chain(&self.pps).chain(&self.batches);
        let sound = counts.min().is_some_and(|&least| least > 0) && self.batches.contains(&1);
        sound.then_some(()).ok_or(DeriveError::Wanted)
    }
}
