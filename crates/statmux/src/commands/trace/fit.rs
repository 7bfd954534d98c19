//! `statmux trace fit`: rate and CV of each function or model in each window.

use super::{Onto, Part, Source};
use crate::args::{Common, Format as Output};
use crate::output::{End, print};
use clap::{Args, ValueEnum};
use serde::Serialize;
use statmux_core::Span;
use statmux_core::files::FileError;
use statmux_workload::recorded::Recorded;
use statmux_workload::transform::{Assignment, Fit, Keep, assign, fit_windows};

/// Arguments of `statmux trace fit`.
#[derive(Debug, Args)]
pub(super) struct FitArgs {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    onto: Onto,
    /// How rate and CV are estimated
    #[arg(long, value_enum, default_value_t = Estimate::Gamma)]
    fit: Estimate,
    /// How long windows are, such as `60s`; where the recording has windows of its own, theirs
    #[arg(long, value_name = "SPAN")]
    interval: Option<Span>,
}

/// How a window's rate and CV are estimated.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Estimate {
    /// A Gamma distribution of the gaps, by maximum likelihood
    Gamma,
    /// Requests over time, CV 1
    Count,
}

/// One line of the output.
#[derive(Serialize)]
struct Row<'a> {
    function: &'a str,
    start_s: f64,
    length_s: f64,
    requests: f64,
    rate_rps: Option<f64>,
    cv: Option<f64>,
    shape: Option<f64>,
    scale_s: Option<f64>,
}

pub(super) fn run(args: &FitArgs, common: Common) -> anyhow::Result<End> {
    let Part { trace, span, .. } = args.source.read()?;
    let wrong = |error: &dyn std::fmt::Display| {
        FileError::whole(&args.source.files[0], format!("cannot be fitted: interval {error}"))
    };
    let (names, assignment) = match args.onto.models {
        None => (trace.functions.clone(), Assignment::identity(trace.functions.len())),
        Some(models) => {
            let names: Vec<String> = (0..models).map(|model| format!("m{model}")).collect();
            let assignment =
                assign(&trace, &names, args.onto.mapping, Keep::default()).map_err(|error| wrong(&error))?;
            (names, assignment)
        }
    };
    let fit = match args.fit {
        Estimate::Gamma => Fit::Gamma,
        Estimate::Count => Fit::Count,
    };
    let interval = match trace.recorded {
        Recorded::Instants(_) => args.interval.or(Some(Span::from_millis(60_000))),
        _ => args.interval,
    };
    if interval == Some(Span::ZERO) {
        return Err(wrong(&"is zero").into());
    }
    let windows = fit_windows(&trace, &assignment, span, fit, interval).map_err(|error| wrong(&error))?;
    let rows: Vec<Row<'_>> = windows
        .iter()
        .map(|window| Row {
            function: &names[window.model.index()],
            start_s: window.start.seconds(),
            length_s: window.length.seconds(),
            requests: window.requests,
            rate_rps: window.fit.map(|fit| fit.rate),
            cv: window.fit.map(|fit| fit.cv),
            shape: window.fit.map(|fit| fit.cv.powi(-2)),
            scale_s: window.fit.map(|fit| fit.cv.powi(2) / fit.rate),
        })
        .collect();
    match common.format {
        Output::Text => print(common.format, || csv(&rows), &())?,
        Output::Json => print(common.format, String::new, &rows)?,
    }
    Ok(End::Done)
}

fn csv(rows: &[Row<'_>]) -> String {
    let mut text = "function,start_s,length_s,requests,rate_rps,cv,shape,scale_s\n".to_owned();
    let optional = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for row in rows {
        let plain = !row.function.contains([',', '"', '\n', '\r']);
        let function =
            if plain { row.function.to_owned() } else { format!("\"{}\"", row.function.replace('"', "\"\"")) };
        let fitted = [row.rate_rps, row.cv, row.shape, row.scale_s].map(optional).join(",");
        text.push_str(&format!("{function},{},{},{},{fitted}\n", row.start_s, row.length_s, row.requests));
    }
    text
}
