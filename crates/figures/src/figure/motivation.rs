//! Eight equal models on eight devices: model parallelism against replication (the report's figures 1 to 7, the paper's 4 to 7).

use super::FigureInfo;
use crate::artwork::Artwork;
use crate::case::Case;
use crate::cell::Measured;
use crate::error::FiguresError;
use crate::lab::Lab;
use crate::setting::{Setting, Slo, gamma, placement, policy};
use crate::support::{ALPHAS, V100_LAYERS, alpha_profile};
use statmux_report::chart::{Axis, LineChart, Series};
use statmux_report::number;
use statmux_report::table::{Cell, Column, Table};

pub(super) const MEMORY_MEAN: FigureInfo = FigureInfo {
    name: "fig1",
    about: "mean latency against memory per device",
    draw: |lab| memory(lab, Statistic::Mean),
};
pub(super) const MEMORY_P99: FigureInfo = FigureInfo {
    name: "fig2",
    about: "p99 latency against memory per device",
    draw: |lab| memory(lab, Statistic::P99),
};
pub(super) const CV_MEAN: FigureInfo = FigureInfo {
    name: "fig3",
    about: "mean latency against the CV of the gaps between requests",
    draw: |lab| burstiness(lab, Statistic::Mean),
};
pub(super) const CV_P99: FigureInfo = FigureInfo {
    name: "fig4",
    about: "p99 latency against the CV of the gaps between requests",
    draw: |lab| burstiness(lab, Statistic::P99),
};
pub(super) const RATE_MEAN: FigureInfo =
    FigureInfo { name: "fig5", about: "mean latency against the total rate", draw: |lab| rate(lab, Statistic::Mean) };
pub(super) const RATE_P99: FigureInfo =
    FigureInfo { name: "fig6", about: "p99 latency against the total rate", draw: |lab| rate(lab, Statistic::P99) };
pub(super) const SLO: FigureInfo =
    FigureInfo { name: "fig7", about: "SLO attainment against the SLO scale", draw: slo };
pub(super) const OVERHEAD: FigureInfo = FigureInfo {
    name: "paper7b",
    about: "SLO attainment against the SLO scale, for pipelines with overhead",
    draw: overhead,
};

/// Which statistic of the latencies is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statistic {
    Mean,
    P99,
}

impl Statistic {
    fn of(self, measured: &Measured) -> f64 {
        measured.latency.map_or(f64::NAN, |latency| match self {
            Self::Mean => latency.mean,
            Self::P99 => latency.p99,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Mean => "Mean",
            Self::P99 => "p99",
        }
    }
}

/// Eight BERT-2.6B on eight devices.
pub(super) fn eight_models(workload: String) -> Setting {
    Setting { slo: Slo::None, workload, profile: V100_LAYERS.to_owned(), ..Setting::new(8, vec!["bert-2.6b"; 8]) }
}

/// Every model on every one of the equal groups of `pp` stages.
pub(super) fn pipelines(pp: u32) -> String {
    let groups = (0..8 / pp).map(|_| (1, pp, (0..8).collect())).collect::<Vec<_>>();
    placement(&groups)
}

/// A sweep: at each x, one case per policy and seed.
struct Sweep {
    x: Axis,
    x_key: &'static str,
    policies: Vec<(&'static str, Vec<Point>)>,
}

/// One x of a curve, with a case for every seed.
struct Point {
    x: f64,
    cases: Vec<Case>,
}

/// What was measured along a curve: at each x, what the seeds gave.
type Curve = Vec<(f64, Vec<Measured>)>;

/// What came out at one x: the mean over seeds and the extremes.
#[derive(Clone, Copy, Debug)]
struct Spread {
    mean: f64,
    low: f64,
    high: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { mean, low, high }
    }
}

impl Sweep {
    /// Measures everything; by policy, `(x, what the seeds gave)`.
    fn measure(&self, lab: &Lab) -> Result<Vec<Curve>, FiguresError> {
        let points = || self.policies.iter().flat_map(|(_, points)| points);
        let cases: Vec<Case> = points().flat_map(|point| point.cases.iter().cloned()).collect();
        let mut measured = lab.measure(&cases)?.into_iter();
        let curves = self.policies.iter().map(|(_, points)| {
            points.iter().map(|point| (point.x, measured.by_ref().take(point.cases.len()).collect())).collect()
        });
        Ok(curves.collect())
    }

    /// The curves of one statistic as a chart, and as a table.
    fn draw(&self, y: Axis, y_key: &str, curves: &[Curve], of: impl Fn(&Measured) -> f64) -> (LineChart, Table) {
        let mut chart = LineChart::new(self.x.clone(), y);
        let keys = [("low", "lowest seed"), ("high", "highest seed")];
        let mut columns = vec![Column::number(self.x_key).key(self.x_key), Column::text("policy")];
        columns.push(Column::number(y_key).key(y_key));
        columns.extend(keys.map(|(key, heading)| Column::number(heading).key(format!("{y_key}_{key}"))));
        columns.push(Column::number("seeds"));
        let mut table = Table::new(columns);
        for ((policy, _), curve) in self.policies.iter().zip(curves) {
            let spreads = curve.iter().map(|(x, measured)| {
                let values: Vec<f64> = measured.iter().map(&of).collect();
                (*x, Spread::of(&values), values.len())
            });
            let spreads: Vec<_> = spreads.collect();
            let line: Vec<_> = spreads.iter().map(|(x, spread, _)| (*x, spread.mean)).collect();
            let band: Vec<_> = spreads.iter().map(|(x, spread, _)| (*x, spread.low, spread.high)).collect();
            chart = chart.series(Series::new(*policy, line).band(band));
            for (x, spread, seeds) in spreads {
                let number = |value| Cell::significant(value, 4);
                table.row([
                    number(x),
                    Cell::from(*policy),
                    number(spread.mean),
                    number(spread.low),
                    number(spread.high),
                    Cell::count(seeds as u64),
                ]);
            }
        }
        (chart, table)
    }
}

/// Where the stage times of these figures are from.
const STAGES: &str = "Stage times of BERT-2.6B are derived: 238 ms on one device as published, cut into stages from 32 equal \
                      blocks between an embedding and an output layer measured on BERT-1.3B.";

const PARALLEL: &str = "model parallelism (pipelines)";
const REPLICATION: &str = "replication";

fn seeds(lab: &Lab) -> std::ops::Range<u64> {
    0..lab.either(3, 5)
}

fn quick_word(lab: &Lab) -> &'static str {
    lab.either(" (quick)", "")
}

/// Cases of one point: model parallelism with a given placement.
fn parallel(name: &str, setting: &Setting, pp: u32, seeds: std::ops::Range<u64>) -> Vec<Case> {
    let case = |seed| {
        Case::placed(
            format!("parallel-{name}-seed{seed}"),
            Setting { seed, ..setting.clone() }.to_toml(),
            pipelines(pp),
        )
    };
    seeds.map(case).collect()
}

/// Cases of one point: uniform replication.
fn replicated(name: &str, setting: &Setting, seeds: std::ops::Range<u64>) -> Vec<Case> {
    let case = |seed| {
        let planner = policy("uniform-replication");
        Case::planned(format!("replication-{name}-seed{seed}"), Setting { seed, planner, ..setting.clone() }.to_toml())
    };
    seeds.map(case).collect()
}

fn memory(lab: &Lab, statistic: Statistic) -> Result<Artwork, FiguresError> {
    let seconds = lab.either(4_000.0, 20_000.0);
    let setting = |gigabytes: f64| Setting {
        memory: format!("{gigabytes} GB"),
        ..eight_models(gamma(20.0, 3.0, seconds, "\"uniform\""))
    };
    let pipelined = [(7.0, 8), (12.0, 4), (22.0, 2), (44.0, 1)].map(|(gigabytes, pp)| Point {
        x: gigabytes,
        cases: parallel(&format!("{gigabytes}gb"), &setting(gigabytes), pp, seeds(lab)),
    });
    let replicas = (1..=8).map(|i| {
        let gigabytes = 5.5 * f64::from(i);
        Point { x: gigabytes, cases: replicated(&format!("{gigabytes}gb"), &setting(gigabytes), seeds(lab)) }
    });
    let sweep = Sweep {
        x: Axis::linear("Memory for weights per device").unit("GB").from(0.0),
        x_key: "memory_gb",
        policies: vec![(PARALLEL, pipelined.into()), (REPLICATION, replicas.collect())],
    };
    let curves = sweep.measure(lab)?;
    let y = Axis::log(format!("{} latency", statistic.word())).unit("s");
    let (chart, table) = sweep.draw(y, "latency_s", &curves, |measured| statistic.of(measured));
    let of = |curve: usize, point: usize| {
        Spread::of(&curves[curve][point].1.iter().map(|m| statistic.of(m)).collect::<Vec<_>>()).mean
    };
    let (least_parallel, least_replicated) = (of(0, 0), of(1, 0));
    let message = format!(
        "With memory for one model per device, pipelines answer {} times as fast ({} against {}); with memory for all \
         eight models the two are the same.",
        number::significant(least_replicated / least_parallel, 2),
        number::latency(least_parallel),
        number::latency(least_replicated),
    );
    let title = format!("{} latency over memory, 8 × BERT-2.6B, 8 devices{}", statistic.word(), quick_word(lab));
    Ok(Artwork::new(title, chart.into(), table).saying(message).noting(format!(
        "20 requests/s with CV 3 over {seconds} s, no deadline. The band spans the seeds. A V100 has 13 GB for weights. {STAGES}"
    )))
}

fn burstiness(lab: &Lab, statistic: Statistic) -> Result<Artwork, FiguresError> {
    let seconds = lab.either(5_000.0, 100_000.0);
    let steps = lab.either(8, 20);
    let cvs = (0..steps).map(|i| 0.1 + 7.9 * f64::from(i) / f64::from(steps - 1));
    let cvs: Vec<f64> = cvs.map(|cv| (cv * 1000.0).round() / 1000.0).collect();
    let setting = |cv: f64| eight_models(gamma(20.0, cv, seconds, "\"uniform\""));
    let x = Axis::linear("CV of the gaps between requests").from(0.0);
    let curves = two_policies(lab, x, "cv", &cvs, setting)?;
    let y = Axis::log(format!("{} latency", statistic.word())).unit("s");
    let (chart, table) = curves.sweep.draw(y, "latency_s", &curves.measured, |measured| statistic.of(measured));
    let last = cvs.len() - 1;
    let message = format!(
        "With regular arrivals the two are close (replication takes {} times as long as pipelines); with bursts (CV 8) it \
         takes {} times as long.",
        number::significant(curves.ratio(1, |m| statistic.of(m)), 2),
        number::significant(curves.ratio(last, |m| statistic.of(m)), 2),
    );
    let title = format!("{} latency over burstiness, 8 × BERT-2.6B, 8 devices{}", statistic.word(), quick_word(lab));
    Ok(Artwork::new(title, chart.into(), table).saying(message).noting(format!(
        "20 requests/s over {seconds} s, 13 GiB per device, no deadline. The band spans the seeds. {STAGES}"
    )))
}

fn rate(lab: &Lab, statistic: Statistic) -> Result<Artwork, FiguresError> {
    let seconds = lab.either(2_000.0, 10_000.0);
    let steps = lab.either(18, 24);
    let rates = (0..steps).map(|i| 0.8 + 27.2 * f64::from(i) / f64::from(steps - 1));
    let rates: Vec<f64> = rates.map(|rate| (rate * 1000.0).round() / 1000.0).collect();
    let setting = |rate: f64| eight_models(gamma(rate, 3.0, seconds, "\"uniform\""));
    let curves =
        two_policies(lab, Axis::linear("Total rate").unit("requests/s").from(0.0), "rate_rps", &rates, setting)?;
    let y = Axis::log(format!("{} latency", statistic.word())).unit("s");
    let (chart, table) = curves.sweep.draw(y, "latency_s", &curves.measured, |measured| statistic.of(measured));
    let ratios: Vec<f64> = (0..rates.len()).map(|point| curves.ratio(point, |m| statistic.of(m))).collect();
    let crossing = ratios.iter().rposition(|&ratio| ratio >= 1.0).filter(|&last| last + 1 < rates.len());
    let end = match crossing {
        Some(last) => format!(
            "near saturation, from about {} requests/s, replication is faster",
            number::significant(rates[last + 1], 2)
        ),
        None => "replication never becomes faster".to_owned(),
    };
    let best = ratios.iter().copied().fold(0.0, f64::max);
    let message = format!(
        "Pipelines answer up to {} times as fast at low and middle rates; {end}.",
        number::significant(best, 2)
    );
    let title = format!("{} latency over total rate, 8 × BERT-2.6B, 8 devices{}", statistic.word(), quick_word(lab));
    Ok(Artwork::new(title, chart.into(), table)
        .saying(message)
        .noting(format!("CV 3 over {seconds} s, 13 GiB per device, no deadline. The band spans the seeds. The original stops at 24 requests/s; we go on to \
                  where pipelines saturate. {STAGES}")))
}

/// Pipelines of eight stages and uniform replication over one axis.
struct Curves {
    sweep: Sweep,
    measured: Vec<Curve>,
}

impl Curves {
    /// Replication over model parallelism at one point.
    fn ratio(&self, point: usize, of: impl Fn(&Measured) -> f64) -> f64 {
        let mean = |curve: usize| self.measured[curve][point].1.iter().map(&of).sum::<f64>();
        mean(1) / mean(0)
    }
}

fn two_policies(
    lab: &Lab,
    x: Axis,
    x_key: &'static str,
    xs: &[f64],
    setting: impl Fn(f64) -> Setting,
) -> Result<Curves, FiguresError> {
    let name = |x: f64| format!("{}-{x}", x_key.split('_').next().unwrap_or(x_key));
    let pipelined = xs.iter().map(|&x| Point { x, cases: parallel(&name(x), &setting(x), 8, seeds(lab)) });
    let replicas = xs.iter().map(|&x| Point { x, cases: replicated(&name(x), &setting(x), seeds(lab)) });
    let sweep = Sweep { x, x_key, policies: vec![(PARALLEL, pipelined.collect()), (REPLICATION, replicas.collect())] };
    let measured = sweep.measure(lab)?;
    Ok(Curves { sweep, measured })
}

fn slo_setting(lab: &Lab, scale: f64) -> Setting {
    let seconds = lab.either(500.0, 2_000.0);
    Setting { slo: Slo::Scale(scale), ..eight_models(gamma(30.0, 3.0, seconds, "\"uniform\"")) }
}

fn slo(lab: &Lab) -> Result<Artwork, FiguresError> {
    let scales: Vec<f64> = (1..=20).map(f64::from).collect();
    let x = Axis::linear("SLO scale (deadline over latency alone on a device)").from(0.0);
    let curves = two_policies(lab, x, "slo_scale", &scales, |scale| slo_setting(lab, scale))?;
    let y = Axis::percent("SLO attainment").from(0.0).to(1.0);
    let (chart, table) = curves.sweep.draw(y, "slo_attainment", &curves.measured, |measured| measured.attainment);
    let ahead: Vec<bool> = (0..scales.len()).map(|point| curves.ratio(point, |m| m.attainment) < 1.0).collect();
    let until = ahead.iter().skip(1).position(|&ahead| !ahead).map_or(20.0, |point| scales[point]);
    let message = format!(
        "Under tight deadlines pipelines answer more requests in time, up to a scale of about {until}; with more time \
         the two meet and replication, which wastes nothing between stages, is slightly ahead."
    );
    Ok(Artwork::new(
        format!("Attainment over SLO scale, 8 × BERT-2.6B, 8 devices{}", quick_word(lab)),
        chart.into(),
        table,
    )
    .saying(message)
    .noting(format!("30 requests/s with CV 3, 13 GiB per device. The band spans the seeds. {STAGES}")))
}

fn overhead(lab: &Lab) -> Result<Artwork, FiguresError> {
    let scales: Vec<f64> = (1..=20).map(f64::from).collect();
    let name = |scale: f64| format!("slo-{scale}");
    let mut policies = vec![(
        REPLICATION,
        scales
            .iter()
            .map(|&x| Point { x, cases: replicated(&name(x), &slo_setting(lab, x), seeds(lab)) })
            .collect::<Vec<_>>(),
    )];
    const NAMES: [&str; 6] = ["pipeline, α = 1.0", "α = 1.1", "α = 1.2", "α = 1.3", "α = 1.4", "α = 1.5"];
    for (alpha, label) in ALPHAS.into_iter().zip(NAMES) {
        let point = |&x: &f64| {
            let setting = Setting {
                profile: alpha_profile(alpha),
                // The overhead is in the stage times already.
                simulation: crate::setting::PUBLISHED_RULES.replace("0.009", "0.0"),
                ..slo_setting(lab, x)
            };
            Point { x, cases: parallel(&format!("alpha-{alpha:.1}-{}", name(x)), &setting, 8, seeds(lab)) }
        };
        policies.push((label, scales.iter().map(point).collect()));
    }
    let x = Axis::linear("SLO scale (deadline over latency alone on a device)").from(0.0);
    let sweep = Sweep { x, x_key: "slo_scale", policies };
    let curves = sweep.measure(lab)?;
    let y = Axis::percent("SLO attainment").from(0.0).to(1.0);
    let (_, table) = sweep.draw(y.clone(), "slo_attainment", &curves, |measured| measured.attainment);
    // Seven bands would hide each other: lines alone.
    let mut chart = LineChart::new(sweep.x.clone(), y);
    for ((label, _), curve) in sweep.policies.iter().zip(&curves) {
        let mean = |measured: &[Measured]| measured.iter().map(|m| m.attainment).sum::<f64>() / measured.len() as f64;
        let line: Vec<_> = curve.iter().map(|(x, measured)| (*x, mean(measured))).collect();
        chart = chart.series(Series::new(*label, line).without_markers());
    }
    Ok(Artwork::new(format!("Attainment over SLO scale by pipeline overhead α{}", quick_word(lab)), chart.into(), table)
        .saying("A pipeline without overhead is never behind replication; each tenth of overhead costs it most where deadlines are loose and throughput decides.")
        .noting("30 requests/s with CV 3; each of the eight stages takes α times an eighth of the latency on one device."))
}
