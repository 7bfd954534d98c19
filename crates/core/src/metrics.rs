//! One definition of every figure that is reported. `docs/metrics.md` has them as formulas.

use crate::outcome::Outcome;
use crate::units::Span;
use std::fmt;
use std::str::FromStr;

/// A share of requests above 0 and at most 1, in millionths: what a model is promised at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

/// Text that is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a share above 0 and at most 1, such as \"95%\" or \"0.95\"")]
pub struct ShareError(String);

impl Share {
    const MILLION: u32 = 1_000_000;

    /// The share that is nearest to `share`; `None` unless above 0 and at most 1.
    pub fn new(share: f64) -> Option<Self> {
        let millionths = (share * f64::from(Self::MILLION)).round();
        (millionths >= 1.0 && millionths <= f64::from(Self::MILLION)).then_some(Self(millionths as u32))
    }

    /// As a number from 0 to 1.
    pub fn get(self) -> f64 {
        f64::from(self.0) / f64::from(Self::MILLION)
    }

    /// The fewest of `requests` that make up the share.
    pub fn of(self, requests: u64) -> u64 {
        (u128::from(requests) * u128::from(self.0)).div_ceil(u128::from(Self::MILLION)) as u64
    }

    /// How many more of `requests` than `in_slo` it takes.
    pub fn short(self, requests: u64, in_slo: u64) -> u64 {
        self.of(requests).saturating_sub(in_slo)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.0) / 1e4)
    }
}

impl FromStr for Share {
    type Err = ShareError;

    /// Reads `95%`, `95 %` or `0.95`.
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let (number, whole) = match text.trim().strip_suffix('%') {
            Some(percent) => (percent.trim(), 100.0),
            None => (text.trim(), 1.0),
        };
        let share = number.parse::<f64>().ok().and_then(|number| Self::new(number / whole));
        share.ok_or_else(|| ShareError(text.to_owned()))
    }
}

/// How many requests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All requests.
    pub requests: u64,
    /// Answered within their SLO.
    pub in_slo: u64,
    /// Answered too late.
    pub late: u64,
    /// Refused by admission.
    pub rejected: u64,
    /// Asked for a model that no group holds.
    pub no_replica: u64,
    /// Lost with a group.
    pub failed: u64,
}

impl Counts {
    /// Counts one more request.
    pub fn add(&mut self, outcome: &Outcome) {
        self.requests += 1;
        match outcome {
            Outcome::Served(served) if served.in_slo => self.in_slo += 1,
            Outcome::Served(_) => self.late += 1,
            Outcome::Rejected => self.rejected += 1,
            Outcome::NoReplica => self.no_replica += 1,
            Outcome::Failed => self.failed += 1,
        }
    }

    /// SLO attainment: requests answered in time over *all* requests; 1 when there were none.
    pub fn attainment(&self) -> f64 {
        if self.requests == 0 { 1.0 } else { self.in_slo as f64 / self.requests as f64 }
    }

    /// Requests that missed their SLO for whatever reason.
    pub fn missed(&self) -> u64 {
        self.requests - self.in_slo
    }
}

/// The distribution of latencies over served requests, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LatencySummary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

impl LatencySummary {
    /// Summarises `latencies`, which it sorts; `None` if there are none.
    pub fn new(latencies: &mut [Span]) -> Option<Self> {
        if latencies.is_empty() {
            return None;
        }
        latencies.sort_unstable();
        let total: u128 = latencies.iter().map(|latency| u128::from(latency.nanos())).sum();
        Some(Self {
            mean: total as f64 / latencies.len() as f64 / 1e9,
            p50: percentile(latencies, 0.50),
            p90: percentile(latencies, 0.90),
            p99: percentile(latencies, 0.99),
            max: latencies[latencies.len() - 1].seconds(),
        })
    }
}

/// Element `floor(q n)` of the `n` sorted latencies, in seconds: the published definition.
fn percentile(sorted: &[Span], q: f64) -> f64 {
    let index = (q * sorted.len() as f64) as usize;
    sorted[index.min(sorted.len() - 1)].seconds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_follow_the_published_definition() {
        let mut latencies: Vec<_> = (1..=100).rev().map(Span::from_millis).collect();
        let summary = LatencySummary::new(&mut latencies).expect("not empty");
        assert_eq!((summary.p50, summary.p99, summary.max), (0.051, 0.100, 0.100));
        assert!((summary.mean - 0.0505).abs() < 1e-12);
        assert_eq!(LatencySummary::new(&mut []), None);
    }

    #[test]
    fn shares_are_read_in_both_ways_and_counted_in_whole_requests() {
        let share = |text: &str| text.parse::<Share>().ok().map(Share::get);
        assert_eq!(
            [share("95%"), share(" 99.5 % "), share("0.9"), share("1")].map(Option::unwrap),
            [0.95, 0.995, 0.9, 1.0]
        );
        for wrong in ["0", "101%", "-1", "nan", "inf", "many", "", "%"] {
            assert_eq!(share(wrong), None, "{wrong}");
        }
        let floor = Share::new(0.95).expect("a share");
        assert_eq!((floor.of(0), floor.of(1), floor.of(20), floor.of(21)), (0, 1, 19, 20));
        assert_eq!((floor.short(20, 19), floor.short(20, 0), floor.to_string()), (0, 19, "95 %".to_owned()));
    }

    #[test]
    fn attainment_counts_every_request() {
        let mut counts = Counts::default();
        counts.add(&Outcome::Rejected);
        counts.add(&Outcome::NoReplica);
        assert_eq!((counts.requests, counts.attainment(), counts.missed()), (2, 0.0, 2));
        assert_eq!(Counts::default().attainment(), 1.0);
    }
}
