//! A list of marks, and how it is written as SVG. PNG is drawn from the same list in `png.rs`.

use std::fmt::Write as _;

use super::font::{self, text_width};
use super::style::{Hatch, Marker, Tone, hex};
use crate::markup::escape;

/// A point on the canvas: to the right and down, in pixels.
pub(super) type Point = (f64, f64);

/// An upright rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Rect {
    pub(super) fn width(self) -> f64 {
        self.right - self.left
    }

    pub(super) fn height(self) -> f64 {
        self.bottom - self.top
    }

    /// Its corners in order.
    pub(super) fn corners(self) -> Vec<Point> {
        vec![(self.left, self.top), (self.right, self.top), (self.right, self.bottom), (self.left, self.bottom)]
    }
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stroke {
    pub(super) tone: Tone,
    pub(super) width: f64,
    pub(super) dashes: &'static [f64],
}

impl Stroke {
    pub(super) const fn solid(tone: Tone, width: f64) -> Self {
        Self { tone, width, dashes: &[] }
    }
}

/// How an area is filled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    pub(super) tone: Tone,
    pub(super) opacity: f64,
}

/// Where a text's point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A line of text; its point is on the baseline.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) at: Point,
    pub(super) text: String,
    pub(super) size: f64,
    pub(super) tone: Tone,
    pub(super) anchor: Anchor,
    /// Read from bottom to top.
    pub(super) upwards: bool,
}

/// One thing on the canvas.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    Line { points: Vec<Point>, stroke: Stroke },
    Area { points: Vec<Point>, fill: Fill, outline: Option<Stroke> },
    Circle { center: Point, radius: f64, fill: Fill, outline: Option<Stroke> },
    Text(Text),
    ClipStart(Rect),
    ClipEnd,
}

/// Marks, the later above the earlier.
#[derive(Clone, Debug)]
pub(super) struct Canvas {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) marks: Vec<Mark>,
}

impl Canvas {
    pub(super) fn new(width: f64, height: f64) -> Self {
        let mut canvas = Self { width, height, marks: Vec::new() };
        canvas.rect(Rect { left: 0.0, top: 0.0, right: width, bottom: height }, Tone::Paper);
        canvas
    }

    pub(super) fn line(&mut self, points: impl Into<Vec<Point>>, stroke: Stroke) {
        self.marks.push(Mark::Line { points: points.into(), stroke });
    }

    pub(super) fn rect(&mut self, rect: Rect, tone: Tone) {
        self.area(rect.corners(), Fill { tone, opacity: 1.0 }, None);
    }

    /// Lets what lies below `rect` fade, so that text can be read there.
    pub(super) fn ground(&mut self, rect: Rect) {
        self.area(rect.corners(), Fill { tone: Tone::Paper, opacity: 0.85 }, None);
    }

    pub(super) fn area(&mut self, points: Vec<Point>, fill: Fill, outline: Option<Stroke>) {
        self.marks.push(Mark::Area { points, fill, outline });
    }

    pub(super) fn text(&mut self, at: Point, text: impl Into<String>, size: f64, tone: Tone, anchor: Anchor) {
        self.marks.push(Mark::Text(Text { at, text: text.into(), size, tone, anchor, upwards: false }));
    }

    pub(super) fn clipped(&mut self, to: Rect, draw: impl FnOnce(&mut Self)) {
        self.marks.push(Mark::ClipStart(to));
        draw(self);
        self.marks.push(Mark::ClipEnd);
    }

    /// A rectangle with a series' colour and hatching.
    pub(super) fn hatched(&mut self, rect: Rect, tone: Tone, hatch: Hatch) {
        self.rect(rect, tone);
        let stroke = Stroke::solid(Tone::Paper, 1.2);
        const GAP: f64 = 6.0;
        if matches!(hatch, Hatch::Level) {
            let mut y = rect.bottom - GAP / 2.0;
            while y > rect.top {
                self.line([(rect.left, y), (rect.right, y)], stroke);
                y -= GAP;
            }
        }
        // A rising line x - left = offset - (bottom - y) enters at the bottom or the right and leaves at the top or left.
        let mut offset = GAP;
        while !matches!(hatch, Hatch::None | Hatch::Level) && offset < rect.width() + rect.height() {
            let low = ((offset - rect.height()).max(0.0), offset.min(rect.height()));
            let high = (offset.min(rect.width()), (offset - rect.width()).max(0.0));
            if matches!(hatch, Hatch::Falling | Hatch::Crossed) {
                self.line(
                    [(rect.left + low.0, rect.bottom - low.1), (rect.left + high.0, rect.bottom - high.1)],
                    stroke,
                );
            }
            if matches!(hatch, Hatch::Rising | Hatch::Crossed) {
                self.line([(rect.left + low.0, rect.top + low.1), (rect.left + high.0, rect.top + high.1)], stroke);
            }
            offset += GAP;
        }
    }

    /// A point's marker; a hollow one is filled with paper.
    pub(super) fn marker(&mut self, center: Point, (shape, hollow): (Marker, bool), tone: Tone) {
        let fill = Fill { tone: if hollow { Tone::Paper } else { tone }, opacity: 1.0 };
        let outline = Some(Stroke::solid(if hollow { tone } else { Tone::Paper }, if hollow { 1.4 } else { 0.8 }));
        let polygon = |corners: u32, turn: f64, radius: f64| -> Vec<Point> {
            (0..corners)
                .map(|corner| {
                    let angle = turn + f64::from(corner) / f64::from(corners) * std::f64::consts::TAU;
                    (center.0 + radius * angle.sin(), center.1 - radius * angle.cos())
                })
                .collect()
        };
        let half_turn = std::f64::consts::PI;
        let points = match shape {
            Marker::Circle => {
                self.marks.push(Mark::Circle { center, radius: 4.0, fill, outline });
                return;
            }
            Marker::Square => polygon(4, half_turn / 4.0, 5.0),
            Marker::Diamond => polygon(4, 0.0, 5.4),
            Marker::Triangle => polygon(3, 0.0, 5.4),
            Marker::TriangleDown => polygon(3, half_turn, 5.4),
            Marker::Pentagon => polygon(5, 0.0, 5.0),
        };
        self.area(points, fill, outline);
    }

    /// The marks as a standalone SVG document with a title for screen readers.
    pub(super) fn to_svg(&self, title: &str) -> String {
        let (width, height) = (number(self.width), number(self.height));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"{}\">\n<title>{}</title>\n",
            font::FAMILY,
            escape(title)
        );
        for mark in &self.marks {
            write_mark(&mut svg, mark);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn write_mark(svg: &mut String, mark: &Mark) {
    match mark {
        Mark::Line { points, stroke } => {
            let _ = writeln!(svg, "<path{} fill=\"none\" d=\"{}\"/>", stroked(stroke, true), path(points, false));
        }
        Mark::Area { points, fill, outline } => {
            let _ = writeln!(svg, "<path{} d=\"{}\"/>", filled(fill), path(points, true));
            if let Some(outline) = outline {
                let _ = writeln!(svg, "<path{} fill=\"none\" d=\"{}\"/>", stroked(outline, true), path(points, true));
            }
        }
        Mark::Circle { center, radius, fill, outline } => {
            let place = format!("cx=\"{}\" cy=\"{}\" r=\"{}\"", number(center.0), number(center.1), number(*radius));
            let _ = writeln!(svg, "<circle{} {place}/>", filled(fill));
            if let Some(outline) = outline {
                let _ = writeln!(svg, "<circle{} fill=\"none\" {place}/>", stroked(outline, false));
            }
        }
        Mark::Text(text) => write_text(svg, text),
        // A nested viewport clips without an identifier, which would have to be unique on a page.
        Mark::ClipStart(rect) => {
            let [x, y, w, h] = [rect.left, rect.top, rect.width().max(0.0), rect.height().max(0.0)].map(number);
            let _ = writeln!(svg, "<svg x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" viewBox=\"{x} {y} {w} {h}\">");
        }
        Mark::ClipEnd => svg.push_str("</svg>\n"),
    }
}

fn write_text(svg: &mut String, text: &Text) {
    let (x, y) = (number(text.at.0), number(text.at.1));
    let anchor = match text.anchor {
        Anchor::Start => "",
        Anchor::Middle => " text-anchor=\"middle\"",
        Anchor::End => " text-anchor=\"end\"",
    };
    let turn = if text.upwards { format!(" transform=\"rotate(-90 {x} {y})\"") } else { String::new() };
    let _ = writeln!(
        svg,
        "<text{} x=\"{x}\" y=\"{y}\" font-size=\"{}\"{anchor}{turn}>{}</text>",
        painted(text.tone, "fill"),
        number(text.size),
        escape(&text.text)
    );
}

/// Class, colour and use of it. The class lets a page change the colour; `color` serves everyone else.
fn painted(tone: Tone, property: &str) -> String {
    format!(" class=\"{}\" color=\"{}\" {property}=\"currentColor\"", tone.class(), hex(tone.light()))
}

fn filled(fill: &Fill) -> String {
    let opacity = if fill.opacity < 1.0 { format!(" fill-opacity=\"{}\"", fill.opacity) } else { String::new() };
    painted(fill.tone, "fill") + &opacity
}

fn stroked(stroke: &Stroke, joins: bool) -> String {
    let mut attributes = painted(stroke.tone, "stroke");
    let _ = write!(attributes, " stroke-width=\"{}\"", number(stroke.width));
    if joins {
        attributes.push_str(" stroke-linejoin=\"round\"");
    }
    if !stroke.dashes.is_empty() {
        let dashes: Vec<_> = stroke.dashes.iter().copied().map(number).collect();
        let _ = write!(attributes, " stroke-dasharray=\"{}\"", dashes.join(" "));
    }
    attributes
}

fn path(points: &[Point], closed: bool) -> String {
    let mut path = String::with_capacity(points.len() * 12 + 1);
    for (i, &(x, y)) in points.iter().enumerate() {
        let _ = write!(path, "{}{} {}", if i == 0 { "M" } else { "L" }, number(x), number(y));
    }
    if closed && !points.is_empty() {
        path.push('Z');
    }
    path
}

/// A coordinate with two decimals at most.
fn number(value: f64) -> String {
    let shown = format!("{value:.2}");
    let shown = shown.trim_end_matches('0').trim_end_matches('.');
    if shown == "-0" { "0".to_owned() } else { shown.to_owned() }
}

/// Where `text` begins when set at `at`, along the direction of writing.
pub(super) fn text_offset(text: &Text) -> f64 {
    match text.anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => -text_width(&text.text, text.size) / 2.0,
        Anchor::End => -text_width(&text.text, text.size),
    }
}
