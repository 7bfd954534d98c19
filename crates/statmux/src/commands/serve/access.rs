//! Who may ask the server what, and what it shows for it: from the command line, and again when it is told to.

use crate::output::say;
use clap::Args;
use statmux_core::files::{FileError, read_text};
use statmux_serve::http::HttpSettings;
use statmux_serve::http::cors::is_origin;
use statmux_serve::http::keys::{KeyRings, Keys, KeysError};
use statmux_serve::http::listen::{TlsError, tls};
use statmux_serve::{Renew, Renewal, TlsPair};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Who may ask what.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Access")]
pub(super) struct AccessArgs {
    /// A file with one key a line, `name:key` or the key alone (`#` begins a remark); clients must show one as
    /// `Authorization: Bearer KEY`. A hangup signal reads it again
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// The same for the paths under /admin, which inference keys do not open; without it they are open to this machine
    /// alone, and only if nobody else reaches the server
    #[arg(long, value_name = "FILE")]
    admin_keys: Option<PathBuf>,
    /// Where the paths under /admin are served, and then only there (with health and metrics)
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) admin_listen: Option<SocketAddr>,
    /// A name of this server, beside its addresses and `localhost`, to which the paths under /admin answer; may be
    /// repeated
    #[arg(long, value_name = "NAME")]
    host_name: Vec<String>,
    /// An origin whose pages may ask models from a browser, such as `https://app.example`, or `*` for all; repeatable
    #[arg(long = "cors-origin", value_name = "ORIGIN", value_parser = origin)]
    cors_origins: Vec<String>,
    /// The certificate chain for TLS, PEM. A hangup signal reads it again, and its key
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

impl AccessArgs {
    /// Reads the files named, and adds who may do what to `http`.
    pub(super) fn apply(&self, http: HttpSettings) -> Result<(HttpSettings, Option<TlsPair>), FileError> {
        let Renewal { keys, tls } = self.read()?;
        if let Some(address) = self.admin_listen.filter(|address| !address.ip().is_loopback())
            && self.admin_keys.is_none()
        {
            say(format!(
                "warning: --admin-listen {address} can be reached from other machines: without --admin-keys the admin paths stay closed"
            ));
        }
        let (host_names, cors_origins) = (self.host_name.clone(), self.cors_origins.clone());
        Ok((HttpSettings { keys, host_names, cors_origins, ..http }, tls))
    }

    /// Reads the files named again whenever it is asked to.
    pub(super) fn renewal(&self) -> Renew {
        let args = self.clone();
        Renew::new(move || args.read().map_err(|error| format!("{:#}", anyhow::Error::new(error))))
    }

    fn read(&self) -> Result<Renewal, FileError> {
        let read = |path: &Option<PathBuf>| path.as_deref().map(keys).transpose().map(Option::unwrap_or_default);
        let rings = KeyRings::new(read(&self.keys)?, read(&self.admin_keys)?);
        let keys = rings.map_err(|error| {
            FileError::whole(self.admin_keys.as_deref().unwrap_or(Path::new("--admin-keys")), error.to_string())
        })?;
        let tls = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificates), Some(key)) => Some(pair(certificates, key)?),
            _ => None,
        };
        Ok(Renewal { keys, tls })
    }
}

fn keys(path: &Path) -> Result<Keys, FileError> {
    Keys::parse(&read_text(path)?).map_err(|error| match error {
        KeysError::Line { line, what } => FileError::at_line(path, line, what),
        error => FileError::whole(path, error.to_string())
            .with_help("write one a line, `name:key` or the key alone; without the option no key is asked for"),
    })
}

fn origin(text: &str) -> Result<String, String> {
    match is_origin(text) {
        true => Ok(text.to_owned()),
        false => Err("an origin is `http://` or `https://` and a host, perhaps with a port, without a path".to_owned()),
    }
}

/// Certificates and key from their files, tried before anything is planned or loaded.
fn pair(certificates: &Path, key: &Path) -> Result<TlsPair, FileError> {
    let pair = TlsPair { certificates: read_text(certificates)?.into_bytes(), key: read_text(key)?.into_bytes() };
    match tls(&pair.certificates, &pair.key) {
        Ok(_) => Ok(pair),
        Err(error @ TlsError::Key(_)) => Err(FileError::whole(key, error.to_string())),
        Err(error) => Err(FileError::whole(certificates, error.to_string())),
    }
}
