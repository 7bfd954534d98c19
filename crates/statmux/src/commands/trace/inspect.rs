//! `statmux trace inspect`: a trace in figures and a picture.

use super::{Part, Source};
use crate::args::{Common, positive};
use crate::output::{End, print};
use clap::Args;
use serde::Serialize;
use statmux_report::number;
use statmux_report::sparkline::{Glyphs, Sparklines};
use statmux_report::table::{Cell, Column, Table};
use statmux_workload::inspect::{Inspection, inspect};

/// Arguments of `statmux trace inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    #[command(flatten)]
    source: Source,
    /// How many of the busiest functions to show
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = positive::<usize>)]
    top: usize,
    /// Into how many intervals the picture of load divides the time
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    intervals: u32,
}

#[derive(Serialize)]
struct Data {
    format: &'static str,
    /// When the part looked at starts on the clock of the file.
    starts_at_s: f64,
    /// How the times were understood, where that is not plain.
    remarks: Vec<String>,
    #[serde(flatten)]
    inspection: Inspection,
}

pub(super) fn run(args: &InspectArgs, common: Common) -> anyhow::Result<End> {
    let Part { format, trace, span, starts } = args.source.read()?;
    let inspection = inspect(&trace, span, args.intervals as usize);
    let data =
        Data { format: format.name(), starts_at_s: starts.seconds(), remarks: trace.remarks.clone(), inspection };
    print(common.format, || text(&data, args.top), &data)?;
    Ok(End::Done)
}

fn text(data: &Data, top: usize) -> String {
    let seen = &data.inspection;
    let cv = |cv: Option<f64>| cv.map_or_else(|| "not recorded".to_owned(), |cv| number::significant(cv, 3));
    let shares = &seen.top_shares;
    let mut text = format!(
        "{} ({}), {} from {} on\n{} requests, {}, to {} of {} functions\nCV of gaps {}, of load per {} {}\nbusiest 1, 5, 10, 20 functions: {}, {}, {}, {} of all requests\n\n",
        data.format,
        seen.recorded_as,
        number::duration(seen.span_s),
        clock(data.starts_at_s),
        number::count(seen.requests),
        number::rate(seen.rate_rps, "requests"),
        number::count(seen.active_functions as u64),
        number::count(seen.functions as u64),
        cv(seen.gap_cv),
        number::duration(seen.interval_s),
        cv(seen.load_cv),
        number::percent(shares.top_1),
        number::percent(shares.top_5),
        number::percent(shares.top_10),
        number::percent(shares.top_20),
    );
    for remark in &data.remarks {
        text.insert_str(text.len() - 1, &format!("{remark}\n"));
    }
    let columns = ["requests", "share", "requests/s", "CV of gaps", "CV of load"];
    let mut table = Table::new([Column::text("function")].into_iter().chain(columns.map(Column::number)));
    let mut load = Sparklines::new(60, "requests/s");
    load.add("all", seen.load_rps.clone());
    for model in seen.models.iter().take(top) {
        let optional = |value: Option<f64>| value.map_or_else(Cell::nothing, |value| Cell::significant(value, 3));
        table.row([
            Cell::from(shorten(&model.name)),
            Cell::count(model.requests),
            Cell::percent(model.share),
            Cell::significant(model.rate_rps, 3),
            optional(model.gap_cv),
            optional(model.load_cv),
        ]);
        load.add(shorten(&model.name), model.load_rps.clone());
    }
    text.push_str(&table.to_text());
    if seen.models.len() > top {
        text.push_str(&format!("and {} more\n", number::count((seen.models.len() - top) as u64)));
    }
    text.push_str("\nload over time\n");
    text.push_str(&load.to_text(Glyphs::Blocks));
    text
}

/// A time on a clock, exact to the second, and in days if it is late.
fn clock(seconds: f64) -> String {
    let days = seconds / 86_400.0;
    if days >= 1.0 { format!("{seconds:.0} s ({days:.1} days)") } else { number::duration(seconds) }
}

/// Names that are hashes are told apart by their first characters well enough.
fn shorten(name: &str) -> String {
    if name.chars().count() <= 24 { name.to_owned() } else { name.chars().take(15).chain("…".chars()).collect() }
}
