//! The HTTP front as its clients' libraries, browsers and documents know it.

mod common;

use common::{Reply, ask, deployment, get, keys, parse, post, server, settings};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};
use statmux_core::{Slo, Span};
use statmux_serve::http::HttpSettings;
use statmux_serve::{Server, ServerSettings};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

fn served(http: HttpSettings) -> Server {
    let mut deployment = deployment(1, 1, 3, Span::from_millis(1), Slo::None);
    deployment.models[1].name = "org/team/m".to_owned();
    server(deployment, ServerSettings { http, ..settings() })
}

/// Posts bytes with headers.
fn send(at: SocketAddr, path: &str, headers: &str, body: &[u8]) -> Reply {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    let mut socket = TcpStream::connect(at).expect("it listens");
    // A server that has heard enough may close before all was written.
    let _ = socket.write_all(&[head.as_bytes(), body].concat());
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    parse(&String::from_utf8_lossy(&answer))
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("writing to memory succeeds")
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("writing to memory succeeds")
}

#[test]
fn compressed_bodies_mean_what_they_unpack_to() {
    let server = served(HttpSettings { body_limit: 10_000, ..HttpSettings::default() });
    let at = server.address();
    let embed = br#"{"model":"m0","input":"x"}"#;
    let header =
        br#"{"inputs":[{"name":"input_ids","datatype":"INT32","shape":[1,2],"parameters":{"binary_data_size":8}}]}"#;
    let binary = [&header[..], &[5, 0, 0, 0, 6, 0, 0, 0]].concat();
    let json_length = format!("inference-header-content-length: {}\r\n", header.len());
    for (coding, pack) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("deflate", zlib), ("GZIP", gzip)] {
        let encoding = format!("content-encoding: {coding}\r\n");
        let reply = send(at, "/v1/embeddings", &encoding, &pack(embed));
        assert_eq!(reply.status, 200, "{coding}: {}", reply.body);
        let reply = send(at, "/v2/models/m0/infer", &format!("{encoding}{json_length}"), &pack(&binary));
        assert_eq!(reply.status, 200, "{coding}: {}", reply.body);
        let bomb = pack(&vec![b' '; 32 << 20]);
        assert_eq!(send(at, "/v1/embeddings", &encoding, &bomb).status, 413, "{coding}");
        assert_eq!(send(at, "/v2/models/m0/infer", &encoding, &bomb).json()["reason"], "body_too_large");
        assert_eq!(send(at, "/v1/embeddings", &encoding, embed).status, 400, "{coding}");
    }
    for coding in ["br", "zstd", "gzip, br"] {
        let encoding = format!("content-encoding: {coding}\r\n");
        for path in ["/v1/embeddings", "/v1/completions", "/v1/chat/completions", "/v2/models/m0/infer"] {
            let reply = send(at, path, &encoding, embed);
            assert_eq!(reply.status, 415, "{coding} {path}");
            assert!(reply.head.contains("accept-encoding: gzip, deflate"), "{}", reply.head);
        }
    }
    server.stop();
}

#[test]
fn names_with_slashes_need_no_escapes() {
    let server = served(HttpSettings::default());
    let at = server.address();
    let body = r#"{"inputs":[{"name":"input_ids","datatype":"INT64","shape":[1,1],"data":[5]}]}"#;
    for name in ["org/team/m", "org%2Fteam%2Fm", "org/team%2fm", "m0"] {
        for version in ["", "/versions/1"] {
            let model = format!("/v2/models/{name}{version}");
            for act in ["", "/ready", "/config", "/stats"] {
                assert_eq!(get(at, &format!("{model}{act}")).status, 200, "{model}{act}");
                assert_eq!(ask(at, "POST", &format!("{model}{act}"), "", "").status, 405, "{model}{act}");
            }
            let reply = post(at, &format!("{model}/infer"), body);
            assert_eq!(reply.status, 200, "{model}: {}", reply.body);
            let reply = get(at, &format!("{model}/infer"));
            assert_eq!(reply.status, 405);
            assert!(reply.head.contains("allow: post") && reply.json()["error"].is_string(), "{}", reply.head);
        }
        assert_eq!(get(at, &format!("/v1/models/{name}")).status, 200, "{name}");
    }
    assert_eq!(get(at, "/v1/models/org/team/m").json()["id"], "org/team/m");
    for path in ["/v2/models/org/team", "/v2/models/org/team/m/nothing", "/v2/models/org/team/m/versions/2/ready"] {
        let reply = get(at, path);
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.json()["error"].is_string(), "{}", reply.body);
    }
    assert_eq!(get(at, "/v2/models/m0/versions/2").status, 404);
    assert_eq!(get(at, "/v2/models/%ff%fe").status, 404);
    assert!(get(at, "/v2/models/a%ff").json()["error"].is_string());
    server.stop();
}

#[test]
fn keys_guard_names_with_slashes_too() {
    let server = served(HttpSettings { keys: keys("secret", ""), ..HttpSettings::default() });
    for path in ["/v2/models/org/team/m", "/v2/models/org/team/m/ready", "/v1/models/org/team/m", "/v2/models/stats"] {
        assert_eq!(get(server.address(), path).status, 401, "{path}");
    }
    server.stop();
}

#[test]
fn tritons_configurations_statistics_and_index() {
    let server = served(HttpSettings::default());
    let at = server.address();
    let config = get(at, "/v2/models/m2/config").json();
    assert_eq!((&config["name"], &config["max_batch_size"]), (&json!("m2"), &json!(0)));
    assert_eq!(config["input"][0], json!({"name": "input_ids", "data_type": "TYPE_INT64", "dims": [-1, -1]}));
    let names = |list: &Value| -> Vec<String> {
        let list = list.as_array().expect("a list");
        list.iter().map(|entry| entry["name"].as_str().expect("a name").to_owned()).collect()
    };
    let metadata = get(at, "/v2/models/m2").json();
    assert_eq!(names(&config["input"]), names(&metadata["inputs"]));
    assert_eq!(names(&config["output"]), names(&metadata["outputs"]));
    let before = get(at, "/v2/models/m0/stats").json()["model_stats"][0].clone();
    assert_eq!((&before["inference_count"], &before["last_inference"]), (&json!(0), &json!(0)));
    assert_eq!(post(at, "/v1/embeddings", r#"{"model":"m0","input":["a","b","c"]}"#).status, 200);
    assert_eq!(post(at, "/v1/embeddings", r#"{"model":"m0","input":[999]}"#).status, 400);
    let after = get(at, "/v2/models/m0/stats").json()["model_stats"][0].clone();
    let stats = &after["inference_stats"];
    assert_eq!((&after["inference_count"], &stats["success"]["count"]), (&json!(3), &json!(3)));
    assert_eq!(stats["fail"]["count"], 1, "{stats}");
    let ns = |part: &str| stats[part]["ns"].as_u64().expect("a number");
    assert_eq!(ns("success"), ns("queue") + ns("compute_infer"));
    assert!(ns("compute_infer") >= 3_000_000 && after["last_inference"].as_u64() > Some(1_600_000_000_000), "{after}");
    assert_eq!(names(&get(at, "/v2/models/stats").json()["model_stats"]), ["m0", "org/team/m", "m2"]);
    for body in ["", "{}", r#"{"ready":true}"#, r#"{"ready":null}"#] {
        let index = post(at, "/v2/repository/index", body).json();
        assert_eq!(names(&index), ["m0", "org/team/m", "m2"], "{body}");
        assert_eq!((&index[1]["state"], &index[1]["version"]), (&json!("READY"), &json!("1")));
    }
    assert_eq!(post(at, "/v2/repository/index", r#"{"reddy":true}"#).json()["param"], "reddy");
    assert!(post(at, "/v2/repository/models/m0/load", "{}").json()["error"].is_string());
    server.stop();
}

#[test]
fn pages_of_allowed_origins_may_ask_models() {
    let http = HttpSettings {
        keys: keys("secret", ""),
        cors_origins: vec!["https://app.example".into(), "http://localhost:3000".into()],
        ..HttpSettings::default()
    };
    let server = served(http);
    let at = server.address();
    const FIRST: &str = "access-control-request-method: POST\r\naccess-control-request-headers: authorization\r\n";
    let preflight = |path: &str, origin: &str| ask(at, "OPTIONS", path, &format!("origin: {origin}\r\n{FIRST}"), "");
    for path in ["/v1/chat/completions", "/v2/models/org/team/m/infer", "/v2/models/m0/infer"] {
        let reply = preflight(path, "https://app.example");
        assert_eq!(reply.status, 204, "{path}");
        for line in [
            "access-control-allow-origin: https://app.example",
            "access-control-allow-headers: authorization",
            "access-control-allow-methods: get, post",
            "vary: origin",
        ] {
            assert!(reply.head.contains(line), "{line}: {}", reply.head);
        }
        let reply = preflight(path, "https://evil.example");
        assert!(reply.status >= 400 && !reply.head.contains("access-control-allow"), "{}", reply.head);
    }
    let reply = preflight("/admin/drain", "https://app.example");
    assert!(!reply.head.contains("access-control"), "{}", reply.head);
    // Refusals too must be readable, and so must be who may read them.
    for key in ["", "authorization: Bearer secret\r\n"] {
        let reply = ask(at, "GET", "/v1/models", &format!("origin: http://localhost:3000\r\n{key}"), "");
        assert_eq!(reply.status, if key.is_empty() { 401 } else { 200 });
        assert!(reply.head.contains("access-control-allow-origin: http://localhost:3000"), "{}", reply.head);
        assert!(reply.head.contains("access-control-expose-headers: x-request-id"), "{}", reply.head);
    }
    assert!(!get(at, "/v1/models").head.contains("access-control"));
    server.stop();
    let server = served(HttpSettings { cors_origins: vec!["*".into()], ..HttpSettings::default() });
    let reply = ask(server.address(), "GET", "/v1/models", "origin: https://any.example\r\n", "");
    assert!(reply.head.contains("access-control-allow-origin: *"), "{}", reply.head);
    server.stop();
    let server = served(HttpSettings::default());
    let reply = ask(server.address(), "GET", "/v1/models", "origin: https://app.example\r\n", "");
    assert!(!reply.head.contains("access-control"), "{}", reply.head);
    server.stop();
}

/// Everything in `value` that is a reference.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.insert(reference.clone());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn the_document_is_whole() {
    let server = served(HttpSettings { keys: keys("secret", ""), ..HttpSettings::default() });
    let at = server.address();
    const KEY: &str = "authorization: Bearer secret\r\n";
    let document = ask(at, "GET", "/openapi.json", KEY, "").json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            assert!(operations.insert(operation["operationId"].as_str().expect("an id").to_owned()), "{path}");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
            assert_eq!(in_path.count(), path.matches('{').count(), "{path}");
            let responses = operation["responses"].as_object().expect("responses");
            for (status, response) in responses {
                let described = response["description"].as_str().is_some_and(|text| !text.is_empty());
                assert!(described, "{method} {path} {status}");
            }
            let status = |status: &str| responses.contains_key(status);
            assert!(status("200"), "{path}");
            let health = path.starts_with("/v2/health/");
            assert_eq!(status("401"), !health, "{path}");
            if operation.get("requestBody").is_some() {
                assert!(["400", "408", "413", "415"].into_iter().all(status), "{method} {path}");
            }
            if path.contains("{model}") {
                assert!(status("404"), "{path}");
            }
            // What is declared is there.
            let real = path.replace("{model}", "m0").replace("{version}", "1");
            let reply = ask(at, &method.to_uppercase(), &real, KEY, "");
            assert!(reply.status != 404 && reply.status != 405, "{method} {path}");
            assert!(responses.contains_key(&reply.status.to_string()), "{method} {path}: {}", reply.status);
        }
    }
    // What is there is declared.
    for path in [
        "/v1/models",
        "/v1/models/{model}",
        "/v1/embeddings",
        "/v1/completions",
        "/v1/chat/completions",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/{model}",
        "/v2/models/{model}/ready",
        "/v2/models/{model}/infer",
        "/v2/models/{model}/config",
        "/v2/models/{model}/stats",
        "/v2/models/stats",
        "/v2/models/{model}/versions/{version}",
        "/v2/models/{model}/versions/{version}/ready",
        "/v2/models/{model}/versions/{version}/infer",
        "/v2/models/{model}/versions/{version}/config",
        "/v2/models/{model}/versions/{version}/stats",
        "/v2/repository/index",
        "/metrics",
        "/admin/placement",
        "/admin/drain",
        "/openapi.json",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    server.stop();
}
