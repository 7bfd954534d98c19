//! What is assumed of the links between devices, and of how well operators split.

use super::DeriveError;
use statmux_core::links::Bandwidth;
use statmux_core::units::{Bytes, Span};
use std::fmt;
use std::str::FromStr;

/// The links between devices of a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Links {
    /// How fast data goes from device to device: around the ring of a stage, and from one stage to the next.
    pub rate: LinkRate,
    /// What each step of that takes beside the bytes.
    pub latency: Span,
    /// How well an operator split over two or more devices uses them (1 is perfect).
    pub efficiency: f64,
}

/// A bandwidth, and what it is called if it has a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkRate {
    /// Bytes per second in one direction.
    pub bandwidth: Bandwidth,
    name: Option<&'static str>,
}

/// Links by name with their rates in bytes per second: about four fifths of what each can carry in one direction.
pub const NAMED_LINKS: [(&str, f64); 6] =
    [("pcie3", 12.5e9), ("pcie4", 25e9), ("pcie5", 50e9), ("nvlink2", 120e9), ("nvlink3", 240e9), ("nvlink4", 360e9)];

/// Text that is neither a bandwidth nor the name of a link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is neither a bandwidth with its unit, such as \"12.5 GB/s\", nor one of {known}")]
pub struct LinkRateError {
    text: String,
    known: String,
}

impl LinkRate {
    /// A rate without a name.
    pub fn new(bandwidth: Bandwidth) -> Self {
        Self { bandwidth, name: None }
    }
}

impl Default for LinkRate {
    /// PCIe 3.0 with 16 lanes, the slowest way between accelerators that is common.
    fn default() -> Self {
        NAMED_LINKS[0].0.parse().expect("the first name is known")
    }
}

impl FromStr for LinkRate {
    type Err = LinkRateError;

    /// Reads a name of [`NAMED_LINKS`] or a bandwidth with its unit.
    fn from_str(text: &str) -> Result<Self, LinkRateError> {
        let text = text.trim();
        if let Some(&(name, rate)) = NAMED_LINKS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            return Ok(Self { bandwidth: Bandwidth::new(rate).expect("positive"), name: Some(name) });
        }
        text.parse()
            .map(Self::new)
            .map_err(|_| LinkRateError { text: text.to_owned(), known: NAMED_LINKS.map(|(name, _)| name).join(", ") })
    }
}

impl fmt::Display for LinkRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{} ({name})", self.bandwidth),
            None => self.bandwidth.fmt(f),
        }
    }
}

impl Default for Links {
    fn default() -> Self {
        Self { rate: LinkRate::default(), latency: Span::from_nanos(10_000), efficiency: 0.9 }
    }
}

impl Links {
    pub(super) fn check(&self) -> Result<(), DeriveError> {
        let sound = self.efficiency > 0.0 && self.efficiency <= 1.0;
        sound.then_some(()).ok_or(DeriveError::Efficiency)
    }

    /// The time of handing `bytes` to the next stage.
    pub(super) fn hand_over(&self, bytes: Bytes) -> Span {
        Span::from_seconds(bytes.get() as f64 / self.rate.bandwidth.bytes_per_second()).unwrap_or(Span::MAX)
            + self.latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_names_or_units() {
        let read = |text: &str| text.parse::<LinkRate>().map(|rate| rate.to_string()).map_err(|e| e.to_string());
        assert_eq!(read("pcie3").as_deref(), Ok("12.5 GB/s (pcie3)"));
        assert_eq!(read(" NVLink2 ").as_deref(), Ok("120 GB/s (nvlink2)"));
        assert_eq!(read("100 Gbit/s").as_deref(), Ok("12.5 GB/s"));
        for wrong in ["", "12", "0 GB/s", "pcie9", "-1 GB/s"] {
            assert!(read(wrong).expect_err(wrong).contains("pcie3, pcie4"), "{wrong}");
        }
        assert_eq!(LinkRate::default().to_string(), "12.5 GB/s (pcie3)");
    }
}
