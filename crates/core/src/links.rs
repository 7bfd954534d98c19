//! What it costs to hand activations from one pipeline stage to the next.
//!
//! Profiles are measured within a machine, so a hop there costs nothing beyond the stage times unless a scenario says
//! otherwise. A hop to another machine costs what [`Links`] says; it is counted to the sending stage.

use crate::units::{Bytes, Span};
use std::fmt;
use std::str::FromStr;

/// A rate of transfer in bytes per second; positive and finite.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Bandwidth(f64);

/// Text that is no bandwidth.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a bandwidth with its unit, such as \"12.5 GB/s\" or \"100 Gbit/s\"")]
pub struct BandwidthError(String);

/// The way from one device to another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    /// How fast it carries data; `None` for no time at all.
    pub bandwidth: Option<Bandwidth>,
    /// What every transfer takes on top.
    pub latency: Span,
}

/// The links of a cluster, and what is assumed to cross them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Links {
    /// Between devices of one node, beyond what the profile's stage times contain.
    pub within_node: Link,
    /// Between devices of different nodes.
    pub between_nodes: Link,
    /// Activations of one request where the profile does not say, per device.
    pub activation: Bytes,
    /// Whether the scenario stated any of this.
    pub stated: bool,
}

impl Bandwidth {
    /// So many bytes per second; `None` unless positive and finite.
    pub fn new(bytes_per_second: f64) -> Option<Self> {
        (bytes_per_second > 0.0 && bytes_per_second.is_finite()).then_some(Self(bytes_per_second))
    }

    /// Bytes per second.
    pub const fn bytes_per_second(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (factor, unit) = match self.0 {
            rate if rate >= 1e9 => (1e9, "GB/s"),
            rate if rate >= 1e6 => (1e6, "MB/s"),
            _ => (1e3, "kB/s"),
        };
        write!(f, "{} {unit}", self.0 / factor)
    }
}

impl FromStr for Bandwidth {
    type Err = BandwidthError;

    /// Reads a number with a unit: `"12.5 GB/s"`, `"10 GiB/s"`, `"100 Gbit/s"`.
    fn from_str(text: &str) -> Result<Self, BandwidthError> {
        const UNITS: [(&str, f64); 13] = [
            ("B/s", 1.0),
            ("kB/s", 1e3),
            ("MB/s", 1e6),
            ("GB/s", 1e9),
            ("TB/s", 1e12),
            ("KiB/s", 1024.0),
            ("MiB/s", 1024.0 * 1024.0),
            ("GiB/s", 1024.0 * 1024.0 * 1024.0),
            ("bit/s", 0.125),
            ("kbit/s", 125.0),
            ("Mbit/s", 125e3),
            ("Gbit/s", 125e6),
            ("Tbit/s", 125e9),
        ];
        let text = text.trim();
        let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = UNITS.iter().find(|(known, _)| *known == unit.trim()).map(|&(_, factor)| factor);
        let rate = number.parse::<f64>().ok().zip(factor).and_then(|(number, factor)| Self::new(number * factor));
        rate.ok_or_else(|| BandwidthError(text.to_owned()))
    }
}

impl Link {
    /// A link that costs nothing.
    pub const FREE: Self = Self { bandwidth: None, latency: Span::ZERO };

    /// Seconds that `bytes` take.
    pub fn seconds(&self, bytes: f64) -> f64 {
        self.latency.seconds() + self.bandwidth.map_or(0.0, |bandwidth| bytes / bandwidth.0)
    }

    /// Whether it costs nothing, whatever it carries.
    pub fn is_free(&self) -> bool {
        *self == Self::FREE
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bandwidth {
            _ if self.is_free() => f.write_str("nothing"),
            None => write!(f, "{}", self.latency),
            Some(bandwidth) if self.latency == Span::ZERO => write!(f, "its bytes at {bandwidth}"),
            Some(bandwidth) => write!(f, "{} and its bytes at {bandwidth}", self.latency),
        }
    }
}

impl Links {
    /// Hops cost nothing, as in the published simulator.
    pub const FREE: Self =
        Self { within_node: Link::FREE, between_nodes: Link::FREE, activation: Bytes::ZERO, stated: false };

    /// What scenarios get that say nothing of links: 100 Gbit/s and 50 µs between nodes, and 8 MiB of activations
    /// per request where the profile has none.
    pub const ASSUMED: Self = Self {
        within_node: Link::FREE,
        between_nodes: Link { bandwidth: Some(Bandwidth(12.5e9)), latency: Span::from_nanos(50_000) },
        activation: Bytes::new(8 << 20),
        stated: false,
    };

    /// The link of a hop that stays within a node, or does not.
    pub fn hop(&self, between_nodes: bool) -> &Link {
        if between_nodes { &self.between_nodes } else { &self.within_node }
    }

    /// Whether no hop costs anything.
    pub fn are_free(&self) -> bool {
        self.within_node.is_free() && self.between_nodes.is_free()
    }
}

impl Default for Links {
    fn default() -> Self {
        Self::FREE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidths_are_read_with_their_unit() {
        let rate = |text: &str| text.parse::<Bandwidth>().ok().map(Bandwidth::bytes_per_second);
        assert_eq!(rate("12.5 GB/s"), Some(12.5e9));
        assert_eq!(rate("100Gbit/s"), Some(12.5e9));
        assert_eq!(rate("1 GiB/s"), Some(1_073_741_824.0));
        for wrong in ["12.5", "GB/s", "0 GB/s", "-1 GB/s", "1 GB", "1e400 GB/s", ""] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
        assert_eq!("12.5 GB/s".parse::<Bandwidth>().expect("good").to_string(), "12.5 GB/s");
    }

    #[test]
    fn a_hop_takes_its_latency_and_its_bytes() {
        let link = Link { bandwidth: Bandwidth::new(1e9), latency: Span::from_millis(1) };
        assert_eq!(link.seconds(1e6), 0.002);
        assert_eq!((Link::FREE.seconds(1e12), Links::FREE.are_free(), Links::ASSUMED.are_free()), (0.0, true, false));
    }
}
