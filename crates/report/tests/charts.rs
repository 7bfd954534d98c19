//! What holds for every chart, whatever numbers and names it is given.

use proptest::prelude::*;
use statmux_report::chart::{
    AreaChart, Axis, BarChart, Chart, Cloud, HeatStrip, Histogram, LineChart, ScatterChart, Series,
};

fn axis(kind: u8) -> Axis {
    match kind % 6 {
        0 => Axis::linear("Rate <&>").unit("requests/s"),
        1 => Axis::log("Latency").unit("s"),
        2 => Axis::percent("SLO attainment").to(1.0),
        3 => Axis::time("Time"),
        4 => Axis::linear("x").from(f64::NAN).to(-3.0),
        _ => Axis::log("x").from(-1.0).to(f64::INFINITY),
    }
}

/// Every kind of chart of the same numbers.
fn charts(x: u8, y: u8, name: &str, points: &[(f64, f64)]) -> Vec<Chart> {
    let (xs, ys): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    let band: Vec<_> = points.iter().map(|&(x, y)| (x, y - 1.0, y * 2.0)).collect();
    let mut range = xs.clone();
    range.sort_by(f64::total_cmp);
    vec![
        LineChart::new(axis(x), axis(y))
            .series(Series::new(name, points).band(band))
            .series(Series::steps(name, points).with_markers())
            .target(0.99, name)
            .into(),
        LineChart::new(axis(x), Axis::percent("Share")).series(Series::cumulative(name, ys.clone())).into(),
        BarChart::new(axis(y), xs.iter().map(|x| format!("{name} {x}")))
            .series(name, ys.clone())
            .series("other", xs.clone())
            .target(0.5, name)
            .with_values()
            .into(),
        Histogram::new(axis(x), name, ys.clone()).into(),
        ScatterChart::new(axis(x), axis(y)).cloud(Cloud::new(name, points)).with_diagonal().into(),
        AreaChart::new(axis(x), axis(y), range).part(name, ys.clone()).part(name, xs.clone()).into(),
        HeatStrip::new(axis(x), axis(y), xs.first().copied().unwrap_or(0.0), xs.last().copied().unwrap_or(0.0))
            .row(name, ys)
            .row("other", xs)
            .into(),
    ]
}

fn check(chart: &Chart) {
    let svg = chart.svg();
    let document = roxmltree::Document::parse(&svg).unwrap_or_else(|e| panic!("{e}\n{svg}"));
    for node in document.descendants() {
        for attribute in node.attributes() {
            let value = attribute.value();
            assert!(!value.contains("NaN") && !value.contains("inf"), "{value}");
        }
    }
    let png = chart.png(160).expect("drawn");
    assert_eq!(&png[1..4], b"PNG");
    assert_eq!(u32::from_be_bytes([png[16], png[17], png[18], png[19]]), 160);
    let pixels = tiny_skia::Pixmap::decode_png(&png).expect("decodes");
    assert_eq!(pixels.width(), 160);
    assert!(pixels.data().iter().any(|&byte| byte != 255), "something is drawn");
}

fn check_all(points: &[(f64, f64)]) {
    for kind in 0..6 {
        charts(kind, kind + 1, "model", points).iter().for_each(check);
        charts(kind, kind, "model", points).iter().for_each(check);
    }
}

#[test]
fn odd_inputs_are_drawn() {
    check_all(&[]);
    check_all(&[(1.0, 1.0)]);
    check_all(&[(0.0, 0.0)]);
    check_all(&[(0.0, 0.0), (0.0, 0.0), (0.0, 0.0)]);
    check_all(&[(f64::NAN, 1.0), (1.0, f64::INFINITY), (f64::NAN, f64::NAN)]);
    check_all(&[(1.0, 5.0), (2.0, 5.0), (3.0, 5.0)]);
    check_all(&[(-1e308, -1.7e308), (1e308, 1.7e308)]);
    check_all(&[(1e-308, 5e-324), (2e-308, 1e-320)]);
    check_all(&[(1e15, 1e15), (1e15 + 1.0, 1e15 + 2.0)]);
    check_all(&[(0.0, 0.0), (1.0, 1e-9), (2.0, 1e9)]);
}

#[test]
fn a_series_has_a_gap_where_there_is_no_number() {
    let with = |y: f64| {
        let points = [(0.0, 1.0), (1.0, 2.0), (2.0, y), (3.0, 1.0), (4.0, 2.0)];
        let series = Series::new("a", points).without_markers();
        Chart::from(LineChart::new(Axis::linear("x"), Axis::linear("y")).series(series)).svg()
    };
    let lines = |svg: &str| svg.matches("class=\"s0\"").count();
    assert_eq!(lines(&with(f64::NAN)), lines(&with(1.5)) + 1);
}

#[test]
fn the_same_chart_is_written_the_same_way() {
    let points: Vec<_> = (0..50).map(|i| (f64::from(i), f64::from(i).sin())).collect();
    for (a, b) in charts(0, 0, "m", &points).iter().zip(charts(0, 0, "m", &points)) {
        assert_eq!(a.svg(), b.svg());
        assert_eq!(a.png(300).expect("drawn"), b.png(300).expect("drawn"));
    }
}

#[test]
fn absurd_widths_are_refused() {
    let chart = Chart::from(LineChart::new(Axis::linear("x"), Axis::linear("y")));
    let message = chart.png(0).expect_err("refused").to_string();
    assert_eq!(message, "a chart cannot be 0 pixels wide: the width must be between 1 and 16384");
    assert!(chart.png(1_000_000).is_err());
    assert!(chart.png(1).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_chart_is_well_formed(
        x: u8,
        y: u8,
        name: String,
        points in prop::collection::vec(prop_oneof![
            any::<(f64, f64)>(),
            (0.0..100.0f64, 0.0..1.0f64),
            (Just(0.0), Just(f64::NAN)),
        ], 0..40),
    ) {
        charts(x, y, &name, &points).iter().for_each(check);
    }

    #[test]
    fn any_size_is_drawn(width: u32, height in 0u32..1000, names in prop::collection::vec(".{0,40}", 0..60)) {
        let mut chart = LineChart::new(axis(0), axis(1));
        for name in names {
            chart = chart.series(Series::new(name, [(1.0, 1.0), (2.0, 4.0)]));
        }
        check(&Chart::from(chart).size(width % 3000, height));
    }
}
