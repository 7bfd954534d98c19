//! What the demo shows of its server: results of both placements, as text and as a part of the page.

use serde::Serialize;
use statmux_core::files::{LatencyResult, ResultsFile};
use statmux_report::chart::{Axis, BarChart, Chart, LineChart, Series};
use statmux_report::html::{Provenance, Section};
use statmux_report::number;
use statmux_report::table::{Cell, Column, Table};
use std::path::PathBuf;

/// What came of the served half.
// Built where there are real models; shown everywhere.
#[cfg_attr(not(feature = "candle"), allow(dead_code))]
#[derive(Clone, Debug, Serialize)]
pub(super) struct ServerDemo {
    pub(super) scenario: PathBuf,
    pub(super) model: &'static str,
    pub(super) machine: String,
    /// Of one request alone on one device.
    pub(super) latency_s: f64,
    pub(super) rate_rps: f64,
    pub(super) memory: String,
    pub(super) placements: Vec<ServerRow>,
}

/// One placement, simulated and served.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ServerRow {
    pub(super) placement: &'static str,
    /// The placement file, beside the scenario.
    pub(super) file: &'static str,
    pub(super) predicted: ResultsFile,
    pub(super) measured: ResultsFile,
    #[serde(skip)]
    pub(super) predicted_latencies: Vec<f64>,
    #[serde(skip)]
    pub(super) measured_latencies: Vec<f64>,
}

impl ServerDemo {
    fn requests(&self) -> u64 {
        self.placements.first().map_or(0, |row| row.predicted.requests)
    }

    /// Predicted beside measured, a line for each placement.
    pub(super) fn table(&self) -> Table {
        let columns = ["attainment predicted", "measured", "mean predicted", "measured", "p99 predicted", "measured"];
        let mut table = Table::new([Column::text("placement")].into_iter().chain(columns.map(Column::number)));
        for ServerRow { placement, predicted, measured, .. } in &self.placements {
            let latency = |results: &ResultsFile, of: fn(&LatencyResult) -> f64| {
                results.latency_s.as_ref().map_or_else(Cell::nothing, |latency| Cell::latency(of(latency)))
            };
            table.row([
                Cell::from(*placement),
                Cell::percent(predicted.slo_attainment),
                Cell::percent(measured.slo_attainment),
                latency(predicted, |latency| latency.mean),
                latency(measured, |latency| latency.mean),
                latency(predicted, |latency| latency.p99),
                latency(measured, |latency| latency.p99),
            ]);
        }
        table
    }

    /// What was done, in sentences.
    pub(super) fn introduction(&self) -> String {
        format!(
            "Then for real, on {}: two {} models ({} alone) on two virtual devices of one core and {} each, which hold \
             one whole model or half of both. {} bursty requests over HTTP at {}, deadline 8 x {}; stage times measured \
             just now.",
            self.machine,
            self.model,
            number::latency(self.latency_s),
            self.memory,
            number::count(self.requests()),
            number::rate(self.rate_rps, "req"),
            number::latency(self.latency_s),
        )
    }

    /// How far predictions were off at most.
    pub(super) fn conclusion(&self) -> String {
        let points = |row: &ServerRow| (row.measured.slo_attainment - row.predicted.slo_attainment).abs();
        let mean = |row: &ServerRow| {
            let (predicted, measured) = (row.predicted.latency_s?.mean, row.measured.latency_s?.mean);
            Some((measured / predicted - 1.0).abs())
        };
        let most = |values: Vec<f64>| values.into_iter().fold(0.0, f64::max);
        format!(
            "Predictions were off by at most {} of attainment and {} of mean latency; other work on the machine adds to \
             that.",
            number::percentage_points(most(self.placements.iter().map(points).collect())).trim_start_matches('+'),
            number::percent(most(self.placements.iter().filter_map(mean).collect())),
        )
    }

    /// Its part of the report.
    pub(super) fn section(&self) -> Section {
        let cases: Vec<&str> = self.placements.iter().map(|row| row.placement).collect();
        let attained = |of: fn(&ServerRow) -> f64| self.placements.iter().map(of).collect::<Vec<f64>>();
        let bars = BarChart::new(Axis::percent("SLO attainment").from(0.0).to(1.0), cases)
            .series("predicted (simulated)", attained(|row| row.predicted.slo_attainment))
            .series("measured (served)", attained(|row| row.measured.slo_attainment));
        let mut lines = LineChart::new(
            Axis::log("Latency").unit("s"),
            Axis::percent("Share of all requests answered by then").from(0.0).to(1.0),
        );
        for row in &self.placements {
            for (what, latencies) in [("predicted", &row.predicted_latencies), ("measured", &row.measured_latencies)] {
                let stride = latencies.len().div_ceil(300).max(1);
                let share = |index: usize| (index + 1) as f64 / row.predicted.requests.max(1) as f64;
                let points: Vec<(f64, f64)> =
                    latencies.iter().enumerate().step_by(stride).map(|(index, &s)| (s, share(index))).collect();
                lines = lines.series(Series::new(format!("{}, {what}", row.placement), points).without_markers());
            }
        }
        Section::new("The same idea, served for real")
            .text(&self.introduction())
            .table(&self.table())
            .chart(&Chart::from(bars), "What the simulator promised and what clients got over HTTP.")
            .chart(&Chart::from(lines), "Curves end below 100 % by the share of requests that were refused at once.")
            .text(&self.conclusion())
            .provenance(Provenance::Measured, "Served by real transformers with weights from a seed; latencies as the client saw them, from when each request was to be sent.")
    }
}
