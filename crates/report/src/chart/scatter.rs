//! Points in a plane: one figure of each thing beside another, published against ours for instance.

use super::axis::Axis;
use super::canvas::{Canvas, Point, Stroke};
use super::frame::{Entry, Frame, Sample, Sheet, Wanted};
use super::style::{Tone, marker};

/// Named points that belong together.
#[derive(Clone, Debug)]
pub struct Cloud {
    name: String,
    points: Vec<Point>,
}

impl Cloud {
    /// Points `(x, y)`; those that are not finite are left out.
    pub fn new(name: impl Into<String>, points: impl Into<Vec<(f64, f64)>>) -> Self {
        Self { name: name.into(), points: points.into() }
    }
}

/// Clouds of points.
#[derive(Clone, Debug)]
pub struct ScatterChart {
    x: Axis,
    y: Axis,
    clouds: Vec<Cloud>,
    diagonal: bool,
}

impl ScatterChart {
    /// A chart without points yet.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self { x, y, clouds: Vec::new(), diagonal: false }
    }

    /// Gives both axes one range and draws the line on which x and y are equal.
    pub fn with_diagonal(mut self) -> Self {
        self.diagonal = true;
        self
    }

    /// Adds points. Their position decides on colour and marker.
    pub fn cloud(mut self, cloud: Cloud) -> Self {
        self.clouds.push(cloud);
        self
    }

    pub(super) fn draw(&self, sheet: &Sheet) -> Canvas {
        let entry =
            |(series, cloud): (usize, &Cloud)| Entry { name: cloud.name.clone(), series, sample: Sample::Marker };
        let legend: Vec<_> = self.clouds.iter().enumerate().map(entry).collect();
        let mut frame = Frame::new(sheet, &legend);
        let holds = |&(x, y): &Point| self.x.can_hold(x) && self.y.can_hold(y);
        let points: Vec<_> = self.clouds.iter().flat_map(|cloud| &cloud.points).copied().filter(holds).collect();
        let (mut xs, mut ys): (Vec<_>, Vec<_>) = points.iter().copied().unzip();
        if self.diagonal {
            xs.extend_from_slice(&ys);
            ys.clone_from(&xs);
        }
        let plane = frame.axes(
            &Wanted { axis: &self.x, values: xs, rounded: true, ticks: true },
            &Wanted { axis: &self.y, values: ys, rounded: true, ticks: true },
        );
        if points.is_empty() {
            frame.no_data();
        }
        if self.diagonal {
            let (low, high) = (plane.x.low.max(plane.y.low), plane.x.high.min(plane.y.high));
            if let (Some(from), Some(to)) = (plane.pixel((low, low)), plane.pixel((high, high))) {
                let stroke = Stroke { tone: Tone::Target, width: 1.2, dashes: &[5.0, 3.0] };
                frame.canvas.clipped(plane.area, |canvas| canvas.line([from, to], stroke));
            }
        }
        for (position, cloud) in self.clouds.iter().enumerate() {
            let pixels = cloud.points.iter().copied().filter(holds).filter_map(|point| plane.pixel(point));
            for point in pixels.filter(|&point| plane.holds(point)) {
                frame.canvas.marker(point, marker(position), Tone::Series(position));
            }
        }
        frame.canvas
    }
}
