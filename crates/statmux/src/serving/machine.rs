//! What this machine is, for the provenance of measurements.

/// The processor's name, if the system says.
pub(crate) fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| format!("a {} processor", std::env::consts::ARCH), |(_, name)| name.trim().to_owned())
}

/// The processor, how many of its cores may be used, and the system.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} ({cores} cores), {}", processor(), std::env::consts::OS)
}
