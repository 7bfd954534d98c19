//! Dates and times of day as recorded: `2023-11-16 18:17:03.9799600`, `2023-11-16T19:17:03+01:00`.

use statmux_core::Time;

const NANOS: u64 = 1_000_000_000;

/// Why a text is no date and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotADate {
    /// It does not look like one.
    Other,
    /// It looks like one, but there is no such day or time; says why.
    Wrong(String),
}

/// Nanoseconds since 1970 of a date and time of day, `2023-11-16 18:17:03.97` or with a `T` between.
///
/// Seconds may be left out. An offset from UTC (`Z`, `+01:00`, `+0100`, `+01`) is taken off; without one, the time is
/// taken as UTC. Digits beyond the ninth of a second's fraction are dropped.
pub(crate) fn parse(text: &[u8]) -> Result<Time, NotADate> {
    let wrong = |what: String| NotADate::Wrong(what);
    let (date, rest) = text.split_at_checked(10).ok_or(NotADate::Other)?;
    let field = |from: usize, to: usize| digits(&date[from..to]).ok_or(NotADate::Other);
    if date[4] != b'-' || date[7] != b'-' {
        return Err(NotADate::Other);
    }
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let Some((&separator, rest)) = rest.split_first() else {
        return Err(wrong("it has no time of day".to_owned()));
    };
    if !matches!(separator, b' ' | b'T' | b't') {
        return Err(NotADate::Other);
    }
    if !(1970..=2500).contains(&year) {
        return Err(wrong("years from 1970 to 2500 are read".to_owned()));
    }
    let days = days_in_month(year, month).ok_or_else(|| wrong(format!("there is no month {month}")))?;
    if !(1..=days).contains(&day) {
        return Err(wrong(format!("month {month} of {year} has {days} days")));
    }
    let (nanos, zone) = time_of_day(rest)?;
    let local = days_since_1970(year, month, day) * 86_400 * NANOS + nanos;
    let utc = i128::from(local) - i128::from(offset_seconds(zone)?) * i128::from(NANOS);
    u64::try_from(utc).map(Time::from_nanos).map_err(|_| wrong("it lies before 1970".to_owned()))
}

/// The nanoseconds since midnight of a time of day, and what stands behind it.
fn time_of_day(text: &[u8]) -> Result<(u64, &[u8]), NotADate> {
    let two = |at: usize| text.get(at..at + 2).and_then(digits);
    let colon = |at: usize| text.get(at) == Some(&b':');
    let (Some(hour), true, Some(minute)) = (two(0), colon(2), two(3)) else {
        return Err(NotADate::Wrong("a time of day such as 18:17:03 was expected behind the date".to_owned()));
    };
    let mut at = 5;
    let mut second = 0;
    if colon(5) {
        second = two(6).ok_or_else(|| NotADate::Wrong("its seconds are no number of two digits".to_owned()))?;
        at = 8;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return Err(NotADate::Wrong(format!("there is no time of day {hour:02}:{minute:02}:{second:02}")));
    }
    let mut nanos = 0;
    if at == 8 && matches!(text.get(8), Some(b'.' | b',')) {
        let fraction = text[9..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let kept = digits(&text[9..9 + fraction.min(9)]).unwrap_or(0);
        nanos = kept * 10_u64.pow(9 - fraction.min(9) as u32);
        at = 9 + fraction;
    }
    Ok((((hour * 60 + minute) * 60 + second) * NANOS + nanos, text[at..].trim_ascii()))
}

/// The seconds by which a zone's clocks are ahead of UTC.
fn offset_seconds(zone: &[u8]) -> Result<i64, NotADate> {
    if zone.is_empty() || [&b"Z"[..], b"UTC", b"GMT"].iter().any(|name| zone.eq_ignore_ascii_case(name)) {
        return Ok(0);
    }
    let unknown = || {
        let zone = String::from_utf8_lossy(zone);
        NotADate::Wrong(format!("time zone `{zone}` is not read: write Z or an offset such as +01:00"))
    };
    let (sign, rest) = match zone.split_first() {
        Some((b'+', rest)) => (1, rest),
        Some((b'-', rest)) => (-1, rest),
        _ => return Err(unknown()),
    };
    let (hours, minutes) = match *rest {
        [a, b] => (digits(&[a, b]), Some(0)),
        [a, b, c, d] | [a, b, b':', c, d] => (digits(&[a, b]), digits(&[c, d])),
        _ => return Err(unknown()),
    };
    match (hours, minutes) {
        (Some(hours @ 0..=23), Some(minutes @ 0..=59)) => Ok(sign * ((hours * 60 + minutes) * 60) as i64),
        _ => Err(unknown()),
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))
}

/// How long a month is; `None` if there is no such month.
fn days_in_month(year: u64, month: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => Some(if leap { 29 } else { 28 }),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

/// Days from 1 January 1970 in the Gregorian calendar, counting years from March so that leap days come last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days_in_year = (153 * month + 2) / 5 + day - 1;
    // 719,468 days passed from 1 March of the year 0 until 1 January 1970.
    year * 365 + leap_days + days_in_year - 719_468
}

/// A time since 1970 as a date, to the second: `2023-11-16 18:17:03 UTC`.
pub(crate) fn show(time: Time) -> String {
    let seconds = time.nanos() / NANOS;
    let days = seconds / 86_400;
    // 400 years have 146,097 days; within them, a year's length in days is taken off as often as it fits.
    let mut left = days;
    let mut year = 1970;
    while left >= days_in_year(year) {
        left -= days_in_year(year);
        year += 1;
    }
    let mut month = 1;
    while let Some(length) = days_in_month(year, month).filter(|&length| left >= length) {
        left -= length;
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02} UTC", left + 1)
}

fn days_in_year(year: u64) -> u64 {
    (1..=12).filter_map(|month| days_in_month(year, month)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nanos(text: &str) -> Result<u64, NotADate> {
        parse(text.as_bytes()).map(Time::nanos)
    }

    #[test]
    fn dates_are_counted_from_1970() {
        assert_eq!(nanos("1970-01-01 00:00:00"), Ok(0));
        assert_eq!(nanos("2000-03-01 00:00:00"), Ok(951_868_800 * NANOS));
        assert_eq!(nanos("2023-11-16 18:17:03.9799600"), Ok(1_700_158_623 * NANOS + 979_960_000));
        assert_eq!(nanos("2024-05-10T00:00:00.009930+00:00"), Ok(1_715_299_200 * NANOS + 9_930_000));
        assert_eq!(nanos("2024-02-29T12:30Z"), Ok(1_709_209_800 * NANOS));
        assert_eq!(nanos("2024-02-29 12:30:00.123456789999"), Ok(1_709_209_800 * NANOS + 123_456_789));
    }

    #[test]
    fn offsets_are_taken_off() {
        let noon = nanos("2023-11-16T12:00:00Z");
        for same in [
            "2023-11-16 12:00:00 UTC",
            "2023-11-16T13:00:00+01:00",
            "2023-11-16T17:30:00+0530",
            "2023-11-16T04:00:00.000-08",
            "2023-11-17T00:00:00+12:00",
        ] {
            assert_eq!(nanos(same), noon, "{same}");
        }
    }

    #[test]
    fn what_does_not_exist_is_refused_with_the_reason() {
        for (text, expected) in [
            ("2023-02-30 00:00:00", "month 2 of 2023 has 28 days"),
            ("2023-02-29 00:00:00", "28 days"),
            ("1900-02-29 00:00:00", "1970"),
            ("2023-04-31 00:00:00", "30 days"),
            ("2023-13-16 00:00:00", "no month 13"),
            ("2023-00-16 00:00:00", "no month 0"),
            ("2023-11-00 00:00:00", "30 days"),
            ("2023-11-16 24:00:00", "24:00:00"),
            ("2023-11-16 25:00:00", "25:00:00"),
            ("2023-11-16 12:60:00", "12:60:00"),
            ("2023-11-16 12:00:61", "12:00:61"),
            ("2023-11-16", "no time of day"),
            ("2023-11-16 12", "18:17:03"),
            ("2023-11-16 12:00:00 PST", "`PST`"),
            ("2023-11-16 12:00:00 Europe/Berlin", "`Europe/Berlin`"),
            ("2023-11-16T12:00:00+1", "+01:00"),
            ("2023-11-16T12:00:00+25:00", "+25:00"),
            ("1970-01-01T00:00:00+01:00", "before 1970"),
        ] {
            match nanos(text) {
                Err(NotADate::Wrong(what)) => assert!(what.contains(expected), "{text}: {what}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        for other in ["", "x", "2023/11/16 00:00:00", "1700000000.5", "16-11-2023 12:00:00"] {
            assert_eq!(nanos(other), Err(NotADate::Other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn dates_that_are_shown_are_read_as_the_same(seconds in 0..16_000_000_000_u64) {
            let time = Time::from_nanos(seconds * NANOS);
            prop_assert_eq!(parse(show(time).as_bytes()), Ok(time));
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".{0,40}", dated in "[0-9TZ:. +,-]{0,40}") {
            let _ = (nanos(&text), nanos(&dated), nanos(&format!("2023-11-16{dated}")), nanos(&format!("2023-11-16 12:00:00{text}")));
        }
    }
}
