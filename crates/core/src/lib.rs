//! The words every part of statmux shares, and nothing that acts.
//!
//! Start with [`units`] and [`ids`], then [`placement`]: what a placement says is the subject
//! of everything else. Files become these types once, in [`files`], and are trusted afterwards.
//!
//! **Invariant:** no clock, no randomness, no thread, no socket. File access happens only in [`files`].

pub mod backend;
pub mod cluster;
pub mod files;
pub mod ids;
pub mod links;
pub mod metrics;
pub mod model;
pub mod named;
pub mod outcome;
pub mod parallel;
pub mod placement;
pub mod profile;
pub mod request;
pub mod seed;
pub mod summary;
pub mod units;
pub mod workload;

pub use cluster::{Cluster, Device};
pub use ids::{BatchId, DeviceId, GroupId, ModelId, RequestId};
pub use links::{Bandwidth, Link, Links};
pub use metrics::Share;
pub use model::{ModelSpec, Slo};
pub use named::Named;
pub use outcome::{Outcome, Served};
pub use parallel::ParallelConfig;
pub use placement::{Group, Placement, PlacementError, PlacementWindows, Window};
pub use profile::{ConfigProfile, ModelProfile, Profile};
pub use request::{Lengths, Request};
pub use seed::Seed;
pub use units::{Bytes, Span, Time};
pub use workload::Workload;
