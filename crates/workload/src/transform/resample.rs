//! Requests drawn anew from what is fitted to each window of a trace.

use super::replay::{check, left};
use super::{Assignment, Fit, TransformError, WindowFit, calls_by_model, fit_window, minutes_by_model};
use crate::arrival::Arrivals;
use crate::merge::Merge;
use crate::recorded::{MINUTE, RateWindow, Recorded, Trace};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use statmux_core::{Lengths, ModelId, Seed, Span, Time, Workload};
use std::ops::Range;

/// How windows are fitted and scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resample {
    /// How rate and CV are estimated.
    pub fit: Fit,
    /// How long windows are; `None` for those of the recording.
    pub interval: Option<Span>,
    /// Multiplies every rate.
    pub rate_scale: f64,
    /// What the CV becomes.
    pub cv: CvRule,
}

/// What becomes of a window's CV.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CvRule {
    /// It is this.
    Absolute(f64),
    /// It is multiplied by this. Where gaps were not recorded it counts as 1.
    Scale(f64),
}

/// One model's fitted window.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedWindow {
    /// The model.
    pub model: ModelId,
    /// When the window begins.
    pub start: Time,
    /// How long it lasts.
    pub length: Span,
    /// Requests recorded in it; for rate windows the expected number.
    pub requests: f64,
    /// Rate and CV before scaling; `None` if the requests do not suffice for a fit.
    pub fit: Option<WindowFit>,
    /// Which of the model's recorded calls lie in the window, for drawing lengths.
    calls: Range<usize>,
}

/// Fits every window of every model that holds a request, model by model.
///
/// The trace must start at zero; `duration` ends its last window.
pub fn fit_windows(
    trace: &Trace,
    assignment: &Assignment,
    duration: Span,
    fit: Fit,
    interval: Option<Span>,
) -> Result<Vec<FittedWindow>, TransformError> {
    let mut fitted = Vec::new();
    match &trace.recorded {
        Recorded::Instants(instants) => {
            let interval = interval.ok_or(TransformError::Interval("is missing: how long are the windows?"))?;
            for (index, calls) in calls_by_model(instants, assignment).into_iter().enumerate() {
                let mut from = 0;
                while from < calls.arrived.len() {
                    let number = calls.arrived[from].nanos() / interval.nanos();
                    let (start, length) = window(number, interval, duration);
                    let to = calls.arrived.partition_point(|at| at.nanos() / interval.nanos() <= number);
                    let fit = fit_window(&calls.arrived[from..to], length, fit);
                    let requests = (to - from) as f64;
                    fitted.push(FittedWindow {
                        model: ModelId::from_index(index),
                        start,
                        length,
                        requests,
                        fit,
                        calls: from..to,
                    });
                    from = to;
                }
            }
        }
        Recorded::PerMinute(functions) => {
            let interval = interval.unwrap_or(MINUTE);
            if !interval.nanos().is_multiple_of(MINUTE.nanos()) {
                return Err(TransformError::Interval(
                    "must be a whole number of minutes: calls were counted per minute",
                ));
            }
            let per_window = interval.nanos() / MINUTE.nanos();
            for (index, minutes) in minutes_by_model(functions, assignment).into_iter().enumerate() {
                for group in minutes.chunk_by(|a, b| u64::from(a.0) / per_window == u64::from(b.0) / per_window) {
                    let (start, length) = window(u64::from(group[0].0) / per_window, interval, duration);
                    let requests: f64 = group.iter().map(|&(_, count)| count as f64).sum();
                    let rate = requests / length.seconds();
                    let fit = Some(WindowFit { rate, cv: 1.0, rate_from_count: true });
                    fitted.push(FittedWindow {
                        model: ModelId::from_index(index),
                        start,
                        length,
                        requests,
                        fit,
                        calls: 0..0,
                    });
                }
            }
        }
        Recorded::Windows(clients) => {
            for (client, windows) in (0_u32..).zip(clients) {
                if let Some(model) = assignment.of(client) {
                    fitted.extend(windows.iter().map(|window| of_rate_window(window, model, duration, fit)));
                }
            }
            if interval.is_some_and(|interval| fitted.iter().any(|window| window.length > interval)) {
                return Err(TransformError::Interval("is shorter than the recording's windows of 600 s; leave it out"));
            }
        }
    }
    Ok(fitted)
}

fn of_rate_window(window: &RateWindow, model: ModelId, duration: Span, fit: Fit) -> FittedWindow {
    let length = window.length.nanos().min(duration.nanos().saturating_sub(window.start.nanos()));
    let length = Span::from_nanos(length);
    let cv = if fit == Fit::Gamma { window.cv } else { 1.0 };
    FittedWindow {
        model,
        start: window.start,
        length,
        requests: window.rate * length.seconds(),
        fit: Some(WindowFit { rate: window.rate, cv, rate_from_count: false }),
        calls: 0..0,
    }
}

/// The window with this number: its start, and its length, which the trace's end may cut.
fn window(number: u64, interval: Span, duration: Span) -> (Time, Span) {
    let start = Time::ZERO + interval * number;
    let left = duration.nanos().saturating_sub(start.nanos()).max(1);
    (start, Span::from_nanos(interval.nanos().min(left)))
}

/// Draws requests anew: for each window Gamma gaps with the fitted and scaled rate and CV, from the window's start.
///
/// Lengths, if recorded, are drawn from those of the same window.
pub fn resample(
    trace: &Trace,
    assignment: &Assignment,
    duration: Span,
    how: &Resample,
    seed: Seed,
) -> Result<Workload, TransformError> {
    let windows = fit_windows(trace, assignment, duration, how.fit, how.interval)?;
    let fits = windows.iter().filter_map(|window| Some((window, window.fit?)));
    check(fits.clone().map(|(window, fit)| fit.rate * how.rate_scale * window.length.seconds()).sum())?;
    let recorded = match &trace.recorded {
        Recorded::Instants(instants) if !instants.lengths.is_empty() => calls_by_model(instants, assignment),
        _ => Vec::new(),
    };
    let mut merge = Merge::default();
    for (number, (window, fit)) in (0_u64..).zip(fits) {
        let cv = match how.cv {
            CvRule::Absolute(cv) => cv,
            CvRule::Scale(scale) => fit.cv * scale,
        };
        let process = Arrivals::Gamma { rate: fit.rate * how.rate_scale, cv };
        let seed = seed.nth(window.model.0.into()).nth(number);
        let arrived = process.generate(window.start, window.length, left(&merge), seed);
        merge.extend(window.model, &arrived);
        if let Some(calls) = recorded.get(window.model.index()) {
            draw_lengths(&calls.lengths[window.calls.clone()], arrived.len(), seed, &mut merge.lengths);
        }
    }
    Ok(merge.finish(duration))
}

fn draw_lengths(recorded: &[Lengths], count: usize, seed: Seed, drawn: &mut Vec<Lengths>) {
    let rng = &mut ChaCha12Rng::seed_from_u64(seed.stream("lengths").0);
    drawn.extend((0..count).map(|_| recorded[rng.random_range(0..recorded.len())]));
}
