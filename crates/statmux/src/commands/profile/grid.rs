//! Every combination asked for, measured, shown and written.

use super::ProfileArgs;
use super::wanted::{journal, measuring};
use crate::args::{Common, Format};
use crate::interrupt;
use crate::output::{End, UsageError, print_beside, say};
use crate::progress::Bar;
use crate::serving::machine::machine;
use crate::serving::measuring::{Told, measure_all, points};
use serde::Serialize;
use statmux_core::Bytes;
use statmux_core::files::{check_output, profile_json, write_atomically};
use statmux_report::number;
use statmux_report::table::{Cell, Column, Table};
use statmux_serve::measure::{Load, Measurement, Point};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// What `--format json` prints.
#[derive(Serialize)]
struct ProfileResult {
    version: u32,
    /// Whether a signal came before all points were measured; there is no profile then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    /// Points that were not measured by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<usize>,
    /// Where finished points wait for the same command to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<PathBuf>,
    provenance: String,
    points: Vec<Measurement>,
    skipped: Vec<Skipped>,
}

#[derive(Serialize)]
struct Skipped {
    point: Point,
    reason: String,
}

pub(super) fn run(args: &ProfileArgs, common: Common) -> anyhow::Result<End> {
    check_output(&args.output)?;
    let measuring = measuring(args, common, Load::Busy)?;
    let (journal_path, mut journal) = journal(args, common)?;
    interrupt::keep_parts();
    let bar = Bar::new(common, "measuring", Some(points(&measuring) as u64));
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    let measured = measure_all(&measuring, &mut journal, |told| {
        bar.step();
        if let Told::Point(point, result) = told {
            bar.say(format!("{} op {} x pp {}, batch {}", point.model, point.op, point.pp, point.batch));
            match result {
                Ok(measurement) => found.push(measurement),
                Err(reason) => skipped.push(Skipped { point, reason }),
            }
        }
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    bar.finish();
    if measured.left > 0 {
        let result = ProfileResult {
            version: statmux_core::files::VERSION,
            interrupted: true,
            left: Some(measured.left),
            journal: journal_path,
            profile: None,
            provenance: measured.profile.provenance,
            points: found,
            skipped,
        };
        print_beside(Some(&args.output), common.format, || text(&result), &result)?;
        return Ok(End::Interrupted);
    }
    let mut profile = measured.profile;
    if profile.models.is_empty() {
        let reasons: Vec<&str> = skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
        return Err(UsageError(format!("nothing could be measured: {}", reasons.join("; "))).into());
    }
    profile.provenance = format!("{}; statmux {} on {}", profile.provenance, env!("CARGO_PKG_VERSION"), machine());
    write_atomically(&args.output, profile_json(&profile).as_bytes())?;
    // All of it is in the profile now; a later run measures anew.
    drop(journal);
    if let Some(path) = &journal_path {
        let _ = std::fs::remove_file(path);
    }
    let result = ProfileResult {
        version: statmux_core::files::VERSION,
        interrupted: false,
        left: None,
        journal: None,
        profile: Some(args.output.clone()),
        provenance: profile.provenance,
        points: found,
        skipped,
    };
    print_beside(Some(&args.output), common.format, || text(&result), &result)?;
    if !common.quiet && common.format == Format::Text {
        say(format!("Name {} in [profiles] of a scenario to plan and serve with it.", args.output.display()));
    }
    Ok(End::Done)
}

fn text(result: &ProfileResult) -> String {
    let columns = ["batch", "tokens", "latency", "slowest stage", "spread", "weights", "activations"];
    let mut table = Table::new(
        [Column::text("model"), Column::text("shards x stages")].into_iter().chain(columns.map(Column::number)),
    );
    for measurement in &result.points {
        let Point { model, op, pp, batch, tokens } = &measurement.point;
        let most = |bytes: &[u64]| Bytes::new(bytes.iter().copied().max().unwrap_or(0)).to_string();
        table.row([
            Cell::from(model.as_str()),
            Cell::from(format!("{op} x {pp}").as_str()),
            Cell::count(u64::from(*batch)),
            Cell::count(u64::from(*tokens)),
            Cell::latency(measurement.stage_seconds.iter().sum()),
            Cell::latency(measurement.stage_seconds.iter().copied().fold(0.0, f64::max)),
            Cell::percent(measurement.stage_spread.iter().copied().fold(0.0, f64::max)),
            Cell::from(most(&measurement.stage_weights).as_str()),
            Cell::from(most(&measurement.stage_activations).as_str()),
        ]);
    }
    let mut text = table.to_text();
    for Skipped { point, reason } in &result.skipped {
        text.push_str(&format!(
            "\nnot measured: {} op {} x pp {}, batch {}: {reason}",
            point.model, point.op, point.pp, point.batch
        ));
    }
    if let Some(left) = result.left {
        text.push_str(&format!("\nInterrupted: {} points are not measured", number::count(left as u64)));
        if let Some(journal) = &result.journal {
            text.push_str(&format!("; what is finished waits in {}, and the same command goes on", journal.display()));
        }
    }
    if let Some(profile) = &result.profile {
        let points = number::count(result.points.len() as u64);
        text.push_str(&format!("\n{points} points in {}\n{}", profile.display(), result.provenance));
    }
    text
}
