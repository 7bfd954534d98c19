//! The traffic that candidates are judged on: pieces of the train window, as recorded and drawn anew.
//!
//! The requests a placement will meet are not those of the train window. What carries over is how much each model
//! is asked for and how its requests cluster; which bursts of different models meet does not, and what is asked for
//! drifts. So half of the pieces are drawn anew: the window is cut into spans, every model's requests of a span are
//! those of any span, drawn for each model by itself (a block bootstrap), some models trade their requests, and a
//! few requests go to any model at all. Models whose requests come in few bursts so get more or fewer of them, as
//! they will. Where plans miss next to nothing, more of such requests on top tell the good from the better.

use super::dice::Dice;
use statmux_core::{ModelId, Span, Time, Workload};

/// What is made of a train window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    /// Requests of all pieces together, at most; what is put on top not counted.
    pub(super) requests: usize,
    /// Pieces of the window as recorded, and as many drawn anew.
    pub(super) each: usize,
    /// The share of requests drawn anew that go to any model.
    pub(super) drift: f64,
    /// The share of models that trade their requests.
    pub(super) trades: f64,
    /// Requests put on top, as a multiple of the window's.
    pub(super) extra: f64,
}

/// Spans that a window is cut into to be drawn anew.
const SPANS: u64 = 8;

/// A window with more than this many times the requests that are judged is cut to it before it is drawn anew.
const ENOUGH_TO_DRAW_FROM: usize = 16;

impl Recipe {
    /// Pieces of `train`, recorded and drawn anew in turn.
    pub(super) fn pieces(&self, train: &Workload, models: usize, dice: &mut Dice) -> Vec<Workload> {
        if train.is_empty() {
            return Vec::new();
        }
        let most = self.requests.saturating_mul(ENOUGH_TO_DRAW_FROM);
        let cut = (train.len() > most).then(|| train.slice(train.len() - most..train.len()));
        let train = cut.as_ref().unwrap_or(train);
        let plain = self.with_extra(train.clone(), train, models, dice);
        let anew = self.anew(train, models, 1.0, dice);
        let anew = self.with_extra(anew, train, models, dice);
        let wanted = (self.requests as f64 * (1.0 + self.extra) / (2 * self.each) as f64) as usize;
        let mut pieces = Vec::with_capacity(2 * self.each);
        for number in 0..self.each {
            for workload in [&plain, &anew] {
                let size = wanted.min(workload.len().div_ceil(self.each)).max(1);
                let from = slice_start(workload.len(), size, number, self.each);
                pieces.push(workload.slice(from..(from + size).min(workload.len())));
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    fn with_extra(&self, workload: Workload, train: &Workload, models: usize, dice: &mut Dice) -> Workload {
        let mut all = workload;
        let mut left = self.extra;
        while left > 0.0 {
            all = merge(&all, &self.anew(train, models, left.min(1.0), dice));
            left -= 1.0;
        }
        all
    }

    /// About a `share` of the requests of `train`, drawn anew.
    fn anew(&self, train: &Workload, models: usize, share: f64, dice: &mut Dice) -> Workload {
        let first = train.arrived[0];
        let last = train.arrived.last().copied().unwrap_or_default().since(first);
        let whole = if first == Time::ZERO { train.duration } else { Span::ZERO };
        let span = whole.max(last + Span::from_nanos(1)).nanos().div_ceil(SPANS);
        let spans_to = self.draw_spans(models, dice);
        let stands_for = self.trade(models, dice);
        let mut rows: Vec<(u64, usize, ModelId)> = Vec::with_capacity(train.len());
        for (row, (&arrived, &model)) in train.arrived.iter().zip(&train.model).enumerate() {
            let at = arrived.since(first).nanos();
            for &to in &spans_to[model.index() * SPANS as usize + (at / span) as usize] {
                if share < 1.0 && dice.share() >= share {
                    continue;
                }
                let any = self.drift > 0.0 && dice.share() < self.drift;
                let model = if any { dice.below(models) } else { stands_for[model.index()] };
                rows.push((to * span + at % span, row, ModelId::from_index(model)));
            }
        }
        rows.sort_unstable();
        Workload {
            arrived: rows.iter().map(|&(at, ..)| first + Span::from_nanos(at)).collect(),
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

    /// By model and span: the spans that get its requests.
    fn draw_spans(&self, models: usize, dice: &mut Dice) -> Vec<Vec<u64>> {
        let mut spans_to = vec![Vec::new(); models * SPANS as usize];
        for model in 0..models {
            for to in 0..SPANS {
                spans_to[model * SPANS as usize + dice.below(SPANS as usize)].push(to);
            }
        }
        spans_to
    }

    /// By model: the model that gets its requests.
    fn trade(&self, models: usize, dice: &mut Dice) -> Vec<usize> {
        let mut stands_for: Vec<usize> = (0..models).collect();
        for model in 0..models {
            if dice.share() < self.trades / 2.0 {
                stands_for.swap(model, dice.below(models));
            }
        }
        stands_for
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
    fn pieces_hold_the_train_window_as_it_is_and_drawn_anew() {
        let train = train();
        let recipe = Recipe { requests: 1000, each: 2, drift: 0.0, trades: 0.0, extra: 0.0 };
        let pieces = recipe.pieces(&train, 3, &mut Dice::new(Seed(0)));
        assert_eq!(pieces[0], train.slice(0..50));
        assert_eq!(pieces[2], train.slice(50..100));
        assert!(pieces.iter().all(Workload::is_well_formed));
        let drawn = pieces[1].len() + pieces[3].len();
        assert!((50..150).contains(&drawn), "{drawn}");
    }

    #[test]
    fn traded_requests_are_of_as_many_models() {
        let recipe = Recipe { requests: 1000, each: 1, drift: 0.0, trades: 1.0, extra: 0.0 };
        let mut stands_for = recipe.trade(50, &mut Dice::new(Seed(3)));
        assert_ne!(stands_for, (0..50).collect::<Vec<_>>());
        stands_for.sort_unstable();
        assert_eq!(stands_for, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn extra_requests_come_on_top() {
        let recipe = Recipe { requests: 1000, each: 1, drift: 0.2, trades: 0.1, extra: 1.5 };
        let pieces = recipe.pieces(&train(), 5, &mut Dice::new(Seed(0)));
        assert!(pieces.iter().all(|piece| piece.is_well_formed() && piece.len() > 150));
        assert!(pieces[1].counts(5)[4] > 0);
    }
}
