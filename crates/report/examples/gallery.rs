//! Renders one chart of each kind and a page that shows them all, to be looked at.
//!
//! `cargo run --release -p statmux-report --example gallery -- FOLDER`

use std::error::Error;
use std::path::PathBuf;

use statmux_report::chart::{AreaChart, Axis, BarChart, Cloud, HeatStrip, Histogram, LineChart, ScatterChart, Series};
use statmux_report::html::{Card, Page, Provenance, Section};
use statmux_report::sparkline::{Glyphs, Sparklines};
use statmux_report::table::{Cell, Column, Table};
use statmux_report::{Chart, number};

/// Pseudo-random numbers between 0 and 1, always the same.
fn noise(i: usize) -> f64 {
    ((i as f64 * 12.9898).sin() * 43_758.545_3).fract().abs()
}

/// A bursty load with a daily wave.
fn load(model: usize, steps: usize) -> Vec<f64> {
    (0..steps)
        .map(|t| {
            let wave = 1.0 + (t as f64 / steps as f64 * 6.3 * (1.0 + model as f64 / 3.0) + model as f64).sin();
            let burst = if noise(t / 6 + model * 977) > 0.85 { 4.0 } else { 0.2 };
            if noise(model) < 0.2 && t % 50 > 9 { 0.0 } else { wave * burst * (1.0 + noise(t + model * 31)) }
        })
        .collect()
}

fn attainment() -> Chart {
    let curve = |middle: f64| -> Vec<(f64, f64)> {
        (1..=14).map(|i| f64::from(i) * 5.0).map(|rate| (rate, 1.0 / (1.0 + ((rate - middle) / 5.0).exp()))).collect()
    };
    let band: Vec<_> =
        curve(58.0).iter().map(|&(x, y)| (x, y - 0.04 * (1.0 - y) - 0.01, (y + 0.03).min(1.0))).collect();
    LineChart::new(Axis::linear("Total rate").unit("requests/s").from(0.0), Axis::percent("SLO attainment").from(0.0))
        .series(Series::new("alpaserve", curve(58.0)).band(band))
        .series(Series::new("clockwork++", curve(46.0)))
        .series(Series::new("selective-replication", curve(38.0)))
        .series(Series::new("round-robin", curve(25.0)))
        .target(0.99, "99 %")
        .into()
}

fn charts() -> Vec<(&'static str, Chart)> {
    let latencies: Vec<f64> = (0..3_000).map(|i| 0.15 - 0.2 * (1.0 - noise(i)).max(1e-9).ln()).collect();
    let faster: Vec<f64> = latencies.iter().map(|latency| latency * 0.6).collect();
    let hours: Vec<f64> = (0..96).map(|i| f64::from(i) * 300.0).collect();
    let published: Vec<(f64, f64)> =
        (0..24).map(|i| noise(i * 7)).map(|p| (p, p + 0.06 * (noise((p * 1e4) as usize) - 0.5))).collect();
    let bars = BarChart::new(Axis::percent("SLO attainment"), ["16 devices", "24 devices", "32 devices"])
        .series("alpaserve", [0.971, 0.998, 1.0])
        .series("clockwork++", [0.913, 0.961, 0.995])
        .series("selective-replication", [0.82, 0.93, 0.985])
        .series("round-robin", [0.61, f64::NAN, 0.87])
        .target(0.99, "99 %")
        .with_values();
    let area = ["m0", "m1", "m2", "m3", "others"].iter().enumerate().fold(
        AreaChart::new(Axis::time("Time"), Axis::linear("Arrivals").unit("requests/s"), hours.clone()),
        |chart, (model, name)| chart.part(*name, load(model, 96)),
    );
    let heat = (0..24).fold(
        HeatStrip::new(Axis::time("Time"), Axis::linear("Arrivals").unit("requests/s"), 0.0, 28_800.0),
        |chart, model| chart.row(format!("bert-1.3b-{model}"), load(model, 480)),
    );
    let busy = |group: usize| -> Vec<(f64, f64)> {
        hours.iter().zip(load(group, 96)).map(|(&at, load)| (at, (load / 6.0).min(1.0))).collect()
    };
    let use_over_time = LineChart::new(Axis::time("Time"), Axis::percent("Utilisation").from(0.0).to(1.0))
        .series(Series::steps("group 0", busy(1)))
        .series(Series::steps("group 1", busy(5)));
    let log = LineChart::new(Axis::log("Load").unit("requests/s"), Axis::log("p99 latency").unit("s"))
        .series(Series::new("4 stages", [(0.1, 0.16), (1.0, 0.19), (10.0, 0.4), (40.0, 2.5), (80.0, 300.0)]))
        .series(Series::new("1 stage", [(0.1, 0.15), (1.0, 0.3), (10.0, 4.1), (30.0, 0.0), (40.0, 2_000.0)]));
    let many = (0..12).fold(LineChart::new(Axis::linear("x"), Axis::linear("y").unit("requests")), |chart, i| {
        let points: Vec<_> = (0..8).map(|x| (f64::from(x), 1e4 * (f64::from(x) + f64::from(i) * 1.5))).collect();
        chart.series(Series::new(format!("model-with-long-name-{i}"), points))
    });
    vec![
        ("attainment", attainment().title("Attainment over load, 32 models on 16 devices")),
        ("bars", bars.into()),
        (
            "cumulative",
            LineChart::new(Axis::linear("Latency").unit("s").from(0.0), Axis::percent("Requests answered"))
                .series(Series::cumulative("one device each", latencies.clone()))
                .series(Series::cumulative("groups of four", faster))
                .into(),
        ),
        ("histogram", Histogram::new(Axis::linear("Latency").unit("s"), "requests", latencies).into()),
        (
            "scatter",
            ScatterChart::new(
                Axis::percent("Published attainment").from(0.0).to(1.0),
                Axis::percent("Our attainment").from(0.0).to(1.0),
            )
            .cloud(Cloud::new("alpaserve", published[..12].to_vec()))
            .cloud(Cloud::new("selective-replication", published[12..].to_vec()))
            .with_diagonal()
            .into(),
        ),
        ("area", area.into()),
        ("heat", heat.into()),
        ("utilisation", Chart::from(use_over_time).size(720, 260)),
        ("log", log.into()),
        ("many", many.into()),
        (
            "empty",
            LineChart::new(Axis::linear("Rate"), Axis::percent("SLO attainment"))
                .series(Series::new("none", []))
                .into(),
        ),
        (
            "one-point",
            LineChart::new(Axis::linear("Rate"), Axis::percent("SLO attainment"))
                .series(Series::new("one", [(3.0, 1.0)]))
                .into(),
        ),
    ]
}

fn table() -> Table {
    let mut table = Table::new([
        Column::text("policy"),
        Column::number("SLO attainment").key("slo_attainment"),
        Column::number("p50").key("latency_p50_s"),
        Column::number("p99").key("latency_p99_s"),
        Column::number("requests"),
    ]);
    for (policy, fraction, p50, p99) in [("alpaserve", 0.9995, 0.181, 0.634), ("round-robin", 0.8123, 0.151, 0.755)] {
        table.row([
            Cell::from(policy),
            Cell::percent(fraction),
            Cell::latency(p50),
            Cell::latency(p99),
            Cell::count(48_000),
        ]);
    }
    table
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: gallery FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    let mut shown = Section::new("Charts");
    for (name, chart) in charts() {
        std::fs::write(folder.join(format!("{name}.svg")), chart.svg())?;
        std::fs::write(folder.join(format!("{name}.png")), chart.png(1280)?)?;
        shown = shown.chart(&chart, &format!("This is the chart called {name}, as it looks on a page."));
    }
    let page = Page::new("Gallery of charts and tables")
        .lead("Sharing groups of four devices keeps 99.95 % of requests within their SLO; one device per model would need twice as many devices for that.")
        .card(Card::new("SLO attainment", number::percent(0.9995)).note("target 99 %"))
        .card(Card::new("p99 latency", number::latency(0.634)).note("SLO 755 ms"))
        .card(Card::new("Requests", number::count(48_000)).note("over 8 h 5 min"))
        .card(Card::new("Devices", "16").note("round-robin: 32"))
        .section(
            Section::new("Result")
                .text("First paragraph.\n\nSecond paragraph, after an empty line.")
                .table_with_caption(&table(), "Planned on the first four hours, simulated on the next four.")
                .provenance(Provenance::Measured, "Stage times of V100s, from the data published with the paper.")
                .provenance(Provenance::Simulated, "Attainment and latencies.")
                .provenance(Provenance::Assumed, "Transfers between stages take no time.")
                .provenance(Provenance::Published, "Round-robin figures.")
                .details("The scenario (TOML)", "version = 1\nseed = 0\n\n[cluster]\ndevices = 16\n"),
        )
        .section(shown)
        .footer("statmux 0.1.0, seed 0");
    std::fs::write(folder.join("gallery.html"), page.to_html())?;
    print!("{}", table().to_text());
    let mut lines = Sparklines::new(60, "requests/s");
    (0..6).for_each(|model| lines.add(format!("m{model}"), load(model, 480)));
    print!("{}{}", lines.to_text(Glyphs::Blocks), lines.to_text(Glyphs::Ascii));
    Ok(())
}
