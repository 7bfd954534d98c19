//! Workloads from recorded traces.

use super::remark::{spread, starts_late};
use super::{Built, Site, WorkloadTable};
pub use crate::transform::{Fit, Mapping};

use crate::format::Format;
use crate::recorded::{Recorded, Trace};
use crate::transform::{CvRule, Keep, Resample, TransformError, assign, replay, resample};
use serde::Deserialize;
use statmux_core::files::{FileError, Quantity};
use statmux_core::{Seed, Span, Time, Workload};
use std::path::PathBuf;

/// How new arrivals are drawn from recorded ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResampleTable {
    /// How a window's rate and CV are estimated; `gamma` if absent.
    pub fit: Option<Fit>,
    /// How long windows are; 60 s if absent and the recording has no windows of its own.
    pub interval: Option<Quantity<Span>>,
    /// Multiplies every rate.
    pub rate_scale: Option<f64>,
    /// The CV in every window.
    pub cv: Option<f64>,
    /// Multiplies every window's CV.
    pub cv_scale: Option<f64>,
    /// How much faster than recorded the clock runs; the same as `time_scale` beside it.
    pub time_scale: Option<f64>,
}

/// The windows' length where neither the scenario nor the recording says it.
const INTERVAL: Span = Span::from_millis(60_000);

impl WorkloadTable {
    pub(super) fn build_trace(&self, site: &Site<'_>, model_names: &[String], seed: Seed) -> Result<Built, FileError> {
        let mapping = self.mapping.unwrap_or_default();
        let how = self.resample.as_ref().map(|table| table.check(site)).transpose()?;
        let time_scale = self.clock(site)?;
        let thin = site.optional_positive("thin", self.thin)?;
        if thin.is_some_and(|share| share > 1.0) {
            return Err(site.error("thin", "is above 1; it is the share of requests that is kept"));
        }
        if thin.is_some() && how.is_some() {
            return Err(site.error("thin", "applies to replay only").with_help("use resample.rate_scale"));
        }
        let Cut { trace, span, starts, recording } = self.read_window(site)?;
        let keep = Keep { min_calls: self.min_function_requests.unwrap_or(0), top: self.top_functions };
        let assignment =
            assign(&trace, model_names, mapping, keep).map_err(|error| site.error("mapping", error.to_string()))?;
        if assignment.functions() == 0 {
            return Err(site.error("window", "holds no request of the functions that are kept"));
        }
        // Without a window, the run starts at the first request of what is kept.
        let kept = trace.first(|function| assignment.of(function).is_some()).filter(|_| self.window.is_none());
        let (trace, span, starts) = match kept {
            Some(first) if first > Time::ZERO => {
                let left = span.saturating_sub(first.since(Time::ZERO)).max(Span::from_nanos(1));
                (trace.slice(first, Time::ZERO + span + Span::from_nanos(1)), left, starts + first.since(Time::ZERO))
            }
            _ => (trace, span, starts),
        };
        let provenance = provenance(&trace, how.as_ref(), thin, time_scale);
        let recorded_instants = matches!(trace.recorded, Recorded::Instants(_));
        let (mut remarks, taken_off) = (trace.remarks.clone(), trace.taken_off);
        let functions = assignment.functions();
        let transformed = match &how {
            Some(how) => {
                let interval = match trace.recorded {
                    Recorded::Instants(_) => how.interval.or(Some(INTERVAL)),
                    _ => how.interval,
                };
                resample(&trace, &assignment, span, &Resample { interval, ..*how }, seed)
            }
            None => replay(trace, &assignment, span, thin, seed),
        };
        let mut workload = transformed.map_err(|error| {
            let key = if matches!(error, TransformError::Interval(_)) { "resample.interval" } else { "resample" };
            site.error(key, error.to_string())
        })?;
        if workload.is_empty() {
            let help = "raise resample.rate_scale or thin, lengthen the window, or use fit = \"count\"";
            return Err(site.error("resample", "leaves no request").with_help(help));
        }
        compress(&mut workload, time_scale);
        let format = self.format.map_or("trace", |format| format.name());
        let mut warnings = Vec::new();
        if recorded_instants && how.is_none() {
            warnings.extend(spread(&workload));
        }
        let offset = if self.window.is_some() { Span::ZERO } else { taken_off + starts.since(Time::ZERO) };
        if self.window.is_none() && remarks.is_empty() {
            remarks.extend(starts_late(starts.since(Time::ZERO), recording));
        }
        let file = self.files.iter().flatten().next().map_or_else(PathBuf::new, Clone::clone);
        let named = |text: String| format!("{}: {text}", file.display());
        let provenance = format!("{format}, {functions} functions on {} models: {provenance}", model_names.len());
        Ok(Built {
            workload,
            provenance,
            offset: if time_scale == 1.0 { offset } else { Span::ZERO },
            remarks: remarks.into_iter().map(named).collect(),
            warnings: warnings.into_iter().map(named).collect(),
        })
    }

    /// The factor by which the clock runs faster than recorded.
    fn clock(&self, site: &Site<'_>) -> Result<f64, FileError> {
        let inner = self.resample.and_then(|resample| resample.time_scale);
        if self.time_scale.is_some() && inner.is_some() {
            return Err(site.error("time_scale", "is given twice, also in resample"));
        }
        Ok(site.optional_positive("time_scale", self.time_scale.or(inner))?.unwrap_or(1.0))
    }

    /// The window's part of the trace, or all of it.
    fn read_window(&self, site: &Site<'_>) -> Result<Cut, FileError> {
        let format = self.format.ok_or_else(|| site.error("format", "is missing: which trace format?"))?;
        let files: Vec<PathBuf> = self.files.iter().flatten().map(|file| site.resolve(file)).collect();
        if files.is_empty() {
            return Err(site.error("files", "is missing or empty: which trace files?"));
        }
        let (start, end) = self.window_bounds(site)?;
        if self.columns.is_some() && format != Format::Requests {
            return Err(site.error("columns", "are those of format = \"requests\" only"));
        }
        let trace = format.read_mapped(&files, end.unwrap_or(Time::NEVER), self.columns.as_ref())?;
        let recording = (trace.start, trace.end);
        let starts = begin(&trace, start, end);
        let (trace, span) = cut(trace, start, end);
        if trace.counts().iter().all(|&count| count == 0) {
            let (from, to) = (clock_time(recording.0), clock_time(recording.1));
            return Err(site
                .error("window", "holds no request")
                .with_help(format!("the recording covers {from} to {to} (day.hour.minute)")));
        }
        Ok(Cut { trace, span, starts, recording: recording.1.since(recording.0) })
    }
}

/// A part of a trace.
struct Cut {
    /// The part, on a clock that starts with it.
    trace: Trace,
    /// How long it is.
    span: Span,
    /// When it starts on the trace's own clock.
    starts: Time,
    /// How long all of the recording is.
    recording: Span,
}

/// Where the part of a trace from `start` to `end` begins: with the recording, or if neither is given with the first
/// call.
pub fn begin(trace: &Trace, start: Option<Time>, end: Option<Time>) -> Time {
    match (start, end) {
        (Some(start), _) => start,
        (None, Some(_)) => trace.start,
        (None, None) => trace.first(|_| true).unwrap_or(trace.start),
    }
}

/// The part of a trace from `start` to `end`, or all of it from the first call on, on a clock that starts with it; and
/// that part's length.
pub fn cut(trace: Trace, start: Option<Time>, end: Option<Time>) -> (Trace, Span) {
    let start = begin(&trace, start, end);
    // Without an end, the last call is to be in.
    let until = end.unwrap_or(trace.end + Span::from_nanos(1));
    let span = end.unwrap_or(trace.end).since(start);
    (trace.slice(start, until), span.max(Span::from_nanos(1)))
}

/// A trace time as day.hour.minute.
pub(super) fn clock_time(time: Time) -> String {
    let minutes = time.nanos() / 60_000_000_000;
    format!("{}.{}.{}", minutes / 1440, minutes / 60 % 24, minutes % 60)
}

impl ResampleTable {
    fn check(&self, site: &Site<'_>) -> Result<Resample, FileError> {
        let fit = self.fit.unwrap_or_default();
        for (key, value) in [("rate_scale", self.rate_scale), ("cv", self.cv), ("cv_scale", self.cv_scale)] {
            site.optional_positive(&format!("resample.{key}"), value)?;
        }
        let cv = match (self.cv, self.cv_scale) {
            (Some(_), Some(_)) => {
                return Err(site.error("resample.cv", "and cv_scale are both given: is the CV absolute or relative?"));
            }
            (Some(_), None) | (None, Some(_)) if fit == Fit::Poisson => {
                return Err(site.error("resample.fit", "is \"poisson\", whose CV is 1: leave out cv and cv_scale"));
            }
            (Some(cv), None) => CvRule::Absolute(cv),
            (None, scale) => CvRule::Scale(scale.unwrap_or(1.0)),
        };
        let interval = self.interval.map(|interval| interval.0);
        if interval == Some(Span::ZERO) {
            return Err(site.error("resample.interval", "is zero"));
        }
        Ok(Resample { fit, interval, rate_scale: self.rate_scale.unwrap_or(1.0), cv })
    }
}

/// Lets the clock run `factor` times faster.
fn compress(workload: &mut Workload, factor: f64) {
    if factor != 1.0 {
        let scaled = |nanos: u64| Span::from_nanos(nanos).scale(1.0 / factor).nanos();
        workload.arrived.iter_mut().for_each(|at| *at = Time::from_nanos(scaled(at.nanos())));
        workload.duration = Span::from_nanos(scaled(workload.duration.nanos()).max(1));
    }
}

/// What of the workload is recorded and what is drawn.
fn provenance(trace: &Trace, how: Option<&Resample>, thin: Option<f64>, time_scale: f64) -> String {
    let mut text = match (&trace.recorded, how) {
        (Recorded::Instants(_), None) => "arrivals replayed as recorded".to_owned(),
        (Recorded::PerMinute(_), None) => {
            "counts per minute as recorded; places within the minute drawn uniformly".to_owned()
        }
        (Recorded::Windows(_), None) => {
            "rates and gap distributions per window as recorded; arrivals drawn from them".to_owned()
        }
        (recorded, Some(how)) => {
            let what = match (recorded, how.fit) {
                (Recorded::Instants(_), Fit::Gamma) => "Gamma gaps fitted to recorded ones",
                (Recorded::Windows(_), Fit::Gamma) => "Gamma gaps of the recorded rate and CV",
                (_, Fit::Poisson) => "Poisson arrivals at the recorded rate",
                _ => "Gamma gaps at the recorded rate",
            };
            let cv = match how.cv {
                CvRule::Absolute(cv) => format!("CV set to {cv}"),
                CvRule::Scale(scale) => format!("CV x {scale}"),
            };
            format!("arrivals resampled per window from {what}; rate x {}, {cv}", how.rate_scale)
        }
    };
    if let Some(share) = thin {
        text.push_str(&format!("; {share} of the requests kept at random"));
    }
    if time_scale != 1.0 {
        text.push_str(&format!("; clock {time_scale} times faster"));
    }
    text
}
