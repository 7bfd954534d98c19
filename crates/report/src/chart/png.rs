//! A canvas as pixels.

use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Mask, Paint, Path, PathBuilder, Pixmap, Rect as SkiaRect, Stroke as SkiaStroke,
    StrokeDash, Transform,
};

use super::canvas::{Canvas, Fill, Mark, Point, Rect, Stroke, Text, text_offset};
use super::font::{Place, outlines};
use super::style::Tone;

/// Why a chart could not be turned into pixels.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PngError {
    /// The picture would be empty or too large.
    #[error("a chart cannot be {width} pixels wide: the width must be between 1 and {widest}")]
    Width {
        /// What was asked for.
        width: u32,
        /// The most that is drawn.
        widest: u32,
    },
    /// The pixels could not be encoded.
    #[error("cannot encode the chart as PNG: {message}")]
    Encode {
        /// What the encoder says.
        message: String,
    },
}

/// The widest picture that is drawn.
const WIDEST: u32 = 16_384;

/// Draws `canvas` so that it is `width` pixels wide, with the colours of a light page.
pub(super) fn encode(canvas: &Canvas, width: u32) -> Result<Vec<u8>, PngError> {
    let scale = f64::from(width) / canvas.width;
    let height = (canvas.height * scale).round().clamp(1.0, f64::from(2 * WIDEST)) as u32;
    let pixmap = if width <= WIDEST { Pixmap::new(width, height) } else { None };
    let mut pixmap = pixmap.ok_or(PngError::Width { width, widest: WIDEST })?;
    pixmap.fill(Color::WHITE);
    let scaling = Transform::from_scale(scale as f32, scale as f32);
    let mut clip = None;
    for mark in &canvas.marks {
        match mark {
            Mark::ClipStart(rect) => clip = clip_mask(*rect, width, height, scaling),
            Mark::ClipEnd => clip = None,
            Mark::Text(text) => draw_text(&mut pixmap, text, scaling),
            Mark::Line { points, stroke } => {
                stroke_path(&mut pixmap, polygon(points, false), stroke, scaling, clip.as_ref());
            }
            Mark::Area { points, fill, outline } => {
                let path = polygon(points, true);
                fill_path(&mut pixmap, path.clone(), fill, scaling, clip.as_ref());
                if let Some(outline) = outline {
                    stroke_path(&mut pixmap, path, outline, scaling, clip.as_ref());
                }
            }
            Mark::Circle { center, radius, fill, outline } => {
                let path = PathBuilder::from_circle(center.0 as f32, center.1 as f32, *radius as f32);
                fill_path(&mut pixmap, path.clone(), fill, scaling, clip.as_ref());
                if let Some(outline) = outline {
                    stroke_path(&mut pixmap, path, outline, scaling, clip.as_ref());
                }
            }
        }
    }
    pixmap.encode_png().map_err(|cause| PngError::Encode { message: cause.to_string() })
}

fn paint(tone: Tone, opacity: f64) -> Paint<'static> {
    let (red, green, blue) = tone.light();
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, (opacity * 255.0).round() as u8);
    paint
}

fn polygon(points: &[Point], closed: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for (i, &(x, y)) in points.iter().enumerate() {
        if i == 0 {
            builder.move_to(x as f32, y as f32);
        } else {
            builder.line_to(x as f32, y as f32);
        }
    }
    if closed {
        builder.close();
    }
    builder.finish()
}

/// Fills `path`; there is none if it has no extent, and then nothing to see.
fn fill_path(pixmap: &mut Pixmap, path: Option<Path>, fill: &Fill, scaling: Transform, clip: Option<&Mask>) {
    if let Some(path) = path {
        pixmap.fill_path(&path, &paint(fill.tone, fill.opacity), FillRule::Winding, scaling, clip);
    }
}

fn stroke_path(pixmap: &mut Pixmap, path: Option<Path>, stroke: &Stroke, scaling: Transform, clip: Option<&Mask>) {
    let dashes = stroke.dashes.iter().map(|&length| length as f32).collect();
    let style = SkiaStroke {
        width: stroke.width as f32,
        line_cap: LineCap::Butt,
        line_join: LineJoin::Round,
        dash: StrokeDash::new(dashes, 0.0),
        ..SkiaStroke::default()
    };
    if let Some(path) = path {
        pixmap.stroke_path(&path, &paint(stroke.tone, 1.0), &style, scaling, clip);
    }
}

fn clip_mask(rect: Rect, width: u32, height: u32, scaling: Transform) -> Option<Mask> {
    let mut mask = Mask::new(width, height)?;
    let rect = SkiaRect::from_ltrb(rect.left as f32, rect.top as f32, rect.right as f32, rect.bottom as f32)?;
    mask.fill_path(&PathBuilder::from_rect(rect), FillRule::Winding, true, scaling);
    Some(mask)
}

/// Font units point up, pixels down.
struct Outline<'a> {
    builder: &'a mut PathBuilder,
    place: Place,
}

impl Outline<'_> {
    fn pixel(&self, x: f32, y: f32) -> (f32, f32) {
        let Place { left, baseline, scale } = self.place;
        ((left + f64::from(x) * scale) as f32, (baseline - f64::from(y) * scale) as f32)
    }
}

impl ttf_parser::OutlineBuilder for Outline<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.pixel(x, y);
        self.builder.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.pixel(x, y);
        self.builder.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.pixel(x1, y1), self.pixel(x, y));
        self.builder.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.pixel(x1, y1), self.pixel(x2, y2), self.pixel(x, y));
        self.builder.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.builder.close();
    }
}

fn draw_text(pixmap: &mut Pixmap, text: &Text, scaling: Transform) {
    let mut builder = PathBuilder::new();
    let start = text_offset(text);
    outlines(&text.text, text.size, |draw, place| {
        draw(&mut Outline { builder: &mut builder, place: Place { left: start + place.left, ..place } });
    });
    let Some(path) = builder.finish() else { return };
    let turn = if text.upwards { Transform::from_rotate(-90.0) } else { Transform::identity() };
    let place = turn.post_translate(text.at.0 as f32, text.at.1 as f32).post_concat(scaling);
    pixmap.fill_path(&path, &paint(text.tone, 1.0), FillRule::Winding, place, None);
}
