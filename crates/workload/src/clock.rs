//! When a row says something happened, whatever it counts in.
//!
//! A column of times holds seconds (or what its format says) since a beginning of its own or since 1970, or dates. The
//! first row settles it. Numbers that cannot be meant so, because they would lie millennia ahead, are finer units:
//! milliseconds, microseconds or nanoseconds since 1970; the reader then says so.

use crate::datetime::{self, NotADate};
use crate::messages::{bad_seconds, shorten};
use statmux_core::Time;

/// What the numbers of a column count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

/// From when on the times of a column count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Epoch {
    /// Something in the recording itself.
    Own,
    /// 1970: numbers this large are taken as such.
    Since1970,
    /// Dates, which are turned into times since 1970.
    Dates,
}

/// Reads the times of one column.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// The column's name, for messages.
    name: String,
    /// What its numbers are said to count.
    said: Unit,
    /// What they count, once a row has been read.
    settled: Option<(Unit, Epoch)>,
}

/// Numbers of seconds from here on are times since 1970: September 2001.
const FIRST_EPOCH_SECOND: u64 = 1_000_000_000;

impl Unit {
    /// The digits by which a number of them is finer than one of seconds.
    fn digits(self) -> usize {
        match self {
            Self::Seconds => 0,
            Self::Millis => 3,
            Self::Micros => 6,
            Self::Nanos => 9,
        }
    }

    fn finer(self) -> Option<Self> {
        match self {
            Self::Seconds => Some(Self::Millis),
            Self::Millis => Some(Self::Micros),
            Self::Micros => Some(Self::Nanos),
            Self::Nanos => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Millis => "milliseconds",
            Self::Micros => "microseconds",
            Self::Nanos => "nanoseconds",
        }
    }

    /// The unit of this name, such as `ms`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "s" => Some(Self::Seconds),
            "ms" => Some(Self::Millis),
            "us" => Some(Self::Micros),
            "ns" => Some(Self::Nanos),
            _ => None,
        }
    }
}

impl Clock {
    /// For the column `name`, whose numbers are said to count `unit`.
    pub(crate) fn new(name: impl Into<String>, unit: Unit) -> Self {
        Self { name: name.into(), said: unit, settled: None }
    }

    /// For a column whose name may end in its unit: `sent_ms`.
    pub(crate) fn by_name(name: &str) -> Self {
        let unit = name.rsplit_once('_').and_then(|(_, ending)| Unit::named(&ending.to_lowercase()));
        Self::new(name, unit.unwrap_or(Unit::Seconds))
    }

    /// The time that `text` stands for, or what is wrong with it.
    #[inline]
    pub(crate) fn read(&mut self, text: &[u8]) -> Result<Time, String> {
        match self.settled {
            Some((unit, epoch)) if epoch != Epoch::Dates => match decimal(text, unit) {
                Some(time) => Ok(time),
                None => self.read_slowly(text, unit),
            },
            Some((unit, _)) => self.read_slowly(text, unit),
            None => self.read_first(text),
        }
    }

    /// The time that a number stands for, or what is wrong with it.
    pub(crate) fn read_number(&mut self, number: f64) -> Result<Time, String> {
        if self.epoch() == Epoch::Dates {
            return Err(format!("{} is {number}, though rows before have dates", self.name));
        }
        if number.is_nan() {
            return Err(format!("{} is missing or not a number", self.name));
        }
        let unit = self.settle(number);
        seconds(number, unit).ok_or_else(|| self.bad(number))
    }

    /// The time that a whole number stands for, or what is wrong with it.
    pub(crate) fn read_integer(&mut self, number: i64) -> Result<Time, String> {
        if self.epoch() == Epoch::Dates {
            return self.read_number(number as f64);
        }
        let unit = self.settle(number as f64);
        let nanos = u64::try_from(number).ok().and_then(|number| number.checked_mul(scale(unit)));
        nanos.map(Time::from_nanos).ok_or_else(|| self.bad(number as f64))
    }

    fn read_first(&mut self, text: &[u8]) -> Result<Time, String> {
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
        let unit = match number {
            Some(number) => self.settle(number),
            None => {
                if datetime::parse(text) != Err(NotADate::Other) {
                    self.settled = Some((self.said, Epoch::Dates));
                }
                self.said
            }
        };
        match decimal(text, unit) {
            Some(time) => Ok(time),
            None => self.read_slowly(text, unit),
        }
    }

    /// Settles what the numbers count by the first of them.
    fn settle(&mut self, first: f64) -> Unit {
        if let Some((unit, _)) = self.settled {
            return unit;
        }
        let mut unit = self.said;
        while first / 10_f64.powi(unit.digits() as i32) >= UNBELIEVABLE {
            let Some(finer) = unit.finer() else { break };
            unit = finer;
        }
        let seconds_of = |unit| seconds(first, unit).map(|time| time.nanos() / NANOS);
        let since_1970 = unit != self.said || seconds_of(unit).is_some_and(|at| at >= FIRST_EPOCH_SECOND);
        // What no unit can make a time of is told in the unit that was said.
        let unit = if seconds_of(unit).is_some() { unit } else { self.said };
        self.settled = Some((unit, if since_1970 { Epoch::Since1970 } else { Epoch::Own }));
        unit
    }

    /// Dates, numbers with an exponent, and what is wrong.
    #[cold]
    fn read_slowly(&self, text: &[u8], unit: Unit) -> Result<Time, String> {
        let name = &self.name;
        if text.is_empty() {
            return Err(format!("{name} is missing"));
        }
        let Ok(text) = std::str::from_utf8(text) else { return Err(format!("{name} is not UTF-8 text")) };
        let dates = matches!(self.settled, Some((_, Epoch::Dates)));
        match text.parse::<f64>() {
            Ok(number) if !dates => return seconds(number, unit).ok_or_else(|| self.bad(number)),
            Ok(_) => return Err(format!("{name} is `{}`, though rows before have dates", shorten(text))),
            Err(_) => {}
        }
        match datetime::parse(text.as_bytes()) {
            Ok(time) if dates => Ok(time),
            Ok(_) => Err(format!("{name} is `{}`, a date, though rows before have numbers", shorten(text))),
            Err(NotADate::Wrong(why)) => Err(format!("{name} is `{}`: {why}", shorten(text))),
            Err(NotADate::Other) if dates => {
                Err(format!("{name} is `{}`, which is no date and time such as 2023-11-16 18:17:03.97", shorten(text)))
            }
            Err(NotADate::Other) => Err(not_a_number(name, text)),
        }
    }

    fn bad(&self, number: f64) -> String {
        if self.settled.is_none_or(|(unit, _)| unit == Unit::Seconds) {
            return bad_seconds(&self.name, number);
        }
        let why = if number < 0.0 { "which is negative" } else { "which is no time" };
        format!("{} is {number}, {why}", self.name)
    }

    /// From when on the times count; [`Epoch::Own`] if nothing was read.
    pub(crate) fn epoch(&self) -> Epoch {
        self.settled.map_or(Epoch::Own, |(_, epoch)| epoch)
    }

    /// The unit in which the numbers turned out to count, if it is another than was said.
    pub(crate) fn converted(&self) -> Option<Unit> {
        self.settled.filter(|&(unit, epoch)| epoch != Epoch::Dates && unit != self.said).map(|(unit, _)| unit)
    }

    /// How many seconds one of its numbers is.
    pub(crate) fn in_seconds(&self) -> f64 {
        10_f64.powi(-(self.said.digits() as i32))
    }

    /// What a reader should say of the column: that its unit was taken to be another.
    pub(crate) fn remark(&self) -> Option<String> {
        let unit = self.converted()?;
        let (name, unit, said) = (&self.name, unit.name(), self.said.name());
        Some(format!("{name} holds {unit} since 1970, not {said}: read as such"))
    }
}

const NANOS: u64 = 1_000_000_000;

/// Numbers that would be so many seconds are finer units: after 1970 they would lead to the year 5138.
const UNBELIEVABLE: f64 = 1e11;

/// How many nanoseconds one of `unit` is.
fn scale(unit: Unit) -> u64 {
    10_u64.pow(9 - unit.digits() as u32)
}

/// The time that `number` of `unit` is.
fn seconds(number: f64, unit: Unit) -> Option<Time> {
    Time::from_seconds(number / 10_f64.powi(unit.digits() as i32))
}

/// `text` as a decimal number of `unit`, exact to the nanosecond; `None` for anything but digits and a point, and for
/// what no clock can hold.
pub(crate) fn decimal(text: &[u8], unit: Unit) -> Option<Time> {
    let places = 9 - unit.digits();
    let (whole, fraction) = match text.iter().position(|&byte| byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &[][..]),
    };
    if whole.len() + fraction.len() == 0 {
        return None;
    }
    let mut nanos = 0_u64;
    for &byte in whole.iter().chain(&fraction[..fraction.len().min(places)]) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        nanos = nanos.checked_mul(10)?.checked_add(digit.into())?;
    }
    for _ in fraction.len()..places {
        nanos = nanos.checked_mul(10)?;
    }
    if let Some(dropped) = fraction.get(places..) {
        if !dropped.iter().all(u8::is_ascii_digit) {
            return None;
        }
        nanos = nanos.checked_add(u64::from(dropped.first().is_some_and(|&digit| digit >= b'5')))?;
    }
    (nanos < u64::MAX).then_some(Time::from_nanos(nanos))
}

/// The message for a text that should be a number.
pub(crate) fn not_a_number(name: &str, text: &str) -> String {
    let comma = text.contains(',') && text.replacen(',', ".", 1).parse::<f64>().is_ok();
    let help = if comma { " (write a decimal point, not a comma)" } else { "" };
    format!("{name} is `{}`, which is not a number{help}", shorten(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(unit: Unit, rows: &[&str]) -> (Clock, Vec<Result<u64, String>>) {
        let mut clock = Clock::new("at", unit);
        let times = rows.iter().map(|row| clock.read(row.as_bytes()).map(Time::nanos)).collect();
        (clock, times)
    }

    #[test]
    fn units_are_noticed_by_their_size() {
        for (unit, first, nanos, epoch, converted) in [
            (Unit::Seconds, "0", 0, Epoch::Own, None),
            (Unit::Seconds, "19440110", 19_440_110 * NANOS, Epoch::Own, None),
            (Unit::Seconds, "1700000000.5", 1_700_000_000_500_000_000, Epoch::Since1970, None),
            (Unit::Seconds, "1700000000123", 1_700_000_000_123_000_000, Epoch::Since1970, Some(Unit::Millis)),
            (Unit::Seconds, "1700000000123456", 1_700_000_000_123_456_000, Epoch::Since1970, Some(Unit::Micros)),
            (Unit::Seconds, "1700000000123456789", 1_700_000_000_123_456_789, Epoch::Since1970, Some(Unit::Nanos)),
            (Unit::Seconds, "1.7e12", 1_700_000_000_000_000_000, Epoch::Since1970, Some(Unit::Millis)),
            (Unit::Millis, "27482", 27_482_000_000, Epoch::Own, None),
            (Unit::Millis, "1700000000123", 1_700_000_000_123_000_000, Epoch::Since1970, None),
            (Unit::Millis, "1700000000123456", 1_700_000_000_123_456_000, Epoch::Since1970, Some(Unit::Micros)),
            (Unit::Seconds, "2023-11-14T22:13:20Z", 1_700_000_000_000_000_000, Epoch::Dates, None),
        ] {
            let (clock, times) = read(unit, &[first]);
            assert_eq!(times, [Ok(nanos)], "{first}");
            assert_eq!((clock.epoch(), clock.converted()), (epoch, converted), "{first}");
        }
    }

    #[test]
    fn the_first_row_settles_what_the_others_are() {
        let (_, times) = read(Unit::Seconds, &["1", "1700000000123456789123", "2023-11-14 22:13:20", "x", "", "1,5"]);
        for (time, expected) in
            times[1..].iter().zip(["not a time", "a date, though", "not a number", "missing", "point"])
        {
            assert!(time.as_ref().expect_err(expected).contains(expected), "{time:?}");
        }
        let (_, times) = read(Unit::Seconds, &["2023-11-14 22:13:20", "5", "2023-02-30 00:00:00", "soon"]);
        for (time, expected) in times[1..].iter().zip(["have dates", "28 days", "no date and time"]) {
            assert!(time.as_ref().expect_err(expected).contains(expected), "{time:?}");
        }
        assert_eq!(Clock::by_name("sent_ms").said, Unit::Millis);
        assert_eq!(Clock::by_name("model_terms").said, Unit::Seconds);
    }

    proptest! {
        #[test]
        fn decimals_are_exact(nanos in 0..u64::MAX) {
            let text = format!("{}.{:09}", nanos / NANOS, nanos % NANOS);
            prop_assert_eq!(decimal(text.as_bytes(), Unit::Seconds), Some(Time::from_nanos(nanos)));
            prop_assert_eq!(decimal(nanos.to_string().as_bytes(), Unit::Nanos), Some(Time::from_nanos(nanos)));
        }

        #[test]
        fn decimals_are_the_nearest_nanosecond(text in "[0-9]{1,6}(\\.[0-9]{0,14})?") {
            let exact = decimal(text.as_bytes(), Unit::Seconds).expect("a number").nanos() as i64;
            let float = Time::from_seconds(text.parse().expect("a number")).expect("in range").nanos() as i64;
            prop_assert!((exact - float).abs() <= 1, "{} {}", exact, float);
        }

        #[test]
        fn arbitrary_text_never_panics(rows in prop::collection::vec("[0-9e.,+-]{0,24}|.{0,30}", 1..4)) {
            let mut clock = Clock::new("at", Unit::Millis);
            for row in rows {
                let _ = clock.read(row.as_bytes());
            }
        }
    }
}
