//! Limits and access of the server, from the command line.

use clap::Args;
use statmux_core::files::{FileError, read_text};
use statmux_core::{Bytes, Span};
use statmux_serve::TlsPair;
use statmux_serve::http::HttpSettings;
use statmux_serve::http::cors::is_origin;
use statmux_serve::http::listen::{TlsError, tls};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Limits and access.
#[derive(Debug, Args)]
pub(super) struct LimitArgs {
    /// A file with one key a line (`#` begins a remark); clients must show one as `Authorization: Bearer KEY`
    #[arg(long, value_name = "FILE", help_heading = "Limits and access")]
    keys: Option<PathBuf>,
    /// An origin whose pages may ask models from a browser, such as `https://app.example`, or `*` for all; repeatable
    #[arg(long = "cors-origin", value_name = "ORIGIN", value_parser = origin, help_heading = "Limits and access")]
    cors_origins: Vec<String>,
    /// The certificate chain for TLS, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "Limits and access")]
    tls_certificate: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate", help_heading = "Limits and access")]
    tls_key: Option<PathBuf>,
    /// The largest request body
    #[arg(long, value_name = "SIZE", default_value = "8 MiB", help_heading = "Limits and access")]
    body_limit: Bytes,
    /// How long a body may take to come in
    #[arg(long, value_name = "TIME", default_value = "30 s", help_heading = "Limits and access")]
    body_timeout: Span,
    /// How long a connection may stay idle, and take to send a request's head
    #[arg(long, value_name = "TIME", default_value = "75 s", help_heading = "Limits and access")]
    idle_timeout: Span,
    /// The most connections at once
    #[arg(long, value_name = "N", default_value_t = 16_384, help_heading = "Limits and access")]
    connections: usize,
    /// The most requests inside at once; `simulation.max_waiting` limits those that wait
    #[arg(long, value_name = "N", default_value_t = 65_536, help_heading = "Limits and access")]
    pub(super) concurrency: usize,
    /// How many groups a request may take down and be run again; beyond that it is refused with `cost_group`
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Limits and access")]
    pub(super) retries_after_loss: u32,
    /// How long a shutdown waits for requests inside
    #[arg(long, value_name = "TIME", default_value = "60 s", help_heading = "Limits and access")]
    drain_limit: Span,
    /// Threads for connections; default: as many as cores, at most 4
    #[arg(long, value_name = "N", help_heading = "Limits and access")]
    pub(super) workers: Option<usize>,
}

impl LimitArgs {
    /// Reads the files named.
    pub(super) fn read(&self) -> Result<(HttpSettings, Option<TlsPair>), FileError> {
        let duration = |span: Span| Duration::from_nanos(span.nanos());
        let http = HttpSettings {
            body_limit: usize::try_from(self.body_limit.get()).unwrap_or(usize::MAX),
            body_timeout: duration(self.body_timeout),
            head_timeout: duration(self.idle_timeout),
            connections: self.connections,
            drain_limit: duration(self.drain_limit),
            keys: self.keys()?,
            cors_origins: self.cors_origins.clone(),
        };
        let tls = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificates), Some(key)) => Some(pair(certificates, key)?),
            _ => None,
        };
        Ok((http, tls))
    }

    fn keys(&self) -> Result<Vec<String>, FileError> {
        let Some(path) = &self.keys else { return Ok(Vec::new()) };
        let text = read_text(path)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<String> = lines.map(str::to_owned).collect();
        if keys.is_empty() {
            return Err(FileError::whole(path, "holds no key: nobody could ask anything")
                .with_help("write one key a line, or leave --keys out to let everybody ask"));
        }
        Ok(keys)
    }
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
