//! A case: one scenario, run once.

use statmux_core::Span;

/// Version of what a cell computes. Raise it when the planner or the simulator changes its results, so that remembered
/// ones are not mistaken for new ones.
pub const RULES: u32 = 3;

/// One scenario to be planned and simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its name within its figure: the scenario's file name.
    pub name: String,
    /// The scenario file.
    pub scenario: String,
    /// The placement file to simulate; without one the scenario's policy plans.
    pub placement: Option<String>,
    /// What is wanted beyond the summary.
    pub wants: Wants,
}

/// What is wanted beyond the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wants {
    /// Latencies at evenly spaced quantiles, to draw their distribution.
    pub quantiles: bool,
    /// How busy the devices are over time, averaged over bins this long.
    pub utilization: Option<Span>,
}

impl Case {
    /// A case that the scenario's policy plans for.
    pub fn planned(name: impl Into<String>, scenario: String) -> Self {
        Self { name: name.into(), scenario, placement: None, wants: Wants::default() }
    }

    /// A case with a given placement file.
    pub fn placed(name: impl Into<String>, scenario: String, placement: String) -> Self {
        Self { placement: Some(placement), ..Self::planned(name, scenario) }
    }

    /// The same case with more to be found out.
    pub fn wanting(self, wants: Wants) -> Self {
        Self { wants, ..self }
    }

    /// A name for everything the result depends on. `support` stands for the files the scenario may name.
    pub fn key(&self, support: &str) -> String {
        let wants = format!("{:?}", self.wants);
        let placement = self.placement.as_deref().unwrap_or("");
        let rules = format!("{RULES} {}", env!("CARGO_PKG_VERSION"));
        digest(&[&rules, &self.scenario, placement, &wants, support])
    }
}

/// 128 bits that differ for different texts: two FNV-1a hashes from different starts.
pub fn digest(parts: &[&str]) -> String {
    let hash = |start: u64| {
        parts.iter().fold(start, |hash, part| {
            let length = part.len() as u64;
            let bytes = length.to_le_bytes().into_iter().chain(part.bytes());
            bytes.fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        })
    };
    format!("{:016x}{:016x}", hash(0xcbf2_9ce4_8422_2325), hash(0x6c62_272e_07bb_0142))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_case_counts() {
        let case = Case::planned("a", "seed = 1".to_owned());
        let placed = Case::placed("a", "seed = 1".to_owned(), "{}".to_owned());
        let wanting = case.clone().wanting(Wants { quantiles: true, utilization: None });
        let other = Case::planned("a", "seed = 2".to_owned());
        let keys = [&case, &placed, &wanting, &other].map(|case| case.key(""));
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{keys:?}");
        }
        assert_ne!(case.key(""), case.key("other profile"));
        assert_eq!(case.key(""), Case { name: "b".to_owned(), ..case.clone() }.key(""), "the name is no part of it");
        assert_ne!(digest(&["a", "bc"]), digest(&["ab", "c"]));
    }
}
