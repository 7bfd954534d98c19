//! What is to be measured, from the command line.

use super::ProfileArgs;
use crate::args::Common;
use crate::output::UsageError;
use crate::serving::machine::{machine, processor};
use crate::serving::measuring::Measuring;
use statmux_candle::ModelSource;
use statmux_core::files::is_written_through;
use statmux_core::{Bytes, ParallelConfig, Seed};
use statmux_serve::measure::{Journal, Load, MeasureSettings};
use std::path::{Path, PathBuf};

/// The models and points that `args` ask to measure.
pub(super) fn measuring(args: &ProfileArgs, common: Common, load: Load) -> Result<Measuring, UsageError> {
    let seed = Seed(common.seed.unwrap_or(0));
    let model = |text: &String| {
        let (name, source) = match text.split_once('=') {
            Some((name, source)) => (name, source),
            None => (Path::new(text).file_name().and_then(|name| name.to_str()).unwrap_or(text), text.as_str()),
        };
        let source = ModelSource::parse(source, seed).map_err(|error| UsageError(format!("--models: {error}")))?;
        Ok((name.to_owned(), source))
    };
    let or_one = |numbers: &[u32]| if numbers.is_empty() { vec![1] } else { numbers.to_vec() };
    let (ops, pps) = (or_one(&args.op), or_one(&args.pp));
    let configs = ops.iter().flat_map(|&op| pps.iter().map(move |&pp| ParallelConfig::new(op, pp)));
    let mut batches = args.batch.clone();
    batches.push(1);
    let sorted = |mut numbers: Vec<u32>| {
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    Ok(Measuring {
        models: args.models.iter().map(model).collect::<Result<_, UsageError>>()?,
        memory: args.memory.unwrap_or(Bytes::from_gib(16)),
        masked_logits: true,
        settings: MeasureSettings {
            device: format!("one core of {}", processor()),
            models: Vec::new(),
            configs: configs.collect(),
            batches: sorted(batches),
            lengths: sorted(args.sequence.clone()),
            output_tokens: args.output_tokens,
            warm_up: args.warm_up,
            repeats: args.repeats,
            load,
        },
    })
}

/// Where finished points are kept until all are, and its path; beside a pipe or a device there is no place for one, so that
/// they are kept in memory.
pub(super) fn journal(args: &ProfileArgs, common: Common) -> anyhow::Result<(Option<PathBuf>, Journal)> {
    if is_written_through(&args.output) {
        return Ok((None, Journal::in_memory()));
    }
    let path = PathBuf::from(format!("{}.journal", args.output.display()));
    let journal = Journal::open(&path, &how(args, common)?)?;
    Ok((Some(path), journal))
}

/// How points are measured, in one line: points measured otherwise are not mixed in.
fn how(args: &ProfileArgs, common: Common) -> anyhow::Result<String> {
    let how = serde_json::json!({
        "statmux": env!("CARGO_PKG_VERSION"), "machine": machine(), "models": args.models, "seed": common.seed,
        "pp": args.pp, "output_tokens": args.output_tokens, "warm_up": args.warm_up, "repeats": args.repeats,
        "memory_bytes": args.memory.map(Bytes::get), "derive": args.derive, "layer_op": args.layer_op,
    });
    Ok(serde_json::to_string(&how)?)
}
