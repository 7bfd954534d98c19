//! The world around the server's scheduler: who is owed an answer, and what runs where.
//!
//! **Invariant:** every request that was taken in is answered exactly once: its entry leaves `open` with the
//! one sender of its answer.

use crate::board::Board;
use crate::course::{Course, Tokens};
use crate::driver::{Meaning, World};
use crate::event_log::Origin;
use crate::messages::{Entry, Finished, Job, Message};
use crate::request::{Answer, Cause, Refusal, Reply, Submission};
use crate::statistics::Statistics;
use statmux_core::backend::{BackendError, Fault, Input, Output};
use statmux_core::{BatchId, GroupId, ModelId, Request, RequestId, Span, Time};
use statmux_sched::{Action, Batch, Event, Loss, Members, Reason, Settings, StageTimes};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Keeps payloads and answers while the scheduler decides by id.
pub(crate) struct Ledger {
    groups: Vec<Pipeline>,
    open: HashMap<RequestId, Open>,
    times: Arc<StageTimes>,
    settings: Settings,
    board: Arc<Board>,
    statistics: Arc<Statistics>,
    /// Requests inside, counted down here as they are answered.
    inside: Arc<AtomicUsize>,
}

/// What the ledger knows of a group.
#[derive(Default)]
struct Pipeline {
    /// Which of the group's runs messages must come from.
    epoch: u64,
    /// Where batches go in; none while the group is down.
    entry: Option<Entry>,
    /// The batch on the first stage, as the scheduler sees it.
    first_stage: Option<BatchId>,
    running: HashMap<BatchId, Running>,
}

struct Running {
    model: ModelId,
    requests: Members,
    started: Time,
    predicted: Time,
}

/// A request that is owed an answer.
struct Open {
    model: ModelId,
    /// Kept until the end: it may have to run again elsewhere.
    input: Input,
    arrived: Time,
    deadline: Time,
    /// How many came together, this one included.
    together: usize,
    reply: Reply,
    launched: bool,
    /// Tokens of this run, and tokens that the client has seen: a second run repeats the first one's.
    run_tokens: usize,
    sent_tokens: usize,
    /// Whether its first token was counted.
    begun: bool,
    ended: Option<(Result<Output, Arc<BackendError>>, Course)>,
}

impl Open {
    /// Its first token is there.
    fn begin(&mut self, now: Time, statistics: &Statistics) {
        if !std::mem::replace(&mut self.begun, true) {
            let after = now.since(self.arrived);
            statistics.first_token(self.model, after);
            if let Some(trail) = &self.reply.trail {
                trail.began(after);
            }
        }
    }
}

/// How many tokens were generated for an answer.
fn generated(output: &Output) -> u64 {
    match output {
        Output::Generated { tokens, .. } => tokens.len() as u64,
        Output::Embedding(_) | Output::MaskedLogits(_) => 0,
    }
}

impl Ledger {
    pub(crate) fn new(
        times: Arc<StageTimes>,
        settings: Settings,
        board: Arc<Board>,
        statistics: Arc<Statistics>,
        inside: Arc<AtomicUsize>,
    ) -> Self {
        let groups = (0..times.groups()).map(|_| Pipeline::default()).collect();
        Self { groups, open: HashMap::new(), times, settings, board, statistics, inside }
    }

    /// Notes what is owed; returns the request as the scheduler sees it.
    fn submit(&mut self, now: Time, submission: Submission) -> Request {
        let Submission { id, model, input, arrived, deadline, together, reply } = submission;
        self.board.waiting[model.index()].fetch_add(1, Relaxed);
        let open = Open {
            model,
            input,
            arrived,
            deadline,
            together,
            reply,
            launched: false,
            run_tokens: 0,
            sent_tokens: 0,
            begun: false,
            ended: None,
        };
        self.open.insert(id, open);
        // The scheduler counts from when it hears of a request; its deadline counts from when it reached the server.
        Request { id, model, arrived: now, deadline }
    }

    fn freed(&mut self, group: GroupId, epoch: u64, batch: BatchId) -> Meaning {
        let pipeline = &mut self.groups[group.index()];
        if pipeline.epoch != epoch || pipeline.first_stage != Some(batch) {
            return Meaning::Nothing;
        }
        pipeline.first_stage = None;
        Meaning::Event(Event::StageFreed(group))
    }

    fn tokens(&mut self, now: Time, group: GroupId, epoch: u64, batch: BatchId, tokens: &[Option<u32>]) -> Meaning {
        let pipeline = &self.groups[group.index()];
        if pipeline.epoch == epoch
            && let Some(running) = pipeline.running.get(&batch)
        {
            for (id, token) in running.requests.as_slice().iter().zip(tokens) {
                let (Some(open), Some(token)) = (self.open.get_mut(id), token) else { continue };
                open.run_tokens += 1;
                open.begin(now, &self.statistics);
                if open.run_tokens > open.sent_tokens
                    && let Some(stream) = &open.reply.tokens
                {
                    open.sent_tokens = open.run_tokens;
                    // A client that is gone is noticed by its cancellation.
                    let _ = stream.send(*token);
                }
            }
        }
        Meaning::Nothing
    }

    fn finished(&mut self, now: Time, finished: Finished) -> Meaning {
        let Finished { group, epoch, batch, mut busy, outputs } = finished;
        let pipeline = &mut self.groups[group.index()];
        let Some(running) = pipeline.running.remove(&batch).filter(|_| pipeline.epoch == epoch) else {
            return Meaning::Nothing;
        };
        if pipeline.first_stage == Some(batch) {
            pipeline.first_stage = None;
        }
        self.board.group(group).running.fetch_sub(1, Relaxed);
        let members = running.requests.as_slice();
        if members.len() > 1
            && let Err(error) = &outputs
            && matches!(error.fault(), Fault::Request | Fault::Capacity)
        {
            // One of them is to blame, or there is no memory for all at once.
            tracing::debug!(group = group.0, batch = batch.0, %error, "a batch is split");
            return Meaning::Event(Event::Split { group, batch });
        }
        let size = members.len() as u64;
        let results: Vec<_> = match outputs {
            Ok(outputs) => {
                assert_eq!(outputs.len(), members.len(), "a backend answers every member of a batch");
                outputs.into_iter().map(Ok).collect()
            }
            Err(error) => {
                // How long a failure took says nothing about the next batch: leave the profile as it is.
                let spans = self.times.spans(group, running.model, size as u32).unwrap_or_default();
                busy = spans.iter().copied().sum();
                let error = Arc::new(error);
                members.iter().map(|_| Err(Arc::clone(&error))).collect()
            }
        };
        let share = Span::from_nanos(busy.nanos() / size);
        for (id, result) in members.iter().zip(results) {
            if let Some(open) = self.open.get_mut(id) {
                let course = Course {
                    group,
                    arrived: open.arrived,
                    started: running.started,
                    finished: now,
                    predicted: running.predicted,
                    busy: share,
                    in_slo: now <= open.deadline,
                };
                open.ended = Some((result, course));
            }
        }
        Meaning::Event(Event::Finished { group, batch, busy })
    }

    fn lost(&mut self, loss: Loss) -> Meaning {
        let pipeline = &mut self.groups[loss.group.index()];
        *pipeline = Pipeline { epoch: pipeline.epoch, ..Pipeline::default() };
        self.board.group(loss.group).running.store(0, Relaxed);
        Meaning::Event(Event::GroupLost(loss))
    }

    fn restored(&mut self, group: GroupId, epoch: u64, entry: Entry) -> Meaning {
        self.groups[group.index()] = Pipeline { epoch, entry: Some(entry), ..Pipeline::default() };
        Meaning::Event(Event::GroupRestored(group))
    }

    fn launch(&mut self, now: Time, batch: Batch) {
        let Batch { id, group, model, requests, predicted } = batch;
        let mut inputs = Vec::with_capacity(requests.as_slice().len());
        let mut departures = Vec::with_capacity(inputs.capacity());
        let mut streams = false;
        for request in requests.as_slice() {
            let open = self.open.get_mut(request).expect("the scheduler launches only what it was given");
            if !open.launched {
                open.launched = true;
                self.board.waiting[model.index()].fetch_sub(1, Relaxed);
            }
            open.run_tokens = 0;
            streams |= open.reply.tokens.is_some();
            inputs.push(open.input.clone());
            departures.push(open.reply.departure.clone());
        }
        self.board.group(group).running.fetch_add(1, Relaxed);
        let pipeline = &mut self.groups[group.index()];
        pipeline.first_stage = Some(id);
        self.statistics.launched(model, inputs.len());
        pipeline.running.insert(id, Running { model, requests, started: now, predicted });
        if let Some(entry) = &pipeline.entry {
            entry.launch(Job { batch: id, model, inputs, departures, streams });
        }
    }

    fn complete(&mut self, id: RequestId) {
        let mut open = self.take(id);
        let (result, course) = open.ended.take().expect("only finished requests complete");
        let answer = match result {
            // Nobody heard it, and it may not be whole.
            Ok(_) if open.reply.departure.has_happened() => {
                self.note_refusal(&open, &Cause::Cancelled);
                Err(Refusal::new(Cause::Cancelled))
            }
            Ok(output) => {
                let tokens = Tokens { prompt: open.input.tokens().len() as u64, generated: generated(&output) };
                if tokens.generated > 0 {
                    open.begin(course.finished, &self.statistics);
                }
                self.statistics.served(open.model, &course, tokens);
                if let Some(trail) = &open.reply.trail {
                    trail.answered(&course, tokens.generated);
                }
                Ok(Answer { output, course })
            }
            Err(error) => {
                let refusal = Refusal::new(Cause::Backend(error));
                self.note_refusal(&open, &refusal.cause);
                Err(refusal)
            }
        };
        // Nobody listens any more: the client left while it ran.
        let _ = open.reply.answer.send(answer);
    }

    fn reject(&mut self, id: RequestId, reason: Reason) {
        let open = self.take(id);
        if !open.launched {
            self.board.waiting[open.model.index()].fetch_sub(1, Relaxed);
        }
        let predicted = match reason {
            Reason::TooLate { predicted } => Some(predicted.since(open.arrived)),
            _ => None,
        };
        let deadline = (open.deadline != Time::NEVER).then(|| open.deadline.since(open.arrived));
        let Settings { max_batch, fixed_overhead, max_waiting, .. } = self.settings;
        let soonest = self.times.soonest(open.model, open.together, max_batch) + fixed_overhead;
        let hopeless = match reason {
            Reason::TooLate { .. } => deadline.is_some_and(|deadline| soonest > deadline),
            // Where nothing runs and nothing waits, each group starts one of them.
            Reason::QueueFull => open.together > max_waiting.saturating_add(self.times.holders(open.model).len()),
            _ => false,
        };
        let refusal = Refusal { predicted, deadline, hopeless, ..Refusal::new(reason.into()) };
        self.note_refusal(&open, &refusal.cause);
        let _ = open.reply.answer.send(Err(refusal));
    }

    /// Refuses all that is inside.
    fn stop(&mut self, cause: &Cause) -> Meaning {
        for (_, open) in std::mem::take(&mut self.open) {
            self.inside.fetch_sub(1, Relaxed);
            if !open.launched {
                self.board.waiting[open.model.index()].fetch_sub(1, Relaxed);
            }
            self.note_refusal(&open, cause);
            let _ = open.reply.answer.send(Err(Refusal::new(cause.clone())));
        }
        Meaning::Stop
    }

    fn note_refusal(&self, open: &Open, cause: &Cause) {
        self.statistics.refused(open.model, cause);
        if let Some(trail) = &open.reply.trail {
            trail.refused(cause.name());
        }
    }

    /// Which client's request arrives, if it came over HTTP.
    pub(crate) fn origin(&self, event: &Event) -> Option<Origin> {
        let request = match event {
            Event::Arrived(request) => request,
            // They are inputs of one request.
            Event::ArrivedTogether(requests) => requests.first()?,
            _ => return None,
        };
        let trail = self.open.get(&request.id)?.reply.trail.as_ref()?;
        let trace_id = trail.trace.as_ref().map(|trace| trace.trace_id().to_owned());
        Some(Origin { request_id: trail.id.to_string(), trace_id })
    }

    fn take(&mut self, id: RequestId) -> Open {
        self.inside.fetch_sub(1, Relaxed);
        self.open.remove(&id).expect("the scheduler ends each request once")
    }
}

impl World for Ledger {
    type Message = Message;

    fn receive(&mut self, now: Time, message: Message) -> Meaning {
        match message {
            Message::Submit(submission) => Meaning::Event(Event::Arrived(self.submit(now, submission))),
            Message::SubmitTogether(submissions) => {
                let requests = submissions.into_iter().map(|submission| self.submit(now, submission));
                Meaning::Event(Event::ArrivedTogether(requests.collect()))
            }
            Message::Cancel(id) => match self.open.contains_key(&id) {
                true => Meaning::Event(Event::Cancelled(id)),
                false => Meaning::Nothing,
            },
            Message::Freed { group, epoch, batch } => self.freed(group, epoch, batch),
            Message::Tokens { group, epoch, batch, tokens } => self.tokens(now, group, epoch, batch, &tokens),
            Message::Finished(finished) => self.finished(now, finished),
            Message::Lost(loss) => self.lost(loss),
            Message::Restored { group, epoch, entry } => self.restored(group, epoch, entry),
            Message::Stop(cause) => self.stop(&cause),
        }
    }

    fn perform(&mut self, now: Time, action: Action) {
        match action {
            Action::Launch(batch) => self.launch(now, batch),
            Action::Complete(id) => self.complete(id),
            Action::Reject(id, reason) => self.reject(id, reason),
        }
    }
}
