//! What a trace or workload looks like: span, counts, rates, burstiness, skew, and load over time.

use crate::recorded::{MINUTE, RateWindow, Recorded, Trace};
use serde::Serialize;
use statmux_core::{Span, Time};

/// A trace in figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The version of this form.
    pub version: u32,
    /// How calls were recorded: `instants`, `counts per minute` or `rate windows`.
    pub recorded_as: &'static str,
    /// How long the part looked at is.
    pub span_s: f64,
    /// Functions named in the files.
    pub functions: usize,
    /// Functions with at least one call in this part.
    pub active_functions: usize,
    /// Calls; for rate windows the expected number.
    pub requests: u64,
    /// Calls per second.
    pub rate_rps: f64,
    /// The standard deviation of the gaps between calls over their mean; `None` where gaps were not recorded.
    pub gap_cv: Option<f64>,
    /// The standard deviation of the calls per interval over their mean.
    pub load_cv: Option<f64>,
    /// Shares of all calls that the busiest functions have.
    pub top_shares: TopShares,
    /// The length of one interval of `load_rps`.
    pub interval_s: f64,
    /// Calls per second in each interval.
    pub load_rps: Vec<f64>,
    /// The functions with calls, busiest first.
    pub models: Vec<ModelInspection>,
}

/// The shares of the busiest functions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TopShares {
    /// The busiest one's.
    pub top_1: f64,
    /// The five busiest ones'.
    pub top_5: f64,
    /// The ten busiest ones'.
    pub top_10: f64,
    /// The twenty busiest ones'.
    pub top_20: f64,
}

/// One function or model in figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelInspection {
    /// Its name.
    pub name: String,
    /// Its calls.
    pub requests: u64,
    /// Its share of all calls.
    pub share: f64,
    /// Its calls per second.
    pub rate_rps: f64,
    /// The CV of its gaps; for rate windows the recorded CVs' mean, weighted by calls.
    pub gap_cv: Option<f64>,
    /// The CV of its calls per interval.
    pub load_cv: Option<f64>,
    /// Its calls per second in each interval.
    pub load_rps: Vec<f64>,
}

/// Looks at a trace that starts at zero and lasts for `span`, in `intervals` equal intervals.
///
/// # Panics
/// If `intervals` is zero.
pub fn inspect(trace: &Trace, span: Span, intervals: usize) -> Inspection {
    assert!(intervals > 0, "at least one interval");
    let mut total = Tally::new(intervals);
    let mut tallies = vec![Tally::new(intervals); trace.functions.len()];
    let grid = Grid { interval: (span.nanos().div_ceil(intervals as u64)).max(1), intervals };
    match &trace.recorded {
        Recorded::Instants(instants) => {
            for (&at, &function) in instants.arrived.iter().zip(&instants.function) {
                total.call(at, grid);
                tallies[function as usize].call(at, grid);
            }
        }
        Recorded::PerMinute(functions) => {
            for (tally, minutes) in tallies.iter_mut().zip(functions) {
                for minute in minutes {
                    tally.spread(minute.start(), MINUTE, f64::from(minute.count), grid);
                    total.spread(minute.start(), MINUTE, f64::from(minute.count), grid);
                }
            }
        }
        Recorded::Windows(clients) => {
            for (tally, windows) in tallies.iter_mut().zip(clients) {
                for window in windows {
                    tally.window(window, grid);
                    total.spread(window.start, window.length, window.rate * window.length.seconds(), grid);
                }
            }
        }
    }
    let recorded_as = match trace.recorded {
        Recorded::Instants(_) => "instants",
        Recorded::PerMinute(_) => "counts per minute",
        Recorded::Windows(_) => "rate windows",
    };
    let seconds = span.seconds();
    let interval_s = grid.interval as f64 / 1e9;
    let mut models: Vec<ModelInspection> = trace
        .functions
        .iter()
        .zip(&tallies)
        .filter(|(_, tally)| tally.calls > 0.0)
        .map(|(name, tally)| ModelInspection {
            name: name.clone(),
            requests: tally.calls.round() as u64,
            share: tally.calls / total.calls,
            rate_rps: tally.calls / seconds,
            gap_cv: tally.gap_cv(),
            load_cv: tally.load_cv(),
            load_rps: tally.load_rps(interval_s),
        })
        .collect();
    models.sort_by(|a, b| b.share.total_cmp(&a.share));
    let top = |count: usize| {
        // All of them together are all there is, whatever rounding makes of the sum.
        if count >= models.len() { 1.0 } else { models.iter().take(count).map(|model| model.share).sum() }
    };
    Inspection {
        version: 1,
        recorded_as,
        span_s: seconds,
        functions: trace.functions.len(),
        active_functions: models.len(),
        requests: total.calls.round() as u64,
        rate_rps: total.calls / seconds,
        gap_cv: total.gap_cv(),
        load_cv: total.load_cv(),
        top_shares: TopShares { top_1: top(1), top_5: top(5), top_10: top(10), top_20: top(20) },
        interval_s,
        load_rps: total.load_rps(interval_s),
        models,
    }
}

/// Equal intervals in nanoseconds from zero.
#[derive(Clone, Copy)]
struct Grid {
    interval: u64,
    intervals: usize,
}

/// Running sums of one function.
#[derive(Clone)]
struct Tally {
    calls: f64,
    last: Option<Time>,
    gaps: f64,
    gap_sum: f64,
    gap_squares: f64,
    weighted_cv: Option<f64>,
    load: Vec<f64>,
}

impl Tally {
    fn new(intervals: usize) -> Self {
        let load = vec![0.0; intervals];
        Self { calls: 0.0, last: None, gaps: 0.0, gap_sum: 0.0, gap_squares: 0.0, weighted_cv: None, load }
    }

    fn call(&mut self, at: Time, grid: Grid) {
        self.calls += 1.0;
        if let Some(last) = self.last.replace(at) {
            let gap = at.since(last).seconds();
            self.gaps += 1.0;
            self.gap_sum += gap;
            self.gap_squares += gap * gap;
        }
        let index = usize::try_from(at.nanos() / grid.interval).unwrap_or(usize::MAX);
        self.load[index.min(grid.intervals - 1)] += 1.0;
    }

    /// Adds `calls` evenly from `start` for `length`.
    fn spread(&mut self, start: Time, length: Span, calls: f64, grid: Grid) {
        self.calls += calls;
        let (from, to) = (start.nanos(), (start + length).nanos());
        let mut at = from;
        while at < to {
            let index = usize::try_from(at / grid.interval).unwrap_or(usize::MAX);
            let next = (at / grid.interval + 1).saturating_mul(grid.interval).min(to);
            if index + 1 >= grid.intervals {
                self.load[grid.intervals - 1] += calls * (to - at) as f64 / length.nanos() as f64;
                return;
            }
            self.load[index] += calls * (next - at) as f64 / length.nanos() as f64;
            at = next;
        }
    }

    fn window(&mut self, window: &RateWindow, grid: Grid) {
        let calls = window.rate * window.length.seconds();
        let before = self.weighted_cv.unwrap_or(0.0) * self.calls;
        self.spread(window.start, window.length, calls, grid);
        self.weighted_cv = Some((before + window.cv * calls) / self.calls);
    }

    fn gap_cv(&self) -> Option<f64> {
        let mean = self.gap_sum / self.gaps;
        let variance = (self.gap_squares / self.gaps - mean * mean).max(0.0);
        let cv = (self.gaps >= 2.0 && mean > 0.0).then(|| variance.sqrt() / mean);
        cv.or(self.weighted_cv)
    }

    fn load_cv(&self) -> Option<f64> {
        let count = self.load.len() as f64;
        let mean = self.load.iter().sum::<f64>() / count;
        let variance = self.load.iter().map(|calls| (calls - mean).powi(2)).sum::<f64>() / count;
        (mean > 0.0 && self.load.len() > 1).then(|| variance.sqrt() / mean)
    }

    fn load_rps(&self, interval_s: f64) -> Vec<f64> {
        self.load.iter().map(|calls| calls / interval_s).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Unit};
    use crate::recorded::{Instants, MinuteCount};

    #[test]
    fn instants_are_summed_up() {
        let at = |seconds: f64| Time::from_seconds(seconds).expect("in range");
        let mut instants = Instants::default();
        for (seconds, function) in [(0.0, 0), (1.0, 0), (2.0, 1), (3.0, 0), (9.0, 0)] {
            instants.push(at(seconds), function);
        }
        let clock = Clock::new("at", Unit::Seconds);
        let trace = Trace::of_instants(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], instants, &clock);
        let seen = inspect(&trace, Span::from_millis(10_000), 5);
        assert_eq!((seen.requests, seen.functions, seen.active_functions), (5, 3, 2));
        assert_eq!(seen.load_rps, [1.0, 1.0, 0.0, 0.0, 0.5]);
        assert_eq!(seen.models[0].name, "a");
        assert_eq!(seen.top_shares.top_1, 0.8);
        // Gaps of 1, 1, 1 and 6 s: mean 2.25, standard deviation 2.165.
        assert!((seen.gap_cv.expect("four gaps") - 4.6875_f64.sqrt() / 2.25).abs() < 1e-9);
        assert_eq!(seen.models[1].gap_cv, None);
    }

    #[test]
    fn counts_are_spread_over_intervals() {
        let minutes = vec![MinuteCount { minute: 0, count: 60 }, MinuteCount { minute: 3, count: 30 }];
        let trace = Trace {
            functions: vec!["f".to_owned()],
            start: Time::ZERO,
            end: Time::from_nanos(240_000_000_000),
            recorded: Recorded::PerMinute(vec![minutes]),
            taken_off: Span::ZERO,
            remarks: Vec::new(),
        };
        let seen = inspect(&trace, Span::from_millis(240_000), 8);
        assert_eq!(seen.load_rps, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5]);
        assert_eq!(seen.gap_cv, None);
    }
}
