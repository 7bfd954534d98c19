//! Progress of long work, on stderr and only when somebody watches.

use crate::args::Common;
use crate::interrupt;
use crate::output::say;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use statmux_plan::{Progress, Report};
use std::fmt::Write;
use std::io::IsTerminal;

/// A line on stderr that says how far the work is; nothing when stderr is no terminal or talk is off.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    quiet: bool,
}

impl Bar {
    /// A bar over `steps` steps; without a number, a spinner.
    pub(crate) fn new(common: Common, what: &str, steps: Option<u64>) -> Self {
        let visible = !common.quiet && std::io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(steps, target);
        let template = match steps {
            Some(_) => "{prefix} [{bar:30}] {pos}/{len} {msg} {elapsed}{left}",
            None => "{prefix} {spinner} {msg} {elapsed}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is well formed");
        // Before a step is done nobody knows how long one takes.
        let left = |state: &ProgressState, out: &mut dyn Write| {
            if state.pos() > 0 && Some(state.pos()) < state.len() {
                let _ = write!(out, " (about {} left)", HumanDuration(state.eta()));
            }
        };
        bar.set_style(style.progress_chars("=> ").with_key("left", left));
        bar.set_prefix(what.to_owned());
        Self { bar, quiet: common.quiet }
    }

    /// One more step is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// So many steps are done.
    pub(crate) fn at(&self, step: u64) {
        self.bar.set_position(step);
    }

    /// Shows what is at work.
    #[cfg(feature = "candle")]
    pub(crate) fn say(&self, what: String) {
        self.bar.set_message(what);
    }

    /// Says a line that stays; on a terminal the bar stays below it.
    pub(crate) fn line(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| say(text));
        }
    }

    /// Removes the line.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn report(&self, report: Report<'_>) {
        let attainment = statmux_report::number::percent(report.attainment);
        let left = report.bound.map(|bound| {
            let gap = statmux_report::number::percentage_points((bound - report.attainment).max(0.0));
            format!(", at most {gap} below the bound")
        });
        let left = left.unwrap_or_default();
        self.bar
            .set_message(format!("{} candidates, last {}: {attainment}{left}", report.evaluations, report.candidate));
        self.bar.tick();
    }

    fn stop(&self) -> bool {
        interrupt::asked()
    }
}
