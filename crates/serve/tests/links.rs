//! The server's stage times are the simulator's, hops between machines included.

mod common;

use common::{deployment, post, server, settings};
use statmux_core::files::{FileError, PlacementFile};
use statmux_core::{Bytes, Cluster, Link, Links, PlacementWindows, Slo, Span};
use statmux_sched::{Settings, StageTimes, machine};
use statmux_serve::event_log::{LogHeader, LogReader, LogWriter};
use statmux_serve::{EngineSettings, Record, ServerSettings};
use std::path::Path;

#[test]
fn predictions_of_the_server_are_those_of_the_simulator_with_hops() {
    let mut deployment = deployment(1, 2, 1, Span::from_nanos(300_000), Slo::None);
    let hop = Span::from_millis(3);
    let links = Links { between_nodes: Link { bandwidth: None, latency: hop }, ..Links::FREE };
    // Both stages' devices sit in machines of their own.
    let free = Cluster::uniform(2, 1, Bytes::from_gib(1));
    deployment.cluster = free.clone().with_links(links);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("events.jsonl");
    let names: Vec<String> = deployment.models.iter().map(|model| model.name.clone()).collect();
    let windows = PlacementWindows::fixed(deployment.placement.clone());
    let file = PlacementFile::new(&windows, &deployment.models);
    let writer = LogWriter::create(&path, &LogHeader::new(names, file, 0)).expect("the folder is ours");
    let engine = EngineSettings { record: Record::Sent(writer.lines()), ..EngineSettings::default() };
    let server = server(deployment.clone(), ServerSettings { engine, ..settings() });
    assert_eq!(post(server.address(), "/v1/embeddings", common::client::BODY).status, 200);
    server.stop();
    assert!(writer.finish().is_complete());
    let replayed = |cluster: &Cluster| {
        let log = LogReader::open(&path).expect("it opens");
        let replay = log.replay(|header: &LogHeader| {
            let windows = header.placement.clone().resolve(Path::new("log"), cluster, &deployment.models, 1)?;
            let placement = &windows.0[0].placement;
            let times = StageTimes::new(placement, cluster, &deployment.models, 0.0, 1).expect("all is profiled");
            Ok::<_, FileError>((placement.groups.len(), machine(Settings::default(), times)))
        });
        replay.expect("well formed").difference
    };
    assert_eq!(replayed(&deployment.cluster), None);
    assert!(replayed(&free).is_some(), "without the hop the predictions differ");
}
