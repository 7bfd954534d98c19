//! Requests in time order, as columns: what is simulated, replayed and planned for.

use crate::ids::{ModelId, RequestId};
use crate::request::{Lengths, Request};
use crate::units::{Span, Time};

/// Requests in order of arrival. Ten million take 120 MB without optional columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    /// When each request arrives; never decreasing.
    pub arrived: Vec<Time>,
    /// The model each asks for.
    pub model: Vec<ModelId>,
    /// Each request's own SLO; empty when all follow their model's.
    pub slo: Vec<Span>,
    /// Prompt and answer lengths; empty when not recorded.
    pub lengths: Vec<Lengths>,
    /// How long requests were collected: rates are counts over this.
    pub duration: Span,
}

impl Workload {
    /// How many requests there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.arrived.len()
    }

    /// Whether there is no request.
    pub fn is_empty(&self) -> bool {
        self.arrived.is_empty()
    }

    /// The `index`-th request; `model_slo` is each model's SLO, [`Span::MAX`] for none.
    #[inline]
    pub fn request(&self, index: usize, model_slo: &[Span]) -> Request {
        let model = self.model[index];
        let arrived = self.arrived[index];
        let slo = self.slo.get(index).copied().unwrap_or(model_slo[model.index()]);
        let deadline = if slo == Span::MAX { Time::NEVER } else { arrived + slo };
        Request { id: RequestId::from_index(index), model, arrived, deadline }
    }

    /// Requests per model, for models 0 to `models` - 1.
    pub fn counts(&self, models: usize) -> Vec<u64> {
        let mut counts = vec![0; models];
        for model in &self.model {
            counts[model.index()] += 1;
        }
        counts
    }

    /// The requests at positions `range`, with their times unchanged.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        let part = |column: &[Span]| column.get(range.clone()).unwrap_or_default().to_vec();
        Self {
            arrived: self.arrived[range.clone()].to_vec(),
            model: self.model[range.clone()].to_vec(),
            slo: part(&self.slo),
            lengths: self.lengths.get(range.clone()).unwrap_or_default().to_vec(),
            duration: self.duration,
        }
    }

    /// The requests at `rows`, over the same time.
    ///
    /// # Panics
    /// If there is no such request.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            arrived: rows.iter().map(|&row| self.arrived[row]).collect(),
            model: rows.iter().map(|&row| self.model[row]).collect(),
            slo: if self.slo.is_empty() { Vec::new() } else { rows.iter().map(|&row| self.slo[row]).collect() },
            lengths: match self.lengths.as_slice() {
                [] => Vec::new(),
                lengths => rows.iter().map(|&row| lengths[row]).collect(),
            },
            duration: self.duration,
        }
    }

    /// Whether arrivals never decrease and the columns have equal lengths.
    pub fn is_well_formed(&self) -> bool {
        let rows = self.len();
        self.model.len() == rows
            && (self.slo.is_empty() || self.slo.len() == rows)
            && (self.lengths.is_empty() || self.lengths.len() == rows)
            && self.arrived.is_sorted()
    }
}
