//! Which group takes an arrival.

use statmux_core::Named;

/// The dispatch policies that a scenario can name. Ties always go to the lower group id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dispatch {
    /// The group whose last stage is predicted to be free first; the clock is absolute, so among idle groups
    /// the one idle longest. The published simulator's rule.
    LeastClock,
    /// The group with the fewest requests waiting or running. The published server's rule.
    ShortestQueue,
    /// The group that is predicted to answer first.
    #[default]
    EarliestFinish,
    /// None yet: requests wait centrally, and a group takes the most urgent when its first stage frees up.
    LateBinding,
}

impl Dispatch {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::LeastClock, Self::ShortestQueue, Self::EarliestFinish, Self::LateBinding];

    /// Its name in a scenario.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeastClock => "least-clock",
            Self::ShortestQueue => "shortest-queue",
            Self::EarliestFinish => "earliest-finish",
            Self::LateBinding => "late-binding",
        }
    }

    /// What it does, in one line.
    pub const fn about(self) -> &'static str {
        match self {
            Self::LeastClock => "to the replica whose last stage is free first (the published simulator's rule)",
            Self::ShortestQueue => "to the replica with the fewest requests in flight (the published server's rule)",
            Self::EarliestFinish => "to the replica that is predicted to answer first",
            Self::LateBinding => "requests wait centrally until the first stage of a group with a replica frees up",
        }
    }
}

impl Named for Dispatch {
    const KIND: &'static str = "dispatch policy";
    const OPTIONS: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.name()
    }
}
