//! A server without models, for benchmarks and clients: `sleep_server [PORT] [GROUPS] [STAGE_MS] [PP] [SLO_MS] [WORKERS]`.
//!
//! Each group holds every model (`m0`, `m1`: encoders; `chat`: a decoder) and takes `STAGE_MS` for each stage.

use statmux_core::backend::Task;
use statmux_core::{
    Bytes, Cluster, ConfigProfile, DeviceId, Group, ModelId, ModelProfile, ModelSpec, ParallelConfig, Placement, Slo,
    Span,
};
use statmux_serve::{Deployment, Server, ServerSettings, SleepBackend};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

fn argument(index: usize, default: f64) -> f64 {
    std::env::args().nth(index).map_or(default, |text| text.parse().expect("arguments are numbers"))
}

fn main() {
    let (port, groups) = (argument(1, 8080.0) as u16, argument(2, 2.0) as u32);
    let (stage_ms, pp, slo_ms) = (argument(3, 10.0), argument(4, 1.0) as u32, argument(5, 1000.0));
    let config = ParallelConfig::new(1, pp);
    let measured = ConfigProfile {
        stage_seconds: BTreeMap::from([(1, vec![stage_ms / 1000.0; pp as usize])]),
        stage_weights: vec![Bytes::new(1 << 20); pp as usize],
        stage_activations: BTreeMap::new(),
    };
    let profile = Arc::new(ModelProfile::new("sleep", "assumed", BTreeMap::from([(config, measured)])));
    let slo = Slo::Latency(Span::from_seconds(slo_ms / 1000.0).expect("a positive number of milliseconds"));
    let models: Vec<_> = ["m0", "m1", "chat"]
        .map(|name| ModelSpec { name: name.to_owned(), slo, profile: Arc::clone(&profile) })
        .to_vec();
    let ids: Vec<_> = (0..models.len()).map(ModelId::from_index).collect();
    let group = |index: u32| Group {
        devices: (index * pp..(index + 1) * pp).map(DeviceId).collect(),
        config,
        models: ids.clone(),
    };
    let placement = Placement { groups: (0..groups).map(group).collect() };
    let cluster = Cluster::uniform(groups * pp, 8, Bytes::from_gib(1));
    let deployment = Deployment { cluster, models, placement };
    let backend = SleepBackend::new(&deployment, 0.0, 1).expect("every configuration has a profile");
    let backend = backend.with_task(ModelId(2), Task::Generate);
    let settings = ServerSettings { address: SocketAddr::from(([127, 0, 0, 1], port)), ..ServerSettings::default() };
    let server = Server::start(Arc::new(backend), deployment, settings).expect("it starts");
    println!("listening on {}", server.address());
    server.run_until_signal();
}
