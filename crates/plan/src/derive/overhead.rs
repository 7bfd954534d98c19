//! What splitting a model costs against a perfect split, by cause.

/// Where a pipeline of `n` stages loses time against `n` perfect slices, in seconds of all its devices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InterOpOverhead {
    /// Handing activations from stage to stage: `max(sum of stages - single, 0)`.
    pub communication: f64,
    /// Waiting for the slowest stage: `max(n x slowest - communication - single, 0)`.
    pub uneven_partition: f64,
}

/// Splits a pipeline's overhead into its two causes, given the latency on one device and the stages' times, in seconds.
pub fn inter_op_overhead(single: f64, stages: &[f64]) -> InterOpOverhead {
    let communication = (stages.iter().sum::<f64>() - single).max(0.0);
    let slowest = stages.iter().copied().fold(0.0, f64::max);
    let uneven_partition = (stages.len() as f64 * slowest - communication - single).max(0.0);
    InterOpOverhead { communication, uneven_partition }
}

/// What splitting operators over `devices` costs beyond a perfect split, in seconds of all of them:
/// `devices x split - single`.
pub fn intra_op_overhead(single: f64, split: f64, devices: u32) -> f64 {
    f64::from(devices) * split - single
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overheads_are_split_as_published() {
        let overhead = inter_op_overhead(1.0, &[0.25, 0.30, 0.26, 0.27]);
        assert!((overhead.communication - 0.08).abs() < 1e-12);
        assert!((overhead.uneven_partition - 0.12).abs() < 1e-12);
        let perfect = inter_op_overhead(1.0, &[0.5, 0.5]);
        assert_eq!((perfect.communication, perfect.uneven_partition), (0.0, 0.0));
        assert_eq!(intra_op_overhead(1.0, 0.5, 4), 1.0);
    }
}
