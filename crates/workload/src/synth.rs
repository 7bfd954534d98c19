//! Synthetic traces that look like a public one that is too large to ship.
//!
//! `azure-functions-2021` has the published number of requests of each application, and of the busier ones the
//! published first and last arrival, mean, median and largest gap. What is not published is invented here: gaps are
//! independent and log-normal up to the largest, rarer applications are spread evenly, each application is one function, and calls take
//! no time.

use crate::requests::push_seconds;
use flate2::Compression;
use flate2::write::GzEncoder;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, StandardNormal};
use statmux_core::files::{AtomicFile, FileError, unwritten};
use statmux_core::{Seed, Span, Time};
use std::io::{self, Write};
use std::path::Path;

const COUNTS: &str = include_str!("../data/azure-functions-2021/app_request_counts.csv");
const GAPS: &str = include_str!("../data/azure-functions-2021/app_interarrival_stats.csv");

/// How long the published recording is.
const RECORDING_S: f64 = 14.0 * 86_400.0;

/// What is known of one application.
#[derive(Clone, Copy, Debug, PartialEq)]
struct App {
    requests: usize,
    active: Option<Active>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Active {
    first_s: f64,
    last_s: f64,
    largest_gap_s: f64,
    mean_gap_s: f64,
    median_gap_s: f64,
}

/// A synthetic trace in order of arrival.
#[derive(Clone, Debug, PartialEq)]
pub struct Synthetic {
    /// When each call arrives, and the number of its application.
    pub calls: Vec<(Time, u32)>,
    /// How many applications there are.
    pub apps: u32,
}

/// Draws a trace like Azure Functions 2021: its first `days` days, with its 119 applications, or with `apps` drawn
/// from them with replacement.
pub fn azure_functions_2021(days: f64, apps: Option<u32>, seed: Seed) -> Synthetic {
    let known = published_apps();
    let rng = &mut ChaCha12Rng::seed_from_u64(seed.stream("apps").0);
    let chosen: Vec<App> = match apps {
        None => known,
        Some(apps) => (0..apps).map(|_| known[rng.random_range(0..known.len())]).collect(),
    };
    let mut calls = Vec::new();
    for (number, app) in (0_u32..).zip(&chosen) {
        let rng = &mut ChaCha12Rng::seed_from_u64(seed.stream("calls").nth(number.into()).0);
        let arrivals = app.arrivals(rng).into_iter().filter(|&seconds| seconds < days * 86_400.0);
        calls.extend(arrivals.filter_map(Time::from_seconds).map(|at| (at, number)));
    }
    calls.sort_unstable();
    Synthetic { calls, apps: chosen.len() as u32 }
}

impl App {
    fn arrivals(&self, rng: &mut ChaCha12Rng) -> Vec<f64> {
        match self.active {
            Some(active) => active.arrivals(self.requests, rng),
            None => (0..self.requests).map(|_| rng.random::<f64>() * RECORDING_S).collect(),
        }
    }
}

impl Active {
    /// `requests` arrivals from the first to the last.
    ///
    /// Gaps are log-normal around the published median, cut at the largest, and as wide as gives the published mean; a
    /// last small stretch fills the time exactly.
    fn arrivals(&self, requests: usize, rng: &mut ChaCha12Rng) -> Vec<f64> {
        let normals: Vec<f64> = (1..requests).map(|_| StandardNormal.sample(rng)).collect();
        let sigma = self.spread(&normals[..normals.len().min(20_000)]);
        let gaps: Vec<f64> = normals.into_iter().map(|normal| self.gap(sigma, normal)).collect();
        let stretch = (self.last_s - self.first_s) / gaps.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mut now = self.first_s;
        let mut arrivals = vec![now];
        arrivals.extend(gaps.into_iter().map(|gap| {
            now += gap * stretch;
            now
        }));
        arrivals
    }

    fn gap(&self, sigma: f64, normal: f64) -> f64 {
        // Medians are published in whole milliseconds; zero is anything below half of one.
        (self.median_gap_s.max(0.000_25) * (sigma * normal).exp()).min(self.largest_gap_s)
    }

    /// The width at which these gaps have the published mean, by bisection.
    fn spread(&self, normals: &[f64]) -> f64 {
        let (mut low, mut high) = (0.0, 30.0);
        for _ in 0..40 {
            let middle = (low + high) / 2.0;
            let mean = normals.iter().map(|&normal| self.gap(middle, normal)).sum::<f64>() / normals.len() as f64;
            if mean < self.mean_gap_s { low = middle } else { high = middle }
        }
        low
    }
}

fn published_apps() -> Vec<App> {
    let numbers = |line: &str| -> Vec<f64> {
        line.split(',').map(|field| field.parse().expect("the shipped statistics are numbers")).collect()
    };
    let busy = GAPS.lines().skip(1).map(|line| {
        let row = numbers(line);
        let active =
            Active { first_s: row[2], last_s: row[3], largest_gap_s: row[5], mean_gap_s: row[7], median_gap_s: row[8] };
        App { requests: row[1] as usize, active: Some(active) }
    });
    let rare = COUNTS.lines().skip(1).map(|line| numbers(line)[1] as usize).filter(|&requests| requests <= 100);
    busy.chain(rare.map(|requests| App { requests, active: None })).collect()
}

impl Synthetic {
    /// Writes the trace with the public header `app,func,end_timestamp,duration`, gzip if the name ends in `.gz`.
    ///
    /// The names of its applications and functions begin with `synthetic`.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let failed = |cause| unwritten(path, cause);
        let mut file = AtomicFile::create(path)?;
        if path.extension().is_some_and(|ending| ending == "gz") {
            let mut encoder = GzEncoder::new(file, Compression::fast());
            self.write_rows(&mut encoder).map_err(failed)?;
            file = encoder.finish().map_err(failed)?;
        } else {
            self.write_rows(&mut file).map_err(failed)?;
        }
        file.commit()
    }

    fn write_rows(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = b"app,func,end_timestamp,duration\n".to_vec();
        for &(at, app) in &self.calls {
            write!(line, "synthetic-app-{app},synthetic-func-{app},")?;
            push_seconds(&mut line, at.nanos());
            line.extend_from_slice(b",0\n");
            if line.len() > 1 << 16 {
                out.write_all(&line)?;
                line.clear();
            }
        }
        out.write_all(&line)
    }

    /// How long the trace is: until its last call.
    pub fn duration(&self) -> Span {
        self.calls.last().map_or(Span::ZERO, |&(at, _)| at.since(Time::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_synthetic_trace_has_the_published_counts() {
        let trace = azure_functions_2021(14.1, None, Seed(0));
        assert_eq!(trace.apps, 119);
        // A few arrivals fall beyond the last published one by rounding, none beyond the fortnight.
        assert_eq!(trace.calls.len(), 1_980_951);
        let mut counts = vec![0_u64; 119];
        trace.calls.iter().for_each(|&(_, app)| counts[app as usize] += 1);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(counts[..3], [535_667, 328_885, 299_817]);
        assert!(trace.calls.is_sorted());
    }

    #[test]
    fn gaps_have_the_published_mean_and_nearly_the_published_median() {
        for app in published_apps().into_iter().filter(|app| app.requests > 20_000) {
            let active = app.active.expect("busy applications have statistics");
            let arrivals = app.arrivals(&mut ChaCha12Rng::seed_from_u64(1));
            let mut gaps: Vec<f64> = arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
            gaps.sort_unstable_by(f64::total_cmp);
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            assert!((mean / active.mean_gap_s - 1.0).abs() < 0.01, "{active:?}: mean {mean}");
            let median = gaps[gaps.len() / 2];
            let close = (median - active.median_gap_s).abs() < 0.000_5 + 0.2 * active.median_gap_s;
            assert!(close, "{active:?}: median {median}");
        }
    }
}
