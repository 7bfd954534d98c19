//! The shapes that the published figures have: which policy is ahead where, and where curves cross, for every seed.

use statmux_figures::{Options, Silent, generate};
use std::collections::BTreeMap;
use std::path::Path;

/// The rows of a figure, made quickly.
struct Rows(Vec<BTreeMap<String, String>>);

fn draw(name: &str) -> Rows {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = Options { out: folder.path().to_owned(), quick: true, ..Options::default() };
    generate(&[name.to_owned()], &options, &Silent).unwrap_or_else(|error| panic!("{name}: {error}"));
    read(&folder.path().join(format!("{name}.csv")))
}

fn read(path: &Path) -> Rows {
    let mut reader = csv::Reader::from_path(path).expect("the figure wrote it");
    Rows(reader.deserialize().map(|row| row.expect("a row of text")).collect())
}

fn number(row: &BTreeMap<String, String>, key: &str) -> f64 {
    row[key].parse().unwrap_or_else(|_| panic!("{key} of {row:?} is no number"))
}

impl Rows {
    /// Of the rows whose `key` begins with `value`: x and three columns of them.
    fn curve(&self, key: &str, value: &str, columns: [&str; 4]) -> Vec<[f64; 4]> {
        let rows = self.0.iter().filter(|row| row[key].starts_with(value));
        rows.map(|row| columns.map(|column| number(row, column))).collect()
    }
}

/// x, mean, lowest and highest seed of the latencies of one policy.
fn latency(rows: &Rows, x: &str, policy: &str) -> Vec<[f64; 4]> {
    rows.curve("policy", policy, [x, "latency_s", "latency_s_low", "latency_s_high"])
}

fn attainment(rows: &Rows, policy: &str) -> Vec<[f64; 4]> {
    rows.curve("policy", policy, ["slo_scale", "slo_attainment", "slo_attainment_low", "slo_attainment_high"])
}

#[test]
fn pipelines_win_where_memory_is_short_and_tie_where_it_is_ample() {
    for name in ["fig1", "fig2"] {
        let rows = draw(name);
        let (parallel, replicated) = (latency(&rows, "memory_gb", "model"), latency(&rows, "memory_gb", "replication"));
        assert!(parallel[0][3] * 2.0 < replicated[0][2], "{name}: every seed by more than 2 at the least memory");
        let (last, same) = (parallel.last().expect("points"), replicated.last().expect("points"));
        assert!((last[1] / same[1] - 1.0).abs() < 0.01, "{name}: the same placement at 44 GB");
        assert!(replicated.windows(2).all(|pair| pair[1][1] < pair[0][1]), "{name}: memory helps replication");
    }
}

#[test]
fn the_advantage_of_pipelines_grows_with_burstiness() {
    let rows = draw("fig3");
    let (parallel, replicated) = (latency(&rows, "cv", "model"), latency(&rows, "cv", "replication"));
    let ratios: Vec<f64> = parallel.iter().zip(&replicated).map(|(p, r)| r[1] / p[1]).collect();
    assert!((0.8..1.2).contains(&ratios[0]), "near equal without bursts: {ratios:?}");
    assert!(ratios.last().expect("points") > &1.5, "{ratios:?}");
    let (p, r) = (parallel.last().expect("points"), replicated.last().expect("points"));
    assert!(p[3] < r[2], "for every seed");
}

#[test]
fn pipelines_win_at_low_rates_and_lose_near_saturation() {
    for name in ["fig5", "fig6"] {
        let rows = draw(name);
        let (parallel, replicated) = (latency(&rows, "rate_rps", "model"), latency(&rows, "rate_rps", "replication"));
        for (p, r) in parallel.iter().zip(&replicated).filter(|(p, _)| (4.0..20.0).contains(&p[0])) {
            assert!(p[3] < r[2], "{name}: every seed at {} requests/s", p[0]);
        }
        let (p, r) = (parallel.last().expect("points"), replicated.last().expect("points"));
        assert!(p[2] > r[3], "{name}: every seed at {} requests/s", p[0]);
    }
}

#[test]
fn pipelines_win_under_tight_deadlines() {
    let rows = draw("fig7");
    let (parallel, replicated) = (attainment(&rows, "model"), attainment(&rows, "replication"));
    for (p, r) in parallel.iter().zip(&replicated) {
        match p[0] {
            2.0..=8.0 => assert!(p[2] > r[3], "every seed at scale {}", p[0]),
            15.0.. => assert!(p[1] < r[1] + 0.01 && p[1] > r[1] - 0.08, "about equal at scale {}", p[0]),
            _ => {}
        }
    }
}

#[test]
fn overhead_costs_pipelines_most_where_deadlines_are_loose() {
    let rows = draw("paper7b");
    let names = ["pipeline, α = 1.0", "α = 1.1", "α = 1.2", "α = 1.3", "α = 1.4", "α = 1.5"];
    let curves = names.map(|name| attainment(&rows, name));
    let replicated = attainment(&rows, "replication");
    for (point, replicated) in replicated.iter().enumerate().skip(1) {
        assert!(curves[0][point][2] >= replicated[3] - 0.002, "α = 1 is never behind, at scale {}", replicated[0]);
        for pair in curves.windows(2) {
            assert!(pair[0][point][1] > pair[1][point][1], "less overhead is better at scale {}", replicated[0]);
        }
    }
    let last = replicated.len() - 1;
    assert!(curves[5][last][3] < replicated[last][2] - 0.1, "α = 1.5 falls far behind at loose deadlines");
    assert!(curves[5][2][1] > replicated[2][1] - 0.02, "but not at tight ones");
}

#[test]
fn two_models_share_two_devices_better_as_pipelines() {
    let rows = draw("paper2");
    let ratio = |panel: usize| (number(&rows.0[2 * panel], "ratio"), number(&rows.0[2 * panel], "published_ratio"));
    for panel in 0..3 {
        let (ours, published) = ratio(panel);
        assert!((ours / published - 1.0).abs() < 0.1, "panel {panel}: {ours} against {published}");
    }
    // The uneven case: the second model is the busy one.
    let [pipeline, apart] = [&rows.0[2], &rows.0[3]];
    assert!(number(pipeline, "second_model_mean_s") * 5.0 < number(apart, "second_model_mean_s"));
    let [cold, cold_apart] = [pipeline, apart].map(|row| number(row, "first_model_mean_s"));
    assert!(cold > cold_apart && cold < 1.5 * cold_apart, "the cold model loses a little: {cold} {cold_apart}");
}

#[test]
fn splitting_operators_wins_at_tight_deadlines_for_very_large_models() {
    let rows = draw("paper13");
    let at = |over: &str, x: f64, curve: &str| {
        let row = rows.0.iter().find(|row| row["over"] == over && number(row, "at") == x && row["curve"] == curve);
        number(row.expect("a point of the figure"), "slo_attainment")
    };
    let manual = ["(pp 16, op 1)", "(pp 8, op 2)", "(pp 4, op 4)", "(pp 2, op 8)"];
    for rate in [1.0, 4.0, 8.0] {
        let best = manual.iter().map(|curve| at("rate_rps", rate, curve)).fold(0.0, f64::max);
        assert!(at("rate_rps", rate, "AlpaServe") > best, "at {rate} requests/s");
    }
    assert_eq!(at("slo_scale", 0.75, manual[0]), 0.0);
    assert!(at("slo_scale", 0.75, manual[2]) > at("slo_scale", 0.75, manual[1]));
    assert!(at("slo_scale", 8.0, manual[0]) > at("slo_scale", 8.0, manual[3]));
}
