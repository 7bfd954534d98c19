//! Requests of several inputs: taken in as a whole, or refused as a whole before any device works for them.

mod common;

use common::{ask, deployment, get, server, settings};
use statmux_core::{Slo, Span};
use statmux_sched::discipline::AnyDiscipline;
use statmux_sched::{Action, Dispatch, Event, Settings};
use statmux_serve::{EngineSettings, Record, Server, ServerSettings};
use std::io::Write;
use std::net::TcpStream;

/// One group of two stages of 10 ms for three models, the last one a decoder, and no SLO but what requests ask for.
fn started(scheduler: Settings) -> Server {
    let engine = EngineSettings { scheduler, record: Record::Memory, ..EngineSettings::default() };
    server(deployment(1, 2, 3, Span::from_millis(10), Slo::None), ServerSettings { engine, ..settings() })
}

/// `count` inputs asked for on each path that takes several, to be answered within `deadline_ms`.
fn bodies(count: usize, deadline_ms: f64) -> Vec<(&'static str, String)> {
    let texts = vec!["\"a\""; count].join(",");
    let rows = vec!["5"; count].join(",");
    vec![
        ("/v1/embeddings", format!(r#"{{"model":"m0","input":[{texts}],"deadline_ms":{deadline_ms}}}"#)),
        (
            "/v1/completions",
            format!(r#"{{"model":"m2","prompt":[{texts}],"max_tokens":1,"deadline_ms":{deadline_ms}}}"#),
        ),
        (
            "/v1/completions",
            format!(r#"{{"model":"m2","prompt":"a","n":{count},"max_tokens":1,"deadline_ms":{deadline_ms}}}"#),
        ),
        (
            "/v2/models/m0/infer",
            format!(
                r#"{{"inputs":[{{"name":"input_ids","datatype":"INT64","shape":[{count},1],"data":[{rows}]}}],
                    "parameters":{{"deadline_ms":{deadline_ms}}}}}"#
            ),
        ),
    ]
}

#[test]
fn what_cannot_all_be_in_time_is_refused_at_once_and_not_asked_again() {
    for dispatch in Dispatch::ALL {
        for discipline in AnyDiscipline::ALL {
            let server = started(Settings { dispatch, discipline, ..Settings::default() });
            let at = server.address();
            for (path, body) in bodies(40, 300.0) {
                let reply = ask(at, "POST", path, "", &body);
                assert_eq!(reply.status, 429, "{dispatch:?} {discipline:?} {path}: {}", reply.body);
                assert!(reply.body.contains("too_late"), "{}", reply.body);
                // 40 inputs take a stage of 10 ms 400 ms, whenever they are asked for.
                assert!(reply.head.contains("x-should-retry: false"), "{}", reply.head);
                assert!(!reply.head.contains("retry-after"), "{}", reply.head);
            }
            let metrics = get(at, "/metrics").body;
            let log = server.stop();
            assert!(
                log.entries.iter().flat_map(|entry| &entry.actions).all(|action| matches!(action, Action::Reject(..))),
                "a device worked for what was refused"
            );
            assert!(!metrics.lines().any(|line| line.contains("outcome=\"in_slo\"") && !line.ends_with(" 0")));
            assert!(
                log.entries.iter().any(|entry| matches!(&entry.event, Event::ArrivedTogether(all) if all.len() == 40))
            );
        }
    }
}

#[test]
fn what_can_all_be_in_time_is_answered_whole() {
    for dispatch in Dispatch::ALL {
        let server = started(Settings { dispatch, ..Settings::default() });
        for (path, body) in bodies(5, 60_000.0) {
            let reply = ask(server.address(), "POST", path, "", &body);
            assert_eq!(reply.status, 200, "{dispatch:?} {path}: {}", reply.body);
        }
        let log = server.stop();
        let completed = log.entries.iter().flat_map(|entry| &entry.actions);
        assert_eq!(completed.filter(|action| matches!(action, Action::Complete(_))).count(), 20);
    }
}

#[test]
fn what_waiting_may_help_says_when_to_come_back() {
    let scheduler = Settings { max_waiting: 3, ..Settings::default() };
    let engine = EngineSettings { scheduler, ..EngineSettings::default() };
    let deployment = deployment(1, 1, 3, Span::from_millis(1000), Slo::None);
    let server = server(deployment, ServerSettings { engine, ..settings() });
    // One runs and three wait; the client does not wait for them to end.
    let mut others = TcpStream::connect(server.address()).expect("it listens");
    let body = r#"{"model":"m0","input":["a","a","a","a"]}"#;
    write!(others, "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .expect("it reads");
    while server.gateway().inside() < 4 {
        std::thread::yield_now();
    }
    for (path, body) in bodies(4, 60_000.0) {
        let reply = ask(server.address(), "POST", path, "", &body);
        assert_eq!(reply.status, 429, "{path}: {}", reply.body);
        assert!(reply.body.contains("queue_full"), "{}", reply.body);
        assert!(reply.head.contains("retry-after: ") && !reply.head.contains("x-should-retry"), "{}", reply.head);
    }
    drop(others);
    server.stop();
}

#[test]
fn what_would_not_fit_an_idle_server_is_not_asked_again() {
    let waiting =
        EngineSettings { scheduler: Settings { max_waiting: 3, ..Settings::default() }, ..Default::default() };
    let inside = EngineSettings { concurrency: 4, ..EngineSettings::default() };
    for (engine, status, reason) in [(waiting, 429, "queue_full"), (inside, 503, "overloaded")] {
        let deployment = deployment(1, 2, 3, Span::from_millis(1), Slo::None);
        let server = server(deployment, ServerSettings { engine, ..settings() });
        for (count, fits) in [(4, true), (5, false)] {
            for (path, body) in bodies(count, 60_000.0) {
                let reply = ask(server.address(), "POST", path, "", &body);
                assert_eq!(reply.status, if fits { 200 } else { status }, "{path}: {}", reply.body);
                assert!(fits || reply.body.contains(reason), "{}", reply.body);
                assert_eq!(reply.head.contains("x-should-retry: false"), !fits, "{}", reply.head);
                assert!(!reply.head.contains("retry-after"), "{}", reply.head);
            }
        }
        server.stop();
    }
}
