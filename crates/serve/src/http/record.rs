//! One HTTP request from its head to the last byte of its answer: counted, and a line in the log at its end.

use crate::gateway::Gateway;
use crate::http::access::Visitor;
use crate::http::audit::Act;
use crate::http::desk::Desk;
use crate::http::error::ApiError;
use crate::trail::trace_context::TraceContext;
use crate::trail::{Tally, Trail};
use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use statmux_core::Span;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// What a client that left before its answer was whole gets for a status in the log: nobody sees it, so there is none
/// in HTTP; proxies write this one.
const LEFT: u16 = 499;
/// What its line goes under.
const TARGET: &str = "statmux::access";
/// The longest path that is logged whole.
const LOGGED_PATH: usize = 256;

/// The template of a path that no route matched, for whoever answers there.
#[derive(Clone, Copy)]
pub(super) struct Template(pub(super) &'static str);

/// A request under way. Its line is written when it is dropped.
pub(super) struct Record {
    desk: Arc<Desk>,
    /// None while there was nothing to serve.
    gateway: Option<Arc<Gateway>>,
    pub(super) trail: Arc<Trail>,
    pub(super) method: Method,
    /// What was asked for, without the query.
    pub(super) path: String,
    /// The template that it matched.
    pub(super) template: Option<MatchedPath>,
    pub(super) visitor: Visitor,
    /// Whose key was shown.
    pub(super) key: Option<Arc<str>>,
    started: Instant,
    status: Option<StatusCode>,
    reason: Option<&'static str>,
    /// Whether the last byte of the answer is on its way.
    whole: bool,
}

impl Record {
    /// Begins the record of `request`.
    pub(super) fn begin(desk: &Arc<Desk>, gateway: Option<Arc<Gateway>>, request: &Request, trail: Arc<Trail>) -> Self {
        desk.statistics.in_flight.inc();
        let path = request.uri().path();
        Self {
            desk: Arc::clone(desk),
            gateway,
            trail,
            method: request.method().clone(),
            path: path.get(..LOGGED_PATH).unwrap_or(path).to_owned(),
            template: request.extensions().get::<MatchedPath>().cloned(),
            visitor: *request.extensions().get::<Visitor>().expect("listeners say who asks"),
            key: None,
            started: Instant::now(),
            status: None,
            reason: None,
            whole: false,
        }
    }

    /// The administrative act that it is.
    pub(super) fn act(&self) -> Act {
        let what = format!("{} {}", self.method, self.path);
        Act::begin(what, self.visitor.to_string(), self.key.clone(), Arc::clone(&self.trail.id))
    }

    /// The response, its body watched up to its end.
    pub(super) fn answer(mut self, response: Response) -> Response {
        let status = response.status();
        let other = response.extensions().get::<Template>().map(|template| template.0);
        let template = self.template.as_ref().map(MatchedPath::as_str).or(other);
        self.desk.statistics.answered(self.method.as_str(), template, status.as_u16());
        self.status = Some(status);
        self.reason = self.reason.or_else(|| response.extensions().get::<ApiError>().map(ApiError::reason));
        response.map(|body| {
            self.whole = body.is_end_stream();
            Body::new(Watched { body, record: self })
        })
    }

    /// What became of it, in one word.
    fn outcome(&self, tally: &Tally) -> &'static str {
        let answered = || tally.course.map(|_| if tally.late { "late" } else { "in_slo" });
        if self.status.is_none() || !self.whole {
            return "client_gone";
        }
        tally.refused.or(self.reason).or_else(answered).unwrap_or(match self.status {
            Some(status) if status.is_client_error() || status.is_server_error() => "refused",
            _ => "done",
        })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.desk.statistics.in_flight.dec();
        if self.desk.settings.access_log {
            self.write::<true>();
        } else if tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
            self.write::<false>();
        }
    }
}

impl Record {
    /// Writes its line, at info if it is `WANTED`, else for those who want to know everything.
    fn write<const WANTED: bool>(&self) {
        let tally = self.trail.tally();
        let models = self.gateway.as_ref().map_or(&[][..], |gateway| gateway.models());
        let (answered, asked) = (tally.course, tally.model.map(|_| tally.tokens));
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    request_id = &*self.trail.id,
                    trace_id = self.trail.trace.as_ref().map(TraceContext::trace_id),
                    peer = %self.visitor,
                    key = self.key.as_deref(),
                    method = self.method.as_str(),
                    path = self.path,
                    status = self.status.map_or(LEFT, |status| status.as_u16()),
                    outcome = self.outcome(&tally),
                    model = tally.model.map(|id| models[id.index()].name.as_str()),
                    prompt_tokens = asked.map(|tokens| tokens.prompt),
                    completion_tokens = asked.map(|tokens| tokens.generated),
                    queue_ms = answered.map(|course| milliseconds(course.started.since(course.arrived))),
                    run_ms = answered.map(|course| milliseconds(course.finished.since(course.started))),
                    first_token_ms = tally.first_token.map(milliseconds),
                    total_ms = self.started.elapsed().as_nanos() as f64 / 1e6,
                    "request"
                )
            };
        }
        if WANTED { line!(info) } else { line!(debug) }
    }
}

fn milliseconds(span: Span) -> f64 {
    span.nanos() as f64 / 1e6
}

/// A body that ends a record as it goes out.
struct Watched {
    body: Body,
    record: Record,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.record.whole |= frame.is_none() || self.body.is_end_stream();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
