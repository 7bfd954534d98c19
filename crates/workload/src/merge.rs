//! Requests from many sources, put in order.

use statmux_core::{Lengths, ModelId, Span, Time, Workload};

/// Requests in no particular order; simultaneous ones come out by model, then in the order in which they went in.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    pub(crate) arrived: Vec<Time>,
    pub(crate) model: Vec<ModelId>,
    /// Empty, or one for each request.
    pub(crate) lengths: Vec<Lengths>,
}

impl Merge {
    pub(crate) fn len(&self) -> usize {
        self.arrived.len()
    }

    /// Adds one model's arrivals.
    pub(crate) fn extend(&mut self, model: ModelId, arrived: &[Time]) {
        self.arrived.extend_from_slice(arrived);
        self.model.resize(self.arrived.len(), model);
    }

    /// All requests in order of arrival.
    pub(crate) fn finish(mut self, duration: Span) -> Workload {
        let mut keys: Vec<(Time, ModelId, u32)> = (0_u32..)
            .zip(self.arrived.iter().zip(&self.model))
            .map(|(position, (&arrived, &model))| (arrived, model, position))
            .collect();
        if !keys.is_sorted() {
            keys.sort_unstable();
            for (at, &(arrived, model, _)) in keys.iter().enumerate() {
                self.arrived[at] = arrived;
                self.model[at] = model;
            }
            if !self.lengths.is_empty() {
                self.lengths = keys.iter().map(|&(_, _, position)| self.lengths[position as usize]).collect();
            }
        }
        Workload { arrived: self.arrived, model: self.model, slo: Vec::new(), lengths: self.lengths, duration }
    }
}
