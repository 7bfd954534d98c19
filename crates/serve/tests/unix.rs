//! A server at a socket in the file system.
#![cfg(unix)]

mod common;

use common::{Reply, deployment, parse, settings, sleeper};
use statmux_core::{ModelId, Slo, Span, Time, Workload};
use statmux_serve::replay::{ReplayError, ReplaySettings, replay};
use statmux_serve::{EngineSettings, Listening, ServeError, Server, ServerSettings};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

fn start(socket: &Path) -> Result<Server, ServeError> {
    let deployment = deployment(1, 1, 2, Span::from_millis(1), Slo::None);
    let settings = ServerSettings { socket: Some(socket.to_owned()), ..settings() };
    Server::start(Arc::new(sleeper(&deployment, 1)), deployment, settings)
}

fn refused(socket: &Path) -> ErrorKind {
    match start(socket).expect_err("it cannot listen there") {
        ServeError::Socket { cause, path } => {
            assert_eq!(path, socket);
            cause.kind()
        }
        other => panic!("{other}"),
    }
}

fn ask(socket: &Path, method: &str, path: &str, body: &str) -> Reply {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    parse(&answer)
}

#[test]
fn sockets_are_served_and_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("s.sock");
    let server = start(&socket).expect("it starts");
    assert_eq!(ask(&socket, "POST", "/v1/embeddings", r#"{"model":"m0","input":"x"}"#).status, 200);
    assert_eq!(ask(&socket, "GET", "/v2/health/ready", "").status, 200);
    // This machine alone reaches it, so the admin paths are open.
    assert_eq!(ask(&socket, "GET", "/admin/placement", "").status, 200);
    assert_eq!(refused(&socket), ErrorKind::AddrInUse);
    assert_eq!(ask(&socket, "GET", "/v2/health/live", "").status, 200, "the other is not disturbed");
    server.stop();
    assert!(!socket.exists());
}

#[test]
fn what_a_dead_server_left_is_replaced_and_other_files_are_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let left = folder.path().join("left.sock");
    drop(UnixListener::bind(&left).expect("it binds"));
    assert!(left.exists(), "nobody removed it");
    start(&left).expect("it starts").stop();
    assert!(!left.exists());
    let file = folder.path().join("file");
    fs::write(&file, "mine").expect("written");
    assert_eq!(refused(&file), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&file).expect("still there"), "mine");
    assert_eq!(refused(&folder.path().join("no/such/folder/s.sock")), ErrorKind::NotFound);
    // A socket that somebody else put in its place stays.
    let socket = folder.path().join("s.sock");
    let server = start(&socket).expect("it starts");
    fs::remove_file(&socket).expect("removed");
    let other = UnixListener::bind(&socket).expect("it binds");
    server.stop();
    assert!(socket.exists());
    drop(other);
}

#[test]
fn a_socket_answers_before_models_are_loaded_and_goes_if_they_cannot_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("s.sock");
    let mut deployment = deployment(1, 1, 2, Span::from_millis(1), Slo::None);
    let backend = Arc::new(sleeper(&deployment, 1));
    let listening = Listening::start(ServerSettings { socket: Some(socket.clone()), ..settings() });
    let listening = listening.expect("nobody is there");
    let status = |path: &str| ask(&socket, "GET", path, "").status;
    assert_eq!((status("/v2/health/live"), status("/v2/health/ready"), status("/v1/models")), (200, 503, 503));
    deployment.placement.groups.clear();
    assert!(listening.serve(backend, deployment, EngineSettings::default()).is_err());
    assert!(!socket.exists());
}

#[test]
fn load_is_sent_to_sockets_as_to_addresses() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("s.sock");
    let server = start(&socket).expect("it starts");
    let models = deployment(1, 1, 2, Span::from_millis(1), Slo::None).models;
    let workload = Workload {
        arrived: (0..10).map(Time::from_nanos).collect(),
        model: (0..10).map(|index| ModelId(index % 2)).collect(),
        ..Workload::default()
    };
    for target in [format!("unix:{}", socket.display()), format!("unix://{}", socket.display())] {
        let done = Arc::default();
        let replayed = replay(&workload, &models, &ReplaySettings::new(target), &done).expect("it answers");
        assert_eq!(replayed.outcomes.len(), 10);
        assert!(replayed.reasons.is_empty(), "{:?}", replayed.reasons);
    }
    server.stop();
    let gone = replay(&workload, &models, &ReplaySettings::new(format!("unix:{}", socket.display())), &Arc::default());
    assert!(matches!(gone, Err(ReplayError::Unreachable { .. })));
}
