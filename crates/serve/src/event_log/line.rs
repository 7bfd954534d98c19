//! One entry of the event log as it stands in the file. Times are nanoseconds of the server's clock.

use super::Origin;
use serde::{Deserialize, Serialize};
use statmux_core::{BatchId, GroupId, ModelId, Request, RequestId, Span, Time};
use statmux_sched::log::Entry;
use statmux_sched::{Action, Batch, Event, Loss, Members, Reason};

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryLine {
    at_ns: u64,
    event: EventLine,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    actions: Vec<ActionLine>,
}

/// Lines that are missing where this one stands.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GapLine {
    gap: Gap,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Gap {
    lines: u64,
}

impl GapLine {
    pub(super) fn new(lines: u64) -> Self {
        Self { gap: Gap { lines } }
    }

    pub(super) fn lines(&self) -> u64 {
        self.gap.lines
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum EventLine {
    Arrived(ArrivalLine),
    ArrivedTogether {
        requests: Vec<ArrivalLine>,
    },
    StageFreed {
        group: u32,
    },
    Finished {
        group: u32,
        batch: u64,
        busy_ns: u64,
    },
    Cancelled {
        request: u64,
    },
    Split {
        group: u32,
        batch: u64,
    },
    GroupLost {
        group: u32,
        /// The batch that was on the stage that died, if it was at one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        culprit: Option<u64>,
        /// Whether the group is expected back.
        #[serde(default)]
        returns: bool,
    },
    GroupRestored {
        group: u32,
    },
    Woke,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ArrivalLine {
    request: u64,
    model: u32,
    arrived_ns: u64,
    /// Absent without an SLO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline_ns: Option<u64>,
    /// The client's request as the server's log lines name it; replays pass over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ActionLine {
    Launch { batch: u64, group: u32, model: u32, requests: Vec<u64>, predicted_ns: u64 },
    Complete { request: u64 },
    Reject { request: u64, reason: ReasonLine },
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ReasonLine {
    NoReplica,
    TooLate { predicted_ns: u64 },
    QueueFull,
    GroupLost,
    CostGroup,
    Cancelled,
}

/// Whether an entry speaks of `models` models and `groups` groups only.
pub(super) fn check(entry: &Entry, models: usize, groups: usize) -> Result<(), String> {
    let (group, model) = match entry.event {
        Event::Arrived(request) => (None, Some(request.model)),
        Event::ArrivedTogether(ref requests) => (None, requests.iter().map(|request| request.model).max()),
        Event::StageFreed(group)
        | Event::Finished { group, .. }
        | Event::Split { group, .. }
        | Event::GroupLost(Loss { group, .. })
        | Event::GroupRestored(group) => (Some(group), None),
        Event::Cancelled(_) | Event::Woke => (None, None),
    };
    if let Some(group) = group.filter(|group| group.index() >= groups) {
        return Err(format!("names group {}, but there are {groups}", group.0));
    }
    if let Some(model) = model.filter(|model| model.index() >= models) {
        return Err(format!("names model {}, but there are {models}", model.0));
    }
    Ok(())
}

impl EntryLine {
    /// The line for `entry`, an arrival with where it came from.
    pub(super) fn new(entry: &Entry, origin: Option<&Origin>) -> Self {
        let mut line = Self::from(entry);
        let arrivals = match &mut line.event {
            EventLine::Arrived(arrival) => std::slice::from_mut(arrival),
            EventLine::ArrivedTogether { requests } => requests,
            _ => return line,
        };
        for arrival in arrivals {
            arrival.request_id = origin.map(|origin| origin.request_id.clone());
            arrival.trace_id = origin.and_then(|origin| origin.trace_id.clone());
        }
        line
    }
}

impl From<&Entry> for EntryLine {
    fn from(entry: &Entry) -> Self {
        Self {
            at_ns: entry.now.nanos(),
            event: (&entry.event).into(),
            actions: entry.actions.iter().map(ActionLine::from).collect(),
        }
    }
}

impl From<EntryLine> for Entry {
    fn from(line: EntryLine) -> Self {
        Self {
            now: Time::from_nanos(line.at_ns),
            event: line.event.into(),
            actions: line.actions.into_iter().map(Action::from).collect(),
        }
    }
}

impl From<&Request> for ArrivalLine {
    fn from(&Request { id, model, arrived, deadline }: &Request) -> Self {
        Self {
            request: id.0,
            model: model.0,
            arrived_ns: arrived.nanos(),
            deadline_ns: (deadline != Time::NEVER).then(|| deadline.nanos()),
            request_id: None,
            trace_id: None,
        }
    }
}

impl From<ArrivalLine> for Request {
    fn from(line: ArrivalLine) -> Self {
        Self {
            id: RequestId(line.request),
            model: ModelId(line.model),
            arrived: Time::from_nanos(line.arrived_ns),
            deadline: line.deadline_ns.map_or(Time::NEVER, Time::from_nanos),
        }
    }
}

impl From<&Event> for EventLine {
    fn from(event: &Event) -> Self {
        match *event {
            Event::Arrived(ref request) => Self::Arrived(request.into()),
            Event::ArrivedTogether(ref requests) => {
                Self::ArrivedTogether { requests: requests.iter().map(ArrivalLine::from).collect() }
            }
            Event::StageFreed(group) => Self::StageFreed { group: group.0 },
            Event::Finished { group, batch, busy } => {
                Self::Finished { group: group.0, batch: batch.0, busy_ns: busy.nanos() }
            }
            Event::Cancelled(id) => Self::Cancelled { request: id.0 },
            Event::Split { group, batch } => Self::Split { group: group.0, batch: batch.0 },
            Event::GroupLost(Loss { group, culprit, returns }) => {
                Self::GroupLost { group: group.0, culprit: culprit.map(|batch| batch.0), returns }
            }
            Event::GroupRestored(group) => Self::GroupRestored { group: group.0 },
            Event::Woke => Self::Woke,
        }
    }
}

impl From<EventLine> for Event {
    fn from(line: EventLine) -> Self {
        match line {
            EventLine::Arrived(line) => Self::Arrived(line.into()),
            EventLine::ArrivedTogether { requests } => {
                Self::ArrivedTogether(requests.into_iter().map(Request::from).collect())
            }
            EventLine::StageFreed { group } => Self::StageFreed(GroupId(group)),
            EventLine::Finished { group, batch, busy_ns } => {
                Self::Finished { group: GroupId(group), batch: BatchId(batch), busy: Span::from_nanos(busy_ns) }
            }
            EventLine::Cancelled { request } => Self::Cancelled(RequestId(request)),
            EventLine::Split { group, batch } => Self::Split { group: GroupId(group), batch: BatchId(batch) },
            EventLine::GroupLost { group, culprit, returns } => {
                Self::GroupLost(Loss { group: GroupId(group), culprit: culprit.map(BatchId), returns })
            }
            EventLine::GroupRestored { group } => Self::GroupRestored(GroupId(group)),
            EventLine::Woke => Self::Woke,
        }
    }
}

impl From<&Action> for ActionLine {
    fn from(action: &Action) -> Self {
        match action {
            Action::Launch(Batch { id, group, model, requests, predicted }) => Self::Launch {
                batch: id.0,
                group: group.0,
                model: model.0,
                requests: requests.as_slice().iter().map(|request| request.0).collect(),
                predicted_ns: predicted.nanos(),
            },
            Action::Complete(id) => Self::Complete { request: id.0 },
            Action::Reject(id, reason) => Self::Reject { request: id.0, reason: (*reason).into() },
        }
    }
}

impl From<ActionLine> for Action {
    fn from(line: ActionLine) -> Self {
        match line {
            ActionLine::Launch { batch, group, model, requests, predicted_ns } => Self::Launch(Batch {
                id: BatchId(batch),
                group: GroupId(group),
                model: ModelId(model),
                requests: match requests[..] {
                    [only] => Members::One(RequestId(only)),
                    _ => Members::Many(requests.into_iter().map(RequestId).collect()),
                },
                predicted: Time::from_nanos(predicted_ns),
            }),
            ActionLine::Complete { request } => Self::Complete(RequestId(request)),
            ActionLine::Reject { request, reason } => Self::Reject(RequestId(request), reason.into()),
        }
    }
}

impl From<Reason> for ReasonLine {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::NoReplica => Self::NoReplica,
            Reason::TooLate { predicted } => Self::TooLate { predicted_ns: predicted.nanos() },
            Reason::QueueFull => Self::QueueFull,
            Reason::GroupLost => Self::GroupLost,
            Reason::CostGroup => Self::CostGroup,
            Reason::Cancelled => Self::Cancelled,
        }
    }
}

impl From<ReasonLine> for Reason {
    fn from(line: ReasonLine) -> Self {
        match line {
            ReasonLine::NoReplica => Self::NoReplica,
            ReasonLine::TooLate { predicted_ns } => Self::TooLate { predicted: Time::from_nanos(predicted_ns) },
            ReasonLine::QueueFull => Self::QueueFull,
            ReasonLine::GroupLost => Self::GroupLost,
            ReasonLine::CostGroup => Self::CostGroup,
            ReasonLine::Cancelled => Self::Cancelled,
        }
    }
}
