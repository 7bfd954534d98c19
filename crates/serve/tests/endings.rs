//! Generations end on the device where their text does, or where nobody listens any more.

mod common;

use common::{deployment, get, post, settings, sleeper};
use statmux_core::backend::{Finish, Generate, Input, Output, Sampling};
use statmux_core::{ModelId, Slo, Span};
use statmux_sched::Settings;
use statmux_serve::gateway::Pending;
use statmux_serve::{Engine, EngineSettings, Question, Server, ServerSettings};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use tokio::runtime::{Builder, Runtime};

/// The decoder.
const MODEL: ModelId = ModelId(0);

/// A server of one decoder, whose batches take `time` however many tokens they say.
fn decoder(time: Span) -> Server {
    let deployment = deployment(1, 2, 1, time, Slo::None);
    let backend = Arc::new(sleeper(&deployment, 1));
    Server::start(backend, deployment, settings()).expect("it starts")
}

/// Laps that the first stage has run.
fn laps(server: &Server) -> u64 {
    server.gateway().board().groups[0].stages[0].laps.load(Relaxed)
}

/// What the decoder says to `prompt`, which it repeats for ever, up to the first of `stops` that is complete: the
/// text before it, and the number of tokens with it.
fn expected(prompt: &str, stops: &[&str], most: usize) -> (String, usize, &'static str) {
    let said: String = prompt.chars().cycle().take(most).collect();
    let ends = (1..=said.len()).find_map(|end| {
        let starts = stops.iter().filter_map(|stop| said[..end].find(stop)).min();
        Some((said[..starts?].to_owned(), end, "stop"))
    });
    ends.unwrap_or((said, most, "length"))
}

#[test]
fn a_stop_text_ends_the_generation_on_the_device_streamed_or_not() {
    let server = decoder(Span::from_millis(4));
    let at = server.address();
    let cases: &[(&str, &[&str], usize)] = &[
        ("abc def", &["c d"], 400),
        ("abc def", &["a"], 400),
        ("abc def", &["f", "e"], 400),
        ("abc def", &["never", "fa"], 400),
        ("abc def", &["defabc defab"], 400),
        ("abc def", &["never"], 40),
        ("abc def", &["efab"], 8),
        ("abc def", &["def"], 7),
        ("aab", &["ab"], 400),
    ];
    for &(prompt, stops, most) in cases {
        let (text, tokens, finish) = expected(prompt, stops, most);
        let ask = |stream: bool| {
            let options = serde_json::json!({"include_usage": true});
            let mut body = serde_json::json!({"model": "m0", "prompt": prompt, "max_tokens": most, "stop": stops, "stream": stream});
            if stream {
                body["stream_options"] = options;
            }
            let before = laps(&server);
            let reply = post(at, "/v1/completions", &body.to_string());
            assert_eq!(laps(&server) - before, tokens as u64, "{prompt}, {stops:?}, stream {stream}");
            reply
        };
        let whole = ask(false).json();
        assert_eq!(whole["choices"][0]["text"], *text, "{prompt}, {stops:?}");
        assert_eq!(whole["choices"][0]["finish_reason"], finish, "{prompt}, {stops:?}");
        assert_eq!(whole["usage"]["completion_tokens"], tokens, "{prompt}, {stops:?}");
        let reply = ask(true);
        let events = reply.body.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
        let events: Vec<serde_json::Value> = events.filter_map(|event| serde_json::from_str(event).ok()).collect();
        let streamed: String = events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
        assert_eq!(streamed, text, "{prompt}, {stops:?}");
        let ends: Vec<_> = events.iter().filter_map(|event| event["choices"][0]["finish_reason"].as_str()).collect();
        assert_eq!(ends, [finish], "{prompt}, {stops:?}");
        assert_eq!(events[events.len() - 1]["usage"]["completion_tokens"], tokens, "{prompt}, {stops:?}");
    }
    server.stop();
}

/// Sends a request for many tokens, of which each takes two milliseconds: a minute's work.
fn ask_for_many(server: &Server, stream: bool) -> TcpStream {
    let body = format!(r#"{{"model":"m0","prompt":"abc","max_tokens":30000,"stream":{stream}}}"#);
    let mut socket = TcpStream::connect(server.address()).expect("it listens");
    let length = body.len();
    write!(socket, "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")
        .expect("it reads");
    socket
}

#[test]
fn a_client_that_leaves_ends_what_runs_for_it() {
    let server = decoder(Span::from_millis(60_000));
    for stream in [true, false] {
        let before = laps(&server);
        let mut socket = ask_for_many(&server, stream);
        if stream {
            socket.read_exact(&mut [0; 300]).expect("the beginning of an answer");
        }
        while laps(&server) < before + 3 {
            thread::yield_now();
        }
        drop(socket);
        while server.gateway().inside() > 0 {
            thread::yield_now();
        }
        assert!(laps(&server) - before < 15_000, "{} laps for nobody", laps(&server) - before);
    }
    let metrics = get(server.address(), "/metrics").body;
    assert!(metrics.contains("statmux_requests_total{model=\"m0\",outcome=\"cancelled\"} 2"), "{metrics}");
    // The group works on: an answer that ends at its first lap takes no minute.
    let short = r#"{"model":"m0","prompt":"abc","max_tokens":30000,"stop":"a"}"#;
    assert_eq!(post(server.address(), "/v1/completions", short).status, 200);
    server.stop();
}

fn question(engine: &Engine, max_new_tokens: u32, stops: &[&str]) -> Question {
    let ask = Generate {
        tokens: "abcdefgh".bytes().map(u32::from).collect(),
        max_new_tokens,
        stop_tokens: Vec::new(),
        stop_texts: stops.iter().map(|&stop| stop.to_owned()).collect(),
        sampling: Sampling::Greedy,
    };
    let arrived = engine.gateway().clock().now();
    Question { model: MODEL, input: Input::Generate(ask), arrived, deadline: None, streams: false }
}

/// A request that runs alone, and a batch of two that waits for it; each takes `time` to its end.
fn one_and_a_batch(time: Span, stops: &[&str]) -> (Engine, Runtime, [Pending; 3]) {
    let deployment = deployment(1, 1, 1, time, Slo::None);
    let scheduler = Settings { max_batch: 2, ..Settings::default() };
    let settings = EngineSettings { scheduler, ..EngineSettings::default() };
    let engine = Engine::start(Arc::new(sleeper(&deployment, 2)), deployment, settings).expect("it starts");
    let runtime = Builder::new_current_thread().build().expect("it builds");
    let ask = |max, stops| engine.gateway().submit(question(&engine, max, stops)).expect("taken in");
    let pending = [ask(200, &[]), ask(100, stops), ask(100, &[])];
    (engine, runtime, pending)
}

#[test]
fn in_a_batch_only_the_member_ends_whose_text_or_client_does() {
    let answer = |runtime: &Runtime, pending: &mut Pending| match runtime
        .block_on(pending.answer())
        .expect("it is served")
        .output
    {
        Output::Generated { tokens, finish } => (tokens.len(), finish),
        other => panic!("{other:?}"),
    };
    let (engine, runtime, [mut first, mut stopped, mut mate]) = one_and_a_batch(Span::from_millis(1_000), &["gha"]);
    assert_eq!(answer(&runtime, &mut first), (200, Finish::Length));
    assert_eq!(answer(&runtime, &mut stopped), (9, Finish::Stop));
    assert_eq!(answer(&runtime, &mut mate), (100, Finish::Length));
    assert_eq!(engine.gateway().board().groups[0].stages[0].laps.load(Relaxed), 300, "two of three shared a batch");
    engine.stop();

    let (engine, runtime, [mut first, left, mut mate]) = one_and_a_batch(Span::from_millis(200), &[]);
    assert_eq!(answer(&runtime, &mut first), (200, Finish::Length));
    drop(left);
    assert_eq!(answer(&runtime, &mut mate), (100, Finish::Length));
    engine.stop();

    // A client that leaves while all is under way: the lap after is the last.
    let (engine, _, [first, left, mate]) = one_and_a_batch(Span::from_millis(60_000), &[]);
    drop((first, left, mate));
    while engine.gateway().inside() > 0 {
        thread::yield_now();
    }
    let laps = engine.gateway().board().groups[0].stages[0].laps.load(Relaxed);
    assert!(laps < 200, "{laps}");
    engine.stop();
}

#[test]
fn the_laps_of_a_stop_are_the_same_whatever_else_is_asked() {
    let settings = ServerSettings { workers: 4, ..settings() };
    let deployment = deployment(2, 2, 1, Span::from_millis(4), Slo::None);
    let backend = Arc::new(sleeper(&deployment, 1));
    let server = Server::start(backend, deployment, settings).expect("it starts");
    let at = server.address();
    let ask = |n: usize| {
        let stop = ["c d", "f", "defa"][n % 3];
        let body = serde_json::json!({"model": "m0", "prompt": "abc def", "max_tokens": 300, "stop": stop});
        let reply = post(at, "/v1/completions", &body.to_string()).json();
        let (text, tokens, _) = expected("abc def", &[stop], 300);
        assert_eq!(reply["choices"][0]["text"], *text);
        assert_eq!(reply["usage"]["completion_tokens"], tokens);
    };
    thread::scope(|scope| {
        for client in 0..4 {
            scope.spawn(move || (0..12).for_each(|n| ask(client + n)));
        }
    });
    server.stop();
}
