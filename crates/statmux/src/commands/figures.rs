//! `statmux figures`: every figure and table of the AlpaServe paper, and of a report that reproduces it, made anew.

use crate::args::{Common, Format};
use crate::interrupt;
use crate::output::{End, UsageError, print, say};
use anyhow::anyhow;
use clap::Args;
use serde::Serialize;
use statmux_core::files::{check_folder, check_output};
use statmux_figures::figure::ALL;
use statmux_figures::{FiguresError, Options, Progress, generate, select};
use statmux_report::number;
use statmux_report::table::{Column, Table};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

/// Arguments of `statmux figures`.
#[derive(Debug, Args)]
pub(crate) struct FiguresArgs {
    /// Which figures; all if none is named. `fig8` also stands for `fig8-earlier`
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Shorter workloads, fewer points and seeds: minutes instead of hours, and the figures say so
    #[arg(long)]
    quick: bool,
    /// Where everything goes; a later run takes up what is there
    #[arg(long, value_name = "DIR", default_value = "figures")]
    out: PathBuf,
    /// Replays a full public trace instead of the embedded one: `maf1`, `maf2` or `servegen`
    #[arg(long = "trace", value_name = "NAME=DIR")]
    traces: Vec<String>,
    /// Only says which figures there are
    #[arg(long)]
    list: bool,
}

/// A figure that there is, or was made.
#[derive(Serialize)]
struct Made {
    name: String,
    says: String,
}

#[derive(Serialize)]
struct Report {
    version: u32,
    /// Whether a signal came before all figures were made.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    /// Figures that were not made by then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<&'static str>,
    index: Option<PathBuf>,
    figures: Vec<Made>,
}

pub(crate) fn run(args: &FiguresArgs, common: Common) -> anyhow::Result<End> {
    let usage = |error: FiguresError| anyhow!(UsageError(error.to_string()));
    let chosen = select(&args.names).map_err(usage)?;
    if args.list {
        let chosen = chosen.iter().map(|info| Made { name: info.name.to_owned(), says: info.about.to_owned() });
        return tell(&Report::new(None, chosen.collect(), Vec::new()), common);
    }
    let traces = args.traces.iter().map(|text| {
        let (name, folder) = text.split_once('=').ok_or_else(|| {
            UsageError(format!("--trace {text}: write it as NAME=DIR, such as maf1=traces/azure-2019"))
        })?;
        Ok((name.to_owned(), PathBuf::from(folder)))
    });
    let traces = traces.collect::<Result<_, UsageError>>()?;
    let options = Options { out: args.out.clone(), quick: args.quick, traces };
    check_folder(&args.out)?;
    let endings = ["csv", "txt", "svg", "png"];
    let files = chosen.iter().flat_map(|info| endings.map(|ending| format!("{}.{ending}", info.name)));
    for file in files.chain(["index.html".to_owned()]) {
        check_output(&args.out.join(file))?;
    }
    interrupt::keep_parts();
    let watch = Watch { quiet: common.quiet, terminal: std::io::stderr().is_terminal(), state: Mutex::default() };
    let written = generate(&args.names, &options, &watch).map_err(|error| match error {
        FiguresError::UnknownTrace(_) => usage(error),
        FiguresError::File(file) => file.into(),
        other => other.into(),
    })?;
    let figures: Vec<Made> = written.figures.into_iter().map(|(name, says)| Made { name, says }).collect();
    let index = (!figures.is_empty()).then_some(written.index);
    tell(&Report::new(index, figures, written.missing), common)
}

fn tell(report: &Report, common: Common) -> anyhow::Result<End> {
    let text = || {
        let mut table = Table::new([Column::text("figure"), Column::text("says")]);
        report.figures.iter().for_each(|made| table.row([made.name.as_str(), made.says.as_str()]));
        let mut text = if report.figures.is_empty() { String::new() } else { table.to_text() };
        if report.interrupted {
            let missing = report.missing.join(", ");
            text.push_str(&format!("Interrupted: not made are {missing}; the same command goes on with them.\n"));
        }
        text
    };
    print(common.format, text, report)?;
    if let (Some(index), Format::Text, false) = (&report.index, common.format, common.quiet) {
        let all = ALL.len();
        say(format!("{} of {all} figures are in {}", report.figures.len(), index.display()));
    }
    Ok(End::of(report.interrupted))
}

impl Report {
    fn new(index: Option<PathBuf>, figures: Vec<Made>, missing: Vec<&'static str>) -> Self {
        Self { version: statmux_core::files::VERSION, interrupted: !missing.is_empty(), missing, index, figures }
    }
}

/// Says on stderr how the work gets on: a line that is written over on a terminal, else a line per tenth.
struct Watch {
    quiet: bool,
    terminal: bool,
    state: Mutex<Option<Work>>,
}

struct Work {
    began: Instant,
    all: usize,
    done: usize,
}

impl Progress for Watch {
    fn begin(&self, cells: usize) {
        let mut state = self.state.lock().expect("no thread panics while it holds this");
        *state = Some(Work { began: Instant::now(), all: cells, done: 0 });
        if !self.quiet {
            say(format!(
                "{cells} cells to measure; finished ones are kept, so an interrupted run goes on where it was"
            ));
        }
    }

    fn done(&self, case: &str) {
        let mut state = self.state.lock().expect("no thread panics while it holds this");
        let Some(work) = state.as_mut().filter(|_| !self.quiet) else { return };
        work.done += 1;
        let passed = work.began.elapsed().as_secs_f64();
        let left = passed / work.done as f64 * (work.all - work.done) as f64;
        let line = format!("{}/{} cells, about {} left", work.done, work.all, number::duration(left));
        if self.terminal {
            let end = if work.done == work.all { "\n" } else { "" };
            let _ = write!(std::io::stderr(), "\r\x1b[K{line} ({case}){end}");
        } else if work.done.is_multiple_of(work.all.div_ceil(10)) || work.done == work.all {
            say(line);
        }
    }

    fn stop(&self) -> bool {
        interrupt::asked()
    }
}
