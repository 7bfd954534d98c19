//! A simulated and a served run of the same workload, side by side: how far apart they are, and why.

use serde::Serialize;
use statmux_core::metrics::{Counts, LatencySummary};
use statmux_core::{Outcome, Served, Span, Time};
use std::collections::BTreeMap;

/// A finished run, request by request.
#[derive(Clone, Copy, Debug)]
pub struct FinishedRun<'a> {
    /// When each request arrived.
    pub arrived: &'a [Time],
    /// What became of each.
    pub outcomes: &'a [Outcome],
}

/// How far a served run was from its simulation. Differences are served minus simulated.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Requests in each.
    pub requests: usize,
    /// Attainment, in percentage points.
    pub attainment_percent: Side,
    /// Mean latency of served requests, in seconds.
    pub mean_s: Side,
    /// Median latency, in seconds.
    pub p50_s: Side,
    /// 90th percentile, in seconds.
    pub p90_s: Side,
    /// 99th percentile, in seconds.
    pub p99_s: Side,
    /// Largest, in seconds.
    pub max_s: Side,
    /// The same request by request.
    pub causes: Causes,
}

/// One figure of both runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Side {
    /// As simulated.
    pub simulated: f64,
    /// As served.
    pub served: f64,
    /// Served minus simulated.
    pub difference: f64,
    /// The difference in per cent of the simulated figure; absent where that is zero.
    pub relative_percent: Option<f64>,
}

/// Where differences come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Causes {
    /// Requests with the same outcome in both runs.
    pub same_outcome: u64,
    /// Other pairs of outcomes (simulated, then served), and how often they came up: decisions that differ.
    pub changed: BTreeMap<String, u64>,
    /// Requests served in both runs.
    pub served_in_both: u64,
    /// Of these, the mean difference in time from arrival to launch, in seconds: queues that differ.
    pub waiting_s: f64,
    /// Of these, the mean difference in time from launch to answer, in seconds: stage times, and the way of the
    /// answer back to the client.
    pub running_s: f64,
    /// Of these, the mean absolute difference in latency, in seconds.
    pub absolute_s: f64,
}

impl Side {
    fn new(simulated: f64, served: f64) -> Self {
        let difference = served - simulated;
        let relative_percent = (simulated != 0.0).then(|| 100.0 * difference / simulated);
        Self { simulated, served, difference, relative_percent }
    }
}

/// Two runs that are not of the same workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the runs are not of the same workload: they differ from request {row} on")]
pub struct DifferentWorkloads {
    /// The first request that is not the same.
    pub row: usize,
}

/// Compares two runs of one workload.
///
/// # Errors
/// If they are of different workloads; the first request that differs.
pub fn compare(simulated: FinishedRun<'_>, served: FinishedRun<'_>) -> Result<Comparison, DifferentWorkloads> {
    same_workload(simulated.arrived, served.arrived)?;
    let (a, b) = (attainment(simulated), attainment(served));
    let (before, after) = (latency(simulated), latency(served));
    let side = |of: fn(&LatencySummary) -> f64| Side::new(of(&before), of(&after));
    Ok(Comparison {
        requests: simulated.arrived.len(),
        attainment_percent: Side::new(100.0 * a, 100.0 * b),
        mean_s: side(|latency| latency.mean),
        p50_s: side(|latency| latency.p50),
        p90_s: side(|latency| latency.p90),
        p99_s: side(|latency| latency.p99),
        max_s: side(|latency| latency.max),
        causes: causes(simulated, served),
    })
}

fn same_workload(a: &[Time], b: &[Time]) -> Result<(), DifferentWorkloads> {
    // Arrivals are written as they were intended, so they differ by rounding only.
    const ROUNDING: Span = Span::from_millis(1);
    let differs = |(&a, &b): (&Time, &Time)| a.since(b).max(b.since(a)) > ROUNDING;
    let lengths = (a.len() != b.len()).then(|| a.len().min(b.len()));
    match a.iter().zip(b).position(differs).or(lengths) {
        Some(row) => Err(DifferentWorkloads { row }),
        None => Ok(()),
    }
}

fn attainment(run: FinishedRun<'_>) -> f64 {
    let mut counts = Counts::default();
    run.outcomes.iter().for_each(|outcome| counts.add(outcome));
    counts.attainment()
}

/// All zero where nothing was served.
fn latency(run: FinishedRun<'_>) -> LatencySummary {
    let latencies = run.outcomes.iter().zip(run.arrived).filter_map(|(outcome, &arrived)| outcome.latency(arrived));
    LatencySummary::new(&mut latencies.collect::<Vec<_>>()).unwrap_or_default()
}

fn causes(simulated: FinishedRun<'_>, served: FinishedRun<'_>) -> Causes {
    let mut causes = Causes::default();
    let both = simulated.outcomes.iter().zip(simulated.arrived).zip(served.outcomes.iter().zip(served.arrived));
    for ((a, &a_arrived), (b, &b_arrived)) in both {
        if a.name() == b.name() {
            causes.same_outcome += 1;
        } else {
            *causes.changed.entry(format!("{} -> {}", a.name(), b.name())).or_insert(0) += 1;
        }
        if let (Outcome::Served(a), Outcome::Served(b)) = (a, b) {
            let waiting = |ran: &Served, arrived| ran.started.since(arrived).seconds();
            let running = |ran: &Served| ran.finished.since(ran.started).seconds();
            let waiting = waiting(b, b_arrived) - waiting(a, a_arrived);
            let running = running(b) - running(a);
            causes.served_in_both += 1;
            causes.waiting_s += waiting;
            causes.running_s += running;
            causes.absolute_s += (waiting + running).abs();
        }
    }
    let count = causes.served_in_both.max(1) as f64;
    causes.waiting_s /= count;
    causes.running_s /= count;
    causes.absolute_s /= count;
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use statmux_core::GroupId;

    fn ran(started_ms: u64, finished_ms: u64, in_slo: bool) -> Outcome {
        let at = |ms| Time::ZERO + Span::from_millis(ms);
        Outcome::Served(Served { group: GroupId(0), started: at(started_ms), finished: at(finished_ms), in_slo })
    }

    #[test]
    fn differences_are_told_by_cause() {
        let arrived: Vec<Time> = (0..3).map(|n| Time::ZERO + Span::from_millis(1000 * n)).collect();
        let simulated = [ran(0, 1000, true), ran(1500, 2500, true), Outcome::Rejected];
        let served = [ran(100, 1300, false), ran(1500, 2500, true), Outcome::Rejected];
        let simulated = FinishedRun { arrived: &arrived, outcomes: &simulated };
        let served = FinishedRun { arrived: &arrived, outcomes: &served };
        let comparison = compare(simulated, served).expect("the same workload");
        let causes = &comparison.causes;
        assert_eq!((causes.same_outcome, causes.served_in_both), (2, 2));
        assert_eq!(causes.changed, BTreeMap::from([("in_slo -> late".to_owned(), 1)]));
        assert!((causes.waiting_s - 0.05).abs() < 1e-12 && (causes.running_s - 0.1).abs() < 1e-12);
        assert!((comparison.attainment_percent.difference + 100.0 / 3.0).abs() < 1e-9);
        assert!((comparison.mean_s.relative_percent.expect("not zero") - 12.0).abs() < 1e-9);
        let shorter = FinishedRun { arrived: &arrived[..2], outcomes: &served.outcomes[..2] };
        assert_eq!(compare(simulated, shorter), Err(DifferentWorkloads { row: 2 }));
        let later = [arrived[0], arrived[1] + Span::from_millis(2), arrived[2]];
        let later = FinishedRun { arrived: &later, outcomes: served.outcomes };
        assert_eq!(compare(simulated, later), Err(DifferentWorkloads { row: 1 }));
    }
}
