//! Shares of a total over time, stacked.

use super::axis::Axis;
use super::canvas::{Canvas, Fill, Stroke};
use super::frame::{Entry, Frame, Plane, Sample, Sheet, Wanted};
use super::style::Tone;

/// Areas on top of each other, the first at the bottom, over common x values.
///
/// Good for up to seven parts; show more with [`super::HeatStrip`].
#[derive(Clone, Debug)]
pub struct AreaChart {
    x: Axis,
    y: Axis,
    at: Vec<f64>,
    parts: Vec<(String, Vec<f64>)>,
}

impl AreaChart {
    /// A chart over the increasing positions `at`.
    pub fn new(x: Axis, y: Axis, at: impl Into<Vec<f64>>) -> Self {
        Self { x, y, at: at.into(), parts: Vec::new() }
    }

    /// Adds a part with a value per position. What is missing, negative or not finite counts as zero.
    pub fn part(mut self, name: impl Into<String>, values: impl Into<Vec<f64>>) -> Self {
        self.parts.push((name.into(), values.into()));
        self
    }

    /// The heights of the boundaries between parts, from zero to the total.
    fn boundaries(&self) -> Vec<Vec<f64>> {
        let mut boundaries = vec![vec![0.0; self.at.len()]];
        for (_, values) in &self.parts {
            let below = boundaries.last().expect("starts with zero");
            let value = |i: usize| values.get(i).copied().filter(|v| v.is_finite() && *v > 0.0).unwrap_or(0.0);
            boundaries.push(below.iter().enumerate().map(|(i, below)| (below + value(i)).min(1e300)).collect());
        }
        boundaries
    }

    pub(super) fn draw(&self, sheet: &Sheet) -> Canvas {
        // From the top down, as the areas lie.
        let entry = |(series, (name, _)): (usize, &(String, Vec<f64>))| Entry {
            name: name.clone(),
            series,
            sample: Sample::PlainBox,
        };
        let legend: Vec<_> = self.parts.iter().enumerate().rev().map(entry).collect();
        let mut frame = Frame::new(sheet, &legend);
        let boundaries = self.boundaries();
        let total = boundaries.last().expect("starts with zero").clone();
        let xs: Vec<_> = self.at.iter().copied().filter(|&x| self.x.can_hold(x)).collect();
        let empty = xs.is_empty() || self.parts.is_empty();
        let plane = frame.axes(
            &Wanted { axis: &self.x, values: xs, rounded: false, ticks: true },
            &Wanted { axis: &self.y, values: total.into_iter().chain([0.0]).collect(), rounded: true, ticks: true },
        );
        if empty {
            frame.no_data();
        }
        frame.canvas.clipped(plane.area, |canvas| {
            for (position, pair) in boundaries.windows(2).enumerate() {
                self.draw_part(canvas, &plane, position, (&pair[0], &pair[1]));
            }
        });
        let bottom = plane.area.bottom;
        frame.canvas.line([(plane.area.left, bottom), (plane.area.right, bottom)], Stroke::solid(Tone::Ink, 1.0));
        frame.canvas
    }

    fn draw_part(&self, canvas: &mut Canvas, plane: &Plane, position: usize, (low, high): (&[f64], &[f64])) {
        let edge = |heights: &[f64]| -> Vec<_> {
            let places = self.at.iter().zip(heights);
            places.filter(|(x, _)| x.is_finite()).filter_map(|(&x, &y)| plane.pixel((x, y))).collect()
        };
        let (upper, mut lower) = (edge(high), edge(low));
        if upper.len() < 2 {
            return;
        }
        lower.reverse();
        let outline: Vec<_> = upper.iter().copied().chain(lower).collect();
        canvas.area(outline, Fill { tone: Tone::Series(position), opacity: 0.85 }, None);
        // A line of paper keeps neighbours apart in grey.
        canvas.line(upper, Stroke::solid(Tone::Paper, 1.2));
    }
}
