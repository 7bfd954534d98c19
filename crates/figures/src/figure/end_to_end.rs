//! Attainment over cluster size, rate, burstiness and SLO scale, for three model sets on three traces (the report's figures 8
//! to 11, paper 12): planned on the requests that are scored, as published, and planned on earlier ones.

use super::FigureInfo;
use super::sweep::{Curve, Planned as PlannedCurve, crossing, measure};
use crate::artwork::Artwork;
use crate::case::Case;
use crate::error::FiguresError;
use crate::lab::Lab;
use crate::published::MIXED;
use crate::setting::{Setting, Slo};
use crate::support::V100_LAYERS;
use crate::traces::{Planned, Source};
use statmux_report::chart::{Axis, Chart, LineChart, Series};
use statmux_report::number;
use statmux_report::table::{Cell, Column, Table};

macro_rules! figures {
    ($($own:ident $earlier:ident $number:literal $over:literal $axis:expr;)*) => {
        $(
            pub(super) const $own: FigureInfo = FigureInfo {
                name: concat!("fig", $number),
                about: concat!("attainment over ", $over, ", planned on the requests that are scored"),
                draw: |lab| draw(lab, $axis, Planned::OnItself),
            };
            pub(super) const $earlier: FigureInfo = FigureInfo {
                name: concat!("fig", $number, "-earlier"),
                about: concat!("attainment over ", $over, ", planned on earlier requests"),
                draw: |lab| draw(lab, $axis, Planned::Before),
            };
        )*
    };
}

figures! {
    DEVICES DEVICES_EARLIER "8" "cluster size" Over::Devices;
    RATE RATE_EARLIER "9" "rate" Over::Rate;
    CV CV_EARLIER "10" "burstiness" Over::Cv;
    SLO SLO_EARLIER "11" "SLO scale" Over::Slo;
}

/// What a figure varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Devices,
    Rate,
    Cv,
    Slo,
}

/// A published set of models, with the cluster it is served from unless that is varied.
struct ModelSet {
    name: &'static str,
    key: &'static str,
    models: fn() -> Vec<&'static str>,
    devices: u32,
    /// Cluster sizes.
    sizes: &'static [u32],
    /// Fewer, for quick runs.
    few: [u32; 3],
    /// Published rule: separate groups for models of very different latency.
    buckets: bool,
    /// By what each trace's rates are multiplied, so that the cluster is busy.
    rates: [f64; 3],
}

const SETS: [ModelSet; 3] = [
    ModelSet {
        name: "S1: 32 × BERT-1.3B",
        key: "s1",
        models: || vec!["bert-1.3b"; 32],
        devices: 16,
        sizes: &[4, 8, 12, 16, 24, 32, 48],
        few: [8, 16, 24],
        buckets: false,
        rates: [0.3, 45.0, 3.5],
    },
    ModelSet {
        name: "S2: 32 × BERT-6.7B",
        key: "s2",
        models: || vec!["bert-6.7b"; 32],
        devices: 64,
        sizes: &[32, 40, 48, 56, 64, 96, 128],
        few: [32, 64, 96],
        buckets: false,
        rates: [0.45, 75.0, 5.0],
    },
    ModelSet {
        name: "S3: 60 mixed",
        key: "s3",
        models: || MIXED.into_iter().cycle().take(60).collect(),
        devices: 48,
        sizes: &[16, 24, 32, 40, 48, 64],
        few: [16, 32, 48],
        buckets: true,
        rates: [0.4, 75.0, 4.5],
    },
];

/// The policies, as they are called in the report.
const POLICIES: [&str; 4] = ["AlpaServe", "Clockwork++", "SR", "statmux"];

impl Over {
    fn values(self, lab: &Lab, set: &ModelSet, source: Source) -> Vec<f64> {
        let values: (&[f64], [f64; 3]) = match self {
            Self::Devices => {
                let sizes = lab.either(&set.few[..], set.sizes);
                return sizes.iter().copied().map(f64::from).collect();
            }
            Self::Rate => (&[0.25, 0.5, 1.0, 1.5, 2.0, 3.0], [0.5, 1.0, 2.0]),
            Self::Cv if source == Source::Maf1 => (&[1.0, 2.0, 3.0, 4.0, 6.0, 8.0], [1.0, 4.0, 8.0]),
            Self::Cv => (&[0.5, 1.0, 1.5, 2.0, 3.0, 4.0], [0.5, 1.0, 3.0]),
            Self::Slo => (&[0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0], [0.75, 2.0, 5.0]),
        };
        lab.either(values.1.to_vec(), values.0.to_vec())
    }

    fn axis(self, source: Source) -> Axis {
        match self {
            Self::Devices => Axis::linear("Devices").from(0.0),
            Self::Rate => Axis::linear("Rate scale").from(0.0),
            Self::Cv if source == Source::Maf1 => Axis::linear("CV of the gaps").from(0.0),
            Self::Cv => Axis::linear("CV scale").from(0.0),
            Self::Slo => Axis::linear("SLO scale").from(0.0),
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Rate => "rate_scale",
            Self::Cv => "cv",
            Self::Slo => "slo_scale",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Devices => "cluster size",
            Self::Rate => "rate",
            Self::Cv => "burstiness",
            Self::Slo => "SLO scale",
        }
    }

    /// Whether attainment rises along this axis.
    fn rising(self) -> bool {
        matches!(self, Self::Devices | Self::Slo)
    }

    /// How many times better `a` is than `b` where each reaches the target.
    fn gain(self, a: f64, b: f64) -> f64 {
        if self.rising() { b / a } else { a / b }
    }
}

/// The CV of a column unless it is varied: absolute for MAF1, as published, relative for the others.
fn usual_cv(source: Source) -> f64 {
    if source == Source::Maf1 { 4.0 } else { 1.0 }
}

/// How much of a trace is scored. ServeGen's windows are ten minutes long.
fn minutes(lab: &Lab, source: Source) -> u32 {
    if source == Source::Servegen { 10 } else { lab.either(4, 10) }
}

/// Policies that are too slow for a quick run are left out of it.
fn left_out(lab: &Lab, set: &ModelSet, policy: &str) -> bool {
    lab.quick() && set.buckets && policy == "statmux"
}

fn planner(lab: &Lab, set: &ModelSet, source: Source, policy: &str) -> String {
    match policy {
        "AlpaServe" if set.buckets && !lab.quick() => "policy = \"alpaserve-buckets\"\n".to_owned(),
        "AlpaServe" => "policy = \"alpaserve\"\n".to_owned(),
        // Four windows in each stretch: as many as in the published day of MAF2.
        "Clockwork++" => format!("policy = \"clockwork++\"\ninterval = \"{} s\"\n", minutes(lab, source) * 60 / 4),
        "SR" => "policy = \"selective-replication\"\n".to_owned(),
        _ => format!("policy = \"statmux\"\nmoves = {}\nsmaller = 0\n", lab.either(40, 150)),
    }
}

fn case(
    lab: &Lab,
    over: Over,
    planned: Planned,
    (set, index, source): (&ModelSet, usize, Source),
    policy: &str,
    x: f64,
) -> Case {
    let rate = set.rates[index] * if over == Over::Rate { x } else { 1.0 };
    let cv = if over == Over::Cv { x } else { usual_cv(source) };
    let devices = if over == Over::Devices { x as u32 } else { set.devices };
    let (workload, train) = lab.traces.workload(source, minutes(lab, source), planned, rate, cv);
    let setting = Setting {
        slo: Slo::Scale(if over == Over::Slo { x } else { 5.0 }),
        workload,
        train,
        planner: planner(lab, set, source, policy),
        profile: V100_LAYERS.to_owned(),
        ..Setting::new(devices, (set.models)())
    };
    Case::planned(format!("{}-{}-{}-{x}", set.key, source.key(), policy.to_lowercase()), setting.to_toml())
}

fn draw(lab: &Lab, over: Over, planned: Planned) -> Result<Artwork, FiguresError> {
    let panels =
        SETS.iter().flat_map(|set| Source::ALL.into_iter().enumerate().map(move |(i, source)| (set, i, source)));
    let panels: Vec<(&ModelSet, usize, Source)> = panels.collect();
    let curves = panels.iter().flat_map(|&panel| {
        let xs = over.values(lab, panel.0, panel.2);
        POLICIES.map(|label| {
            let xs = if left_out(lab, panel.0, label) { &[] } else { &xs[..] };
            let points = xs.iter().map(|&x| (x, case(lab, over, planned, panel, label, x)));
            PlannedCurve { label, points: points.collect() }
        })
    });
    let curves = measure(lab, curves.collect())?;
    let mut table = Table::new([
        Column::text("models"),
        Column::text("trace"),
        Column::text("policy"),
        Column::number(over.key()).key(over.key()),
        Column::number("requests"),
        Column::number("SLO attainment").key("slo_attainment"),
        Column::text("groups"),
    ]);
    let mut summary = Table::new(
        [Column::text("models"), Column::text("trace")]
            .into_iter()
            .chain(POLICIES.map(|policy| Column::number(format!("{policy} at 99 %"))))
            .chain([Column::number("gain over SR")]),
    );
    let mut charts = Vec::new();
    let mut gains = Vec::new();
    for (&(set, _, source), of) in panels.iter().zip(curves.chunks(POLICIES.len())) {
        let y = Axis::percent("SLO attainment").to(1.0);
        // What matters where everything is above a half is how near to 100 % it is.
        let low = of.iter().flat_map(|curve| curve.attainment()).any(|(_, attainment)| attainment < 0.5);
        let y = if low { y.from(0.0) } else { y };
        let mut chart = LineChart::new(over.axis(source), y).target(0.99, "99 %");
        for curve in of.iter().filter(|curve| !curve.points.is_empty()) {
            chart = chart.series(Series::new(curve.label, curve.attainment()));
            fill(&mut table, set, lab.traces.label(source), curve);
        }
        charts.push(Chart::from(chart).title(format!("{}, {}", set.name, lab.traces.label(source))));
        let at = |curve: &Curve| crossing(&curve.attainment(), 0.99, over.rising());
        let gain = at(&of[0]).zip(at(&of[2])).map(|(ours, theirs)| over.gain(ours, theirs));
        gains.extend(gain);
        let crossings = of.iter().map(|curve| Cell::from(written(curve, over.rising())));
        let gain = gain.map_or_else(Cell::nothing, |gain| Cell::significant(gain, 3));
        let heads = [Cell::from(set.name), Cell::from(lab.traces.label(source))];
        summary.row(heads.into_iter().chain(crossings).chain([gain]));
    }
    let highest = gains.iter().copied().fold(0.0, f64::max);
    let wins = wins(&curves);
    let mut message = format!(
        "AlpaServe is at least as good as SR at {} of {} points, statmux at least as good as AlpaServe at {} of {}.",
        wins.alpaserve, wins.points, wins.statmux, wins.statmux_points
    );
    if !gains.is_empty() {
        let what = match over {
            Over::Devices => "fewer devices than SR for 99 %",
            Over::Rate => "the rate of SR at 99 %",
            Over::Cv => "the burstiness of SR at 99 %",
            Over::Slo => "tighter deadlines than SR at 99 %",
        };
        message.push_str(&format!(
            " Where both reach 99 %, AlpaServe takes up to {} times {what} ({} panels).",
            number::significant(highest, 2),
            gains.len()
        ));
    }
    let how = match planned {
        Planned::OnItself => "planned on the requests that are scored",
        Planned::Before => "planned on the stretch before",
    };
    let title = format!("Attainment over {}, {how}{}", over.word(), lab.either(" (quick)", ""));
    let note = format!(
        "{} minutes of the Azure traces and ten of ServeGen. Unless varied: SLO scale 5, CV 4 (MAF1) or as recorded. Clockwork++ plans each \
         quarter of the scored stretch knowing its requests, and swaps for nothing. The rate scale 1 is {}. MAF2-like \
         traffic is synthetic: drawn from the published counts and gap statistics of the 119 applications. Stage times \
         are derived (see the published cells).{}",
        minutes(lab, Source::Maf1),
        SETS.map(|set| format!("{:?} ({})", set.rates, set.key)).join(", "),
        lab.either(" A quick run searches S3 without buckets and leaves out statmux there.", ""),
    );
    Ok(Artwork::panels(title, 3, charts, table).saying(message).noting(note).summed_up(summary))
}

/// Where a curve crosses 99 %, or on which side of all its points it would.
fn written(curve: &Curve, rising: bool) -> String {
    let points = curve.attainment();
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return number::NOTHING.to_owned() };
    match crossing(&points, 0.99, rising) {
        Some(x) => number::significant(x, 3),
        None if (first.1 >= 0.99) == rising => format!("below {}", number::significant(first.0, 3)),
        None => format!("above {}", number::significant(last.0, 3)),
    }
}

struct Wins {
    points: usize,
    alpaserve: usize,
    statmux_points: usize,
    statmux: usize,
}

/// How often one policy is not behind another, a tenth of a point aside.
fn wins(curves: &[Curve]) -> Wins {
    let mut wins = Wins { points: 0, alpaserve: 0, statmux_points: 0, statmux: 0 };
    for of in curves.chunks(POLICIES.len()) {
        for index in 0..of[0].points.len() {
            let at = |curve: usize| of[curve].points[index].1.attainment;
            wins.points += 1;
            wins.alpaserve += usize::from(at(0) >= at(2) - 0.001);
            if !of[3].points.is_empty() {
                wins.statmux_points += 1;
                wins.statmux += usize::from(at(3) >= at(0) - 0.001);
            }
        }
    }
    wins
}

fn fill(table: &mut Table, set: &ModelSet, trace: &str, curve: &Curve) {
    for (x, measured) in &curve.points {
        table.row([
            Cell::from(set.name),
            Cell::from(trace),
            Cell::from(curve.label),
            Cell::significant(*x, 4),
            Cell::count(measured.requests),
            Cell::percent(measured.attainment),
            Cell::from(measured.shapes.as_str()),
        ]);
    }
}
