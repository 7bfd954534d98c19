//! What a reader should be told of a workload's times.

use crate::requests::push_seconds;
use statmux_core::{Span, Time, Workload};

/// That the first request comes late on the recording's clock, after which the recording goes on for `span`; `None`
/// where it hardly matters.
pub(super) fn starts_late(offset: Span, span: Span) -> Option<String> {
    let matters = offset >= Span::from_millis(1000) || offset.seconds() > span.seconds() / 100.0;
    matters.then(|| {
        format!(
            "the first request arrives at {}, and the run starts there (a window would keep the clock)",
            shown(offset)
        )
    })
}

/// The same as [`far_apart`] for the requests of a workload.
pub(super) fn spread(workload: &Workload) -> Option<String> {
    far_apart(workload.len(), workload.arrived.last()?.since(*workload.arrived.first()?))
}

/// That so many requests within `span` are so far apart that their times may have been misread.
pub fn far_apart(requests: usize, span: Span) -> Option<String> {
    const MONTH: Span = Span::from_millis(28 * 86_400_000);
    const RARE: f64 = 0.1;
    let rate = requests as f64 / span.seconds();
    (span >= MONTH && rate < RARE).then(|| {
        format!(
            "{requests} requests arrive over {:.0} days, one every {:.0} s: are their times really in seconds? (Milliseconds: \
             `columns = {{ arrival_unit = \"ms\" }}`.)",
            span.seconds() / 86_400.0,
            1.0 / rate
        )
    })
}

/// That times which count seconds look as if they counted milliseconds: whole numbers without an equal pair nearby.
pub(super) fn whole_seconds(workload: &Workload) -> Option<String> {
    const FEW: usize = 20;
    const SECOND: u64 = 1_000_000_000;
    let span = workload.arrived.last()?.since(*workload.arrived.first()?);
    let apart = span.seconds() / workload.len() as f64;
    let whole = workload.arrived.iter().all(|at| at.nanos().is_multiple_of(SECOND));
    (workload.len() >= FEW && apart >= 5.0 && whole).then(|| {
        format!("all arrivals are whole seconds, on average {apart:.0} s apart; if they are milliseconds, say so with `columns = {{ arrival_unit = \"ms\" }}`")
    })
}

/// A span in exact seconds, and in days if it is long.
fn shown(span: Span) -> String {
    let mut text = Vec::new();
    push_seconds(&mut text, span.nanos());
    let text = String::from_utf8(text).expect("digits and a point");
    let days = span.seconds() / 86_400.0;
    if days >= 1.0 { format!("{text} s ({days:.1} days)") } else { format!("{text} s") }
}

/// Takes `offset` off all arrivals.
pub(super) fn start_at(workload: &mut Workload, offset: Time) {
    for arrived in &mut workload.arrived {
        *arrived = Time::ZERO + arrived.since(offset);
    }
}
