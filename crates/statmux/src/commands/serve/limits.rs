//! Limits of the server, from the command line.

use crate::args::positive;
use clap::Args;
use statmux_core::{Bytes, Span};
use statmux_serve::http::HttpSettings;
use std::time::Duration;

/// Limits.
#[derive(Debug, Args)]
pub(super) struct LimitArgs {
    /// The largest request body
    #[arg(long, value_name = "SIZE", default_value = "8 MiB", value_parser = positive::<Bytes>, help_heading = "Limits")]
    body_limit: Bytes,
    /// How long a body may take to come in
    #[arg(long, value_name = "TIME", default_value = "30 s", value_parser = positive::<Span>, help_heading = "Limits")]
    body_timeout: Span,
    /// How long a connection may stay idle, and take to send a request's head
    #[arg(long, value_name = "TIME", default_value = "75 s", value_parser = positive::<Span>, help_heading = "Limits")]
    idle_timeout: Span,
    /// The most connections at once
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = positive::<usize>, help_heading = "Limits")]
    connections: usize,
    /// The most requests inside at once; `simulation.max_waiting` limits those that wait
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = positive::<usize>, help_heading = "Limits")]
    pub(super) concurrency: usize,
    /// How many groups a request may take down and be run again; beyond that it is refused with `cost_group`
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Limits")]
    pub(super) retries_after_loss: u32,
    /// How long a shutdown waits for requests inside
    #[arg(long, value_name = "TIME", default_value = "60 s", help_heading = "Limits")]
    drain_limit: Span,
    /// Threads for connections; default: as many as cores, at most 4
    #[arg(long, value_name = "N", value_parser = positive::<usize>, help_heading = "Limits")]
    pub(super) workers: Option<usize>,
}

impl LimitArgs {
    /// The limits of the HTTP front; who may do what is said elsewhere.
    pub(super) fn http(&self) -> HttpSettings {
        let duration = |span: Span| Duration::from_nanos(span.nanos());
        HttpSettings {
            body_limit: usize::try_from(self.body_limit.get()).unwrap_or(usize::MAX),
            body_timeout: duration(self.body_timeout),
            head_timeout: duration(self.idle_timeout),
            connections: self.connections,
            drain_limit: duration(self.drain_limit),
            ..HttpSettings::default()
        }
    }
}
