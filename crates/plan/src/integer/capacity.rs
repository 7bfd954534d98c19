//! Free memory that the models still to come cannot use is as good as gone.
//!
//! Rounding what is free down to the largest sum of weights that could fill it tightens the bound and
//! makes more partial solutions equal.

/// More distinct sums than this are not tabulated; free memory is then left as it is.
const MOST_SUMS: usize = 4096;

/// For each position in an order of models: the sums that the models from there on can make.
pub(super) struct UsableMemory {
    sums: Vec<Option<Vec<u64>>>,
}

impl UsableMemory {
    /// Tabulates sums up to `largest` of `weights`, which are in the order in which models will be placed.
    pub(super) fn new(weights: &[u64], largest: u64) -> Self {
        let mut sums = vec![Some(vec![0_u64])];
        for &weight in weights.iter().rev() {
            let longer = sums.last().and_then(Option::as_ref).and_then(|shorter| {
                let with =
                    shorter.iter().filter_map(|&sum: &u64| sum.checked_add(weight)).filter(|&sum| sum <= largest);
                let mut all: Vec<_> = shorter.iter().copied().chain(with).collect();
                all.sort_unstable();
                all.dedup();
                (all.len() <= MOST_SUMS).then_some(all)
            });
            sums.push(longer);
        }
        sums.reverse();
        Self { sums }
    }

    /// How much of `free` bytes the models from `position` on can fill.
    pub(super) fn of(&self, free: u64, position: usize) -> u64 {
        match &self.sums[position] {
            Some(sums) => sums[sums.partition_point(|&sum| sum <= free) - 1],
            None => free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reachable_sums_are_usable() {
        let usable = UsableMemory::new(&[5, 3, 3], 20);
        let check = |position, free| usable.of(free, position);
        assert_eq!([check(0, 20), check(0, 10), check(0, 7), check(0, 4)], [11, 8, 6, 3]);
        assert_eq!([check(1, 20), check(1, 5), check(3, 20)], [6, 3, 0]);
    }
}
