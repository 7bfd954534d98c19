//! The search proper: several neighbours at a time, and on to the best of them if it is no worse.

use super::catalogue::Catalogue;
use super::dice::Dice;
use super::judge::{Judge, Score, Verdict};
use super::moves::Moves;
use super::reach::strain;
use crate::policy::PlanError;
use rayon::prelude::*;
use statmux_core::{Placement, Seed};
use std::ops::Range;

/// Neighbours that are judged at a time, whatever the number of threads.
pub(super) const ABREAST: u64 = 8;

/// A placement that was judged.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) placement: Placement,
    pub(super) verdict: Verdict,
    /// How it strains under surges; tells apart what scores the same.
    strain: u64,
}

impl Judged {
    /// `placement`, which came to `verdict`.
    pub(super) fn new(catalogue: &Catalogue<'_>, placement: Placement, verdict: Verdict) -> Self {
        Self { strain: strain(catalogue, &placement), placement, verdict }
    }

    /// What it is compared by; smaller is better.
    pub(super) fn rank(&self) -> (Score, u64) {
        (self.verdict.score(), self.strain)
    }
}

/// When a climb ends.
pub(super) struct Until<'u> {
    /// So many neighbours were tried.
    pub(super) moves: Range<u64>,
    /// So few requests are missed, and no model is below the floor; never if absent.
    pub(super) misses: Option<u64>,
    /// So many neighbours in a row were no better, though nothing is missed.
    pub(super) patience: u64,
    /// Somebody says so.
    pub(super) stop: &'u (dyn Fn() -> bool + Sync),
}

impl Until<'_> {
    /// Whether so little is missed that candidates cannot be told apart.
    pub(super) fn enough(&self, verdict: &Verdict) -> bool {
        let score = verdict.score();
        score.short == 0 && self.misses.is_some_and(|misses| score.missed <= misses)
    }
}

/// Climbs from `start`, telling `tell` of the number of neighbours tried and the best so far. Returns where it got
/// to and how many neighbours were tried by then.
pub(super) fn climb(
    judge: &Judge<'_>,
    moves: &Moves<'_>,
    start: Judged,
    seed: Seed,
    until: &Until<'_>,
    mut tell: impl FnMut(u64, &Judged),
) -> Result<(Judged, u64), PlanError> {
    let mut here = start;
    let (mut tried, most) = (until.moves.start, until.moves.end);
    let mut bettered = tried;
    while tried < most && !until.enough(&here.verdict) && !(until.stop)() {
        if here.verdict.score().is_perfect() && tried - bettered >= until.patience {
            break;
        }
        let count = ABREAST.min(most - tried);
        let numbers: Vec<u64> = (tried..tried + count).collect();
        let step = |number: u64| -> Result<Option<Judged>, PlanError> {
            let mut dice = Dice::new(seed.nth(number));
            // Steps that lead nowhere cost nothing: draw again.
            let drawn = (0..8).find_map(|_| moves.neighbour(&here.placement, &here.verdict, &mut dice));
            let Some(placement) = drawn else { return Ok(None) };
            let verdict = judge.judge(&placement, &[&here.verdict], |piece| allowed(&here.verdict, piece))?;
            Ok(verdict.map(|verdict| Judged::new(moves.catalogue, placement, verdict)))
        };
        let judged: Vec<_> = numbers.into_par_iter().with_max_len(1).map(step).collect();
        tried += count;
        let mut best: Option<Judged> = None;
        for neighbour in judged {
            let Some(neighbour) = neighbour? else { continue };
            if best.as_ref().is_none_or(|best| neighbour.rank() < best.rank()) {
                best = Some(neighbour);
            }
        }
        if let Some(best) = best.filter(|best| best.rank() <= here.rank()) {
            if best.rank() < here.rank() {
                bettered = tried;
            }
            here = best;
        }
        tell(tried, &here);
    }
    Ok((here, tried))
}

/// How many requests a neighbour may have missed by the end of `piece` and still be worth going on with.
fn allowed(here: &Verdict, piece: usize) -> u64 {
    if here.score().short > 0 {
        // What a neighbour does for the floor is only known at the end.
        return u64::MAX;
    }
    let so_far: u64 = here.misses[..=piece].iter().sum();
    if piece + 1 == here.misses.len() { so_far } else { so_far + so_far / 10 + 5 }
}
