//! Very large models, changed traffic, batching, and placement without its parts (paper 13, 14, 15 and 17).

use super::FigureInfo;
use super::sweep::{Curve, Planned, measure};
use crate::artwork::Artwork;
use crate::case::Case;
use crate::error::FiguresError;
use crate::lab::Lab;
use crate::published::{Row, rows};
use crate::setting::{POWER_LAW, PUBLISHED_RULES, Setting, Slo, gamma, placement};
use crate::support::{V100, V100_LARGE, V100_LAYERS};
use statmux_report::chart::{Axis, Chart, LineChart, Series};
use statmux_report::number;
use statmux_report::table::{Cell, Column, Table};

pub(super) const LARGE: FigureInfo =
    FigureInfo { name: "paper13", about: "very large models that fit no single device", draw: large };
pub(super) const ROBUSTNESS: FigureInfo =
    FigureInfo { name: "paper14", about: "planned on one hour, scored on another", draw: robustness };
pub(super) const BATCHING: FigureInfo = FigureInfo { name: "paper15", about: "the gain of batching", draw: batching };
pub(super) const ABLATION: FigureInfo = FigureInfo {
    name: "paper17",
    about: "placement search without its parts, beside the published results",
    draw: ablation,
};

/// A panel: title, axis, the column of the table, and its curves.
struct Panel {
    title: &'static str,
    x: Axis,
    key: &'static str,
    curves: Vec<Planned>,
}

/// Panels that were measured: charts, all numbers, and the curves of each.
type Drawn = (Vec<Chart>, Table, Vec<Vec<Curve>>);

/// Measures all panels; curves as tables and charts of attainment.
fn panels(lab: &Lab, panels: Vec<Panel>) -> Result<Drawn, FiguresError> {
    let mut table = Table::new([
        Column::text("over"),
        Column::number("at"),
        Column::text("curve"),
        Column::number("requests"),
        Column::number("SLO attainment").key("slo_attainment"),
        Column::text("groups"),
    ]);
    let counts: Vec<usize> = panels.iter().map(|panel| panel.curves.len()).collect();
    let (heads, curves): (Vec<_>, Vec<_>) =
        panels.into_iter().map(|panel| ((panel.title, panel.x, panel.key), panel.curves)).unzip();
    let mut measured = measure(lab, curves.into_iter().flatten().collect())?.into_iter();
    let (mut charts, mut all) = (Vec::new(), Vec::new());
    for ((title, x, key), count) in heads.into_iter().zip(counts) {
        let curves: Vec<Curve> = measured.by_ref().take(count).collect();
        let mut chart = LineChart::new(x, Axis::percent("SLO attainment").from(0.0).to(1.0));
        for curve in &curves {
            chart = chart.series(Series::new(curve.label, curve.attainment()));
            for (x, measured) in &curve.points {
                table.row([
                    Cell::from(key),
                    Cell::significant(*x, 4),
                    Cell::from(curve.label),
                    Cell::count(measured.requests),
                    Cell::percent(measured.attainment),
                    Cell::from(measured.shapes.as_str()),
                ]);
            }
        }
        charts.push(Chart::from(chart).title(title));
        all.push(curves);
    }
    Ok((charts, table, all))
}

fn quick(lab: &Lab) -> &'static str {
    lab.either(" (quick)", "")
}

/// Its name, and the shape (op, pp) of each model's own group unless the placement is searched.
type LargePolicy = (&'static str, Option<(u32, u32)>);

const LARGE_POLICIES: [LargePolicy; 5] = [
    ("AlpaServe", None),
    ("(pp 16, op 1)", Some((1, 16))),
    ("(pp 8, op 2)", Some((2, 8))),
    ("(pp 4, op 4)", Some((4, 4))),
    ("(pp 2, op 8)", Some((8, 2))),
];

fn large(lab: &Lab) -> Result<Artwork, FiguresError> {
    let case = |policy: LargePolicy, rate: f64, cv: f64, slo: f64| {
        let seconds = lab.either(1_200.0, 12_000.0);
        let setting = Setting {
            // The published scripts give all groups the same latency of 4.6 s as the base of the SLO.
            slo: Slo::Seconds(4.6 * slo),
            workload: gamma(rate, cv, seconds, "\"uniform\""),
            profile: V100_LARGE.to_owned(),
            ..Setting::new(64, vec!["bert-104b"; 4])
        };
        let name = format!("{}-rate{rate}-cv{cv}-slo{slo}", policy.0.replace(['(', ')', ',', ' '], ""));
        match policy.1 {
            None => {
                let planner = "policy = \"alpaserve\"\nmax_pp = 8\nmax_op = 4\n".to_owned();
                Case::planned(name, Setting { planner, ..setting }.to_toml())
            }
            Some((op, pp)) => {
                let groups: Vec<_> = (0..4).map(|model| (op, pp, vec![model])).collect();
                Case::placed(name, setting.to_toml(), placement(&groups))
            }
        }
    };
    let sweep = |values: &[f64], of: &dyn Fn(LargePolicy, f64) -> Case| {
        LARGE_POLICIES.map(|policy| {
            let points = values.iter().map(|&x| (x, of(policy, x))).collect();
            Planned { label: policy.0, points }
        })
    };
    let rates = [0.5, 1.0, 2.0, 4.0, 6.0, 8.0];
    let slos = [0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0];
    let (charts, table, curves) = panels(
        lab,
        vec![
            Panel {
                title: "over rate (CV 4, SLO scale 2)",
                x: Axis::linear("Total rate").unit("requests/s").from(0.0),
                key: "rate_rps",
                curves: sweep(&rates, &|policy, rate| case(policy, rate, 4.0, 2.0)).into(),
            },
            Panel {
                title: "over burstiness (8 requests/s, SLO scale 2)",
                x: Axis::linear("CV of the gaps").from(0.0),
                key: "cv",
                curves: sweep(&[1.0, 2.0, 3.0, 4.0], &|policy, cv| case(policy, 8.0, cv, 2.0)).into(),
            },
            Panel {
                title: "over SLO scale (8 requests/s, CV 4)",
                x: Axis::linear("SLO scale").from(0.0),
                key: "slo_scale",
                curves: sweep(&slos, &|policy, slo| case(policy, 8.0, 4.0, slo)).into(),
            },
        ],
    )?;
    let at = |curve: &Curve| curve.points.last().map_or(0.0, |(_, measured)| measured.attainment);
    let best = curves[0][1..].iter().map(at).fold(0.0, f64::max);
    let (_, chosen) = curves[0][0].points.last().expect("the sweep has points");
    let message = format!(
        "At 8 requests/s AlpaServe shares {} among the models and answers {} in time; 16 devices for each model alone at best {}.",
        chosen.shapes,
        number::percent(chosen.attainment),
        number::percent(best)
    );
    let title = format!("4 × BERT-104B on 64 devices{}", quick(lab));
    Ok(Artwork::panels(title, 3, charts, table).saying(message).noting(
        "SLO scale 1 is 4.6 s, the published time of a request. The profile is derived: stages cut from 128 equal blocks, gain of \
         splitting operators as measured on BERT-1.3B.",
    ))
}

/// A curve of the robustness figure: policy, whether it is planned on the scored hour.
const ROBUST: [(&str, &str, bool); 5] = [
    ("AlpaServe, scored hour", "alpaserve", true),
    ("AlpaServe, other hour", "alpaserve", false),
    ("Clockwork++, each minute", "clockwork++", true),
    ("SR, scored hour", "selective-replication", true),
    ("SR, other hour", "selective-replication", false),
];

fn robustness(lab: &Lab) -> Result<Artwork, FiguresError> {
    let pairs: &[(u32, u32)] = lab.either(&[(0, 3)], &[(0, 3), (2, 5), (4, 1)]);
    let minutes = lab.either(5, 30);
    let devices: &[u32] = lab.either(&[8, 16, 32], &[4, 8, 12, 16, 24, 32]);
    let curve = |(label, policy, same): (&'static str, &str, bool), (test, train): (u32, u32)| {
        let case = |&devices: &u32| {
            let (workload, train) = lab.traces.two_hours(minutes, test, (!same).then_some(train), 0.2);
            let interval = if policy == "clockwork++" { "interval = \"60 s\"\n" } else { "" };
            let planner = format!("policy = \"{policy}\"\n{interval}");
            let setting = Setting {
                workload,
                train,
                planner,
                profile: V100_LAYERS.to_owned(),
                ..Setting::new(devices, vec!["bert-1.3b"; 32])
            };
            let when = if same { "same" } else { "other" };
            (f64::from(devices), Case::planned(format!("{policy}-{when}-hour{test}-{devices}"), setting.to_toml()))
        };
        Planned { label, points: devices.iter().map(case).collect() }
    };
    let titles = [
        "scored on hour 0, planned on hour 3",
        "scored on hour 2, planned on hour 5",
        "scored on hour 4, planned on hour 1",
    ];
    let of_pair = pairs.iter().zip(titles).map(|(&pair, title)| Panel {
        title,
        x: Axis::linear("Devices").from(0.0),
        key: title,
        curves: ROBUST.map(|policy| curve(policy, pair)).into(),
    });
    let (charts, table, curves) = panels(lab, of_pair.collect())?;
    let loss = |own: usize, other: usize| {
        let pairs = curves.iter().flat_map(|of| of[own].points.iter().zip(&of[other].points));
        let losses: Vec<f64> = pairs.map(|((_, own), (_, other))| own.attainment - other.attainment).collect();
        100.0 * losses.iter().sum::<f64>() / losses.len() as f64
    };
    let message = format!(
        "Planned on another hour, AlpaServe loses {} points on average, SR {}: pipelines shared by many models mind less which of \
         them is busy.",
        number::significant(loss(0, 1), 2),
        number::significant(loss(3, 4), 2)
    );
    let title = format!("Robustness to changed traffic, S1 on MAF1{}", quick(lab));
    let note = format!("{minutes} minutes of each hour, SLO scale 5, CV 4. Hours are at least three apart.");
    Ok(Artwork::panels(title, lab.either(1, 3), charts, table).saying(message).noting(note))
}

fn batching(lab: &Lab) -> Result<Artwork, FiguresError> {
    let scales: &[f64] =
        lab.either(&[1.5, 2.0, 3.0, 5.0, 8.0, 12.0], &[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0]);
    let curve = |(label, max_batch): (&'static str, u32)| {
        let case = |&slo: &f64| {
            let setting = Setting {
                slo: Slo::Scale(slo),
                workload: gamma(64.0, 4.0, lab.either(200.0, 1_000.0), POWER_LAW),
                planner: "policy = \"alpaserve\"\n".to_owned(),
                simulation: format!("{PUBLISHED_RULES}max_batch = {max_batch}\n"),
                profile: V100.to_owned(),
                ..Setting::new(8, vec!["bert-1.3b"; 16])
            };
            (slo, Case::planned(format!("batch{max_batch}-slo{slo}"), setting.to_toml()))
        };
        Planned { label, points: scales.iter().map(case).collect() }
    };
    let sizes = [("no batching", 1), ("batches of up to 2", 2), ("up to 4", 4), ("up to 8", 8), ("up to 16", 16)];
    let panel = Panel {
        title: "AlpaServe with and without batching",
        x: Axis::linear("SLO scale").from(0.0),
        key: "slo_scale",
        curves: sizes.map(curve).into(),
    };
    let (charts, table, curves) = panels(lab, vec![panel])?;
    let gain = curves[0][1..].iter().flat_map(|curve| curve.points.iter().zip(&curves[0][0].points));
    let gain = gain.map(|((_, with), (_, without))| with.attainment - without.attainment).fold(0.0, f64::max);
    let model = lab.support.model("bert-1.3b")?;
    let alone = model.config(statmux_core::ParallelConfig::SINGLE).map(|config| &config.stage_seconds);
    let whole = |batch: u32| alone.and_then(|stages| stages.get(&batch)).map_or(f64::NAN, |stages| stages.iter().sum());
    let message = format!(
        "Batches of two add up to {} points in this overload, larger ones nothing more: two requests take {} times as long as \
         one, sixteen {} times.",
        number::significant(100.0 * gain, 2),
        number::significant(whole(2) / whole(1), 3),
        number::significant(whole(16) / whole(1), 3),
    );
    let title = format!("Batching, 16 × BERT-1.3B on 8 devices{}", quick(lab));
    Ok(Artwork::panels(title, 1, charts, table).saying(message).noting(
        "64 requests/s with CV 4 and power-law rates. Times of batches measured on BERT-1.3B at sequence length 1,024; the paper's \
         at 2,048.",
    ))
}

const ABLATED: &str = "ablation_general_synthetic_mixed_all_fix_trace_seed";
const PARTS: [(&str, &str, &str); 3] = [
    ("mp-search-sep", "full search", "full search, published"),
    ("mp-greedy-4", "greedy, 4 stages", "greedy, published"),
    ("mp-round-robin", "round robin", "round robin, published"),
];

fn ablation(lab: &Lab) -> Result<Artwork, FiguresError> {
    let all: Vec<Row> = rows()?.into_iter().filter(|row| row.family == ABLATED).collect();
    let mut charts = Vec::new();
    let mut table = Table::new([
        Column::text("over"),
        Column::number("at"),
        Column::text("policy"),
        Column::number("published").key("published"),
        Column::number("ours").key("slo_attainment"),
    ]);
    let (mut planned, mut published) = (Vec::new(), Vec::new());
    for experiment in ["goodput_vs_rate", "goodput_vs_cv"] {
        let x = |row: &Row| if experiment.ends_with("rate") { row.total_rate } else { row.cv }.unwrap_or_default();
        for (policy, label, _) in PARTS {
            let mut of: Vec<&Row> =
                all.iter().filter(|row| row.exp_name == experiment && row.policy == policy).collect();
            of.sort_by(|a, b| x(a).total_cmp(&x(b)));
            of.dedup_by(|a, b| x(a) == x(b));
            let of: Vec<&Row> = of.into_iter().rev().step_by(lab.either(3, 1)).collect();
            let points = of.iter().map(|row| Ok((x(row), super::cells::planned(row, lab)?)));
            planned.push(Planned { label, points: points.collect::<Result<_, FiguresError>>()? });
            published.push(of.iter().map(|row| (x(row), row.attainment)).collect::<Vec<_>>());
        }
    }
    let measured = measure(lab, planned)?;
    let axes = [
        ("over rate (CV 4)", "rate_rps", Axis::linear("Total rate").unit("requests/s").from(0.0)),
        ("over burstiness (64 requests/s)", "cv", Axis::linear("CV of the gaps").from(0.0)),
    ];
    for ((title, key, x), (ours, theirs)) in axes.into_iter().zip(measured.chunks(3).zip(published.chunks(3))) {
        let mut chart = LineChart::new(x, Axis::percent("SLO attainment").from(0.5).to(1.0));
        for (curve, published) in ours.iter().zip(theirs) {
            chart = chart.series(Series::new(curve.label, curve.attainment()));
            for ((x, ours), (_, theirs)) in curve.points.iter().zip(published) {
                let cells = [Cell::from(key), Cell::significant(*x, 4), Cell::from(curve.label)];
                table.row(cells.into_iter().chain([Cell::percent(*theirs), Cell::percent(ours.attainment)]));
            }
        }
        for (published, (_, _, name)) in theirs.iter().zip(PARTS) {
            chart = chart.series(Series::new(name, published.clone()));
        }
        charts.push(Chart::from(chart).title(title));
    }
    let mean = |index: usize| {
        let values = [index, index + 3].into_iter().flat_map(|index| &measured[index].points);
        let values: Vec<f64> = values.map(|(_, measured)| measured.attainment).collect();
        100.0 * values.iter().sum::<f64>() / values.len() as f64
    };
    let message = format!(
        "The full search answers {} % in time on average, greedy placement on pipelines of four {} %, round robin {} %.",
        number::significant(mean(0), 3),
        number::significant(mean(1), 3),
        number::significant(mean(2), 3)
    );
    let title = format!("Placement search without its parts, 60 models on 32 devices{}", quick(lab));
    Ok(Artwork::panels(title, 2, charts, table)
        .saying(message)
        .noting("The published requests, SLO scale 5; stages derived layer by layer."))
}
