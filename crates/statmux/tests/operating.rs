//! What operators do and see, with the binary as they run it: logs, keys and certificates that change, audit lines.
#![cfg(unix)]

mod common;

use common::Session;
use common::serving::Serving;
use serde_json::Value;

const BODY: &str = r#"{"model": "m0", "input": "hello"}"#;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn session() -> Session {
    Session::new(|text| text.replace("duration = \"60 s\"", "duration = \"2 s\""))
}

fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn every_line_is_json_where_json_was_asked_for() {
    let session = session();
    session.write("keys", "alice:one\n");
    let args = "--log json --access-log --keys keys --event-log events.jsonl --set planner.beam=4 -v";
    let mut server = Serving::watched(&session, args);
    assert_eq!(server.ask("POST", "/v1/embeddings", &bearer("one"), BODY).0, 200);
    assert_eq!(server.ask("POST", "/v1/embeddings", &bearer("two"), BODY).0, 401);
    assert_eq!(server.ask("POST", "/admin/drain", &bearer("one"), "").0, 403);
    let line = json(&server.line(&["statmux::audit"]));
    assert_eq!(line["level"], "WARN");
    let (code, rest) = server.end();
    assert_eq!(code, Some(0), "{rest}");
    for line in rest.lines() {
        assert!(json(line)["level"].is_string(), "{line}");
    }
    assert!(rest.lines().last().is_some_and(|line| line.contains("events.jsonl: ")), "{rest}");

    // From the first line to the last: talk, remarks, and why it ended.
    session.write("broken.json", "{");
    session.write("empty", "");
    for (args, part) in [
        ("serve s.toml --backend sleep --log json --keys empty", "holds no key"),
        ("serve s.toml --backend sleep --log json --placement broken.json", "broken.json"),
        ("serve none.toml --backend sleep --log json", "none.toml"),
        ("serve s.toml --backend sleep --log=json --listen 192.0.2.1:1", "cannot listen on"),
        ("serve s.toml --backend sleep --log json --listen nowhere", "--listen"),
        ("serve s.toml --log=json --no-such-option", "--no-such-option"),
        ("serve --log json", "SCENARIO"),
    ] {
        let ran = session.run(args);
        assert!(ran.code == 2 || ran.code == 1, "{args}");
        let lines: Vec<Value> = ran.stderr.lines().map(json).collect();
        let last = lines.last().unwrap_or_else(|| panic!("{args}: nothing was said"));
        assert_eq!(last["level"], "ERROR", "{args}: {last}");
        assert!(last["fields"]["message"].as_str().is_some_and(|text| text.contains(part)), "{args}: {last}");
    }
}

#[test]
fn start_up_talk_stays_plain_where_people_read_it() {
    let session = session();
    let mut server = Serving::watched(&session, "");
    let line = server.line(&["simulated SLO attainment"]);
    assert!(line.starts_with("4 models on "), "{line}");
    let ran = session.run("serve s.toml --backend sleep --listen nowhere");
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    let help = session.run("serve --help --log json");
    assert!(help.code == 0 && help.stderr.is_empty() && help.stdout.contains("--admin-keys"), "{}", help.stdout);
}

#[test]
fn each_request_leaves_a_line_with_who_what_and_how() {
    let session = session();
    session.write("keys", "alice:one\n");
    let mut server = Serving::watched(&session, "--log json -q --access-log --keys keys --event-log events.jsonl");
    let headers = format!("{}x-request-id: mine-1\r\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n", bearer("one"));
    let (status, answer) = server.ask("POST", "/v1/embeddings", &headers, BODY);
    assert_eq!(status, 200);
    let answer = answer.to_ascii_lowercase();
    assert!(
        answer.contains("x-request-id: mine-1\r\n") && answer.contains(&format!("traceparent: 00-{TRACE}-")),
        "{answer}"
    );
    let fields = json(&server.line(&["statmux::access"]))["fields"].clone();
    for (key, value) in [
        ("message", "request"),
        ("request_id", "mine-1"),
        ("trace_id", TRACE),
        ("key", "alice"),
        ("method", "POST"),
        ("path", "/v1/embeddings"),
        ("model", "m0"),
        ("outcome", "in_slo"),
    ] {
        assert_eq!(fields[key], value, "{key}: {fields}");
    }
    assert!(fields["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{fields}");
    assert_eq!(
        (&fields["status"], &fields["prompt_tokens"], &fields["completion_tokens"]),
        (&200.into(), &5.into(), &0.into())
    );
    for key in ["queue_ms", "run_ms", "total_ms"] {
        assert!(fields[key].as_f64().is_some_and(|ms| ms >= 0.0), "{key}: {fields}");
    }

    // What clients make up for ids and traces goes nowhere.
    let forged = format!("{}x-request-id: a b\r\ntraceparent: 00-{TRACE}-0-01\r\n", bearer("one"));
    let hasty = format!("{forged}x-statmux-deadline-ms: 1\r\n");
    assert_eq!(server.ask("POST", "/v1/embeddings", &hasty, BODY).0, 429);
    let fields = json(&server.line(&["statmux::access"]))["fields"].clone();
    assert_eq!((&fields["outcome"], &fields["status"]), (&"too_late".into(), &429.into()));
    assert!(
        fields["request_id"].as_str().is_some_and(|id| !id.contains(' ')) && fields.get("trace_id").is_none(),
        "{fields}"
    );
    for (headers, path, body, status, outcome) in [
        (bearer("nobody's"), "/v1/embeddings", BODY, 401, "invalid_api_key"),
        (bearer("one"), "/v1/embeddings", "{", 400, "malformed"),
        (bearer("one"), "/nowhere", "", 404, "no_such_path"),
    ] {
        assert_eq!(server.ask("POST", path, &headers, body).0, status);
        let line = server.line(&["statmux::access"]);
        let fields = json(&line)["fields"].clone();
        assert_eq!((&fields["outcome"], &fields["status"]), (&outcome.into(), &status.into()), "{fields}");
        assert!(!line.contains("nobody"), "keys are not logged: {line}");
    }
    let (_, rest) = server.end();
    assert!(!rest.contains("one\""), "{rest}");

    // The event log names the request, and replays all the same; so does a log from before it did.
    let log = session.read("events.jsonl");
    let arrival = log.lines().find(|line| line.contains("\"arrived\"")).expect("a request arrived");
    let arrived = &json(arrival)["event"]["arrived"];
    assert_eq!((&arrived["request_id"], &arrived["trace_id"]), (&"mine-1".into(), &TRACE.into()), "{arrival}");
    assert_eq!(session.json("replay-log events.jsonl s.toml")["same"], true);
    let named = format!(",\"request_id\":\"mine-1\",\"trace_id\":\"{TRACE}\"");
    assert!(log.contains(&named), "{arrival}");
    session.write("events.jsonl", &log.replace(&named, ""));
    assert_eq!(session.json("replay-log events.jsonl s.toml")["same"], true);
}

#[test]
fn administrators_are_named_whatever_came_of_it() {
    let session = session();
    session.write("keys", "alice:one\n");
    session.write("admin-keys", "root:two\n\nthree\n");
    let args = "--log json -q --keys keys --admin-keys admin-keys --admin-listen 127.0.0.1:0";
    let mut server = Serving::watched(&session, args);
    let admin = server.admin_url.as_str().expect("it has one").trim_start_matches("http://").to_owned();
    assert_eq!(server.ask("POST", "/admin/drain", &bearer("two"), "").0, 404);
    for (method, path, headers, status, level, key, outcome) in [
        ("POST", "/admin/drain", String::new(), 401, "WARN", None, "refused"),
        ("POST", "/admin/drain", bearer("one"), 403, "WARN", Some("alice"), "refused"),
        (
            "POST",
            "/admin/drain",
            format!("{}origin: http://evil.example\r\n", bearer("two")),
            403,
            "WARN",
            Some("root"),
            "refused",
        ),
        ("PUT", "/admin/placement", bearer("three"), 400, "WARN", Some("line-3"), "refused"),
        ("GET", "/admin/placement", bearer("three"), 200, "INFO", Some("line-3"), "done"),
        ("POST", "/admin/drain", bearer("two"), 200, "INFO", Some("root"), "done"),
    ] {
        assert_eq!(server.ask_at(&admin, method, path, &headers, "").0, status, "{method} {path} {headers}");
        let act = format!("{method} {path}");
        let line = json(&server.line(&["statmux::audit", &format!("\"status\":{status}"), &act]));
        let fields = &line["fields"];
        assert_eq!(line["level"], level, "{line}");
        assert_eq!((&fields["act"], &fields["outcome"]), (&act.into(), &outcome.into()), "{line}");
        assert_eq!(fields.get("key").and_then(Value::as_str), key, "{line}");
        assert!(fields["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{line}");
    }
}

#[test]
fn a_hangup_reads_keys_again_and_keeps_the_old_ones_if_it_cannot() {
    let session = session();
    session.write("keys", "alice:k-one\n");
    session.write("admin-keys", "root:admin\n");
    let mut server = Serving::watched(&session, "--log json --keys keys --admin-keys admin-keys");
    let status = |server: &Serving, key: &str| server.ask("GET", "/v1/models", &bearer(key), "").0;
    assert_eq!((status(&server, "k-one"), status(&server, "k-two")), (200, 401));
    let mut renew = |keys: &str, level: &str, part: &str| {
        session.write("keys", keys);
        server.signal("HUP");
        let line = server.line(&["\"act\":\"reload\""]);
        assert!(json(&line)["level"] == level && line.contains(part), "{line}");
        assert!(!line.contains("k-one") && !line.contains("k-two"), "keys are not logged: {line}");
        (status(&server, "k-one"), status(&server, "k-two"))
    };
    assert_eq!(renew("bob:k-two\n", "INFO", "\"keys\":1"), (401, 200));
    assert_eq!(renew("# none\n", "ERROR", "holds no key"), (401, 200));
    assert_eq!(renew("bob:k-two two\n", "ERROR", "keys:1"), (401, 200));
    assert_eq!(renew("mallory:admin\n", "ERROR", "inference key"), (401, 200));
    assert_eq!(renew("alice:k-one\nbob:k-two\n", "INFO", "\"keys\":2"), (200, 200));
    std::fs::remove_file(session.folder().join("keys")).expect("it is there");
    server.signal("HUP");
    server.line(&["\"act\":\"reload\"", "cannot read"]);
    assert_eq!(server.ask("GET", "/admin/placement", &bearer("admin"), "").0, 200);
    assert_eq!(server.end().0, Some(0));
}
