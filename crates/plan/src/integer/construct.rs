//! Good solutions fast: give every model the replicas it needs for a level, then fill what is left.

use super::program::{Filled, Mix, Program, exceeds};
use super::relaxation::{Bin, Relaxation};

/// A level that cannot be met by filling in one order may be met in another.
const ORDERS: [Order; 3] = [Order::Weight, Order::Replicas, Order::Bytes];

/// Levels tried one by one below the first that is met, before the steps grow.
const LEVELS_BELOW: usize = 12;

#[derive(Clone, Copy, Debug)]
enum Order {
    /// Large models first.
    Weight,
    /// Models that need many replicas first.
    Replicas,
    /// Models that need many bytes in all first.
    Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fit {
    /// Into the kind worth most, there into the fullest group that has room.
    Tightest,
    /// Into the kind worth most, there into the emptiest group.
    Loosest,
    /// Into the emptiest group of any kind.
    Roomiest,
    /// Into the kind worth least of those that meet the level with one more replica, else as the tightest.
    Frugal,
}

const FITS: [Fit; 4] = [Fit::Tightest, Fit::Loosest, Fit::Roomiest, Fit::Frugal];

/// A solution in the making.
#[derive(Clone)]
struct Draft<'a> {
    program: &'a Program,
    bins: Vec<Bin>,
    holds: Vec<Vec<bool>>,
    tolerances: Vec<f64>,
}

/// The best solution found for a mix, from a handful of orders and levels; adds to `work` what it took.
///
/// `incumbent` is the objective to beat: levels that cannot beat it are not tried.
pub(super) fn construct(program: &Program, mix: &Mix, incumbent: f64, work: &mut u64) -> (f64, Vec<Filled>) {
    let models: Vec<_> = (0..program.weights.len()).collect();
    let bins: Vec<_> = Program::groups(mix).map(|kind| Bin { kind, free: program.capacity(kind) }).collect();
    let relaxation = Relaxation::new(program, &models, &bins);
    let levels = relaxation.levels();
    let most = relaxation.sum_at(0.0).unwrap_or(0.0);
    let mut best = (f64::NEG_INFINITY, Vec::new());
    let mut best_at = 0;
    let attempt_cost = 8 * (models.len() * bins.len()) as u64;
    let attempt = |index: usize, best: &mut (f64, Vec<Filled>), work: &mut u64| {
        let mut met = false;
        for order in ORDERS {
            // With one kind of group the last two are the first two again.
            let fits = if program.kinds.len() == 1 { &FITS[..2] } else { &FITS };
            for &fit in fits {
                *work += attempt_cost;
                let mut draft = Draft::new(program, &bins);
                if draft.meet(levels[index], order, fit) {
                    met = true;
                    draft.fill();
                    draft.polish(levels[index]);
                    let groups = draft.groups();
                    let objective = program.objective(&groups);
                    if exceeds(objective, best.0) || best.1.is_empty() {
                        *best = (objective, groups);
                    }
                }
            }
        }
        met
    };
    // Gallop down to a level that is met (the last one, 0, always is), then walk back up and a little further down.
    let (mut failed, mut index, mut stride) = (None, 0, 1);
    while !attempt(index, &mut best, work) && index + 1 < levels.len() {
        failed = Some(index);
        index = (index + stride).min(levels.len() - 1);
        stride *= 2;
    }
    let promising =
        |index: usize, best: f64| exceeds(levels[index] + super::program::SUM_WEIGHT * most, best.max(incumbent));
    let between = failed.map_or(index, |failed| failed + 1)..index;
    for above in between.rev().take(4 * LEVELS_BELOW) {
        attempt(above, &mut best, work);
    }
    // Further down the sum may gain more than the level loses: in growing steps first, then closing in on the best.
    let (mut below, mut stride) = (index + 1, 1);
    while below < levels.len() && promising(below, best.0) {
        let before = best.0;
        attempt(below, &mut best, work);
        if exceeds(best.0, before) {
            best_at = below;
        }
        stride = if below - index < LEVELS_BELOW { 1 } else { 2 * stride };
        below += stride;
    }
    while best_at > 0 && stride > 1 {
        stride /= 2;
        for near in [best_at.saturating_sub(stride).max(index), best_at + stride] {
            let before = best.0;
            if near < levels.len() {
                attempt(near, &mut best, work);
            }
            if exceeds(best.0, before) {
                best_at = near;
            }
        }
    }
    best
}

impl<'a> Draft<'a> {
    fn new(program: &'a Program, bins: &[Bin]) -> Self {
        let models = program.weights.len();
        Self {
            program,
            bins: bins.to_vec(),
            holds: vec![vec![false; models]; bins.len()],
            tolerances: vec![0.0; models],
        }
    }

    fn put(&mut self, model: usize, bin: usize) {
        self.bins[bin].free -= self.program.weights[model];
        self.holds[bin][model] = true;
        self.tolerances[model] += self.program.values[model][self.bins[bin].kind];
    }

    fn take(&mut self, model: usize, bin: usize) {
        self.bins[bin].free += self.program.weights[model];
        self.holds[bin][model] = false;
        self.tolerances[model] -= self.program.values[model][self.bins[bin].kind];
    }

    fn fits(&self, model: usize, bin: usize) -> bool {
        !self.holds[bin][model] && self.program.weights[model] <= self.bins[bin].free
    }

    /// Gives every model a tolerance of at least `level`, if that works out.
    fn meet(&mut self, level: f64, order: Order, fit: Fit) -> bool {
        let enough = level * (1.0 - 1e-12);
        let largest = |model: usize| self.program.values[model].iter().copied().fold(0.0, f64::max);
        let replicas = |model: usize| level / largest(model).max(f64::MIN_POSITIVE);
        let urgency = |model: usize| match order {
            Order::Weight => (self.program.weights[model] as f64, replicas(model)),
            Order::Replicas => (replicas(model), self.program.weights[model] as f64),
            Order::Bytes => (replicas(model).ceil() * self.program.weights[model] as f64, replicas(model)),
        };
        let mut models: Vec<_> = (0..self.tolerances.len()).collect();
        models.sort_by(|&a, &b| urgency(b).partial_cmp(&urgency(a)).expect("values are finite").then(a.cmp(&b)));
        for model in models {
            while self.tolerances[model] < enough {
                let value = |bin: usize| self.program.values[model][self.bins[bin].kind];
                let missing = enough - self.tolerances[model];
                let rank = |bin: usize| match fit {
                    Fit::Roomiest => (true, 0.0),
                    Fit::Frugal if value(bin) >= missing => (false, value(bin)),
                    Fit::Tightest | Fit::Loosest | Fit::Frugal => (true, -value(bin)),
                };
                let room = |bin: usize| match fit {
                    Fit::Tightest | Fit::Frugal => self.bins[bin].free,
                    Fit::Loosest | Fit::Roomiest => u64::MAX - self.bins[bin].free,
                };
                let open = (0..self.bins.len()).filter(|&bin| self.fits(model, bin) && value(bin) > 0.0);
                let chosen = open.min_by(|&a, &b| {
                    let ((later_a, rank_a), (later_b, rank_b)) = (rank(a), rank(b));
                    let by_rank = later_a.cmp(&later_b).then(rank_a.total_cmp(&rank_b));
                    by_rank.then(room(a).cmp(&room(b))).then(a.cmp(&b))
                });
                let Some(chosen) = chosen else { return false };
                self.put(model, chosen);
            }
        }
        true
    }

    /// Fills the free memory with what adds most per byte.
    fn fill(&mut self) {
        let mut offers: Vec<_> = (0..self.tolerances.len())
            .flat_map(|model| (0..self.program.kinds.len()).map(move |kind| (model, kind)))
            .filter(|&(model, kind)| self.program.values[model][kind] > 0.0)
            .collect();
        let density =
            |&(model, kind): &(usize, usize)| self.program.values[model][kind] / self.program.weights[model] as f64;
        offers.sort_by(|a, b| density(b).total_cmp(&density(a)).then(a.cmp(b)));
        for (model, kind) in offers {
            for bin in 0..self.bins.len() {
                if self.bins[bin].kind == kind && self.fits(model, bin) {
                    self.put(model, bin);
                }
            }
        }
    }

    /// Refills one group after another for the largest sum, without letting any tolerance drop below `level`.
    fn polish(&mut self, level: f64) {
        let enough = level * (1.0 - 1e-12);
        for _ in 0..2 {
            for bin in 0..self.bins.len() {
                self.refill(bin, enough);
            }
        }
    }

    fn refill(&mut self, bin: usize, enough: f64) {
        let values = |model: usize| self.program.values[model][self.bins[bin].kind];
        let free_to_go = |model: usize| !self.holds[bin][model] || self.tolerances[model] - values(model) >= enough;
        let movable: Vec<_> = (0..self.tolerances.len()).filter(|&m| values(m) > 0.0 && free_to_go(m)).collect();
        let held: Vec<_> = movable.iter().copied().filter(|&model| self.holds[bin][model]).collect();
        let room = self.bins[bin].free + held.iter().map(|&model| self.program.weights[model]).sum::<u64>();
        let items: Vec<_> = movable.iter().map(|&model| (values(model), self.program.weights[model])).collect();
        let before: f64 = held.iter().map(|&model| values(model)).sum();
        if let Some(chosen) = super::knapsack::better_than(&items, room, before) {
            for model in held {
                self.take(model, bin);
            }
            for index in chosen {
                self.put(movable[index], bin);
            }
        }
    }

    fn groups(&self) -> Vec<Filled> {
        let filled = |(bin, holds): (&Bin, &Vec<bool>)| Filled {
            kind: bin.kind,
            models: (0..holds.len()).filter(|&model| holds[model]).collect(),
        };
        self.bins.iter().zip(&self.holds).map(filled).collect()
    }
}
