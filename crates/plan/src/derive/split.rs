//! One layer split over the devices of a stage.

use super::costs::span;
use super::{DeriveError, LayerCosts, Links};
use crate::intra_op::{self, IntraOpError, Mesh};
use statmux_core::units::Bytes;
use std::collections::BTreeMap;

/// A layer under one degree.
pub(super) struct SplitLayer {
    /// Seconds by batch size.
    pub(super) seconds: BTreeMap<u32, f64>,
    /// Weights on each device.
    pub(super) weights: Bytes,
    /// Whether the times come from the pass over its operators.
    pub(super) predicted: bool,
}

impl SplitLayer {
    /// `layer` over `op` devices: as measured, else as the pass over its operators predicts. How each operator is split
    /// is chosen at batch size 1.
    pub(super) fn of(layer: &LayerCosts, op: u32, links: &Links, batches: &[u32]) -> Result<Self, DeriveError> {
        match layer.seconds.get(&op) {
            Some(measured) => Self::measured(layer, op, measured, batches),
            None => Self::predicted(layer, op, links, batches),
        }
    }

    fn measured(
        layer: &LayerCosts,
        op: u32,
        measured: &BTreeMap<u32, f64>,
        batches: &[u32],
    ) -> Result<Self, DeriveError> {
        let unmeasured = |batch| DeriveError::Unmeasured { layer: layer.name.clone(), op, batch };
        let time = |&batch: &u32| {
            let &seconds = measured.get(&batch).ok_or_else(|| unmeasured(batch))?;
            span(&layer.name, batch, seconds)?;
            Ok((batch, seconds))
        };
        let weights = Bytes::new(layer.weights.get().div_ceil(u64::from(op)));
        Ok(Self { seconds: batches.iter().map(time).collect::<Result<_, _>>()?, weights, predicted: false })
    }

    fn predicted(layer: &LayerCosts, op: u32, links: &Links, batches: &[u32]) -> Result<Self, DeriveError> {
        let mesh = Mesh {
            degree: op,
            bandwidth: links.rate.bandwidth.bytes_per_second(),
            step_latency: links.latency,
            efficiency: if op == 1 { 1.0 } else { links.efficiency },
        };
        let chosen = match intra_op::cheapest(&layer.operators(1, op)?, &mesh, None) {
            Ok(chosen) => chosen,
            Err(IntraOpError::Memory { .. }) => unreachable!("without a memory limit every assignment is allowed"),
        };
        let time = |&batch: &u32| {
            let operators = layer.operators(batch, op)?;
            Ok((batch, intra_op::cost(&operators, &mesh, &chosen.strategies).time().seconds()))
        };
        let seconds = batches.iter().map(time).collect::<Result<_, _>>()?;
        Ok(Self { seconds, weights: chosen.weights, predicted: op > 1 })
    }
}
