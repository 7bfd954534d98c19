//! What a trace holds, whatever its format: which functions were called when, or how often.

use crate::clock::{Clock, Epoch};
use crate::datetime;
use statmux_core::{Lengths, Span, Time};

/// A recorded trace.
///
/// Its clock is the recording's own; where that counts from 1970, or gives dates, it starts with the first call
/// instead.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The names of what was called (functions, models, services, clients), in order of first appearance.
    pub functions: Vec<String>,
    /// From when on there are data.
    pub start: Time,
    /// Until when there are data.
    pub end: Time,
    /// The calls.
    pub recorded: Recorded,
    /// What has been taken off numbers that count from 1970: a call recorded as `t` stands at `t - taken_off`.
    pub taken_off: Span,
    /// What a reader should be told of how the times were understood.
    pub remarks: Vec<String>,
}

/// In which form calls were recorded.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    /// Each call's arrival.
    Instants(Instants),
    /// How many calls there were in each minute that had any, per function, in order of time.
    PerMinute(Vec<Vec<MinuteCount>>),
    /// The rate and the distribution of gaps in each window that had traffic, per function, in order of time.
    Windows(Vec<Vec<RateWindow>>),
}

/// Calls in order of arrival, as columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Instants {
    /// When each call arrived; never decreasing.
    pub arrived: Vec<Time>,
    /// The function each asked for.
    pub function: Vec<u32>,
    /// Prompt and answer lengths; empty when not recorded.
    pub lengths: Vec<Lengths>,
}

/// Calls in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinuteCount {
    /// Minutes since the trace's zero.
    pub minute: u32,
    /// Calls in it, at least one.
    pub count: u32,
}

/// The traffic of one client in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateWindow {
    /// When it begins.
    pub start: Time,
    /// How long it lasts.
    pub length: Span,
    /// Calls per second, above zero.
    pub rate: f64,
    /// The CV of the gaps.
    pub cv: f64,
    /// The distribution fitted to the gaps, by its shape; its scale follows from the rate.
    pub gaps: GapShape,
}

/// A fitted distribution of gaps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GapShape {
    /// Gamma with this shape.
    Gamma(f64),
    /// Weibull with this shape.
    Weibull(f64),
}

impl MinuteCount {
    /// When the minute begins.
    pub fn start(self) -> Time {
        Time::ZERO + MINUTE * u64::from(self.minute)
    }
}

/// One minute.
pub(crate) const MINUTE: Span = Span::from_millis(60_000);

impl Instants {
    /// Adds a call.
    pub(crate) fn push(&mut self, arrived: Time, function: u32) {
        self.arrived.push(arrived);
        self.function.push(function);
    }

    /// Puts calls in order of arrival, simultaneous ones in the order in which they were added.
    pub(crate) fn sort(&mut self) {
        if self.arrived.is_sorted() {
            return;
        }
        let mut keys: Vec<(Time, u32)> = self.arrived.iter().copied().zip(0_u32..).collect();
        keys.sort_unstable();
        self.function = keys.iter().map(|&(_, position)| self.function[position as usize]).collect();
        if !self.lengths.is_empty() {
            self.lengths = keys.iter().map(|&(_, position)| self.lengths[position as usize]).collect();
        }
        self.arrived = keys.into_iter().map(|(arrived, _)| arrived).collect();
    }
}

impl Trace {
    /// A trace of calls that need not be sorted yet, on the clock that `clock` read; it ends with its last call.
    pub(crate) fn of_instants(functions: Vec<String>, mut instants: Instants, clock: &Clock) -> Self {
        instants.sort();
        let first = instants.arrived.first().copied().unwrap_or_default();
        let own = OwnClock::of(clock, first);
        for arrived in &mut instants.arrived {
            *arrived = Time::ZERO + arrived.since(own.zero);
        }
        let end = instants.arrived.last().copied().unwrap_or_default();
        let recorded = Recorded::Instants(instants);
        Self { functions, start: Time::ZERO, end, recorded, taken_off: own.taken_off, remarks: own.remarks }
    }

    /// When the first call of a function that is `kept` was recorded: its instant, minute or rate window.
    pub fn first(&self, kept: impl Fn(u32) -> bool) -> Option<Time> {
        fn earliest<T>(columns: &[Vec<T>], kept: impl Fn(u32) -> bool, start: impl Fn(&T) -> Time) -> Option<Time> {
            let kept = (0_u32..).zip(columns).filter(|&(function, _)| kept(function));
            kept.filter_map(|(_, column)| column.first()).map(start).min()
        }
        match &self.recorded {
            Recorded::Instants(instants) => {
                let mut calls = instants.arrived.iter().zip(&instants.function);
                calls.find(|&(_, &function)| kept(function)).map(|(&at, _)| at)
            }
            Recorded::PerMinute(functions) => earliest(functions, kept, |minute| minute.start()),
            Recorded::Windows(functions) => earliest(functions, kept, |window| window.start),
        }
    }

    /// The number of calls of each function; for rate windows the expected number, rounded.
    pub fn counts(&self) -> Vec<u64> {
        match &self.recorded {
            Recorded::Instants(instants) => {
                let mut counts = vec![0; self.functions.len()];
                for &function in &instants.function {
                    counts[function as usize] += 1;
                }
                counts
            }
            Recorded::PerMinute(functions) => {
                functions.iter().map(|minutes| minutes.iter().map(|minute| u64::from(minute.count)).sum()).collect()
            }
            Recorded::Windows(functions) => {
                let expected = |window: &RateWindow| window.rate * window.length.seconds();
                functions.iter().map(|windows| windows.iter().map(expected).sum::<f64>().round() as u64).collect()
            }
        }
    }

    /// The part from `start` to `end`, on a clock that starts at `start`; functions keep their numbers.
    ///
    /// A minute or rate window belongs to the part in which it begins.
    pub fn slice(self, start: Time, end: Time) -> Self {
        let inside = |at: Time| start <= at && at < end;
        let shift = |at: Time| Time::ZERO + at.since(start);
        let recorded = match self.recorded {
            Recorded::Instants(mut instants) => {
                let from = instants.arrived.partition_point(|&at| at < start);
                let to = instants.arrived.partition_point(|&at| at < end).max(from);
                keep(&mut instants.arrived, from, to);
                keep(&mut instants.function, from, to);
                keep(&mut instants.lengths, from, to);
                instants.arrived.iter_mut().for_each(|at| *at = shift(*at));
                Recorded::Instants(instants)
            }
            Recorded::PerMinute(mut functions) => {
                let first = (start.nanos() / MINUTE.nanos()) as u32;
                for minutes in &mut functions {
                    minutes.retain(|minute| inside(minute.start()));
                    minutes.iter_mut().for_each(|minute| minute.minute -= first);
                }
                Recorded::PerMinute(functions)
            }
            Recorded::Windows(mut functions) => {
                for windows in &mut functions {
                    windows.retain(|window| inside(window.start));
                    windows.iter_mut().for_each(|window| window.start = shift(window.start));
                }
                Recorded::Windows(functions)
            }
        };
        Self { recorded, start: Time::ZERO, end: shift(end.max(start)), ..self }
    }
}

/// Where the clock of a recording starts.
pub(crate) struct OwnClock {
    /// The time on the clock that was read at which it starts.
    pub(crate) zero: Time,
    /// The same as [`Trace::taken_off`].
    pub(crate) taken_off: Span,
    /// The same as [`Trace::remarks`].
    pub(crate) remarks: Vec<String>,
}

impl OwnClock {
    /// Of times that `clock` read, the earliest of which is `first`.
    pub(crate) fn of(clock: &Clock, first: Time) -> Self {
        let mut remarks: Vec<String> = clock.remark().into_iter().collect();
        let zero = if clock.epoch() == Epoch::Own { Time::ZERO } else { first };
        let taken_off = if clock.epoch() == Epoch::Since1970 { first.since(Time::ZERO) } else { Span::ZERO };
        if clock.epoch() != Epoch::Own {
            remarks.push(format!("the clock starts with the first request, at {}", datetime::show(first)));
        }
        Self { zero, taken_off, remarks }
    }
}

/// Keeps a column's values from `from` to `to`; an empty column stays empty.
fn keep<T>(column: &mut Vec<T>, from: usize, to: usize) {
    column.truncate(to);
    column.drain(..from.min(column.len()));
}
