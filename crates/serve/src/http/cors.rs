//! Pages of other sites that may ask models: cross-origin resource sharing, for the origins that were allowed.
//!
//! The admin paths are never shared.

use crate::http::desk::Desk;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Headers of answers that pages may read.
const EXPOSED: &str = "x-request-id, retry-after, server-timing, x-statmux-group, inference-header-content-length";
/// How long browsers may remember what a path allows.
const REMEMBERED_S: &str = "600";

/// Whether `text` can be allowed: `*`, or an origin as browsers send it, without a path.
pub fn is_origin(text: &str) -> bool {
    let site = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let fit = |site: &str| {
        !site.is_empty() && site.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@*\\".contains(&byte))
    };
    text == "*" || site.is_some_and(fit)
}

/// Answers what browsers ask before they send a page's request, and tells them who may read the answers.
pub(super) async fn around(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let allowed = &desk.settings.cors_origins;
    if allowed.is_empty() || request.uri().path().starts_with("/admin") {
        return next.run(request).await;
    }
    let origin = request.headers().get(ORIGIN).filter(|origin| is_allowed(allowed, origin)).cloned();
    let asks_first =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match (&origin, asks_first) {
        (Some(_), true) => permission(request.headers()),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        let anyone = allowed.iter().any(|allowed| allowed == "*");
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, if anyone { HeaderValue::from_static("*") } else { origin });
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    response
}

fn is_allowed(allowed: &[String], origin: &HeaderValue) -> bool {
    allowed.iter().any(|allowed| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
}

/// The answer to a browser that asks whether a page may send a request: with any header, for the key is one.
fn permission(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED_S));
    if let Some(wanted) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_send_them() {
        for good in ["*", "http://localhost:3000", "https://app.example", "http://[::1]:80"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["", "app.example", "https://", "https://a/", "https://a/b", "https://*.a", "null", "https://a b"] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
