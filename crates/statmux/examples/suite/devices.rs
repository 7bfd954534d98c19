//! How many devices a policy needs to keep 99 % of the promises of a scenario's test window.

use super::Result;
use super::case::Case;
use super::rows::{DEVICES, Rows};
use statmux_scenario::Override;
use std::path::Path;

const TARGET: f64 = 0.99;

/// The key that counts devices.
const COUNT: &str = "cluster.devices";

/// At most this many times the scenario's devices are tried.
const MOST: u32 = 3;

/// Adds the rows of one scenario that are missing; `budget` is the time of each of our searches.
pub(super) fn run(path: &Path, budget: &str) -> Result<()> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let Some(devices) = Override::value_in(path, &[], COUNT).map(|devices| devices as u32) else {
        println!("{name}: devices of several kinds are not counted");
        return Ok(());
    };
    for policy in ["alpaserve-buckets", "statmux"] {
        if Rows::read(DEVICES)?.find(&[&name, policy]).is_some() {
            continue;
        }
        let keys = if policy == "statmux" { format!("statmux:budget=\"{budget}\"") } else { policy.to_owned() };
        let mut seconds = 0.0;
        let mut reaches = |count: u32| -> Result<bool> {
            let devices = Override::parse(&format!("{COUNT}={count}"))?;
            let case = Case::load(path, &[devices])?;
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
