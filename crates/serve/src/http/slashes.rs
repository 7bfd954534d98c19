//! Models whose names have slashes, such as `org/model`: their paths, unescaped.
//!
//! The router knows names of one segment, escaped or not. What it does not know comes here, and the last segments say
//! what is asked of the model that the others name.

use crate::http::Front;
use crate::http::error::{no_such_method, no_such_path};
use crate::http::record::Template;
use crate::http::{inference, metadata, openai, repository};
use axum::extract::{Path, Request, State};
use axum::http::header::ALLOW;
use axum::http::{HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// What may be asked of a model by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Describe,
    Ready,
    Infer,
    Config,
    Statistics,
}

/// Answers what no route matches: a path of a model with a slash in its name, or nothing.
pub(super) async fn fallback(front: State<Arc<Front>>, request: Request) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let (path, is_get) = (uri.path(), matches!(method, Method::GET | Method::HEAD));
    if let Some(name) = path.strip_prefix("/v1/models/").and_then(unescaped).filter(|name| name.contains('/')) {
        let mut response = match is_get {
            true => openai::models::one(front, Path(name)).await.into_response(),
            false => not_allowed(method, uri, "GET,HEAD").await,
        };
        response.extensions_mut().insert(Template("/v1/models/{model}"));
        return response;
    }
    let rest = path.strip_prefix("/v2/models/").and_then(unescaped);
    let Some((name, act)) = rest.and_then(|rest| named(&rest, |name| front.gateway.model(name).is_some())) else {
        return no_such_path(uri).await.into_response();
    };
    let mut response = match (act, is_get) {
        (Act::Infer, _) if method == Method::POST => inference::infer(front, Path(name), request).await.into_response(),
        (Act::Infer, _) => not_allowed(method, uri, "POST").await,
        (_, false) => not_allowed(method, uri, "GET,HEAD").await,
        (Act::Describe, true) => inference::model(front, Path(name)).await.into_response(),
        (Act::Ready, true) => inference::model_ready(front, Path(name)).await.into_response(),
        (Act::Config, true) => repository::config(front, Path(name)).await.into_response(),
        (Act::Statistics, true) => repository::statistics(front, Path(name)).await.into_response(),
    };
    response.extensions_mut().insert(act.template());
    response
}

impl Act {
    /// The template of the paths of models without slashes that mean the same.
    fn template(self) -> Template {
        Template(match self {
            Self::Describe => "/v2/models/{model}",
            Self::Ready => "/v2/models/{model}/ready",
            Self::Infer => "/v2/models/{model}/infer",
            Self::Config => "/v2/models/{model}/config",
            Self::Statistics => "/v2/models/{model}/stats",
        })
    }
}

/// Answers paths whose escapes make no text, in the form of all other errors.
pub(super) async fn readable(request: Request, next: Next) -> Response {
    match unescaped(request.uri().path()) {
        Some(_) => next.run(request).await,
        None => no_such_path(request.uri().clone()).await.into_response(),
    }
}

async fn not_allowed(method: Method, uri: Uri, allowed: &'static str) -> Response {
    let mut response = no_such_method(method, uri).await.into_response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The model and the act that `rest`, what follows `/v2/models/`, means. A model that exists goes before the words at
/// the end of its name; of models that do not, the shortest name is meant.
fn named(rest: &str, exists: impl Fn(&str) -> bool) -> Option<(String, Act)> {
    let (before, act) = match rest.rsplit_once('/') {
        Some((before, "ready")) => (before, Act::Ready),
        Some((before, "infer")) => (before, Act::Infer),
        Some((before, "config")) => (before, Act::Config),
        Some((before, "stats")) => (before, Act::Statistics),
        _ => (rest, Act::Describe),
    };
    let unversioned = before.strip_suffix(&format!("/versions/{}", metadata::VERSION));
    let readings = [(Some(rest), Act::Describe), (Some(before), act), (unversioned, act)];
    let mut readings = readings.into_iter().filter_map(|(name, act)| Some((name?, act)));
    let found = readings.clone().find(|(name, _)| exists(name));
    let (name, act) = found.or_else(|| readings.next_back())?;
    (!name.is_empty()).then(|| (name.to_owned(), act))
}

/// `path` with its escapes undone; none if that is no text.
fn unescaped(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_models_and_acts() {
        let models = ["org/m", "org/m/ready", "a/b/versions/2"];
        let check = |rest: &str, name: &str, act: Act| {
            assert_eq!(named(rest, |name| models.contains(&name)), Some((name.to_owned(), act)), "{rest}");
        };
        check("org/m", "org/m", Act::Describe);
        check("org/m/infer", "org/m", Act::Infer);
        check("org/m/ready", "org/m/ready", Act::Describe);
        check("org/m/ready/ready", "org/m/ready", Act::Ready);
        check("org/m/versions/1", "org/m", Act::Describe);
        check("org/m/versions/1/infer", "org/m", Act::Infer);
        check("org/m/stats", "org/m", Act::Statistics);
        check("a/b/versions/2/config", "a/b/versions/2", Act::Config);
        check("no/such/versions/1/infer", "no/such", Act::Infer);
        assert_eq!(named("", |_| false), None);
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescaped("a%2Fb%20c").as_deref(), Some("a/b c"));
        for broken in ["%", "%2", "%zz", "%ff", "a%+1"] {
            assert_eq!(unescaped(broken), None, "{broken}");
        }
    }
}
