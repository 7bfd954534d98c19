//! The tables of the report: machine, software, models.

use super::FigureInfo;
use crate::artwork::Artwork;
use crate::error::FiguresError;
use crate::lab::Lab;
use statmux_report::number;
use statmux_report::table::{Cell, Column, Table};

pub(super) const MACHINE: FigureInfo =
    FigureInfo { name: "table1", about: "the machine of the report and this one", draw: machine };
pub(super) const SOFTWARE: FigureInfo =
    FigureInfo { name: "table2", about: "the software that was needed then and is needed now", draw: software };
pub(super) const MODELS: FigureInfo =
    FigureInfo { name: "table3", about: "sizes and latencies of the models, and how many each set has", draw: models };

/// The value of the first line of a file of the system that begins with `key`.
fn system(path: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line[key.len()..].trim_start_matches([' ', '\t', ':', '=']).trim_matches('"').to_owned())
}

fn machine(_: &Lab) -> Result<Artwork, FiguresError> {
    let unknown = || "not known here".to_owned();
    let threads = std::thread::available_parallelism().map_or_else(|_| unknown(), |count| count.to_string());
    let memory = system("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let memory = memory.map_or_else(unknown, |kib| format!("{} GB", number::significant(kib * 1024.0 / 1e9, 2)));
    let rows = [
        ("processor", "AMD Ryzen 9 7950X", system("/proc/cpuinfo", "model name").unwrap_or_else(unknown)),
        ("hardware threads", "32", threads),
        ("memory", "64 GB", memory),
        ("accelerator", "RTX 4090, 24 GB, compute capability 8.9", "none needed: devices are simulated".to_owned()),
        (
            "system",
            "Ubuntu 22.04",
            system("/etc/os-release", "PRETTY_NAME").unwrap_or_else(|| std::env::consts::OS.to_owned()),
        ),
    ];
    let mut table = Table::new([Column::text(""), Column::text("report"), Column::text("this run")]);
    rows.into_iter().for_each(|(what, report, here)| table.row([what, report, here.as_str()]));
    Ok(Artwork::table("Machine", table).saying("The figures need no accelerator."))
}

fn software(_: &Lab) -> Result<Artwork, FiguresError> {
    let version = format!("statmux {}", env!("CARGO_PKG_VERSION"));
    let mut table = Table::new(["", "report, first", "report, second", "report, third", "now"].map(Column::text));
    let rows = [
        ["language", "Python 3.10", "Python 3.9", "Python 3.8", "none: one binary"],
        ["CUDA", "12.3", "11.3", "11.2", "none, for planning and simulation"],
        ["Ray", "2.8", "2.1", "not stated", "none: threads"],
        ["jaxlib", "no build", "0.3.22", "not stated", "none"],
        ["result", "no jaxlib or cupy", "all work (Ubuntu 22.04)", "works; Ubuntu 20.04 marked failing", "works"],
        ["version", "", "", "", &version],
    ];
    rows.into_iter().for_each(|row| table.row(row));
    Ok(Artwork::table("Software", table)
        .saying("Three software stacks were tried, of which two worked; now it is one binary without dependencies."))
}

/// Name in profiles, name in the report, how many in S1, S2 and S3.
const SETS: [(&str, &str, [u32; 3]); 6] = [
    ("bert-1.3b", "BERT-1.3B", [32, 0, 10]),
    ("bert-2.6b", "BERT-2.7B (2.6B)", [0, 0, 10]),
    ("bert-6.7b", "BERT-6.7B", [0, 32, 10]),
    ("moe-1.3b", "MoE-1.3B", [0, 0, 10]),
    ("moe-2.4b", "MoE-2.4B", [0, 0, 10]),
    ("moe-5.3b", "MoE-5.3B", [0, 0, 10]),
];

fn models(lab: &Lab) -> Result<Artwork, FiguresError> {
    let mut table = Table::new([
        Column::text("model"),
        Column::number("weights").key("weights_gb"),
        Column::number("latency").key("latency_s"),
        Column::number("in S1").key("s1"),
        Column::number("in S2").key("s2"),
        Column::number("in S3").key("s3"),
        Column::text("provenance"),
    ]);
    for (profile, name, counts) in SETS {
        let model = lab.support.model(profile)?;
        let bytes = model.config(statmux_core::ParallelConfig::SINGLE).map_or(0, |c| c.largest_stage_weight().get());
        let provenance = if profile.starts_with("bert") {
            "published, in the paper and the report"
        } else {
            "published in the paper, left out of the report; weights checked by their sum only"
        };
        let cells = [
            Cell::from(name),
            Cell::significant(bytes as f64 / 1e9, 3),
            Cell::latency(model.single_device_seconds().unwrap_or(f64::NAN)),
        ];
        let counts = counts.map(|count| Cell::count(u64::from(count)));
        table.row(cells.into_iter().chain(counts).chain([Cell::from(provenance)]));
    }
    Ok(Artwork::table("Models", table)
        .saying("One request takes 150 to 395 ms on a V100; weights take 2.4 to 13.4 GB of its 13 GiB."))
}
