//! Which layers form which stage.

use std::ops::Range;

/// Cuts `costs.len()` layers into `stages` runs of at least one layer, so that the costliest stage costs least.
///
/// `before` is added to the first stage (embeddings), `after` to the last (heads). Of equally good cuts the one with
/// the earliest cut points is taken. `None` if there are fewer layers than stages.
pub(crate) fn balance(costs: &[f64], before: f64, after: f64, stages: usize) -> Option<Vec<Range<usize>>> {
    let layers = costs.len();
    if stages == 0 || layers < stages {
        return None;
    }
    let mut sums = vec![0.0];
    sums.extend(costs.iter().scan(0.0, |sum, cost| {
        *sum += cost;
        Some(*sum)
    }));
    let cost = |stage: usize, range: Range<usize>| {
        let ends = if stage == 0 { before } else { 0.0 } + if stage + 1 == stages { after } else { 0.0 };
        sums[range.end] - sums[range.start] + ends
    };
    // best[s][e]: the least possible cost of the costliest of stages 0..=s if they take layers 0..e; and where
    // stage s then begins.
    let mut best = vec![vec![(f64::INFINITY, 0); layers + 1]; stages];
    for stage in 0..stages {
        for end in stage + 1..=layers - (stages - 1 - stage) {
            best[stage][end] = if stage == 0 {
                (cost(0, 0..end), 0)
            } else {
                (stage..end)
                    .map(|start| (best[stage - 1][start].0.max(cost(stage, start..end)), start))
                    .reduce(|best, next| if next.0 < best.0 { next } else { best })
                    .expect("a stage takes at least one layer")
            };
        }
    }
    let mut ranges = Vec::with_capacity(stages);
    let mut end = layers;
    for stage in (0..stages).rev() {
        let start = best[stage][end].1;
        ranges.push(start..end);
        end = start;
    }
    ranges.reverse();
    Some(ranges)
}

/// The stages that `cuts` make of `layers` layers: each cut is the first layer of the next stage.
///
/// `None` unless they increase strictly and lie strictly inside.
pub(crate) fn from_cuts(cuts: &[usize], layers: usize) -> Option<Vec<Range<usize>>> {
    let mut ends = vec![0];
    ends.extend_from_slice(cuts);
    ends.push(layers);
    ends.windows(2).map(|pair| (pair[0] < pair[1]).then_some(pair[0]..pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ends_count() {
        assert_eq!(balance(&[1.0; 12], 0.0, 0.0, 4), Some(vec![0..3, 3..6, 6..9, 9..12]));
        assert_eq!(balance(&[1.0; 12], 0.0, 5.0, 2), Some(vec![0..8, 8..12]));
        assert_eq!(balance(&[1.0, 1.0], 0.0, 0.0, 3), None);
        assert_eq!(from_cuts(&[3, 4], 6), Some(vec![0..3, 3..4, 4..6]));
        assert_eq!(from_cuts(&[3, 3], 6), None);
        assert_eq!(from_cuts(&[6], 6), None);
        assert_eq!(from_cuts(&[], 6).map(|stages| stages.len()), Some(1));
    }

    proptest! {
        #[test]
        fn no_cut_is_better(costs in prop::collection::vec(0.0f64..10.0, 3..9), before in 0.0f64..10.0, after in 0.0f64..10.0) {
            let worst = |stages: &[Range<usize>]| {
                let mut sums: Vec<f64> = stages.iter().map(|range| costs[range.clone()].iter().sum()).collect();
                sums[0] += before;
                *sums.last_mut().expect("three stages") += after;
                sums.into_iter().fold(0.0, f64::max)
            };
            let found = worst(&balance(&costs, before, after, 3).expect("enough layers"));
            for first in 1..costs.len() - 1 {
                for second in first + 1..costs.len() {
                    let other = worst(&from_cuts(&[first, second], costs.len()).expect("cuts increase"));
                    prop_assert!(found <= other + 1e-9);
                }
            }
        }
    }
}
