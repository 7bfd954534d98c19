//! The process as the system sees it, under the names that Prometheus' own clients use.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;

/// Reads the state of this process at each scrape; what the system does not tell is left out.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut write = |name: &str, help: &str, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        if let Some(seconds) = cpu_seconds() {
            write(
                "process_cpu_seconds",
                "Processor time used, user and system together.",
                &ConstCounter::new(seconds),
            )?;
        }
        if let Some(seconds) = start_seconds() {
            let help = "When the process started, in seconds since 1970.";
            write("process_start_time_seconds", help, &ConstGauge::new(seconds))?;
        }
        if let Some(files) = open_files() {
            write("process_open_fds", "Open files, connections among them.", &ConstGauge::new(files))?;
        }
        if let Some(files) = most_files() {
            write("process_max_fds", "The most files that may be open.", &ConstGauge::new(files))?;
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let sizes = [
            ("process_resident_memory_bytes", "Memory in use.", "VmRSS:"),
            ("process_virtual_memory_bytes", "Address space in use.", "VmSize:"),
        ];
        for (name, help, key) in sizes {
            if let Some(kibibytes) = status_field(&status, key) {
                write(name, help, &ConstGauge::new(kibibytes * 1024.0))?;
            }
        }
        if let Some(threads) = status_field(&status, "Threads:") {
            write("process_threads", "Threads of the process.", &ConstGauge::new(threads))?;
        }
        Ok(())
    }
}

/// The number after `key` in the text of `/proc/self/status`.
fn status_field(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(unix)]
fn cpu_seconds() -> Option<f64> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 * 1e-6)
}

#[cfg(unix)]
fn most_files() -> Option<f64> {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft as f64)
}

#[cfg(not(unix))]
fn cpu_seconds() -> Option<f64> {
    None
}

#[cfg(not(unix))]
fn most_files() -> Option<f64> {
    None
}

fn open_files() -> Option<f64> {
    // One of them is the folder that is being read.
    std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1) as f64)
}

/// Linux counts in hundredths of a second towards programs, whatever its clock does.
const TICKS_PER_SECOND: f64 = 100.0;

fn start_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    started_ticks(&stat).map(|ticks| boot + ticks / TICKS_PER_SECOND)
}

/// Field 22 of `/proc/self/stat`: ticks from the system's start to the process'. The second field is the program's
/// name in brackets, which may hold anything.
fn started_ticks(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_brackets_and_spaces_do_not_shift_fields() {
        let rest = "S 1 1 1 0 -1 4194304 1 0 0 0 5 6 0 0 20 0 3 0 12345 1000 200";
        for name in ["statmux", "a b", "a) (b", ") S 9"] {
            assert_eq!(started_ticks(&format!("7 ({name}) {rest}")), Some(12345.0), "{name}");
        }
        assert_eq!(started_ticks("7 (x) S"), None);
        assert_eq!(status_field("VmSize:\t  10 kB\nVmRSS:\t   4 kB\n", "VmRSS:"), Some(4.0));
    }
}
