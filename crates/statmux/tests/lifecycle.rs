//! A server from its first moment to its last, as users start and end it.
#![cfg(unix)]

mod common;

use common::Session;
use common::serving::Serving;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::{fs, thread};

const BODY: &str = r#"{"model": "m0", "input": "hello"}"#;

fn session() -> Session {
    Session::new(|text| text.replace("duration = \"60 s\"", "duration = \"2 s\""))
}

/// A server that waits for its placement: what it reads is a pipe.
struct Loading {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// What it said first.
    said: String,
}

impl Loading {
    fn start(session: &Session, args: &str) -> Self {
        let pipe = session.folder().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
        let args = format!("serve s.toml --backend sleep --placement pipe {args}");
        let mut child = Command::new(env!("CARGO_BIN_EXE_statmux"))
            .args(args.split_whitespace())
            .current_dir(session.folder())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut said = String::new();
        while !said.contains("loading; ") {
            said.clear();
            assert!(stderr.read_line(&mut said).expect("text") > 0, "it ended");
        }
        Self { child, stderr, said }
    }

    /// The addresses that it said.
    fn addresses(&self) -> Vec<String> {
        let words = self.said.split([' ', ',']).filter_map(|word| word.strip_prefix("http://"));
        words.map(str::to_owned).collect()
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill runs").success());
    }

    /// Exit code, stdout, and what else came on stderr.
    fn end(mut self) -> (Option<i32>, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().expect("piped").read_to_string(&mut out).expect("text");
        self.stderr.read_to_string(&mut err).expect("text");
        (self.child.wait().expect("it ends").code(), out, err)
    }
}

/// Status and text of the answer at `address`.
fn ask(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    answer(TcpStream::connect(address).expect("it listens"), method, path, body)
}

fn answer(mut socket: impl Read + Write, method: &str, path: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers");
    (answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), answer)
}

#[test]
fn the_port_answers_while_the_placement_is_not_there_yet() {
    let session = session();
    session.json("plan s.toml -o p.json");
    let mut loading = Loading::start(&session, "--listen 127.0.0.1:0 --admin-listen 127.0.0.1:0");
    let addresses = loading.addresses();
    assert_eq!(addresses.len(), 2, "{}", loading.said);
    for at in &addresses {
        assert_eq!(ask(at, "GET", "/v2/health/live", "").0, 200);
        assert_eq!(ask(at, "GET", "/v2/health/ready", "").0, 503);
        for (method, path) in [("POST", "/v1/embeddings"), ("GET", "/metrics"), ("PUT", "/admin/placement")] {
            let (status, answer) = ask(at, method, path, BODY);
            assert_eq!(status, 503, "{answer}");
            assert!(answer.contains("\"code\":\"loading\"") && answer.contains("retry-after: "), "{answer}");
        }
    }
    // A replay says what is wrong.
    let ran = session.run(&format!("replay s.toml --target http://{}", addresses[0]));
    assert!(ran.code == 1 && ran.stderr.contains("503") && ran.stderr.contains("/v2/health/ready"), "{}", ran.stderr);
    // Keys are read again, though nobody needs one yet.
    loading.signal("HUP");
    while !loading.said.contains("\"reload\"") {
        loading.said.clear();
        assert!(loading.stderr.read_line(&mut loading.said).expect("text") > 0, "it ended");
    }
    // Nothing is on stdout before it serves.
    fs::write(session.folder().join("pipe"), session.read("p.json")).expect("it reads");
    let mut line = String::new();
    BufReader::new(loading.child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("text");
    assert_eq!(line, format!("listening on http://{}\n", addresses[0]));
    assert_eq!(ask(&addresses[0], "GET", "/v2/health/ready", "").0, 200);
    assert_eq!(ask(&addresses[0], "POST", "/v1/embeddings", BODY).0, 200);
    loading.signal("TERM");
    assert_eq!(loading.end().0, Some(0));
}

#[test]
fn a_signal_while_it_loads_ends_it_at_once_and_leaves_nothing() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let session = session();
        let before = session.files();
        let loading = Loading::start(&session, "--listen unix:sock --event-log events.jsonl");
        let socket = session.folder().join("sock");
        let connect = || std::os::unix::net::UnixStream::connect(&socket).expect("it listens");
        assert_eq!(answer(connect(), "GET", "/v2/health/live", "").0, 200);
        assert_eq!(answer(connect(), "GET", "/v2/health/ready", "").0, 503);
        loading.signal(name);
        let (ended, out, err) = loading.end();
        assert_eq!((ended, &*out), (Some(code), ""), "{err}");
        fs::remove_file(session.folder().join("pipe")).expect("it is there");
        assert_eq!(session.files(), before);
    }
}

#[test]
fn what_cannot_be_served_ends_with_the_code_for_bad_input() {
    let empty = r#"{"version": 1, "windows": [{"groups": []}]}"#;
    let idle = r#"{"version": 1, "windows": [{"groups": [{"op": 1, "pp": 1, "models": []}]}]}"#;
    for (text, expected) in [
        (empty, "hold no model"),
        (idle, "pipe"),
        ("{", "pipe"),
        (r#"{"version": 1, "windows": []}"#, "window"),
        (r#"{"version": 1, "windows": [{"groups": [{"op": 1, "pp": 1, "models": ["nobody"]}]}]}"#, "nobody"),
    ] {
        let session = session();
        let loading = Loading::start(&session, "--listen unix:sock");
        fs::write(session.folder().join("pipe"), text).expect("it reads");
        let (code, out, err) = loading.end();
        assert_eq!((code, &*out), (Some(2), ""), "{err}");
        assert!(err.contains("error: ") && err.contains(expected), "{err}");
        assert!(!session.folder().join("sock").exists());
    }
    // Where nothing fits, a plan is as empty.
    let small = Session::new(|text| text.replace("\"13 GiB\"", "\"1 GiB\""));
    small.refuses("serve s.toml --backend sleep --listen 127.0.0.1:0", &["s.toml", "planner.policy", "no replica"]);
}

#[test]
fn places_that_cannot_be_listened_at_are_bad_input_unless_they_are_taken() {
    let session = session();
    let serve = |listen: &str| format!("serve s.toml --backend sleep --listen {listen}");
    session.write("file", "mine");
    let long = format!("unix:{}", "x".repeat(200));
    for (listen, expected) in [
        ("192.0.2.1:80", "192.0.2.1:80"),
        ("unix:no/such/folder/sock", "no/such/folder/sock"),
        ("unix:file", "no socket"),
        ("unix:file/sock", "file/sock"),
        (&long, "xxx"),
        ("127.0.0.1:0 --admin-listen 192.0.2.1:80", "192.0.2.1:80"),
    ] {
        session.refuses(&serve(listen), &["cannot listen on", expected]);
    }
    assert_eq!(session.read("file"), "mine");
    let taken = TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr().map(|at| (taken, at)));
    let (_taken, at) = taken.expect("a port is free");
    let ran = session.run(&serve(&at.to_string()));
    assert!(ran.code == 1 && ran.stderr.contains(&at.to_string()), "{}", ran.stderr);
}

#[test]
fn a_second_signal_ends_a_server_that_goes_on_serving() {
    for (first, second, code) in [("TERM", "TERM", 143), ("TERM", "INT", 130), ("INT", "INT", 130)] {
        let session = session();
        let mut server = Serving::watched(&session, "--drain-delay 1h --event-log events.jsonl");
        assert_eq!(server.ask("GET", "/v2/health/ready", "", "").0, 200);
        server.signal(first);
        server.line(&["told to stop"]);
        while server.ask("GET", "/v2/health/ready", "", "").0 == 200 {
            thread::yield_now();
        }
        // Balancers look elsewhere; who does not is served.
        let (status, answer) = server.ask("POST", "/v1/embeddings", "", BODY);
        assert!(status == 200 && answer.contains("connection: close"), "{answer}");
        server.signal(second);
        assert_eq!(server.ended(), Some(code));
        for line in session.read("events.jsonl").lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("whole lines");
        }
    }
    let session = session();
    let mut server = Serving::watched(&session, "--drain-delay 1h");
    server.signal("TERM");
    server.line(&["told to stop"]);
    // There is nothing to delay where nothing is taken in.
    assert_eq!(server.ask("POST", "/admin/drain", "", "").0, 200);
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn delays_are_times() {
    session().refuses("serve s.toml --backend sleep --drain-delay 5", &["--drain-delay", "5 s"]);
}
