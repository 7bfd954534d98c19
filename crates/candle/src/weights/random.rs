//! Weights drawn from a seed, so that a model can be served without a download.

use super::{Source, WeightsError, runs};
use statmux_core::Seed;
use std::ops::Range;

/// A model whose weights are noise.
///
/// Each value depends on the seed, the tensor's name and the value's place in the *whole* tensor, so every way of
/// sharding a model gives the same model.
pub(crate) struct Random {
    seed: Seed,
}

impl Random {
    pub(crate) fn new(seed: Seed) -> Self {
        Self { seed }
    }
}

impl Source for Random {
    fn has(&self, _name: &str) -> bool {
        true
    }

    fn read(
        &self,
        name: &str,
        shape: &[usize],
        rows: Range<usize>,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), WeightsError> {
        let columns: usize = shape[1..].iter().product();
        let (centre, spread) = distribution(name, shape);
        let stream = self.seed.stream(name);
        for run in runs(rows) {
            let values: Vec<f32> = (run.start * columns..run.end * columns)
                .map(|index| centre + spread * unit(stream.nth(index as u64)))
                .collect();
            sink(run.start, &values);
        }
        Ok(())
    }
}

/// Centre and half-width of a tensor's uniform distribution: vectors keep their length through every layer.
fn distribution(name: &str, shape: &[usize]) -> (f32, f32) {
    match shape {
        [_] if name.ends_with("weight") => (1.0, 0.1),
        [_] => (0.0, 0.1),
        _ => {
            let inputs = shape.iter().copied().min().unwrap_or(1).max(1);
            (0.0, (3.0 / inputs as f32).sqrt())
        }
    }
}

/// A number in [-1, 1) from the upper 24 bits of a hash.
fn unit(seed: Seed) -> f32 {
    (seed.0 >> 40) as f32 / (1u32 << 23) as f32 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(name: &str, rows: Range<usize>) -> Vec<f32> {
        let mut all = Vec::new();
        Random::new(Seed(5))
            .read(name, &[1000, 8], rows, &mut |_, values| all.extend_from_slice(values))
            .expect("noise is always there");
        all
    }

    #[test]
    fn a_part_equals_the_same_part_of_the_whole() {
        let whole = rows("w", 0..1000);
        assert_eq!(rows("w", 130..700), whole[130 * 8..700 * 8]);
        assert_ne!(rows("v", 0..1000), whole);
        let mean = whole.iter().sum::<f32>() / whole.len() as f32;
        let variance = whole.iter().map(|x| x * x).sum::<f32>() / whole.len() as f32;
        assert!(mean.abs() < 0.02 && (variance - 1.0 / 8.0).abs() < 0.01, "mean {mean}, variance {variance}");
    }
}
