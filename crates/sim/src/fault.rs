//! What breaks in a run: groups that die and come back, and groups that slow down.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use statmux_core::{GroupId, Seed, Span, Time};

/// Something that goes wrong with a group for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// The group it happens to.
    pub group: GroupId,
    /// When it begins.
    pub at: Time,
    /// How long it lasts.
    pub lasts: Span,
    /// What it is.
    pub kind: FaultKind,
}

/// The kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// The group is gone, with everything on it.
    Lost,
    /// Batches launched in this time take this many times as long.
    Slow(f64),
}

/// How often groups break, for faults drawn at random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRates {
    /// Mean time from one fault of a group to its next.
    pub between: Span,
    /// Mean time until it is over.
    pub repair: Span,
    /// The share of faults that are slowdowns; the others are losses.
    pub slow_share: f64,
    /// How many times as long batches take during a slowdown.
    pub slowdown: f64,
}

impl FaultRates {
    /// Draws the faults of `groups` groups until `until`: exponential times between and to repair, one fault
    /// of a group at a time, each group from its own stream of `seed`.
    pub fn draw(&self, groups: usize, until: Time, seed: Seed) -> Vec<Fault> {
        let mut faults = Vec::new();
        for index in 0..groups {
            let mut rng = ChaCha12Rng::seed_from_u64(seed.stream("faults").nth(index as u64).0);
            let mut exponential = |mean: Span| mean.scale(-(1.0 - rng.random::<f64>()).ln());
            let mut at = Time::ZERO + exponential(self.between);
            while at < until {
                let lasts = exponential(self.repair);
                let slow = exponential(Span::from_nanos(1_000_000)).nanos() as f64 / 1e6;
                // An exponential variate with mean 1 is below -ln(1 - p) with probability p.
                let kind =
                    if slow < -(1.0 - self.slow_share).ln() { FaultKind::Slow(self.slowdown) } else { FaultKind::Lost };
                faults.push(Fault { group: GroupId::from_index(index), at, lasts, kind });
                at = at + lasts + exponential(self.between);
            }
        }
        faults.sort_by_key(|fault| (fault.at, fault.group));
        faults
    }
}
