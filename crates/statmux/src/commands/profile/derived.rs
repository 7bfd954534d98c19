//! Every combination derived from single layers, shown and written.

use super::ProfileArgs;
use crate::args::{Common, Format};
use crate::output::{End, print_beside, say};
use serde::Serialize;
use statmux_core::files::{check_output, profile_json, write_atomically};
use statmux_core::{Bytes, ParallelConfig};
use statmux_plan::derive::{Derived, DerivedProfiles, Deriving, Links, derive_tables, inter_op_overhead, read_layers};
use statmux_report::number;
use statmux_report::table::{Cell, Column, Table};
use std::path::{Path, PathBuf};

/// What `--format json` prints.
#[derive(Serialize)]
struct DerivedResult {
    version: u32,
    profile: PathBuf,
    /// The table of layers, if it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<PathBuf>,
    provenance: String,
    points: Vec<DerivedPoint>,
    /// Combinations that are not in the profile, and measurements that failed.
    skipped: Vec<Skipped>,
}

/// One configuration at one batch size.
#[derive(Serialize)]
struct DerivedPoint {
    model: String,
    op: u32,
    pp: u32,
    batch: u32,
    /// Always "derived": no configuration was run.
    origin: &'static str,
    /// Whether the times of split layers were predicted from one device, too.
    predicted: bool,
    latency_s: f64,
    stage_latency_s: Vec<f64>,
    /// Handing on from stage to stage, over all stages; unknown where one stage was not asked for.
    hand_over_s: Option<f64>,
    /// What is lost to waiting for the slowest stage, over all stages; likewise.
    uneven_s: Option<f64>,
    stage_weight_bytes: Vec<u64>,
    stage_activation_bytes: Vec<u64>,
    /// The first layer of each stage.
    first_layers: Vec<usize>,
}

#[derive(Serialize)]
struct Skipped {
    model: String,
    op: u32,
    pp: u32,
    reason: String,
}

/// Derives from tables of layers.
pub(super) fn from_tables(args: &ProfileArgs, common: Common) -> anyhow::Result<End> {
    check_output(&args.output)?;
    let tables = args.layers.iter().map(|path| Ok((path.as_path(), read_layers(path)?)));
    let tables = tables.collect::<anyhow::Result<Vec<_>>>()?;
    let tables: Vec<_> = tables.iter().map(|(path, table)| (*path, table)).collect();
    let names: Vec<String> = args.layers.iter().map(|path| file_name(path)).collect();
    let source = names.join(", ");
    let derived = derive_tables(&tables, &format!("as in {source}"), &source, &deriving(args))?;
    finish(args, common, derived, Vec::new())
}

/// Measures the layers of models and derives from them.
#[cfg(feature = "candle")]
pub(super) fn from_models(args: &ProfileArgs, common: Common) -> anyhow::Result<End> {
    use super::wanted::{journal, measuring};
    use crate::interrupt;
    use crate::output::UsageError;
    use crate::progress::Bar;
    use crate::serving::layers::{layer_points, measure_layers};
    use crate::serving::machine::machine;
    use crate::serving::measuring::Told;
    use statmux_plan::derive::layers_csv;
    use statmux_serve::measure::Load;
    use std::ops::ControlFlow;

    check_output(&args.output)?;
    args.layers_out.as_deref().map_or(Ok(()), check_output)?;
    let measuring = measuring(args, common, Load::Alone)?;
    let mut ops = args.layer_op.clone();
    ops.push(1);
    ops.sort_unstable();
    ops.dedup();
    let (journal_path, mut journal) = journal(args, common)?;
    interrupt::keep_parts();
    let bar = Bar::new(common, "measuring layers", Some(layer_points(&measuring, &ops) as u64));
    let mut skipped = Vec::new();
    let measured = measure_layers(&measuring, &ops, &mut journal, |told| {
        bar.step();
        if let Told::Point(point, result) = told {
            bar.say(format!("layers of {} at op {}, batch {}", point.model, point.op, point.batch));
            if let Err(reason) = result {
                skipped.push(Skipped { model: point.model, op: point.op, pp: point.pp, reason });
            }
        }
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    bar.finish();
    if measured.left > 0 {
        let result = Unfinished {
            version: statmux_core::files::VERSION,
            interrupted: true,
            left: measured.left,
            journal: journal_path,
        };
        print_beside(Some(&args.output), common.format, || result.text(), &result)?;
        return Ok(End::Interrupted);
    }
    if measured.table.models.is_empty() {
        let reasons: Vec<&str> = skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
        return Err(UsageError(format!("no layer could be measured: {}", reasons.join("; "))).into());
    }
    let source = format!("layers {}; statmux {} on {}", measured.provenance, env!("CARGO_PKG_VERSION"), machine());
    let path = Path::new("--models");
    let derived = derive_tables(&[(path, &measured.table)], &measuring.settings.device, &source, &deriving(args))?;
    if let Some(path) = &args.layers_out {
        write_atomically(path, layers_csv(&measured.table).as_bytes())?;
    }
    let end = finish(args, common, derived, skipped)?;
    // All of it is in the profile now; a later run measures anew.
    drop(journal);
    if let Some(path) = &journal_path {
        let _ = std::fs::remove_file(path);
    }
    Ok(end)
}

/// What is printed when a signal came before all layers were measured.
#[cfg(feature = "candle")]
#[derive(Serialize)]
struct Unfinished {
    version: u32,
    interrupted: bool,
    left: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<PathBuf>,
}

#[cfg(feature = "candle")]
impl Unfinished {
    fn text(&self) -> String {
        let mut text = format!("Interrupted: {} points are not measured", number::count(self.left as u64));
        if let Some(journal) = &self.journal {
            text.push_str(&format!("; what is finished waits in {}, and the same command goes on", journal.display()));
        }
        text
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn deriving(args: &ProfileArgs) -> Deriving {
    let mut batches = args.batch.clone();
    if !batches.is_empty() {
        batches.push(1);
    }
    let sorted = |numbers: &[u32]| {
        let mut numbers = numbers.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    Deriving {
        links: Links { rate: args.link_bandwidth, latency: args.link_latency, efficiency: args.split_efficiency },
        ops: sorted(&args.op),
        pps: sorted(&args.pp),
        batches: sorted(&batches),
        memory: args.memory,
        ..Deriving::default()
    }
}

fn finish(
    args: &ProfileArgs,
    common: Common,
    derived: DerivedProfiles,
    mut skipped: Vec<Skipped>,
) -> anyhow::Result<End> {
    write_atomically(&args.output, profile_json(&derived.profile).as_bytes())?;
    for model in &derived.models {
        skipped.extend(model.passed_over.iter().map(|(config, error)| Skipped {
            model: model.profile.name.clone(),
            op: config.op,
            pp: config.pp,
            reason: error.to_string(),
        }));
    }
    let result = DerivedResult {
        version: statmux_core::files::VERSION,
        profile: args.output.clone(),
        layers: args.layers_out.clone(),
        provenance: derived.profile.provenance.clone(),
        points: derived.models.iter().flat_map(points).collect(),
        skipped,
    };
    print_beside(Some(&args.output), common.format, || text(&result), &result)?;
    if !common.quiet && common.format == Format::Text {
        say(format!("Name {} in [profiles] of a scenario to plan and serve with it.", args.output.display()));
    }
    Ok(End::Done)
}

fn points(derived: &Derived) -> Vec<DerivedPoint> {
    let model = &derived.profile;
    let whole = |op: u32, batch: u32| {
        let config = model.config(ParallelConfig::new(op, 1))?;
        config.stage_seconds.get(&batch).map(|stages| stages.iter().sum::<f64>())
    };
    let point = |config: ParallelConfig, batch: u32, stages: &[f64]| {
        let latency_s = stages.iter().sum();
        let overhead = whole(config.op, batch).map(|whole| inter_op_overhead(whole, stages));
        let known = model.config(config).expect("of this profile");
        let bytes = |bytes: &[Bytes]| bytes.iter().map(|bytes| bytes.get()).collect();
        DerivedPoint {
            model: model.name.clone(),
            op: config.op,
            pp: config.pp,
            batch,
            origin: "derived",
            predicted: derived.predicted.contains(&config.op),
            latency_s,
            stage_latency_s: stages.to_vec(),
            hand_over_s: overhead.map(|overhead| overhead.communication),
            uneven_s: overhead.map(|overhead| overhead.uneven_partition),
            stage_weight_bytes: bytes(&known.stage_weights),
            stage_activation_bytes: known.stage_activations.get(&batch).map_or_else(Vec::new, |known| bytes(known)),
            first_layers: derived.stages[&config].iter().map(|stage| stage.start).collect(),
        }
    };
    let of = |(config, known): (ParallelConfig, &statmux_core::ConfigProfile)| {
        known.stage_seconds.iter().map(|(&batch, stages)| point(config, batch, stages)).collect::<Vec<_>>()
    };
    model.configs().flat_map(of).collect()
}

fn text(result: &DerivedResult) -> String {
    let columns =
        ["batch", "latency", "slowest stage", "hand-overs", "lost to uneven stages", "weights", "activations"];
    let mut table = Table::new(
        [Column::text("model"), Column::text("shards x stages")].into_iter().chain(columns.map(Column::number)),
    );
    for point in &result.points {
        let most = |bytes: &[u64]| Bytes::new(bytes.iter().copied().max().unwrap_or(0)).to_string();
        let known = |seconds: Option<f64>| seconds.map_or_else(|| Cell::from("-"), Cell::latency);
        table.row([
            Cell::from(point.model.as_str()),
            Cell::from(format!("{} x {}", point.op, point.pp).as_str()),
            Cell::count(u64::from(point.batch)),
            Cell::latency(point.latency_s),
            Cell::latency(point.stage_latency_s.iter().copied().fold(0.0, f64::max)),
            known(point.hand_over_s),
            known(point.uneven_s),
            Cell::from(most(&point.stage_weight_bytes).as_str()),
            Cell::from(most(&point.stage_activation_bytes).as_str()),
        ]);
    }
    let mut text = table.to_text();
    for Skipped { model, op, pp, reason } in &result.skipped {
        text.push_str(&format!("\nleft out: {model} op {op} x pp {pp}: {reason}"));
    }
    let points = number::count(result.points.len() as u64);
    text.push_str(&format!(
        "\n{points} points in {}, none of them measured\n{}",
        result.profile.display(),
        result.provenance
    ));
    text
}
