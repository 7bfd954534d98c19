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
    /// Of one request: its stages, as profiled before and as they were on average while serving.
    pub(super) profiled_s: f64,
    pub(super) seen_s: f64,
    pub(super) predicted: ResultsFile,
    /// Simulated again with the stage times of the run: what is left is not the machine's speed.
    pub(super) explained: ResultsFile,
    pub(super) measured: ResultsFile,
    #[serde(skip)]
    pub(super) predicted_latencies: Vec<f64>,
    #[serde(skip)]
    pub(super) measured_latencies: Vec<f64>,
}

impl ServerDemo {
    fn requests(&self) -> u64 {
        self.placements[0].predicted.requests
    }

    /// What was predicted, what came, and what would have been predicted from the stage times that came.
    pub(super) fn table(&self) -> Table {
        let columns = ["stages, one request", "attainment", "mean", "p99"];
        let columns = [Column::text("placement"), Column::text("")].into_iter().chain(columns.map(Column::number));
        let mut table = Table::new(columns);
        for row in &self.placements {
            let lines = [
                (row.placement, "predicted", row.profiled_s, &row.predicted),
                ("", "measured", row.seen_s, &row.measured),
                ("", "simulated with measured stages", row.seen_s, &row.explained),
            ];
            for (placement, what, stages, results) in lines {
                let latency = |of: fn(&LatencyResult) -> f64| {
                    results.latency_s.as_ref().map_or_else(Cell::nothing, |latency| Cell::latency(of(latency)))
                };
                table.row([
                    Cell::from(placement),
                    Cell::from(what),
                    Cell::latency(stages),
                    Cell::percent(results.slo_attainment),
                    latency(|latency| latency.mean),
                    latency(|latency| latency.p99),
                ]);
            }
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

    /// How far predictions were off at most, and how far without what the machine's speed did.
    pub(super) fn conclusion(&self) -> String {
        let (points, mean) = self.off(|row| &row.predicted);
        let (explained_points, explained_mean) = self.off(|row| &row.explained);
        let stages = self.placements.iter().map(|row| row.seen_s / row.profiled_s - 1.0);
        let stages = stages.max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
        format!(
            "Predictions were off by at most {points} of attainment and {mean} of mean latency. Stages took up to {} {} \
             than when they were profiled; with the stage times of the run itself the simulator is off by at most \
             {explained_points} and {explained_mean}.",
            number::percent(stages.abs()),
            if stages < 0.0 { "less" } else { "longer" },
        )
    }

    /// How far `of` was from what was measured, at most: attainment and mean latency.
    fn off(&self, of: fn(&ServerRow) -> &ResultsFile) -> (String, String) {
        let points = |row: &ServerRow| (row.measured.slo_attainment - of(row).slo_attainment).abs();
        let mean = |row: &ServerRow| {
            let (simulated, measured) = (of(row).latency_s?.mean, row.measured.latency_s?.mean);
            Some((measured / simulated - 1.0).abs())
        };
        let points = self.placements.iter().map(points).fold(0.0, f64::max);
        let mean = self.placements.iter().filter_map(mean).fold(0.0, f64::max);
        (number::percentage_points(points).trim_start_matches('+').to_owned(), number::percent(mean))
    }

    /// Its part of the report.
    pub(super) fn section(&self) -> Section {
        let cases: Vec<&str> = self.placements.iter().map(|row| row.placement).collect();
        let attained = |of: fn(&ServerRow) -> f64| self.placements.iter().map(of).collect::<Vec<f64>>();
        let bars = BarChart::new(Axis::percent("SLO attainment").from(0.0).to(1.0), cases)
            .series("predicted (simulated)", attained(|row| row.predicted.slo_attainment))
            .series("measured (served)", attained(|row| row.measured.slo_attainment))
            .series("simulated with measured stages", attained(|row| row.explained.slo_attainment));
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
