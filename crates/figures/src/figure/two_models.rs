//! The smallest example: two models on two devices, apart or both as pipelines over both (paper 2).

use super::FigureInfo;
use crate::artwork::Artwork;
use crate::case::{Case, Wants};
use crate::cell::Measured;
use crate::error::FiguresError;
use crate::lab::Lab;
use crate::setting::{Setting, Slo, gamma, placement};
use crate::support::V100_LAYERS;
use statmux_core::Span;
use statmux_report::chart::{Axis, Chart, LineChart, Series};
use statmux_report::number;
use statmux_report::table::{Cell, Column, Table};

pub(super) const TWO_MODELS: FigureInfo = FigureInfo {
    name: "paper2",
    about: "two models on two devices: distribution of latencies, and utilisation through bursts",
    draw,
};

/// Names and placements, in the order of the curves.
const POLICIES: [&str; 2] = ["model parallelism", "one model per device"];

fn groups(policy: usize) -> String {
    if policy == 0 { placement(&[(1, 2, vec![0, 1])]) } else { placement(&[(1, 1, vec![0]), (1, 1, vec![1])]) }
}

/// Title, published ratio of the mean latencies, CV, split.
const PANELS: [(&str, f64, f64, &str); 3] = [
    ("(a) Poisson, 50 % and 50 %", 1.3, 1.0, "[0.5, 0.5]"),
    ("(b) Poisson, 20 % and 80 %", 6.6, 1.0, "[0.2, 0.8]"),
    ("(c) bursty (CV 3), 50 % and 50 %", 1.9, 3.0, "[0.5, 0.5]"),
];

fn setting(cv: f64, split: &str, seconds: f64) -> Setting {
    Setting {
        memory: "14 GB".to_owned(),
        slo: Slo::None,
        workload: gamma(3.0, cv, seconds, split),
        profile: V100_LAYERS.to_owned(),
        ..Setting::new(2, vec!["bert-6.7b"; 2])
    }
}

fn draw(lab: &Lab) -> Result<Artwork, FiguresError> {
    let seconds = lab.either(20_000.0, 100_000.0);
    let bin = Span::from_seconds(2.0).expect("a few seconds");
    let mut cases = Vec::new();
    for (index, (_, _, cv, split)) in PANELS.into_iter().enumerate() {
        let scenario = setting(cv, split, seconds).to_toml();
        for policy in 0..2 {
            let case = Case::placed(format!("panel{index}-policy{policy}"), scenario.clone(), groups(policy));
            cases.push(case.wanting(Wants { quantiles: true, utilization: None }));
        }
    }
    for policy in 0..2 {
        let case =
            Case::placed(format!("time-policy{policy}"), setting(3.0, "[0.5, 0.5]", 500.0).to_toml(), groups(policy));
        cases.push(case.wanting(Wants { quantiles: false, utilization: Some(bin) }));
    }
    let measured = lab.measure(&cases)?;
    let mut table = Table::new([
        Column::text("panel"),
        Column::text("policy"),
        Column::number("mean latency").key("mean_s"),
        Column::number("p99 latency").key("p99_s"),
        Column::number("times faster").key("ratio"),
        Column::number("published").key("published_ratio"),
        Column::number("first model, mean").key("first_model_mean_s"),
        Column::number("second model, mean").key("second_model_mean_s"),
    ]);
    let mut charts = Vec::new();
    let mut ratios = Vec::new();
    for ((title, published, _, _), pair) in PANELS.into_iter().zip(measured.chunks(2)) {
        let mean = |measured: &Measured| measured.latency.map_or(f64::NAN, |latency| latency.mean);
        let ratio = mean(&pair[1]) / mean(&pair[0]);
        ratios.push(number::significant(ratio, 2));
        let x = Axis::log("Latency").unit("s");
        let mut chart = LineChart::new(x, Axis::percent("Requests answered").from(0.0).to(1.0));
        for (policy, measured) in POLICIES.into_iter().zip(pair) {
            let last = measured.quantiles.len().saturating_sub(1).max(1) as f64;
            let points = measured.quantiles.iter().enumerate().map(|(step, &latency)| (latency, step as f64 / last));
            chart = chart.series(Series::new(policy, points.collect::<Vec<_>>()).without_markers());
            table.row([
                Cell::from(title),
                Cell::from(policy),
                Cell::latency(mean(measured)),
                Cell::latency(measured.latency.map_or(f64::NAN, |latency| latency.p99)),
                Cell::significant(ratio, 3),
                Cell::significant(published, 2),
                Cell::latency(measured.models[0].mean_s),
                Cell::latency(measured.models[1].mean_s),
            ]);
        }
        charts.push(Chart::from(chart).title(format!("{title}: {} times as fast", number::significant(ratio, 2))));
    }
    let over_time = &measured[2 * PANELS.len()..];
    let from = most_different(&over_time[0].utilization, &over_time[1].utilization);
    let y = Axis::percent("Devices busy").from(0.0).to(1.0);
    let mut chart = LineChart::new(Axis::linear("Time").unit("s"), y);
    for (policy, measured) in POLICIES.into_iter().zip(over_time) {
        let points = measured.utilization.iter().enumerate().map(|(index, &busy)| (index as f64 * bin.seconds(), busy));
        let points: Vec<_> = points.skip(from).take(STRETCH).collect();
        chart = chart.series(Series::steps(policy, points));
    }
    charts.push(Chart::from(chart).title("(d) devices busy through bursts (CV 3)"));
    let message = format!(
        "With both models over both devices, requests are answered {} (even load), {} (uneven), {} (bursts) times as fast on \
         average: a burst for one model can use both devices, which apart are busy to one half at most.",
        ratios[0], ratios[1], ratios[2]
    );
    let title = format!("2 × BERT-6.7B on 2 devices{}", lab.either(" (quick)", ""));
    Ok(Artwork::panels(title, 2, charts, table).saying(message).noting(format!(
        "3 requests/s over {seconds} s ((d): of 500 s the minute in which the two differ most, in steps of 2 s), 14 GB per device, no deadline. Published ratios: 1.3, 6.6, 1.9."
    )))
}

/// How many bins of utilisation are shown.
const STRETCH: usize = 30;

/// Where the stretch begins in which `a` exceeds `b` most, all in all.
fn most_different(a: &[f64], b: &[f64]) -> usize {
    let excess: Vec<f64> = a.iter().zip(b).map(|(a, b)| (a - b).max(0.0)).collect();
    let sums = excess.windows(STRETCH).map(|stretch| stretch.iter().sum::<f64>()).enumerate();
    sums.fold((0, 0.0), |best, (from, sum)| if sum > best.1 { (from, sum) } else { best }).0
}
