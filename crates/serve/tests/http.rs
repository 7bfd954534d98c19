//! The front as clients meet it, polite and otherwise.

mod common;

use common::{ask, deployment, get, keys, parse, post, raw, server, settings};
use statmux_core::{Slo, Span};
use statmux_serve::http::HttpSettings;
use statmux_serve::{Server, ServerSettings};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn quick() -> Server {
    server(deployment(2, 2, 3, Span::from_millis(10), Slo::Latency(Span::from_millis(500))), settings())
}

#[test]
fn openai_paths_answer() {
    let server = quick();
    let at = server.address();
    assert_eq!(get(at, "/v1/models").json()["data"][2]["id"], "m2");
    assert_eq!(get(at, "/v1/models/m1").json()["object"], "model");
    let reply = post(at, "/v1/embeddings", r#"{"model":"m0","input":["a","b"]}"#);
    assert_eq!(reply.json()["data"][1]["embedding"].as_array().expect("a vector").len(), 8);
    assert!(reply.head.contains("x-statmux-group: ") && reply.head.contains("server-timing: queue;dur="));
    let reply = post(at, "/v1/embeddings", r#"{"model":"m0","input":[1,2],"encoding_format":"base64"}"#);
    assert!(reply.json()["data"][0]["embedding"].is_string());
    let reply = post(at, "/v1/completions", r#"{"model":"m2","prompt":"abc def","max_tokens":9,"stop":["c d"]}"#);
    assert_eq!(reply.json()["choices"][0]["text"], "ab");
    assert_eq!(reply.json()["choices"][0]["finish_reason"], "stop");
    let chat = r#"{"model":"m2","messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"max_tokens":5}"#;
    let reply = post(at, "/v1/chat/completions", chat).json();
    assert_eq!(reply["choices"][0]["message"]["content"], "user:");
    assert_eq!(reply["usage"]["completion_tokens"], 5);
    server.stop();
}

#[test]
fn answers_stream_as_events() {
    let server = quick();
    let chat = r#"{"model":"m2","stream":true,"stream_options":{"include_usage":true},"max_tokens":3,
        "messages":[{"role":"user","content":"hi"}]}"#;
    let reply = post(server.address(), "/v1/chat/completions", chat);
    assert!(reply.head.contains("text/event-stream"));
    let events: Vec<&str> = reply.body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    assert_eq!(events.last(), Some(&"[DONE]"));
    let chunks: Vec<serde_json::Value> =
        events[..events.len() - 1].iter().map(|event| serde_json::from_str(event).expect("JSON")).collect();
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "use");
    assert!(chunks.len() >= 6, "role, three tokens, end, usage");
    assert_eq!(chunks[chunks.len() - 1]["usage"]["completion_tokens"], 3);
    server.stop();
}

#[test]
fn the_open_inference_protocol_answers() {
    let server = quick();
    let at = server.address();
    for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/m0/ready", "/v2/models/m0/versions/1/ready"] {
        assert_eq!(get(at, path).status, 200, "{path}");
    }
    assert_eq!(get(at, "/v2").json()["extensions"][0], "binary_tensor_data");
    assert_eq!(get(at, "/v2/models/m2").json()["outputs"][0]["name"], "output_ids");
    let body = r#"{"id":"7","inputs":[{"name":"input_ids","datatype":"INT64","shape":[1,2],"data":[[5,6]]}]}"#;
    let reply = post(at, "/v2/models/m0/infer", body).json();
    assert_eq!((&reply["id"], &reply["outputs"][0]["shape"]), (&"7".into(), &serde_json::json!([1, 8])));
    let masked = r#"{"inputs":[{"name":"input_ids","datatype":"INT64","shape":[1,2],"data":[5,6]},
        {"name":"positions","datatype":"INT64","shape":[1,1],"data":[1]}]}"#;
    let reply = post(at, "/v2/models/m0/infer", masked).json();
    assert_eq!(reply["outputs"][0]["data"][6], 1.0);
    let text =
        r#"{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":["hi"]}],"parameters":{"max_tokens":3}}"#;
    assert_eq!(post(at, "/v2/models/m2/infer", text).json()["outputs"][1]["data"][0], "hih");
    let error = post(at, "/v2/models/nope/infer", body);
    assert_eq!(error.status, 404);
    assert!(error.json()["error"].is_string());
    server.stop();
}

#[test]
fn what_comes_too_late_is_refused_at_once_with_figures() {
    let server = quick();
    let at = server.address();
    let body = r#"{"model":"m0","input":"x"}"#;
    let started = Instant::now();
    let reply = ask(at, "POST", "/v1/embeddings", "x-statmux-deadline-ms: 12.5\r\n", body);
    assert!(started.elapsed() < Duration::from_secs(2));
    let error = &reply.json()["error"];
    assert_eq!((reply.status, error["reason"].as_str()), (429, Some("too_late")));
    assert_eq!(error["deadline_ms"], 12.5);
    assert!(error["predicted_ms"].as_f64().is_some_and(|ms| (20.0..40.0).contains(&ms)), "{error}");
    assert!(error.get("retry_after_ms").is_none(), "even an idle group takes longer: no use trying again");
    let reply = post(at, "/v1/embeddings", r#"{"model":"m0","input":"x","deadline_ms":5}"#);
    assert_eq!(reply.status, 429);
    assert_eq!(post(at, "/v1/embeddings", r#"{"model":"m0","input":"x","deadline_ms":-5}"#).status, 400);
    assert_eq!(ask(at, "POST", "/v1/embeddings", "x-statmux-deadline-ms: soon\r\n", body).status, 400);
    let metrics = get(at, "/metrics").body;
    assert!(metrics.contains("statmux_requests_total{model=\"m0\",outcome=\"too_late\"} 2"), "{metrics}");
    server.stop();
}

#[test]
fn a_busy_server_says_when_to_come_back() {
    let server = server(deployment(1, 1, 3, Span::from_millis(2000), Slo::None), settings());
    let at = server.address();
    let body = r#"{"model":"m0","input":"x"}"#;
    let mut socket = TcpStream::connect(at).expect("it listens");
    write!(socket, "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .expect("written");
    while server.gateway().inside() == 0 {
        std::thread::yield_now();
    }
    // In time on an idle server, but not after what runs.
    let reply = ask(at, "POST", "/v1/embeddings", "x-statmux-deadline-ms: 2100\r\n", body);
    assert_eq!(reply.status, 429, "{}", reply.body);
    let retry_ms = reply.json()["error"]["retry_after_ms"].as_f64().expect("a hint");
    assert!(retry_ms > 0.0 && retry_ms < 2000.0, "{retry_ms}");
    assert!(reply.head.contains("retry-after: "), "{}", reply.head);
    // What can never be in time is told so.
    let reply = ask(at, "POST", "/v1/embeddings", "x-statmux-deadline-ms: 100\r\n", body);
    assert_eq!(reply.status, 429, "{}", reply.body);
    assert!(!reply.head.contains("retry-after: ") && reply.head.contains("x-should-retry: false"), "{}", reply.head);
    server.stop();
}

#[test]
fn bad_requests_say_what_is_wrong() {
    let server = quick();
    let at = server.address();
    let check = |path: &str, body: &str, status: u16, expected: &str| {
        let reply = post(at, path, body);
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.body);
        assert!(reply.body.contains(expected), "{}", reply.body);
    };
    check("/v1/embeddings", "{", 400, "malformed");
    check("/v1/embeddings", r#"{"model":"nope","input":"x"}"#, 404, "model_not_found");
    check("/v1/embeddings", r#"{"model":"m0","input":""}"#, 400, "at least one token");
    check("/v1/embeddings", r#"{"model":"m0","input":[]}"#, 400, "empty");
    check("/v1/embeddings", r#"{"model":"m0","input":[9999]}"#, 400, "vocabulary");
    check("/v1/embeddings", r#"{"model":"m0","input":"x","dimensions":7}"#, 400, "length 8");
    check("/v1/completions", r#"{"model":"m2","prompt":"x","max_tokens":0}"#, 400, "at least 1");
    check("/v1/completions", r#"{"model":"m2","prompt":"x","temperature":-1}"#, 400, "temperature");
    check("/v1/completions", r#"{"model":"m2","prompt":"x","n":200}"#, 400, "between 1 and 128");
    check("/v1/chat/completions", r#"{"model":"m2","messages":[]}"#, 400, "empty");
    check("/v2/models/m0/infer", r#"{"inputs":[]}"#, 400, "input_ids");
    check("/nowhere", "", 404, "no_such_path");
    assert_eq!(get(at, "/v1/embeddings").status, 405);
    server.stop();
}

#[test]
fn keys_ids_and_the_document() {
    let http = HttpSettings { keys: keys("secret", ""), ..HttpSettings::default() };
    let deployment = deployment(1, 1, 3, Span::from_millis(1), Slo::None);
    let server = server(deployment, ServerSettings { http, ..settings() });
    let at = server.address();
    assert_eq!(get(at, "/v2/health/live").status, 200);
    assert_eq!(get(at, "/v1/models").status, 401);
    assert_eq!(ask(at, "GET", "/v1/models", "authorization: Bearer secreT\r\n", "").status, 401);
    let reply = ask(at, "GET", "/v1/models", "authorization: Bearer secret\r\nx-request-id: mine\r\n", "");
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("x-request-id: mine"));
    let document = ask(at, "GET", "/openapi.json", "authorization: Bearer secret\r\n", "").json();
    for path in ["/v1/embeddings", "/v1/chat/completions", "/v2/models/{model}/infer", "/metrics", "/admin/drain"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    server.stop();
}

#[test]
fn draining_lets_what_is_inside_end() {
    let server = server(deployment(1, 1, 3, Span::from_millis(150), Slo::None), settings());
    let at = server.address();
    let mut socket = TcpStream::connect(at).expect("it listens");
    let body = r#"{"model":"m0","input":"x"}"#;
    write!(socket, "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .expect("written");
    while server.gateway().inside() == 0 {
        std::thread::yield_now();
    }
    assert_eq!(post(at, "/admin/drain", "").json()["inside"], 1);
    assert_eq!(get(at, "/v2/health/ready").status, 503);
    assert_eq!(post(at, "/v1/embeddings", body).json()["error"]["reason"], "draining");
    server.stop();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the server closes after the answer");
    assert_eq!(parse(&answer).status, 200);
}

#[test]
fn rude_clients_harm_nobody() {
    let http = HttpSettings {
        body_limit: 1000,
        body_timeout: Duration::from_millis(300),
        head_timeout: Duration::from_millis(300),
        connections: 60,
        ..HttpSettings::default()
    };
    let deployment = deployment(1, 1, 3, Span::from_millis(1), Slo::None);
    let server = server(deployment, ServerSettings { http, ..settings() });
    let at = server.address();
    let garbage: Vec<u8> = (0..5000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    raw(at, &garbage);
    raw(at, b"\r\n\r\n\r\n");
    assert_eq!(parse(&raw(at, b"GET / HTTP/9.9\r\n\r\n")).status, 400);
    // Half a body, then nothing.
    let half = raw(at, b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{\"model\":");
    assert_eq!(parse(&half).status, 408);
    // Half a body, then gone.
    let mut socket = TcpStream::connect(at).expect("it listens");
    socket.write_all(b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{\"mod").expect("written");
    drop(socket);
    assert_eq!(post(at, "/v1/embeddings", &"x".repeat(2000)).status, 413);
    // Half a head, then nothing: the server hangs up.
    assert_eq!(raw(at, b"POST /v1/embeddings HTTP/1.1\r\nhost:"), "");
    // More idle connections than there is room for: they are turned away, or hung up on.
    let mut idle: Vec<_> = (0..200).map(|_| TcpStream::connect(at).expect("it listens")).collect();
    for socket in &mut idle {
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a valid time");
        let mut end = Vec::new();
        let _ = socket.read_to_end(&mut end);
    }
    assert_eq!(post(at, "/v1/embeddings", r#"{"model":"m0","input":"x"}"#).status, 200);
    server.stop();
}
