//! What one trip through the pipeline computes.

use std::ops::Range;

/// The tokens of one lap, packed: those of the first sequence, then those of the second, and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lap {
    pub(crate) tokens: Vec<u32>,
    /// The place of each token in its own sequence.
    pub(crate) positions: Vec<u32>,
    /// For each token, the kind of text it belongs to; empty in laps of decoders.
    pub(crate) types: Vec<u32>,
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

    /// The same lap of a decoder without some sequences.
    pub(crate) fn without(&self, sequences: &[usize]) -> Self {
        let mut lap = Self::default();
        for (rows, &sequence) in self.rows.iter().zip(&self.sequences) {
            if !sequences.contains(&sequence) {
                lap.push(sequence, self.positions[rows.start] as usize, &self.tokens[rows.clone()]);
            }
        }
        lap
    }
}
