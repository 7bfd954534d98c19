//! Requests as they were recorded.

use super::{Assignment, TransformError, minutes_by_model};
use crate::arrival::Arrivals;
use crate::input::MOST_REQUESTS;
use crate::merge::Merge;
use crate::recorded::{GapShape, MINUTE, RateWindow, Recorded, Trace};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use statmux_core::{ModelId, Seed, Span, Time, Workload};

/// The calls in `trace` as requests to the models they are assigned to, for `duration` from the trace's zero.
///
/// Recorded instants stay as they are. Calls counted per minute are placed in their minute uniformly at random. Rate
/// windows are drawn from the recorded distribution of gaps. `thin` keeps each request with that probability.
pub fn replay(
    trace: Trace,
    assignment: &Assignment,
    duration: Span,
    thin: Option<f64>,
    seed: Seed,
) -> Result<Workload, TransformError> {
    let mut merge = Merge::default();
    match trace.recorded {
        Recorded::Instants(instants) => {
            let with_lengths = !instants.lengths.is_empty();
            for (position, (&arrived, &function)) in instants.arrived.iter().zip(&instants.function).enumerate() {
                if let Some(model) = assignment.of(function) {
                    merge.arrived.push(arrived);
                    merge.model.push(model);
                    merge.lengths.extend(with_lengths.then(|| instants.lengths[position]));
                }
            }
        }
        Recorded::PerMinute(functions) => {
            let models = minutes_by_model(&functions, assignment);
            check(models.iter().flatten().map(|&(_, count)| count as f64).sum())?;
            for (index, minutes) in models.into_iter().enumerate() {
                let rng = &mut ChaCha12Rng::seed_from_u64(seed.nth(index as u64).0);
                for (minute, count) in minutes {
                    let start = Time::ZERO + MINUTE * u64::from(minute);
                    for _ in 0..count {
                        merge.arrived.push(start + Span::from_nanos(rng.random_range(0..MINUTE.nanos())));
                        merge.model.push(ModelId::from_index(index));
                    }
                }
            }
        }
        Recorded::Windows(clients) => {
            let windows = clients.iter().flatten();
            check(windows.map(|window| window.rate * window.length.seconds()).sum())?;
            for (client, windows) in (0_u32..).zip(&clients) {
                let Some(model) = assignment.of(client) else { continue };
                let seed = seed.nth(client.into());
                for window in windows {
                    let limit = left(&merge);
                    let length = window.length.nanos().min(duration.nanos().saturating_sub(window.start.nanos()));
                    let arrived = process(window).generate(
                        window.start,
                        Span::from_nanos(length),
                        limit,
                        seed.nth(window.start.nanos()),
                    );
                    merge.extend(model, &arrived);
                }
            }
        }
    }
    let mut workload = merge.finish(duration);
    if let Some(share) = thin {
        thin_out(&mut workload, share, seed.stream("thin"));
    }
    Ok(workload)
}

/// The process behind a rate window: its recorded shape of gaps, at its recorded rate.
fn process(window: &RateWindow) -> Arrivals {
    match window.gaps {
        GapShape::Gamma(shape) => Arrivals::Gamma { rate: window.rate, cv: shape.recip().sqrt() },
        GapShape::Weibull(shape) => Arrivals::Weibull { rate: window.rate, shape },
    }
}

/// Refuses more requests than fit in memory.
pub(super) fn check(expected: f64) -> Result<(), TransformError> {
    if expected > MOST_REQUESTS as f64 / 2.0 { Err(TransformError::TooMany(expected)) } else { Ok(()) }
}

/// How many more requests may be added.
pub(super) fn left(merge: &Merge) -> usize {
    (MOST_REQUESTS as usize).saturating_sub(merge.len())
}

fn thin_out(workload: &mut Workload, share: f64, seed: Seed) {
    let rng = &mut ChaCha12Rng::seed_from_u64(seed.0);
    let kept: Vec<bool> = workload.arrived.iter().map(|_| rng.random::<f64>() < share).collect();
    retain(&mut workload.arrived, &kept);
    retain(&mut workload.model, &kept);
    retain(&mut workload.lengths, &kept);
}

fn retain<T>(column: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    column.retain(|_| *kept.next().expect("as many as rows"));
}
