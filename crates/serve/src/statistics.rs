//! Metrics in the form Prometheus reads: requests as they end, and the [`Board`] as it stands at the scrape.

use crate::board::{Board, GroupBoard, StageBoard};
use crate::request::{Cause, Course};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use statmux_core::{Group, ModelId};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// All metrics of a server.
#[derive(Debug)]
pub struct Statistics {
    registry: Registry,
    names: Vec<String>,
    counts: Counts,
    models: Vec<ModelStatistics>,
    /// Open connections.
    pub connections: Gauge,
}

/// What is counted for as long as the server runs, whatever it serves.
#[derive(Clone, Debug)]
struct Counts {
    requests: Family<RequestLabels, Counter>,
    seconds: Histograms,
    queue: Histograms,
    connections: Gauge,
}

type Histograms = Family<ModelLabels, Histogram, fn() -> Histogram>;

/// Handles for one model, so that counting needs no look-up.
#[derive(Debug)]
struct ModelStatistics {
    in_slo: Counter,
    late: Counter,
    refused: Vec<(&'static str, Counter)>,
    seconds: Histogram,
    queue_seconds: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    model: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

/// Why requests are refused, as named by [`Cause::name`].
const REFUSED: [&str; 11] = [
    "too_late",
    "queue_full",
    "no_replica",
    "group_lost",
    "cancelled",
    "draining",
    "replacing",
    "overloaded",
    "bad_input",
    "out_of_memory",
    "backend_failed",
];

fn histogram() -> Histogram {
    // From 1 ms to 65 s.
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

impl Statistics {
    /// Metrics for the given models, groups and board.
    pub fn new(models: &[String], groups: Vec<Group>, board: Arc<Board>) -> Self {
        let counts = Counts {
            requests: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            queue: Family::new_with_constructor(histogram),
            connections: Gauge::default(),
        };
        Self::with_counts(counts, models.to_vec(), groups, board)
    }

    /// The same counts going on, for other groups and their board.
    pub(crate) fn succeeded(&self, groups: Vec<Group>, board: Arc<Board>) -> Self {
        Self::with_counts(self.counts.clone(), self.names.clone(), groups, board)
    }

    fn with_counts(counts: Counts, models: Vec<String>, groups: Vec<Group>, board: Arc<Board>) -> Self {
        let mut registry = Registry::with_prefix("statmux");
        let Counts { requests, seconds, queue, connections } = counts.clone();
        registry.register("requests", "Requests by model and outcome", requests.clone());
        registry.register("request_seconds", "Time from arrival to answer of served requests", seconds.clone());
        registry.register("request_queue_seconds", "Time from arrival to launch of served requests", queue.clone());
        registry.register("connections", "Open client connections", connections.clone());
        let per_model = |model: &String| {
            let count = |outcome| requests.get_or_create_owned(&RequestLabels { model: model.clone(), outcome });
            let labels = ModelLabels { model: model.clone() };
            ModelStatistics {
                in_slo: count("in_slo"),
                late: count("late"),
                refused: REFUSED.map(|outcome| (outcome, count(outcome))).to_vec(),
                seconds: seconds.get_or_create_owned(&labels),
                queue_seconds: queue.get_or_create_owned(&labels),
            }
        };
        let per_model = models.iter().map(per_model).collect();
        registry.register_collector(Box::new(BoardCollector { board, groups, models: models.clone() }));
        Self { registry, names: models, counts, models: per_model, connections }
    }

    pub(crate) fn served(&self, model: ModelId, course: &Course) {
        let model = &self.models[model.index()];
        let counter = if course.in_slo { &model.in_slo } else { &model.late };
        counter.inc();
        model.seconds.observe(course.finished.since(course.arrived).seconds());
        model.queue_seconds.observe(course.started.since(course.arrived).seconds());
    }

    pub(crate) fn refused(&self, model: ModelId, cause: &Cause) {
        let name = cause.name();
        let counters = &self.models[model.index()].refused;
        if let Some((_, counter)) = counters.iter().find(|(outcome, _)| *outcome == name) {
            counter.inc();
        }
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("writing to a string succeeds");
        text
    }
}

/// Reads the board at each scrape.
#[derive(Debug)]
struct BoardCollector {
    board: Arc<Board>,
    groups: Vec<Group>,
    models: Vec<String>,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct GroupLabels {
    group: u32,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct StageLabels {
    group: u32,
    stage: u32,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct DeviceLabels {
    device: u32,
    group: u32,
    stage: u32,
}

#[derive(Clone, Debug, EncodeLabelSet)]
struct KindLabels {
    group: u32,
    stage: u32,
    kind: &'static str,
}

const NANOS: f64 = 1e-9;

impl Collector for BoardCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let models = self
            .models
            .iter()
            .zip(&self.board.waiting)
            .map(|(model, waiting)| (ModelLabels { model: model.clone() }, ConstGauge::new(waiting.load(Relaxed))));
        family(&mut encoder, "queue_length", "Requests that wait for a first stage", models)?;
        self.encode_groups(&mut encoder)?;
        self.encode_stages(&mut encoder)
    }
}

impl BoardCollector {
    fn encode_groups(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let up = |group: &GroupBoard| ConstGauge::new(i64::from(group.up.load(Relaxed)));
        let running = |group: &GroupBoard| ConstGauge::new(group.running.load(Relaxed));
        let restarts = |group: &GroupBoard| ConstCounter::new(group.restarts.load(Relaxed));
        family(encoder, "group_up", "Whether a group takes work", self.groups(up))?;
        family(encoder, "group_batches", "Batches inside a group", self.groups(running))?;
        family(encoder, "group_restarts", "How often a group was started again", self.groups(restarts))
    }

    fn encode_stages(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let seconds = self.stages(|labels, _, stage| {
            let kind = |kind, nanos: &AtomicU64| {
                let labels = KindLabels { group: labels.group, stage: labels.stage, kind };
                (labels, ConstCounter::new(nanos.load(Relaxed) as f64 * NANOS))
            };
            vec![kind("actual", &stage.busy_ns), kind("predicted", &stage.predicted_ns)]
        });
        family(encoder, "stage_seconds", "Computing time of a stage, as predicted and as measured", seconds)?;
        let laps = self.stages(|labels, _, stage| vec![(labels, ConstCounter::new(stage.laps.load(Relaxed)))]);
        family(encoder, "stage_laps", "Laps that a stage has run", laps)?;
        let busy = self.devices(|stage| ConstCounter::new(stage.busy_ns.load(Relaxed) as f64 * NANOS));
        family(encoder, "device_busy_seconds", "Time that a device spent computing", busy)?;
        let utilisation = self.devices(|stage| ConstGauge::new(stage.utilisation_ppm.load(Relaxed) as f64 * 1e-6));
        family(encoder, "device_utilization", "Share of the last second that a device spent computing", utilisation)?;
        let memory = self.devices(|stage| ConstGauge::new(stage.memory.load(Relaxed) as i64));
        family(encoder, "device_memory_bytes", "Memory in use on the fullest device of a stage", memory)
    }

    fn groups<M>(&self, of: impl Fn(&GroupBoard) -> M) -> impl Iterator<Item = (GroupLabels, M)> {
        self.board.groups.iter().enumerate().map(move |(index, group)| (GroupLabels { group: index as u32 }, of(group)))
    }

    fn stages<L, M>(
        &self,
        of: impl Fn(StageLabels, &Group, &StageBoard) -> Vec<(L, M)>,
    ) -> impl Iterator<Item = (L, M)> {
        let mut all = Vec::new();
        for (index, (group, board)) in self.groups.iter().zip(&self.board.groups).enumerate() {
            for (stage, board) in board.stages.iter().enumerate() {
                all.extend(of(StageLabels { group: index as u32, stage: stage as u32 }, group, board));
            }
        }
        all.into_iter()
    }

    fn devices<M>(&self, of: impl Fn(&StageBoard) -> M) -> impl Iterator<Item = (DeviceLabels, M)> {
        self.stages(move |labels, group, board| {
            let StageLabels { group: id, stage } = labels;
            let label = |device: u32| DeviceLabels { device, group: id, stage };
            group.stage_devices(stage as usize).iter().map(|device| (label(device.0), of(board))).collect()
        })
    }
}

/// Writes one metric with all its label sets.
fn family<L: EncodeLabelSet, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metrics: impl Iterator<Item = (L, M)>,
) -> fmt::Result {
    let mut metrics = metrics.peekable();
    let kind = metrics.peek().map_or(MetricType::Unknown, |(_, metric)| metric.metric_type());
    let mut encoder: MetricEncoder<'_> = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, metric) in metrics {
        metric.encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}
