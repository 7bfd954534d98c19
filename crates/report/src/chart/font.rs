//! The one font of charts: widths for layout and outlines for PNG.
//!
//! Liberation Sans is bundled because a server need not have any font. It is as wide as Arial and Helvetica, which
//! browsers use for the SVG form where it is not installed, so both forms are laid out alike.

use std::sync::OnceLock;

use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// What SVG text asks for.
pub(super) const FAMILY: &str = "Liberation Sans, Arial, Helvetica, sans-serif";

static FILE: &[u8] = include_bytes!("../../assets/LiberationSans-Regular.ttf");

fn face() -> &'static Face<'static> {
    static FACE: OnceLock<Face<'static>> = OnceLock::new();
    FACE.get_or_init(|| Face::parse(FILE, 0).expect("the bundled font is sound"))
}

/// How the font shows a character: the glyph of which one, how large, and how high above the baseline, in ems.
///
/// It lacks most raised digits, which powers of ten need, and narrow spaces.
fn substitute(character: char) -> (char, f64, f64) {
    let raised = |base| (base, 0.66, 0.36);
    match character {
        '\u{202f}' => ('\u{a0}', 0.7, 0.0),
        '⁻' => raised('−'),
        '¹' => raised('1'),
        '²' => raised('2'),
        '³' => raised('3'),
        '⁰' => raised('0'),
        '⁴'..='⁹' => raised(char::from(b'0' + (character as u32 - '⁰' as u32) as u8)),
        other => (other, 1.0, 0.0),
    }
}

/// The glyph of `character`, or the box that stands for those the font lacks.
fn glyph(character: char) -> GlyphId {
    face().glyph_index(character).unwrap_or(GlyphId(0))
}

/// How far `character` moves the pen, in ems.
fn advance(character: char) -> f64 {
    let (base, size, _) = substitute(character);
    f64::from(face().glyph_hor_advance(glyph(base)).unwrap_or(0)) * size / f64::from(face().units_per_em())
}

/// How wide `text` is when set in `size`.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}

/// A glyph's place: its left end and baseline, pixels down, and pixels per unit of its outline.
pub(super) struct Place {
    pub(super) left: f64,
    pub(super) baseline: f64,
    pub(super) scale: f64,
}

/// Calls `pen` for each glyph of `text`, set from 0 on a baseline at 0, with what draws its outline and where.
pub(super) fn outlines(text: &str, size: f64, mut pen: impl FnMut(&dyn Fn(&mut dyn OutlineBuilder), Place)) {
    let mut left = 0.0;
    for character in text.chars() {
        let (base, relative, raised) = substitute(character);
        if !base.is_whitespace() {
            let draw = |builder: &mut dyn OutlineBuilder| {
                face().outline_glyph(glyph(base), builder);
            };
            let scale = size * relative / f64::from(face().units_per_em());
            pen(&draw, Place { left, baseline: -raised * size, scale });
        }
        left += advance(character) * size;
    }
}

/// `text`, or its beginning and an ellipsis if it is wider than `widest`.
pub(super) fn shortened(text: &str, size: f64, widest: f64) -> String {
    if text_width(text, size) <= widest {
        return text.to_owned();
    }
    let mut kept: Vec<char> = text.chars().collect();
    while !kept.is_empty() {
        kept.pop();
        let candidate: String = kept.iter().collect::<String>().trim_end().to_owned() + "…";
        if text_width(&candidate, size) <= widest {
            return candidate;
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_what_charts_write() {
        for character in "0123456789.,-–%×·µ≥≤→…⁰¹²³⁴⁵⁶⁷⁸⁹⁻αβλρ".chars() {
            assert!(face().glyph_index(substitute(character).0).is_some(), "{character}");
        }
    }

    #[test]
    fn long_text_is_shortened() {
        assert_eq!(shortened("short", 12.0, 100.0), "short");
        let cut = shortened("a rather long label of a model", 12.0, 60.0);
        assert!(cut.ends_with('…') && text_width(&cut, 12.0) <= 60.0, "{cut}");
        assert_eq!(shortened("x", 12.0, 0.0), "");
    }
}
