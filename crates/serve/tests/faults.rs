//! What may go wrong around and below the front, under load: nobody is left without an answer, or gets two.

mod common;

use common::client::{BODY, Client};
use common::{deployment, post, raw, server, settings, sleeper};
use statmux_core::{Cluster, Device, Seed, Slo, Span};
use statmux_sched::{Feedback, Settings, StageTimes};
use statmux_serve::faulty::{FaultRates, Faulty};
use statmux_serve::http::HttpSettings;
use statmux_serve::{EngineSettings, Server, ServerSettings, Supervision};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

/// How `clients` connections with `requests` requests each are answered, by status.
fn load(address: SocketAddr, clients: usize, requests: usize) -> BTreeMap<u16, usize> {
    let client = |name| {
        thread::spawn(move || {
            let mut client = Client::new(address, name);
            let mut statuses = Vec::new();
            for n in 0..requests {
                let bad = (name + n) % 50 == 0;
                client.send(if bad { "{\"model\":" } else { BODY });
                let status = client.receive();
                assert!(!bad || status == 400, "{status}");
                statuses.push(status);
            }
            client.end();
            statuses
        })
    };
    let threads: Vec<_> = (0..clients).map(client).collect();
    let mut counts = BTreeMap::new();
    for status in threads.into_iter().flat_map(|thread| thread.join().expect("each gets one answer")) {
        *counts.entry(status).or_insert(0) += 1;
    }
    counts
}

#[test]
fn every_request_over_http_gets_one_answer_whatever_breaks() {
    let deployment = deployment(4, 2, 3, Span::from_nanos(200_000), Slo::None);
    let rates = FaultRates {
        panic: 0.000_5,
        lost: 0.002,
        hang: 0.000_5,
        fail: 0.005,
        slow: 0.01,
        open: 0.1,
        hang_lasts: Duration::from_millis(300),
        ..FaultRates::default()
    };
    let backend = Arc::new(Faulty::new(sleeper(&deployment, 1), rates, Seed(11)));
    let supervision = Supervision {
        hang_minimum: Span::from_millis(100),
        backoff: Span::from_millis(1),
        attempts: 1000,
        ..Supervision::default()
    };
    let engine = EngineSettings { supervision, ..EngineSettings::default() };
    let server = Server::start(Arc::clone(&backend), deployment, ServerSettings { engine, ..settings() });
    let server = server.expect("it starts");
    let at = server.address();
    // Beside the load: garbage, halves, and clients that go away while they are served.
    let rude = thread::spawn(move || {
        for n in 0..100 {
            raw(at, b"\x16\x03\x01\x00garbage\r\n\r\n");
            let mut socket = TcpStream::connect(at).expect("it listens");
            let length = if n % 2 == 0 { BODY.len() } else { 50 };
            let head = format!("POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{BODY}");
            socket.write_all(head.as_bytes()).expect("it reads");
        }
    });
    let counts = load(at, 16, 250);
    rude.join().expect("rude clients are not harmed either");
    assert_eq!(counts.values().sum::<usize>(), 4000);
    assert!(counts.keys().all(|status| [200, 400, 500, 503].contains(status)), "{counts:?}");
    assert!(counts[&200] > 3000, "{counts:?}");
    assert!(backend.faults() > 30, "{} faults", backend.faults());
    while server.gateway().inside() > 0 {
        thread::yield_now();
    }
    server.stop();
}

#[test]
fn a_device_that_is_five_times_slower_is_found_out_and_the_other_serves() {
    let deployment = deployment(2, 1, 3, Span::from_millis(20), Slo::Latency(Span::from_millis(85)));
    let device = |speed| Device { speed, ..deployment.cluster.devices()[0].clone() };
    let slow = Cluster::new(vec![device(0.2), device(1.0)]);
    let truth = StageTimes::new(&deployment.placement, &slow, &deployment.models, 0.0, 1).expect("all is profiled");
    let backend = Arc::new(sleeper(&deployment, 1).with_times(truth));
    let scheduler = Settings { feedback: Feedback::Ewma { weight: 0.5 }, ..Settings::default() };
    let engine = EngineSettings { scheduler, ..EngineSettings::default() };
    let server = Server::start(backend, deployment, ServerSettings { engine, ..settings() }).expect("it starts");
    let counts = load(server.address(), 3, 40);
    assert_eq!(counts.values().sum::<usize>(), 120);
    assert!(counts[&200] > 60, "{counts:?}");
    let gateway = server.gateway();
    let groups = &gateway.board().groups;
    let laps: Vec<u64> = groups.iter().map(|group| group.stages[0].laps.load(Relaxed)).collect();
    assert!(laps[0] < 10 && laps[1] > 60, "{laps:?}");
    assert!(groups.iter().all(|group| group.state() == "up" && group.restarts.load(Relaxed) == 0));
    server.stop();
}

#[test]
fn idle_connections_take_nothing_from_others() {
    let http = HttpSettings { connections: 10_100, ..HttpSettings::default() };
    let deployment = deployment(1, 1, 3, Span::from_millis(1), Slo::None);
    let server = server(deployment, ServerSettings { http, ..settings() });
    let at = server.address();
    // Both ends are files of this process, which the server has just been allowed as many of as there may be.
    let idle: Vec<_> =
        (0..10_000.min(file_limit() / 2 - 200)).map(|_| TcpStream::connect(at).expect("it listens")).collect();
    let open = server.gateway().statistics().connections.clone();
    while open.get() < idle.len() as i64 {
        thread::yield_now();
    }
    let counts = load(at, 4, 25);
    assert_eq!((counts[&200], counts.len()), (99, 2), "one of a hundred is bad on purpose: {counts:?}");
    drop(idle);
    while open.get() > 0 {
        thread::yield_now();
    }
    assert_eq!(post(at, "/v1/embeddings", BODY).status, 200);
    server.stop();
}

/// How many files this process may have open.
fn file_limit() -> usize {
    #[cfg(unix)]
    {
        let (soft, _) =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("it is known");
        usize::try_from(soft).unwrap_or(usize::MAX)
    }
    #[cfg(not(unix))]
    2000
}

#[test]
fn a_client_that_leaves_before_its_turn_costs_nothing() {
    let deployment = deployment(1, 1, 3, Span::from_millis(1_000), Slo::None);
    let server = server(deployment, settings());
    let gateway = server.gateway();
    let mut first = Client::new(server.address(), 0);
    first.send(BODY);
    while gateway.inside() < 1 {
        thread::yield_now();
    }
    let mut second = Client::new(server.address(), 1);
    second.send(BODY);
    while gateway.inside() < 2 {
        thread::yield_now();
    }
    drop(second);
    while gateway.inside() > 1 {
        thread::yield_now();
    }
    assert_eq!(gateway.board().groups[0].stages[0].laps.load(Relaxed), 0, "the first still runs");
    assert_eq!(first.receive(), 200);
    first.send(BODY);
    assert_eq!(first.receive(), 200);
    assert_eq!(gateway.board().groups[0].stages[0].laps.load(Relaxed), 2);
    assert!(gateway.statistics().text().contains("statmux_requests_total{model=\"m0\",outcome=\"cancelled\"} 1"));
    server.stop();
}

#[test]
fn limits_of_waiting_and_of_concurrency_are_told_at_once() {
    let check = |max_waiting, concurrency, status, reason: &str| {
        let scheduler = Settings { max_waiting, ..Settings::default() };
        let engine = EngineSettings { scheduler, concurrency, ..EngineSettings::default() };
        let deployment = deployment(1, 1, 3, Span::from_millis(1_000), Slo::None);
        let server = server(deployment, ServerSettings { engine, ..settings() });
        let mut inside: Vec<_> = (0..2).map(|name| Client::new(server.address(), name)).collect();
        for (n, client) in inside.iter_mut().enumerate() {
            client.send(BODY);
            while server.gateway().inside() < n + 1 {
                thread::yield_now();
            }
        }
        let refused = post(server.address(), "/v1/embeddings", BODY);
        assert_eq!((refused.status, refused.json()["error"]["reason"].as_str()), (status, Some(reason)));
        assert!(inside.iter_mut().all(|client| client.receive() == 200));
        server.stop();
    };
    check(1, 100, 429, "queue_full");
    check(100, 2, 503, "overloaded");
}
