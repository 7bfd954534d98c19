//! What one trip through the pipeline computes.

use std::ops::Range;

/// The tokens of one lap, packed: those of the first sequence, then those of the second, and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lap {
    pub(crate) tokens: Vec<u32>,
    /// The place of each token in its own sequence.
    pub(crate) positions: Vec<u32>,
    /// For each sequence that takes part, its rows.
    pub(crate) rows: Vec<Range<usize>>,
    /// For each sequence that takes part, its number in the batch.
    pub(crate) sequences: Vec<usize>,
}

impl Lap {
    /// Adds tokens of sequence `sequence`, the first of which has position `first`.
    pub(crate) fn push(&mut self, sequence: usize, first: usize, tokens: &[u32]) {
        let start = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.positions.extend((first..first + tokens.len()).map(|position| position as u32));
        self.rows.push(start..self.tokens.len());
        self.sequences.push(sequence);
    }
}
