//! Dates and times of day as recorded: `2023-11-16 18:17:03.9799600`.

use statmux_core::Time;

const NANOS: u64 = 1_000_000_000;

/// Nanoseconds since 1970 of a UTC date and time; a trailing `Z` or `+00:00` is allowed.
pub(super) fn parse(text: &[u8]) -> Option<Time> {
    let text = text.strip_suffix(b"+00:00").or_else(|| text.strip_suffix(b"Z")).unwrap_or(text);
    let (date, time) = text.split_at_checked(10)?;
    let (&separator, time) = time.split_first()?;
    if !matches!(separator, b' ' | b'T') || date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&date[..4])?, digits(&date[5..7])?, digits(&date[8..10])?);
    let (clock, fraction) = match time.iter().position(|&byte| byte == b'.') {
        Some(point) => (&time[..point], &time[point + 1..]),
        None => (time, &[][..]),
    };
    let [h1, h2, b':', m1, m2, b':', s1, s2] = *clock else { return None };
    let (hour, minute, second) = (digits(&[h1, h2])?, digits(&[m1, m2])?, digits(&[s1, s2])?);
    if !(1970..=2500).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 || fraction.len() > 9 {
        return None;
    }
    let mut nanos = if fraction.is_empty() { 0 } else { digits(fraction)? };
    for _ in fraction.len()..9 {
        nanos *= 10;
    }
    let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(Time::from_nanos(seconds * NANOS + nanos))
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))
}

/// Days from 1 January 1970 in the Gregorian calendar, counting years from March so that leap days come last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days_in_year = (153 * month + 2) / 5 + day - 1;
    // 719,468 days passed from 1 March of the year 0 until 1 January 1970.
    year * 365 + leap_days + days_in_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_from_1970() {
        let seconds = |text: &str| parse(text.as_bytes()).map(|time| time.nanos());
        assert_eq!(seconds("1970-01-01 00:00:00"), Some(0));
        assert_eq!(seconds("2000-03-01 00:00:00"), Some(951_868_800 * NANOS));
        assert_eq!(seconds("2023-11-16 18:17:03.9799600"), Some(1_700_158_623 * NANOS + 979_960_000));
        assert_eq!(seconds("2024-05-10T00:00:00.009930+00:00"), Some(1_715_299_200 * NANOS + 9_930_000));
        for wrong in ["", "2023-11-16", "2023-13-16 00:00:00", "2023-11-16 24:00:00", "2023/11/16 00:00:00", "x"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
