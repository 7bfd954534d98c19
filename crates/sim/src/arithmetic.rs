//! The two arithmetics of the tight loop: integer nanoseconds, and the published simulator's floats.

use crate::branchless;
use statmux_core::{Span, Time};
use statmux_sched::rules::Clock;
use std::hint::select_unpredictable;

/// How seconds from files become clocks and spans.
pub trait Arithmetic: Clock + Send + Sync + 'static
where
    Self::Span: Send + Sync,
{
    /// An arrival.
    fn arrival(at: Time) -> Self;

    /// A stage time of `seconds`.
    fn stage(seconds: f64) -> Self::Span;

    /// An SLO of `seconds`, which may be infinite.
    fn slo(seconds: f64) -> Self::Span;

    /// A request's own SLO.
    fn own_slo(span: Span) -> Self::Span {
        Self::slo(if span == Span::MAX { f64::INFINITY } else { span.seconds() })
    }

    /// The fixed overhead.
    fn overhead(span: Span) -> Self::Span;

    /// The nearest nanosecond.
    fn time(self) -> Time;

    /// A span in seconds.
    fn seconds(span: Self::Span) -> f64;

    /// The same arithmetic without care for overflow, for runs short enough; see [`Arithmetic::fits`].
    type Fast: Fast;

    /// This point in [`Arithmetic::Fast`].
    fn fast(self) -> Self::Fast;

    /// `span` in [`Arithmetic::Fast`].
    fn fast_span(span: Self::Span) -> <Self::Fast as Clock>::Span;

    /// Whether a run whose last arrival is `last` and whose `requests` take at most `longest` each, fixed
    /// overhead included, can be computed in [`Arithmetic::Fast`] with the same result.
    fn fits(last: Self, requests: usize, longest: Self::Span) -> bool;
}

/// An arithmetic for the innermost loop.
pub trait Fast: Clock {
    /// Later than anything in a run, so that what starts then misses every deadline, "never" included.
    const FAR: Self;

    /// An SLO that everything but [`Fast::FAR`] meets: what an infinite one becomes.
    const ANY: Self::Span;

    /// An integer in the order of points that are not negative: quicker to compare.
    fn order(self) -> u64;

    /// A sum of spans.
    type Sum: Copy + Default;

    /// Adds `span` to `sum`.
    fn add(sum: &mut Self::Sum, span: Self::Span);

    /// `span`, or no time at all unless it `counts`, without a branch.
    fn only_if(counts: bool, span: Self::Span) -> Self::Span;

    /// A sum in seconds.
    fn sum_seconds(sum: Self::Sum) -> f64;

    /// `span`, or [`Fast::ANY`] if that is shorter.
    fn cap(span: Self::Span) -> Self::Span {
        if span > Self::ANY { Self::ANY } else { span }
    }

    /// The same points with a maximum that compilers know, to be computed several at a time.
    type Packed: Clock<Span = Self::Span>;

    /// The point that [`Fast::order`] gave as bits.
    fn packed(bits: u64) -> Self::Packed;

    /// The bits of a point, in order.
    fn bits(point: Self::Packed) -> u64;

    /// A span as bits; no time at all is 0.
    fn span_bits(span: Self::Span) -> u64;

    /// The span of these bits.
    fn span_of(bits: u64) -> Self::Span;

    /// The sum of two spans, where [`Fast::can_add`] says that it does not overflow.
    fn add_plainly(a: Self::Span, b: Self::Span) -> Self::Span;

    /// Whether so many spans of at most `most` can be added up.
    fn can_add(most: Self::Span, spans: usize) -> bool;

    /// `this` if `condition`, else `other`, in a form that compiles to no branch.
    fn select(condition: bool, this: Self, other: Self) -> Self;
}

/// Nanoseconds in a run that is shorter than 2^61 ns (73 years), so that no sum overflows.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Nanos(pub u64);

impl Clock for Nanos {
    type Span = u64;
    const ZERO: Self = Self(0);

    #[inline(always)]
    fn plus(self, span: u64) -> Self {
        Self(self.0.wrapping_add(span))
    }

    #[inline(always)]
    fn since(self, earlier: Self) -> u64 {
        self.0.wrapping_sub(earlier.0)
    }

    #[inline(always)]
    fn later(self, other: Self) -> Self {
        Self(branchless::max(self.0, other.0))
    }
}

/// [`Nanos`] whose maximum is left to the compiler, which finds wide registers for several of them.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct PackedNanos(u64);

impl Clock for PackedNanos {
    type Span = u64;
    const ZERO: Self = Self(0);

    #[inline(always)]
    fn plus(self, span: u64) -> Self {
        Self(self.0.wrapping_add(span))
    }

    #[inline(always)]
    fn since(self, earlier: Self) -> u64 {
        self.0.wrapping_sub(earlier.0)
    }
}

impl Fast for Nanos {
    const FAR: Self = Self(1 << 62);
    const ANY: u64 = 1 << 61;
    type Sum = u128;

    #[inline(always)]
    fn order(self) -> u64 {
        self.0
    }

    #[inline(always)]
    fn add(sum: &mut u128, span: u64) {
        *sum += u128::from(span);
    }

    #[inline(always)]
    fn only_if(counts: bool, span: u64) -> u64 {
        span & u64::from(counts).wrapping_neg()
    }

    fn sum_seconds(sum: u128) -> f64 {
        sum as f64 / 1e9
    }

    type Packed = PackedNanos;

    #[inline(always)]
    fn packed(bits: u64) -> PackedNanos {
        PackedNanos(bits)
    }

    #[inline(always)]
    fn bits(point: PackedNanos) -> u64 {
        point.0
    }

    #[inline(always)]
    fn span_bits(span: u64) -> u64 {
        span
    }

    #[inline(always)]
    fn span_of(bits: u64) -> u64 {
        bits
    }

    #[inline(always)]
    fn add_plainly(a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }

    fn can_add(most: u64, spans: usize) -> bool {
        u128::from(most) * (spans as u128) < 1 << 63
    }

    #[inline(always)]
    fn select(condition: bool, this: Self, other: Self) -> Self {
        select_unpredictable(condition, this, other)
    }
}

impl Fast for f64 {
    const FAR: Self = Self::INFINITY;
    const ANY: Self = Self::MAX;
    type Sum = Self;

    #[inline(always)]
    fn order(self) -> u64 {
        self.to_bits()
    }

    #[inline(always)]
    fn add(sum: &mut Self, span: Self) {
        *sum += span;
    }

    #[inline(always)]
    fn only_if(counts: bool, span: Self) -> Self {
        Self::from_bits(span.to_bits() & u64::from(counts).wrapping_neg())
    }

    fn sum_seconds(sum: Self) -> Self {
        sum
    }

    type Packed = Self;

    #[inline(always)]
    fn packed(bits: u64) -> Self {
        Self::from_bits(bits)
    }

    #[inline(always)]
    fn bits(point: Self) -> u64 {
        point.to_bits()
    }

    #[inline(always)]
    fn span_bits(span: Self) -> u64 {
        span.to_bits()
    }

    #[inline(always)]
    fn span_of(bits: u64) -> Self {
        Self::from_bits(bits)
    }

    #[inline(always)]
    fn add_plainly(a: Self, b: Self) -> Self {
        a + b
    }

    fn can_add(_: Self, _: usize) -> bool {
        true
    }

    #[inline(always)]
    fn select(condition: bool, this: Self, other: Self) -> Self {
        let mask = u64::from(condition).wrapping_neg();
        Self::from_bits((this.to_bits() & mask) | (other.to_bits() & !mask))
    }
}

impl Arithmetic for Time {
    fn arrival(at: Time) -> Self {
        at
    }

    fn stage(seconds: f64) -> Span {
        Span::from_seconds(seconds).unwrap_or(Span::MAX)
    }

    fn slo(seconds: f64) -> Span {
        Span::from_seconds(seconds).unwrap_or(Span::MAX)
    }

    fn own_slo(span: Span) -> Span {
        span
    }

    fn overhead(span: Span) -> Span {
        span
    }

    fn time(self) -> Time {
        self
    }

    fn seconds(span: Span) -> f64 {
        span.seconds()
    }

    type Fast = Nanos;

    #[inline(always)]
    fn fast(self) -> Nanos {
        Nanos(self.nanos())
    }

    #[inline(always)]
    fn fast_span(span: Span) -> u64 {
        span.nanos()
    }

    fn fits(last: Self, requests: usize, longest: Span) -> bool {
        let all = u128::from(longest.nanos()) * (requests as u128 + 1);
        u128::from(last.nanos()) + all < u128::from(Nanos::ANY)
    }
}

/// Seconds: stage times and SLOs rounded to single precision once, all else in double precision.
impl Arithmetic for f64 {
    fn arrival(at: Time) -> Self {
        at.seconds()
    }

    fn stage(seconds: f64) -> f64 {
        f64::from(seconds as f32)
    }

    fn slo(seconds: f64) -> f64 {
        f64::from(seconds as f32)
    }

    fn overhead(span: Span) -> f64 {
        span.seconds()
    }

    fn time(self) -> Time {
        Time::from_seconds(self).expect("clocks are finite and not negative")
    }

    fn seconds(span: f64) -> f64 {
        span
    }

    type Fast = Self;

    #[inline(always)]
    fn fast(self) -> Self {
        self
    }

    #[inline(always)]
    fn fast_span(span: Self) -> Self {
        span
    }

    fn fits(last: Self, requests: usize, longest: Self) -> bool {
        (last + longest * (requests as Self + 1.0)).is_finite()
    }
}
