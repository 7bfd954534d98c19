//! The server and what goes with it, as users run them: without models, on any free port.

mod common;

use common::Session;
use common::serving::Serving;

/// A scenario of a few hundred requests in two seconds, which the server simulates and serves alike.
fn session() -> Session {
    Session::new(|text| {
        text.replace("rate = 20.0", "rate = 120.0")
            .replace("duration = \"60 s\"", "duration = \"2 s\"")
            .replace("fixed_overhead = \"11 ms\"", "fixed_overhead = \"0 ms\"")
            .replace("stage_penalty = 0.009", "stage_penalty = 0.0")
            .replace("dispatch = \"least-clock\"", "dispatch = \"earliest-finish\"")
    })
}

#[cfg(unix)]
#[test]
fn what_is_replayed_can_be_compared_and_its_log_replays() {
    let session = session();
    session.json("plan s.toml -o p.json");
    let simulated = session.json("simulate s.toml --placement p.json --requests-out simulated.parquet");
    let server = Serving::start(&session, "--placement p.json --event-log events.jsonl");
    let served = session.json(&format!("replay s.toml --target {} --requests-out served.csv", server.url));
    for key in ["version", "seed", "requests", "duration_s"] {
        assert_eq!(served[key], simulated[key], "{key}");
    }
    let groups = |results: &serde_json::Value| results["groups"].as_array().expect("a list").len();
    assert_eq!(groups(&served), groups(&simulated));
    let (_, metrics) = server.ask("GET", "/metrics", "", "");
    assert!(metrics.contains("statmux_requests_total{model=\"m0\",outcome=\"in_slo\"}"), "{metrics}");
    assert_eq!(server.terminate(), Some(0));

    let compared = session.json("compare-runs simulated.parquet served.csv");
    assert_eq!(compared["requests"], simulated["requests"]);
    let attainment = 100.0 * simulated["slo_attainment"].as_f64().expect("a number");
    let difference = compared["attainment_percent"]["simulated"].as_f64().expect("a number") - attainment;
    assert!(difference.abs() < 1e-9, "{difference}");
    let itself = session.json("compare-runs served.csv served.csv --max-attainment-points 0 --max-mean-percent 0");
    assert_eq!(itself["causes"]["same_outcome"], simulated["requests"]);
    assert_eq!(session.run("compare-runs simulated.parquet served.csv --max-mean-percent 0").code, 3);

    let log = session.json("replay-log events.jsonl s.toml --placement p.json");
    assert_eq!(log["same"], true);
    assert!(log["actions"].as_u64() >= simulated["requests"].as_u64());
    let text = session.read("events.jsonl");
    session.write("events.jsonl", &text.replacen("{\"complete\":{\"request\":", "{\"complete\":{\"request\":9", 1));
    let other = session.run("replay-log events.jsonl s.toml");
    assert_eq!(other.code, 1);
    assert!(other.stderr.contains("the scheduler acts otherwise"), "{}", other.stderr);
}

#[cfg(unix)]
#[test]
fn keys_deadlines_and_draining_are_kept() {
    let session = session();
    session.write("keys", "# for tests\nsecret\n");
    session.write("admin-keys", "root:top-secret\n");
    let server = Serving::start(&session, "--keys keys --admin-keys admin-keys --body-limit 10KiB");
    let body = r#"{"model": "m0", "input": "hello"}"#;
    let key = "authorization: Bearer secret\r\n";
    assert_eq!(server.ask("POST", "/v1/embeddings", "", body).0, 401);
    assert_eq!(server.ask("POST", "/v1/embeddings", key, body).0, 200);
    let hasty = format!("{key}x-statmux-deadline-ms: 1\r\n");
    let (status, answer) = server.ask("POST", "/v1/embeddings", &hasty, body);
    assert_eq!(status, 429);
    assert!(answer.contains("\"too_late\"") && answer.contains("predicted_ms"), "{answer}");
    assert_eq!(server.ask("POST", "/v1/embeddings", key, &" ".repeat(20_000)).0, 413);
    session.write("key", "secret\n");
    let closed = session.json(&format!("replay s.toml --target {} --key key --closed 4", server.url));
    // One more than clients: the connection on which it asked what is served.
    assert!((1..=5).contains(&closed["client"]["connections"].as_u64().expect("a number")));
    assert_eq!(server.ask("POST", "/admin/drain", key, "").0, 403);
    assert_eq!(server.ask("POST", "/v1/embeddings", key, body).0, 200);
    assert_eq!(server.ask("POST", "/admin/drain", "authorization: Bearer top-secret\r\n", "").0, 200);
    assert_eq!(server.ask("POST", "/v1/embeddings", key, body).0, 503);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn bad_input_is_refused_before_anything_runs() {
    let session = session();
    session.write("empty", "\n# nothing\n");
    session.write("r.csv", "request,model,arrival_s,group,start_s,finish_s,outcome\n0,m0,0,,,,rejected\n");
    session.write(
        "more.csv",
        "request,model,arrival_s,group,start_s,finish_s,outcome\n0,m0,0,,,,rejected\n1,m0,1,,,,late\n",
    );
    session.write("other.csv", "request,model,arrival_s,group,start_s,finish_s,outcome\n0,m1,0,,,,rejected\n");
    session.write("log", "{\"version\":1,\"models\":[\"x\"],\"placement\":{\"version\":1,\"windows\":[]}}\n");
    session.refuses("serve s.toml --backend sleep --keys empty", &["empty", "holds no key"]);
    session.refuses("serve s.toml --backend sleep --admin-keys empty", &["empty", "holds no key"]);
    session.write("keys", "a:one\n\nb:two\n");
    session.write("same", "# the same key\nroot:two\n");
    session.write("spaced", "a:one\nb:two words\n");
    session.refuses("serve s.toml --backend sleep --admin-keys spaced", &["spaced:2", "no header can carry"]);
    session
        .refuses("serve s.toml --backend sleep --keys keys --admin-keys same", &["same: ", "`root`", "inference key"]);
    session.refuses("serve s.toml --backend sleep --keys none", &["none", "cannot read"]);
    session.refuses("serve s.toml --backend sleep --admin-listen 8081", &["--admin-listen"]);
    let window =
        |start: f64| format!("{{\"start_s\": {start}, \"groups\": [{{\"op\": 1, \"pp\": 1, \"models\": [\"m0\"]}}]}}");
    session.write("two.json", &format!("{{\"version\": 1, \"windows\": [{}, {}]}}", window(0.0), window(60.0)));
    session.refuses("serve s.toml --backend sleep --placement two.json", &["two.json", "carries out one placement"]);
    session.refuses("serve s.toml --backend sleep --placement no.json", &["no.json", "cannot read"]);
    session.refuses("serve s.toml --backend sleep --listen nowhere", &["--listen"]);
    session.refuses("serve s.toml --backend sleep --tls-key k", &["--tls-certificate"]);
    session.refuses("replay s.toml --target ftp://x", &["ftp://x", "http://127.0.0.1:8080"]);
    session.refuses("replay s.toml --target http://x --closed 0", &["--closed"]);
    session.refuses("compare-runs r.csv more.csv", &["more.csv", "row 2", "though nothing ran"]);
    session.refuses("compare-runs r.csv other.csv", &["not of the same workload"]);
    session.refuses("compare-runs r.csv s.toml", &["s.toml", "neither CSV nor Parquet"]);
    session.refuses("replay-log log s.toml", &["other models"]);
    session.refuses("replay-log s.toml s.toml", &["s.toml:1"]);
}

#[test]
fn a_server_that_is_not_there_fails_the_run() {
    let session = session();
    // Port 9 (discard) of this machine: nobody listens.
    let ran = session.run("replay s.toml --target http://127.0.0.1:9");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("cannot reach http://127.0.0.1:9"), "{}", ran.stderr);
}

#[cfg(feature = "candle")]
#[test]
fn real_models_are_named_by_preset_or_folder() {
    let session = session();
    session.refuses("serve s.toml", &["models[0].profile", "small", "bert-tiny", "--backend sleep"]);
    let named = session.read("s.toml").replace("profile = \"small\"", "profile = \"small\"\nsource = \"bert-huge\"");
    session.write("s.toml", &named);
    session.refuses("serve s.toml", &["models[0].source", "bert-huge"]);
    session.refuses("profile --models bert-huge -o p.json", &["--models", "bert-huge"]);
}

#[cfg(feature = "candle")]
#[test]
fn a_measured_profile_is_planned_and_says_where_it_was_cut() {
    let session = session();
    let measured =
        session.json("profile --models bert-tiny --pp 1,2 --sequence 8 --repeats 2 --warm-up 1 -o tiny.json");
    assert_eq!(measured["points"].as_array().expect("a list").len(), 2);
    let profile: serde_json::Value = serde_json::from_str(&session.read("tiny.json")).expect("JSON");
    let cut = profile["models"]["bert-tiny"]["cuts"]["2"][0].as_u64().expect("one cut");
    assert!((1..4).contains(&cut), "bert-tiny has four layers, cut at {cut}");
    assert!(profile["provenance"].as_str().expect("text").starts_with("measured: medians of 2 runs"));
    assert!(!session.files().contains(&"tiny.json.journal".to_owned()));
    let scenario = session.read("s.toml").replace("profile.json", "tiny.json").replace("\"small\"", "\"bert-tiny\"");
    session.write("s.toml", &scenario);
    session.json("plan s.toml");
}

#[cfg(not(feature = "candle"))]
#[test]
fn a_build_without_models_says_so() {
    let session = session();
    session.refuses("serve s.toml", &["`candle` is not in this build", "--backend sleep"]);
    session.refuses("profile --models bert-tiny -o p.json", &["runs no models"]);
}
