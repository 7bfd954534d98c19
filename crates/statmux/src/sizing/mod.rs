//! How little suffices: the least value of one axis for which a placement keeps its promises.
//!
//! Every axis is walked in whole steps from hard to easy, so that one search serves all: devices one at a time, the
//! others in steps of 2 %. Attainment is taken to rise with every step; where it does not, the answer is still a
//! point that holds beside one that does not.

use crate::planning::{bound, plan, score_plan};
use crate::scenario::{Override, Scenario};
use clap::ValueEnum;
use statmux_core::files::FileError;
use statmux_core::{Slo, Span, Time, Workload};
use statmux_plan::Progress;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

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
    /// What is varied.
    pub(crate) axis: Axis,
    /// The attainment to keep.
    pub(crate) target: f64,
    /// The most devices to try.
    pub(crate) most_devices: u32,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// The value that suffices, in the axis's unit; `None` if none within reach does.
    pub(crate) value: Option<f64>,
    /// (value, attainment) of every point tried, by value.
    pub(crate) tried: Vec<(f64, f64)>,
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

    /// The heading of a column of its values.
    pub(crate) fn heading(self) -> String {
        match self {
            Self::Devices | Self::Cv => self.aim().to_owned(),
            Self::Rate | Self::Slo => format!("{} ({})", self.aim(), self.unit()),
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

impl Question<'_> {
    /// The answer for `policy`, with every point planned and simulated anew.
    pub(crate) fn answer(&self, policy: &str, seed: Option<u64>, progress: &dyn Progress) -> anyhow::Result<Answer> {
        self.search(seed, |scenario| {
            let planned = plan(scenario, Some(policy), progress)?;
            Ok(score_plan(scenario, &planned.plan, &scenario.test)?.1.slo_attainment)
        })
    }

    /// The same for the upper bound: no placement and no scheduler can do with less.
    pub(crate) fn bound(&self, seed: Option<u64>) -> anyhow::Result<Answer> {
        self.search(seed, |scenario| Ok(bound(scenario, &scenario.test)))
    }

    fn search(
        &self,
        seed: Option<u64>,
        mut attained: impl FnMut(&Scenario) -> anyhow::Result<f64>,
    ) -> anyhow::Result<Answer> {
        let base = Scenario::load_with(self.path, self.overrides, seed)?;
        let (range, start) = match self.axis {
            Axis::Devices => {
                let most = i64::from(self.most_devices);
                (1..=most, (base.cluster.len() as i64).min(most))
            }
            Axis::Rate | Axis::Cv | Axis::Slo => (-REACH..=REACH, 0),
        };
        let mut tried: BTreeMap<i64, f64> = BTreeMap::new();
        let mut holds = |ease: i64| -> anyhow::Result<bool> {
            let attainment = match tried.get(&ease) {
                Some(&known) => known,
                None => attained(&self.at(&base, ease, seed)?)?,
            };
            tried.insert(ease, attainment);
            Ok(attainment >= self.target)
        };
        let found = least(range, start, &mut holds)?;
        let cv = if self.axis == Axis::Cv { self.cv()?.1 } else { 1.0 };
        let value = |ease: i64| match self.axis {
            Axis::Devices => ease as f64,
            Axis::Rate => rate(&base) * factor(-ease),
            Axis::Cv => cv * factor(-ease),
            Axis::Slo => factor(ease),
        };
        let mut points: Vec<(f64, f64)> = tried.iter().map(|(&ease, &attainment)| (value(ease), attainment)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(Answer { value: found.map(value), tried: points })
    }

    /// The scenario `ease` steps easier than written.
    fn at(&self, base: &Scenario, ease: i64, seed: Option<u64>) -> Result<Scenario, FileError> {
        let set = |text: String| {
            let mut overrides = self.overrides.to_vec();
            overrides.push(Override::parse(&text).expect("a key and a number"));
            Scenario::load_with(self.path, &overrides, seed)
        };
        match self.axis {
            Axis::Devices => set(format!("cluster.devices={ease}")),
            Axis::Cv => {
                let (key, cv) = self.cv()?;
                set(format!("{key}={:?}", cv * factor(-ease)))
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
                for workload in [&mut scenario.test, &mut scenario.train] {
                    if !workload.slo.is_empty() {
                        let slo = workload.slo.iter().map(|&span| scaled(span, factor(ease))).collect();
                        *workload = Arc::new(Workload { slo, ..Workload::clone(workload) });
                    }
                }
                Ok(scenario)
            }
        }
    }

    /// The key that sets the burstiness of the scenario's workload, and its value.
    fn cv(&self) -> Result<(&'static str, f64), FileError> {
        let keys = ["workload.cv", "workload.resample.cv", "workload.resample.cv_scale"];
        let number = |key: &'static str| Override::value_in(self.path, self.overrides, key).map(|cv| (key, cv));
        keys.into_iter().find_map(number).ok_or_else(|| {
            let what = "has no coefficient of variation that could be varied";
            FileError::at_field(self.path, "workload", what)
                .with_help(format!("--axis cv needs one of {}", keys.join(", ")))
        })
    }
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

fn scaled(span: Span, times: f64) -> Span {
    if span == Span::MAX { span } else { Span::from_seconds(span.seconds() * times).unwrap_or(Span::MAX) }
}

/// The least number of `range` that holds, if holding goes on upwards from it: outwards from `start` in growing
/// strides until the border is passed, then by halves.
fn least<E>(
    range: RangeInclusive<i64>,
    start: i64,
    holds: &mut impl FnMut(i64) -> Result<bool, E>,
) -> Result<Option<i64>, E> {
    let (lowest, highest) = (*range.start(), *range.end());
    // `fails` and `enough` end up on either side of the border; one below the range counts as failing.
    let (mut fails, mut enough, mut stride);
    if holds(start)? {
        (enough, stride) = (start, 1);
        loop {
            if enough == lowest {
                return Ok(Some(lowest));
            }
            let next = (enough - stride).max(lowest);
            if holds(next)? {
                (enough, stride) = (next, 2 * stride);
            } else {
                fails = next;
                break;
            }
        }
    } else {
        (fails, stride) = (start, 1);
        loop {
            if fails == highest {
                return Ok(None);
            }
            let next = (fails + stride).min(highest);
            if holds(next)? {
                enough = next;
                break;
            }
            (fails, stride) = (next, 2 * stride);
        }
    }
    while enough - fails > 1 {
        let middle = fails + (enough - fails) / 2;
        if holds(middle)? { enough = middle } else { fails = middle }
    }
    Ok(Some(enough))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_is_found_from_anywhere() {
        for border in -5..=6 {
            for start in -4..=5 {
                let mut holds = |ease: i64| Ok::<_, ()>(ease >= border);
                let expected = (border <= 5).then_some(border.max(-4));
                assert_eq!(least(-4..=5, start, &mut holds), Ok(expected), "from {start} to {border}");
            }
        }
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
