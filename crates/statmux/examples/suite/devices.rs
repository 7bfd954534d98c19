//! How many devices a policy needs to keep 99 % of the promises of a scenario's test window.

use super::Result;
use super::case::Case;
use super::rows::{DEVICES, Rows};
use std::path::Path;

const TARGET: f64 = 0.99;

/// At most this many times the scenario's devices are tried.
const MOST: u32 = 3;

/// Adds the rows of one scenario that are missing; `budget` is the time of each of our searches.
pub(super) fn run(path: &Path, budget: &str) -> Result<()> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut devices = 0;
    Case::load(path, |table| devices = device_count(table).unwrap_or(0))?;
    if devices == 0 {
        println!("{name}: devices of several kinds are not counted");
        return Ok(());
    }
    for policy in ["alpaserve-buckets", "statmux"] {
        if Rows::read(DEVICES)?.find(&[&name, policy]).is_some() {
            continue;
        }
        let keys = if policy == "statmux" { format!("statmux:budget=\"{budget}\"") } else { policy.to_owned() };
        let mut seconds = 0.0;
        let mut reaches = |count: u32| -> Result<bool> {
            let case = Case::load(path, |table| set_devices(table, count))?;
            let scored = case.score(&keys)?;
            seconds += scored.seconds;
            Ok(scored.test >= TARGET)
        };
        // Attainment hardly ever falls when a device is added; where it does, this finds one of the answers.
        let (mut too_few, mut enough) = (0, devices);
        while enough <= MOST * devices && !reaches(enough)? {
            too_few = enough;
            enough += devices.div_ceil(2);
        }
        let found = enough <= MOST * devices;
        while found && enough - too_few > 1 {
            let middle = too_few + (enough - too_few) / 2;
            if reaches(middle)? { enough = middle } else { too_few = middle }
        }
        let shown = if found { enough.to_string() } else { "none".to_owned() };
        println!("{name:<24} {policy:<20} {shown} devices, {seconds:.1} s of planning");
        Rows::add(DEVICES, &format!("{name},{policy},{shown},{seconds:.2}"))?;
    }
    Ok(())
}

fn device_count(table: &toml::Table) -> Option<u32> {
    table.get("cluster")?.get("devices")?.as_integer()?.try_into().ok()
}

fn set_devices(table: &mut toml::Table, count: u32) {
    if let Some(cluster) = table.get_mut("cluster").and_then(toml::Value::as_table_mut) {
        cluster.insert("devices".to_owned(), toml::Value::Integer(count.into()));
    }
}
