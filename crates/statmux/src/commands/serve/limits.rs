//! Limits of the server, from the command line.

use crate::args::positive;
use clap::Args;
use statmux_core::{Bytes, Span};
use statmux_serve::http::HttpSettings;
use statmux_serve::http::limits::RequestLimits;
use std::time::Duration;

/// Limits.
#[derive(Debug, Args)]
pub(super) struct LimitArgs {
    /// The largest request body
    #[arg(long, value_name = "SIZE", default_value = "8 MiB", value_parser = positive::<Bytes>, help_heading = "Limits")]
    body_limit: Bytes,
    /// Memory for all bodies together; beyond it, long ones are refused with `overloaded`
    #[arg(long, value_name = "SIZE", default_value = "256 MiB", help_heading = "Limits")]
    bodies_limit: Bytes,
    /// Memory for all answers together, from the request until they are sent; beyond it, requests for large ones are
    /// refused with `overloaded`
    #[arg(long, value_name = "SIZE", default_value = "1 GiB", help_heading = "Limits")]
    answers_limit: Bytes,
    /// The most texts, prompts times answers, or rows of one request
    #[arg(long, value_name = "N", default_value_t = 2048, help_heading = "Limits")]
    inputs_limit: usize,
    /// The most tokens of one request, those to be generated included
    #[arg(long, value_name = "N", default_value_t = 524_288, help_heading = "Limits")]
    tokens_limit: u64,
    /// The longest text or conversation; what cannot fit a model's context is refused sooner
    #[arg(long, value_name = "SIZE", default_value = "1 MiB", help_heading = "Limits")]
    text_limit: Bytes,
    /// The most bytes of numbers in an answer, four for each
    #[arg(long, value_name = "SIZE", default_value = "64 MiB", help_heading = "Limits")]
    answer_limit: Bytes,
    /// How long a body may take to come in
    #[arg(long, value_name = "TIME", default_value = "30 s", value_parser = positive::<Span>, help_heading = "Limits")]
    body_timeout: Span,
    /// How long a client may take nothing of an answer before its connection is closed
    #[arg(long, value_name = "TIME", default_value = "60 s", value_parser = positive::<Span>, help_heading = "Limits")]
    send_timeout: Span,
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
    /// How long a server that is told to stop goes on serving while it says that it is not ready
    #[arg(long, value_name = "TIME", default_value = "0 s", help_heading = "Limits")]
    drain_delay: Span,
    /// How long a shutdown waits for requests inside, after that
    #[arg(long, value_name = "TIME", default_value = "60 s", help_heading = "Limits")]
    drain_limit: Span,
    /// Threads for connections; default: as many as cores, at most 4
    #[arg(long, value_name = "N", value_parser = positive::<usize>, help_heading = "Limits")]
    pub(super) workers: Option<usize>,
}

impl LimitArgs {
    /// The limits of the HTTP front; who may do what is said elsewhere.
    pub(super) fn http(&self) -> HttpSettings {
        let size = |bytes: Bytes| usize::try_from(bytes.get()).unwrap_or(usize::MAX);
        let duration = |span: Span| Duration::from_nanos(span.nanos());
        HttpSettings {
            body_limit: size(self.body_limit),
            bodies_limit: size(self.bodies_limit),
            answers_limit: size(self.answers_limit),
            request: RequestLimits {
                inputs: self.inputs_limit,
                tokens: self.tokens_limit,
                text_bytes: size(self.text_limit),
                answer_bytes: self.answer_limit.get(),
            },
            body_timeout: duration(self.body_timeout),
            send_timeout: duration(self.send_timeout),
            head_timeout: duration(self.idle_timeout),
            connections: self.connections,
            drain_delay: duration(self.drain_delay),
            drain_limit: duration(self.drain_limit),
            ..HttpSettings::default()
        }
    }
}
