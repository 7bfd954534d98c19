//! Exact search, one model after the other.
//!
//! Groups of one kind with equally much free memory are alike for all models still to come, so a partial
//! solution is only how many groups of each kind have how much left, plus the smallest tolerance and the
//! sum so far. Equal ones are merged, worse ones and those whose bound cannot beat the best known are
//! dropped. If more remain than `width`, the least promising are dropped too, and the sweep is no longer
//! exact: the best bound among them then bounds what was missed.

use super::capacity::UsableMemory;
use super::program::{Filled, Mix, Program, SUM_WEIGHT, exceeds};
use super::relaxation::{Bin, Relaxation};
use std::collections::BTreeMap;

/// Ways to place one model that are looked at before only the tightest and loosest fits are.
const MOST_WAYS: usize = 256;

/// What a partial solution costs, in pairs looked at, apart from its bound.
const NODE_WORK: u64 = 64;

/// What a sweep found.
pub(super) struct Swept {
    /// The best solution found that beats the incumbent.
    pub(super) best: Option<(f64, Vec<Filled>)>,
    /// No solution of this mix has a larger objective than this or the best known one.
    pub(super) missed: f64,
}

/// How much may be spent; shared by all sweeps of a solve.
pub(super) struct Spending<'a> {
    /// Pairs of a model and a group that may still be looked at.
    pub(super) work: u64,
    /// Whether the wall clock has run out.
    pub(super) expired: &'a dyn Fn() -> bool,
}

#[derive(Clone)]
struct State {
    /// In increasing order.
    bins: Vec<Bin>,
    least: f64,
    sum: f64,
    /// The largest objective it may lead to.
    bound: f64,
    /// Where it came from: the index of the parent in its layer, and the bins its last model went to.
    parent: usize,
    chosen: Vec<(Bin, u32)>,
}

/// Sweeps over all models for one mix, keeping at most `width` partial solutions.
pub(super) fn sweep(program: &Program, mix: &Mix, incumbent: f64, width: usize, spending: &mut Spending) -> Swept {
    let mut order: Vec<_> = (0..program.weights.len()).collect();
    order.sort_by_key(|&model| (std::cmp::Reverse(program.weights[model]), model));
    let weights: Vec<_> = order.iter().map(|&model| program.weights[model]).collect();
    let largest = (0..mix.len()).filter(|&kind| mix[kind] > 0).map(|kind| program.capacity(kind)).max().unwrap_or(0);
    let usable = UsableMemory::new(&weights, largest);
    let settle = |mut bins: Vec<Bin>, position: usize| {
        bins.iter_mut().for_each(|bin| bin.free = usable.of(bin.free, position));
        bins.sort_unstable();
        bins
    };
    let start = Program::groups(mix).map(|kind| Bin { kind, free: program.capacity(kind) }).collect();
    let first = State {
        bins: settle(start, 0),
        least: f64::INFINITY,
        sum: 0.0,
        bound: f64::INFINITY,
        parent: 0,
        chosen: Vec::new(),
    };
    let mut missed = f64::NEG_INFINITY;
    let mut layers = vec![vec![first]];
    for (position, &model) in order.iter().enumerate() {
        let mut merged: BTreeMap<Vec<Bin>, Vec<State>> = BTreeMap::new();
        for (parent, state) in layers.last().expect("starts with one layer").iter().enumerate() {
            if spending.work == 0 || (spending.expired)() {
                missed = missed.max(state.bound);
                continue;
            }
            let (ways, all) = ways(program, model, &state.bins);
            if !all {
                missed = missed.max(state.bound);
            }
            spending.work = spending.work.saturating_sub((ways.len() * state.bins.len()) as u64);
            for chosen in ways {
                let next = state.with(program, model, parent, chosen);
                let next = State { bins: settle(next.bins, position + 1), ..next };
                insert(merged.entry(next.bins.clone()).or_default(), next);
            }
        }
        let mut layer = Vec::new();
        let rest = &order[position + 1..];
        for mut state in merged.into_values().flatten() {
            spending.work = spending.work.saturating_sub((rest.len() * state.bins.len()) as u64 + NODE_WORK);
            let parent_bound = layers[position][state.parent].bound;
            if (spending.expired)() {
                missed = missed.max(parent_bound);
                continue;
            }
            state.bound = Relaxation::new(program, rest, &state.bins).bound(state.least, state.sum).min(parent_bound);
            if exceeds(state.bound, incumbent) {
                layer.push(state);
            }
        }
        layer.sort_by(|a, b| b.bound.total_cmp(&a.bound).then_with(|| b.sum.total_cmp(&a.sum)));
        if let Some(dropped) = layer.get(width) {
            missed = missed.max(dropped.bound);
            layer.truncate(width);
        }
        layers.push(layer);
    }
    let best = layers.last().and_then(|layer| layer.first()).map(|_| {
        let groups = replay(program, mix, &order, &layers, &usable);
        (program.objective(&groups), groups)
    });
    Swept { best, missed }
}

impl State {
    fn with(&self, program: &Program, model: usize, parent: usize, chosen: Vec<(Bin, u32)>) -> Self {
        let mut bins = self.bins.clone();
        let mut tolerance = 0.0;
        for &(bin, count) in &chosen {
            let first = bins.partition_point(|&other| other < bin);
            tolerance += f64::from(count) * program.values[model][bin.kind];
            bins[first..first + count as usize].iter_mut().for_each(|bin| bin.free -= program.weights[model]);
            bins.sort_unstable();
        }
        Self { bins, least: self.least.min(tolerance), sum: self.sum + tolerance, bound: f64::INFINITY, parent, chosen }
    }
}

/// Adds a state to those with the same bins, unless one of them is at least as good in both respects.
fn insert(states: &mut Vec<State>, state: State) {
    if states.iter().all(|other| other.least < state.least || other.sum < state.sum) {
        states.retain(|other| other.least > state.least || other.sum > state.sum);
        states.push(state);
    }
}

/// The ways to put a model on groups, as how many of each sort of bin; and whether these are all ways.
///
/// Sorts come fullest first within a kind, and no bin appears in two of them.
fn ways(program: &Program, model: usize, bins: &[Bin]) -> (Vec<Vec<(Bin, u32)>>, bool) {
    let mut sorts: Vec<(Bin, u32)> = Vec::new();
    for &bin in bins.iter().filter(|b| b.free >= program.weights[model] && program.values[model][b.kind] > 0.0) {
        match sorts.last_mut() {
            Some((last, count)) if *last == bin => *count += 1,
            _ => sorts.push((bin, 1)),
        }
    }
    let number = sorts.iter().try_fold(1_usize, |product, &(_, count)| product.checked_mul(count as usize + 1));
    if number.is_some_and(|number| number <= MOST_WAYS) {
        let extend = |ways: Vec<Vec<(Bin, u32)>>, &(bin, most): &(Bin, u32)| {
            let longer = |way: Vec<(Bin, u32)>| {
                (0..=most).map(move |count| {
                    let mut way = way.clone();
                    way.extend((count > 0).then_some((bin, count)));
                    way
                })
            };
            ways.into_iter().flat_map(longer).collect()
        };
        return (sorts.iter().fold(vec![Vec::new()], extend), true);
    }
    // Too many: for each number of replicas the best kinds first, into the fullest or the emptiest groups.
    let mut few = vec![Vec::new()];
    let value = |bin: &Bin| program.values[model][bin.kind];
    for loosest in [false, true] {
        let mut order = sorts.clone();
        order.sort_by(|(a, _), (b, _)| {
            let by_room = if loosest { b.free.cmp(&a.free) } else { a.free.cmp(&b.free) };
            value(b).total_cmp(&value(a)).then(by_room).then(a.kind.cmp(&b.kind))
        });
        let mut way: Vec<(Bin, u32)> = Vec::new();
        for (bin, most) in order {
            way.push((bin, 0));
            for count in 1..=most {
                way.last_mut().expect("was just pushed").1 = count;
                few.push(way.clone());
            }
        }
    }
    (few, false)
}

/// Carries out the choices that led to the best final state.
fn replay(program: &Program, mix: &Mix, order: &[usize], layers: &[Vec<State>], usable: &UsableMemory) -> Vec<Filled> {
    let final_layer = &layers[order.len()];
    let objective = |state: &State| state.least + SUM_WEIGHT * state.sum;
    let mut at = (0..final_layer.len())
        .rev()
        .max_by(|&a, &b| objective(&final_layer[a]).total_cmp(&objective(&final_layer[b])))
        .expect("there is a final state");
    let mut choices = Vec::new();
    for layer in layers[1..].iter().rev() {
        choices.push(&layer[at].chosen);
        at = layer[at].parent;
    }
    let mut groups: Vec<_> = Program::groups(mix).map(|kind| Filled { kind, models: Vec::new() }).collect();
    let mut free: Vec<_> = groups.iter().map(|group| usable.of(program.capacity(group.kind), 0)).collect();
    for (position, (&model, chosen)) in order.iter().zip(choices.iter().rev()).enumerate() {
        let before = free.clone();
        for &(bin, count) in *chosen {
            let alike = (0..groups.len()).filter(|&g| groups[g].kind == bin.kind && before[g] == bin.free);
            for group in alike.take(count as usize).collect::<Vec<_>>() {
                groups[group].models.push(model);
                free[group] -= program.weights[model];
            }
        }
        free.iter_mut().for_each(|free| *free = usable.of(*free, position + 1));
    }
    groups.iter_mut().for_each(|group| group.models.sort_unstable());
    groups
}
