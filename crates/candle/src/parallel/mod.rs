//! How one model becomes parts that run on several devices.
//!
//! Between operators (stages) a model is cut by [`partition`]; within operators (shards) by [`layers`]: the first
//! linear layer of a pair by its outputs, the second by its inputs, so that the shards meet only once a pair, in
//! [`team`], where each gets all partial sums.

#[cfg(not(feature = "nccl"))]
mod absent;
pub(crate) mod attention;
pub(crate) mod layers;
#[cfg(feature = "nccl")]
mod nccl;
pub(crate) mod partition;
pub(crate) mod team;

#[cfg(not(feature = "nccl"))]
pub(crate) use absent::Ring;
#[cfg(feature = "nccl")]
pub(crate) use nccl::Ring;
use std::ops::Range;

/// One of the equal partners that share each operator of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Which, from 0.
    pub(crate) rank: usize,
    /// Of how many.
    pub(crate) size: usize,
}

impl Shard {
    /// This shard's part of `count` things: contiguous, and no part more than one larger than another.
    pub(crate) fn part(self, count: usize) -> Range<usize> {
        count * self.rank / self.size..count * (self.rank + 1) / self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_cover_everything_once(count in 0usize..1000, size in 1usize..9) {
            let parts: Vec<_> = (0..size).map(|rank| Shard { rank, size }.part(count)).collect();
            prop_assert_eq!(parts[0].start, 0);
            prop_assert_eq!(parts[size - 1].end, count);
            for pair in parts.windows(2) {
                prop_assert_eq!(pair[0].end, pair[1].start);
                prop_assert!(pair[0].len().abs_diff(pair[1].len()) <= 1);
            }
        }
    }
}
