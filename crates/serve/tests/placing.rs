//! Another placement takes the place of the one that is served.

mod common;

use common::client::{BODY, Client};
use common::{ask, deployment, get, post, server, settings, sleeper};
use statmux_core::files::{FileError, PlacementFile};
use statmux_core::{PlacementWindows, Seed, Slo, Span};
use statmux_sched::{Settings, StageTimes, machine};
use statmux_serve::event_log::{LogHeader, LogReader, LogWriter};
use statmux_serve::faulty::{FaultRates, Faulty};
use statmux_serve::{EngineSettings, Record, Server, ServerSettings, Supervision};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

/// One group of two devices, and two groups of one; both hold all models.
const PIPELINE: &str = r#"{"version":1,"windows":[{"groups":[{"op":1,"pp":2,"models":["m0","m1","m2"]}]}]}"#;
const REPLICAS: &str = r#"{"version":1,"windows":[{"groups":[
    {"op":1,"pp":1,"models":["m0","m1","m2"]},{"op":1,"pp":1,"models":["m0","m1","m2"]}]}]}"#;

fn put(address: SocketAddr, placement: &str) -> common::Reply {
    ask(address, "PUT", "/admin/placement", "", placement)
}

/// The number of groups that are up.
fn up(reply: &common::Reply) -> usize {
    let groups = reply.json()["groups"].as_array().expect("a list").clone();
    groups.iter().filter(|group| group["state"] == "up").count()
}

/// Clients ask until told to stop; the answers by status.
fn asking(address: SocketAddr, over: &Arc<AtomicBool>) -> Vec<thread::JoinHandle<BTreeMap<u16, usize>>> {
    let client = |name| {
        let over = Arc::clone(over);
        thread::spawn(move || {
            let mut client = Client::new(address, name);
            let mut counts = BTreeMap::new();
            while !over.load(Relaxed) {
                client.send(BODY);
                *counts.entry(client.receive()).or_insert(0) += 1;
            }
            client.end();
            counts
        })
    };
    (0..8).map(client).collect()
}

#[test]
fn every_request_gets_one_answer_while_placements_change() {
    let deployment = deployment(1, 2, 3, Span::from_nanos(300_000), Slo::None);
    let rates = FaultRates { panic: 0.001, fail: 0.005, ..FaultRates::default() };
    let backend = Faulty::new(sleeper(&deployment, 1), rates, Seed(3));
    let supervision = Supervision { backoff: Span::from_millis(1), attempts: 1000, ..Supervision::default() };
    let engine = EngineSettings { supervision, ..EngineSettings::default() };
    let server = Server::start(Arc::new(backend), deployment, ServerSettings { engine, ..settings() });
    let server = server.expect("it starts");
    let at = server.address();
    let over = Arc::new(AtomicBool::new(false));
    let clients = asking(at, &over);
    for placement in [REPLICAS, PIPELINE, REPLICAS, REPLICAS, PIPELINE, REPLICAS] {
        let before = count(&server, "in_slo");
        let reply = put(at, placement);
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.json()["groups"].as_array().map(Vec::len), Some(if placement == PIPELINE { 1 } else { 2 }));
        // Counts go on, and the new groups serve.
        let served = count(&server, "in_slo");
        assert!(served >= before);
        while count(&server, "in_slo") == served {
            thread::yield_now();
        }
    }
    over.store(true, Relaxed);
    let mut counts = BTreeMap::new();
    for (status, count) in clients.into_iter().flat_map(|client| client.join().expect("each gets one answer")) {
        *counts.entry(status).or_insert(0) += count;
    }
    assert!(counts.keys().all(|status| [200, 400, 500, 503].contains(status)), "{counts:?}");
    assert_eq!(count(&server, "in_slo"), counts[&200]);
    server.stop();
}

fn count(server: &Server, outcome: &str) -> usize {
    let metrics = server.gateway().statistics().text();
    let name = format!("statmux_requests_total{{model=\"m0\",outcome=\"{outcome}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.and_then(|count| count.parse().ok()).expect("every outcome is counted")
}

#[test]
fn what_is_inside_is_answered_and_what_comes_meanwhile_is_told_to_come_back() {
    let server = server(deployment(1, 2, 3, Span::from_millis(500), Slo::None), settings());
    let at = server.address();
    let gateway = server.gateway();
    let mut inside = Client::new(at, 0);
    inside.send(BODY);
    while gateway.inside() == 0 {
        thread::yield_now();
    }
    let change = thread::spawn(move || put(at, REPLICAS));
    while !gateway.is_replacing() {
        thread::yield_now();
    }
    let refused = post(at, "/v1/embeddings", BODY);
    assert_eq!((refused.status, refused.json()["error"]["reason"].as_str()), (503, Some("replacing")));
    assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    assert_eq!(put(at, PIPELINE).status, 409, "one change at a time");
    assert_eq!(get(at, "/v2/health/ready").status, 503);
    assert_eq!(inside.receive(), 200);
    let changed = change.join().expect("it is answered");
    assert_eq!((changed.status, up(&changed)), (200, 2));
    assert_eq!(get(at, "/v2/health/ready").status, 200);
    inside.send(BODY);
    assert_eq!(inside.receive(), 200, "the connection stays");
    server.stop();
}

#[test]
fn placements_that_cannot_be_carried_out_change_nothing() {
    let server = server(deployment(1, 2, 3, Span::from_millis(1), Slo::None), settings());
    let at = server.address();
    let before = server.gateway();
    let check = |placement: &str, expected: &str| {
        let reply = put(at, placement);
        assert_eq!(reply.status, 400, "{placement}: {}", reply.body);
        assert!(reply.body.contains(expected), "{}", reply.body);
    };
    check("{", "malformed");
    check(r#"{"version":1,"windows":[],"x":1}"#, "unknown key `x`");
    check(r#"{"version":1,"windows":[]}"#, "at least one window");
    check(r#"{"version":9,"windows":[]}"#, "version");
    check(&PIPELINE.replace("m1", "nope"), "unknown model `nope`");
    check(&PIPELINE.replace("\"op\":1,\"pp\":2", "\"op\":2,\"pp\":1"), "no measurement for op 2 x pp 1");
    check(&PIPELINE.replace("\"op\"", "\"devices\":[1,2],\"op\""), "the cluster has 2 devices");
    let scheduled = PIPELINE.replacen(
        "\"windows\"",
        "\"scheduling\":{\"dispatch\":\"late-binding\",\"discipline\":\"edf\",\"max_batch\":4},\"windows\"",
        1,
    );
    check(&scheduled, "late-binding");
    let twice = r#"{"version":1,"windows":[{"groups":[]},{"start_s":1,"groups":[]}]}"#;
    check(twice, "one placement at a time");
    check(r#"{"version":1,"windows":[{"groups":[]}]}"#, "hold no model");
    check(r#"{"version":1,"windows":[{"groups":[{"op":1,"pp":2,"models":[]}]}]}"#, "model");
    // Nor does the placement that is served already.
    assert_eq!(put(at, PIPELINE).status, 200);
    assert!(Arc::ptr_eq(&before, &server.gateway()));
    post(at, "/admin/drain", "");
    assert_eq!(put(at, REPLICAS).status, 503);
    server.stop();
}

#[test]
fn the_log_of_changing_placements_replays_to_the_same_actions() {
    let deployment = deployment(1, 2, 3, Span::from_nanos(300_000), Slo::Latency(Span::from_millis(50)));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.jsonl");
    let file = PlacementFile::new(&PlacementWindows::fixed(deployment.placement.clone()), &deployment.models);
    let names = deployment.models.iter().map(|model| model.name.clone()).collect();
    let writer = LogWriter::create(&path, &LogHeader::new(names, file, 0)).expect("the folder is ours");
    let engine = EngineSettings { record: Record::Sent(writer.lines()), ..EngineSettings::default() };
    let server = server(deployment.clone(), ServerSettings { engine, ..settings() });
    let at = server.address();
    for placement in [REPLICAS, PIPELINE, PIPELINE] {
        assert_eq!(post(at, "/v1/embeddings", BODY).status, 200);
        assert_eq!(put(at, placement).status, 200);
    }
    assert_eq!(post(at, "/v1/embeddings", BODY).status, 200);
    server.stop();
    let end = writer.finish();
    assert!(end.is_complete(), "{end:?}");
    let written = end.written;
    let mut placements = Vec::new();
    let log = LogReader::open(&path).expect("it opens");
    let replay = log.replay(|header: &LogHeader| {
        let common = (&deployment.cluster, &deployment.models);
        let windows = header.placement.clone().resolve(Path::new("log"), common.0, common.1, 1)?;
        let placement = &windows.0[0].placement;
        placements.push(placement.groups.len());
        let times = StageTimes::new(placement, common.0, common.1, 0.0, 1).expect("all is profiled");
        Ok::<_, FileError>((placement.groups.len(), machine(Settings::default(), times)))
    });
    let replay = replay.expect("well formed");
    // Two lines are placements.
    assert_eq!((replay.entries, replay.difference, replay.gaps.len()), (written - 2, None, 0));
    assert_eq!(placements, [1, 2, 1], "the same placement again is no change");
}
