//! One client request as operators see it: its id, its trace, and what became of what it asked.
//!
//! The HTTP front begins a trail for each request; whatever the request puts to the gateway in its course is noted
//! there, by the gateway and by the driver, so that the line in the log can be written when the answer has gone out.

pub(crate) mod trace_context;

use crate::course::{Course, Tokens};
use statmux_core::{ModelId, Span};
use std::future::Future;
use std::sync::{Arc, Mutex};
use trace_context::TraceContext;

/// What is known of one client request, gathered as it goes.
#[derive(Debug)]
pub(crate) struct Trail {
    /// Its id: the client's, or one of this server.
    pub(crate) id: Arc<str>,
    /// The trace it belongs to, if the client names one.
    pub(crate) trace: Option<TraceContext>,
    tally: Mutex<Tally>,
}

/// What became of the inputs of one request, taken together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) model: Option<ModelId>,
    pub(crate) tokens: Tokens,
    /// From arrival to the first generated token.
    pub(crate) first_token: Option<Span>,
    /// Of the input that was answered last.
    pub(crate) course: Option<Course>,
    /// Whether an answer came after its deadline.
    pub(crate) late: bool,
    /// Why an input was refused.
    pub(crate) refused: Option<&'static str>,
}

tokio::task_local! {
    static CURRENT: Arc<Trail>;
}

impl Trail {
    /// A trail without steps.
    pub(crate) fn new(id: Arc<str>, trace: Option<TraceContext>) -> Arc<Self> {
        Arc::new(Self { id, trace, tally: Mutex::default() })
    }

    /// Does `work` in the course of this request.
    pub(crate) async fn follow<F: Future>(self: Arc<Self>, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// The request in whose course this is called; none for questions that do not come over HTTP.
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// What became of it up to now.
    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().expect("nobody panics while holding it").clone()
    }

    /// It asks `model` something of `tokens` tokens.
    pub(crate) fn asks(&self, model: ModelId, tokens: usize) {
        self.note(|tally| {
            tally.model = Some(model);
            tally.tokens.prompt += tokens as u64;
        });
    }

    /// A first token came so long after its arrival.
    pub(crate) fn began(&self, after: Span) {
        self.note(|tally| tally.first_token = Some(tally.first_token.map_or(after, |other| other.min(after))));
    }

    /// An input was answered with so many generated tokens.
    pub(crate) fn answered(&self, course: &Course, generated: u64) {
        self.note(|tally| {
            tally.tokens.generated += generated;
            tally.late |= !course.in_slo;
            tally.course = tally.course.filter(|other| other.finished > course.finished).or(Some(*course));
        });
    }

    /// An input was refused.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.note(|tally| tally.refused = tally.refused.or(Some(reason)));
    }

    fn note(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock().expect("nobody panics while holding it"));
    }
}
