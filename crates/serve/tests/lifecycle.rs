//! What a server says of itself, and does, from its first moment to its last.

mod common;

use common::client::{BODY, Client};
use common::gate::{Gated, patient};
use common::{Reply, ask, deployment, get, keys, parse, post, raw, settings, sleeper};
use statmux_core::backend::{Backend, BackendError, Input, ModelCard, StagePlan, Step, Text};
use statmux_core::{ModelId, Seed, Slo, Span};
use statmux_serve::faulty::{FaultRates, Faulty, Harm};
use statmux_serve::http::HttpSettings;
use statmux_serve::{Deployment, EngineSettings, Listening, Server, ServerSettings, SleepBackend, Supervision};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

const INFER: &str = "/v2/models/m0/infer";
const REPLICAS: &str = r#"{"version":1,"windows":[{"groups":[
    {"op":1,"pp":1,"models":["m0","m1","m2"]},{"op":1,"pp":1,"models":["m0","m1","m2"]}]}]}"#;

/// One group of two stages that holds three models.
fn pipeline() -> Deployment {
    deployment(1, 2, 3, Span::from_millis(1), Slo::None)
}

fn engine() -> EngineSettings {
    EngineSettings { supervision: patient(), ..EngineSettings::default() }
}

/// A server whose gates are open, and its backend.
fn gated(deployment: Deployment, http: HttpSettings) -> (Server, Arc<Gated>) {
    let backend = Gated::new(sleeper(&deployment, 1));
    let settings = ServerSettings { engine: engine(), http, ..settings() };
    (Server::start(Arc::clone(&backend), deployment, settings).expect("it starts"), backend)
}

/// Status and reason of an answer, in either form of errors.
fn reason(reply: &Reply) -> (u16, String) {
    let json = reply.json();
    let reason = if json["error"].is_string() { &json["reason"] } else { &json["error"]["reason"] };
    (reply.status, reason.as_str().unwrap_or_default().to_owned())
}

fn refused(reply: &Reply, expected: &str, comes_back: bool) {
    assert_eq!(reason(reply), (503, expected.to_owned()), "{}", reply.body);
    assert_eq!(reply.head.contains("\r\nretry-after: "), comes_back, "{}", reply.head);
}

/// What a client gets that would keep its connection.
fn ask_and_stay(at: SocketAddr) -> Reply {
    let head = format!("POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
    parse(&raw(at, head.as_bytes()))
}

fn wait_for(mut what: impl FnMut() -> bool) {
    while !what() {
        thread::yield_now();
    }
}

/// So many clients that ask on connections of their own, when all of them are inside.
fn inside(server: &Server, clients: usize) -> Vec<thread::JoinHandle<Reply>> {
    let (at, gateway) = (server.address(), server.gateway());
    let asked = (0..clients).map(|_| thread::spawn(move || post(at, "/v1/embeddings", BODY))).collect();
    wait_for(|| gateway.inside() == clients);
    asked
}

#[test]
fn the_port_answers_before_models_are_loaded() {
    let deployment = pipeline();
    let backend = Gated::new(sleeper(&deployment, 1));
    backend.loading.shut();
    let http = HttpSettings {
        keys: keys("alice:one", "root:two"),
        cors_origins: vec!["https://app.example".to_owned()],
        ..HttpSettings::default()
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listening = Listening::start(ServerSettings { http, admin_address: Some(any), ..settings() });
    let listening = listening.expect("the port is free");
    let (at, admin) = (listening.address(), listening.admin_address().expect("it has one"));
    let loading = {
        let backend = Arc::clone(&backend);
        thread::spawn(move || listening.serve(backend, deployment, engine()).expect("it starts"))
    };
    for at in [at, admin] {
        assert_eq!((get(at, "/v2/health/live").status, get(at, "/v2/health/ready").status), (200, 503));
        assert_eq!(post(at, "/v2/health/live", "").status, 405);
        for (method, path, body) in [
            ("POST", "/v1/embeddings", BODY),
            ("POST", "/v1/chat/completions", "{"),
            ("POST", INFER, "{"),
            ("GET", "/v1/models", ""),
            ("GET", "/v2", ""),
            ("GET", "/v2/models/m0/ready", ""),
            ("GET", "/v2/models/a/b/ready", ""),
            ("GET", "/metrics", ""),
            ("GET", "/openapi.json", ""),
            ("GET", "/placement", ""),
            ("PUT", "/admin/placement", "{}"),
            ("POST", "/admin/drain", ""),
            ("DELETE", "/nothing", ""),
        ] {
            let headers = "x-request-id: mine\r\norigin: https://app.example\r\n";
            let reply = ask(at, method, path, headers, body);
            refused(&reply, "loading", true);
            assert!(reply.head.contains("x-request-id: mine"), "{}", reply.head);
            let shared = !path.starts_with("/admin");
            assert_eq!(reply.head.contains("access-control-allow-origin"), shared, "{path}: {}", reply.head);
            assert_eq!(reply.json()["error"].is_string(), path.starts_with("/v2"), "{}", reply.body);
        }
    }
    // A connection that was opened before stays.
    let mut early = Client::new(at, 0);
    early.send(BODY);
    assert_eq!(early.receive(), 503);
    backend.loading.open();
    let server = loading.join().expect("it serves");
    assert_eq!(get(at, "/v2/health/ready").status, 200);
    early.send(BODY);
    assert_eq!(early.receive(), 401, "from now on keys are asked for");
    let metrics = ask(at, "GET", "/metrics", "authorization: Bearer one\r\n", "").body;
    let line = metrics.lines().find(|line| line.contains("method=\"DELETE\",path=\"other\",status=\"503\""));
    assert!(line.is_some_and(|line| line.ends_with(" 2")), "{metrics}");
    early.end();
    server.stop();
}

/// A backend whose stages cannot be opened, for this reason.
struct Broken(SleepBackend, fn() -> BackendError);

impl Backend for Broken {
    type Flow = <SleepBackend as Backend>::Flow;
    type Stage = <SleepBackend as Backend>::Stage;

    fn open(&self, _: &StagePlan) -> Result<Self::Stage, BackendError> {
        Err((self.1)())
    }

    fn start(&self, model: ModelId, inputs: Vec<Input>) -> Result<Self::Flow, BackendError> {
        self.0.start(model, inputs)
    }

    fn end(&self, flow: Self::Flow, members: &[usize]) -> Step<Self::Flow> {
        self.0.end(flow, members)
    }

    fn card(&self, model: ModelId) -> Result<ModelCard, BackendError> {
        self.0.card(model)
    }

    fn text(&self, model: ModelId) -> Result<Option<Arc<dyn Text>>, BackendError> {
        self.0.text(model)
    }
}

#[test]
fn a_server_that_cannot_load_says_whose_fault_it_is() {
    let check = |listen: SocketAddr, broken: Option<fn() -> BackendError>, of_input: bool| {
        let mut deployment = pipeline();
        let Some(broken) = broken else {
            deployment.placement.groups[0].models.clear();
            let started = Server::start(Arc::new(sleeper(&pipeline(), 1)), deployment, settings());
            return assert!(started.is_err_and(|error| error.is_of_input()));
        };
        let backend = Arc::new(Broken(sleeper(&deployment, 1), broken));
        let supervision = Supervision { attempts: 1, ..Supervision::default() };
        let engine = EngineSettings { supervision, ..EngineSettings::default() };
        let started = match Listening::start(ServerSettings { address: listen, ..settings() }) {
            Ok(listening) => listening.serve(Arc::clone(&backend), deployment, engine),
            Err(error) => Err(error),
        };
        let error = started.map(drop).expect_err("it cannot start");
        assert_eq!(error.is_of_input(), of_input, "{error}");
        // Nothing of it is left, once its threads have gone.
        wait_for(|| Arc::strong_count(&backend) == 1);
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let setup = || BackendError::BadPlan { reason: "weights of another shape".to_owned() };
    check(any, Some(setup), true);
    check(any, Some(|| BackendError::StageLost { reason: "the device fell off".to_owned() }), false);
    check(any, None, true);
    // TEST-NET-1 is nobody's; a port that is taken may be free later.
    check(SocketAddr::from(([192, 0, 2, 1], 80)), Some(setup), true);
    let taken = TcpListener::bind(any).expect("a port is free");
    check(taken.local_addr().expect("it listens"), Some(setup), false);
}

#[test]
fn every_refusal_says_replacing_until_the_other_placement_serves() {
    let (server, backend) = gated(pipeline(), HttpSettings::default());
    let (at, gateway) = (server.address(), server.gateway());
    backend.loading.shut();
    let change = thread::spawn(move || ask(at, "PUT", "/admin/placement", "", REPLICAS));
    wait_for(|| gateway.is_replacing());
    let states = || get(at, "/placement").json()["groups"][0]["state"].clone();
    // The engine before is stopped, and the next one waits for its weights.
    wait_for(|| states() == "taken_out");
    let up = gateway.statistics().text();
    assert!(up.lines().any(|line| line.starts_with("statmux_group_up") && line.ends_with(" 0")), "{up}");
    for _ in 0..50 {
        let chat = r#"{"model":"m2","messages":[{"role":"user","content":"x"}]}"#;
        let streamed = r#"{"model":"m2","prompt":"x","stream":true}"#;
        let tensors = r#"{"inputs":[{"name":"input_ids","shape":[1,1],"datatype":"INT64","data":[5]}]}"#;
        for (path, body) in
            [("/v1/embeddings", BODY), ("/v1/chat/completions", chat), ("/v1/completions", streamed), (INFER, tensors)]
        {
            refused(&post(at, path, body), "replacing", true);
        }
        let second = ask(at, "PUT", "/admin/placement", "", REPLICAS);
        assert_eq!(reason(&second), (409, "replacing".to_owned()));
        assert!(second.head.contains("\r\nretry-after: "), "{}", second.head);
        let shown = get(at, "/admin/placement").json();
        assert_eq!((shown["draining"].as_bool(), shown["replacing"].as_bool()), (Some(false), Some(true)));
        assert_eq!((get(at, "/v2/health/live").status, get(at, "/v2/health/ready").status), (200, 503));
        assert_eq!(get(at, "/v2/models/m0/ready").status, 503);
        let index = post(at, "/v2/repository/index", "").json();
        assert_eq!(index[0]["reason"], "another placement is being loaded", "{index}");
    }
    backend.loading.open();
    assert_eq!(change.join().expect("it is answered").status, 200);
    assert_eq!((get(at, "/v2/health/ready").status, post(at, "/v1/embeddings", BODY).status), (200, 200));
    assert_eq!(states(), "up");
    server.stop();
}

#[test]
fn one_model_that_is_out_leaves_the_server_ready_for_the_others() {
    let mut deployment = deployment(2, 1, 3, Span::from_millis(1), Slo::None);
    for (group, model) in deployment.placement.groups.iter_mut().zip([0, 1]) {
        group.models = vec![ModelId(model)];
    }
    // `x` as bytes.
    let backend = Faulty::new(sleeper(&deployment, 1), FaultRates::default(), Seed(1));
    let backend = backend.poisoned(u32::from(b'x'), Harm::Lost);
    let supervision = Supervision { attempts: 1, backoff: Span::from_millis(3_600_000), ..Supervision::default() };
    let engine = EngineSettings { supervision, ..EngineSettings::default() };
    let server = Server::start(Arc::new(backend), deployment, ServerSettings { engine, ..settings() });
    let server = server.expect("it starts");
    let at = server.address();
    let states = || {
        let of = |path: &str| get(at, path).status;
        [of("/v2/health/ready"), of("/v2/models/m0/ready"), of("/v2/models/m1/ready"), of("/v2/models/m2/ready")]
    };
    let embed = |model: &str, text: &str| {
        post(at, "/v1/embeddings", &format!("{{\"model\":\"{model}\",\"input\":\"{text}\"}}"))
    };
    // Nobody holds the third one, and that is known from the start.
    assert_eq!(states(), [200, 200, 200, 503]);
    refused(&post(at, "/v1/completions", r#"{"model":"m2","prompt":"a"}"#), "no_replica", false);
    assert_eq!(get(at, "/v2/models/m3/ready").status, 404);
    assert_eq!(get(at, "/v2/models/m0/versions/1/ready").status, 200);
    // A request costs the group of the first one, which is not back within an hour.
    let cost = embed("m0", "x");
    assert_eq!(reason(&cost), (500, "cost_group".to_owned()), "{}", cost.body);
    assert_eq!(states(), [200, 503, 200, 503]);
    assert_eq!(get(at, "/v2/models/m0/versions/1/ready").status, 503);
    refused(&embed("m0", "a"), "no_replica", true);
    assert_eq!(embed("m1", "a").status, 200);
    assert_eq!(embed("m1", "x").status, 500);
    assert_eq!(states(), [503, 503, 503, 503], "nobody can be served");
    assert_eq!(get(at, "/v2/health/live").status, 200);
    server.stop();
}

#[test]
fn a_server_told_to_stop_serves_on_for_the_delay_and_says_goodbye() {
    let http = HttpSettings { drain_delay: Duration::from_secs(3600), ..HttpSettings::default() };
    let (server, _) = gated(pipeline(), http);
    let (at, gateway) = (server.address(), server.gateway());
    let mut kept = Client::new(at, 0);
    kept.send(BODY);
    assert_eq!(kept.receive(), 200);
    let before = get(at, "/v2/health/ready");
    assert_eq!(before.status, 200);
    let stopping = thread::spawn(move || server.stop());
    wait_for(|| get(at, "/v2/health/ready").status == 503);
    assert_eq!((get(at, "/v2/models/m0/ready").status, get(at, "/v2/health/live").status), (503, 200));
    // New connections are taken, and those that were open are not cut: each gets one more answer.
    let last = ask_and_stay(at);
    assert!(last.status == 200 && last.head.contains("\r\nconnection: close"), "{}", last.head);
    kept.send(BODY);
    assert_eq!(kept.receive(), 200);
    kept.end();
    let malformed = parse(&raw(at, b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n{"));
    assert!(malformed.status == 400 && malformed.head.contains("\r\nconnection: close"), "{}", malformed.head);
    // What would interrupt it, or cannot be kept, is refused.
    refused(&ask(at, "PUT", "/admin/placement", "", REPLICAS), "draining", false);
    assert_eq!(ask(at, "DELETE", "/admin/drain", "", "").status, 409);
    assert!(!gateway.is_draining());
    // Told to drain, it has nothing to wait for.
    assert_eq!(post(at, "/admin/drain", "").status, 200);
    stopping.join().expect("it stops");
}

#[test]
fn answers_keep_connections_until_the_server_is_told_to_stop() {
    let (server, backend) = gated(pipeline(), HttpSettings::default());
    let at = server.address();
    let mut kept = Client::new(at, 0);
    for _ in 0..3 {
        kept.send(BODY);
        assert_eq!(kept.receive(), 200);
    }
    backend.running.shut();
    let gateway = server.gateway();
    kept.send(BODY);
    wait_for(|| gateway.inside() == 1);
    let stopping = thread::spawn(move || server.stop());
    wait_for(|| gateway.is_draining());
    // What comes while it drains, on whatever connection, is answered and told that nothing follows.
    let late = ask_and_stay(at);
    refused(&late, "draining", false);
    assert!(late.head.contains("\r\nconnection: close"), "{}", late.head);
    backend.running.open();
    assert_eq!(kept.receive(), 200, "what is inside is answered");
    kept.end();
    stopping.join().expect("it stops");
}

#[test]
fn after_the_drain_limit_nothing_is_launched_and_everybody_is_answered() {
    for limit in [Duration::ZERO, Duration::from_millis(50)] {
        let http = HttpSettings { drain_limit: limit, ..HttpSettings::default() };
        let (server, backend) = gated(deployment(1, 1, 3, Span::from_millis(1), Slo::None), http);
        let gateway = server.gateway();
        backend.running.shut();
        let asked = inside(&server, 5);
        let stopping = thread::spawn(move || server.stop());
        for reply in asked {
            refused(&reply.join().expect("it is answered"), "draining", false);
        }
        assert_eq!(gateway.inside(), 0);
        backend.running.open();
        stopping.join().expect("it stops");
        let launched = gateway.statistics().text();
        let launched = launched.lines().find(|line| line.starts_with("statmux_batch_size_count{model=\"m0\"}"));
        assert_eq!(launched, Some("statmux_batch_size_count{model=\"m0\"} 1"), "what waited was launched");
        assert!(gateway.board().groups[0].stages[0].laps.load(Relaxed) <= 1);
    }
}

#[test]
fn the_drain_limit_holds_while_the_placement_is_replaced() {
    let http = HttpSettings { drain_limit: Duration::from_secs(3600), ..HttpSettings::default() };
    // Before what is inside has ended: it goes on to its end, and the other placement is not begun.
    let (server, backend) = gated(pipeline(), http);
    let (at, gateway) = (server.address(), server.gateway());
    backend.running.shut();
    let asked = inside(&server, 1);
    let change = thread::spawn(move || ask(at, "PUT", "/admin/placement", "", REPLICAS));
    wait_for(|| gateway.is_replacing());
    let stopping = thread::spawn(move || server.stop());
    wait_for(|| gateway.is_draining());
    refused(&post(at, "/v1/embeddings", BODY), "draining", false);
    backend.loading.shut();
    backend.running.open();
    for reply in asked {
        assert_eq!(reply.join().expect("it is answered").status, 200);
    }
    stopping.join().expect("it does not wait for weights");
    let _ = change.join();
    drop(gateway);
    wait_for(|| Arc::strong_count(&backend) == 1);

    // While the other one loads: nobody waits for it.
    let (server, backend) = gated(pipeline(), HttpSettings::default());
    let (at, gateway) = (server.address(), server.gateway());
    backend.loading.shut();
    let change = thread::spawn(move || ask(at, "PUT", "/admin/placement", "", REPLICAS));
    wait_for(|| gateway.is_replacing());
    wait_for(|| reason(&ask(at, "PUT", "/admin/placement", "", REPLICAS)).0 == 409);
    server.stop();
    backend.loading.open();
    let _ = change.join();
    drop(gateway);
    wait_for(|| Arc::strong_count(&backend) == 1);
}
