//! Numbers with units as people read them: never more digits than they can use, never fewer than honesty asks.
//!
//! What is not a number is shown as an en dash. Counts are grouped with a narrow no-break space (U+202F), and a plain
//! space stands between number and unit, as the SI brochure has it.

/// What stands for a number that does not exist, such as the median of nothing.
pub const NOTHING: &str = "–";

/// Separates groups of three digits.
const GROUP_SEPARATOR: char = '\u{202f}';

/// A fraction as a percentage: `0.5` is "50.0 %", `0.9995` is "99.95 %".
///
/// One decimal, two within one percentage point of 0 % or 100 %, and then as many as it takes (up to six) not to claim
/// 100 % of what is less, or 0 % of what is more: `0.999996` is "99.9996 %".
pub fn percent(fraction: f64) -> String {
    if !(fraction * 100.0).is_finite() {
        return NOTHING.to_owned();
    }
    if fraction == 0.0 || fraction == 1.0 {
        return format!("{} %", fraction * 100.0);
    }
    let to_edge = fraction.abs().min((1.0 - fraction).abs());
    let fewest = if to_edge < 0.01 { 2 } else { 1 };
    let most = 6;
    for decimals in fewest..=most {
        let shown = format!("{:.decimals$}", fraction * 100.0);
        let value: f64 = shown.parse().expect("formatted from a finite number");
        if value != 0.0 && value != 100.0 {
            return format!("{shown} %");
        }
    }
    match fraction {
        f if f < 0.0 => "> -0.000001 %".to_owned(),
        f if f < 0.5 => "< 0.000001 %".to_owned(),
        f if f < 1.0 => "> 99.999999 %".to_owned(),
        _ => "< 100.000001 %".to_owned(),
    }
}

/// A short time, such as a latency, given in seconds: three significant digits in µs, ms or s.
///
/// `0.0755` is "75.5 ms", `1.234` is "1.23 s".
pub fn latency(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NOTHING.to_owned();
    }
    if seconds == 0.0 {
        return "0 s".to_owned();
    }
    let rounded = round_significant(seconds, 3);
    match rounded.abs() {
        s if s < 1e-6 => format!("{} ns", significant(seconds * 1e9, 3)),
        s if s < 1e-3 => format!("{} µs", significant(seconds * 1e6, 3)),
        s if s < 1.0 => format!("{} ms", significant(seconds * 1e3, 3)),
        _ => format!("{} s", significant(seconds, 3)),
    }
}

/// A long time, such as the span of a trace, given in seconds: the two largest units that matter.
///
/// `29_100.0` is "8 h 5 min", `90.0` is "1 min 30 s"; less than a minute is shown as [`latency`] does.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds.abs() < 59.5 {
        return latency(seconds);
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let seconds = seconds.abs();
    let (large, small, ratio, names) = if seconds < 3_599.5 {
        (60.0, 1.0, 60.0, ("min", "s"))
    } else if seconds < 86_370.0 {
        (3_600.0, 60.0, 60.0, ("h", "min"))
    } else {
        (86_400.0, 3_600.0, 24.0, ("d", "h"))
    };
    let smalls = (seconds / small).round();
    let (whole, rest) = ((smalls / ratio).floor(), smalls % ratio);
    debug_assert_eq!(large, small * ratio);
    let whole = if whole < 1e15 { count(whole as u64) } else { significant(whole, 3) };
    if rest == 0.0 {
        format!("{sign}{whole} {}", names.0)
    } else {
        format!("{sign}{whole} {} {rest} {}", names.0, names.1)
    }
}

/// A number of things: digits in groups of three from five digits on, as in "12 800" but "6400".
pub fn count(things: u64) -> String {
    let digits = things.to_string();
    if digits.len() < 5 { digits } else { group(&digits) }
}

/// A rate per second of `things`, such as "64.0 requests/s" or "3.21 M requests/s".
pub fn rate(per_second: f64, things: &str) -> String {
    if !per_second.is_finite() {
        return NOTHING.to_owned();
    }
    let rounded = round_significant(per_second, 3);
    let (scaled, prefix) = match rounded.abs() {
        r if r >= 1e9 => (per_second / 1e9, "G "),
        r if r >= 1e6 => (per_second / 1e6, "M "),
        _ => (per_second, ""),
    };
    format!("{} {prefix}{things}/s", significant(scaled, 3))
}

/// How many times more: "2.50×", "13.4×", "1 200×".
pub fn factor(times: f64) -> String {
    if times.is_finite() { format!("{}×", significant(times, 3)) } else { NOTHING.to_owned() }
}

/// A difference between two fractions in percentage points, with its sign: "+1.25 points".
///
/// Spelled out, because `pp` is a number of pipeline stages everywhere here.
pub fn percentage_points(difference: f64) -> String {
    if !(difference * 100.0).is_finite() {
        return NOTHING.to_owned();
    }
    let points = difference * 100.0;
    if points == 0.0 {
        "0 points".to_owned()
    } else {
        format!("{}{} points", if points > 0.0 { "+" } else { "" }, significant(points, 3))
    }
}

/// `value` with `digits` significant digits and no exponent where that can be read: "0.0123", "12 300", "1.23e12".
///
/// Digits before the point are never dropped below a million.
pub fn significant(value: f64, digits: u32) -> String {
    if !value.is_finite() {
        return NOTHING.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = digits.max(1);
    let exponent = round_significant(value, digits).abs().log10().floor() as i32;
    if !(-5..9).contains(&exponent) {
        return format!("{value:.*e}", digits as usize - 1);
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    let shown = format!("{value:.decimals$}");
    match shown.split_once('.') {
        Some(_) => shown,
        None => {
            let (sign, bare) = shown.strip_prefix('-').map_or(("", shown.as_str()), |bare| ("-", bare));
            if bare.len() < 5 { shown } else { format!("{sign}{}", group(bare)) }
        }
    }
}

/// `value` rounded to `digits` significant digits.
fn round_significant(value: f64, digits: u32) -> f64 {
    format!("{value:.*e}", digits as usize - 1).parse().expect("formatted from a number")
}

/// `digits` in groups of three.
fn group(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(GROUP_SEPARATOR);
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentages_have_sensible_digits() {
        for (fraction, expected) in [
            (0.0, "0 %"),
            (1.0, "100 %"),
            (0.5, "50.0 %"),
            (0.123_456, "12.3 %"),
            (0.9995, "99.95 %"),
            (0.99, "99.0 %"),
            (0.991, "99.10 %"),
            (0.999_996, "99.9996 %"),
            (0.999_999_999_9, "> 99.999999 %"),
            (1e-12, "< 0.000001 %"),
            (0.000_01, "0.001 %"),
            (0.0042, "0.42 %"),
            (1.5, "150.0 %"),
            (-0.25, "-25.0 %"),
            (f64::NAN, "–"),
            (f64::MAX, "–"),
        ] {
            assert_eq!(percent(fraction), expected, "{fraction}");
        }
    }

    #[test]
    fn times_choose_their_unit_after_rounding() {
        for (seconds, expected) in [
            (0.0, "0 s"),
            (0.0755, "75.5 ms"),
            (0.755, "755 ms"),
            (0.999_6, "1.00 s"),
            (1.234, "1.23 s"),
            (0.000_017, "17.0 µs"),
            (3e-9, "3.00 ns"),
            (1234.0, "1234 s"),
            (f64::INFINITY, "–"),
        ] {
            assert_eq!(latency(seconds), expected, "{seconds}");
        }
        for (seconds, expected) in [
            (29_100.0, "8 h 5 min"),
            (90.0, "1 min 30 s"),
            (59.6, "1 min"),
            (3_599.7, "1 h"),
            (86_399.0, "1 d"),
            (14.0 * 86_400.0, "14 d"),
            (12.5, "12.5 s"),
        ] {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn counts_rates_and_factors() {
        assert_eq!(count(6400), "6400");
        assert_eq!(count(12_800), "12\u{202f}800");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(rate(64.0, "requests"), "64.0 requests/s");
        assert_eq!(rate(3_214_000.0, "requests"), "3.21 M requests/s");
        assert_eq!(rate(999_999.0, "requests"), "1.00 M requests/s");
        assert_eq!(factor(2.5), "2.50×");
        assert_eq!(percentage_points(0.0125), "+1.25 points");
        assert_eq!(percentage_points(-0.0125), "-1.25 points");
        assert_eq!(significant(0.000_012_3, 2), "0.000012");
        assert_eq!(significant(9.996, 3), "10.0");
        assert_eq!(significant(1e20, 3), "1.00e20");
        assert_eq!(significant(12_345.6, 3), "12\u{202f}346");
    }

    proptest! {
        #[test]
        fn less_than_all_is_never_shown_as_all(missing in 1e-15..0.5f64) {
            prop_assert!(percent(1.0 - missing) != "100 %");
            prop_assert!(!percent(1.0 - missing).starts_with("100"));
            prop_assert!(!percent(missing).starts_with("0 "));
        }

        #[test]
        fn any_number_can_be_shown(value: f64, digits in 0u32..20) {
            for shown in [percent(value), latency(value), duration(value), rate(value, "x"), factor(value), percentage_points(value), significant(value, digits)] {
                prop_assert!(!shown.is_empty() && !shown.contains("NaN") && !shown.contains("inf"), "{}", shown);
            }
        }
    }
}
