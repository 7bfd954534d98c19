//! Whether plans are judged on what they were made for.

/// The requests that a planner saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainedOn {
    /// The very requests that the results are about, as in the published experiments.
    TestWindow,
    /// A workload of its own.
    OwnWindow,
    /// The requests that the results are about, though there is a train window: the policy is meant to see them.
    Clairvoyant,
}

impl TrainedOn {
    /// The words used in result files.
    pub fn name(self) -> &'static str {
        match self {
            Self::TestWindow => "test window",
            Self::OwnWindow => "train window",
            Self::Clairvoyant => "test window (clairvoyant policy)",
        }
    }

    /// The sentence every report carries.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::TestWindow => "Planned on the same requests that are scored (no [workload.train]): optimistic.",
            Self::OwnWindow => "Planned on the train window, scored on the test window, which the planner never saw.",
            Self::Clairvoyant => "This policy is clairvoyant: it plans on the very requests that are scored.",
        }
    }
}
