//! Quantities as types: points in time, spans and sizes cannot be mixed up.
//!
//! Integers decide, floats report: [`Time`] and [`Span`] count nanoseconds; seconds as `f64` appear
//! only where files and people are.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, Sub};
use std::str::FromStr;

/// A point on a run's clock: nanoseconds since the run began.
///
/// Virtual in the simulator, monotonic in the server; nothing below the drivers can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// A length of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// An amount of memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

const NANOS_PER_SECOND: f64 = 1e9;

impl Time {
    /// When a run begins.
    pub const ZERO: Self = Self(0);
    /// Later than everything: the deadline of a request without one.
    pub const NEVER: Self = Self(u64::MAX);

    /// The point `nanos` nanoseconds after the run began.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The nearest nanosecond to `seconds`; `None` if negative, not a number, or beyond 584 years.
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        Span::from_seconds(seconds).map(|span| Self(span.0))
    }

    /// Nanoseconds since the run began.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Seconds since the run began.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / NANOS_PER_SECOND
    }

    /// The span since `earlier`, or zero if `earlier` is in fact later.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// The point `span` before this one, or the start of the run if that is later.
    pub const fn before(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// Longer than every run.
    pub const MAX: Self = Self(u64::MAX);

    /// A span of `nanos` nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A span of `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    /// The nearest nanosecond to `seconds`; `None` if negative, not a number, or beyond 584 years.
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        let nanos = (seconds * NANOS_PER_SECOND).round();
        (nanos >= 0.0 && nanos < u64::MAX as f64).then_some(Self(nanos as u64))
    }

    /// Nanoseconds.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / NANOS_PER_SECOND
    }

    /// This span stretched by `factor`, to the nearest nanosecond, capped at [`Span::MAX`].
    pub fn scale(self, factor: f64) -> Self {
        Self((self.0 as f64 * factor).round() as u64)
    }

    /// The difference, or zero if `other` is longer.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Bytes {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of `bytes` bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// An amount of `gib` GiB (2^30 bytes).
    pub const fn from_gib(gib: u64) -> Self {
        Self(gib << 30)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The difference, or zero if `other` is larger.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

// Additions saturate, so that "never" stays never.
impl Add<Span> for Time {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Span> for Time {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Span {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

impl Mul<u64> for Span {
    type Output = Self;
    fn mul(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl Sum for Span {
    fn sum<I: Iterator<Item = Self>>(spans: I) -> Self {
        spans.fold(Self::ZERO, Add::add)
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<u64> for Bytes {
    type Output = Self;
    fn mul(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER { write!(f, "never") } else { write!(f, "{}", Span(self.0)) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds();
        if self.0 >= 1_000_000_000 {
            write!(f, "{seconds:.3} s")
        } else if self.0 >= 1_000_000 {
            write!(f, "{:.2} ms", seconds * 1e3)
        } else {
            write!(f, "{:.1} us", seconds * 1e6)
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            0..0x400 => write!(f, "{} B", self.0),
            0x400..0x10_0000 => write!(f, "{:.1} KiB", bytes / 1024.0),
            0x10_0000..0x4000_0000 => write!(f, "{:.1} MiB", bytes / 1024f64.powi(2)),
            _ => write!(f, "{:.2} GiB", bytes / 1024f64.powi(3)),
        }
    }
}

/// A number without its unit, or with one that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct QuantityError {
    text: String,
    expected: &'static str,
}

const SPAN_UNITS: &[(&str, f64)] = &[
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("min", 60.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86400.0),
];

const BYTE_UNITS: &[(&str, f64)] = &[
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

/// Splits `"13 GiB"` into 13 and the factor of `GiB`.
fn number_and_unit(text: &str, units: &[(&str, f64)]) -> Option<(f64, f64)> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_alphabetic() && !matches!(c, 'e' | 'E'))?;
    let number: f64 = text[..split].trim().replace('_', "").parse().ok()?;
    let unit = text[split..].trim();
    let &(_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    (number.is_finite() && number >= 0.0).then_some((number, factor))
}

impl FromStr for Span {
    type Err = QuantityError;

    /// Reads a number with a unit: `"755 ms"`, `"2.5 s"`, `"1 h"`.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        number_and_unit(text, SPAN_UNITS).and_then(|(number, factor)| Self::from_seconds(number * factor)).ok_or_else(
            || QuantityError {
                text: text.to_owned(),
                expected: "a length of time with its unit, such as \"755 ms\", \"2.5 s\", \"10 min\" or \"1 h\"",
            },
        )
    }
}

impl FromStr for Bytes {
    type Err = QuantityError;

    /// Reads a number with a unit: `"13 GiB"`, `"16 GB"` (10^9).
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        number_and_unit(text, BYTE_UNITS)
            .map(|(number, factor)| (number * factor).round())
            .filter(|&bytes| bytes < u64::MAX as f64)
            .map(|bytes| Self(bytes as u64))
            .ok_or_else(|| QuantityError {
                text: text.to_owned(),
                expected: "an amount of memory with its unit, such as \"13 GiB\" or \"16 GB\"",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_with_their_unit() {
        let span = |text: &str| text.parse::<Span>().ok().map(Span::nanos);
        assert_eq!(span("755 ms"), Some(755_000_000));
        assert_eq!(span("2.5 s"), Some(2_500_000_000));
        assert_eq!(span("1 h"), Some(3_600_000_000_000));
        assert_eq!(span("1e-3 s"), Some(1_000_000));
        assert_eq!(span("0 ms"), Some(0));
        assert_eq!(span("5"), None);
        assert_eq!(span("-1 s"), None);
        assert_eq!(span("nan s"), None);
        assert_eq!(span("1 parsec"), None);
        let bytes = |text: &str| text.parse::<Bytes>().ok().map(Bytes::get);
        assert_eq!(bytes("13 GiB"), Some(13_958_643_712));
        assert_eq!(bytes("16 GB"), Some(16_000_000_000));
        assert_eq!(bytes("16"), None);
        assert_eq!(bytes("inf GB"), None);
    }

    #[test]
    fn never_stays_never() {
        assert_eq!(Time::NEVER + Span::from_millis(1), Time::NEVER);
        assert_eq!(Time::ZERO.since(Time::NEVER), Span::ZERO);
        assert_eq!(Time::from_seconds(f64::NAN), None);
        assert_eq!(Time::from_seconds(-1e-3), None);
        assert_eq!(Time::from_seconds(0.151), Some(Time::from_nanos(151_000_000)));
    }
}
