//! From outcomes to the figures that are reported: the same for simulated and for served runs.

use crate::files::{GroupResult, LatencyResult, ModelResult, ResultsFile, VERSION, WorstModel};
use crate::metrics::{Counts, LatencySummary};
use crate::model::ModelSpec;
use crate::outcome::Outcome;
use crate::placement::PlacementWindows;
use crate::units::{Span, Time};
use crate::workload::Workload;
use std::ops::Range;

/// A finished run and what it was a run of.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// What was asked.
    pub workload: &'a Workload,
    /// The models, by id.
    pub models: &'a [ModelSpec],
    /// What was loaded where.
    pub windows: &'a PlacementWindows,
    /// One per request, in the order of the workload.
    pub outcomes: &'a [Outcome],
    /// One per group of every window, in order.
    pub groups: &'a [GroupUse],
    /// Trimmed from both ends before statistics are taken.
    pub warmup: Span,
    /// The scenario's seed.
    pub seed: u64,
}

/// What one group did in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupUse {
    /// Requests it served.
    pub requests: u64,
    /// Computing time, summed over its stages.
    pub busy: Span,
}

impl Finished<'_> {
    /// The positions of the requests that count: all but the first and last `n * warmup / span`, where
    /// `span` is the time from the first arrival to the last (the published trimming).
    pub fn counted(&self) -> Range<usize> {
        let requests = self.workload.len();
        let (Some(&first), Some(&last)) = (self.workload.arrived.first(), self.workload.arrived.last()) else {
            return 0..0;
        };
        let span = last.since(first).seconds();
        if self.warmup == Span::ZERO || span == 0.0 {
            return 0..requests;
        }
        let skip = ((self.warmup.seconds() / span * requests as f64) as usize).min(requests / 2);
        skip..requests - skip
    }

    /// The summary, with wall-clock figures, reasons of unserved models and notes left for the caller to fill in.
    pub fn results(&self) -> ResultsFile {
        let counted = self.counted();
        let mut counts = Counts::default();
        let mut by_model = vec![Counts::default(); self.models.len()];
        let mut latencies: Vec<Span> = Vec::new();
        let mut model_latencies: Vec<Vec<Span>> = vec![Vec::new(); self.models.len()];
        for index in counted {
            let outcome = &self.outcomes[index];
            let model = self.workload.model[index].index();
            counts.add(outcome);
            by_model[model].add(outcome);
            if let Some(latency) = outcome.latency(self.workload.arrived[index]) {
                latencies.push(latency);
                model_latencies[model].push(latency);
            }
        }
        let duration = self.duration();
        let models = self.models.iter().zip(&by_model).zip(&mut model_latencies).enumerate();
        let models = models.map(|(index, ((spec, counts), latencies))| {
            let slo = spec.slo_seconds().filter(|slo| slo.is_finite());
            let replicas = self.windows.0.iter().map(|window| {
                window.placement.groups.iter().filter(|group| group.models.iter().any(|m| m.index() == index)).count()
            });
            let replicas = replicas.max().unwrap_or(0) as u32;
            ModelResult::new(spec.name.clone(), counts, slo, replicas, LatencySummary::new(latencies))
        });
        let models: Vec<ModelResult> = models.collect();
        ResultsFile {
            worst_model: worst(&models),
            unserved: Vec::new(),
            floor: None,
            notes: Vec::new(),
            version: VERSION,
            seed: self.seed,
            requests: counts.requests,
            served_in_slo: counts.in_slo,
            served_late: counts.late,
            rejected: counts.rejected + counts.no_replica + counts.failed,
            no_replica: counts.no_replica,
            failed: counts.failed,
            slo_attainment: counts.attainment(),
            goodput_rps: self.goodput(counts.in_slo, duration),
            duration_s: duration,
            latency_s: LatencySummary::new(&mut latencies).map(LatencyResult::from),
            models,
            groups: self.group_results(),
            wall_s: 0.0,
            requests_per_wall_second: 0.0,
            warnings: Vec::new(),
        }
    }

    /// Requests a second of which `in_slo` were answered in time. Where all arrived at once, they count over the time
    /// until the last was answered.
    fn goodput(&self, in_slo: u64, duration: f64) -> f64 {
        const INSTANT: f64 = 1e-8;
        let first = self.workload.arrived.first().copied().unwrap_or(Time::ZERO);
        let latencies = self.outcomes.iter().zip(&self.workload.arrived);
        let over = if duration > INSTANT {
            duration
        } else {
            let ends = latencies.filter_map(|(outcome, &at)| Some(at + outcome.latency(at)?));
            ends.max().map_or(0.0, |last| last.since(first).seconds())
        };
        if over > 0.0 { in_slo as f64 / over } else { 0.0 }
    }

    /// Seconds over which the counted requests arrived: the workload's duration less the warm-up.
    fn duration(&self) -> f64 {
        let last = self.workload.arrived.last().copied().unwrap_or(Time::ZERO);
        let all = self.workload.duration.max(last.since(Time::ZERO));
        all.saturating_sub(self.warmup * 2).seconds()
    }

    fn group_results(&self) -> Vec<GroupResult> {
        let last = self.workload.arrived.last().copied().unwrap_or(Time::ZERO);
        let ends = Time::ZERO + self.workload.duration.max(last.since(Time::ZERO));
        let next_starts = self.windows.0.iter().skip(1).map(|window| window.starts).chain([ends]);
        let mut uses = self.groups.iter();
        let mut results = Vec::with_capacity(self.groups.len());
        for ((index, window), until) in self.windows.0.iter().enumerate().zip(next_starts) {
            let available = until.since(window.starts).seconds();
            for group in &window.placement.groups {
                let used = uses.next().copied().unwrap_or_default();
                let device_time = available * f64::from(group.config.pp);
                results.push(GroupResult {
                    window: index as u32,
                    devices: group.devices.iter().map(|device| device.0).collect(),
                    op: group.config.op,
                    pp: group.config.pp,
                    models: group.models.iter().map(|model| self.models[model.index()].name.clone()).collect(),
                    requests: used.requests,
                    utilization: if device_time > 0.0 { used.busy.seconds() / device_time } else { 0.0 },
                });
            }
        }
        results
    }
}

/// Of the models with requests the one with the lowest attainment, of equals the one with the most requests.
fn worst(models: &[ModelResult]) -> Option<WorstModel> {
    let asked = models.iter().filter(|model| model.requests > 0);
    let worst = asked.min_by(|a, b| a.slo_attainment.total_cmp(&b.slo_attainment).then(b.requests.cmp(&a.requests)))?;
    Some(WorstModel {
        name: worst.name.clone(),
        requests: worst.requests,
        served_in_slo: worst.served_in_slo,
        slo_attainment: worst.slo_attainment,
    })
}
