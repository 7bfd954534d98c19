//! What all charts share: title, legend above the data, axes, grid, and the area in between.

use super::axis::{Axis, Scale};
use super::canvas::{Anchor, Canvas, Mark, Point, Rect, Stroke, Text};
use super::font::{shortened, text_width};
use super::style::{Tone, dashes, hatch, marker};

/// Sizes of text.
pub(super) const TITLE: f64 = 15.0;
pub(super) const LABEL: f64 = 13.0;
pub(super) const TICK: f64 = 12.0;

const EDGE: f64 = 14.0;
const LEGEND_LINE: f64 = 20.0;
const SAMPLE: f64 = 30.0;

/// How a legend shows a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// A dashed line with the series' marker.
    LineAndMarker,
    /// A dashed line.
    Line,
    /// A marker.
    Marker,
    /// A hatched box.
    Box,
    /// A plain box.
    PlainBox,
}

/// One entry of a legend.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) series: usize,
    pub(super) sample: Sample,
}

/// The size of a chart in pixels and its title.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) title: String,
}

/// A canvas with the space for data on it.
pub(super) struct Frame {
    pub(super) canvas: Canvas,
    pub(super) area: Rect,
}

impl Frame {
    /// Writes title and legend at the top and leaves the rest as area.
    pub(super) fn new(sheet: &Sheet, legend: &[Entry]) -> Self {
        let mut canvas = Canvas::new(sheet.width, sheet.height);
        let mut top = EDGE;
        if !sheet.title.is_empty() {
            let title = shortened(&sheet.title, TITLE, sheet.width - 2.0 * EDGE);
            canvas.text((EDGE, top + TITLE * 0.8), title, TITLE, Tone::Ink, Anchor::Start);
            top += TITLE + 8.0;
        }
        top = draw_legend(&mut canvas, legend, top, sheet);
        let area = Rect { left: EDGE, top, right: sheet.width - EDGE - 4.0, bottom: sheet.height - EDGE };
        Self { canvas, area }
    }

    /// Draws axes with their titles and grid, shrinks the area to what they leave, and returns the scales.
    pub(super) fn axes(&mut self, x: &Wanted<'_>, y: &Wanted<'_>) -> Plane {
        self.area.top += 6.0;
        let bottom_space = TICK + 12.0 + if x.axis_title_empty() { 0.0 } else { LABEL + 8.0 };
        self.area.bottom -= bottom_space;
        let y_scale = y.scale(self.area.height(), 52.0);
        let widest =
            y_scale.ticks.iter().flat_map(|tick| &tick.label).map(|label| text_width(label, TICK)).fold(0.0, f64::max);
        let title_space = if y_scale.title.is_empty() { 0.0 } else { LABEL + 8.0 };
        self.area.left += title_space + widest + 8.0;
        let x_scale = x.scale(self.area.width(), 80.0);
        let plane = Plane { area: self.area, x: x_scale, y: y_scale };
        self.draw_y(&plane);
        self.draw_x(&plane);
        plane
    }

    fn draw_y(&mut self, plane: &Plane) {
        let area = plane.area;
        for tick in &plane.y.ticks {
            let Some(y) = plane.y_pixel(tick.value) else { continue };
            if let Some(label) = &tick.label {
                self.canvas.line([(area.left, y), (area.right, y)], Stroke::solid(Tone::Grid, 1.0));
                self.canvas.text((area.left - 8.0, y + TICK * 0.35), label, TICK, Tone::Muted, Anchor::End);
            }
        }
        self.y_title(&plane.y.title);
    }

    /// Writes `title` upwards at the left edge, beside the area.
    pub(super) fn y_title(&mut self, title: &str) {
        if title.is_empty() {
            return;
        }
        let at = (EDGE + LABEL * 0.7, (self.area.top + self.area.bottom) / 2.0);
        let text = shortened(title, LABEL, self.canvas.height - EDGE);
        // A long title may reach beyond the area, but not beyond the sheet.
        let half = text_width(&text, LABEL) / 2.0;
        let at = (at.0, at.1.min(self.canvas.height - half - 4.0).max(half + 4.0));
        self.canvas.marks.push(Mark::Text(Text {
            at,
            text,
            size: LABEL,
            tone: Tone::Muted,
            anchor: Anchor::Middle,
            upwards: true,
        }));
    }

    fn draw_x(&mut self, plane: &Plane) {
        let area = plane.area;
        let axis = Stroke::solid(Tone::Ink, 1.0);
        self.canvas.line([(area.left, area.bottom), (area.right, area.bottom)], axis);
        let mut free_from = f64::NEG_INFINITY;
        for tick in &plane.x.ticks {
            let Some(x) = plane.x_pixel(tick.value) else { continue };
            let length = if tick.label.is_some() { 5.0 } else { 3.0 };
            self.canvas.line([(x, area.bottom), (x, area.bottom + length)], axis);
            let Some(label) = &tick.label else { continue };
            let half = text_width(label, TICK) / 2.0;
            if x - half >= free_from {
                self.canvas.text((x, area.bottom + 7.0 + TICK * 0.8), label, TICK, Tone::Muted, Anchor::Middle);
                free_from = x + half + 6.0;
            }
        }
        self.x_title(&plane.x.title);
    }

    /// Writes `title` below the area.
    pub(super) fn x_title(&mut self, title: &str) {
        let title = shortened(title, LABEL, self.canvas.width - 2.0 * EDGE);
        let half = text_width(&title, LABEL) / 2.0;
        let middle = ((self.area.left + self.area.right) / 2.0).max(EDGE + half);
        let at = (middle, self.area.bottom + TICK + 16.0 + LABEL * 0.8);
        self.canvas.text(at, title, LABEL, Tone::Muted, Anchor::Middle);
    }

    /// Says in the middle that there is nothing to see.
    pub(super) fn no_data(&mut self) {
        let middle = ((self.area.left + self.area.right) / 2.0, (self.area.top + self.area.bottom) / 2.0);
        self.canvas.text(middle, "no data", LABEL, Tone::Muted, Anchor::Middle);
    }

    /// A dashed line across the area at height `y`, named at its right end, above it unless that is the very top.
    pub(super) fn target(&mut self, y: f64, name: &str) {
        let area = self.area;
        let stroke = Stroke { tone: Tone::Target, width: 1.4, dashes: &[5.0, 3.0] };
        self.canvas.line([(area.left, y), (area.right, y)], stroke);
        let baseline = if y - area.top > TICK + 4.0 { y - 5.0 } else { y + TICK + 1.0 };
        let width = text_width(name, TICK);
        // A light ground keeps the name readable where lines run behind it.
        let left = area.right - width - 6.0;
        self.canvas.ground(Rect { left, top: baseline - TICK, right: area.right, bottom: baseline + 3.0 });
        self.canvas.text((area.right - 3.0, baseline), name, TICK, Tone::Muted, Anchor::End);
    }
}

/// An axis and the values that must fit on it.
pub(super) struct Wanted<'a> {
    pub(super) axis: &'a Axis,
    pub(super) values: Vec<f64>,
    /// Whether the range is extended to the next ticks.
    pub(super) rounded: bool,
    /// Whether ticks, labels and grid are drawn; an axis of names has its own.
    pub(super) ticks: bool,
}

impl Wanted<'_> {
    fn scale(&self, length: f64, spacing: f64) -> Scale {
        let mut scale = self.axis.scale(self.values.iter().copied(), self.rounded, length, spacing);
        if !self.ticks {
            scale.ticks.clear();
        }
        scale
    }

    fn axis_title_empty(&self) -> bool {
        self.scale(100.0, 50.0).title.is_empty()
    }
}

/// Two scales over an area.
pub(super) struct Plane {
    pub(super) area: Rect,
    pub(super) x: Scale,
    pub(super) y: Scale,
}

impl Plane {
    pub(super) fn x_pixel(&self, value: f64) -> Option<f64> {
        self.x.share(value).map(|share| self.area.left + share * self.area.width())
    }

    pub(super) fn y_pixel(&self, value: f64) -> Option<f64> {
        self.y.share(value).map(|share| self.area.bottom - share * self.area.height())
    }

    /// Whether a pixel lies in the area, rounding aside.
    pub(super) fn holds(&self, (x, y): Point) -> bool {
        let Rect { left, top, right, bottom } = self.area;
        (left - 0.5..=right + 0.5).contains(&x) && (top - 0.5..=bottom + 0.5).contains(&y)
    }

    pub(super) fn pixel(&self, (x, y): Point) -> Option<Point> {
        Some((self.x_pixel(x)?, self.y_pixel(y)?))
    }
}

/// Writes entries from left to right in as many lines as needed and returns where the last one ends.
fn draw_legend(canvas: &mut Canvas, legend: &[Entry], top: f64, sheet: &Sheet) -> f64 {
    // A legend may take a third of the sheet; past that it names what fits and counts the rest.
    let most_lines = (sheet.height / 3.0 / LEGEND_LINE).floor().max(1.0) as usize;
    let (mut x, mut line) = (EDGE, 0);
    for (position, entry) in legend.iter().enumerate() {
        let name = shortened(&entry.name, TICK, sheet.width - 2.0 * EDGE - SAMPLE - 6.0);
        // Some room to spare: where the font is missing, browsers may use a wider one.
        let width = SAMPLE + 6.0 + text_width(&name, TICK) * 1.12 + 18.0;
        if x > EDGE && x + width - 18.0 > sheet.width - EDGE {
            (x, line) = (EDGE, line + 1);
        }
        let middle = top + (line as f64 + 0.5) * LEGEND_LINE;
        let last_line = line + 1 >= most_lines;
        if last_line && position + 1 < legend.len() && x + width + 70.0 > sheet.width - EDGE {
            let rest = format!("and {} more", legend.len() - position);
            canvas.text((x, middle + TICK * 0.35), rest, TICK, Tone::Muted, Anchor::Start);
            break;
        }
        draw_sample(canvas, entry, (x, middle));
        canvas.text((x + SAMPLE + 6.0, middle + TICK * 0.35), name, TICK, Tone::Ink, Anchor::Start);
        x += width;
    }
    if legend.is_empty() { top } else { top + (line + 1) as f64 * LEGEND_LINE + 4.0 }
}

fn draw_sample(canvas: &mut Canvas, entry: &Entry, (left, middle): Point) {
    let tone = Tone::Series(entry.series);
    let center = (left + SAMPLE / 2.0, middle);
    if matches!(entry.sample, Sample::Line | Sample::LineAndMarker) {
        let stroke = Stroke { tone, width: 2.0, dashes: dashes(entry.series) };
        canvas.line([(left, middle), (left + SAMPLE, middle)], stroke);
    }
    if matches!(entry.sample, Sample::Marker | Sample::LineAndMarker) {
        canvas.marker(center, marker(entry.series), tone);
    }
    if matches!(entry.sample, Sample::Box | Sample::PlainBox) {
        let pattern = if entry.sample == Sample::Box { hatch(entry.series) } else { super::style::Hatch::None };
        let rect = Rect { left: left + 6.0, top: middle - 6.0, right: left + SAMPLE, bottom: middle + 6.0 };
        canvas.hatched(rect, tone, pattern);
    }
}
