//! A part of a trace, in time since its beginning.

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use statmux_core::{Span, Time};
use std::str::FromStr;

/// From when to when a trace is used: `{ start = "0.8.0", end = "0.9.0" }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowTable {
    /// Requests from here on.
    #[serde(default)]
    pub start: Option<TraceTime>,
    /// Requests before this.
    #[serde(default)]
    pub end: Option<TraceTime>,
}

/// A time since a trace's beginning: `"day.hour.minute"` counted from zero, or a quantity such as `"8 h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TraceTime(pub Time);

impl FromStr for TraceTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<Option<u32>> = text.trim().split('.').map(|part| part.parse().ok()).collect();
        if let [Some(day), Some(hour), Some(minute)] = parts[..] {
            if hour >= 24 || minute >= 60 || day > 100_000 {
                return Err(format!("`{text}` is no day.hour.minute: hours end at 23, minutes at 59"));
            }
            let minutes = (u64::from(day) * 24 + u64::from(hour)) * 60 + u64::from(minute);
            return Ok(Self(Time::from_nanos(minutes * 60_000_000_000)));
        }
        let span: Span = text.parse().map_err(|_| {
            format!("`{text}` is no time since the trace's beginning, such as \"0.8.0\" (day.hour.minute) or \"8 h\"")
        })?;
        Ok(Self(Time::ZERO + span))
    }
}

impl<'de> Deserialize<'de> for TraceTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_are_read() {
        let hours = |text: &str| text.parse::<TraceTime>().ok().map(|time| time.0.seconds() / 3600.0);
        assert_eq!(hours("0.8.0"), Some(8.0));
        assert_eq!(hours("13.1.30"), Some(313.5));
        assert_eq!(hours("8 h"), Some(8.0));
        assert_eq!(hours("1.5 h"), Some(1.5));
        assert_eq!(hours("90 min"), Some(1.5));
        for wrong in ["0.24.0", "0.0.60", "8", "0.8", "-1 h", "", "1.2.3.4", "a.b.c"] {
            assert_eq!(hours(wrong), None, "{wrong}");
        }
    }
}
