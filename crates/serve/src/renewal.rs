//! Keys and certificates read anew while the server runs, when the process is told to by a hangup signal.

use crate::http::access::Access;
use crate::http::audit::TARGET;
use crate::http::keys::KeyRings;
use crate::http::listen::{Certificates, TlsPair, tls};
use std::fmt;
use std::io;
use std::sync::Arc;

/// What is read anew.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// All keys.
    pub keys: KeyRings,
    /// Certificate and key, for a server that was started with TLS.
    pub tls: Option<TlsPair>,
}

/// Reads keys and certificates where they came from, or says in words for people what is wrong there.
#[derive(Clone)]
pub struct Renew(Arc<dyn Fn() -> Result<Renewal, String> + Send + Sync>);

impl Renew {
    /// Reads with `read`, on a thread that may wait.
    pub fn new(read: impl Fn() -> Result<Renewal, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

impl fmt::Debug for Renew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renew")
    }
}

/// Hangup signals of this process.
pub(crate) struct Hangups {
    renew: Renew,
    #[cfg(unix)]
    signals: tokio::signal::unix::Signal,
}

impl Hangups {
    /// From now on hangups do not end the process. To be called within the runtime.
    pub(crate) fn await_with(renew: Renew) -> io::Result<Self> {
        Ok(Self {
            renew,
            #[cfg(unix)]
            signals: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        })
    }

    /// Renews `access` and `certificates` at each hangup; what cannot be read stays as it is.
    pub(crate) async fn follow(mut self, access: Arc<Access>, certificates: Option<Certificates>) {
        while self.next().await.is_some() {
            let renew = self.renew.clone();
            let read = tokio::task::spawn_blocking(move || (renew.0)()).await;
            let read = read.unwrap_or_else(|_| Err("reading them failed".to_owned()));
            match read.and_then(|renewal| apply(renewal, &access, certificates.as_ref())) {
                Ok((keys, admin_keys)) => {
                    let certificates = certificates.is_some();
                    tracing::info!(
                        target: TARGET, act = "reload", peer = "signal", keys, admin_keys, certificates,
                        outcome = "done", "keys and certificates were read again"
                    );
                }
                Err(why) => tracing::error!(
                    target: TARGET, act = "reload", peer = "signal", outcome = "failed", why,
                    "keys and certificates could not be read again: the old ones stay"
                ),
            }
        }
    }

    #[cfg(unix)]
    async fn next(&mut self) -> Option<()> {
        self.signals.recv().await
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> Option<()> {
        None
    }
}

/// Takes over all of `renewal`, or nothing; how many keys there are then.
fn apply(renewal: Renewal, access: &Access, certificates: Option<&Certificates>) -> Result<(usize, usize), String> {
    let Renewal { keys, tls: pair } = renewal;
    if let (Some(certificates), Some(pair)) = (certificates, pair) {
        let acceptor = tls(&pair.certificates, &pair.key).map_err(|error| format!("the TLS certificate {error}"))?;
        certificates.replace(acceptor);
    }
    let counts = keys.counts();
    access.replace(keys);
    Ok(counts)
}
