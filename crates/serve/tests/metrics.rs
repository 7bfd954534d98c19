//! `/metrics` as scrapers read it: well formed throughout, and true.

mod common;

use common::{ask, deployment, get, post, server, settings};
use statmux_core::{Slo, Span};
use std::collections::{BTreeMap, BTreeSet};

/// One line of an exposition.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads Prometheus' text format 0.0.4, strictly: each family has its help and its type before its samples, comes
/// once, and no sample comes twice.
fn parse(text: &str) -> Vec<Sample> {
    assert!(text.ends_with('\n'));
    let (mut samples, mut seen, mut helped) = (Vec::new(), BTreeSet::new(), String::new());
    let mut family: Option<(String, String)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            assert!(seen.insert(name.to_owned()), "two families called {name}");
            assert!(help.ends_with('.') && !help.ends_with("..") && help.starts_with(char::is_uppercase), "{line}");
            helped = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
            assert_eq!(name, helped, "type without help");
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            family = Some((name.to_owned(), kind.to_owned()));
        } else {
            let sample = sample(line);
            let (family, kind) = family.as_ref().expect("a family begins with its type");
            let suffixes: &[&str] = if kind == "histogram" { &["_sum", "_count", "_bucket"] } else { &[""] };
            assert!(suffixes.iter().any(|suffix| sample.name == format!("{family}{suffix}")), "{line} in {family}");
            assert!(sample.name.starts_with("statmux_") || sample.name.starts_with("process_"), "{line}");
            samples.push(sample);
        }
    }
    for (index, sample) in samples.iter().enumerate() {
        let same = |other: &Sample| other.name == sample.name && other.labels == sample.labels;
        assert!(!samples[..index].iter().any(same), "twice: {sample:?}");
    }
    samples
}

fn sample(line: &str) -> Sample {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or_else(|| panic!("{line}"));
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            let mut value = String::new();
            let mut characters = after.char_indices();
            let end = loop {
                match characters.next().unwrap_or_else(|| panic!("{line}")) {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match characters.next() {
                        Some((_, 'n')) => '\n',
                        Some((_, c @ ('"' | '\\'))) => c,
                        other => panic!("{other:?} escaped in {line}"),
                    }),
                    (_, c) => value.push(c),
                }
            };
            assert!(labels.insert(key.to_owned(), value).is_none(), "{line}");
            rest = after[end + 1..].strip_prefix(',').unwrap_or(&after[end + 1..]);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    Sample { name: name.to_owned(), labels, value: value.parse().unwrap_or_else(|_| panic!("{line}")) }
}

/// The sum of all samples of `name` with these labels.
fn sum(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |sample: &&Sample| labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value));
    let found: Vec<&Sample> = samples.iter().filter(|sample| sample.name == name).filter(fits).collect();
    assert!(!found.is_empty(), "no {name} with {labels:?}");
    found.iter().map(|sample| sample.value).sum()
}

#[test]
fn tokens_batches_statuses_and_the_process_are_counted() {
    let mut deployment = deployment(2, 2, 3, Span::from_millis(2), Slo::None);
    let odd = "quoted \"m\\0\"\nsecond line";
    deployment.models[1].name = odd.to_owned();
    deployment.models[0].name = "org/m0".to_owned();
    let server = server(deployment, settings());
    let at = server.address();
    assert_eq!(post(at, "/v1/embeddings", r#"{"model":"org/m0","input":["abc","de"]}"#).status, 200);
    let name = serde_json::to_string(odd).expect("a text");
    assert_eq!(post(at, "/v1/embeddings", &format!(r#"{{"model":{name},"input":"abc"}}"#)).status, 200);
    for stream in [false, true] {
        let body = format!(r#"{{"model":"m2","prompt":"abcd","max_tokens":3,"stream":{stream}}}"#);
        assert_eq!(post(at, "/v1/completions", &body).status, 200);
    }
    assert_eq!(post(at, "/v1/embeddings", "{").status, 400);
    assert_eq!(get(at, "/v1/models/org/m0").status, 200);
    assert_eq!(get(at, "/v2/models/org/m0/ready").status, 200);
    assert_eq!(get(at, "/nowhere/at/all").status, 404);
    assert_eq!(ask(at, "BREW", "/nowhere/else", "", "").status, 404);
    assert_eq!(get(at, "/v1/embeddings").status, 405);

    let reply = get(at, "/metrics");
    assert!(reply.head.contains("content-type: text/plain; version=0.0.4"), "{}", reply.head);
    let samples = parse(&reply.body);
    let sum = |name: &str, labels: &[(&str, &str)]| sum(&samples, name, labels);
    assert_eq!(sum("statmux_prompt_tokens_total", &[("model", "org/m0")]), 5.0);
    assert_eq!(sum("statmux_prompt_tokens_total", &[("model", odd)]), 3.0);
    assert_eq!(sum("statmux_prompt_tokens_total", &[("model", "m2")]), 8.0);
    assert_eq!(sum("statmux_generated_tokens_total", &[("model", "m2")]), 6.0);
    assert_eq!(sum("statmux_generated_tokens_total", &[("model", "org/m0")]), 0.0);
    assert_eq!(sum("statmux_time_to_first_token_seconds_count", &[("model", "m2")]), 2.0);
    assert_eq!(sum("statmux_time_to_first_token_seconds_count", &[("model", "org/m0")]), 0.0);
    let batches = sum("statmux_batch_size_sum", &[("model", "org/m0")]);
    assert_eq!(batches, 2.0);
    let requests = |method: &str, path: &str, status: &str| {
        sum("statmux_http_requests_total", &[("method", method), ("path", path), ("status", status)])
    };
    assert_eq!(requests("POST", "/v1/embeddings", "200"), 2.0);
    assert_eq!(requests("POST", "/v1/embeddings", "400"), 1.0);
    assert_eq!(requests("POST", "/v1/completions", "200"), 2.0);
    assert_eq!(requests("GET", "/v1/models/{model}", "200"), 1.0);
    assert_eq!(requests("GET", "other", "404"), 1.0);
    assert_eq!(requests("other", "other", "404"), 1.0);
    assert_eq!(requests("GET", "/v1/embeddings", "405"), 1.0);
    assert_eq!(requests("GET", "/v2/models/{model}/ready", "200"), 1.0);
    assert!(sum("statmux_http_requests_in_flight", &[]) >= 1.0, "the scrape itself");
    assert_eq!(sum("statmux_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert!(samples.iter().any(|sample| sample.name == "statmux_queue_length"));
    if cfg!(target_os = "linux") {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let started = sum("process_start_time_seconds", &[]);
        assert!(started > 1e9 && started < now + 60.0, "{started}, now {now}");
        for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
            assert!(sum(name, &[]) > 0.0, "{name}");
        }
        assert!(sum("process_open_fds", &[]) <= sum("process_max_fds", &[]));
    }
    server.stop();
}

#[test]
fn open_metrics_are_given_to_those_who_ask() {
    let server = server(deployment(1, 1, 3, Span::from_millis(1), Slo::None), settings());
    let reply = ask(server.address(), "GET", "/metrics", "accept: application/openmetrics-text;version=1.0.0\r\n", "");
    assert!(reply.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", reply.head);
    assert!(reply.body.ends_with("# EOF\n"));
    assert!(reply.body.contains("# TYPE statmux_prompt_tokens counter\n"), "{}", reply.body);
    server.stop();
}

#[test]
fn counts_do_not_grow_with_what_clients_make_up() {
    let server = server(deployment(1, 1, 3, Span::from_millis(1), Slo::None), settings());
    let at = server.address();
    let lines = || get(at, "/metrics").body.lines().count();
    assert_eq!(get(at, "/made/up").status, 404);
    assert_eq!(get(at, "/v1/models/made-up").status, 404);
    let before = (lines(), lines()).1;
    for n in 0..50 {
        get(at, &format!("/made/up/{n}"));
        get(at, &format!("/v1/models/made-up-{n}"));
    }
    assert_eq!(lines(), before);
    server.stop();
}
