//! What splitting a model costs and brings: overheads, latency, throughput, memory, and the largest overhead that still
//! pays (paper 8, 9, 10 and 16). No simulation: arithmetic on the profile.

use super::FigureInfo;
use crate::artwork::Artwork;
use crate::error::FiguresError;
use crate::lab::Lab;
use crate::layers::ARCHITECTURES;
use statmux_core::{ModelProfile, ParallelConfig};
use statmux_plan::derive::{InterOpOverhead, inter_op_overhead, intra_op_overhead};
use statmux_report::chart::{Axis, BarChart, Chart, LineChart, Series};
use statmux_report::number;
use statmux_report::table::{Cell, Column, Table};

pub(super) const DECOMPOSITION: FigureInfo =
    FigureInfo { name: "paper8", about: "what the overhead of model parallelism is made of", draw: decomposition };
pub(super) const SCALING: FigureInfo =
    FigureInfo { name: "paper9", about: "latency, throughput and memory by degree of parallelism", draw: scaling };
pub(super) const QUEUEING: FigureInfo =
    FigureInfo { name: "paper10", about: "the largest overhead at which a pipeline still pays", draw: queueing };
pub(super) const PARTITION: FigureInfo = FigureInfo {
    name: "paper16",
    about: "overhead of stages cut by our partition and by equal numbers of layers",
    draw: partition,
};

const MODEL: &str = "bert-2.6b";
const DEGREES: [u32; 4] = [1, 2, 4, 8];
const MEASURED: &str = "Stage times were measured on BERT-1.3B on V100s and scaled to BERT-2.6B.";

/// Stage times at batch size 1.
fn stages(model: &ModelProfile, config: ParallelConfig) -> Result<&[f64], FiguresError> {
    let missing = || FiguresError::Embedded(format!("{} has no profile of {config}", model.name));
    let profile = model.config(config).ok_or_else(missing)?;
    profile.stage_seconds.get(&1).map(Vec::as_slice).ok_or_else(missing)
}

fn largest(stages: &[f64]) -> f64 {
    stages.iter().copied().fold(0.0, f64::max)
}

/// Overheads in seconds of busy time, as published: (communication, unevenness) between stages, and communication
/// within operators.
fn overheads(model: &ModelProfile, devices: u32) -> Result<(f64, f64, f64), FiguresError> {
    let alone: f64 = stages(model, ParallelConfig::SINGLE)?.iter().sum();
    let pipeline = stages(model, ParallelConfig::new(1, devices))?;
    let InterOpOverhead { communication, uneven_partition } = inter_op_overhead(alone, pipeline);
    let split: f64 = stages(model, ParallelConfig::new(devices, 1))?.iter().sum();
    Ok((communication, uneven_partition, intra_op_overhead(alone, split, devices)))
}

fn decomposition(lab: &Lab) -> Result<Artwork, FiguresError> {
    let model = lab.support.model(MODEL)?;
    let mut table = Table::new([
        Column::number("devices"),
        Column::number("inter-op: communication").key("inter_op_communication_s"),
        Column::number("inter-op: uneven stages").key("inter_op_uneven_s"),
        Column::number("intra-op: communication").key("intra_op_communication_s"),
    ]);
    let mut bars = [Vec::new(), Vec::new(), Vec::new()];
    for devices in DEGREES {
        let (communication, uneven, within) = overheads(model, devices)?;
        let values = [communication, uneven, within];
        if devices > 1 {
            bars.iter_mut().zip(values).for_each(|(bars, value)| bars.push(value * 1000.0));
        }
        let cells = values.map(Cell::latency);
        table.row([Cell::count(u64::from(devices))].into_iter().chain(cells));
    }
    let [communication, uneven, within] = bars;
    let (inter, intra) = (communication[2] + uneven[2], within[2]);
    let share = uneven[2] / inter.max(f64::MIN_POSITIVE);
    let y = Axis::linear("Device time lost per request").unit("ms").from(0.0);
    let chart = BarChart::new(y, DEGREES[1..].iter().map(|devices| format!("{devices} devices")))
        .series("inter-op: communication", communication)
        .series("inter-op: uneven stages", uneven)
        .series("intra-op: communication", within);
    let message = format!(
        "On 8 devices splitting operators costs {} ms of device time per request, all of it communication; a pipeline loses {} \
         ms, {} of it because its stages are uneven.",
        number::significant(intra, 3),
        number::significant(inter, 3),
        number::percent(share),
    );
    Ok(Artwork::new("What model parallelism costs, BERT-2.6B", chart.into(), table).saying(message).noting(MEASURED))
}

fn scaling(lab: &Lab) -> Result<Artwork, FiguresError> {
    let model = lab.support.model(MODEL)?;
    let weight = |config: ParallelConfig| {
        let profile = model.config(config).map(|profile| profile.stage_weights.iter().map(|w| w.get()).sum::<u64>());
        profile.unwrap_or_default() as f64 * f64::from(config.op) / 1e9
    };
    let mut lines: Vec<[Vec<(f64, f64)>; 3]> = vec![Default::default(); 3];
    let mut table = Table::new([
        Column::number("devices"),
        Column::text("how"),
        Column::number("latency").key("latency_s"),
        Column::number("throughput").key("throughput_rps"),
        Column::number("memory").key("memory_gb"),
    ]);
    let names = ["intra-op", "inter-op", "replication"];
    for devices in DEGREES {
        let n = f64::from(devices);
        let alone: f64 = stages(model, ParallelConfig::SINGLE)?.iter().sum();
        let (split, pipeline) = (ParallelConfig::new(devices, 1), ParallelConfig::new(1, devices));
        let within: f64 = stages(model, split)?.iter().sum();
        let stages = stages(model, pipeline)?;
        let rows = [
            [within, 1.0 / within, weight(split)],
            [stages.iter().sum(), 1.0 / largest(stages), weight(pipeline)],
            [alone, n / alone, n * weight(ParallelConfig::SINGLE)],
        ];
        for ((name, values), lines) in names.into_iter().zip(rows).zip(&mut lines) {
            lines.iter_mut().zip(values).for_each(|(line, value)| line.push((n, value)));
            let [latency, throughput, memory] = values;
            table.row([
                Cell::count(u64::from(devices)),
                Cell::from(name),
                Cell::latency(latency),
                Cell::significant(throughput, 4),
                Cell::significant(memory, 4),
            ]);
        }
    }
    let axes = [("Latency", "s"), ("Throughput", "requests/s"), ("Memory for weights", "GB")];
    let charts = axes.into_iter().enumerate().map(|(index, (title, unit))| {
        let x = Axis::linear("Devices").from(0.0);
        let chart = LineChart::new(x, Axis::linear(title).unit(unit).from(0.0));
        let chart = names
            .into_iter()
            .zip(&lines)
            .fold(chart, |chart, (name, lines)| chart.series(Series::new(name, lines[index].clone())));
        Chart::from(chart).title(title)
    });
    let message = "Splitting operators shortens a request, pipelines only carry more of them; replicas carry most but need \
                   memory for every copy.";
    Ok(Artwork::panels("One BERT-2.6B on 1 to 8 devices", 3, charts.collect(), table).saying(message).noting(MEASURED))
}

/// The longest stages, as a multiple α of perfect ones, at which a two-stage pipeline waits as long as two devices
/// apart, if every stage is slower by it; `r` is the load: arrivals per service time, below 2.
fn alpha(r: f64) -> f64 {
    let root = (64.0 - 96.0 * r + 56.0 * r * r - 12.0 * r.powi(3) + r.powi(4)).sqrt();
    (r * r - 8.0 + root) / (3.0 * (r * r - 2.0 * r))
}

/// The same if only the slowest stage is slower.
fn beta(r: f64) -> f64 {
    (r - (8.0 - 4.0 * r + r * r).sqrt()) / (r - 2.0)
}

fn queueing(_: &Lab) -> Result<Artwork, FiguresError> {
    // Steps of two hundredths; nothing here takes long enough to be shortened.
    let loads: Vec<f64> = (1..100).map(|step| f64::from(step) * 0.02).collect();
    let mut table = Table::new([Column::number("load"), Column::number("alpha"), Column::number("beta")]);
    for &load in &loads {
        table.row([load, alpha(load), beta(load)].map(|value| Cell::significant(value, 5)));
    }
    let line = |of: fn(f64) -> f64| loads.iter().map(|&load| (load, of(load))).collect::<Vec<_>>();
    let x = Axis::linear("Load (arrival rate × time per request)").from(0.0).to(2.0);
    let chart = LineChart::new(x, Axis::linear("Largest overhead that still pays").from(1.0))
        .series(Series::new("α: every stage slower (communication)", line(alpha)).without_markers())
        .series(Series::new("β: slowest stage slower (uneven)", line(beta)).without_markers());
    let (at, most) = loads.iter().map(|&r| (r, alpha(r))).fold((0.0, 0.0), |a, b| if b.1 > a.1 { b } else { a });
    let message = format!(
        "A pipeline of two stages may be up to {} slower everywhere and still answer as fast as two devices apart, at a load of \
         {}; near saturation, and for slower stages when idle, it may not be slower at all.",
        number::percent(most - 1.0),
        number::significant(at, 3),
    );
    Ok(Artwork::new("How much overhead a pipeline may have", chart.into(), table).saying(message).noting(
        "Two models, two devices, Poisson arrivals, equal service times: M/D/1 queues, compared with the better of all \
         splits of the load.",
    ))
}

fn partition(_: &Lab) -> Result<Artwork, FiguresError> {
    let mut table = Table::new([
        Column::text("model"),
        Column::number("stages"),
        Column::number("equal layers").key("equal_layers_overhead"),
        Column::number("our cut, whole blocks").key("cut_overhead"),
        Column::number("our cut, half blocks").key("cut_half_blocks_overhead"),
        Column::number("less by").key("reduction"),
    ]);
    let mut cases = Vec::new();
    let mut bars = [Vec::new(), Vec::new(), Vec::new()];
    let mut at_eight = Vec::new();
    for architecture in &ARCHITECTURES[..2] {
        for stages in &DEGREES[1..] {
            let overhead = |shares: Vec<f64>| f64::from(*stages) * largest(&shares) - 1.0;
            let equal = overhead(architecture.equal_shares(*stages as usize));
            let cut = overhead(architecture.shares(*stages as usize)?);
            let halves = overhead(architecture.half_block_shares(*stages as usize)?);
            let reduction = 1.0 - halves / equal;
            if *stages == 8 {
                at_eight.push(number::percent(reduction));
            }
            let size = architecture.name.trim_start_matches("bert-").to_uppercase();
            cases.push(format!("{size}, {stages} stages"));
            bars[0].push(equal);
            bars[1].push(cut);
            bars[2].push(halves);
            table.row([
                Cell::from(architecture.name),
                Cell::count(u64::from(*stages)),
                Cell::percent(equal),
                Cell::percent(cut),
                Cell::percent(halves),
                Cell::percent(reduction),
            ]);
        }
    }
    let [equal, cut, halves] = bars;
    let chart = BarChart::new(Axis::percent("Throughput lost to uneven stages").from(0.0), cases)
        .series("equal numbers of layers", equal)
        .series("our partition, whole blocks", cut)
        .series("our partition, attention and MLP apart", halves);
    let message = format!(
        "At 8 stages our partition loses {} (BERT-1.3B) and {} (BERT-2.6B) less than equal numbers of layers, if it may cut \
         between attention and MLP; of whole blocks, equal numbers are best already.",
        at_eight[0], at_eight[1]
    );
    Ok(Artwork::new("Stages of BERT by partition and by equal layers", chart.into(), table).saying(message).noting(
        "Published: 32.9 % and 46.7 % of all overhead, communication included. Time of blocks, embedding and output layer \
         measured on BERT-1.3B; for BERT-2.6B their ratio is derived from its width. Attention is taken for a third of a block, its \
         share of the weights.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_overheads_are_as_calculated() {
        let known = [
            (0.25, 1.0331, 1.3757),
            (0.5, 1.0692, 1.3333),
            (1.0, 1.1315, 1.2361),
            (1.25, 1.1365, 1.1813),
            (1.75, 1.0610, 1.0623),
        ];
        for (r, a, b) in known {
            assert!((alpha(r) - a).abs() < 6e-5 && (beta(r) - b).abs() < 6e-5, "{r}: {} {}", alpha(r), beta(r));
        }
        // Substituted back, waiting is the same on both sides.
        for r in [0.3, 0.9, 1.6] {
            let apart = 1.0 + r / (4.0 - 2.0 * r);
            let stage = alpha(r) / 2.0;
            let pipeline = alpha(r) + r * stage * stage / (2.0 * (1.0 - r * stage));
            assert!((apart - pipeline).abs() < 1e-12, "{r}");
        }
    }
}
