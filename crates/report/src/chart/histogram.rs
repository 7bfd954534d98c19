//! How often values fall where.

use super::axis::Axis;
use super::canvas::{Canvas, Fill, Rect, Stroke};
use super::frame::{Frame, Sheet, Wanted};
use super::style::Tone;

/// Bars whose areas are numbers of values, in bins of equal width.
///
/// To compare distributions use [`super::Series::cumulative`]: overlaid histograms cannot be read.
#[derive(Clone, Debug)]
pub struct Histogram {
    x: Axis,
    counted: String,
    values: Vec<f64>,
    bins: usize,
}

impl Histogram {
    /// The distribution of `values` on a linear axis `x`; `counted` says what they are, such as "requests".
    ///
    /// Values that are not finite are left out.
    pub fn new(x: Axis, counted: impl Into<String>, values: impl Into<Vec<f64>>) -> Self {
        let mut values = values.into();
        values.retain(|value| x.can_hold(*value));
        // Twice the cube root of their number suits smooth distributions.
        let bins = (2.0 * (values.len() as f64).cbrt()).ceil().clamp(1.0, 60.0) as usize;
        Self { x, counted: counted.into(), values, bins }
    }

    /// Sets the number of bins.
    pub fn bins(mut self, bins: usize) -> Self {
        self.bins = bins.clamp(1, 500);
        self
    }

    /// The bins' edges, one more than there are bins, and how many values each holds.
    fn counts(&self) -> (Vec<f64>, Vec<f64>) {
        let low = self.values.iter().copied().fold(f64::INFINITY, f64::min).max(-1e300);
        let high = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max).min(1e300);
        if self.values.is_empty() || low > high {
            return (Vec::new(), Vec::new());
        }
        let width = (high - low) / self.bins as f64;
        if width <= low.abs().max(high.abs()) * 1e-12 || width <= f64::MIN_POSITIVE {
            let half = (low.abs() * 0.02).max(1e-6);
            return (vec![low - half, low + half], vec![self.values.len() as f64]);
        }
        let mut counts = vec![0.0; self.bins];
        for value in &self.values {
            let bin = ((value.clamp(low, high) - low) / width) as usize;
            counts[bin.min(self.bins - 1)] += 1.0;
        }
        ((0..=self.bins).map(|edge| low + width * edge as f64).collect(), counts)
    }

    pub(super) fn draw(&self, sheet: &Sheet) -> Canvas {
        let mut frame = Frame::new(sheet, &[]);
        let (edges, counts) = self.counts();
        let y = Axis::linear(format!("Number of {}", self.counted)).from(0.0);
        let plane = frame.axes(
            &Wanted { axis: &self.x, values: edges.clone(), rounded: false, ticks: true },
            &Wanted { axis: &y, values: counts.clone(), rounded: true, ticks: true },
        );
        if counts.is_empty() {
            frame.no_data();
        }
        for (bin, &count) in counts.iter().enumerate() {
            let sides = plane.x_pixel(edges[bin]).zip(plane.x_pixel(edges[bin + 1]));
            let (Some((left, right)), Some(top)) = (sides, plane.y_pixel(count)) else { continue };
            let (left, right) = (left.max(plane.area.left), right.min(plane.area.right));
            if count > 0.0 && left < right {
                let rect = Rect { left, right, top: top.min(plane.area.bottom - 1.0), bottom: plane.area.bottom };
                let outline = Some(Stroke::solid(Tone::Paper, if right - left > 4.0 { 1.0 } else { 0.3 }));
                frame.canvas.area(rect.corners(), Fill { tone: Tone::Series(0), opacity: 1.0 }, outline);
            }
        }
        frame.canvas.line(
            [(plane.area.left, plane.area.bottom), (plane.area.right, plane.area.bottom)],
            Stroke::solid(Tone::Ink, 1.0),
        );
        frame.canvas
    }
}
