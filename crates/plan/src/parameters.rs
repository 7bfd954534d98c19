//! What a scenario says to policies.

use crate::scheduling::SchedulingChoice;
use statmux_core::{Share, Span};

/// The values of the keys that were given; each policy knows its own defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Devices in a group.
    pub group_size: Option<u32>,
    /// Time between placements.
    pub interval: Option<Span>,
    /// The most stages of a group.
    pub max_pp: Option<u32>,
    /// The most devices a stage is split over.
    pub max_op: Option<u32>,
    /// How many placements a beam search keeps.
    pub beam: Option<u32>,
    /// How many placements may be simulated.
    pub budget: Option<u64>,
    /// How long a search may take, written as its budget.
    pub search_time: Option<Span>,
    /// How long an integer program may be worked on.
    pub time_limit: Option<Span>,
    /// How many neighbours a search tries.
    pub moves: Option<u64>,
    /// How many smaller numbers of devices a search looks at.
    pub smaller: Option<u32>,
    /// Whether scheduling options are searched.
    pub scheduling: Option<SchedulingChoice>,
    /// Devices a stage is split over.
    pub op: Option<u32>,
    /// Stages of a group.
    pub pp: Option<u32>,
    /// The attainment that every model is to reach before the whole counts.
    pub floor: Option<Share>,
}
