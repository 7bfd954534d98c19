//! Cutting a chain of layers into pipeline stages (the inter-operator pass).
//!
//! Serving wants the *slowest stage* as fast as it can be, for it sets the throughput of the pipe. With
//! `F(s, k)` the smallest possible largest stage when the first `k` layers form `s` stages and `t(i, k)`
//! the time of layers `i..k` as one stage,
//!
//! ```text
//! F(s, k) = min over i of max(F(s - 1, i), t(i, k))
//! ```
//!
//! Only the forward pass runs, and a stage takes as long as its layers together, so one measurement per
//! layer is enough. Source: section 4.1 of AlpaServe (OSDI 2023).
//!
//! **Ties** go to the cut that starts the last stage earliest, then the stage before it, and so on.

use statmux_core::units::{Bytes, Span};
use std::ops::Range;

/// A chain of layers to be cut into stages.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// The time of each layer, in order.
    pub layers: &'a [Span],
    /// What it takes to hand each layer's output on to the next device: the entry of a layer is charged to
    /// the stage that *begins with the layer after it*. Empty means that transfers are free; otherwise one
    /// entry per layer, of which the last is not used.
    pub transfers: &'a [Span],
    /// What a device can hold, if that is to be respected.
    pub memory: Option<StageMemory<'a>>,
}

/// The memory that one device gives to its stage.
#[derive(Clone, Copy, Debug)]
pub struct StageMemory<'a> {
    /// What each layer needs of the device that runs it.
    pub layers: &'a [Bytes],
    /// What a device has.
    pub limit: Bytes,
}

/// Layers cut into stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The layers of each stage, in order; none is empty.
    pub stages: Vec<Range<usize>>,
    /// The time of the slowest stage, the transfer into it included.
    pub slowest: Span,
}

/// Why layers cannot be cut into so many stages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// A stage needs a layer, and a pipeline needs a stage.
    #[error("{layers} layers cannot form {stages} stages of at least one layer each")]
    Stages {
        /// Layers there are.
        layers: usize,
        /// Stages asked for.
        stages: usize,
    },
    /// Even the cut that is kindest to memory exceeds it.
    #[error("{stages} stages need {needed} on one device, whichever way they are cut, but the limit is {limit}")]
    Memory {
        /// Stages asked for.
        stages: usize,
        /// The least that the fullest device must hold.
        needed: Bytes,
        /// What a device has.
        limit: Bytes,
    },
}

/// Cuts the chain into `stages` stages so that the slowest is as fast as it can be.
///
/// # Panics
/// If `transfers` or the memory needs are given for another number of layers.
pub fn cut(chain: &Chain, stages: usize) -> Result<Partition, PartitionError> {
    let layers = chain.layers.len();
    if stages == 0 || stages > layers {
        return Err(PartitionError::Stages { layers, stages });
    }
    let times = StageTimes::new(chain);
    // With free transfers both sides of the maximum are monotone in the cut, which can then be found by halving.
    let found = if chain.transfers.is_empty() { by_halving(&times, stages) } else { by_scan(&times, stages) };
    found.ok_or_else(|| too_large(chain, stages))
}

/// The manual practice: the same number of layers in every stage, the first ones taking one more where it does not divide.
///
/// `None` unless each stage can have a layer.
pub fn equal_layers(layers: usize, stages: usize) -> Option<Vec<Range<usize>>> {
    if stages == 0 || stages > layers {
        return None;
    }
    let starts = |stage: usize| stage * (layers / stages) + stage.min(layers % stages);
    Some((0..stages).map(|stage| starts(stage)..starts(stage + 1)).collect())
}

/// The time of the slowest of `stages`, transfers included.
pub fn slowest(chain: &Chain, stages: &[Range<usize>]) -> Span {
    stages.iter().map(|stage| stage_time(chain, stage)).max().unwrap_or(Span::ZERO)
}

/// The time of one stage, the transfer into it included.
pub fn stage_time(chain: &Chain, stage: &Range<usize>) -> Span {
    let transfer = stage.start.checked_sub(1).and_then(|before| chain.transfers.get(before)).copied();
    chain.layers[stage.clone()].iter().copied().sum::<Span>() + transfer.unwrap_or_default()
}

/// The largest stage a prefix can be cut into; `NEVER` where the limits leave no cut.
type Cost = u64;
const NEVER: Cost = Cost::MAX;

/// Prefix sums that answer the time of any stage at once.
struct StageTimes {
    time_before: Vec<u64>,
    bytes_before: Vec<u64>,
    entry: Vec<u64>,
    limit: u64,
}

impl StageTimes {
    fn new(chain: &Chain) -> Self {
        let layers = chain.layers.len();
        assert!(chain.transfers.is_empty() || chain.transfers.len() == layers, "one transfer per layer");
        let mut entry = vec![0; layers];
        for (entry, transfer) in entry.iter_mut().skip(1).zip(chain.transfers) {
            *entry = transfer.nanos();
        }
        let (bytes_before, limit) = match chain.memory {
            None => (vec![0; layers + 1], u64::MAX),
            Some(memory) => {
                assert_eq!(memory.layers.len(), layers, "one memory need per layer");
                (prefix_sums(memory.layers.iter().map(|bytes| bytes.get())), memory.limit.get())
            }
        };
        Self { time_before: prefix_sums(chain.layers.iter().map(|time| time.nanos())), bytes_before, entry, limit }
    }

    fn layers(&self) -> usize {
        self.entry.len()
    }

    fn stage(&self, start: usize, end: usize) -> Cost {
        if self.bytes_before[end] - self.bytes_before[start] > self.limit {
            return NEVER;
        }
        (self.time_before[end] - self.time_before[start]).saturating_add(self.entry[start]).min(NEVER - 1)
    }
}

fn prefix_sums(values: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut total = 0_u64;
    let mut sums = vec![0];
    sums.extend(values.map(|value| {
        total = total.saturating_add(value);
        total
    }));
    sums
}

/// Fills the table of `F(s, k)` with `best_cut`, which finds the cost and the start of the last stage.
fn fill(
    times: &StageTimes,
    stages: usize,
    best_cut: impl Fn(&[Cost], usize, usize) -> (Cost, usize),
) -> Option<Partition> {
    let layers = times.layers();
    let mut costs: Vec<Cost> = (0..=layers).map(|end| if end == 0 { NEVER } else { times.stage(0, end) }).collect();
    let mut starts = vec![vec![0; layers + 1]];
    for stage in 2..=stages {
        let mut next = vec![NEVER; layers + 1];
        let mut start_of = vec![0; layers + 1];
        for end in stage..=layers {
            (next[end], start_of[end]) = best_cut(&costs, stage, end);
        }
        costs = next;
        starts.push(start_of);
    }
    let slowest = Some(costs[layers]).filter(|&cost| cost != NEVER)?;
    let mut end = layers;
    let mut ranges: Vec<_> = starts
        .iter()
        .rev()
        .map(|start_of| {
            let range = start_of[end]..end;
            end = range.start;
            range
        })
        .collect();
    ranges.reverse();
    Some(Partition { stages: ranges, slowest: Span::from_nanos(slowest) })
}

/// O(stages x layers^2): tries every start of the last stage.
fn by_scan(times: &StageTimes, stages: usize) -> Option<Partition> {
    fill(times, stages, |costs, stage, end| {
        (stage - 1..end)
            .map(|start| (costs[start].max(times.stage(start, end)), start))
            .min()
            .expect("there are at least as many layers as stages")
    })
}

/// O(stages x layers x log layers), for free transfers: the earlier stages only grow with the start of the
/// last stage, the last stage only shrinks, so the best start is where they cross.
fn by_halving(times: &StageTimes, stages: usize) -> Option<Partition> {
    fill(times, stages, |costs, stage, end| {
        let first = stage - 1;
        let crossing = first_where(first, end, |start| costs[start] >= times.stage(start, end));
        // At the crossing the earlier stages decide, just before it the last stage does.
        let after = if crossing < end { (costs[crossing], crossing) } else { (NEVER, crossing) };
        let before = if crossing > first { times.stage(crossing - 1, end) } else { NEVER };
        if before <= after.0 && before != NEVER {
            (before, first_where(first, crossing, |start| times.stage(start, end) <= before))
        } else {
            after
        }
    })
}

/// The first of `from..to` at which `holds`, given that it keeps holding from there on; `to` if none.
fn first_where(from: usize, to: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (from, to);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

fn too_large(chain: &Chain, stages: usize) -> PartitionError {
    let memory = chain.memory.expect("without a memory limit every cut is allowed");
    let sizes: Vec<_> = memory.layers.iter().map(|bytes| Span::from_nanos(bytes.get())).collect();
    let by_size = Chain { layers: &sizes, transfers: &[], memory: None };
    let kindest = cut(&by_size, stages).expect("without a memory limit every cut is allowed");
    PartitionError::Memory { stages, needed: Bytes::new(kindest.slowest.nanos()), limit: memory.limit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(nanos: &[u64]) -> Vec<Span> {
        nanos.iter().copied().map(Span::from_nanos).collect()
    }

    /// Every way to cut `layers` layers into `stages` stages.
    fn all_cuts(layers: usize, stages: usize) -> Vec<Vec<Range<usize>>> {
        if stages == 1 {
            return vec![vec![0..layers; 1]];
        }
        let mut cuts = Vec::new();
        for last in stages - 1..layers {
            for mut head in all_cuts(last, stages - 1) {
                head.push(last..layers);
                cuts.push(head);
            }
        }
        cuts
    }

    fn fits(memory: Option<StageMemory>, stages: &[Range<usize>]) -> bool {
        memory.is_none_or(|memory| {
            stages.iter().all(|stage| memory.layers[stage.clone()].iter().copied().sum::<Bytes>() <= memory.limit)
        })
    }

    /// The documented tie rule: the earliest start of the last stage, then of the one before it.
    fn tie_key(stages: &[Range<usize>]) -> Vec<usize> {
        stages.iter().rev().map(|stage| stage.start).collect()
    }

    proptest! {
        #[test]
        fn the_cut_is_the_best_of_all_cuts(
            layers in prop::collection::vec((0_u64..20, 0_u64..10, 1_u64..8), 1..9),
            stages in 1_usize..6,
            limit in prop::option::of(4_u64..30),
            with_transfers: bool,
        ) {
            let times = spans(&layers.iter().map(|l| l.0).collect::<Vec<_>>());
            let transfers = if with_transfers { spans(&layers.iter().map(|l| l.1).collect::<Vec<_>>()) } else { vec![] };
            let bytes: Vec<_> = layers.iter().map(|l| Bytes::new(l.2)).collect();
            let memory = limit.map(|limit| StageMemory { layers: &bytes, limit: Bytes::new(limit) });
            let chain = Chain { layers: &times, transfers: &transfers, memory };
            let best = if stages > layers.len() { None } else {
                all_cuts(layers.len(), stages).into_iter().filter(|cut| fits(memory, cut)).map(|cut| slowest(&chain, &cut)).min()
            };
            match (cut(&chain, stages), best) {
                (Ok(found), Some(best)) => {
                    prop_assert_eq!(found.slowest, best);
                    prop_assert_eq!(slowest(&chain, &found.stages), best);
                    prop_assert!(fits(memory, &found.stages));
                    prop_assert_eq!(found.stages.len(), stages);
                }
                (Err(_), None) => {}
                (found, best) => prop_assert!(false, "{:?} against {:?}", found, best),
            }
        }

        #[test]
        fn halving_and_scanning_find_the_same_cut(
            layers in prop::collection::vec((0_u64..9, 1_u64..8), 1..40),
            stages in 1_usize..9,
            limit in prop::option::of(8_u64..60),
        ) {
            prop_assume!(stages <= layers.len());
            let times = spans(&layers.iter().map(|l| l.0).collect::<Vec<_>>());
            let bytes: Vec<_> = layers.iter().map(|l| Bytes::new(l.1)).collect();
            let memory = limit.map(|limit| StageMemory { layers: &bytes, limit: Bytes::new(limit) });
            let times = StageTimes::new(&Chain { layers: &times, transfers: &[], memory });
            prop_assert_eq!(by_halving(&times, stages), by_scan(&times, stages));
        }

        #[test]
        fn the_cut_is_never_slower_than_equal_layers(layers in prop::collection::vec(0_u64..1000, 1..30), stages in 1_usize..9) {
            prop_assume!(stages <= layers.len());
            let times = spans(&layers);
            let chain = Chain { layers: &times, transfers: &[], memory: None };
            let equal = equal_layers(layers.len(), stages).unwrap();
            prop_assert!(cut(&chain, stages).unwrap().slowest <= slowest(&chain, &equal));
        }
    }

    #[test]
    fn ties_go_to_the_earliest_last_stage() {
        let times = spans(&[1; 6]);
        let chain = Chain { layers: &times, transfers: &[], memory: None };
        let found = cut(&chain, 4).unwrap().stages;
        assert_eq!(found, [0..1, 1..2, 2..4, 4..6]);
        let earliest =
            all_cuts(6, 4).into_iter().filter(|cut| slowest(&chain, cut).nanos() == 2).min_by_key(|c| tie_key(c));
        assert_eq!(Some(found), earliest);
    }

    #[test]
    fn a_heavy_head_gets_a_stage_to_itself() {
        let times = spans(&[9, 3, 3, 3, 3, 3, 3, 9]);
        let chain = Chain { layers: &times, transfers: &[], memory: None };
        assert_eq!(cut(&chain, 4).unwrap().stages, [0..1, 1..4, 4..7, 7..8]);
        assert_eq!(slowest(&chain, &equal_layers(8, 4).unwrap()), Span::from_nanos(12));
    }

    #[test]
    fn an_impossible_limit_is_named() {
        let times = spans(&[1, 1, 1]);
        let bytes = [5, 6, 7].map(Bytes::new);
        let memory = Some(StageMemory { layers: &bytes, limit: Bytes::new(10) });
        let chain = Chain { layers: &times, transfers: &[], memory };
        let needs = |needed| PartitionError::Memory { stages: 2, needed: Bytes::new(needed), limit: Bytes::new(10) };
        assert_eq!(cut(&chain, 2), Err(needs(11)));
        assert_eq!(cut(&chain, 4), Err(PartitionError::Stages { layers: 3, stages: 4 }));
        assert_eq!(cut(&chain, 0), Err(PartitionError::Stages { layers: 3, stages: 0 }));
    }
}
