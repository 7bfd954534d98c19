//! An upper bound on what can still be reached from a partial solution.
//!
//! Relaxed are the walls between groups: the free memory of all is one pool, and the last replica bought
//! from it may be a fraction. What stays exact is that a model is on each group at most once, that its
//! replicas are whole where the smallest tolerance is concerned, and that the smallest tolerance can only
//! be one of finitely many numbers. With models of one size the bound is usually attained.

use super::program::{Program, SUM_WEIGHT};

/// A group that is being filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Bin {
    pub(super) kind: usize,
    /// Free bytes.
    pub(super) free: u64,
}

/// What the models still to be placed could reach with what is free.
pub(super) struct Relaxation {
    /// Free bytes of all groups.
    pool: u64,
    models: Vec<Prospect>,
    /// (model, replica) by falling value per byte.
    by_density: Vec<(usize, usize)>,
}

/// The replicas a model could get, best first.
struct Prospect {
    weight: u64,
    /// The tolerance with the first `r` replicas.
    tolerance: Vec<f64>,
}

impl Relaxation {
    /// Considers `models`, none of which is on any of `bins` yet.
    pub(super) fn new(program: &Program, models: &[usize], bins: &[Bin]) -> Self {
        let models: Vec<_> = models.iter().map(|&model| Prospect::new(program, model, bins)).collect();
        let at_most = |bin: &Bin| {
            let fitting = models.iter().map(|model| model.weight).filter(|&weight| weight <= bin.free);
            fitting.fold(0, u64::saturating_add).min(bin.free)
        };
        let pool = bins.iter().map(at_most).fold(0, u64::saturating_add);
        let mut by_density: Vec<_> = models
            .iter()
            .enumerate()
            .flat_map(|(index, model)| (1..model.tolerance.len()).map(move |replica| (index, replica)))
            .collect();
        let density = |&(index, replica): &(usize, usize)| {
            let model: &Prospect = &models[index];
            (model.tolerance[replica] - model.tolerance[replica - 1]) / model.weight as f64
        };
        by_density.sort_by(|a, b| density(b).total_cmp(&density(a)).then(a.cmp(b)));
        Self { pool, models, by_density }
    }

    /// The values the smallest tolerance could have, largest first, from the largest for which memory may
    /// suffice; ends with 0.
    pub(super) fn levels(&self) -> Vec<f64> {
        let mut levels: Vec<f64> = self.models.iter().flat_map(|model| model.tolerance.iter().copied()).collect();
        levels.push(0.0);
        levels.sort_by(|a, b| b.total_cmp(a));
        levels.dedup();
        let possible = levels.partition_point(|&level| self.sum_at(level).is_none());
        levels.split_off(possible)
    }

    /// The largest sum of tolerances if none may be below `level`; `None` if memory cannot suffice for that.
    pub(super) fn sum_at(&self, level: f64) -> Option<f64> {
        let (mut left, mut sum) = (self.pool, 0.0);
        let mut bought = Vec::with_capacity(self.models.len());
        for model in &self.models {
            let needed = model.replicas_for(level)?;
            left = left.checked_sub(model.weight.checked_mul(needed as u64)?)?;
            sum += model.tolerance[needed];
            bought.push(needed);
        }
        for &(index, replica) in &self.by_density {
            if replica <= bought[index] {
                continue;
            }
            let model = &self.models[index];
            let gain = model.tolerance[replica] - model.tolerance[replica - 1];
            if model.weight > left {
                return Some(sum + gain * left as f64 / model.weight as f64);
            }
            left -= model.weight;
            sum += gain;
        }
        Some(sum)
    }

    /// The bound on the objective, given the smallest tolerance and the sum of the models placed already.
    pub(super) fn bound(&self, least: f64, sum: f64) -> f64 {
        if self.models.is_empty() {
            return least + SUM_WEIGHT * sum;
        }
        let most = self.sum_at(0.0).unwrap_or(0.0);
        let mut best = f64::NEG_INFINITY;
        let capped = least.is_finite().then_some(least);
        let levels = self.levels();
        for level in capped.into_iter().chain(levels.into_iter().filter(|&level| level < least)) {
            if level + SUM_WEIGHT * (sum + most) <= best {
                break;
            }
            if let Some(more) = self.sum_at(level) {
                best = best.max(level + SUM_WEIGHT * (sum + more));
            }
        }
        best
    }
}

impl Prospect {
    fn new(program: &Program, model: usize, bins: &[Bin]) -> Self {
        let weight = program.weights[model];
        let values = &program.values[model];
        let open = bins.iter().filter(|bin| bin.free >= weight).map(|bin| values[bin.kind]);
        let mut gains: Vec<_> = open.filter(|&value| value > 0.0).collect();
        gains.sort_by(|a, b| b.total_cmp(a));
        let mut tolerance = Vec::with_capacity(gains.len() + 1);
        tolerance.push(0.0);
        // Equal values are multiplied, not added up, so that levels equal what solutions score.
        let mut run = (0.0, 0.0, 0.0);
        for gain in gains {
            if gain != run.1 {
                run = (*tolerance.last().expect("starts with zero replicas"), gain, 0.0);
            }
            run.2 += 1.0;
            tolerance.push(run.0 + run.1 * run.2);
        }
        Self { weight, tolerance }
    }

    fn replicas_for(&self, level: f64) -> Option<usize> {
        // Rounding must not cost a replica.
        let enough = level * (1.0 - 1e-12);
        let replicas = self.tolerance.partition_point(|&tolerance| tolerance < enough);
        (replicas < self.tolerance.len()).then_some(replicas)
    }
}
