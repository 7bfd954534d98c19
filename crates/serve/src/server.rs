//! A whole server: engine and HTTP front, started and stopped from ordinary code.

use crate::engine::{Deployment, Engine, EngineSettings, StartError};
use crate::gateway::Gateway;
use crate::http::HttpSettings;
use crate::http::access::Serves;
use crate::http::desk::Desk;
#[cfg(unix)]
use crate::http::entrance::UnixEntrance;
use crate::http::entrance::bind;
use crate::http::hall::Hall;
use crate::http::listen::{Certificates, Door, Listener, TlsError, TlsPair, room_for, serve, tls};
use crate::http::site::{Ground, Site, Starter};
use crate::renewal::{Hangups, Renew};
use statmux_core::backend::Backend;
use statmux_sched::EventLog;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Everything a server is told, apart from what it serves.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Where to listen; port 0 for any that is free.
    pub address: SocketAddr,
    /// A socket in the file system to listen at, instead of `address`; it is removed at the end.
    pub socket: Option<PathBuf>,
    /// Where the admin paths are served; none: at `address`, beside all others.
    pub admin_address: Option<SocketAddr>,
    /// Scheduler, groups and limits.
    pub engine: EngineSettings,
    /// Limits and access of the HTTP front.
    pub http: HttpSettings,
    /// Certificate chain and key as PEM texts; none: plain HTTP.
    pub tls: Option<TlsPair>,
    /// Where keys and certificates are read anew at a hangup signal; none: the signal ends the process, as it does
    /// where nobody listens for it.
    pub renewal: Option<Renew>,
    /// Threads for connections.
    pub workers: usize,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            socket: None,
            admin_address: None,
            engine: EngineSettings::default(),
            http: HttpSettings::default(),
            tls: None,
            renewal: None,
            workers: std::thread::available_parallelism().map_or(2, usize::from).min(4),
        }
    }
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The engine could not.
    #[error(transparent)]
    Engine(#[from] StartError),
    /// TLS could not be set up.
    #[error("the TLS certificate {0}")]
    Tls(#[from] TlsError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The socket in the file system cannot be listened at.
    #[error("cannot listen on {}", .path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The threads for connections could not be started.
    #[error("cannot start the HTTP threads")]
    Runtime(#[source] io::Error),
}

impl ServeError {
    /// Whether what was asked for is at fault, not the moment or the machine: it will fail again until that is mended.
    pub fn is_of_input(&self) -> bool {
        match self {
            Self::Engine(error) => error.is_of_input(),
            Self::Tls(_) => true,
            // Who listens there now may be gone later.
            Self::Listen { cause, .. } | Self::Socket { cause, .. } => cause.kind() != io::ErrorKind::AddrInUse,
            Self::Runtime(_) => false,
        }
    }
}

/// A server that listens and has nothing to serve yet: it lives, is not ready, and asks everybody to come back.
pub struct Listening {
    address: SocketAddr,
    /// Where it listens, for people.
    place: String,
    admin_address: Option<SocketAddr>,
    hall: Arc<Hall>,
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    front: JoinHandle<()>,
}

impl Listening {
    /// Listens as `settings` say; what they say of the engine is for [`Listening::serve`].
    ///
    /// # Errors
    /// If the address is taken, or TLS cannot be set up.
    pub fn start(settings: ServerSettings) -> Result<Self, ServeError> {
        let ServerSettings { address, socket, admin_address, engine: _, mut http, tls: pair, renewal, workers } =
            settings;
        http.connections = room_for(http.connections);
        let certificates = pair.map(|pair| tls(&pair.certificates, &pair.key)).transpose()?.map(Certificates::new);
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads(workers.max(1)).thread_name("http").enable_all();
        let runtime = runtime.build().map_err(ServeError::Runtime)?;
        let hangups = renewal.map(|renew| runtime.block_on(async { Hangups::await_with(renew) }));
        let hangups = hangups.transpose().map_err(ServeError::Runtime)?;
        let listen = |address| {
            let failed = |cause| ServeError::Listen { address, cause };
            let listener = runtime.block_on(async { bind(address) }).map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            Ok::<_, ServeError>((Listener::Tcp(listener), address))
        };
        let named = socket.as_ref().map(|path| format!("unix:{}", path.display()));
        let (listener, address) = match socket {
            Some(path) => (runtime.block_on(async { at_socket(path) })?, address),
            None => listen(address)?,
        };
        let place = named.unwrap_or_else(|| address.to_string());
        let admin = admin_address.map(listen).transpose()?;
        let serves = if admin.is_some() { Serves::AllButAdmin } else { Serves::Everything };
        let mut doors = vec![Door { listener, serves }];
        let admin_address = admin.map(|(listener, address)| {
            doors.push(Door { listener, serves: Serves::AdminOnly });
            address
        });
        let desk = Desk::new(http);
        if let Some(hangups) = hangups {
            runtime.spawn(hangups.follow(Arc::clone(&desk.access), certificates.clone()));
        }
        let hall = Hall::new(desk);
        let (stop, stopped) = oneshot::channel();
        let until = async move {
            let _ = stopped.await;
        };
        let front = runtime.spawn(serve(doors, Arc::clone(&hall), certificates, until));
        Ok(Self { address, place, admin_address, hall, runtime, stop, front })
    }

    /// Where it listens, unless at a socket in the file system.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin paths will be, if they have a listener of their own.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Loads `deployment` on `backend`, and serves it; returns when each of its groups is up or taken out.
    ///
    /// # Errors
    /// If the placement cannot be carried out, or no group could be started. It listens no more then.
    pub fn serve<B: Backend + 'static>(
        self,
        backend: Arc<B>,
        deployment: Deployment,
        engine: EngineSettings,
    ) -> Result<Server, ServeError> {
        let Self { address, place, admin_address, hall, runtime, stop, front } = self;
        let Deployment { cluster, models, placement } = deployment;
        let start: Starter = {
            let (cluster, models, engine) = (cluster.clone(), models.clone(), engine.clone());
            Box::new(move |placement, past| {
                let deployment = Deployment { cluster: cluster.clone(), models: models.clone(), placement };
                Engine::start_after(past, Arc::clone(&backend), deployment, engine.clone())
            })
        };
        let site = Site::open(Ground { cluster, models, settings: engine, start }, placement, &hall.desk)?;
        hall.open(Arc::clone(&site));
        match admin_address {
            Some(admin) => tracing::info!(address = place, %admin, "serving"),
            None => tracing::info!(address = place, "serving"),
        }
        Ok(Server { address, admin_address, site, runtime, stop, front })
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    site: Arc<Site>,
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    front: JoinHandle<()>,
}

impl Server {
    /// Serves `deployment` on `backend`; returns when it is served.
    ///
    /// # Errors
    /// If the address is taken, TLS cannot be set up, or no group could be started.
    pub fn start<B: Backend + 'static>(
        backend: Arc<B>,
        deployment: Deployment,
        settings: ServerSettings,
    ) -> Result<Self, ServeError> {
        let engine = settings.engine.clone();
        Listening::start(settings)?.serve(backend, deployment, engine)
    }

    /// Where it listens, unless at a socket in the file system.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin paths are, if they have a listener of their own.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// The way in without HTTP, until the placement is replaced.
    pub fn gateway(&self) -> Arc<Gateway> {
        self.site.gateway()
    }

    /// Goes on for the drain delay, drains and stops. Returns the record of events since the placement was last
    /// replaced (empty unless kept in memory).
    pub fn stop(self) -> EventLog {
        let Self { site, runtime, stop, front, .. } = self;
        let _ = stop.send(());
        // It ends soon after drain delay and limit; a panic of a connection is not ours.
        let _ = runtime.block_on(front);
        runtime.shutdown_background();
        site.close()
    }

    /// Serves until the process is told to end (interrupt or termination), then drains and stops.
    pub fn run_until_signal(self) -> EventLog {
        self.runtime.block_on(signalled());
        tracing::info!("told to stop");
        self.stop()
    }
}

/// Waits for SIGINT or SIGTERM.
async fn signalled() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = tokio::signal::ctrl_c() => return,
            }
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// A listener at a socket in the file system.
fn at_socket(path: PathBuf) -> Result<Listener, ServeError> {
    #[cfg(unix)]
    let bound = UnixEntrance::bind(&path).map(Listener::Unix);
    #[cfg(not(unix))]
    let bound = Err(io::Error::from(io::ErrorKind::Unsupported));
    bound.map_err(|cause| ServeError::Socket { path, cause })
}
