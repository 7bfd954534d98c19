//! What went wrong, as status code and body.
//!
//! Bodies have the shape that OpenAI clients know, with figures for machines: `reason`, and for rejections
//! `predicted_ms`, `deadline_ms` and `retry_after_ms`. On `/v2` paths, `error` is the message alone, as the Open
//! Inference Protocol says, and the figures stand beside it: [`in_form_of`] sees to that for every error, whoever
//! answers with it.

use crate::gateway::ServedModel;
use crate::http::replace_error::ReplaceError;
use crate::request::{Cause, Refusal};
use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use statmux_core::Span;
use statmux_core::backend::{BackendError, Fault};
use std::borrow::Cow;
use std::collections::BTreeMap;
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

/// The compressions that are understood.
const ACCEPTED: &str = "gzip, deflate";

/// Tells clients of OpenAI's kind whether to ask again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// A request that ends in an error.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    /// Whether the same request would fail at any time, whatever the status lets clients think.
    hopeless: bool,
    /// Boxed: results are small where all goes well.
    detail: Box<ErrorDetail>,
}

/// The body of an error.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: Box<ErrorDetail>,
}

/// What went wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// For people.
    message: String,
    /// The family: `invalid_request_error`, `authentication_error`, `rate_limit_error` or `server_error`.
    r#type: &'static str,
    /// The field of the request that is to blame, as a path such as `messages[2].content`.
    #[schema(value_type = Option<String>)]
    param: Option<Cow<'static, str>>,
    /// The same as `reason`, where OpenAI clients look for it.
    code: &'static str,
    /// For machines: `too_late`, `queue_full`, `no_replica`, `group_lost`, `draining`, `overloaded`, ...
    reason: &'static str,
    /// The latency that was predicted, if that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_ms: Option<f64>,
    /// The latency that was allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<f64>,
    /// After how long another try may succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<f64>,
}

/// The body of an error on `/v2` paths: the message alone, and the rest beside it.
#[derive(Serialize, ToSchema)]
pub(super) struct ProtocolErrorBody<'a> {
    error: &'a str,
    #[serde(flatten)]
    detail: &'a ErrorDetail,
}

impl ApiError {
    fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        let kind = match status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let detail = ErrorDetail {
            message: message.into(),
            r#type: kind,
            param: None,
            code: reason,
            reason,
            predicted_ms: None,
            deadline_ms: None,
            retry_after_ms: None,
        };
        Self { status, hopeless: false, detail: Box::new(detail) }
    }

    /// A request that will fail again: `param` is to blame.
    pub(crate) fn invalid(param: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, "invalid_request", message);
        error.detail.param = Some(param.into());
        error
    }

    /// The same; if the request is to blame, and nobody said for which field, it is for `param`.
    #[must_use]
    pub(crate) fn blaming(mut self, param: &'static str) -> Self {
        if self.status == StatusCode::BAD_REQUEST {
            self.detail.param.get_or_insert(param.into());
        }
        self
    }

    /// A body that is not what it should be.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message)
    }

    pub(crate) fn body_too_large(limit: usize) -> Self {
        let message = format!("the body is larger than the {limit} bytes allowed");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    /// A body that is short itself, but not what it says.
    pub(crate) fn body_says_too_much(room: usize) -> Self {
        let message =
            format!("what the body says takes more than the {room} bytes of memory that there are for bodies");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    pub(crate) fn body_too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body did not arrive in time")
    }

    /// More than this server takes at a time; later it may have room.
    pub(super) fn overloaded(message: &'static str) -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message);
        error.detail.retry_after_ms = Some(1000.0);
        error
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "this server asks for a key: send `Authorization: Bearer KEY`";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    pub(crate) fn unknown_encoding(found: &str) -> Self {
        let message =
            format!("bodies compressed as {found} are not understood; send it plain, or as one of {ACCEPTED}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown_encoding", message)
    }

    pub(crate) fn unknown_version(name: &str, version: &str, only: &str) -> Self {
        let message = format!("there is no version `{version}` of model `{name}`; its only version is {only}");
        Self::new(StatusCode::NOT_FOUND, "version_not_found", message)
    }

    /// A request that whoever sent it may not make.
    pub(crate) fn forbidden(reason: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, reason, message)
    }

    pub(crate) fn no_such_path(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_path", format!("there is nothing at {path}; see /openapi.json"))
    }

    /// A drain that is taken back too late.
    pub(crate) fn stopping() -> Self {
        Self::new(StatusCode::CONFLICT, "draining", "the server is about to stop: this cannot be taken back")
    }

    pub(crate) fn unknown_model(name: &str) -> Self {
        let mut error =
            Self::new(StatusCode::NOT_FOUND, "model_not_found", format!("there is no model `{name}`; see /v1/models"));
        error.detail.param = Some("model".into());
        error
    }

    /// A server that has nothing to serve yet.
    pub(super) fn loading() -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "loading", "the server is loading its models");
        error.detail.retry_after_ms = Some(1000.0);
        error
    }

    /// A placement that could not take the place of another.
    pub(crate) fn not_replaced(error: &ReplaceError) -> Self {
        let (status, reason) = match error {
            ReplaceError::Busy => (StatusCode::CONFLICT, "replacing"),
            ReplaceError::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            ReplaceError::Start { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "placement_failed"),
        };
        let mut refused = Self::new(status, reason, crate::board::chain(error));
        refused.detail.retry_after_ms = matches!(error, ReplaceError::Busy).then_some(1000.0);
        refused
    }

    /// A request that the backend refuses.
    pub(crate) fn backend(error: &BackendError) -> Self {
        let (status, reason) = match error.fault() {
            Fault::Request => (StatusCode::BAD_REQUEST, "bad_input"),
            Fault::Capacity => (StatusCode::SERVICE_UNAVAILABLE, "out_of_memory"),
            Fault::Setup | Fault::Stage => (StatusCode::INTERNAL_SERVER_ERROR, "backend_failed"),
        };
        Self::new(status, reason, crate::board::chain(error))
    }

    /// What `model`'s scheduler or gateway refused.
    pub(crate) fn refused(model: &ServedModel, refusal: &Refusal) -> Self {
        let status = match &refusal.cause {
            Cause::TooLate | Cause::QueueFull => StatusCode::TOO_MANY_REQUESTS,
            Cause::NoReplica
            | Cause::GroupLost
            | Cause::Draining
            | Cause::Replacing
            | Cause::Overloaded
            | Cause::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            Cause::CostGroup => StatusCode::INTERNAL_SERVER_ERROR,
            Cause::Backend(error) => return Self::backend(error),
        };
        let mut error = Self::new(status, refusal.cause.name(), format!("{}: {refusal}", model.name));
        let retry = refusal.retry_after.or_else(|| retry_after(model, refusal));
        error.detail.predicted_ms = refusal.predicted.map(milliseconds);
        error.detail.deadline_ms = refusal.deadline.map(milliseconds);
        error.detail.retry_after_ms = retry.map(milliseconds);
        error.hopeless |= refusal.hopeless;
        error
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Why, for machines.
    pub(crate) fn reason(&self) -> &'static str {
        self.detail.reason
    }

    /// Its body, for where a status comes too late.
    pub(crate) fn json(self) -> String {
        serde_json::to_string(&ErrorBody { error: self.detail }).expect("plain data serialises")
    }

    fn respond(self, body: Vec<u8>) -> Response {
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(retry_ms) = self.detail.retry_after_ms {
            // The header counts in whole seconds.
            headers.insert(RETRY_AFTER, HeaderValue::from((retry_ms / 1000.0).ceil().max(1.0) as u64));
        }
        if self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED));
        }
        let timing = [StatusCode::REQUEST_TIMEOUT, StatusCode::CONFLICT, StatusCode::TOO_MANY_REQUESTS];
        // What cost a group would take down the next one too.
        let hopeless = self.hopeless || self.detail.reason == Cause::CostGroup.name();
        if hopeless || self.status.is_client_error() && !timing.contains(&self.status) {
            // Standard clients try again after some statuses, unless they are told.
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"statmux\""));
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&ErrorBody { error: self.detail.clone() });
        let mut response = self.clone().respond(body.expect("plain data serialises"));
        response.extensions_mut().insert(self);
        response
    }
}

/// `response` to a request for `path`: an error under `/v2` in the form of the Open Inference Protocol.
pub(super) fn in_form_of(path: &str, mut response: Response) -> Response {
    let protocol = path == "/v2" || path.starts_with("/v2/");
    if let Some(ApiError { detail, .. }) = response.extensions().get().filter(|_| protocol) {
        let body = serde_json::to_vec(&ProtocolErrorBody { error: &detail.message, detail });
        *response.body_mut() = Body::from(body.expect("plain data serialises"));
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

/// The errors that paths under `/v2` without a body and without a model may answer with.
pub(super) struct KeyErrors;
/// The errors that paths under `/v2` with a model and without a body may answer with.
pub(super) struct ModelErrors;
/// The errors that asking a model under `/v2` may end in.
pub(super) struct ProtocolErrors;
/// The errors that paths under `/v2` with a body and without a model may answer with.
pub(super) struct IndexErrors;
/// The same as [`KeyErrors`] elsewhere.
pub(super) struct OpenAiKeyErrors;
/// The same as [`ModelErrors`] elsewhere.
pub(super) struct OpenAiModelErrors;
/// The same as [`ProtocolErrors`] elsewhere.
pub(super) struct OpenAiErrors;
/// The errors that admin paths without a body may answer with.
pub(super) struct AdminErrors;
/// The errors that changing the placement may end in, a second change aside.
pub(super) struct PlaceErrors;

const LOADING: (StatusCode, &str) = (StatusCode::SERVICE_UNAVAILABLE, "nothing is served yet");
const KEY: [(StatusCode, &str); 2] = [(StatusCode::UNAUTHORIZED, "no key, or none that this server knows"), LOADING];
const ADMIN: [(StatusCode, &str); 3] = [
    LOADING,
    (StatusCode::UNAUTHORIZED, "no admin key"),
    (StatusCode::FORBIDDEN, "not with this key, from this place or site; the message says what to do"),
];
const MODEL: [(StatusCode, &str); 1] = [(StatusCode::NOT_FOUND, "there is no such model")];
const BODY: [(StatusCode, &str); 4] = [
    (StatusCode::BAD_REQUEST, "the request is wrong; `param` names the field"),
    (StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
    (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than allowed"),
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is compressed in a way that is not understood"),
];
const ANSWER: [(StatusCode, &str); 3] = [
    (StatusCode::TOO_MANY_REQUESTS, "it would be late, or too many wait; `retry_after_ms` says when to come back"),
    (StatusCode::INTERNAL_SERVER_ERROR, "the model failed"),
    (StatusCode::SERVICE_UNAVAILABLE, "nobody can answer now; `reason` says why"),
];

const PLACE: [(StatusCode, &str); 2] = [
    (StatusCode::INTERNAL_SERVER_ERROR, "it could not be started; what was served before is served again"),
    (StatusCode::SERVICE_UNAVAILABLE, "nothing is served yet, or the server is about to stop"),
];

fn declared<B: ToSchema>(parts: &[&[(StatusCode, &str)]]) -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
    let answer = |&(status, about): &(StatusCode, &str)| {
        let body = Content::new(Some(Ref::from_schema_name(B::name())));
        let response = ResponseBuilder::new().description(about).content("application/json", body).build();
        (status.as_str().to_owned(), RefOr::T(response))
    };
    parts.iter().copied().flatten().map(answer).collect()
}

/// Says which errors a marker stands for.
macro_rules! errors {
    ($($marker:ident: $body:ty, $parts:expr;)*) => {$(
        impl IntoResponses for $marker {
            fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
                declared::<$body>(&$parts)
            }
        }
    )*};
}

errors! {
    KeyErrors: ProtocolErrorBody<'_>, [&KEY];
    ModelErrors: ProtocolErrorBody<'_>, [&KEY, &MODEL];
    ProtocolErrors: ProtocolErrorBody<'_>, [&KEY, &MODEL, &BODY, &ANSWER];
    IndexErrors: ProtocolErrorBody<'_>, [&KEY, &BODY];
    OpenAiKeyErrors: ErrorBody, [&KEY];
    OpenAiModelErrors: ErrorBody, [&KEY, &MODEL];
    AdminErrors: ErrorBody, [&ADMIN];
    PlaceErrors: ErrorBody, [&ADMIN, &BODY, &PLACE];
    OpenAiErrors: ErrorBody, [&KEY, &MODEL, &BODY, &ANSWER];
}

/// When another try may succeed: when the queue that was in the way is gone; for a deadline that even an idle
/// group would miss, never.
fn retry_after(model: &ServedModel, refusal: &Refusal) -> Option<Span> {
    if matches!(refusal.cause, Cause::Replacing) {
        return Some(Span::from_millis(1_000));
    }
    let idle = model.idle_latency?;
    match (&refusal.cause, refusal.predicted, refusal.deadline) {
        (Cause::TooLate, Some(predicted), Some(deadline)) => {
            (idle <= deadline && !refusal.hopeless).then(|| predicted.saturating_sub(deadline))
        }
        (Cause::QueueFull | Cause::Overloaded, ..) => (!refusal.hopeless).then_some(idle),
        (Cause::NoReplica | Cause::GroupLost, ..) => Some(Span::from_millis(1_000)),
        _ => None,
    }
}

fn milliseconds(span: Span) -> f64 {
    span.nanos() as f64 / 1e6
}

pub(crate) async fn no_such_path(uri: Uri) -> ApiError {
    ApiError::no_such_path(uri.path())
}

pub(crate) async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not answer {method}; see /openapi.json", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "no_such_method", message)
}
