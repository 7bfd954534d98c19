//! The best content of a single group, by branch and bound.

use super::program::exceeds;

/// Subsets looked at before the best so far is taken for good.
const MOST_STEPS: u32 = 2000;

/// The items (value, weight) of a subset within `room` that is worth more than `before`, if one is found.
pub(super) fn better_than(items: &[(f64, u64)], room: u64, before: f64) -> Option<Vec<usize>> {
    let mut order: Vec<_> = (0..items.len()).filter(|&item| items[item].1 <= room).collect();
    let density = |item: usize| items[item].0 / items[item].1 as f64;
    order.sort_by(|&a, &b| density(b).total_cmp(&density(a)).then(a.cmp(&b)));
    let mut search = Search { items, order, best: before, chosen: None, path: Vec::new(), steps: 0 };
    search.descend(0, room, 0.0);
    search.chosen
}

struct Search<'a> {
    items: &'a [(f64, u64)],
    order: Vec<usize>,
    best: f64,
    chosen: Option<Vec<usize>>,
    path: Vec<usize>,
    steps: u32,
}

impl Search<'_> {
    fn descend(&mut self, position: usize, room: u64, value: f64) {
        self.steps += 1;
        if exceeds(value, self.best) {
            self.best = value;
            self.chosen = Some(self.path.clone());
        }
        if self.steps > MOST_STEPS || !exceeds(value + self.fraction(position, room), self.best) {
            return;
        }
        let item = self.order[position];
        let (worth, weight) = self.items[item];
        if weight <= room {
            self.path.push(item);
            self.descend(position + 1, room - weight, value + worth);
            self.path.pop();
        }
        self.descend(position + 1, room, value);
    }

    /// What the items from `position` on are worth at most, the last one in part.
    fn fraction(&self, position: usize, mut room: u64) -> f64 {
        let mut worth = 0.0;
        for &item in &self.order[position..] {
            let (value, weight) = self.items[item];
            if weight > room {
                return worth + value * room as f64 / weight as f64;
            }
            room -= weight;
            worth += value;
        }
        worth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_subset_is_found() {
        let items = [(6.0, 5), (4.0, 4), (4.0, 4), (1.0, 0)];
        let mut chosen = better_than(&items, 8, 0.0).unwrap();
        chosen.sort_unstable();
        assert_eq!(chosen, [1, 2, 3]);
        assert_eq!(better_than(&items, 8, 9.0), None);
    }
}
