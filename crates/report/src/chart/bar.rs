//! Groups of bars: a few figures of several things side by side.

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, Rect, Stroke};
use super::font::{shortened, text_width};
use super::frame::{Entry, Frame, Plane, Sample, Sheet, TICK, Wanted};
use super::style::{Hatch, Tone, hatch};

/// The size of values above bars.
const VALUE: f64 = 11.0;

/// Bars from zero, grouped by case, one colour and hatching per series.
///
/// ```
/// use statmux_report::chart::{Axis, BarChart, Chart};
/// let chart: Chart = BarChart::new(Axis::percent("SLO attainment").to(1.0), ["16 devices", "24 devices"])
///     .series("alpaserve", [0.97, 0.999])
///     .series("round-robin", [0.61, 0.87])
///     .target(0.99, "99 %")
///     .into();
/// # assert!(chart.svg().contains("16 devices"));
/// ```
#[derive(Clone, Debug)]
pub struct BarChart {
    y: Axis,
    cases: Vec<String>,
    series: Vec<(String, Vec<f64>)>,
    target: Option<(f64, String)>,
    labelled: bool,
}

impl BarChart {
    /// Bars for `cases`, from left to right.
    pub fn new(y: Axis, cases: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let cases = cases.into_iter().map(Into::into).collect();
        Self { y, cases, series: Vec::new(), target: None, labelled: false }
    }

    /// Adds a bar per case. Missing or non-finite values leave their place empty.
    pub fn series(mut self, name: impl Into<String>, values: impl Into<Vec<f64>>) -> Self {
        self.series.push((name.into(), values.into()));
        self
    }

    /// Draws a named horizontal line at `y`.
    pub fn target(mut self, y: f64, name: impl Into<String>) -> Self {
        self.target = Some((y, name.into()));
        self
    }

    /// Writes each value above its bar, where there is room.
    pub fn with_values(mut self) -> Self {
        self.labelled = true;
        self
    }

    pub(super) fn draw(&self, sheet: &Sheet) -> Canvas {
        let legend: Vec<_> = self
            .series
            .iter()
            .enumerate()
            .map(|(series, (name, _))| Entry { name: name.clone(), series, sample: Sample::Box })
            .collect();
        // One series needs no legend: the axis says what it is.
        let mut frame = Frame::new(sheet, if legend.len() > 1 { &legend } else { &[] });
        let values = self.series.iter().flat_map(|(_, values)| values.iter().take(self.cases.len()).copied());
        let values: Vec<_> = values.filter(|&value| self.y.can_hold(value)).collect();
        let empty = values.is_empty();
        let ys = values.into_iter().chain(self.target.iter().map(|&(y, _)| y)).chain([0.0]).collect();
        // Case names stand where ticks would.
        let names = Axis::linear("");
        if self.labelled {
            frame.area.top += VALUE + 2.0;
        }
        let plane = frame.axes(
            &Wanted { axis: &names, values: vec![], rounded: false, ticks: false },
            &Wanted { axis: &self.y, values: ys, rounded: true, ticks: true },
        );
        if empty {
            frame.no_data();
        }
        let mut values_shown = Vec::new();
        let group = plane.area.width() / self.cases.len().max(1) as f64;
        for (position, case) in self.cases.iter().enumerate() {
            let left = plane.area.left + group * position as f64;
            values_shown.extend(self.draw_group(&mut frame.canvas, &plane, (position, left, group)));
            let name = shortened(case, TICK, group - 6.0);
            let at = (left + group / 2.0, plane.area.bottom + 7.0 + TICK * 0.8);
            frame.canvas.text(at, name, TICK, Tone::Ink, Anchor::Middle);
        }
        let axis = plane.y_pixel(0.0).unwrap_or(plane.area.bottom).clamp(plane.area.top, plane.area.bottom);
        frame.canvas.line([(plane.area.left, axis), (plane.area.right, axis)], Stroke::solid(Tone::Ink, 1.0));
        if let Some((y, name)) = &self.target
            && let Some(y) = plane.y_pixel(*y).filter(|y| (plane.area.top - 0.5..=plane.area.bottom).contains(y))
        {
            frame.target(y, name);
        }
        values_shown.into_iter().for_each(|value| value.draw(&mut frame.canvas));
        frame.canvas
    }

    /// Draws the bars of one case, and returns the values to be written above everything else.
    fn draw_group(&self, canvas: &mut Canvas, plane: &Plane, (case, left, width): (usize, f64, f64)) -> Vec<Value> {
        let bars = self.series.len().max(1) as f64;
        let bar = (width * 0.78 / bars).min(64.0);
        let start = left + (width - bar * bars) / 2.0;
        let zero = plane.y_pixel(0.0).unwrap_or(plane.area.bottom).clamp(plane.area.top, plane.area.bottom);
        let gap = if bar > 6.0 { 1.0 } else { 0.0 };
        let pattern = |series| if self.series.len() > 1 { hatch(series) } else { Hatch::None };
        let mut values_shown = Vec::new();
        for (series, (_, values)) in self.series.iter().enumerate() {
            let Some(&value) = values.get(case).filter(|&&value| self.y.can_hold(value)) else { continue };
            let Some(y) = plane.y_pixel(value) else { continue };
            let y = y.clamp(plane.area.top, plane.area.bottom);
            let from = start + bar * series as f64 + gap;
            let rect = Rect { left: from, right: from + bar - 2.0 * gap, top: y.min(zero), bottom: y.max(zero) };
            canvas.hatched(rect, Tone::Series(series), pattern(series));
            let text = self.y.shown(value);
            if self.labelled && text_width(&text, VALUE) <= bar + 2.0 {
                let baseline = if value >= 0.0 { rect.top - 4.0 } else { rect.bottom + VALUE };
                values_shown.push(Value { text, middle: (rect.left + rect.right) / 2.0, baseline });
            }
        }
        values_shown
    }
}

/// A bar's value in writing.
struct Value {
    text: String,
    middle: f64,
    baseline: f64,
}

impl Value {
    fn draw(self, canvas: &mut Canvas) {
        let half = text_width(&self.text, VALUE) / 2.0;
        let (left, right) = (self.middle - half, self.middle + half);
        canvas.ground(Rect { left, right, top: self.baseline - VALUE * 0.8, bottom: self.baseline + 2.0 });
        canvas.text((self.middle, self.baseline), self.text, VALUE, Tone::Ink, Anchor::Middle);
    }
}
