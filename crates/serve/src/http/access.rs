//! Who may do what: by the path asked for, the listener it came in at, the key shown and the site it comes from.

use crate::http::error::ApiError;
use crate::http::keys::{KeyRings, Keys};
use crate::http::origin::{Foreign, foreign};
use axum::http::header::{AUTHORIZATION, HeaderName};
use axum::http::{HeaderMap, Method, Uri};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, RwLock};

/// What a listener answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serves {
    /// All paths.
    Everything,
    /// All but the admin paths, which have a listener of their own.
    AllButAdmin,
    /// The admin paths, and what watches the server: health, metrics, the document.
    AdminOnly,
}

/// Where a connection came in, and from whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visitor {
    /// None for a socket of this machine without addresses.
    pub(crate) peer: Option<SocketAddr>,
    /// Whether the listener can be reached from this machine only.
    pub(crate) local: bool,
    pub(crate) serves: Serves,
}

impl fmt::Display for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(f, "{peer}"),
            None => f.write_str("unix"),
        }
    }
}

/// Paths that are open to the same people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Area {
    /// Health: everybody.
    Open,
    /// Metrics, what is loaded where, and the document: whoever holds any key.
    Watching,
    /// Models, and paths that are not there: whoever holds an inference key.
    Inference,
    /// Whoever holds an admin key.
    Admin,
}

impl Area {
    /// The area of the paths that match `template`.
    pub(super) fn of(template: Option<&str>) -> Self {
        match template {
            Some(path) if path == "/admin" || path.starts_with("/admin/") => Self::Admin,
            Some(path) if path.starts_with("/v2/health/") => Self::Open,
            Some("/metrics" | "/openapi.json" | "/placement") => Self::Watching,
            _ => Self::Inference,
        }
    }
}

/// What is found about a request before anything is done for it.
pub(super) struct Judgement {
    /// Whose key was shown.
    pub(super) key: Option<Arc<str>>,
    pub(super) refusal: Option<ApiError>,
}

/// The keys of the server, which may change, and its names.
#[derive(Debug)]
pub(crate) struct Access {
    rings: RwLock<Arc<KeyRings>>,
    host_names: Vec<String>,
}

/// Headers that proxies add: who really asks is somebody else than the peer.
const FORWARDED: [HeaderName; 5] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("via"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];

impl Access {
    pub(crate) fn new(rings: KeyRings, host_names: Vec<String>) -> Self {
        Self { rings: RwLock::new(Arc::new(rings)), host_names }
    }

    /// The keys from now on.
    pub(crate) fn replace(&self, rings: KeyRings) {
        *self.rings.write().expect("nobody panics while holding it") = Arc::new(rings);
    }

    /// Whether the request may go on.
    pub(super) fn judge(
        &self,
        area: Area,
        visitor: &Visitor,
        (method, uri, headers): (&Method, &Uri, &HeaderMap),
    ) -> Judgement {
        let rings = Arc::clone(&self.rings.read().expect("nobody panics while holding it"));
        let shown = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        let holder = |keys: &Keys| shown.and_then(|shown| keys.holder(shown));
        let (admin, inference) = (holder(&rings.admin), holder(&rings.inference));
        let hidden = match visitor.serves {
            Serves::Everything => false,
            Serves::AllButAdmin => area == Area::Admin,
            Serves::AdminOnly => area == Area::Inference,
        };
        let refusal = match area {
            _ if hidden => Err(ApiError::no_such_path(uri.path())),
            Area::Open => Ok(()),
            Area::Watching if rings.inference.is_empty() || admin.is_some() || inference.is_some() => Ok(()),
            Area::Inference if rings.inference.is_empty() || inference.is_some() => Ok(()),
            Area::Watching | Area::Inference => Err(ApiError::unauthorized()),
            Area::Admin => match foreign(method, uri, headers, &self.host_names) {
                Some(foreign) => Err(ApiError::foreign(foreign)),
                None if !rings.admin.is_empty() => match (&admin, &inference) {
                    (Some(_), _) => Ok(()),
                    (None, Some(_)) => Err(ApiError::closed("an inference key does not open the admin paths")),
                    (None, None) => Err(ApiError::unauthorized()),
                },
                None => open_without_key(&rings, visitor, headers).map_err(ApiError::closed),
            },
        };
        Judgement { key: admin.or(inference), refusal: refusal.err() }
    }
}

/// Whether the admin paths are open to somebody without a key, where there are no admin keys; else what to do.
fn open_without_key(rings: &KeyRings, visitor: &Visitor, headers: &HeaderMap) -> Result<(), &'static str> {
    if !visitor.local {
        return Err(
            "this listener can be reached from other machines, so the admin paths are closed: start the server \
            with --admin-keys FILE, or with a listener for them, such as --admin-listen 127.0.0.1:8081",
        );
    }
    if !rings.inference.is_empty() && visitor.serves != Serves::AdminOnly {
        return Err("inference keys do not open the admin paths: start the server with --admin-keys FILE, or with a \
            listener for them, such as --admin-listen 127.0.0.1:8081");
    }
    let from_here = visitor.peer.is_none_or(|peer| peer.ip().to_canonical().is_loopback());
    if !from_here || FORWARDED.iter().any(|name| headers.contains_key(name)) {
        return Err(
            "without admin keys the admin paths are open to this machine alone, and not through a proxy: start \
            the server with --admin-keys FILE",
        );
    }
    Ok(())
}

/// The key in a header that says `Bearer KEY`; the word may be written in any case.
fn bearer(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = credentials.split_at_checked(b"Bearer".len())?;
    let shown = key.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer") && key.len() > shown.len()).then_some(shown)
}

impl ApiError {
    fn foreign(foreign: Foreign) -> Self {
        match foreign {
            Foreign::Host => Self::forbidden(
                "foreign_host",
                "the host named is not this server: use its address, or start it with --host-name NAME",
            ),
            Foreign::Origin => Self::forbidden("foreign_origin", "pages of other sites may not administer this server"),
            Foreign::Form => {
                Self::forbidden("foreign_origin", "forms may not administer this server: send JSON or nothing")
            }
        }
    }

    fn closed(message: &'static str) -> Self {
        Self::forbidden("admin_closed", message)
    }
}
