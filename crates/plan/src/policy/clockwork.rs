//! Clockwork++: selective replication anew for every window of the trace, with free and instant swaps.
//!
//! An upper bound on systems that swap models: it sees each window's requests before they come, and loading
//! costs nothing.

use super::selective_replication::SelectiveReplication;
use super::{Parameter, Plan, PlanError, Policy, PolicyInfo, Search};
use crate::enumerate::in_device_order;
use crate::evaluate::Evaluator;
use crate::problem::Problem;
use rayon::prelude::*;
use statmux_core::{Placement, PlacementWindows, Span, Time, Window, Workload};
use std::ops::Range;

/// Selective replication for each window's own requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clockwork {
    /// A window opens at the first arrival more than this after the last one opened.
    pub interval: Span,
}

pub(super) const INFO: PolicyInfo = PolicyInfo {
    name: "clockwork++",
    about: "selective replication anew in every window, knowing its requests, with free and instant swaps",
    published: true,
    clairvoyant: true,
    replaces: true,
    improves: false,
    parameters: &[Parameter { key: "interval", about: "length of a window (60 s)" }],
    build: |parameters| Box::new(Clockwork { interval: parameters.interval.unwrap_or(Span::from_millis(60_000)) }),
};

impl Clockwork {
    /// The requests of each window. The first request of a window opens it and is counted to it, although at run
    /// time, as published, the placement before still serves it: a placement takes over strictly after its start.
    pub fn windows(&self, workload: &Workload) -> Vec<Range<usize>> {
        let mut windows = Vec::new();
        let mut from = 0;
        while let Some(opens) = workload.arrived.get(from) {
            // In seconds, as published: an arrival exactly at the end falls where it fell there.
            let ends = opens.seconds() + self.interval.seconds();
            let until = workload.arrived.partition_point(|arrived| arrived.seconds() <= ends).max(from + 1);
            windows.push(from..until);
            from = until;
        }
        windows
    }
}

impl Policy for Clockwork {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn place(&self, search: &Search<'_>) -> Result<Plan, PlanError> {
        let Search { problem, evaluator, progress } = *search;
        let place = |range: Range<usize>| -> Result<Option<Window>, PlanError> {
            if progress.stop() {
                return Ok(None);
            }
            let starts = problem.train.arrived[range.start];
            let train = problem.train.slice(range);
            let problem = Problem { train: &train, ..*problem };
            let own = Evaluator::new(&problem);
            let found = SelectiveReplication.search(&Search { problem: &problem, evaluator: &own, progress })?;
            evaluator.count(own.evaluations());
            search.report(&format!("window from {starts}"), &found.score);
            Ok(Some(Window { starts, placement: in_device_order(found.placement, problem.cluster) }))
        };
        let windows: Vec<_> = self.windows(problem.train).into_par_iter().with_max_len(1).map(place).collect();
        let windows = windows.into_iter().filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?;
        let count = windows.len();
        let mut plan = if windows.is_empty() {
            search.plan_windows(PlacementWindows(vec![Window { starts: Time::ZERO, placement: Placement::default() }]))
        } else {
            search.plan_windows(PlacementWindows(windows))
        };
        plan.notes.push(format!(
            "{count} windows of {}: every placement was chosen knowing its window's requests, and swaps are free.",
            self.interval
        ));
        Ok(plan)
    }
}
