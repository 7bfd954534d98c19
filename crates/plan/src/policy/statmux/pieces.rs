//! The traffic that candidates are judged on: pieces of the train window, as recorded and drawn anew.
//!
//! The requests a placement will meet are not those of the train window. What carries over is how much there is to
//! do and how requests cluster; which bursts of different models meet does not, and what is asked for drifts. So two
//! fifths of the requests are as recorded, and two fifths are drawn anew: the window is cut into spans, every model's
//! requests of a span are those of any span, drawn for each model by itself (a block bootstrap), some models trade
//! their requests, and a few requests go to any model at all. In the last fifth models trade places all the time: what
//! one is asked for in a span, another is asked for in the next, so that every model has its turn of being the one that
//! everybody wants. Plans that answer what was recorded just so are told from plans that answer what may come. Where
//! plans miss next to nothing, more of such requests on top tell the good from the better.

use super::dice::Dice;
use statmux_core::{ModelId, Span, Time, Workload};

/// What is made of a train window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recipe {
    /// Requests of the pieces that are recorded and alike together, at most; what is put on top not counted.
    pub(super) requests: usize,
    /// Pieces of the window as recorded, as many drawn anew, and twice as many in which models trade places.
    pub(super) each: usize,
    /// How that is drawn anew which is to resemble the window.
    pub(super) alike: Redraw,
    /// The share of requests that go to any model where models trade places.
    pub(super) traded_drift: f64,
    /// Requests put on top, as a multiple of the window's.
    pub(super) extra: f64,
}

/// How requests are drawn anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Redraw {
    /// The share of requests that go to any model.
    pub(super) drift: f64,
    /// The share of models that trade their requests.
    pub(super) trades: f64,
}

/// Spans that a window is cut into to be drawn anew.
const SPANS: u64 = 8;

/// A window with more than this many times the requests that are judged is cut to it before it is drawn anew.
const ENOUGH_TO_DRAW_FROM: usize = 16;

/// A piece has at most this many times the requests that it would have with none on top.
const LONGEST: usize = 2;

impl Recipe {
    /// Pieces of `train`, recorded and drawn anew in turn.
    pub(super) fn pieces(&self, train: &Workload, models: usize, dice: &mut Dice) -> Vec<Workload> {
        if train.is_empty() {
            return Vec::new();
        }
        let most = self.requests.saturating_mul(ENOUGH_TO_DRAW_FROM);
        let cut = (train.len() > most).then(|| train.slice(train.len() - most..train.len()));
        let train = cut.as_ref().unwrap_or(train);
        let alike = self.alike.draw(train, 1.0, &[self.alike.trade(models, dice)], dice);
        let [plain, alike] = [train, &alike].map(|of| {
            let more = |share: f64, dice: &mut Dice| {
                let stand_for = [self.alike.trade(models, dice)];
                self.alike.draw(train, share, &stand_for, dice)
            };
            self.with_extra(of, more, dice)
        });
        let usual = self.requests / (2 * self.each);
        let wanted = ((usual as f64 * (1.0 + self.extra)) as usize).min(LONGEST * usual);
        let mut pieces = Vec::with_capacity(4 * self.each);
        for number in 0..self.each {
            for workload in [&plain, &alike] {
                pieces.push(nth_slice(workload, wanted.min(workload.len().div_ceil(self.each)), number, self.each));
            }
        }
        let turns = Turns::new(models, 2 * self.each, dice);
        let traded = Redraw { drift: self.traded_drift, trades: 1.0 };
        for number in 0..2 * self.each {
            // A quarter as long: a fifth of all requests.
            let size = usual.min(train.len().div_ceil(self.each)).div_ceil(4);
            let of = nth_slice(train, size, number, 2 * self.each);
            // What comes on top is of the same models: who is wanted is wanted more.
            let stand_for = turns.of_piece(number);
            let more = |share: f64, dice: &mut Dice| traded.draw(&of, share, &stand_for, dice);
            let first = more(1.0, dice);
            let piece = self.with_extra(&first, more, dice);
            pieces.push(piece.slice(0..piece.len().min(wanted.div_ceil(4))));
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    /// `workload`, and on top of it what `more` draws for a share of the window's requests.
    fn with_extra(&self, workload: &Workload, more: impl Fn(f64, &mut Dice) -> Workload, dice: &mut Dice) -> Workload {
        let mut all = workload.clone();
        let mut left = self.extra;
        while left > 0.0 {
            all = merge(&all, &more(left.min(1.0), dice));
            left -= 1.0;
        }
        all
    }
}

/// Whose requests every model gets while models trade places: each moves on by as much from span to span, so that it
/// stands in every place about as often as in any other.
struct Turns {
    /// The models in the order in which places go around.
    order: Vec<usize>,
    /// By model, where it is in that order.
    position: Vec<usize>,
    /// Spans of all pieces.
    spans: usize,
    pieces: usize,
}

impl Turns {
    fn new(models: usize, pieces: usize, dice: &mut Dice) -> Self {
        let mut order: Vec<usize> = (0..models).collect();
        for last in (1..models).rev() {
            order.swap(last, dice.below(last + 1));
        }
        let mut position = vec![0; models];
        order.iter().enumerate().for_each(|(at, &model)| position[model] = at);
        Self { order, position, spans: SPANS as usize * pieces, pieces }
    }

    /// By span of a piece and by model: the model that gets its requests.
    fn of_piece(&self, number: usize) -> Vec<Vec<usize>> {
        let models = self.order.len();
        let shifts = (0..SPANS as usize).map(|span| (span * self.pieces + number) * models / self.spans);
        shifts.map(|shift| self.position.iter().map(|at| self.order[(at + shift) % models]).collect()).collect()
    }
}

impl Redraw {
    /// About a `share` of the requests of `train`, drawn anew. By span, or for all of them, `stand_for` says which model
    /// gets the requests of each.
    fn draw(&self, train: &Workload, share: f64, stand_for: &[Vec<usize>], dice: &mut Dice) -> Workload {
        let models = stand_for[0].len();
        let first = train.arrived[0];
        let last = train.arrived.last().copied().unwrap_or_default().since(first);
        let whole = if first == Time::ZERO { train.duration } else { Span::ZERO };
        let span = whole.max(last + Span::from_nanos(1)).nanos().div_ceil(SPANS);
        let spans_to = draw_spans(models, dice);
        let mut rows: Vec<(u64, usize, ModelId)> = Vec::with_capacity(train.len());
        for (row, (&arrived, &model)) in train.arrived.iter().zip(&train.model).enumerate() {
            let at = arrived.since(first).nanos();
            for &to in &spans_to[model.index() * SPANS as usize + (at / span) as usize] {
                if share < 1.0 && dice.share() >= share {
                    continue;
                }
                let any = self.drift > 0.0 && dice.share() < self.drift;
                let model =
                    if any { dice.below(models) } else { stand_for[to as usize % stand_for.len()][model.index()] };
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

/// By model and span: the spans that get its requests.
fn draw_spans(models: usize, dice: &mut Dice) -> Vec<Vec<u64>> {
    let mut spans_to = vec![Vec::new(); models * SPANS as usize];
    for model in 0..models {
        for to in 0..SPANS {
            spans_to[model * SPANS as usize + dice.below(SPANS as usize)].push(to);
        }
    }
    spans_to
}

/// The `number`-th of `each` slices of `size` requests, spread evenly over `workload`.
fn nth_slice(workload: &Workload, size: usize, number: usize, each: usize) -> Workload {
    let size = size.clamp(1, workload.len().max(1));
    let from = if each <= 1 { 0 } else { workload.len().saturating_sub(size) * number / (each - 1) };
    let slice = workload.slice(from..(from + size).min(workload.len()));
    let duration = slice.arrived.last().map_or(Span::ZERO, |last| last.since(Time::ZERO));
    Workload { duration, ..slice }
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

    fn recipe(trades: f64, drift: f64, extra: f64) -> Recipe {
        Recipe { requests: 1000, each: 2, alike: Redraw { drift, trades }, traded_drift: drift, extra }
    }

    #[test]
    fn pieces_hold_the_train_window_as_it_is_and_drawn_anew() {
        let train = train();
        let pieces = recipe(0.0, 0.0, 0.0).pieces(&train, 3, &mut Dice::new(Seed(0)));
        assert_eq!(pieces.len(), 8);
        let part = |rows: std::ops::Range<usize>, duration: Span| Workload { duration, ..train.slice(rows) };
        assert_eq!(pieces[0], part(0..50, Span::from_nanos(49 * 49)));
        assert_eq!(pieces[2], part(50..100, Span::from_nanos(99 * 99)));
        assert!(pieces.iter().all(Workload::is_well_formed));
        let drawn = pieces[1].len() + pieces[3].len();
        assert!((50..150).contains(&drawn), "{drawn}");
        let traded: usize = pieces[4..].iter().map(Workload::len).sum();
        assert!((25..75).contains(&traded), "{traded}");
    }

    #[test]
    fn traded_requests_are_of_as_many_models() {
        let mut stands_for = recipe(1.0, 0.0, 0.0).alike.trade(50, &mut Dice::new(Seed(3)));
        assert_ne!(stands_for, (0..50).collect::<Vec<_>>());
        stands_for.sort_unstable();
        assert_eq!(stands_for, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn every_model_has_its_turn_of_being_the_one_that_everybody_wants() {
        let train = Workload {
            arrived: (0..8000).map(|n| Time::from_nanos(n * 1000)).collect(),
            model: vec![ModelId(0); 8000],
            ..Workload::default()
        };
        let mut recipe = recipe(1.0, 0.0, 0.0);
        recipe.requests = 10_000;
        let pieces = recipe.pieces(&train, 6, &mut Dice::new(Seed(0)));
        for model in 0..6 {
            let wanted: u64 = pieces[4..].iter().map(|piece| piece.counts(6)[model]).sum();
            assert!(wanted > 75, "{wanted} requests for model {model}");
        }
    }

    #[test]
    fn everybody_stands_in_every_place_about_as_often() {
        for models in 1..80 {
            let turns = Turns::new(models, 4, &mut Dice::new(Seed(models as u64)));
            let mut taken = vec![0; models * models];
            for stand_for in (0..4).flat_map(|piece| turns.of_piece(piece)) {
                let mut all = stand_for.clone();
                all.sort_unstable();
                assert_eq!(all, (0..models).collect::<Vec<_>>());
                stand_for.iter().enumerate().for_each(|(place, by)| taken[place * models + by] += 1);
            }
            let most = 32_usize.div_ceil(models);
            assert!(taken.iter().all(|&times| times <= most && times >= 32 / models), "{models} models");
        }
    }

    #[test]
    fn extra_requests_come_on_top() {
        let pieces = recipe(0.1, 0.2, 0.9).pieces(&train(), 5, &mut Dice::new(Seed(0)));
        assert!(pieces.iter().all(|piece| piece.is_well_formed() && piece.len() >= 12));
        assert!(pieces.iter().map(Workload::len).sum::<usize>() > 400);
        assert!(pieces.iter().any(|piece| piece.counts(5)[4] > 0), "some go to any model");
    }
}
