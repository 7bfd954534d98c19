//! How clients reach the driver: requests in, answers out, never blocking.

use crate::board::Board;
use crate::clock::Clock;
use crate::messages::Message;
use crate::request::{Answer, Cause, Departure, Refusal, Reply, Submission};
use crate::statistics::Statistics;
use crate::trail::Trail;
use statmux_core::backend::{BackendError, Input, ModelCard, Text};
use statmux_core::{GroupId, ModelId, Placement, RequestId, Span, Time};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use tokio::sync::{mpsc, oneshot};

/// A model as clients see it.
#[derive(Clone)]
pub struct ServedModel {
    /// Its id.
    pub id: ModelId,
    /// Its name.
    pub name: String,
    /// The latency promised; [`Span::MAX`] for none.
    pub slo: Span,
    /// What may be asked of it.
    pub card: ModelCard,
    /// Its tokenizer, if it has one.
    pub text: Option<Arc<dyn Text>>,
    /// Its latency on the fastest group that holds it, alone and as profiled; absent where none does.
    pub idle_latency: Option<Span>,
    /// The groups that hold it.
    pub holders: Vec<GroupId>,
}

/// What a client asks.
#[derive(Debug)]
pub struct Question {
    /// Of which model.
    pub model: ModelId,
    /// The payload.
    pub input: Input,
    /// When the request reached the server.
    pub arrived: Time,
    /// The latency asked for; the model's SLO applies where it is shorter.
    pub deadline: Option<Span>,
    /// Whether tokens are wanted as they come.
    pub streams: bool,
}

/// Checks a request without running it.
pub(crate) type Check = Box<dyn Fn(ModelId, Input) -> Result<(), BackendError> + Send + Sync>;

/// The way in. Shared by all connections.
pub struct Gateway {
    pub(crate) driver: SyncSender<Message>,
    pub(crate) clock: Clock,
    pub(crate) models: Vec<ServedModel>,
    pub(crate) by_name: HashMap<String, ModelId>,
    pub(crate) placement: Placement,
    pub(crate) check: Check,
    pub(crate) board: Arc<Board>,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) inside: Arc<AtomicUsize>,
    pub(crate) concurrency: usize,
    pub(crate) doors: Arc<Doors>,
    pub(crate) next_id: AtomicU64,
}

/// Whether requests are taken in.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    /// The server was told to drain, and may be told to go on.
    draining: AtomicBool,
    /// The server is about to stop.
    stopping: AtomicBool,
    /// Another gateway is about to take the place of this one.
    replacing: AtomicBool,
    /// The engine has stopped, and no other took its place.
    closed: AtomicBool,
}

impl Doors {
    /// Why nothing is taken in, if that is so.
    fn shut(&self) -> Option<Cause> {
        let causes = [
            (&self.draining, Cause::Draining),
            (&self.stopping, Cause::Draining),
            (&self.closed, Cause::NoReplica),
            (&self.replacing, Cause::Replacing),
        ];
        causes.into_iter().find_map(|(holds, cause)| holds.load(Relaxed).then_some(cause))
    }
}

/// A request that was taken in. Dropping it unanswered cancels it: it does not start, or ends after the lap that runs.
#[derive(Debug)]
pub struct Pending {
    answer: oneshot::Receiver<Result<Answer, Refusal>>,
    /// Tokens as they come, if asked for.
    pub tokens: Option<mpsc::UnboundedReceiver<u32>>,
    cancel: Cancel,
    doors: Arc<Doors>,
}

/// Tells the driver that nobody waits any more.
#[derive(Debug)]
struct Cancel {
    id: RequestId,
    driver: SyncSender<Message>,
    departure: Departure,
    answered: bool,
}

impl Drop for Cancel {
    fn drop(&mut self) {
        if !self.answered {
            self.departure.happens();
            // Where the inbox is full, the request starts for nobody, and ends after its first lap.
            let _ = self.driver.try_send(Message::Cancel(self.id));
        }
    }
}

impl Pending {
    /// The one answer.
    pub async fn answer(&mut self) -> Result<Answer, Refusal> {
        let answer = (&mut self.answer).await;
        self.cancel.answered = true;
        // The driver answers all that is inside before it goes, but for what comes in just then.
        answer.unwrap_or_else(|_| Err(Refusal::new(self.doors.shut().unwrap_or(Cause::Draining))))
    }

    /// The next token, or the answer when there are no more. Only for requests that stream.
    pub async fn next(&mut self) -> Event {
        if let Some(tokens) = &mut self.tokens
            && let Some(token) = tokens.recv().await
        {
            return Event::Token(token);
        }
        Event::Answer(Box::new(self.answer().await))
    }
}

/// What comes back from a request that streams.
#[derive(Debug)]
pub enum Event {
    /// One more token.
    Token(u32),
    /// The end.
    Answer(Box<Result<Answer, Refusal>>),
}

impl Gateway {
    /// Takes a question in, or refuses it at once.
    ///
    /// # Errors
    /// Where the payload is wrong, the server is full or about to stop. What the scheduler refuses comes as the
    /// answer.
    pub fn submit(&self, question: Question) -> Result<Pending, Refusal> {
        let mut pending = self.submit_together(vec![question])?;
        Ok(pending.pop().expect("one question was asked"))
    }

    /// Takes several questions in as a whole, or refuses them all at once. The scheduler too admits all or none: then
    /// each has the same answer.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), where that holds of one of them.
    pub fn submit_together(&self, questions: Vec<Question>) -> Result<Vec<Pending>, Refusal> {
        let trail = Trail::current();
        if let Some(trail) = &trail {
            questions.iter().for_each(|question| trail.asks(question.model, question.input.tokens().len()));
        }
        let models: Vec<ModelId> = questions.iter().map(|question| question.model).collect();
        let refuse = |cause: Cause| {
            models.iter().for_each(|&model| self.statistics.refused(model, &cause));
            if let Some(trail) = &trail {
                trail.refused(cause.name());
            }
            let hopeless = matches!(cause, Cause::Overloaded) && models.len() > self.concurrency;
            Err(Refusal { hopeless, ..Refusal::new(cause) })
        };
        if let Some(cause) = self.doors.shut() {
            return refuse(cause);
        }
        for Question { model, input, .. } in &questions {
            if let Err(error) = (self.check)(*model, input.clone()) {
                return refuse(Cause::Backend(Arc::new(error)));
            }
        }
        let together = questions.len();
        if self.inside.fetch_add(together, Relaxed) + together > self.concurrency {
            self.inside.fetch_sub(together, Relaxed);
            return refuse(Cause::Overloaded);
        }
        let mut pending = Vec::with_capacity(together);
        let mut submissions = Vec::with_capacity(together);
        for question in questions {
            let (submission, answer) = self.open(question, together, trail.clone());
            pending.push(answer);
            submissions.push(submission);
        }
        let message = match submissions.pop() {
            Some(only) if submissions.is_empty() => Message::Submit(only),
            last => {
                submissions.extend(last);
                Message::SubmitTogether(submissions)
            }
        };
        if self.driver.try_send(message).is_err() {
            self.inside.fetch_sub(together, Relaxed);
            pending.iter_mut().for_each(|pending| pending.cancel.answered = true);
            // The driver is busy, or gone since.
            return refuse(self.doors.shut().unwrap_or(Cause::Overloaded));
        }
        Ok(pending)
    }

    /// A request under a new id, one of so many that come together, and where its answer will be.
    fn open(&self, question: Question, together: usize, trail: Option<Arc<Trail>>) -> (Submission, Pending) {
        let Question { model, input, arrived, deadline, streams } = question;
        let id = RequestId(self.next_id.fetch_add(1, Relaxed));
        let (sender, answer) = oneshot::channel();
        let (token_sender, tokens) = if streams { Some(mpsc::unbounded_channel()).unzip() } else { (None, None) };
        let slo = self.models[model.index()].slo.min(deadline.unwrap_or(Span::MAX));
        let deadline = if slo == Span::MAX { Time::NEVER } else { arrived + slo };
        let departure = Departure::default();
        let reply = Reply { answer: sender, tokens: token_sender, trail, departure: departure.clone() };
        let cancel = Cancel { id, driver: self.driver.clone(), departure, answered: false };
        (
            Submission { id, model, input, arrived, deadline, together, reply },
            Pending { answer, tokens, cancel, doors: Arc::clone(&self.doors) },
        )
    }

    /// The model called `name`.
    pub fn model(&self, name: &str) -> Option<&ServedModel> {
        self.by_name.get(name).map(|id| &self.models[id.index()])
    }

    /// All models, by id.
    pub fn models(&self) -> &[ServedModel] {
        &self.models
    }

    /// What is loaded where.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The state of groups and stages.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// All metrics.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The server's clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Requests inside.
    pub fn inside(&self) -> usize {
        self.inside.load(Relaxed)
    }

    /// Whether some group holds `model` and is up, and requests are taken in.
    pub fn is_ready(&self, model: &ServedModel) -> bool {
        self.doors.shut().is_none() && model.holders.iter().any(|&group| self.board.group(group).up.load(Relaxed))
    }

    /// Takes in nothing more until told otherwise; what is inside runs to its end.
    pub fn drain(&self) {
        if !self.doors.draining.swap(true, Relaxed) {
            tracing::info!(inside = self.inside(), "draining");
        }
    }

    /// Takes requests again after [`Gateway::drain`]; whether it does, for a server that is about to stop does not.
    pub fn resume(&self) -> bool {
        if self.doors.draining.swap(false, Relaxed) {
            tracing::info!("no longer draining");
        }
        !self.is_stopping()
    }

    /// Takes in nothing more, for good; what is inside runs to its end.
    pub(crate) fn stop(&self) {
        if !self.doors.stopping.swap(true, Relaxed) {
            tracing::info!(inside = self.inside(), "draining");
        }
    }

    /// Whether it was told to [stop](Gateway::stop).
    pub(crate) fn is_stopping(&self) -> bool {
        self.doors.stopping.load(Relaxed)
    }

    /// Ends it all: nothing more is launched, and whatever is inside is refused.
    pub(crate) fn halt(&self) {
        self.stop();
        // A driver that is gone has said the same already.
        let _ = self.driver.send(Message::Stop(Cause::Draining));
    }

    /// Drains or is about to stop if `other` is: it takes its place.
    pub(crate) fn succeed(&self, other: &Self) {
        self.doors.draining.store(other.doors.draining.load(Relaxed), Relaxed);
        self.doors.stopping.store(other.doors.stopping.load(Relaxed), Relaxed);
    }

    /// Takes in nothing more, because another gateway will.
    pub(crate) fn give_way(&self) {
        self.doors.replacing.store(true, Relaxed);
        self.doors.closed.store(false, Relaxed);
    }

    /// Takes in nothing more: its engine has stopped, and nothing takes its place until another placement is asked for.
    pub(crate) fn close(&self) {
        self.doors.closed.store(true, Relaxed);
    }

    /// Whether nothing more is taken in, because the server is about to stop or was told to drain.
    pub fn is_draining(&self) -> bool {
        self.doors.draining.load(Relaxed) || self.doors.stopping.load(Relaxed)
    }

    /// Whether nothing more is taken in, because another placement is about to be served.
    pub fn is_replacing(&self) -> bool {
        self.doors.replacing.load(Relaxed) && !self.doors.closed.load(Relaxed)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("inside", &self.inside()).finish_non_exhaustive()
    }
}
