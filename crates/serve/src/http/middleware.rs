//! Around every request: its id, its key, its line in the log.

use crate::http::Front;
use crate::http::error::ApiError;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Checks the key, names the request, and logs how it ended.
pub(super) async fn around(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).filter(|id| id.len() <= 128).cloned();
    let id = given.unwrap_or_else(|| fresh_id(&front));
    let logged = tracing::enabled!(tracing::Level::DEBUG)
        .then(|| (request.method().clone(), request.uri().path().to_owned(), front.gateway.clock().now()));
    let open = request.uri().path().starts_with("/v2/health/");
    let mut response = if open || is_allowed(&front, request.headers()) {
        next.run(request).await
    } else {
        ApiError::unauthorized().into_response()
    };
    if let Some((method, path, started)) = logged {
        let took = front.gateway.clock().now().since(started);
        let status = response.status().as_u16();
        tracing::debug!(request_id = ?id, %method, path, status, %took, "request");
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// An id that no other request of this server had, nor is likely to have on another.
fn fresh_id(front: &Front) -> HeaderValue {
    let number = front.requests.fetch_add(1, Relaxed);
    let id = format!("{:x}-{number:x}", front.started_s);
    HeaderValue::try_from(id).expect("hexadecimal digits are a valid header")
}

fn is_allowed(front: &Front, headers: &HeaderMap) -> bool {
    let keys = &front.settings.keys;
    if keys.is_empty() {
        return true;
    }
    let Some(shown) = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer ")) else {
        return false;
    };
    // Every key is looked at whole, so that the time taken tells nothing.
    keys.iter().fold(false, |allowed, key| allowed | same(key.as_bytes(), shown))
}

fn same(key: &[u8], shown: &[u8]) -> bool {
    key.len() == shown.len() && key.iter().zip(shown).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
