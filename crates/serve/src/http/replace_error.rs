//! Why what is served stays as it is.

use crate::engine::StartError;

/// Why a placement could not take the place of another.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplaceError {
    /// One change at a time.
    #[error("the placement is being changed already")]
    Busy,
    /// The server is about to stop.
    #[error("the server is shutting down")]
    Draining,
    /// The new engine did not start.
    #[error("the placement could not be started, and {}", if *.restored { "the one before serves again" } else { "nor could the one before" })]
    Start {
        /// Why.
        #[source]
        cause: StartError,
        /// Whether what was served before is served again.
        restored: bool,
    },
}
