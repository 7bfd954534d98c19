//! Charts: a small builder per kind, all of which become a [`Chart`] that is written as SVG or PNG.
//!
//! | To show | Use |
//! |---|---|
//! | a figure over a swept quantity, a quantity over time | [`LineChart`] with [`Series`] |
//! | a distribution | [`LineChart`] with [`Series::cumulative`], or [`Histogram`] |
//! | figures of several policies over a few cases | [`BarChart`] |
//! | figures of one thing beside those of another | [`ScatterChart`] with its diagonal |
//! | the shares of a total over time | [`AreaChart`] |
//! | load or utilisation over time of many models or groups | [`HeatStrip`] |
//!
//! Every chart has the same style: legends stand above the data, series differ in colour (safe for colour-blind
//! readers) as well as in marker, dashes or hatching (safe for print in grey), and there is nothing on it that does not
//! carry data. Whatever is not a finite number is left out; a chart without data says so.
//!
//! To add a kind: a file here with a builder that draws on a `frame::Frame`, a line in `Body`, and one in the tests.

mod area;
mod axis;
mod bar;
mod canvas;
mod font;
mod frame;
mod heat;
mod histogram;
mod line;
mod png;
mod scatter;
pub(crate) mod style;

pub use area::AreaChart;
pub use axis::Axis;
pub use bar::BarChart;
pub use heat::HeatStrip;
pub use histogram::Histogram;
pub use line::{LineChart, Series};
pub use png::PngError;
pub use scatter::{Cloud, ScatterChart};

use canvas::Canvas;
use frame::Sheet;

/// A picture of numbers.
///
/// ```
/// use statmux_report::chart::{Axis, Chart, LineChart, Series};
/// let chart: Chart = LineChart::new(Axis::linear("Total rate").unit("requests/s"), Axis::percent("SLO attainment"))
///     .series(Series::new("alpaserve", [(10.0, 1.0), (20.0, 0.997), (30.0, 0.93)]))
///     .target(0.99, "99 %")
///     .into();
/// let svg = chart.title("Attainment over load").svg();
/// assert!(svg.starts_with("<svg"));
/// ```
#[derive(Clone, Debug)]
pub struct Chart {
    sheet: Sheet,
    body: Body,
}

/// The kinds of chart.
#[derive(Clone, Debug)]
enum Body {
    Line(LineChart),
    Bar(BarChart),
    Histogram(Histogram),
    Scatter(ScatterChart),
    Area(AreaChart),
    Heat(HeatStrip),
}

impl Chart {
    /// Writes `title` above everything else. Charts with a caption need none.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.sheet.title = title.into();
        self
    }

    /// Changes the size in SVG pixels; text keeps its size. Small sizes are raised to what a chart needs.
    pub fn size(mut self, width: u32, height: u32) -> Self {
        (self.sheet.width, self.sheet.height) =
            (f64::from(width.clamp(240, 4_000)), f64::from(height.clamp(160, 4_000)));
        self
    }

    /// The chart as an SVG document that can stand alone or inside HTML.
    ///
    /// Its colours are those of a light page; [`crate::html::Page`] adapts them on dark ones.
    pub fn svg(&self) -> String {
        self.canvas().to_svg(&self.sheet.title)
    }

    /// The chart as a PNG file, `width` pixels wide, on white.
    pub fn png(&self, width: u32) -> Result<Vec<u8>, PngError> {
        png::encode(&self.canvas(), width)
    }

    fn canvas(&self) -> Canvas {
        match &self.body {
            Body::Line(chart) => chart.draw(&self.sheet),
            Body::Bar(chart) => chart.draw(&self.sheet),
            Body::Histogram(chart) => chart.draw(&self.sheet),
            Body::Scatter(chart) => chart.draw(&self.sheet),
            Body::Area(chart) => chart.draw(&self.sheet),
            Body::Heat(chart) => chart.draw(&self.sheet),
        }
    }

    fn of(body: Body, width: f64, height: f64) -> Self {
        Self { sheet: Sheet { width, height, title: String::new() }, body }
    }
}

impl From<LineChart> for Chart {
    fn from(chart: LineChart) -> Self {
        Self::of(Body::Line(chart), 640.0, 400.0)
    }
}

impl From<BarChart> for Chart {
    fn from(chart: BarChart) -> Self {
        Self::of(Body::Bar(chart), 640.0, 380.0)
    }
}

impl From<Histogram> for Chart {
    fn from(chart: Histogram) -> Self {
        Self::of(Body::Histogram(chart), 640.0, 360.0)
    }
}

impl From<ScatterChart> for Chart {
    fn from(chart: ScatterChart) -> Self {
        Self::of(Body::Scatter(chart), 500.0, 500.0)
    }
}

impl From<AreaChart> for Chart {
    fn from(chart: AreaChart) -> Self {
        Self::of(Body::Area(chart), 720.0, 380.0)
    }
}

impl From<HeatStrip> for Chart {
    fn from(chart: HeatStrip) -> Self {
        let height = chart.natural_height();
        Self::of(Body::Heat(chart), 720.0, height)
    }
}
