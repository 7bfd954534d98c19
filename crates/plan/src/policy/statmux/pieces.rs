//! The traffic that candidates are judged on: pieces of the train window, as recorded and shuffled.
//!
//! The requests a placement will meet are not those of the train window. What carries over is how much each model
//! is asked for and how its requests cluster; which bursts of different models meet does not, and what is asked for
//! drifts. So half of the pieces are the train window with every model's requests turned around the clock by a span
//! of its own and a few requests given to any model at all. Where plans miss next to nothing, more of such requests
//! on top tell the good from the better.

use super::dice::Dice;
use statmux_core::{ModelId, Span, Time, Workload};

/// What is made of a train window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    /// Requests of all pieces together, at most; what is put on top not counted.
    pub(super) requests: usize,
    /// Pieces of the window as recorded, and as many shuffled.
    pub(super) each: usize,
    /// The share of shuffled requests that go to any model.
    pub(super) drift: f64,
    /// Requests put on top, as a multiple of the window's.
    pub(super) extra: f64,
}

impl Recipe {
    /// Pieces of `train`, recorded and shuffled in turn.
    pub(super) fn pieces(&self, train: &Workload, models: usize, dice: &mut Dice) -> Vec<Workload> {
        if train.is_empty() {
            return Vec::new();
        }
        let plain = self.with_extra(train.clone(), train, models, dice);
        let shuffled = self.shuffled(train, models, 1.0, dice);
        let shuffled = self.with_extra(shuffled, train, models, dice);
        let wanted = (self.requests as f64 * (1.0 + self.extra) / (2 * self.each) as f64) as usize;
        let size = wanted.min(plain.len().div_ceil(self.each)).max(1);
        let mut pieces = Vec::with_capacity(2 * self.each);
        for number in 0..self.each {
            for workload in [&plain, &shuffled] {
                let from = slice_start(workload.len(), size, number, self.each);
                pieces.push(workload.slice(from..(from + size).min(workload.len())));
            }
        }
        pieces
    }

    fn with_extra(&self, workload: Workload, train: &Workload, models: usize, dice: &mut Dice) -> Workload {
        let mut all = workload;
        let mut left = self.extra;
        while left > 0.0 {
            all = merge(&all, &self.shuffled(train, models, left.min(1.0), dice));
            left -= 1.0;
        }
        all
    }

    /// A `share` of the requests of `train`, each model's turned around the clock by a span of its own, some of
    /// them given to any model.
    fn shuffled(&self, train: &Workload, models: usize, share: f64, dice: &mut Dice) -> Workload {
        let last = train.arrived.last().copied().unwrap_or_default().since(Time::ZERO);
        let duration = train.duration.max(last + Span::from_nanos(1)).nanos();
        let offsets: Vec<u64> = (0..models).map(|_| (dice.share() * duration as f64) as u64).collect();
        let mut rows: Vec<(u64, usize, ModelId)> = Vec::with_capacity(train.len());
        for (row, (&arrived, &model)) in train.arrived.iter().zip(&train.model).enumerate() {
            if share < 1.0 && dice.share() >= share {
                continue;
            }
            let at = (arrived.nanos() + offsets[model.index()]) % duration;
            let model = if dice.share() < self.drift { ModelId::from_index(dice.below(models)) } else { model };
            rows.push((at, row, model));
        }
        rows.sort_unstable();
        Workload {
            arrived: rows.iter().map(|&(at, ..)| Time::from_nanos(at)).collect(),
            model: rows.iter().map(|&(_, _, model)| model).collect(),
            slo: if train.slo.is_empty() {
                Vec::new()
            } else {
                rows.iter().map(|&(_, row, _)| train.slo[row]).collect()
            },
            lengths: Vec::new(),
            duration: train.duration,
        }
    }
}

/// Where the `number`-th of `each` slices of `size` begins, spread evenly over `len` requests.
fn slice_start(len: usize, size: usize, number: usize, each: usize) -> usize {
    if each <= 1 { 0 } else { (len.saturating_sub(size)) * number / (each - 1) }
}

/// The requests of both, in order of arrival; those of `a` first where they arrive together.
fn merge(a: &Workload, b: &Workload) -> Workload {
    let from = |workload: &Workload, which: usize| -> Vec<(Time, usize, usize)> {
        workload.arrived.iter().enumerate().map(|(row, &at)| (at, which, row)).collect()
    };
    let mut rows = from(a, 0);
    rows.extend(from(b, 1));
    rows.sort_unstable();
    let of = |which: usize| if which == 0 { a } else { b };
    Workload {
        arrived: rows.iter().map(|&(at, ..)| at).collect(),
        model: rows.iter().map(|&(_, which, row)| of(which).model[row]).collect(),
        slo: if a.slo.is_empty() {
            Vec::new()
        } else {
            rows.iter().map(|&(_, which, row)| of(which).slo[row]).collect()
        },
        lengths: Vec::new(),
        duration: a.duration,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statmux_core::Seed;

    fn train() -> Workload {
        Workload {
            arrived: (0..100).map(|n| Time::from_nanos(n * n)).collect(),
            model: (0..100).map(|n| ModelId(n % 3)).collect(),
            duration: Span::from_nanos(12_000),
            ..Workload::default()
        }
    }

    #[test]
    fn pieces_hold_the_train_window_once_as_it_is_and_once_turned() {
        let train = train();
        let recipe = Recipe { requests: 1000, each: 2, drift: 0.0, extra: 0.0 };
        let pieces = recipe.pieces(&train, 3, &mut Dice::new(Seed(0)));
        assert_eq!(pieces.iter().map(Workload::len).collect::<Vec<_>>(), [50; 4]);
        assert_eq!(pieces[0], train.slice(0..50));
        assert_eq!(pieces[2], train.slice(50..100));
        let counts = |a: &Workload, b: &Workload| -> Vec<u64> {
            a.counts(3).into_iter().zip(b.counts(3)).map(|(a, b)| a + b).collect()
        };
        assert_eq!(counts(&pieces[1], &pieces[3]), train.counts(3));
        assert!(pieces.iter().all(Workload::is_well_formed));
    }

    #[test]
    fn extra_requests_come_on_top() {
        let recipe = Recipe { requests: 1000, each: 1, drift: 0.2, extra: 1.5 };
        let pieces = recipe.pieces(&train(), 5, &mut Dice::new(Seed(0)));
        assert!(pieces.iter().all(|piece| piece.is_well_formed() && (230..270).contains(&piece.len())));
        assert!(pieces[1].counts(5)[4] > 0);
    }
}
