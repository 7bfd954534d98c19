//! Connections: accepted, limited, encrypted, and closed when the server stops.

use crate::gateway::Gateway;
use crate::http::HttpSettings;
use crate::http::access::{Serves, Visitor};
use crate::http::entrance::Entrance;
#[cfg(unix)]
use crate::http::entrance::UnixEntrance;
use crate::http::hall::Hall;
use crate::http::patient::Patient;
use crate::http::site::Site;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::Future;
use std::io;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower::ServiceExt;

/// How long connections may take to close once all requests are answered.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often it is looked whether there is still something inside.
const LOOK: Duration = Duration::from_millis(2);
/// What clients beyond the limit of connections read.
const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
    content-length: 175\r\nretry-after: 1\r\nconnection: close\r\n\r\n\
    {\"error\":{\"message\":\"as many clients are connected as this server takes\",\"type\":\"server_error\",\
    \"param\":null,\"code\":\"overloaded\",\"reason\":\"overloaded\",\"retry_after_ms\":1000.0}}";

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificates cannot be read, or there are none.
    #[error("holds no certificate chain in PEM form: {0}")]
    Certificates(pem::Error),
    /// The key cannot be read.
    #[error("holds no private key in PEM form: {0}")]
    Key(pem::Error),
    /// Certificate and key do not fit.
    #[error("cannot be used with its key: {0}")]
    Pair(tokio_rustls::rustls::Error),
}

/// TLS with the certificates and the key in the given PEM texts.
///
/// # Errors
/// If they cannot be read, or do not belong together.
pub fn tls(certificates: &[u8], key: &[u8]) -> Result<TlsAcceptor, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
    let chain = chain.map_err(TlsError::Certificates)?;
    if chain.is_empty() {
        return Err(TlsError::Certificates(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Files that a server needs beside its connections: the listener, the event log, weights that are being loaded.
const OTHER_FILES: u64 = 128;

/// Connections are files: lets this process have as many as the system allows it, and says how many connections of
/// `asked` that is room for.
pub(crate) fn room_for(asked: usize) -> usize {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return asked };
        let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        let files = if raised { hard } else { soft };
        let room = usize::try_from(files.saturating_sub(OTHER_FILES).max(1)).unwrap_or(usize::MAX);
        if room < asked {
            tracing::warn!(asked, room, "fewer connections than asked for: the system limits open files (ulimit -n)");
        }
        asked.min(room)
    }
    #[cfg(not(unix))]
    asked
}

/// A certificate chain and its key, as PEM texts.
#[derive(Clone, Debug)]
pub struct TlsPair {
    /// The chain, own certificate first.
    pub certificates: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

/// TLS as it is at present, for connections that come.
#[derive(Clone)]
pub(crate) struct Certificates(Arc<RwLock<TlsAcceptor>>);

impl Certificates {
    pub(crate) fn new(acceptor: TlsAcceptor) -> Self {
        Self(Arc::new(RwLock::new(acceptor)))
    }

    /// Connections from now on are accepted by `acceptor`.
    pub(crate) fn replace(&self, acceptor: TlsAcceptor) {
        *self.0.write().expect("nobody panics while holding it") = acceptor;
    }

    fn current(&self) -> TlsAcceptor {
        self.0.read().expect("nobody panics while holding it").clone()
    }
}

/// A listener and what it answers.
pub(crate) struct Door {
    pub(crate) listener: Listener,
    pub(crate) serves: Serves,
}

/// A listener of one of the kinds that there are.
pub(crate) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixEntrance),
}

/// Connections that the listener of the admin paths takes beside the others', so that a server that is full can be
/// told to drain.
const ADMIN_CONNECTIONS: usize = 64;

/// Answers at `doors` with what `hall` has until `stop` comes. Then goes on for the drain delay, takes in nothing more,
/// lets what is inside end within the drain limit, refuses what has not ended by then, and closes all connections.
pub(crate) async fn serve(
    doors: Vec<Door>,
    hall: Arc<Hall>,
    tls: Option<Certificates>,
    stop: impl Future<Output = ()>,
) {
    let (closing, closed) = watch::channel(false);
    let mut accepting = JoinSet::new();
    for door in doors {
        let Door { listener, serves } = door;
        let (hall, tls, closed) = (Arc::clone(&hall), tls.clone(), closed.clone());
        match listener {
            Listener::Tcp(listener) => accepting.spawn(accept(listener, serves, hall, tls, closed)),
            #[cfg(unix)]
            Listener::Unix(listener) => accepting.spawn(accept(listener, serves, hall, tls, closed)),
        };
    }
    stop.await;
    hall.desk.leave();
    if let Some(site) = hall.site() {
        empty(site, &hall.desk.settings).await;
    }
    // Answers are on their way to the sockets; connections end after them.
    let _ = closing.send(true);
    accepting.join_all().await;
    let limit = Instant::now() + FAREWELL;
    while hall.desk.statistics.connections.get() > 0 && Instant::now() < limit {
        sleep(LOOK).await;
    }
}

/// Lets everything end that is inside `site`, whatever it serves by then.
async fn empty(site: &Site, settings: &HttpSettings) {
    let limit = Instant::now() + settings.drain_delay;
    // Where nothing more is taken in, there is nothing to delay.
    while Instant::now() < limit && !site.gateway().is_draining() {
        sleep(LOOK).await;
    }
    site.tell(Gateway::stop);
    let limit = Instant::now() + settings.drain_limit;
    loop {
        let gateway = site.gateway();
        let inside = gateway.inside();
        if inside == 0 {
            return;
        }
        if Instant::now() >= limit {
            tracing::warn!(inside, "the drain limit has passed: what is inside is refused");
            let halted = Arc::clone(&gateway);
            let _ = tokio::task::spawn_blocking(move || halted.halt()).await;
            // What was on its way to a driver that has ended is counted for ever.
            let all_refused = async {
                while gateway.inside() > 0 {
                    sleep(LOOK).await;
                }
            };
            let _ = timeout(FAREWELL, all_refused).await;
            return;
        }
        sleep(LOOK).await;
    }
}

/// Waits until connections are to close.
async fn told(closed: &mut watch::Receiver<bool>) {
    // A sender that is gone says the same.
    let _ = closed.wait_for(|&closed| closed).await;
}

async fn accept<E: Entrance>(
    listener: E,
    serves: Serves,
    hall: Arc<Hall>,
    tls: Option<Certificates>,
    closed: watch::Receiver<bool>,
) {
    let room = if serves == Serves::AdminOnly { ADMIN_CONNECTIONS } else { hall.desk.settings.connections };
    let room = Arc::new(Semaphore::new(room));
    let local = listener.is_local();
    let open = hall.desk.statistics.connections.clone();
    let mut over = closed.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut over) => return,
        };
        let (mut socket, visitor) = match accepted {
            Ok((socket, peer)) => (socket, Visitor { peer, local, serves }),
            Err(error) => {
                if !concerns_one_client(&error) {
                    // Out of files or memory: others must end first.
                    tracing::warn!(%error, "cannot accept connections");
                    sleep(Duration::from_millis(50)).await;
                }
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            hall.desk.statistics.turned_away.inc();
            // A new connection has room for it; whether the client reads it is its own affair.
            let _ = timeout(FAREWELL, socket.write_all(TURNED_AWAY)).await;
            let _ = socket.shutdown().await;
            continue;
        };
        let (hall, open, tls, closed) = (Arc::clone(&hall), open.clone(), tls.clone(), closed.clone());
        tokio::spawn(async move {
            open.inc();
            welcome(socket, visitor, hall, tls, closed).await;
            open.dec();
            drop(permit);
        });
    }
}

fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn welcome<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    socket: S,
    visitor: Visitor,
    hall: Arc<Hall>,
    tls: Option<Certificates>,
    closed: watch::Receiver<bool>,
) {
    let socket = Patient::new(socket, hall.desk.settings.send_timeout);
    match tls {
        None => converse(socket, visitor, hall, closed).await,
        Some(tls) => match timeout(hall.desk.settings.head_timeout, tls.current().accept(socket)).await {
            Ok(Ok(socket)) => converse(socket, visitor, hall, closed).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        },
    }
}

async fn converse<S>(socket: S, visitor: Visitor, hall: Arc<Hall>, mut closed: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let head_timeout = hall.desk.settings.head_timeout;
    let answer = move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(visitor);
        let hall = Arc::clone(&hall);
        async move {
            let mut answer = hall.router().oneshot(request).await;
            if let Ok(response) = &mut answer
                && hall.desk.is_leaving()
            {
                // Whoever keeps connections goes elsewhere with the next request, and loses none.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            answer
        }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(socket), service_fn(answer));
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = told(&mut closed) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}
