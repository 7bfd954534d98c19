//! Workloads that arrival processes generate.

use super::{Built, Site, WorkloadKind, WorkloadTable};
use crate::arrival::{Arrivals, Mmpp, pareto_shape, weibull_shape};
use crate::input::MOST_REQUESTS;
use crate::merge::Merge;
use statmux_core::files::{FileError, Quantity};
use statmux_core::{ModelId, Seed, Span, Time};

/// An MMPP's longest stay may fit so often in the duration.
const MOST_STAYS: u64 = 10_000_000;

impl WorkloadTable {
    pub(super) fn build_synthetic(
        &self,
        site: &Site<'_>,
        kind: WorkloadKind,
        model_names: &[String],
        seed: Seed,
    ) -> Result<Built, FileError> {
        let rate = site.positive("rate", self.rate)?;
        let Quantity(duration) =
            self.duration.ok_or_else(|| site.error("duration", "is missing: for how long do requests arrive?"))?;
        if duration == Span::ZERO {
            return Err(site.error("duration", "is 0: for how long do requests arrive?"));
        }
        if rate * duration.seconds() > MOST_REQUESTS as f64 / 2.0 {
            let count = rate * duration.seconds();
            return Err(
                site.error("rate", format!("times duration makes {count:.3e} requests, more than fit in memory"))
            );
        }
        let split = self.split.clone().unwrap_or_default();
        let shares = split.shares(model_names.len()).map_err(|what| site.error("split", what))?;
        let mut merge = Merge::default();
        for (index, share) in shares.into_iter().enumerate() {
            if share > 0.0 {
                let process = self.process(site, kind, rate * share)?;
                let left = MOST_REQUESTS as usize - merge.len();
                let arrived = process.generate(Time::ZERO, duration, left, seed.nth(index as u64));
                merge.extend(ModelId::from_index(index), &arrived);
            }
        }
        let provenance = format!("synthetic: {} arrivals, {rate} requests/s in all", kind.name());
        Ok(Built {
            workload: merge.finish(duration),
            provenance,
            offset: Span::ZERO,
            remarks: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// The process of one model that gets `rate` requests per second.
    fn process(&self, site: &Site<'_>, kind: WorkloadKind, rate: f64) -> Result<Arrivals, FileError> {
        Ok(match kind {
            WorkloadKind::Poisson => Arrivals::poisson(rate),
            WorkloadKind::Deterministic => Arrivals::Deterministic { rate },
            WorkloadKind::Gamma => Arrivals::Gamma { rate, cv: site.positive("cv", self.cv)? },
            WorkloadKind::Pareto => {
                let shape = self.shape(site, pareto_shape, "for Pareto gaps it must be above 1")?;
                if shape <= 1.0 {
                    return Err(site.error("shape", format!("is {shape}; Pareto gaps have a mean only above 1")));
                }
                Arrivals::Pareto { rate, shape }
            }
            WorkloadKind::Weibull => {
                let shape = self.shape(site, weibull_shape, "for Weibull gaps it must be from 0.002 to 300,000")?;
                if shape < 0.05 {
                    return Err(site.error("shape", format!("is {shape}; Weibull shapes below 0.05 are not supported")));
                }
                Arrivals::Weibull { rate, shape }
            }
            WorkloadKind::Mmpp => {
                let rates = self.state_rates.as_ref().ok_or_else(|| site.error("state_rates", "is missing"))?;
                let stays = self.state_durations.as_ref().ok_or_else(|| site.error("state_durations", "is missing"))?;
                let duration = self.duration.map_or(Span::ZERO, |duration| duration.0);
                if stays.iter().map(|stay| stay.0).max().unwrap_or_default() * MOST_STAYS < duration {
                    let what = format!("are so short that the state changes over {MOST_STAYS} times in the duration");
                    return Err(site.error("state_durations", what));
                }
                let stays: Vec<f64> = stays.iter().map(|stay| stay.0.seconds()).collect();
                Arrivals::Mmpp(Mmpp::new(rate, rates, &stays).map_err(|what| site.error("state_rates", what))?)
            }
            WorkloadKind::Requests | WorkloadKind::Trace => unreachable!("built elsewhere"),
        })
    }

    /// The shape, given itself or by the CV.
    fn shape(&self, site: &Site<'_>, of_cv: fn(f64) -> Option<f64>, range: &str) -> Result<f64, FileError> {
        match (self.shape, self.cv) {
            (Some(_), Some(_)) => Err(site.error("shape", "and cv are both given; one says it all")),
            (None, None) => Err(site.error("cv", "is missing").with_help("give cv, or shape instead")),
            (Some(_), None) => site.positive("shape", self.shape),
            (None, Some(cv)) => {
                site.positive("cv", self.cv)?;
                of_cv(cv).ok_or_else(|| site.error("cv", format!("is {cv}; {range}")))
            }
        }
    }
}
