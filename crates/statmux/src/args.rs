//! What several commands take on the command line.

use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;

/// Options that every command takes.
#[derive(Clone, Copy, Debug, Default, ClapArgs)]
pub(crate) struct Common {
    /// How results are printed on stdout
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    pub(crate) format: Format,
    /// Replaces the scenario's seed
    #[arg(long, value_name = "N", global = true)]
    pub(crate) seed: Option<u64>,
    /// Say less on stderr (no progress, no remarks)
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more on stderr
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables for people
    #[default]
    Text,
    /// One JSON value for programs
    Json,
}

/// Reads a number, size or time that must be above 0.
pub(crate) fn positive<T>(text: &str) -> Result<T, String>
where
    T: std::str::FromStr + Default + PartialEq,
    T::Err: std::fmt::Display,
{
    match text.parse::<T>() {
        Ok(value) if value == T::default() => Err("must be above 0".to_owned()),
        Ok(value) => Ok(value),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads a number that is 0 or more, and finite.
pub(crate) fn limit(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        Ok(_) => Err("must be a number from 0 on".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A placement to look at, whole or after a loss.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct PlacementArg {
    /// The placement file, as written by `statmux plan -o`
    #[arg(long, value_name = "FILE")]
    pub(crate) placement: PathBuf,
    /// Loses these devices from the beginning, and with them the groups that use them
    #[arg(long, value_name = "DEVICE,…", value_delimiter = ',')]
    pub(crate) without: Vec<u32>,
}

/// The scenario that most commands take.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ScenarioArg {
    /// The scenario file
    #[arg(value_name = "SCENARIO")]
    pub(crate) path: PathBuf,
    /// Replaces a value of the scenario, such as `cluster.devices=12` or `models.slo.scale=3.0`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}
