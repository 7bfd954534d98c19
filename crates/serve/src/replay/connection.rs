//! Connections that are kept and used again.

use crate::replay::{ReplayError, ReplaySettings};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use statmux_core::Span;
use std::io;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// Connections to one server.
pub(super) struct Pool {
    target: String,
    place: Place,
    host: HeaderValue,
    key: Option<HeaderValue>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    opened: AtomicUsize,
}

/// Where a server listens.
enum Place {
    /// `host:port`.
    Tcp(String),
    /// A socket in the file system.
    #[cfg(unix)]
    Unix(PathBuf),
}

impl Place {
    /// The place that `target` names, and what its server is called in requests.
    fn of(target: &str) -> Option<(Self, String)> {
        #[cfg(unix)]
        if let Some(path) = target.strip_prefix("unix:") {
            // An empty authority may stand before the path, as in other URLs.
            let path = path.strip_prefix("//").unwrap_or(path);
            return (!path.is_empty()).then(|| (Self::Unix(path.into()), "localhost".to_owned()));
        }
        let uri: Uri = target.trim_end_matches('/').parse().ok()?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("http"))?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        Some((Self::Tcp(authority.clone()), authority))
    }
}

/// A request that is ready to be sent.
pub(super) struct Message {
    pub(super) path: &'static str,
    pub(super) body: Bytes,
    pub(super) deadline: Option<HeaderValue>,
}

/// What the server said.
pub(super) enum Said {
    /// An answer: which group ran it for how long, and its share of computing time.
    Answer { group: u32, run: Span, busy: Span },
    /// Anything else; `status` is 0 where nothing came at all.
    Refusal { status: u16, reason: String },
}

impl Said {
    pub(super) fn nothing(reason: &str) -> Self {
        Self::Refusal { status: 0, reason: reason.to_owned() }
    }
}

const DEADLINE: HeaderName = HeaderName::from_static("x-statmux-deadline-ms");
const GROUP: HeaderName = HeaderName::from_static("x-statmux-group");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

impl Pool {
    pub(super) fn new(settings: &ReplaySettings) -> Result<Self, ReplayError> {
        let target = settings.target.trim_end_matches('/').to_owned();
        let wrong = || ReplayError::Target { target: settings.target.clone() };
        let (place, authority) = Place::of(&settings.target).ok_or_else(wrong)?;
        let key = settings.key.as_ref().map(|key| HeaderValue::try_from(format!("Bearer {key}")));
        Ok(Self {
            host: HeaderValue::try_from(&authority).map_err(|_| wrong())?,
            key: key.transpose().map_err(|_| wrong())?,
            target,
            place,
            idle: Mutex::new(Vec::new()),
            opened: AtomicUsize::new(0),
        })
    }

    /// Connections opened so far.
    pub(super) fn opened(&self) -> usize {
        self.opened.load(Relaxed)
    }

    /// Opens connections ahead of time.
    pub(super) async fn warm(&self, connections: usize) -> Result<(), ReplayError> {
        for _ in 0..connections {
            let connection = self.connect().await;
            let connection =
                connection.map_err(|cause| ReplayError::Unreachable { target: self.target.clone(), cause })?;
            self.put(connection);
        }
        Ok(())
    }

    /// The JSON at `path`.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, ReplayError> {
        let response = self.send(Method::GET, path, Bytes::new(), None).await;
        let response = response.map_err(|cause| ReplayError::Unreachable { target: self.target.clone(), cause })?;
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        let unexpected = || ReplayError::Unexpected { target: self.target.clone(), path: path.to_owned(), status };
        if status != 200 {
            return Err(unexpected());
        }
        serde_json::from_slice(&body).map_err(|_| unexpected())
    }

    /// Sends `message` and waits for all of the answer.
    pub(super) async fn post(&self, message: Message) -> Said {
        let Ok(response) = self.send(Method::POST, message.path, message.body, message.deadline).await else {
            return Said::nothing("no_answer");
        };
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            let group = head.headers.get(GROUP).and_then(|value| value.to_str().ok()?.parse().ok());
            let timing = |name| duration(&head.headers, name).unwrap_or(Span::ZERO);
            return match group {
                Some(group) => Said::Answer { group, run: timing("run"), busy: timing("busy") },
                None => Said::nothing("no_group"),
            };
        }
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let reason = body["error"]["reason"].as_str().or(body["reason"].as_str());
        Said::Refusal { status: head.status.as_u16(), reason: reason.unwrap_or("unknown").to_owned() }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        deadline: Option<HeaderValue>,
    ) -> io::Result<Response<Bytes>> {
        let kept = self.take();
        let was_kept = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut result = connection.send_request(self.request(&method, path, &body, deadline.as_ref())).await;
        if was_kept && result.as_ref().is_err_and(|error| error.is_canceled() || error.is_closed()) {
            // The server had closed the idle connection before the request was on its way.
            connection = self.connect().await?;
            result = connection.send_request(self.request(&method, path, &body, deadline.as_ref())).await;
        }
        let (head, body) = result.map_err(io::Error::other)?.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if connection.ready().await.is_ok() {
            self.put(connection);
        }
        Ok(Response::from_parts(head, body))
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        body: &Bytes,
        deadline: Option<&HeaderValue>,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = Uri::try_from(path).expect("our own paths are valid");
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, key.clone());
        }
        if let Some(deadline) = deadline {
            headers.insert(DEADLINE, deadline.clone());
        }
        request
    }

    async fn connect(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let sender = match &self.place {
            Place::Tcp(authority) => {
                let socket = TcpStream::connect(authority).await?;
                socket.set_nodelay(true)?;
                greet(socket).await?
            }
            #[cfg(unix)]
            Place::Unix(path) => greet(UnixStream::connect(path).await?).await?,
        };
        self.opened.fetch_add(1, Relaxed);
        Ok(sender)
    }

    fn take(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().expect("nobody panics while holding it");
        while let Some(connection) = idle.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn put(&self, connection: SendRequest<Full<Bytes>>) {
        self.idle.lock().expect("nobody panics while holding it").push(connection);
    }
}

/// Speaks HTTP over `socket`.
async fn greet<S>(socket: S) -> io::Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    // It ends when the sender is dropped or the server closes it; requests hear of errors themselves.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

/// The duration called `name` in a `server-timing` header.
fn duration(headers: &HeaderMap, name: &str) -> Option<Span> {
    let timing = headers.get(SERVER_TIMING)?.to_str().ok()?;
    let entry = timing.split(", ").find_map(|entry| entry.strip_prefix(name)?.strip_prefix(";dur="))?;
    Span::from_seconds(entry.parse::<f64>().ok()? / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_addresses_or_sockets() {
        let place = |target: &str| {
            Place::of(target).map(|(place, host)| match place {
                Place::Tcp(authority) => (authority, host),
                #[cfg(unix)]
                Place::Unix(path) => (path.display().to_string(), host),
            })
        };
        let tcp = |authority: &str| Some((authority.to_owned(), authority.to_owned()));
        assert_eq!(place("http://127.0.0.1:8080/"), tcp("127.0.0.1:8080"));
        assert_eq!(place("http://[::1]:8080"), tcp("[::1]:8080"));
        assert_eq!(place("http://models"), tcp("models:80"));
        for wrong in ["", "models:80", "https://models", "ftp://models", "http://", "unix:", "unix://", "/run/s.sock"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
        #[cfg(unix)]
        for (target, path) in [("unix:/run/s.sock", "/run/s.sock"), ("unix:s.sock", "s.sock"), ("unix:///s", "/s")] {
            assert_eq!(place(target), Some((path.to_owned(), "localhost".to_owned())), "{target}");
        }
    }

    #[test]
    fn server_timing_is_read_by_name() {
        let mut headers = HeaderMap::new();
        headers.insert(SERVER_TIMING, HeaderValue::from_static("queue;dur=1.500, run;dur=20.001, busy;dur=19"));
        assert_eq!(duration(&headers, "run"), Some(Span::from_nanos(20_001_000)));
        assert_eq!(duration(&headers, "busy"), Some(Span::from_millis(19)));
        assert_eq!(duration(&headers, "predicted"), None);
    }
}
