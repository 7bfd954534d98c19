//! Axes: what they measure, how values map to pixels, and where the ticks stand.

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    Linear,
    Log,
}

/// In which form values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    /// Fractions shown in percent.
    Percent,
    /// Seconds shown in the unit that suits their range.
    Time,
}

/// What one axis of a chart measures.
///
/// ```
/// use statmux_report::chart::Axis;
/// let rate = Axis::linear("Total rate").unit("requests/s").from(0.0);
/// let latency = Axis::log("p99 latency").unit("s");
/// let attainment = Axis::percent("SLO attainment").to(1.0);
/// ```
#[derive(Clone, Debug)]
pub struct Axis {
    title: String,
    unit: Option<String>,
    spread: Spread,
    form: Form,
    low: Option<f64>,
    high: Option<f64>,
}

impl Axis {
    /// An axis on which equal distances are equal differences.
    pub fn linear(title: impl Into<String>) -> Self {
        Self { title: title.into(), unit: None, spread: Spread::Linear, form: Form::Plain, low: None, high: None }
    }

    /// An axis on which equal distances are equal ratios. Values that are not positive have no place on it and are left
    /// out.
    pub fn log(title: impl Into<String>) -> Self {
        Self { spread: Spread::Log, ..Self::linear(title) }
    }

    /// An axis for fractions, shown in percent.
    pub fn percent(title: impl Into<String>) -> Self {
        Self { form: Form::Percent, unit: Some("%".to_owned()), ..Self::linear(title) }
    }

    /// An axis for times in seconds, shown in seconds, minutes, hours or days as suits their range.
    pub fn time(title: impl Into<String>) -> Self {
        Self { form: Form::Time, ..Self::linear(title) }
    }

    /// The unit, shown after the title.
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = Some(unit.into());
        self
    }

    /// Where the axis begins, whatever the data; ignored if it has no place on the axis.
    pub fn from(mut self, low: f64) -> Self {
        self.low = Some(low);
        self
    }

    /// Where the axis ends, whatever the data; ignored if it has no place on the axis.
    pub fn to(mut self, high: f64) -> Self {
        self.high = Some(high);
        self
    }

    /// Whether `value` has a place on this axis.
    pub(super) fn can_hold(&self, value: f64) -> bool {
        value.is_finite() && (self.spread == Spread::Linear || value > 0.0)
    }

    /// `value` as a label beside a mark, without the unit, which the title names.
    pub(super) fn shown(&self, value: f64) -> String {
        match self.form {
            Form::Plain => crate::number::significant(value, 3),
            Form::Percent => crate::number::percent(value).replace(" %", ""),
            Form::Time => crate::number::duration(value),
        }
    }

    /// The scale for `values`, and ticks about `spacing` pixels apart along `length` pixels.
    ///
    /// `rounded` extends the range to the next tick on both sides, unless it was given.
    pub(super) fn scale(&self, values: impl Iterator<Item = f64>, rounded: bool, length: f64, spacing: f64) -> Scale {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|&value| self.can_hold(value)) {
            low = low.min(value);
            high = high.max(value);
        }
        let wanted = (length / spacing).clamp(2.0, 12.0);
        match self.spread {
            Spread::Linear => self.linear_scale(low, high, rounded, wanted),
            Spread::Log => self.log_scale(low, high, rounded, wanted),
        }
    }

    fn linear_scale(&self, low: f64, high: f64, rounded: bool, wanted: f64) -> Scale {
        // Sums and differences of values stay finite within this range.
        const LARGEST: f64 = 1e300;
        let (mut low, mut high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        if rounded && low > 0.0 && low <= 0.5 * high {
            low = 0.0;
        }
        let limit = |value: Option<f64>| value.filter(|value| value.is_finite());
        let (fixed_low, fixed_high) = (limit(self.low), limit(self.high));
        low = fixed_low.unwrap_or(low).clamp(-LARGEST, LARGEST);
        high = fixed_high.unwrap_or(high).clamp(-LARGEST, LARGEST);
        // Below that, steps between ticks would vanish.
        // Shares of a whole end at the whole.
        let whole = self.form == Form::Percent && fixed_high.is_none() && (0.0..=1.0).contains(&low) && high <= 1.0;
        let smallest = (low.abs().max(high.abs()) * 1e-9).max(1e-290);
        if high - low <= smallest {
            // One value only, or limits the wrong way round: some room around it.
            let room = if self.form == Form::Percent { 0.05 } else { (low.abs() * 0.1).max(1e-280) };
            let room = if low == 0.0 && self.form != Form::Percent { 0.5 } else { room };
            let at = low;
            low = fixed_low.unwrap_or(if at >= 0.0 { (at - room).max(0.0) } else { at - room });
            high = fixed_high.filter(|&high| high > low + smallest).unwrap_or(at + room);
            if whole {
                high = high.min(1.0);
            }
        }
        let divisor = self.divisor(low.abs().max(high.abs()));
        let step = round_step((high - low) / divisor / wanted) * divisor;
        if rounded {
            let margin = 1e-6;
            low = fixed_low.unwrap_or(((low / step) + margin).floor() * step);
            high = fixed_high.unwrap_or(((high / step) - margin).ceil() * step);
            if whole {
                high = high.min(1.0);
            }
        }
        let first = (low / step - 1e-6).ceil();
        let ticks: Vec<_> = (0..40)
            .map(|i| (first + f64::from(i)) * step)
            .take_while(|&tick| tick <= high + step * 1e-6)
            .map(|tick| Tick { value: tick, label: Some(tick_label(tick / divisor, step / divisor)) })
            .collect();
        Scale { spread: Spread::Linear, low, high, ticks, title: self.full_title(divisor), divisor }
    }

    fn log_scale(&self, low: f64, high: f64, rounded: bool, wanted: f64) -> Scale {
        let (low, high) = if low <= high { (low, high) } else { (1.0, 10.0) };
        let limit = |value: Option<f64>| value.filter(|&value| self.can_hold(value));
        let (fixed_low, fixed_high) = (limit(self.low), limit(self.high));
        let (mut low, mut high) = (fixed_low.unwrap_or(low), fixed_high.unwrap_or(high));
        // Subnormal numbers have too few digits to be spread.
        low = low.clamp(1e-300, 1e300);
        high = high.clamp(1e-300, 1e300);
        if high <= low * 1.000_001 {
            (low, high) = (low / 2.0, low * 2.0);
        }
        let decades = (high / low).log10();
        let multiples: &[f64] = if decades < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let stride = (decades / wanted).ceil().max(1.0) as i32;
        if rounded {
            low = fixed_low.unwrap_or_else(|| round_down(low, multiples));
            high = fixed_high.unwrap_or_else(|| round_up(high, multiples));
        }
        // Small ticks at the multiples between show that the axis is logarithmic.
        let between: &[f64] = if decades <= 5.0 { &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0] } else { &[1.0] };
        let mut ticks = Vec::new();
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        for exponent in first..=last {
            for &multiple in between {
                let value = multiple * power_of_ten(exponent);
                let labelled = multiples.contains(&multiple) && exponent.rem_euclid(stride) == 0;
                let label = labelled.then(|| log_label(value));
                if value >= low * 0.999_999 && value <= high * 1.000_001 && (labelled || stride < 4) {
                    ticks.push(Tick { value, label });
                }
            }
        }
        let divisor = self.divisor(1.0);
        Scale { spread: Spread::Log, low, high, ticks, title: self.full_title(divisor), divisor }
    }

    /// By what values are divided before they are written.
    fn divisor(&self, largest: f64) -> f64 {
        match self.form {
            Form::Plain => 1.0,
            Form::Percent => 0.01,
            Form::Time => time_unit(largest).0,
        }
    }

    fn full_title(&self, divisor: f64) -> String {
        let unit = match self.form {
            Form::Time => {
                [60.0, 3_600.0, 86_400.0].iter().position(|&d| d == divisor).map_or("s", |i| ["min", "h", "d"][i])
            }
            _ => self.unit.as_deref().unwrap_or_default(),
        };
        match (self.title.as_str(), unit) {
            (title, "") => title.to_owned(),
            ("", unit) => unit.to_owned(),
            (title, unit) => format!("{title} ({unit})"),
        }
    }
}

/// Seconds per unit, and the unit, that suits times up to `largest` seconds.
fn time_unit(largest: f64) -> (f64, &'static str) {
    match largest {
        s if s <= 300.0 => (1.0, "s"),
        s if s <= 3.0 * 3_600.0 => (60.0, "min"),
        s if s <= 72.0 * 3_600.0 => (3_600.0, "h"),
        _ => (86_400.0, "d"),
    }
}

/// One division of an axis.
#[derive(Clone, Debug)]
pub(super) struct Tick {
    pub(super) value: f64,
    /// Divisions between labelled ones have none.
    pub(super) label: Option<String>,
}

/// A range of values, ready to be mapped to pixels.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    spread: Spread,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<Tick>,
    /// Title and unit.
    pub(super) title: String,
    /// By what values are divided before they are written.
    divisor: f64,
}

impl Scale {
    /// `value` in the unit of the title.
    pub(super) fn label(&self, value: f64) -> String {
        crate::number::significant(value / self.divisor, 3)
    }

    /// Where `value` stands between 0 (the low end) and 1, or not far beyond; `None` if it has no place.
    pub(super) fn share(&self, value: f64) -> Option<f64> {
        let share = match self.spread {
            Spread::Linear => value / (self.high - self.low) - self.low / (self.high - self.low),
            Spread::Log if value > 0.0 => (value / self.low).log10() / (self.high / self.low).log10(),
            Spread::Log => return None,
        };
        // Far away is far enough: pixels stay within what renderers can hold.
        share.is_finite().then(|| share.clamp(-3.0, 4.0))
    }
}

/// The step from 1, 2, 5 times a power of ten that is about `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let multiple = match step / power {
        m if m < 1.4 => 1.0,
        m if m < 3.2 => 2.0,
        m if m < 7.2 => 5.0,
        _ => 10.0,
    };
    multiple * power
}

fn power_of_ten(exponent: i32) -> f64 {
    // Parsed, not multiplied, so that ticks are exact.
    format!("1e{exponent}").parse().expect("a float literal")
}

fn round_down(value: f64, multiples: &[f64]) -> f64 {
    let power = power_of_ten(value.log10().floor() as i32);
    multiples.iter().rev().map(|m| m * power).find(|&tick| tick <= value * 1.000_001).unwrap_or(power)
}

fn round_up(value: f64, multiples: &[f64]) -> f64 {
    let power = power_of_ten(value.log10().floor() as i32);
    multiples.iter().map(|m| m * power).find(|&tick| tick >= value * 0.999_999).unwrap_or(power * 10.0)
}

/// `value` with as many decimals as ticks `step` apart need.
fn tick_label(value: f64, step: f64) -> String {
    let value = if value.abs() < step * 1e-3 { 0.0 } else { value };
    let size = value.abs().max(step);
    if !(1e-5..1e7).contains(&size) || step < 1e-6 {
        return scientific(value, step);
    }
    let decimals = (-(step * 1.000_001).log10().floor()).clamp(0.0, 9.0) as usize;
    let shown = format!("{value:.decimals$}");
    if decimals == 0 && size >= 9_999.5 { crate::number::significant(value, 1) } else { shown }
}

fn log_label(value: f64) -> String {
    if (0.001..10_000.0).contains(&value) { format!("{value}") } else { scientific(value, value) }
}

/// `value` as mantissa and power of ten, with as many digits as ticks `step` apart need.
fn scientific(value: f64, step: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = (value.abs().log10().floor() - (step * 1.000_001).log10().floor()).clamp(0.0, 12.0) as usize;
    let shown = format!("{value:.digits$e}");
    let (mantissa, exponent) = shown.split_once('e').expect("exponential form");
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let raised: String = exponent
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            digit => ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][digit.to_digit(10).unwrap_or(0) as usize],
        })
        .collect();
    if mantissa == "1" { format!("10{raised}") } else { format!("{mantissa}×10{raised}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(axis: &Axis, values: &[f64]) -> Vec<String> {
        let scale = axis.scale(values.iter().copied(), true, 300.0, 60.0);
        scale.ticks.into_iter().filter_map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(&Axis::linear(""), &[0.0, 97.0]), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(&Axis::linear(""), &[0.11, 0.27]), ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25", "0.30"]);
        assert_eq!(labels(&Axis::percent(""), &[1.0]), ["95", "96", "97", "98", "99", "100"]);
        assert_eq!(labels(&Axis::percent(""), &[0.2, 1.0]), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(
            labels(&Axis::linear(""), &[0.0, 25e3]),
            ["0", "5000", "10\u{202f}000", "15\u{202f}000", "20\u{202f}000", "25\u{202f}000"]
        );
        assert_eq!(labels(&Axis::log(""), &[0.02, 300.0]), ["0.01", "0.1", "1", "10", "100", "1000"]);
        assert_eq!(labels(&Axis::log(""), &[1.0, 0.0, 9.0]), ["1", "2", "5", "10"]);
        assert_eq!(labels(&Axis::linear(""), &[0.0, 2e9]), ["0", "5×10⁸", "10⁹", "1.5×10⁹", "2×10⁹"].map(String::from));
    }

    #[test]
    fn times_are_shown_in_a_unit_that_suits_them() {
        let scale = Axis::time("Time").scale([0.0, 28_800.0].into_iter(), false, 600.0, 80.0);
        assert_eq!(scale.title, "Time (h)");
        assert_eq!(scale.ticks[2].label.as_deref(), Some("2"));
        assert_eq!(scale.ticks[2].value, 7_200.0);
    }

    proptest! {
        #[test]
        fn every_range_has_distinct_ticks_inside(a: f64, b: f64, log: bool, rounded: bool) {
            let axis = if log { Axis::log("x") } else { Axis::linear("x") };
            let scale = axis.scale([a, b].into_iter(), rounded, 300.0, 60.0);
            prop_assert!(scale.low < scale.high, "{} {}", scale.low, scale.high);
            prop_assert!(scale.ticks.len() <= 100);
            for tick in &scale.ticks {
                let share = scale.share(tick.value).expect("on the axis");
                prop_assert!((-0.01..=1.01).contains(&share), "{}", share);
            }
            for pair in scale.ticks.windows(2) {
                prop_assert!(pair[0].value < pair[1].value);
                prop_assert!(pair[0].label.is_none() || pair[0].label != pair[1].label, "{:?}", scale.ticks);
            }
        }
    }
}
