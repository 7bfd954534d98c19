//! The rules themselves: small pure functions over a group's state.
//!
//! The machine calls them with integer nanoseconds; the planner's tight loop calls the same functions, either
//! with nanoseconds or in the peer's arithmetic (seconds as `f64`), which is what [`Clock`] abstracts over.

use statmux_core::{Span, Time};

/// A point in time in some arithmetic.
pub trait Clock: Copy + PartialOrd {
    /// A length of time in the same arithmetic.
    type Span: Copy + PartialOrd;

    /// When a run begins.
    const ZERO: Self;

    /// The point `span` later.
    fn plus(self, span: Self::Span) -> Self;

    /// The span since `earlier`.
    fn since(self, earlier: Self) -> Self::Span;

    /// The later of two points.
    fn later(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
}

impl Clock for Time {
    type Span = Span;
    const ZERO: Self = Self::ZERO;

    fn plus(self, span: Span) -> Self {
        self + span
    }

    fn since(self, earlier: Self) -> Span {
        self.since(earlier)
    }
}

/// Seconds in double precision: the arithmetic of the published simulator.
impl Clock for f64 {
    type Span = f64;
    const ZERO: Self = 0.0;

    fn plus(self, span: f64) -> Self {
        self + span
    }

    fn since(self, earlier: Self) -> f64 {
        self - earlier
    }
}

/// The stage recurrence at one stage: a batch that may start at `at` waits until the stage is free at `clock`, and
/// leaves it `span` later.
#[inline(always)]
pub fn pass<C: Clock>(at: C, clock: C, span: C::Span) -> C {
    at.later(clock).plus(span)
}

/// The stage recurrence: a batch that may start at `now` passes every stage in order, waiting where the stage
/// is still busy. Writes when it leaves each stage to `ends` and returns when it leaves the last.
///
/// `ends[k] = max(ends[k-1], clocks[k]) + spans[k]`, with `ends[-1] = now`.
///
/// # Panics
/// If the three slices differ in length.
#[inline(always)]
pub fn walk<C: Clock>(now: C, clocks: &[C], spans: &[C::Span], ends: &mut [C]) -> C {
    assert!(clocks.len() == spans.len() && clocks.len() == ends.len(), "one clock, span and end a stage");
    let mut at = now;
    for ((&clock, &span), end) in clocks.iter().zip(spans).zip(ends) {
        at = pass(at, clock, span);
        *end = at;
    }
    at
}

/// The same, moving each clock on to when the batch leaves its stage.
#[inline(always)]
pub fn walk_on<C: Clock>(now: C, clocks: &mut [C], spans: &[C::Span]) -> C {
    clocks.iter_mut().zip(spans).fold(now, |at, (clock, &span)| {
        *clock = pass(at, *clock, span);
        *clock
    })
}

/// The same, for the end of the last stage only.
#[inline(always)]
pub fn walk_to_end<C: Clock>(now: C, clocks: &[C], spans: &[C::Span]) -> C {
    clocks.iter().zip(spans).fold(now, |at, (&clock, &span)| pass(at, clock, span))
}

/// The same for a number of stages known at compile time: returns when the batch leaves each.
#[inline(always)]
pub fn walk_all<C: Clock, const STAGES: usize>(now: C, clocks: &[C; STAGES], spans: &[C::Span; STAGES]) -> [C; STAGES] {
    let mut at = now;
    std::array::from_fn(|stage| {
        at = pass(at, clocks[stage], spans[stage]);
        at
    })
}

/// Admission by deadline: whether an answer at `finish` is within `slo` of the arrival.
#[inline(always)]
pub fn in_time<C: Clock>(arrived: C, finish: C, slo: C::Span) -> bool {
    finish.since(arrived) <= slo
}

/// Dispatch: the candidate with the smallest key; ties go to the first, which is the lowest group.
#[inline(always)]
pub fn least<T: Copy, K: PartialOrd>(
    candidates: impl IntoIterator<Item = T>,
    mut key: impl FnMut(T) -> K,
) -> Option<T> {
    let mut candidates = candidates.into_iter();
    let mut best = candidates.next()?;
    let mut low = key(best);
    for candidate in candidates {
        let this = key(candidate);
        if this < low {
            (best, low) = (candidate, this);
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_waits_where_a_stage_is_busy() {
        let mut ends = [0.0; 3];
        assert_eq!(walk(1.0, &[0.0, 5.0, 0.0], &[1.0, 1.0, 2.0], &mut ends), 8.0);
        assert_eq!(ends, [2.0, 6.0, 8.0]);
        assert_eq!(walk_to_end(1.0, &[0.0, 5.0, 0.0], &[1.0, 1.0, 2.0]), 8.0);
        let mut clocks = [0.0, 5.0, 0.0];
        assert_eq!(walk_on(1.0, &mut clocks, &[1.0, 1.0, 2.0]), 8.0);
        assert_eq!(clocks, ends);
        assert_eq!(walk_all(1.0, &[0.0, 5.0, 0.0], &[1.0, 1.0, 2.0]), ends);
    }

    #[test]
    fn ties_go_to_the_first() {
        assert_eq!(least([3, 1, 2], |_| 0), Some(3));
        assert_eq!(least([3, 1, 2, 1], |n| n), Some(1));
        assert_eq!(least([0; 0], |n| n), None);
    }
}
