//! Around every request: whether it may go on, its id, its lines in the log.

use crate::gateway::Gateway;
use crate::http::access::{Area, Judgement};
use crate::http::desk::Desk;
use crate::http::error::in_form_of;
use crate::http::record::Record;
use crate::trail::Trail;
use crate::trail::trace_context::TraceContext;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::HeaderName;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
/// The longest id of a client that is taken up.
const LONGEST_ID: usize = 128;

/// What is around a request.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) desk: Arc<Desk>,
    /// None while there is nothing to serve.
    pub(super) gateway: Option<Arc<Gateway>>,
}

/// Judges the request, names it, and follows it to its end.
pub(super) async fn around(State(around): State<Surroundings>, request: Request, next: Next) -> Response {
    let Surroundings { desk, gateway } = around;
    let trail = begin(&desk, request.headers());
    let path = request.uri().path().to_owned();
    let is_open = gateway.is_some();
    let mut record = Record::begin(&desk, gateway, &request, Arc::clone(&trail));
    let template = record.template.as_ref().map(MatchedPath::as_str);
    let area = Area::of(if is_open { template } else { Some(&path) });
    let asked = (request.method(), request.uri(), request.headers());
    let Judgement { key, refusal } = desk.access.judge(area, &record.visitor, asked);
    // While there is nothing to serve, everybody is told to come back, whoever it is.
    let refusal = refusal.filter(|_| is_open);
    record.key = key;
    let act = (area == Area::Admin).then(|| record.act());
    let response = match refusal {
        None => Arc::clone(&trail).follow(next.run(request)).await,
        Some(error) => error.into_response(),
    };
    if let Some(act) = act {
        act.end(&response);
    }
    let mut response = record.answer(in_form_of(&path, response));
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::from_str(&trail.id).expect("ids are visible ASCII"));
    if let Some(trace) = &trail.trace {
        headers.insert(TRACE_PARENT, HeaderValue::from_str(trace.header()).expect("digits are a valid header"));
    }
    response
}

/// The trail of a request: with the client's id and trace, where it gives good ones.
fn begin(desk: &Desk, headers: &HeaderMap) -> Arc<Trail> {
    let given = headers.get(&REQUEST_ID).and_then(|id| usable_id(id.as_bytes()));
    let mut traces = headers.get_all(&TRACE_PARENT).iter();
    let trace = match (traces.next(), traces.next()) {
        (Some(only), None) => TraceContext::parse(only.as_bytes()),
        _ => None,
    };
    Trail::new(given.map_or_else(|| desk.fresh_id().into(), Arc::from), trace)
}

/// A client's id that can be written anywhere: visible ASCII without quotes and backslashes, of bounded length.
fn usable_id(given: &[u8]) -> Option<&str> {
    let id = std::str::from_utf8(given).ok()?;
    let fit = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    ((1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(fit)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_forge_a_line_are_not_taken_up() {
        let long = "x".repeat(LONGEST_ID);
        for id in ["mine", "a-b_c:d/e+f=,;", "550e8400-e29b-41d4-a716-446655440000", &long] {
            assert_eq!(usable_id(id.as_bytes()), Some(id));
        }
        for id in ["", "a b", "a\tb", "a\"b", "a\\b", "a\nb", "é", &format!("{long}x")] {
            assert_eq!(usable_id(id.as_bytes()), None, "{id}");
        }
    }
}
