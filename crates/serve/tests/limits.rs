//! Everything that a request can make large has a limit that is checked before any work is done for it.

mod common;

use common::{ask, deployment, get, parse, post, raw, settings};
use statmux_core::{Slo, Span};
use statmux_serve::Server;
use statmux_serve::http::HttpSettings;
use statmux_serve::http::limits::RequestLimits;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const LIMITS: RequestLimits = RequestLimits { inputs: 6, tokens: 60, text_bytes: 40, answer_bytes: 4 * 256 * 2 };

/// A server whose limits are small, so that the table can go beyond them by one.
fn server(http: HttpSettings) -> Server {
    let deployment = deployment(1, 1, 3, Span::from_millis(1), Slo::None);
    common::server(deployment, statmux_serve::ServerSettings { http, ..settings() })
}

/// A path, and what is posted to it.
type Call = (&'static str, String);

fn list(item: &str, count: usize) -> String {
    format!("[{}]", vec![item; count].join(","))
}

fn embeddings(input: &str) -> Call {
    ("/v1/embeddings", format!(r#"{{"model":"m0","input":{input}}}"#))
}

fn completion(rest: &str) -> Call {
    ("/v1/completions", format!(r#"{{"model":"m2",{rest}}}"#))
}

fn chat(rest: &str) -> Call {
    ("/v1/chat/completions", format!(r#"{{"model":"m2",{rest}}}"#))
}

fn infer(model: &'static str, inputs: &str) -> Call {
    let path = if model == "m0" { "/v2/models/m0/infer" } else { "/v2/models/m2/infer" };
    (
        path,
        format!(r#"{{"inputs":[{inputs}],"parameters":{{{}}}}}"#, if model == "m2" { "\"max_tokens\":1" } else { "" }),
    )
}

fn tensor(name: &str, datatype: &str, shape: &[usize], data: &str) -> String {
    format!(r#"{{"name":"{name}","datatype":"{datatype}","shape":{shape:?},"data":{data}}}"#)
}

#[test]
fn what_is_just_allowed_passes_and_what_is_beyond_is_refused_before_any_work() {
    let server = server(HttpSettings { request: LIMITS, ..HttpSettings::default() });
    let at = server.address();
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
    let turns = |bytes: usize| format!(r#"[{{"role":"user","content":{}}}]"#, text(bytes - 4 - 16));
    let ids = |rows: usize, width: usize| tensor("input_ids", "INT64", &[rows, width], &list("5", rows * width));
    let positions = |rows: usize, width: usize| tensor("positions", "INT64", &[rows, width], &list("0", rows * width));
    // What is the most, what is too much, and the field that is to blame.
    let table: [(Call, Call, &str); 14] = [
        (embeddings(&list("\"a\"", 6)), embeddings(&list("\"a\"", 7)), "input"),
        (embeddings(&list("[5]", 6)), embeddings(&list("[5]", 7)), "input"),
        (embeddings(&text(40)), embeddings(&text(41)), "input"),
        (embeddings(&list(&list("5", 10), 6)), embeddings(&list(&list("5", 11), 6)), "input"),
        (
            completion(r#""prompt":["a","b","c"],"n":2,"max_tokens":1"#),
            completion(r#""prompt":["a","b","c","d"],"n":2,"max_tokens":1"#),
            "prompt",
        ),
        (
            completion(r#""prompt":"a","n":6,"max_tokens":1"#),
            completion(r#""prompt":"a","n":7,"max_tokens":1"#),
            "prompt",
        ),
        (
            completion(r#""prompt":"a","n":6,"max_tokens":9"#),
            completion(r#""prompt":"a","n":6,"max_tokens":10"#),
            "prompt",
        ),
        (
            completion(&format!(r#""prompt":{},"max_tokens":1"#, text(40))),
            completion(&format!(r#""prompt":{},"max_tokens":1"#, text(41))),
            "prompt",
        ),
        (
            chat(&format!(r#""messages":{},"max_tokens":1"#, turns(40))),
            chat(&format!(r#""messages":{},"max_tokens":1"#, turns(41))),
            "messages",
        ),
        (infer("m0", &ids(6, 1)), infer("m0", &ids(7, 1)), "inputs"),
        (infer("m0", &ids(6, 10)), infer("m0", &ids(6, 11)), "inputs"),
        (infer("m2", &ids(6, 1)), infer("m2", &ids(7, 1)), "inputs"),
        (
            infer("m0", &tensor("text", "BYTES", &[1], &list(&text(40), 1))),
            infer("m0", &tensor("text", "BYTES", &[1], &list(&text(41), 1))),
            "inputs",
        ),
        (
            infer("m0", &format!("{},{}", ids(1, 1), positions(1, 2))),
            infer("m0", &format!("{},{}", ids(1, 1), positions(1, 3))),
            "inputs",
        ),
    ];
    for ((path, allowed), (_, beyond), field) in table {
        let seen = requests(&server);
        let reply = post(at, path, &beyond);
        assert_eq!(reply.status, 400, "{path} {beyond}: {}", reply.body);
        let json = reply.json();
        let param = json["error"]["param"].as_str().or(json["param"].as_str());
        assert_eq!(param, Some(field), "{path}: {}", reply.body);
        assert!(reply.head.contains("x-should-retry: false"), "{}", reply.head);
        assert_eq!(requests(&server), seen, "{path}: the scheduler was asked");
        let reply = post(at, path, &allowed);
        assert_eq!(reply.status, 200, "{path} {allowed}: {}", reply.body);
        assert_ne!(requests(&server), seen);
    }
    server.stop();
}

/// What the server says of requests that were taken in.
fn requests(server: &Server) -> Vec<String> {
    let metrics = get(server.address(), "/metrics").body;
    metrics.lines().filter(|line| line.starts_with("statmux_requests_total")).map(str::to_owned).collect()
}

#[test]
fn texts_that_cannot_fit_a_context_are_not_tokenised() {
    let server = server(HttpSettings::default());
    // The sleeping model's context is short; its bytes are bounded with it, whatever the option allows.
    let reply =
        post(server.address(), "/v1/embeddings", &format!(r#"{{"model":"m0","input":"{}"}}"#, "x".repeat(7 << 20)));
    assert_eq!((reply.status, reply.json()["error"]["param"].as_str()), (400, Some("input")));
    server.stop();
}

#[test]
fn bodies_that_do_not_end_leave_room_for_others_and_give_it_back() {
    let server = server(HttpSettings { bodies_limit: 2 << 20, ..HttpSettings::default() });
    let at = server.address();
    let begin = |bytes: usize| {
        let mut socket = TcpStream::connect(at).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a valid time");
        let head = "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n";
        // The one that is refused may be closed before all is written.
        let _ = socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(&vec![b' '; bytes]));
        socket
    };
    let mut waiting = [begin(900 << 10), begin(1200 << 10)];
    // There is no room for both: one of them is told.
    let mut answer = [0; 4096];
    let told = (0..1000).find_map(|turn: usize| waiting[turn % 2].read(&mut answer).ok().filter(|&length| length > 0));
    let refused = parse(&String::from_utf8_lossy(&answer[..told.expect("one of them is told")]));
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.head.contains("retry-after: "), "{}", refused.head);
    assert!(refused.body.contains("overloaded"), "{}", refused.body);
    // Bodies of usual length get in beside the other one.
    let small = r#"{"model":"m0","input":"a"}"#;
    assert_eq!(post(at, "/v1/embeddings", small).status, 200);
    // When they are gone, there is room again.
    drop(waiting);
    let long = format!("{}{small}", " ".repeat(700 << 10));
    let again = (0..200).any(|_| ask(at, "POST", "/v1/embeddings", "", &long).status == 200);
    assert!(again, "what a broken body took is given back");
    assert_eq!(parse(&raw(at, b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).status, 200);
    server.stop();
}

/// Clients at a socket, whose buffers are small: an answer that is not read stays with the server.
#[cfg(unix)]
mod unread {
    use super::*;
    use common::sleeper;
    use statmux_serve::ServerSettings;
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::sync::Arc;

    /// A request for a vocabulary of numbers at each of so many positions.
    fn ask(socket: &Path, positions: usize) -> UnixStream {
        let (_, body) = infer(
            "m0",
            &format!(
                "{},{}",
                tensor("input_ids", "INT64", &[1, 1], "[5]"),
                tensor("positions", "INT64", &[1, positions], &list("0", positions))
            ),
        );
        send(socket, "/v2/models/m0/infer", &body)
    }

    fn send(socket: &Path, path: &str, body: &str) -> UnixStream {
        let mut stream = UnixStream::connect(socket).expect("it listens");
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("it reads");
        stream
    }

    /// The first bytes of an answer: it is on its way.
    fn begun(stream: &mut UnixStream) -> u16 {
        let mut head = [0; 12];
        stream.read_exact(&mut head).expect("it answers");
        String::from_utf8_lossy(&head)[9..].parse().expect("a status")
    }

    fn whole(mut stream: UnixStream) -> common::Reply {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers and closes");
        parse(&String::from_utf8_lossy(&answer))
    }

    #[test]
    fn answers_that_are_not_taken_leave_room_for_others_and_give_it_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("s.sock");
        // An answer of 2,000 vocabularies of 256 numbers may take 8 MB; written, it takes 2 MB. Large ones share 9 MiB.
        let http = HttpSettings { answers_limit: 12 << 20, ..HttpSettings::default() };
        let deployment = deployment(1, 1, 2, Span::from_millis(1), Slo::None);
        let settings = ServerSettings { http, socket: Some(socket.clone()), ..settings() };
        let server = Server::start(Arc::new(sleeper(&deployment, 1)), deployment, settings).expect("it starts");
        let mut unread = ask(&socket, 2000);
        assert_eq!(begun(&mut unread), 200);
        let refused = whole(ask(&socket, 2000));
        assert_eq!(refused.status, 503);
        assert!(refused.head.contains("retry-after: "), "{}", refused.head);
        assert_eq!(refused.json()["reason"], "overloaded");
        // Ordinary ones get in beside it.
        let small = whole(send(&socket, "/v1/embeddings", r#"{"model":"m0","input":["a","b"]}"#));
        assert_eq!(small.status, 200, "{}", small.body);
        // One for which there will never be room is the client's fault.
        let never = whole(ask(&socket, 4000));
        assert_eq!(never.status, 400, "{}", never.body);
        assert!(never.head.contains("x-should-retry: false"), "{}", never.head);
        // When it was read, or its client is gone, there is room again.
        let mut rest = Vec::new();
        unread.read_to_end(&mut rest).expect("all of it");
        let unread = again(&socket);
        drop(unread);
        drop(again(&socket));
        server.stop();
    }

    #[test]
    fn clients_that_take_nothing_are_hung_up_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("s.sock");
        let send_timeout = Duration::from_millis(50);
        let http = HttpSettings { answers_limit: 12 << 20, send_timeout, ..HttpSettings::default() };
        let deployment = deployment(1, 1, 2, Span::from_millis(1), Slo::None);
        let settings = ServerSettings { http, socket: Some(socket.clone()), ..settings() };
        let server = Server::start(Arc::new(sleeper(&deployment, 1)), deployment, settings).expect("it starts");
        let mut unread = ask(&socket, 2000);
        assert_eq!(begun(&mut unread), 200);
        // There is room again, though the client is still there.
        drop(again(&socket));
        let mut rest = Vec::new();
        let _ = unread.read_to_end(&mut rest);
        assert!(rest.len() < 2000 * 256 * 4, "{} bytes are more than was on its way", rest.len());
        server.stop();
    }

    /// Asks until there is room: a server hears of what its clients did when it next looks.
    fn again(socket: &Path) -> UnixStream {
        for _ in 0..10_000 {
            let mut stream = ask(socket, 2000);
            if begun(&mut stream) == 200 {
                return stream;
            }
        }
        panic!("what was taken is not given back");
    }
}

#[test]
fn small_bodies_that_become_large_are_refused_as_they_grow() {
    let server = server(HttpSettings { bodies_limit: 4 << 20, ..HttpSettings::default() });
    let at = server.address();
    // 3 MiB are there for a large one; these take ten times their length and more when they are read.
    let bodies = [list("[]", 200 << 10), list("{}", 200 << 10), list("{\"\":0}", 80 << 10)];
    for body in bodies {
        for (path, text) in [
            ("/v1/embeddings", format!(r#"{{"model":"m0","input":{body}}}"#)),
            ("/v1/completions", format!(r#"{{"model":"m2","prompt":{body}}}"#)),
            ("/v1/chat/completions", format!(r#"{{"model":"m2","messages":{body}}}"#)),
            ("/v2/models/m0/infer", format!(r#"{{"inputs":{body}}}"#)),
        ] {
            let reply = post(at, path, &text);
            assert_eq!(reply.status, 413, "{path}: {}", reply.body);
        }
        assert_eq!(post(at, "/v1/embeddings", r#"{"model":"m0","input":"a"}"#).status, 200);
    }
    server.stop();
}

#[test]
fn clients_beyond_the_limit_of_connections_are_told_and_others_go_on() {
    let server = server(HttpSettings { connections: 2, ..HttpSettings::default() });
    let at = server.address();
    let live = b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut kept = [0; 2].map(|_| TcpStream::connect(at).expect("it listens"));
    let mut lives = |socket: &mut TcpStream| {
        socket.write_all(live).expect("it reads");
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).expect("it answers");
        assert_eq!(&answer[9..], b"200");
    };
    kept.iter_mut().for_each(&mut lives);
    // It says so without being asked.
    let mut answer = Vec::new();
    TcpStream::connect(at).expect("it listens").read_to_end(&mut answer).expect("it is told and closed");
    let refused = parse(&String::from_utf8_lossy(&answer));
    assert_eq!(refused.status, 503);
    assert!(refused.head.contains("retry-after: ") && refused.head.contains("connection: close"), "{}", refused.head);
    assert_eq!(refused.json()["error"]["reason"], "overloaded");
    server.stop();
}

#[test]
fn conversations_of_many_small_turns_are_measured_by_what_templates_write() {
    let server =
        server(HttpSettings { request: RequestLimits { text_bytes: 1000, ..LIMITS }, ..HttpSettings::default() });
    for (turns, expected) in [(2, 200), (200, 400)] {
        let (_, body) = chat(&format!(r#""messages":{},"max_tokens":1"#, list(r#"{"role":"u","content":""}"#, turns)));
        let reply = post(server.address(), "/v1/chat/completions", &body);
        assert_eq!(reply.status, expected, "{}", reply.body);
    }
    server.stop();
}
