//! Lines and steps through points, with markers, confidence bands and a target.

use super::axis::Axis;
use super::canvas::{Canvas, Fill, Point, Stroke};
use super::frame::{Entry, Frame, Plane, Sample, Sheet, Wanted};
use super::style::{Tone, dashes, marker};

/// How points are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joint {
    Straight,
    Step,
}

/// Named points in the order in which they are joined.
#[derive(Clone, Debug)]
pub struct Series {
    name: String,
    points: Vec<Point>,
    band: Vec<(f64, f64, f64)>,
    joint: Joint,
    markers: Option<bool>,
}

/// With more points than this, markers would hide the line.
const MOST_MARKERS: usize = 30;

impl Series {
    /// Points `(x, y)` joined by straight lines. The line has a gap where a value is not finite.
    pub fn new(name: impl Into<String>, points: impl Into<Vec<(f64, f64)>>) -> Self {
        Self { name: name.into(), points: points.into(), band: Vec::new(), joint: Joint::Straight, markers: None }
    }

    /// Values that hold from their x until the next point's: queue lengths and utilisation over time.
    pub fn steps(name: impl Into<String>, points: impl Into<Vec<(f64, f64)>>) -> Self {
        Self { joint: Joint::Step, markers: Some(false), ..Self::new(name, points) }
    }

    /// The share of `values` that are at most x, as steps from 0 to 1.
    pub fn cumulative(name: impl Into<String>, values: impl Into<Vec<f64>>) -> Self {
        let mut values: Vec<f64> = values.into();
        values.retain(|value| value.is_finite());
        values.sort_unstable_by(f64::total_cmp);
        let all = values.len() as f64;
        // More steps than pixels cannot be seen: about two thousand of equal height are kept.
        let stride = values.len().div_ceil(2_000).max(1);
        let mut points: Vec<_> = values.first().map(|&least| (least, 0.0)).into_iter().collect();
        for (i, &value) in values.iter().enumerate() {
            if (i + 1) % stride == 0 || i + 1 == values.len() {
                points.push((value, (i + 1) as f64 / all));
            }
        }
        Self::steps(name, points)
    }

    /// Shades between lower and upper bounds `(x, low, high)`, a confidence interval for instance.
    pub fn band(mut self, bounds: impl Into<Vec<(f64, f64, f64)>>) -> Self {
        self.band = bounds.into();
        self
    }

    /// Marks each point. Otherwise up to 30 points are marked, and none of a step series.
    pub fn with_markers(mut self) -> Self {
        self.markers = Some(true);
        self
    }

    /// Draws the line alone.
    pub fn without_markers(mut self) -> Self {
        self.markers = Some(false);
        self
    }

    fn has_markers(&self) -> bool {
        self.markers.unwrap_or(self.points.len() <= MOST_MARKERS)
    }
}

/// Series over a common x axis.
#[derive(Clone, Debug)]
pub struct LineChart {
    x: Axis,
    y: Axis,
    series: Vec<Series>,
    target: Option<(f64, String)>,
}

impl LineChart {
    /// A chart without series yet.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self { x, y, series: Vec::new(), target: None }
    }

    /// Adds a series. Its position decides on its colour, marker and dashes.
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// Draws a named horizontal line at `y`, such as an attainment that is asked for.
    pub fn target(mut self, y: f64, name: impl Into<String>) -> Self {
        self.target = Some((y, name.into()));
        self
    }

    pub(super) fn draw(&self, sheet: &Sheet) -> Canvas {
        let legend: Vec<_> = self
            .series
            .iter()
            .enumerate()
            .map(|(position, series)| Entry {
                name: series.name.clone(),
                series: position,
                sample: if series.has_markers() { Sample::LineAndMarker } else { Sample::Line },
            })
            .collect();
        let mut frame = Frame::new(sheet, &legend);
        let drawn = || self.series.iter().flat_map(|series| &series.points).copied().filter(|&point| self.holds(point));
        let bands = || {
            self.series
                .iter()
                .flat_map(|series| &series.band)
                .copied()
                .filter(|&(x, low, high)| self.holds((x, low)) && self.holds((x, high)))
        };
        let xs = drawn().map(|(x, _)| x).chain(bands().map(|(x, ..)| x)).collect();
        let ys = drawn().map(|(_, y)| y).chain(bands().flat_map(|(_, low, high)| [low, high]));
        let ys = ys.chain(self.target.iter().map(|&(y, _)| y)).collect();
        let plane = frame.axes(
            &Wanted { axis: &self.x, values: xs, rounded: false, ticks: true },
            &Wanted { axis: &self.y, values: ys, rounded: true, ticks: true },
        );
        if let Some((y, name)) = &self.target
            && let Some(y) = plane.y_pixel(*y).filter(|y| (plane.area.top - 0.5..=plane.area.bottom).contains(y))
        {
            frame.target(y, name);
        }
        if drawn().next().is_none() {
            frame.no_data();
        }
        // Lines along the edge of the area keep their full width.
        let mut clip = plane.area;
        (clip.top, clip.bottom) = (clip.top - 2.0, clip.bottom + 2.0);
        frame.canvas.clipped(clip, |canvas| {
            for (position, series) in self.series.iter().enumerate() {
                self.draw_band(canvas, &plane, series, position);
            }
            for (position, series) in self.series.iter().enumerate() {
                self.draw_lines(canvas, &plane, series, position);
            }
        });
        for (position, series) in self.series.iter().enumerate() {
            self.draw_markers(&mut frame.canvas, &plane, series, position);
        }
        frame.canvas
    }

    fn holds(&self, (x, y): Point) -> bool {
        self.x.can_hold(x) && self.y.can_hold(y)
    }

    fn draw_band(&self, canvas: &mut Canvas, plane: &Plane, series: &Series, position: usize) {
        let bounds = series.band.iter().filter(|(x, low, high)| self.holds((*x, *low)) && self.holds((*x, *high)));
        let bounds: Vec<_> = bounds.collect();
        let upper = bounds.iter().filter_map(|&&(x, _, high)| plane.pixel((x, high)));
        let lower = bounds.iter().rev().filter_map(|&&(x, low, _)| plane.pixel((x, low)));
        let outline: Vec<_> = upper.chain(lower).collect();
        if outline.len() > 2 {
            canvas.area(outline, Fill { tone: Tone::Series(position), opacity: 0.18 }, None);
        }
    }

    fn draw_lines(&self, canvas: &mut Canvas, plane: &Plane, series: &Series, position: usize) {
        let stroke = Stroke { tone: Tone::Series(position), width: 2.0, dashes: dashes(position) };
        for run in self.runs(series) {
            let points: Vec<_> = run.iter().filter_map(|&point| plane.pixel(point)).collect();
            match series.joint {
                _ if points.len() < 2 => {}
                Joint::Straight => canvas.line(points, stroke),
                Joint::Step => canvas.line(stairs(&points), stroke),
            }
        }
    }

    /// Marks all points, or only those without neighbours, which have no line to be seen by.
    fn draw_markers(&self, canvas: &mut Canvas, plane: &Plane, series: &Series, position: usize) {
        let marked = self.runs(series).filter(|run| series.has_markers() || run.len() == 1).flatten();
        for point in marked.filter_map(|&point| plane.pixel(point)).filter(|&point| plane.holds(point)) {
            canvas.marker(point, marker(position), Tone::Series(position));
        }
    }

    /// The unbroken stretches of a series.
    fn runs<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = &'a [Point]> {
        series.points.split(|&point| !self.holds(point)).filter(|run| !run.is_empty())
    }
}

/// The corners of steps through `points`.
fn stairs(points: &[Point]) -> Vec<Point> {
    let mut corners = Vec::with_capacity(points.len() * 2);
    for (i, &(x, y)) in points.iter().enumerate() {
        if i > 0 {
            corners.push((x, points[i - 1].1));
        }
        corners.push((x, y));
    }
    corners
}
