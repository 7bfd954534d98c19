//! How an answered request went.

use statmux_core::{GroupId, Span, Time};

/// When and where a request ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// The group that ran it.
    pub group: GroupId,
    /// When it reached the server.
    pub arrived: Time,
    /// When its batch was launched.
    pub started: Time,
    /// When the driver was told of its end.
    pub finished: Time,
    /// When it was predicted to end, at its launch.
    pub predicted: Time,
    /// Its share of its batch's computing time.
    pub busy: Span,
    /// Whether it ended within its deadline.
    pub in_slo: bool,
}

/// Tokens that a request took in and gave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of what was asked.
    pub prompt: u64,
    /// Of the answer, if tokens were generated.
    pub generated: u64,
}
