//! How charts look: colours that colour-blind readers can tell apart, and markers, dashes and hatching for print in grey.

/// What a mark is, from which its colour follows.
///
/// In SVG each tone is a class and a light-page colour; pages override the class on dark screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// The background.
    Paper,
    /// Titles and frame.
    Ink,
    /// Tick labels and axis titles.
    Muted,
    /// Grid lines.
    Grid,
    /// Target lines.
    Target,
    /// The series at a position.
    Series(usize),
    /// A cell of a heat strip, from 0 to [`HEAT_LEVELS`] - 1.
    Heat(usize),
}

/// Red, green, blue.
type Rgb = (u8, u8, u8);

/// The Okabe-Ito palette without yellow, which cannot be seen on white: blue, vermillion, green, purple, orange, sky
/// blue, black.
const LIGHT_SERIES: [Rgb; 7] =
    [(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (60, 60, 60)];

/// The same hues, light enough for a dark page.
const DARK_SERIES: [Rgb; 7] =
    [(77, 166, 226), (245, 138, 66), (46, 196, 150), (226, 154, 194), (240, 184, 60), (140, 208, 245), (210, 210, 210)];

/// How many steps the colours of heat strips have.
pub(crate) const HEAT_LEVELS: usize = 16;

/// Ends and middle of the heat colours on a light and on a dark page; the first means zero.
const LIGHT_HEAT: [Rgb; 4] = [(246, 247, 249), (158, 202, 225), (33, 113, 181), (8, 29, 70)];
const DARK_HEAT: [Rgb; 4] = [(32, 36, 43), (20, 82, 140), (60, 160, 215), (225, 242, 252)];

impl Tone {
    /// All tones, for the page's style sheet.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [Self::Paper, Self::Ink, Self::Muted, Self::Grid, Self::Target]
            .into_iter()
            .chain((0..LIGHT_SERIES.len()).map(Self::Series))
            .chain((0..HEAT_LEVELS).map(Self::Heat))
    }

    /// The name of its class in SVG.
    pub(crate) fn class(self) -> String {
        match self {
            Self::Paper => "cp".to_owned(),
            Self::Ink => "ci".to_owned(),
            Self::Muted => "cm".to_owned(),
            Self::Grid => "cg".to_owned(),
            Self::Target => "ct".to_owned(),
            Self::Series(i) => format!("s{}", i % LIGHT_SERIES.len()),
            Self::Heat(i) => format!("h{i}"),
        }
    }

    /// Its colour on a light page and in print.
    pub(crate) fn light(self) -> Rgb {
        match self {
            Self::Paper => (255, 255, 255),
            Self::Ink => (34, 34, 34),
            Self::Muted => (85, 85, 85),
            Self::Grid => (226, 226, 226),
            Self::Target => (120, 120, 120),
            Self::Series(i) => LIGHT_SERIES[i % LIGHT_SERIES.len()],
            Self::Heat(i) => blend(&LIGHT_HEAT, i),
        }
    }

    /// Its colour on a dark page.
    pub(crate) fn dark(self) -> Rgb {
        match self {
            Self::Paper => (24, 27, 32),
            Self::Ink => (230, 230, 230),
            Self::Muted => (172, 176, 182),
            Self::Grid => (54, 59, 66),
            Self::Target => (150, 150, 150),
            Self::Series(i) => DARK_SERIES[i % DARK_SERIES.len()],
            Self::Heat(i) => blend(&DARK_HEAT, i),
        }
    }
}

/// The colour at `level` of [`HEAT_LEVELS`] along `stops`.
fn blend(stops: &[Rgb; 4], level: usize) -> Rgb {
    let position = level.min(HEAT_LEVELS - 1) as f64 / (HEAT_LEVELS - 1) as f64 * (stops.len() - 1) as f64;
    let below = (position.floor() as usize).min(stops.len() - 2);
    let share = position - below as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
    let (from, to) = (stops[below], stops[below + 1]);
    (mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// `colour` as CSS writes it.
pub(crate) fn hex((red, green, blue): Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// The shape that marks a series' points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    TriangleDown,
    Pentagon,
}

/// The marker of the series at `position`, and whether it is hollow.
pub(super) fn marker(position: usize) -> (Marker, bool) {
    const SHAPES: [Marker; 6] =
        [Marker::Circle, Marker::Square, Marker::Triangle, Marker::Diamond, Marker::TriangleDown, Marker::Pentagon];
    (SHAPES[position % SHAPES.len()], (position / SHAPES.len()) % 2 == 1)
}

/// The dash pattern of the series at `position`: lengths of strokes and gaps.
pub(super) fn dashes(position: usize) -> &'static [f64] {
    const PATTERNS: [&[f64]; 6] =
        [&[], &[8.0, 4.0], &[2.0, 3.0], &[9.0, 3.0, 2.0, 3.0], &[14.0, 4.0], &[9.0, 3.0, 2.0, 3.0, 2.0, 3.0]];
    // Shifted after each round of colours, so that two series of one colour differ in their dashes.
    PATTERNS[(position + position / LIGHT_SERIES.len()) % PATTERNS.len()]
}

/// How a filled shape is hatched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hatch {
    None,
    Rising,
    Falling,
    Level,
    Crossed,
}

/// The hatching of the series at `position`.
pub(super) fn hatch(position: usize) -> Hatch {
    const HATCHES: [Hatch; 5] = [Hatch::None, Hatch::Rising, Hatch::Falling, Hatch::Level, Hatch::Crossed];
    HATCHES[(position + position / LIGHT_SERIES.len()) % HATCHES.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contrast ratio as WCAG 2 defines it.
    fn contrast(a: Rgb, b: Rgb) -> f64 {
        let channel = |value: u8| {
            let share = f64::from(value) / 255.0;
            if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        let luminance = |(r, g, b)| 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
        let (a, b) = (luminance(a) + 0.05, luminance(b) + 0.05);
        a.max(b) / a.min(b)
    }

    #[test]
    fn words_can_be_read_and_series_seen_on_both_pages() {
        for tone in [Tone::Ink, Tone::Muted] {
            assert!(contrast(tone.light(), Tone::Paper.light()) > 7.0);
            assert!(contrast(tone.dark(), Tone::Paper.dark()) > 7.0);
        }
        for series in (0..LIGHT_SERIES.len()).map(Tone::Series) {
            assert!(contrast(series.light(), Tone::Paper.light()) > 2.0);
            assert!(contrast(series.dark(), Tone::Paper.dark()) > 4.0);
        }
    }

    #[test]
    fn the_first_42_series_look_different_in_grey() {
        let looks: Vec<_> = (0..42).map(|i| (Tone::Series(i).class(), marker(i), dashes(i))).collect();
        for (i, look) in looks.iter().enumerate() {
            assert!(!looks[..i].contains(look), "{i}");
        }
    }
}
