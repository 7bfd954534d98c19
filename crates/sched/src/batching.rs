//! Which waiting requests run together.

use crate::queue::Queue;
use statmux_core::{Request, Time};

/// Positions in `queue` of the most urgent requests that `fits` says may run together, from `first` on, at most
/// `limit`.
pub(crate) fn companions(queue: &Queue, first: usize, limit: usize, fits: impl Fn(&Request) -> bool) -> Vec<usize> {
    (first..queue.len()).filter(|&i| queue.get(i).is_some_and(|(_, request)| fits(request))).take(limit).collect()
}

/// The row of the largest batch for which every member still makes its deadline.
///
/// `sizes` are (row, size) pairs in increasing size; `deadlines` are those of the candidates in order;
/// `finish(row)` is when a batch of that row would be answered. Growth stops at the first size that fails, and
/// batches are never padded: only sizes that were measured run.
pub fn largest_in_time(
    sizes: impl IntoIterator<Item = (usize, usize)>,
    deadlines: &[Time],
    mut finish: impl FnMut(usize) -> Time,
) -> Option<(usize, usize)> {
    let mut best = None;
    let mut tightest = Time::NEVER;
    let mut checked = 0;
    for (row, size) in sizes {
        if size > deadlines.len() {
            break;
        }
        tightest = deadlines[checked..size].iter().copied().fold(tightest, Time::min);
        checked = size;
        if tightest != Time::NEVER && finish(row) > tightest {
            break;
        }
        best = Some((row, size));
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_while_all_deadlines_hold() {
        let sizes = [(0, 1), (1, 2), (2, 4)];
        let finish = |row: usize| Time::from_nanos([10, 15, 30][row]);
        let check = |deadlines: &[u64], expected| {
            let deadlines: Vec<_> = deadlines.iter().copied().map(Time::from_nanos).collect();
            assert_eq!(largest_in_time(sizes, &deadlines, finish), expected);
        };
        check(&[100, 100, 100, 100], Some((2, 4)));
        check(&[100, 100, 100], Some((1, 2)));
        check(&[100, 14, 100, 100], Some((0, 1)));
        check(&[100, 100, 20, 100], Some((1, 2)));
        check(&[9, 100], None);
    }
}
