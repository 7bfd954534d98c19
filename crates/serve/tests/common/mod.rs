//! Small deployments and a plain HTTP client.
#![allow(dead_code, unreachable_pub)]

pub mod client;
pub mod gate;

use statmux_core::backend::Task;
use statmux_core::{
    Bytes, Cluster, ConfigProfile, DeviceId, Group, ModelId, ModelProfile, ModelSpec, ParallelConfig, Placement, Slo,
    Span,
};
use statmux_serve::http::keys::{KeyRings, Keys};
use statmux_serve::{Deployment, EngineSettings, Server, ServerSettings, SleepBackend};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// `groups` groups of `pp` stages, each with all of `models` models, each stage taking `stage`.
pub fn deployment(groups: u32, pp: u32, models: usize, stage: Span, slo: Slo) -> Deployment {
    let config = ParallelConfig::new(1, pp);
    let measured = |pp: u32| ConfigProfile {
        stage_seconds: BTreeMap::from([
            (1, vec![stage.seconds(); pp as usize]),
            (2, vec![stage.seconds(); pp as usize]),
        ]),
        stage_weights: vec![Bytes::new(1 << 20); pp as usize],
        stage_activations: BTreeMap::new(),
    };
    let configs = BTreeMap::from([(config, measured(pp)), (ParallelConfig::SINGLE, measured(1))]);
    let profile = Arc::new(ModelProfile::new("sleep", "assumed", configs));
    let models: Vec<_> =
        (0..models).map(|i| ModelSpec { name: format!("m{i}"), slo, profile: Arc::clone(&profile) }).collect();
    let ids: Vec<_> = (0..models.len()).map(ModelId::from_index).collect();
    let group = |index: u32| Group {
        devices: (index * pp..(index + 1) * pp).map(DeviceId).collect(),
        config,
        models: ids.clone(),
    };
    let placement = Placement { groups: (0..groups).map(group).collect() };
    Deployment { cluster: Cluster::uniform(groups * pp, 8, Bytes::from_gib(1)), models, placement }
}

/// A backend for `deployment`, whose last model is a decoder.
pub fn sleeper(deployment: &Deployment, max_batch: u32) -> SleepBackend {
    let last = ModelId::from_index(deployment.models.len() - 1);
    let backend = SleepBackend::new(deployment, 0.0, max_batch).expect("every configuration has a profile");
    backend.with_task(last, Task::Generate)
}

/// Settings for a server on any port of this machine.
pub fn settings() -> ServerSettings {
    ServerSettings {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        engine: EngineSettings::default(),
        workers: 2,
        ..ServerSettings::default()
    }
}

/// Keys as they stand in files; none where the text is empty.
pub fn keys(inference: &str, admin: &str) -> KeyRings {
    let read = |text: &str| if text.is_empty() { Keys::default() } else { Keys::parse(text).expect("keys") };
    KeyRings::new(read(inference), read(admin)).expect("keys of their own")
}

/// A server on `deployment`.
pub fn server(deployment: Deployment, settings: ServerSettings) -> Server {
    let backend = Arc::new(sleeper(&deployment, settings.engine.scheduler.max_batch));
    Server::start(backend, deployment, settings).expect("it starts")
}

/// What came back for one request.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }
}

/// Sends one request on a connection of its own.
pub fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    parse(&raw(address, text.as_bytes()))
}

pub fn post(address: SocketAddr, path: &str, body: &str) -> Reply {
    ask(address, "POST", path, "", body)
}

pub fn get(address: SocketAddr, path: &str) -> Reply {
    ask(address, "GET", path, "", "")
}

/// Sends bytes and reads until the server closes.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a valid time");
    // A server that has heard enough may close before all was written.
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn parse(answer: &str) -> Reply {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
    Reply { status, head: head.to_ascii_lowercase(), body }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}
