//! The line that every administrative act leaves, whoever did it and however it ended.

use crate::http::error::ApiError;
use axum::response::Response;
use std::sync::Arc;

/// What its line goes under.
pub(crate) const TARGET: &str = "statmux::audit";

/// An act under way. Its line is written when it is dropped.
pub(super) struct Act {
    /// Method and path.
    what: String,
    peer: String,
    /// Whose key was shown.
    key: Option<Arc<str>>,
    request_id: Arc<str>,
    /// Status, and why it was refused or failed; none while there is no answer.
    outcome: Option<(u16, Option<&'static str>)>,
}

impl Act {
    pub(super) fn begin(what: String, peer: String, key: Option<Arc<str>>, request_id: Arc<str>) -> Self {
        Self { what, peer, key, request_id, outcome: None }
    }

    /// It was answered with `response`.
    pub(super) fn end(mut self, response: &Response) {
        let reason = response.extensions().get::<ApiError>().map(ApiError::reason);
        self.outcome = Some((response.status().as_u16(), reason));
    }
}

impl Drop for Act {
    fn drop(&mut self) {
        let (act, peer, key, request_id) = (&*self.what, &*self.peer, self.key.as_deref(), &*self.request_id);
        match self.outcome {
            Some((status, None)) if status < 400 => {
                tracing::info!(target: TARGET, act, peer, key, status, outcome = "done", request_id, "admin");
            }
            Some((status, reason)) => {
                let outcome = if status < 500 { "refused" } else { "failed" };
                tracing::warn!(target: TARGET, act, peer, key, status, outcome, reason, request_id, "admin");
            }
            // What was begun goes on without.
            None => tracing::warn!(target: TARGET, act, peer, key, outcome = "client_gone", request_id, "admin"),
        }
    }
}
