//! `statmux profile`: measures models on this machine into a profile file.

#[cfg(feature = "candle")]
mod grid;

use crate::args::{Common, positive};
use crate::output::End;
use clap::Args;
use statmux_core::Bytes;
use std::path::PathBuf;

/// Arguments of `statmux profile`.
// Without candle they are parsed, so that the command line stays the same, and not read.
#[cfg_attr(not(feature = "candle"), allow(dead_code))]
#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    /// Presets or folders, separated by commas; NAME=FOLDER calls the model NAME in the file
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', required = true)]
    models: Vec<String>,
    /// Devices per stage (tensor parallelism)
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1", value_parser = one_to(64))]
    op: Vec<u32>,
    /// Pipeline stages
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1", value_parser = one_to(64))]
    pp: Vec<u32>,
    /// Requests that run together; 1 is always measured
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1", value_parser = one_to(1024))]
    batch: Vec<u32>,
    /// Tokens of each text; with several, models are called NAME@TOKENS in the file
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "128", value_parser = one_to(65_536))]
    sequence: Vec<u32>,
    /// Tokens that decoders generate
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = one_to(65_536))]
    output_tokens: u32,
    /// Runs of each point that do not count
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(..=100_000))]
    warm_up: u32,
    /// Runs of each point that count
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = one_to(100_000))]
    repeats: u32,
    /// Memory of one device
    #[arg(long, value_name = "SIZE", default_value = "16 GiB", value_parser = positive::<Bytes>)]
    memory: Bytes,
    /// The profile file to write (`-` is stdout); finished points wait in FILE.journal, from which an interrupted run goes on
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

fn one_to(most: i64) -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=most)
}

#[cfg(feature = "candle")]
pub(crate) fn run(args: &ProfileArgs, common: Common) -> anyhow::Result<End> {
    grid::run(args, common)
}

#[cfg(not(feature = "candle"))]
pub(crate) fn run(_args: &ProfileArgs, _common: Common) -> anyhow::Result<End> {
    Err(crate::output::UsageError(
        "this build of statmux runs no models: build it with its default features".to_owned(),
    )
    .into())
}
