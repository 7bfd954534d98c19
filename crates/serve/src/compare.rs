//! A simulated and a served run of the same workload, side by side: how far apart they are, and why.

use serde::{Deserialize, Serialize};
use statmux_core::files::{FileError, ResultsFile};
use std::collections::BTreeMap;
use std::path::Path;

/// One request as a results file (`request,model,arrival_s,group,start_s,finish_s,outcome`) has it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct RequestRow {
    /// Its position in the workload.
    pub request: u64,
    /// When it arrived.
    pub arrival_s: f64,
    /// When it was launched, if it was.
    pub start_s: Option<f64>,
    /// When it was answered, if it was.
    pub finish_s: Option<f64>,
    /// How it ended.
    pub outcome: String,
}

/// How far a served run was from its simulation. Differences are served minus simulated.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Attainment, in percentage points.
    pub attainment_points: Side,
    /// Goodput, requests per second.
    pub goodput_rps: Side,
    /// Mean latency, in seconds.
    pub mean_s: Side,
    /// Median latency, in seconds.
    pub p50_s: Side,
    /// 90th percentile, in seconds.
    pub p90_s: Side,
    /// 99th percentile, in seconds.
    pub p99_s: Side,
    /// The same request by request, where both runs say what became of each.
    pub requests: Option<ByRequest>,
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
pub struct ByRequest {
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

/// Compares two summaries and, where both are given, what became of each request.
///
/// # Errors
/// If the rows are of different workloads; the number of the first row that differs.
pub fn compare(
    simulated: &ResultsFile,
    served: &ResultsFile,
    rows: Option<(&[RequestRow], &[RequestRow])>,
) -> Result<Comparison, DifferentWorkloads> {
    let latency = |of: fn(&statmux_core::files::LatencyResult) -> f64| {
        let figure = |results: &ResultsFile| results.latency_s.as_ref().map_or(0.0, of);
        Side::new(figure(simulated), figure(served))
    };
    Ok(Comparison {
        attainment_points: Side::new(100.0 * simulated.slo_attainment, 100.0 * served.slo_attainment),
        goodput_rps: Side::new(simulated.goodput_rps, served.goodput_rps),
        mean_s: latency(|latency| latency.mean),
        p50_s: latency(|latency| latency.p50),
        p90_s: latency(|latency| latency.p90),
        p99_s: latency(|latency| latency.p99),
        requests: rows.map(|(simulated, served)| by_request(simulated, served)).transpose()?,
    })
}

/// Two runs that are not of the same workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the runs are not of the same workload: they differ from request {row} on")]
pub struct DifferentWorkloads {
    /// The first request that is not the same.
    pub row: u64,
}

fn by_request(simulated: &[RequestRow], served: &[RequestRow]) -> Result<ByRequest, DifferentWorkloads> {
    // Served arrivals are written as they were intended, so they differ by rounding only.
    let differs =
        |(a, b): (&RequestRow, &RequestRow)| a.request != b.request || (a.arrival_s - b.arrival_s).abs() > 1e-3;
    let shorter = simulated.len().min(served.len());
    let first = simulated.iter().zip(served).position(differs);
    let lengths = (simulated.len() != served.len()).then_some(shorter);
    if let Some(row) = first.or(lengths) {
        return Err(DifferentWorkloads { row: row as u64 });
    }
    let mut result = ByRequest::default();
    for (a, b) in simulated.iter().zip(served) {
        if a.outcome == b.outcome {
            result.same_outcome += 1;
        } else {
            *result.changed.entry(format!("{} -> {}", a.outcome, b.outcome)).or_insert(0) += 1;
        }
        if let (Some(a_start), Some(a_finish), Some(b_start), Some(b_finish)) =
            (a.start_s, a.finish_s, b.start_s, b.finish_s)
        {
            let waiting = (b_start - b.arrival_s) - (a_start - a.arrival_s);
            let running = (b_finish - b_start) - (a_finish - a_start);
            result.served_in_both += 1;
            result.waiting_s += waiting;
            result.running_s += running;
            result.absolute_s += (waiting + running).abs();
        }
    }
    let count = result.served_in_both.max(1) as f64;
    result.waiting_s /= count;
    result.running_s /= count;
    result.absolute_s /= count;
    Ok(result)
}

/// Reads what became of each request, as `simulate` and `replay` write it with `--requests-out FILE.csv`.
///
/// # Errors
/// If the file cannot be read, or a row is not what it should be.
pub fn read_rows(path: &Path) -> Result<Vec<RequestRow>, FileError> {
    let text = statmux_core::files::read_text(path)?;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows = reader.deserialize().enumerate().map(|(index, row)| {
        // One line for the header, and lines count from 1.
        row.map_err(|error: csv::Error| FileError::at_line(path, index + 2, format!("is no request: {error}")))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(request: u64, times: Option<(f64, f64)>, outcome: &str) -> RequestRow {
        let (start_s, finish_s) = times.unzip();
        RequestRow { request, arrival_s: request as f64, start_s, finish_s, outcome: outcome.to_owned() }
    }

    #[test]
    fn differences_are_told_by_cause() {
        let simulated =
            [row(0, Some((0.0, 1.0)), "in_slo"), row(1, Some((1.5, 2.5)), "in_slo"), row(2, None, "rejected")];
        let served = [row(0, Some((0.1, 1.3)), "late"), row(1, Some((1.5, 2.5)), "in_slo"), row(2, None, "rejected")];
        let result = by_request(&simulated, &served).expect("the same workload");
        assert_eq!((result.same_outcome, result.served_in_both), (2, 2));
        assert_eq!(result.changed, BTreeMap::from([("in_slo -> late".to_owned(), 1)]));
        assert!((result.waiting_s - 0.05).abs() < 1e-12 && (result.running_s - 0.1).abs() < 1e-12);
        assert_eq!(by_request(&simulated, &served[..2]), Err(DifferentWorkloads { row: 2 }));
    }

    #[test]
    fn rows_are_read_from_csv() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rows.csv");
        let text =
            "request,model,arrival_s,group,start_s,finish_s,outcome\n0,\"a,b\",0,0,0.5,1,in_slo\n1,m,1,,,,rejected\n";
        std::fs::write(&path, text).expect("written");
        let rows = read_rows(&path).expect("good");
        assert_eq!(rows, [row(0, Some((0.5, 1.0)), "in_slo"), row(1, None, "rejected")]);
        std::fs::write(&path, format!("{text}2,m,x,,,,rejected\n")).expect("written");
        assert!(read_rows(&path).expect_err("a bad row").to_string().contains('4'));
    }
}
