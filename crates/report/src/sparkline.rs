//! Series of numbers as one line of characters each, for terminals.

/// Which characters draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Glyphs {
    /// Block characters of eight heights, `▁` to `█`.
    #[default]
    Blocks,
    /// Seven-bit characters that get darker, for terminals without Unicode.
    Ascii,
}

impl Glyphs {
    const fn levels(self) -> &'static [char] {
        match self {
            Self::Blocks => &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            Self::Ascii => &['_', '.', ':', '-', '=', '+', '*', '#'],
        }
    }
}

/// One line of characters for `values`, at most `width` wide, its full height standing for `top`.
///
/// Longer series are averaged into `width` columns of as equal a number of values as possible. The lowest character
/// means zero and nothing else, so that a little can be told from nothing; columns without a number are blank.
pub fn sparkline(values: &[f64], width: usize, top: f64, glyphs: Glyphs) -> String {
    let levels = glyphs.levels();
    let highest = (levels.len() - 1) as f64;
    columns(values, width)
        .into_iter()
        .map(|value| match value {
            None => ' ',
            Some(value) if value <= 0.0 || top <= 0.0 || top.is_nan() => levels[0],
            Some(value) => levels[(value / top * highest).ceil().clamp(1.0, highest) as usize],
        })
        .collect()
}

/// Several named series under each other, one line each, drawn to one common scale.
///
/// ```
/// use statmux_report::sparkline::{Glyphs, Sparklines};
/// let mut load = Sparklines::new(8, "requests/s");
/// load.add("m0", [0.0, 1.0, 4.0, 8.0]);
/// load.add("m10", [8.0, 8.0, 0.0, 2.0]);
/// assert_eq!(
///     load.to_text(Glyphs::Ascii),
///     "m0   _.=#  mean 3.25  max 8.00\nm10  ##_:  mean 4.50  max 8.00\nfull height: 8.00 requests/s\n"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Sparklines {
    width: usize,
    unit: String,
    series: Vec<(String, Vec<f64>)>,
}

impl Sparklines {
    /// No series yet; each line will be at most `width` characters wide, its values in `unit`.
    pub fn new(width: usize, unit: impl Into<String>) -> Self {
        Self { width: width.max(1), unit: unit.into(), series: Vec::new() }
    }

    /// Adds a line.
    pub fn add(&mut self, name: impl Into<String>, values: impl Into<Vec<f64>>) {
        self.series.push((name.into(), values.into()));
    }

    /// All lines, each with its name, mean and maximum, and the scale below; empty if there are no series.
    pub fn to_text(&self, glyphs: Glyphs) -> String {
        if self.series.is_empty() {
            return String::new();
        }
        // The scale is that of what is drawn: averages per column, whose peak may be lower than that of the values.
        let top = self.series.iter().flat_map(|(_, values)| columns(values, self.width)).flatten().fold(0.0, f64::max);
        let names = self.series.iter().map(|(name, _)| crate::table::width(name)).max().unwrap_or(0);
        let drawn = self.series.iter().map(|(_, values)| values.len().min(self.width)).max().unwrap_or(0);
        let mut text = String::new();
        for (name, values) in &self.series {
            let line = sparkline(values, self.width, top, glyphs);
            let blanks = " ".repeat(names - crate::table::width(name));
            let finite = || values.iter().copied().filter(|value| value.is_finite());
            let mean = finite().sum::<f64>() / finite().count() as f64;
            let max = finite().fold(f64::NAN, f64::max);
            let (mean, max) = (crate::number::significant(mean, 3), crate::number::significant(max, 3));
            text.push_str(&format!("{name}{blanks}  {line:<drawn$}  mean {mean}  max {max}\n"));
        }
        text.push_str(&format!("full height: {} {}\n", crate::number::significant(top, 3), self.unit));
        text
    }
}

/// `values` averaged into at most `width` columns; `None` where a column has no finite value.
fn columns(values: &[f64], width: usize) -> Vec<Option<f64>> {
    let width = width.min(values.len());
    (0..width)
        .map(|column| {
            let from = column * values.len() / width;
            let to = (column + 1) * values.len() / width;
            let finite: Vec<_> = values[from..to].iter().copied().filter(|value| value.is_finite()).collect();
            (!finite.is_empty()).then(|| finite.iter().map(|value| value / finite.len() as f64).sum())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heights_are_proportional_and_little_is_not_nothing() {
        let values = [0.0, 0.001, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        assert_eq!(sparkline(&values, 80, 7.0, Glyphs::Blocks), "▁▂▂▃▄▅▆▇█");
        assert_eq!(sparkline(&values, 80, 7.0, Glyphs::Ascii), "_..:-=+*#");
        assert_eq!(sparkline(&[1.0, f64::NAN, 1.0], 80, 1.0, Glyphs::Blocks), "█ █");
        assert_eq!(sparkline(&[0.0, 0.0], 80, 0.0, Glyphs::Blocks), "▁▁");
        assert_eq!(sparkline(&[], 80, 1.0, Glyphs::Blocks), "");
    }

    #[test]
    fn long_series_are_averaged() {
        assert_eq!(sparkline(&[0.0, 2.0, 7.0, 7.0], 2, 7.0, Glyphs::Blocks), "▂█");
    }

    #[test]
    fn series_without_numbers_have_no_mean() {
        let mut lines = Sparklines::new(10, "requests/s");
        lines.add("idle", []);
        assert_eq!(lines.to_text(Glyphs::Blocks), "idle    mean –  max –\nfull height: 0 requests/s\n");
        assert_eq!(Sparklines::new(10, "x").to_text(Glyphs::Blocks), "");
    }

    proptest! {
        #[test]
        fn lines_are_as_wide_as_asked(values: Vec<f64>, width in 0usize..50, top: f64) {
            let line = sparkline(&values, width, top, Glyphs::Ascii);
            prop_assert_eq!(line.chars().count(), width.min(values.len()));
        }
    }
}
