//! Bounds, constructions and sweeps put together.

use super::construct::construct;
use super::program::{Filled, Mix, Program, exceeds};
use super::relaxation::{Bin, Relaxation};
use super::sweep::{Spending, sweep};

/// Partial solutions kept in the first round of sweeps, and by how much each further round widens them.
const FIRST_WIDTH: usize = 1;
const WIDENING: usize = 8;

/// What [`solve`] found.
pub(super) struct Found {
    pub(super) groups: Vec<Filled>,
    pub(super) objective: f64,
    /// No solution has a larger objective.
    pub(super) bound: f64,
}

/// The best solution within the given work.
pub(super) fn solve(program: &Program, work: u64, expired: &dyn Fn() -> bool) -> Found {
    let mut mixes: Vec<_> = program.mixes().into_iter().map(|mix| (root_bound(program, &mix), mix)).collect();
    mixes.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let mut best: Option<(f64, Vec<Filled>)> = None;
    let mut spending = Spending { work, expired };

    for (bound, mix) in &mixes {
        let incumbent = best.as_ref().map_or(f64::NEG_INFINITY, |best| best.0);
        // The first mix always gets its turn, so that there is a solution whatever the limits are.
        if best.is_some() && (!exceeds(*bound, incumbent) || spending.work == 0 || expired()) {
            break;
        }
        let mut taken = 0;
        let found = construct(program, mix, incumbent, &mut taken);
        spending.work = spending.work.saturating_sub(taken);
        if best.is_none() || exceeds(found.0, incumbent) {
            best = Some(found);
        }
    }
    let (mut objective, mut groups) = best.unwrap_or_default();

    let mut width = FIRST_WIDTH;
    while spending.work > 0 && !expired() && open(&mixes, objective) {
        for (bound, mix) in &mut mixes {
            if !exceeds(*bound, objective) {
                continue;
            }
            let swept = sweep(program, mix, objective, width, &mut spending);
            if let Some(better) = swept.best.filter(|better| exceeds(better.0, objective)) {
                (objective, groups) = better;
            }
            // What was neither found nor missed cannot beat the incumbent.
            *bound = bound.min(swept.missed.max(objective));
        }
        width *= WIDENING;
    }
    let bound = mixes.iter().map(|(bound, _)| *bound).fold(objective, f64::max);
    Found { groups, objective, bound }
}

fn open(mixes: &[(f64, Mix)], objective: f64) -> bool {
    mixes.iter().any(|(bound, _)| exceeds(*bound, objective))
}

fn root_bound(program: &Program, mix: &Mix) -> f64 {
    let models: Vec<_> = (0..program.weights.len()).collect();
    let bins: Vec<_> = Program::groups(mix).map(|kind| Bin { kind, free: program.capacity(kind) }).collect();
    Relaxation::new(program, &models, &bins).bound(f64::INFINITY, 0.0)
}
