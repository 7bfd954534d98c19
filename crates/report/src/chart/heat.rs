//! Many series over time as rows of shaded cells: load per model, utilisation per group.

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, Point, Rect};
use super::font::{shortened, text_width};
use super::frame::{Frame, Plane, Sheet, TICK, Wanted};
use super::style::{HEAT_LEVELS, Tone};

/// Rows of cells over equal steps of a common axis; the darker (on dark pages the lighter), the more.
#[derive(Clone, Debug)]
pub struct HeatStrip {
    x: Axis,
    value: Axis,
    from: f64,
    to: f64,
    rows: Vec<(String, Vec<f64>)>,
}

/// More columns than this are averaged in pairs, triples and so on.
const MOST_COLUMNS: usize = 400;
const ROW: f64 = 18.0;
const LABEL_WIDTH: f64 = 150.0;
const KEY_HEIGHT: f64 = 26.0;

impl HeatStrip {
    /// Rows over `x` between `from` and `to`, whose cells are values on the linear axis `value`, which begins at zero
    /// and ends at the largest value unless it says otherwise.
    pub fn new(x: Axis, value: Axis, from: f64, to: f64) -> Self {
        Self { x, value, from, to, rows: Vec::new() }
    }

    /// Adds a row of cells that divide the range equally. Values that are not finite leave a hole.
    pub fn row(mut self, name: impl Into<String>, values: impl Into<Vec<f64>>) -> Self {
        self.rows.push((name.into(), values.into()));
        self
    }

    /// The height at which rows are easy to read.
    pub(super) fn natural_height(&self) -> f64 {
        (self.rows.len() as f64 * ROW + 130.0).clamp(200.0, 1_600.0)
    }

    pub(super) fn draw(&self, sheet: &Sheet) -> Canvas {
        let mut frame = Frame::new(sheet, &[]);
        let rows: Vec<_> = self.rows.iter().map(|(name, values)| (name, averaged(values))).collect();
        let cells = || rows.iter().flat_map(|(_, values)| values).copied().filter(|value| value.is_finite());
        let shade = self.value.scale(cells().chain([0.0]), false, 200.0, 100.0);
        draw_key(&mut frame, &shade, sheet);
        let widest = rows.iter().map(|(name, _)| text_width(name, TICK)).fold(0.0, f64::max).min(LABEL_WIDTH);
        frame.area.left += widest + 8.0;
        let plane = self.x_axis(&mut frame);
        let height = plane.area.height() / rows.len().max(1) as f64;
        for (position, (name, values)) in rows.iter().enumerate() {
            let top = plane.area.top + height * position as f64;
            let gap = if height > 6.0 { 1.0 } else { 0.0 };
            let strip = Rect { top, bottom: top + height - gap, ..plane.area };
            draw_row(&mut frame.canvas, strip, values, |value| {
                let share = shade.share(value).unwrap_or(0.0).clamp(0.0, 1.0);
                // The first level is zero and nothing else.
                if share > 0.0 { ((share * (HEAT_LEVELS - 1) as f64).round() as usize).max(1) } else { 0 }
            });
            if height >= TICK * 0.75 || position % (TICK / height).ceil() as usize == 0 {
                let at = (plane.area.left - 8.0, top + height / 2.0 + TICK * 0.35);
                frame.canvas.text(at, shortened(name, TICK, LABEL_WIDTH), TICK, Tone::Ink, Anchor::End);
            }
        }
        if rows.is_empty() || cells().next().is_none() {
            frame.no_data();
        }
        frame.canvas
    }

    fn x_axis(&self, frame: &mut Frame) -> Plane {
        let (from, to) = if self.from < self.to { (self.from, self.to) } else { (0.0, 1.0) };
        let x = self.x.clone().from(from).to(to);
        let y = Axis::linear("");
        frame.axes(
            &Wanted { axis: &x, values: vec![from, to], rounded: false, ticks: true },
            &Wanted { axis: &y, values: vec![0.0, 1.0], rounded: false, ticks: false },
        )
    }
}

/// Shades one row; neighbours of one level become one rectangle.
fn draw_row(canvas: &mut Canvas, strip: Rect, values: &[f64], level: impl Fn(f64) -> usize) {
    let width = strip.width() / values.len().max(1) as f64;
    let levels: Vec<_> = values.iter().map(|&value| value.is_finite().then(|| level(value))).collect();
    let mut start = 0;
    for run in levels.chunk_by(|a, b| a == b) {
        if let Some(level) = run[0] {
            let left = strip.left + width * start as f64;
            // Cells overlap by a hair, so that no seam shows between them.
            let right = (left + width * run.len() as f64 + 0.3).min(strip.right);
            canvas.rect(Rect { left, right, ..strip }, Tone::Heat(level));
        }
        start += run.len();
    }
}

/// Explains the shades at the top right.
fn draw_key(frame: &mut Frame, shade: &super::axis::Scale, sheet: &Sheet) {
    let (width, height) = (130.0, 11.0);
    let labels: Vec<_> = [shade.low, shade.high].iter().map(|&value| shade.label(value)).collect();
    let right = sheet.width - 18.0 - text_width(&labels[1], TICK);
    let (left, top) = (right - 6.0 - width, frame.area.top + 3.0);
    for level in 0..HEAT_LEVELS {
        let step = width / HEAT_LEVELS as f64;
        let from: Point = (left + step * level as f64, top);
        let cell = Rect { left: from.0, top, right: (from.0 + step + 0.3).min(left + width), bottom: top + height };
        frame.canvas.rect(cell, Tone::Heat(level));
    }
    let baseline = top + height * 0.5 + TICK * 0.35;
    frame.canvas.text((right, baseline), &labels[1], TICK, Tone::Muted, Anchor::Start);
    frame.canvas.text((left - 6.0, baseline), &labels[0], TICK, Tone::Muted, Anchor::End);
    let title = shortened(&shade.title, TICK, left - text_width(&labels[0], TICK) - 40.0);
    let end = left - 18.0 - text_width(&labels[0], TICK);
    frame.canvas.text((end, baseline), title, TICK, Tone::Muted, Anchor::End);
    frame.area.top += KEY_HEIGHT - 6.0;
}

/// `values`, or means over equally many neighbours if there are more than can be seen.
fn averaged(values: &[f64]) -> Vec<f64> {
    let width = values.len().div_ceil(MOST_COLUMNS).max(1);
    if width == 1 {
        return values.to_vec();
    }
    let columns = values.len().div_ceil(width);
    (0..columns)
        .map(|column| {
            let part = &values[column * values.len() / columns..(column + 1) * values.len() / columns];
            let finite: Vec<_> = part.iter().copied().filter(|value| value.is_finite()).collect();
            finite.iter().map(|value| value / finite.len() as f64).sum::<f64>()
                / if finite.is_empty() { 0.0 } else { 1.0 }
        })
        .collect()
}
