//! Planning for many models, devices and requests: how long it takes and how much memory.

use super::Result;
use super::case::Case;
use super::rows::{Rows, SCALE};
use std::path::Path;

/// Neighbours that are tried, so that the work does not depend on a clock.
const MOVES: u32 = 200;

/// Requests a second for each device: as in the suite's mixed scenarios.
const RATE: f64 = 2.0;

/// Plans for a cluster of this size, and adds a row.
pub(super) fn run(models: usize, devices: usize, requests: usize) -> Result<()> {
    let rate = RATE * devices as f64;
    let seconds = requests as f64 / rate;
    let kinds = ["bert-1.3b", "bert-2.6b", "bert-6.7b", "moe-1.3b", "moe-2.4b", "moe-5.3b"];
    let mut text = format!(
        "version = 1\nseed = 0\n[cluster]\ndevices = {devices}\ndevices_per_node = 8\nmemory = \"13 GiB\"\n\
         [profiles]\nfiles = [\"../profiles/v100-alpaserve-scaled.json\"]\n\
         [workload]\nkind = \"gamma\"\nrate = {rate:.1}\ncv = 4\nduration = \"{:.1} s\"\nsplit = {{ power_law = 0.5 }}\n\
         [workload.train]\nduration = \"{seconds:.1} s\"\n\
         [simulation]\nfixed_overhead = \"11 ms\"\nstage_penalty = 0.009\ndispatch = \"least-clock\"\n\
         admission = \"deadline\"\ndiscipline = \"fcfs\"\n",
        (seconds / 10.0).max(30.0)
    );
    for (position, kind) in kinds.iter().enumerate() {
        let count = (models + kinds.len() - 1 - position) / kinds.len();
        text.push_str(&format!(
            "[[models]]\nname = \"{kind}-{{i}}\"\ncount = {count}\nprofile = \"{kind}\"\nslo = {{ scale = 5.0 }}\n"
        ));
    }
    let case = Case::parse(Path::new("scenarios/scale.toml"), &text)?;
    let scored = case.score(&format!("statmux:moves={MOVES},smaller=0"))?;
    println!("{}", scored.line(&format!("{models}/{devices}/{requests}"), "statmux"));
    let peak = peak_bytes()?;
    let (train, test, bound) = (scored.train, scored.test, scored.fixed_bound);
    Rows::add(SCALE, &format!("{models},{devices},{requests},{:.2},{peak},{train},{test},{bound}", scored.seconds))
}

/// The most memory that this process ever held, scoring included; Linux only.
fn peak_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak memory is told")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}
