//! The search's chance: numbers from a seed, the same on every machine.

use statmux_core::Seed;

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    seed: Seed,
    rolls: u64,
}

impl Dice {
    pub(super) fn new(seed: Seed) -> Self {
        Self { seed, rolls: 0 }
    }

    fn roll(&mut self) -> u64 {
        self.rolls += 1;
        self.seed.nth(self.rolls).0
    }

    /// A number from 0 to `n` - 1.
    ///
    /// # Panics
    /// If `n` is 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "there is something to choose from");
        (self.roll() % n as u64) as usize
    }

    /// A number from 0 up to 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A position, each as likely as its weight; the last, if rounding leaves none. `None` without weight.
    pub(super) fn weighted(&mut self, weights: impl Iterator<Item = f64> + Clone) -> Option<usize> {
        let total: f64 = weights.clone().sum();
        if total <= 0.0 {
            return None;
        }
        let mut left = self.share() * total;
        let mut last = None;
        for (position, weight) in weights.enumerate().filter(|&(_, weight)| weight > 0.0) {
            last = Some(position);
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_decide_how_often() {
        let mut dice = Dice::new(Seed(1));
        let mut counts = [0; 4];
        for _ in 0..4000 {
            counts[dice.weighted([1.0, 0.0, 2.0, 1.0].into_iter()).expect("there is weight")] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!(i32::abs(counts[2] - 2000) < 150 && i32::abs(counts[0] - 1000) < 150, "{counts:?}");
        assert_eq!(dice.weighted([0.0].into_iter()), None);
    }
}
