//! `statmux profile`: measures models on this machine into a profile file, or derives one from their layers.

mod derived;
#[cfg(feature = "candle")]
mod grid;
#[cfg(feature = "candle")]
mod wanted;

use crate::args::{Common, positive};
use crate::output::End;
use clap::Args;
use statmux_core::{Bytes, Span};
use statmux_plan::derive::LinkRate;
use std::path::PathBuf;

/// Arguments of `statmux profile`.
// Without candle they are parsed, so that the command line stays the same, and not read.
#[cfg_attr(not(feature = "candle"), allow(dead_code))]
#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    /// Presets or folders, separated by commas; NAME=FOLDER calls the model NAME in the file
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', required_unless_present = "layers")]
    models: Vec<String>,
    /// Devices per stage (tensor parallelism) [default: 1; with --derive: 1, 2, 4, 8]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = one_to(64))]
    op: Vec<u32>,
    /// Pipeline stages [default: 1; with --derive: 1, 2, 4, … up to the number of layers, and 64]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = one_to(64))]
    pp: Vec<u32>,
    /// Requests that run together; 1 is always among them [default: 1; with --layers: all of the table]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = one_to(1024))]
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
    /// Memory of one device [default: 16 GiB when measuring]; with --derive, stages are cut to keep within it where they can
    #[arg(long, value_name = "SIZE", value_parser = positive::<Bytes>)]
    memory: Option<Bytes>,
    /// Derives every combination from single layers, which are measured or read with --layers, instead of measuring each
    #[arg(long)]
    derive: bool,
    /// With --derive, tables of layers (docs/formats.md, section 11) instead of models to measure
    #[arg(long, value_name = "FILE,…", value_delimiter = ',', requires = "derive", conflicts_with_all = ["models", "layer_op", "layers_out"])]
    layers: Vec<PathBuf>,
    /// With --derive, devices per stage at which layers are measured; other degrees are predicted [default: 1]
    #[arg(long, value_name = "N,…", value_delimiter = ',', requires = "derive", value_parser = one_to(64))]
    layer_op: Vec<u32>,
    /// With --derive, the table of measured layers to write as well, for `layers` under `[profiles]` of a scenario
    #[arg(long, value_name = "FILE", requires = "derive")]
    layers_out: Option<PathBuf>,
    /// With --derive, the assumed link between devices: a rate such as "25 GB/s", or pcie3 (12.5 GB/s), pcie4, pcie5,
    /// nvlink2, nvlink3, nvlink4
    #[arg(long, value_name = "RATE", requires = "derive", default_value = "pcie3")]
    link_bandwidth: LinkRate,
    /// With --derive, what each transfer between devices is assumed to take beside its bytes
    #[arg(long, value_name = "TIME", requires = "derive", default_value = "10 us")]
    link_latency: Span,
    /// With --derive, how well operators split over devices are assumed to use them, from above 0 to 1
    #[arg(long, value_name = "SHARE", requires = "derive", default_value = "0.9", value_parser = share)]
    split_efficiency: f64,
    /// The profile file to write (`-` is stdout); finished points wait in FILE.journal, from which an interrupted run goes on
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

fn one_to(most: i64) -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=most)
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1.0 => Ok(number),
        Ok(_) => Err("must be above 0 and at most 1".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(feature = "candle")]
pub(crate) fn run(args: &ProfileArgs, common: Common) -> anyhow::Result<End> {
    match (args.derive, args.layers.is_empty()) {
        (true, false) => derived::from_tables(args, common),
        (true, true) => derived::from_models(args, common),
        (false, _) => grid::run(args, common),
    }
}

#[cfg(not(feature = "candle"))]
pub(crate) fn run(args: &ProfileArgs, common: Common) -> anyhow::Result<End> {
    if args.derive && !args.layers.is_empty() {
        return derived::from_tables(args, common);
    }
    Err(crate::output::UsageError(
        "this build of statmux runs no models: build it with its default features, or derive a profile from a table of \
         layers (--derive --layers FILE)"
            .to_owned(),
    )
    .into())
}
