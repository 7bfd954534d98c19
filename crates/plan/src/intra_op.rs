//! Splitting the operators of a layer over the devices of a stage (the intra-operator pass).
//!
//! Each operator of a chain runs replicated, by columns or by rows. What it leaves behind (a full copy
//! on each device, a slice on each, or partial sums on each) may not be what the next one wants; the
//! conversion in between costs time on the links. [`cheapest`] finds the assignment with the least
//! compute plus communication, optionally under a memory limit, exactly: dynamic programming over the
//! layouts, with one label per pair of time and memory that no other label beats.
//!
//! For a transformer this finds what Megatron-LM (arXiv 1909.08053) does by hand: columns, then rows,
//! and two all-reduces per layer. Splitting the batch is left out on purpose: replicas are the business
//! of placement.

use statmux_core::units::{Bytes, Span};

/// One operator of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its name in messages.
    pub name: String,
    /// In which ways it may be split.
    pub kind: OperatorKind,
    /// Its time on one device.
    pub compute: Span,
    /// Its weights, all of them.
    pub weights: Bytes,
    /// Its output, all of it.
    pub output: Bytes,
    /// It can be split over any number of devices that divides this one: heads, columns. 1 means not at all.
    pub splits: u32,
}

/// In which ways an operator may be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorKind {
    /// A product with a weight matrix: replicated, by columns or by rows.
    Product,
    /// Works on each slice alone (activation functions, attention by heads): replicated, or on slices.
    Local,
    /// Needs the whole of its input (normalisation, adding the residual): replicated only.
    Whole,
}

/// How one operator is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// Every device does all of it.
    Replicated,
    /// Each device has some columns: takes the whole input, leaves a slice of the output.
    Column,
    /// Each device has some rows: takes a slice of the input, leaves partial sums of the output.
    Row,
    /// Each device works on its slice (for [`OperatorKind::Local`]).
    Slice,
}

/// What moves between two operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// The layouts agree.
    None,
    /// Every device keeps its slice of what it has; nothing moves.
    Scatter,
    /// Slices become full copies.
    AllGather,
    /// Partial sums become slices.
    ReduceScatter,
    /// Partial sums become full copies.
    AllReduce,
}

impl Conversion {
    /// Whether anything crosses the links.
    pub fn moves(self) -> bool {
        !matches!(self, Self::None | Self::Scatter)
    }
}

/// The devices of one stage and the links between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mesh {
    /// Devices.
    pub degree: u32,
    /// Bytes per second each device sends to its neighbour in the ring.
    pub bandwidth: f64,
    /// Time of one step around the ring apart from the bytes.
    pub step_latency: Span,
    /// How well a split operator uses its devices: 1 means that `degree` devices take 1/`degree` of the time.
    pub efficiency: f64,
}

/// How each operator is split, and what that costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// One per operator.
    pub strategies: Vec<Strategy>,
    /// What happens before each operator, and last what makes the final output whole again.
    pub conversions: Vec<Conversion>,
    /// Time spent in operators.
    pub compute: Span,
    /// Time spent in conversions.
    pub communication: Span,
    /// Weights on each device.
    pub weights: Bytes,
}

impl Assignment {
    /// Time of the chain.
    pub fn time(&self) -> Span {
        self.compute + self.communication
    }

    /// How many all-reduces it takes.
    pub fn all_reduces(&self) -> usize {
        self.conversions.iter().filter(|&&conversion| conversion == Conversion::AllReduce).count()
    }
}

/// Why no assignment can be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntraOpError {
    /// Even splitting all that can be split needs too much memory.
    #[error("the operators need at least {needed} per device on {degree} devices, but the limit is {limit}")]
    Memory {
        /// The least any assignment needs.
        needed: Bytes,
        /// What a device has.
        limit: Bytes,
        /// Devices.
        degree: u32,
    },
}

/// What an operator leaves on each device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Whole,
    Slice,
    Partial,
}

const LAYOUTS: [Layout; 3] = [Layout::Whole, Layout::Slice, Layout::Partial];

impl Strategy {
    fn takes(self) -> Layout {
        match self {
            Self::Replicated | Self::Column => Layout::Whole,
            Self::Row | Self::Slice => Layout::Slice,
        }
    }

    fn leaves(self) -> Layout {
        match self {
            Self::Replicated => Layout::Whole,
            Self::Column | Self::Slice => Layout::Slice,
            Self::Row => Layout::Partial,
        }
    }
}

impl Operator {
    /// The ways it may be split over `degree` devices; replicated always comes first.
    pub fn strategies(&self, degree: u32) -> &'static [Strategy] {
        match self.kind {
            _ if degree <= 1 || !self.splits.is_multiple_of(degree) => &[Strategy::Replicated],
            OperatorKind::Product => &[Strategy::Replicated, Strategy::Column, Strategy::Row],
            OperatorKind::Local => &[Strategy::Replicated, Strategy::Slice],
            OperatorKind::Whole => &[Strategy::Replicated],
        }
    }

    fn compute(&self, strategy: Strategy, mesh: &Mesh) -> Span {
        match strategy {
            Strategy::Replicated => self.compute,
            _ => self.compute.scale(1.0 / (f64::from(mesh.degree) * mesh.efficiency)),
        }
    }

    fn weights(&self, strategy: Strategy, mesh: &Mesh) -> Bytes {
        match strategy {
            Strategy::Replicated => self.weights,
            _ => Bytes::new(self.weights.get().div_ceil(u64::from(mesh.degree))),
        }
    }
}

impl Mesh {
    /// The time of a conversion of `bytes` (the size of the whole tensor) around the ring.
    ///
    /// An all-reduce takes `2(t-1)/t x bytes / bandwidth + 2(t-1) x latency`; gathering and reducing to
    /// slices are its two halves.
    pub fn conversion(&self, conversion: Conversion, bytes: Bytes) -> Span {
        let steps = u64::from(self.degree.saturating_sub(1));
        let half = Span::from_seconds(steps as f64 / f64::from(self.degree) * bytes.get() as f64 / self.bandwidth)
            .unwrap_or(Span::MAX)
            + self.step_latency * steps;
        match conversion {
            Conversion::None | Conversion::Scatter => Span::ZERO,
            Conversion::AllGather | Conversion::ReduceScatter => half,
            Conversion::AllReduce => half * 2,
        }
    }
}

fn convert(from: Layout, to: Layout) -> Conversion {
    match (from, to) {
        (Layout::Whole, Layout::Whole) | (Layout::Slice, Layout::Slice) => Conversion::None,
        (Layout::Whole, Layout::Slice) => Conversion::Scatter,
        (Layout::Slice, Layout::Whole) => Conversion::AllGather,
        (Layout::Partial, Layout::Slice) => Conversion::ReduceScatter,
        (Layout::Partial, Layout::Whole) => Conversion::AllReduce,
        (_, Layout::Partial) => unreachable!("no operator takes partial sums"),
    }
}

/// One way to reach a layout after some operators that no other way beats in both time and memory.
#[derive(Clone, Debug)]
struct Label {
    time: Span,
    weights: Bytes,
    moves: u32,
    strategies: Vec<Strategy>,
}

/// The fastest assignment whose weights fit in `memory`; input and output of the chain are full copies.
///
/// Ties go to less memory, then to fewer conversions that move data (one all-reduce rather than two
/// gathers), then to the strategies that come first in [`Strategy`], first operator first.
pub fn cheapest(operators: &[Operator], mesh: &Mesh, memory: Option<Bytes>) -> Result<Assignment, IntraOpError> {
    let limit = memory.unwrap_or(Bytes::new(u64::MAX));
    let start = Label { time: Span::ZERO, weights: Bytes::ZERO, moves: 0, strategies: Vec::new() };
    let mut labels = [vec![start], vec![], vec![]];
    let mut before = Bytes::ZERO;
    for operator in operators {
        let mut next = [vec![], vec![], vec![]];
        for &strategy in operator.strategies(mesh.degree) {
            for (&layout, labels) in LAYOUTS.iter().zip(&labels) {
                let conversion = convert(layout, strategy.takes());
                let converting = mesh.conversion(conversion, before);
                for label in labels {
                    let mut label = label.clone();
                    label.time += converting + operator.compute(strategy, mesh);
                    label.weights += operator.weights(strategy, mesh);
                    label.moves += u32::from(conversion.moves());
                    label.strategies.push(strategy);
                    if label.weights <= limit {
                        next[strategy.leaves() as usize].push(label);
                    }
                }
            }
        }
        labels = next.map(undominated);
        if memory.is_none() {
            // The fastest way to a layout stays it, whatever follows.
            labels.iter_mut().for_each(|labels| labels.truncate(1));
        }
        before = operator.output;
    }
    let finished = LAYOUTS.iter().zip(labels).flat_map(|(&layout, labels)| {
        let conversion = convert(layout, Layout::Whole);
        let converting = mesh.conversion(conversion, before);
        labels.into_iter().map(move |label| Label {
            time: label.time + converting,
            moves: label.moves + u32::from(conversion.moves()),
            ..label
        })
    });
    undominated(finished.collect())
        .first()
        .map(|label| cost(operators, mesh, &label.strategies))
        .ok_or_else(|| IntraOpError::Memory { needed: least_weights(operators, mesh), limit, degree: mesh.degree })
}

/// What a given choice of strategies costs.
///
/// # Panics
/// If there is not exactly one strategy per operator.
pub fn cost(operators: &[Operator], mesh: &Mesh, strategies: &[Strategy]) -> Assignment {
    assert_eq!(operators.len(), strategies.len(), "one strategy per operator");
    let mut assignment = Assignment {
        strategies: strategies.to_vec(),
        conversions: Vec::with_capacity(operators.len() + 1),
        compute: Span::ZERO,
        communication: Span::ZERO,
        weights: Bytes::ZERO,
    };
    let (mut layout, mut bytes) = (Layout::Whole, Bytes::ZERO);
    for (operator, &strategy) in operators.iter().zip(strategies) {
        assignment.convert(mesh, convert(layout, strategy.takes()), bytes);
        assignment.compute += operator.compute(strategy, mesh);
        assignment.weights += operator.weights(strategy, mesh);
        (layout, bytes) = (strategy.leaves(), operator.output);
    }
    assignment.convert(mesh, convert(layout, Layout::Whole), bytes);
    assignment
}

impl Assignment {
    fn convert(&mut self, mesh: &Mesh, conversion: Conversion, bytes: Bytes) {
        self.conversions.push(conversion);
        self.communication += mesh.conversion(conversion, bytes);
    }
}

/// Keeps the labels that no other beats in time and memory, fastest first.
fn undominated(mut labels: Vec<Label>) -> Vec<Label> {
    labels
        .sort_by(|a, b| (a.time, a.weights, a.moves, &a.strategies).cmp(&(b.time, b.weights, b.moves, &b.strategies)));
    let mut lightest = None;
    labels.retain(|label| {
        let keeps = lightest.is_none_or(|lightest| label.weights < lightest);
        if keeps {
            lightest = Some(label.weights);
        }
        keeps
    });
    labels
}

fn least_weights(operators: &[Operator], mesh: &Mesh) -> Bytes {
    let least = |operator: &Operator| {
        operator.strategies(mesh.degree).iter().map(|&strategy| operator.weights(strategy, mesh)).min()
    };
    operators.iter().filter_map(least).sum()
}

#[cfg(test)]
mod tests {
    use super::{Strategy, *};
    use proptest::prelude::*;
    use proptest::strategy::Strategy as _;

    fn operator(name: &str, kind: OperatorKind, compute_us: u64, weights: u64, output: u64) -> Operator {
        Operator {
            name: name.to_owned(),
            kind,
            compute: Span::from_nanos(compute_us * 1000),
            weights: Bytes::new(weights),
            output: Bytes::new(output),
            splits: 32,
        }
    }

    fn mesh(degree: u32) -> Mesh {
        Mesh { degree, bandwidth: 130e9, step_latency: Span::from_nanos(5_000), efficiency: 1.0 }
    }

    /// A feed-forward block: hidden size 2560, sequence 2048, 16-bit numbers.
    fn feed_forward() -> Vec<Operator> {
        let hidden = 2 * 2560 * 2048;
        vec![
            operator("norm", OperatorKind::Whole, 20, 0, hidden),
            operator("up", OperatorKind::Product, 2000, 52_428_800, 4 * hidden),
            operator("gelu", OperatorKind::Local, 40, 0, 4 * hidden),
            operator("down", OperatorKind::Product, 2000, 52_428_800, hidden),
            operator("add", OperatorKind::Whole, 20, 0, hidden),
        ]
    }

    fn attention() -> Vec<Operator> {
        let hidden = 2 * 2560 * 2048;
        vec![
            operator("norm", OperatorKind::Whole, 20, 0, hidden),
            operator("qkv", OperatorKind::Product, 1500, 39_321_600, 3 * hidden),
            operator("heads", OperatorKind::Local, 800, 0, hidden),
            operator("out", OperatorKind::Product, 500, 13_107_200, hidden),
            operator("add", OperatorKind::Whole, 20, 0, hidden),
        ]
    }

    #[test]
    fn a_feed_forward_block_goes_by_columns_then_rows_with_one_all_reduce() {
        use Strategy::{Column, Replicated, Row, Slice};
        let found = cheapest(&feed_forward(), &mesh(8), None).unwrap();
        assert_eq!(found.strategies, [Replicated, Column, Slice, Row, Replicated]);
        assert_eq!(found.all_reduces(), 1);
        assert_eq!(found.conversions.iter().filter(|&&c| c != Conversion::None).count(), 1);
        assert_eq!(found.weights, Bytes::new(2 * 52_428_800 / 8));
    }

    #[test]
    fn a_transformer_layer_takes_two_all_reduces_as_in_megatron() {
        let mut layer = attention();
        layer.extend(feed_forward());
        let found = cheapest(&layer, &mesh(8), None).unwrap();
        assert_eq!(found.all_reduces(), 2);
        assert_eq!(found.conversions.iter().filter(|&&c| c != Conversion::None).count(), 2);
    }

    #[test]
    fn the_ring_cost_is_the_published_one() {
        // Sequence 2048, hidden 2560, 16 bit, 32 layers on 8 devices at 130 GB/s: 64 all-reduces take 9.0 ms plus latency.
        let mesh = Mesh { step_latency: Span::ZERO, ..mesh(8) };
        let all = mesh.conversion(Conversion::AllReduce, Bytes::new(10_485_760)) * 64;
        assert!((all.seconds() - 9.0336e-3).abs() < 1e-6, "{all}");
        let latency = self::mesh(8).conversion(Conversion::AllReduce, Bytes::ZERO);
        assert_eq!(latency, Span::from_nanos(14 * 5_000));
        assert_eq!(self::mesh(1).conversion(Conversion::AllReduce, Bytes::new(1 << 30)), Span::ZERO);
    }

    #[test]
    fn slow_links_make_replication_cheaper_until_memory_forbids_it() {
        let slow = Mesh { bandwidth: 1e9, ..mesh(4) };
        let free = cheapest(&feed_forward(), &slow, None).unwrap();
        assert!(free.strategies.iter().all(|&strategy| strategy == Strategy::Replicated));
        let tight = cheapest(&feed_forward(), &slow, Some(Bytes::new(60_000_000))).unwrap();
        assert!(tight.weights <= Bytes::new(60_000_000) && tight.time() > free.time());
        let error = cheapest(&feed_forward(), &slow, Some(Bytes::new(1000))).unwrap_err();
        assert_eq!(error, IntraOpError::Memory { needed: Bytes::new(26_214_400), limit: Bytes::new(1000), degree: 4 });
    }

    #[test]
    fn what_does_not_divide_is_not_split() {
        let mut operators = feed_forward();
        operators.iter_mut().for_each(|operator| operator.splits = 12);
        let found = cheapest(&operators, &mesh(8), None).unwrap();
        assert!(found.strategies.iter().all(|&strategy| strategy == Strategy::Replicated));
    }

    fn any_operator() -> impl proptest::strategy::Strategy<Value = Operator> {
        let kinds = prop::sample::select(vec![OperatorKind::Product, OperatorKind::Local, OperatorKind::Whole]);
        (kinds, 0_u64..400, 0_u64..50, 0_u64..20_000_000, prop::sample::select(vec![1_u32, 4, 8])).prop_map(
            |(kind, compute, weights, output, splits)| Operator {
                splits,
                ..operator("x", kind, compute, weights, output)
            },
        )
    }

    fn all_assignments(operators: &[Operator], degree: u32) -> Vec<Vec<Strategy>> {
        operators.iter().fold(vec![vec![]], |heads, operator| {
            let extend = |head: Vec<Strategy>| {
                operator.strategies(degree).iter().map(move |&strategy| {
                    let mut longer = head.clone();
                    longer.push(strategy);
                    longer
                })
            };
            heads.into_iter().flat_map(extend).collect()
        })
    }

    proptest! {
        #[test]
        fn the_assignment_is_the_best_of_all_assignments(
            operators in prop::collection::vec(any_operator(), 1..7),
            degree in prop::sample::select(vec![1_u32, 2, 4, 8]),
            limit in prop::option::of(0_u64..200),
        ) {
            let mesh = mesh(degree);
            let limit = limit.map(Bytes::new);
            let best = all_assignments(&operators, degree)
                .iter()
                .map(|strategies| cost(&operators, &mesh, strategies))
                .filter(|assignment| limit.is_none_or(|limit| assignment.weights <= limit))
                .min_by_key(|assignment| (assignment.time(), assignment.weights));
            match (cheapest(&operators, &mesh, limit), best) {
                (Ok(found), Some(best)) => {
                    prop_assert_eq!((found.time(), found.weights), (best.time(), best.weights));
                }
                (Err(IntraOpError::Memory { needed, limit, .. }), None) => prop_assert!(needed > limit),
                (found, best) => prop_assert!(false, "{:?} against {:?}", found, best),
            }
        }
    }
}
