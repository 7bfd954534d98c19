//! Workloads that a requests file lists.

use super::remark::{spread, start_at, starts_late, whole_seconds};
use super::trace::clock_time;
use super::{Built, Site, WorkloadTable};
use crate::clock::Epoch;
use crate::names::Names;
use crate::recorded::OwnClock;
use crate::requests;
use statmux_core::files::{FileError, Quantity};
use statmux_core::{Span, Time};

impl WorkloadTable {
    pub(super) fn build_requests(&self, site: &Site<'_>, model_names: &[String]) -> Result<Built, FileError> {
        let file = self.file.as_ref().ok_or_else(|| site.error("file", "is missing: which requests file?"))?;
        let path = site.resolve(file);
        let (start, end) = self.window_bounds(site)?;
        let read = requests::read(&path, Names::closed(model_names), self.columns.as_ref())?;
        let mut workload = read.workload;
        let Some((&first, &last)) = workload.arrived.first().zip(workload.arrived.last()) else {
            return Err(FileError::whole(&path, "holds no requests"));
        };
        let own = OwnClock::of(&read.clock, first);
        let mut remarks = own.remarks;
        let mut offset = first.since(own.zero) + own.taken_off;
        let mut starts = first;
        if self.window.is_some() {
            starts = own.zero + start.unwrap_or_default().since(Time::ZERO);
            let ends = end.map_or(Time::NEVER, |end| own.zero + end.since(Time::ZERO));
            let from = workload.arrived.partition_point(|&at| at < starts);
            let to = workload.arrived.partition_point(|&at| at < ends).max(from);
            if from == to {
                let (first, last) = (clock_time(Time::ZERO + first.since(own.zero)), Time::ZERO + last.since(own.zero));
                let help = format!("the requests cover {first} to {} (day.hour.minute)", clock_time(last));
                return Err(site.error("window", "holds no request").with_help(help));
            }
            workload = workload.slice(from..to);
            offset = Span::ZERO;
        } else if remarks.is_empty() {
            remarks.extend(starts_late(offset, last.since(first)));
        }
        start_at(&mut workload, starts);
        let last = workload.arrived.last().copied().unwrap_or_default().since(Time::ZERO);
        workload.duration = match end {
            Some(end) => end.since(start.unwrap_or_default()),
            None => last,
        };
        if let Some(Quantity(duration)) = self.duration {
            if duration == Span::ZERO {
                return Err(site.error("duration", "is 0: for how long were requests collected?"));
            }
            if duration < last {
                let last = last.seconds();
                return Err(site.error("duration", format!("ends before the last request, which arrives at {last} s")));
            }
            workload.duration = duration;
        }
        let warnings: Vec<String> = spread(&workload).into_iter().collect();
        if warnings.is_empty() && read.clock.epoch() == Epoch::Own {
            remarks.extend(whole_seconds(&workload));
        }
        let named = |text: String| format!("{}: {text}", file.display());
        Ok(Built {
            workload,
            provenance: format!("requests as listed in {}", file.display()),
            offset,
            remarks: remarks.into_iter().map(named).collect(),
            warnings: warnings.into_iter().map(named).collect(),
        })
    }

    /// Where the window that was asked for starts and ends.
    pub(super) fn window_bounds(&self, site: &Site<'_>) -> Result<(Option<Time>, Option<Time>), FileError> {
        let (start, end) = self.window.map_or((None, None), |window| (window.start, window.end));
        let (start, end) = (start.map(|start| start.0), end.map(|end| end.0));
        if start.unwrap_or_default() >= end.unwrap_or(Time::NEVER) {
            return Err(site.error("window", "ends before it starts"));
        }
        Ok((start, end))
    }
}
