//! What the [`Board`] shows, read at each scrape.

use crate::board::{Board, GroupBoard, StageBoard};
use crate::statistics::ModelLabels;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use statmux_core::Group;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Reads the board at each scrape.
#[derive(Debug)]
pub(super) struct BoardCollector {
    pub(super) board: Arc<Board>,
    pub(super) groups: Vec<Group>,
    pub(super) models: Vec<String>,
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
        let help = "Requests that wait for a first stage.";
        family(&mut encoder, ("queue_length", MetricType::Gauge), help, models)?;
        self.encode_groups(&mut encoder)?;
        self.encode_stages(&mut encoder)
    }
}

impl BoardCollector {
    fn encode_groups(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let up = |group: &GroupBoard| ConstGauge::new(i64::from(group.up.load(Relaxed)));
        let running = |group: &GroupBoard| ConstGauge::new(group.running.load(Relaxed));
        let restarts = |group: &GroupBoard| ConstCounter::new(group.restarts.load(Relaxed));
        family(encoder, ("group_up", MetricType::Gauge), "Whether a group takes work.", self.groups(up))?;
        family(encoder, ("group_batches", MetricType::Gauge), "Batches inside a group.", self.groups(running))?;
        family(
            encoder,
            ("group_restarts", MetricType::Counter),
            "How often a group was started again.",
            self.groups(restarts),
        )
    }

    fn encode_stages(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let seconds = self.stages(|labels, _, stage| {
            let kind = |kind, nanos: &AtomicU64| {
                let labels = KindLabels { group: labels.group, stage: labels.stage, kind };
                (labels, ConstCounter::new(nanos.load(Relaxed) as f64 * NANOS))
            };
            vec![kind("actual", &stage.busy_ns), kind("predicted", &stage.predicted_ns)]
        });
        family(
            encoder,
            ("stage_seconds", MetricType::Counter),
            "Computing time of a stage, as predicted and as measured.",
            seconds,
        )?;
        let laps = self.stages(|labels, _, stage| vec![(labels, ConstCounter::new(stage.laps.load(Relaxed)))]);
        family(encoder, ("stage_laps", MetricType::Counter), "Laps that a stage has run.", laps)?;
        let busy = self.devices(|stage| ConstCounter::new(stage.busy_ns.load(Relaxed) as f64 * NANOS));
        family(encoder, ("device_busy_seconds", MetricType::Counter), "Time that a device spent computing.", busy)?;
        let utilisation = self.devices(|stage| ConstGauge::new(stage.utilisation_ppm.load(Relaxed) as f64 * 1e-6));
        family(
            encoder,
            ("device_utilization", MetricType::Gauge),
            "Share of the last second that a device spent computing.",
            utilisation,
        )?;
        let memory = self.devices(|stage| ConstGauge::new(stage.memory.load(Relaxed) as i64));
        family(
            encoder,
            ("device_memory_bytes", MetricType::Gauge),
            "Memory in use on the fullest device of a stage.",
            memory,
        )
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

/// Writes one metric with all its label sets; its name and type stand there even where there are none.
fn family<L: EncodeLabelSet, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, kind): (&str, MetricType),
    help: &str,
    metrics: impl Iterator<Item = (L, M)>,
) -> fmt::Result {
    let mut encoder: MetricEncoder<'_> = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, metric) in metrics {
        metric.encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}
