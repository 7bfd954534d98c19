//! How little suffices: the least value of one axis for which a placement keeps its promises, and the risk of it.
//!
//! Every axis is walked in whole steps from hard to easy, so that one search serves all: devices one at a time, the
//! others in steps of 2 %. The bound, which is cheap, says where to begin; a policy is asked with a share of its search
//! and once more with all of it just beside the border. The answer is the first point that holds on the scenario's
//! requests and on enough draws of traffic like them ([`traffic`]).

mod patience;
mod search;
mod traffic;
mod walk;
mod why;

#[cfg(test)]
pub(crate) use search::Drawn;
pub(crate) use search::{Answer, Search, Tried};
pub(crate) use traffic::Like;

use clap::ValueEnum;
use serde::Serialize;
use statmux_core::files::FileError;
use statmux_core::{Share, Slo, Span, Time, Workload};
use statmux_plan::bound::Of;
use statmux_report::number;
use statmux_scenario::{Override, Reader, Scenario};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use walk::least;

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Axis {
    /// The fewest devices
    Devices,
    /// The highest rate: the same requests in less time
    Rate,
    /// The burstiest arrivals: the coefficient of variation of the workload's gamma process
    Cv,
    /// The tightest SLOs
    Slo,
}

/// The ratio of neighbouring steps of the axes that are not counted.
const STEP: f64 = 1.02;

/// How far those axes reach: about a factor of 50 either way.
const REACH: i64 = 198;

/// A scenario and what of it may change.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    /// The scenario file.
    pub(crate) path: &'a Path,
    /// What the command line replaced in it.
    pub(crate) overrides: &'a [Override],
    /// Replaces its seed.
    pub(crate) seed: Option<u64>,
    /// What is varied.
    pub(crate) axis: Axis,
    /// The attainment to keep.
    pub(crate) target: f64,
    /// The share of its requests that every model is to get in time; replaces the scenario's.
    pub(crate) each: Option<Share>,
    /// The share of draws of traffic like the scenario's on which it must be kept.
    pub(crate) confidence: f64,
    /// How many draws there are.
    pub(crate) draws: u32,
    /// The length of blocks of recorded traffic.
    pub(crate) block: Option<Span>,
    /// The most devices to try.
    pub(crate) most_devices: u32,
}

/// A value of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Amount {
    /// Devices.
    Whole(u64),
    /// A rate, a CV or a multiple of SLOs.
    Real(f64),
}

impl Axis {
    /// The unit of its values.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Rate => "req/s",
            Self::Cv => "CV",
            Self::Slo => "x the scenario's SLOs",
        }
    }

    /// What is looked for.
    pub(crate) fn aim(self) -> &'static str {
        match self {
            Self::Devices => "fewest devices",
            Self::Rate => "highest rate",
            Self::Cv => "highest CV",
            Self::Slo => "tightest SLOs",
        }
    }
}

/// A question with all that its points share.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) question: &'a Question<'a>,
    /// The scenario as written.
    pub(crate) base: Scenario,
    /// How traffic like its own is drawn.
    pub(crate) like: Like,
    /// The key that sets burstiness, and its value, where that is varied.
    cv: Option<(&'static str, f64)>,
}

impl<'a> Ground<'a> {
    /// Reads the scenario.
    pub(crate) fn new(question: &'a Question<'a>) -> Result<Self, FileError> {
        let Question { path, overrides, seed, axis, .. } = *question;
        let base = Scenario::read_with(path, overrides, seed)?.with_floor(question.each);
        if axis == Axis::Devices && base.cluster.devices().windows(2).any(|pair| pair[0].memory != pair[1].memory) {
            let what = "are unequal: which kind should be counted? Give [cluster] devices and memory";
            return Err(FileError::at_field(path, "cluster.nodes", what));
        }
        let again = Scenario::read_with(path, overrides, Some(base.seed.0.wrapping_add(1)))?;
        let like = Like::of(&base, &again, question.block)?;
        let cv = if axis == Axis::Cv { Some(cv(question)?) } else { None };
        Ok(Self { question, base, like, cv })
    }

    /// All steps, from hard to easy.
    fn range(&self) -> RangeInclusive<i64> {
        match self.question.axis {
            Axis::Devices => 1..=i64::from(self.question.most_devices),
            Axis::Rate | Axis::Cv | Axis::Slo => -REACH..=REACH,
        }
    }

    /// The value that is `ease` steps easier than written.
    pub(crate) fn value(&self, ease: i64) -> Amount {
        match self.question.axis {
            Axis::Devices => Amount::Whole(ease.unsigned_abs()),
            Axis::Rate => Amount::Real(rate(&self.base) * factor(-ease)),
            Axis::Cv => Amount::Real(self.cv.map_or(1.0, |(_, cv)| cv) * factor(-ease)),
            Axis::Slo => Amount::Real(factor(ease)),
        }
    }

    /// The hardest step at which the bound of such plans reaches the target: none of them can do with less.
    pub(crate) fn floor(&self, of: Of) -> Result<Option<i64>, FileError> {
        let range = self.range();
        let start = match self.question.axis {
            Axis::Devices => (self.base.cluster.len() as i64).min(*range.end()),
            _ => 0,
        };
        least(range, start, |ease| {
            let point = self.at(ease)?;
            Ok(point.bound_of(&point.test, of) >= self.question.target)
        })
    }

    /// The scenario `ease` steps easier than written.
    pub(crate) fn at(&self, ease: i64) -> Result<Scenario, FileError> {
        let base = &self.base;
        match self.question.axis {
            Axis::Devices => {
                let overrides = self.overrides(ease);
                let cluster = Reader { overrides: &overrides, ..Reader::default() }.cluster(self.question.path)?;
                Ok(Scenario { cluster, ..base.clone() })
            }
            Axis::Cv => {
                let scenario = Scenario::read_with(self.question.path, &self.overrides(ease), self.question.seed)?;
                Ok(scenario.with_floor(self.question.each))
            }
            Axis::Rate => Ok(Scenario {
                test: Arc::new(faster(&base.test, factor(-ease))),
                train: Arc::new(faster(&base.train, factor(-ease))),
                ..base.clone()
            }),
            Axis::Slo => {
                let mut scenario = base.clone();
                for model in &mut scenario.models {
                    model.slo = match model.slo {
                        Slo::None => Slo::None,
                        Slo::Latency(span) => Slo::Latency(scaled(span, factor(ease))),
                        Slo::Scale(scale) => Slo::Scale(scale * factor(ease)),
                    };
                }
                scenario.test = Arc::new(longer_slo(&scenario.test, factor(ease)));
                scenario.train = Arc::new(longer_slo(&scenario.train, factor(ease)));
                Ok(scenario)
            }
        }
    }

    /// Traffic like that of `point`, the scenario at `ease`; each `number` gives other traffic, always the same.
    fn draw(&self, point: &Scenario, ease: i64, number: u32) -> Result<Workload, FileError> {
        let axis = self.question.axis;
        let seed = self.base.seed.stream("size").nth(u64::from(number));
        match self.like {
            Like::Blocks(block) if axis == Axis::Rate => {
                Ok(traffic::bootstrap(&point.test, scaled(block, factor(ease)), seed))
            }
            Like::Blocks(block) => Ok(traffic::bootstrap(&point.test, block, seed)),
            Like::Seeds => {
                let overrides = if axis == Axis::Cv { self.overrides(ease) } else { self.question.overrides.to_vec() };
                let drawn = Scenario::read_with(self.question.path, &overrides, Some(seed.0))?.test;
                Ok(match axis {
                    Axis::Rate => faster(&drawn, factor(-ease)),
                    Axis::Slo => longer_slo(&drawn, factor(ease)),
                    Axis::Devices | Axis::Cv => Workload::clone(&drawn),
                })
            }
        }
    }

    /// What the command line replaced, and what `ease` replaces beside.
    fn overrides(&self, ease: i64) -> Vec<Override> {
        let text = match (self.question.axis, self.cv) {
            (Axis::Devices, _) => Some(format!("cluster.devices={ease}")),
            (_, Some((key, cv))) => Some(format!("{key}={:?}", cv * factor(-ease))),
            _ => None,
        };
        let own = text.map(|text| Override::parse(&text).expect("a key and a number"));
        self.question.overrides.iter().cloned().chain(own).collect()
    }
}

/// The key that sets the burstiness of the scenario's workload, and its value.
fn cv(question: &Question<'_>) -> Result<(&'static str, f64), FileError> {
    let keys = ["workload.cv", "workload.resample.cv", "workload.resample.cv_scale"];
    let number = |key: &'static str| Override::value_in(question.path, question.overrides, key).map(|cv| (key, cv));
    keys.into_iter().find_map(number).ok_or_else(|| {
        let what = "has no coefficient of variation that could be varied";
        FileError::at_field(question.path, "workload", what)
            .with_help(format!("--axis cv needs one of {}", keys.join(", ")))
    })
}

/// A share as people read it, with as many digits as tell it from `target`: 98.96 % is not 99.0 %.
pub(crate) fn beside(share: f64, target: f64) -> String {
    let plain = number::percent(share);
    if share >= target || plain != number::percent(target) {
        return plain;
    }
    let digits =
        (2..=6).find(|&digits| format!("{:.digits$}", 100.0 * share) != format!("{:.digits$}", 100.0 * target));
    digits.map_or(plain, |digits| format!("{:.digits$} %", 100.0 * share))
}

/// `STEP` to the power of `steps`.
fn factor(steps: i64) -> f64 {
    STEP.powi(steps as i32)
}

/// Requests per second of the test window.
fn rate(scenario: &Scenario) -> f64 {
    let last = scenario.test.arrived.last().copied().unwrap_or(Time::ZERO).since(Time::ZERO);
    let seconds = scenario.test.duration.max(last).seconds();
    if seconds > 0.0 { scenario.test.len() as f64 / seconds } else { 0.0 }
}

/// The same requests, `times` as many a second.
fn faster(workload: &Workload, times: f64) -> Workload {
    let at = |time: &Time| Time::ZERO + scaled(time.since(Time::ZERO), 1.0 / times);
    Workload {
        arrived: workload.arrived.iter().map(at).collect(),
        duration: scaled(workload.duration, 1.0 / times),
        ..workload.clone()
    }
}

/// The same requests; those with an SLO of their own have one `times` as long.
fn longer_slo(workload: &Workload, times: f64) -> Workload {
    Workload { slo: workload.slo.iter().map(|&span| scaled(span, times)).collect(), ..workload.clone() }
}

fn scaled(span: Span, times: f64) -> Span {
    if span == Span::MAX { span } else { Span::from_seconds(span.seconds() * times).unwrap_or(Span::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_falls_short_is_not_shown_as_the_target() {
        assert_eq!(beside(0.9896, 0.99), "98.96 %");
        assert_eq!(beside(0.98999, 0.99), "98.999 %");
        assert_eq!(beside(0.99, 0.99), number::percent(0.99));
        assert_eq!(beside(0.5, 0.99), number::percent(0.5));
    }

    #[test]
    fn a_faster_workload_is_the_same_requests_sooner() {
        let workload = Workload {
            arrived: vec![Time::ZERO, Time::from_nanos(3_000)],
            model: vec![statmux_core::ModelId(0); 2],
            duration: Span::from_nanos(6_000),
            ..Workload::default()
        };
        let faster = faster(&workload, 3.0);
        assert_eq!(faster.arrived, [Time::ZERO, Time::from_nanos(1_000)]);
        assert_eq!((faster.duration, faster.model), (Span::from_nanos(2_000), workload.model));
    }
}
