//! The paths under `/v2`.

mod common;

use common::{Reply, ask, deployment, get, keys, post, server, settings};
use serde_json::{Value, json};
use statmux_core::{Slo, Span};
use statmux_serve::http::HttpSettings;
use statmux_serve::{Server, ServerSettings};

fn quick() -> Server {
    server(deployment(1, 1, 3, Span::from_millis(1), Slo::None), settings())
}

fn tensor(name: &str, datatype: &str, shape: &[usize], data: Value) -> Value {
    json!({"name": name, "datatype": datatype, "shape": shape, "data": data})
}

fn ids() -> Value {
    tensor("input_ids", "INT64", &[2, 3], json!([5, 6, 7, 8, 9, 10]))
}

#[test]
fn inputs_that_cannot_be_meant_are_refused_by_name() {
    let server = quick();
    let at = server.address();
    let check = |model: &str, inputs: &[Value], expected: &str| {
        let reply = post(at, &format!("/v2/models/{model}/infer"), &json!({ "inputs": inputs }).to_string());
        assert_eq!(reply.status, 400, "{inputs:?}: {}", reply.body);
        let error = reply.json()["error"].as_str().expect("a message").to_owned();
        assert!(error.contains(expected), "{error}");
        assert!(reply.json()["param"].is_string(), "{}", reply.body);
    };
    check("m0", &[ids(), tensor("pixels", "INT64", &[1], json!([1]))], "`pixels`");
    check("m2", &[ids(), tensor("positions", "INT64", &[2, 1], json!([1, 1]))], "`positions`");
    check("m0", &[ids(), ids()], "`input_ids` is given twice");
    check("m0", &[tensor("input_ids", "BYTES", &[1], json!(["5"]))], "`input_ids` must have the datatype");
    check("m0", &[tensor("text", "INT64", &[1], json!([5]))], "`text` must have the datatype BYTES");
    check("m0", &[tensor("input_ids", "FP32", &[1], json!([5.0]))], "FP32");
    check("m0", &[tensor("input_ids", "INT64", &[2], json!([5, 1.5]))], "must be a whole number");
    check("m0", &[tensor("input_ids", "INT64", &[1, 2], json!([5, -6]))], "negative");
    check("m0", &[tensor("input_ids", "INT64", &[3, 2], json!([[5, 6, 7], [8, 9, 10]]))], "nested otherwise");
    check("m0", &[ids(), tensor("text", "BYTES", &[1], json!(["x"]))], "either `input_ids`");
    for shape in [&[3, 2][..], &[6], &[1, 6], &[2, 3, 1]] {
        let mask = tensor("attention_mask", "INT64", shape, json!([1, 1, 1, 1, 1, 1]));
        check("m0", &[ids(), mask], "must have the shape of `input_ids`");
    }
    let mask = |data: Value| tensor("attention_mask", "INT64", &[2, 3], data);
    check("m0", &[ids(), mask(json!([1, 1, 2, 1, 1, 1]))], "zeros and ones");
    check("m0", &[ids(), mask(json!([1, 1, 1, 0, 0, 0]))], "row 1 of `attention_mask` leaves no token");
    check("m0", &[ids(), tensor("token_type_ids", "INT64", &[3, 2], json!([0, 0, 0, 0, 0, 0]))], "the shape of");
    check("m2", &[ids(), tensor("token_type_ids", "INT64", &[2, 3], json!([0, 0, 0, 0, 0, 0]))], "`token_type_ids`");
    check("m0", &[mask(json!([1, 1, 1, 1, 1, 1])), tensor("text", "BYTES", &[1], json!(["x"]))], "needs `input_ids`");
    server.stop();
}

#[test]
fn padding_changes_nothing_wherever_it_stands_and_token_types_count() {
    let server = quick();
    let at = server.address();
    let ask = |model: &str, inputs: &[Value]| {
        let body =
            json!({"inputs": inputs, "parameters": {"max_tokens": if model == "m2" { json!(3) } else { Value::Null }}});
        let reply = post(at, &format!("/v2/models/{model}/infer"), &body.to_string());
        assert_eq!(reply.status, 200, "{inputs:?}: {}", reply.body);
        reply.json()["outputs"][0]["data"].clone()
    };
    for model in ["m0", "m2"] {
        let bare = ask(model, &[tensor("input_ids", "INT64", &[1, 3], json!([5, 6, 7]))]);
        for (ids, mask) in [
            (json!([5, 6, 7, 0, 0]), json!([1, 1, 1, 0, 0])),
            (json!([0, 0, 5, 6, 7]), json!([0, 0, 1, 1, 1])),
            (json!([9, 5, 6, 9, 7]), json!([0, 1, 1, 0, 1])),
        ] {
            let inputs = [tensor("input_ids", "INT64", &[1, 5], ids), tensor("attention_mask", "INT32", &[1, 5], mask)];
            assert_eq!(ask(model, &inputs), bare, "{model} {inputs:?}");
        }
    }
    let ids = tensor("input_ids", "INT64", &[1, 3], json!([5, 6, 7]));
    let typed = |types: Value| ask("m0", &[ids.clone(), tensor("token_type_ids", "INT64", &[1, 3], types)]);
    let bare = ask("m0", std::slice::from_ref(&ids));
    assert_eq!(typed(json!([0, 0, 0])), bare);
    assert_ne!(typed(json!([0, 1, 1])), bare);
    server.stop();
}

#[test]
fn parameters_of_the_wrong_kind_of_model_and_unknown_outputs_are_refused_before_work() {
    let server = quick();
    let at = server.address();
    let body = json!({"inputs": [ids()], "parameters": {"temperature": 0}});
    assert_eq!(post(at, "/v2/models/m0/infer", &body.to_string()).json()["param"], "parameters.temperature");
    for outputs in [json!([{"name": "logits"}]), json!([{"name": "embedding"}, {"name": "embedding"}])] {
        let body = json!({"inputs": [ids()], "outputs": outputs});
        assert_eq!(post(at, "/v2/models/m0/infer", &body.to_string()).status, 400);
    }
    let metrics = get(at, "/metrics").body;
    assert!(metrics.contains("statmux_requests_total{model=\"m0\",outcome=\"in_slo\"} 0"), "{metrics}");
    server.stop();
}

#[test]
fn stops_end_texts_and_answers_to_equal_prompts_differ_only_by_their_seeds() {
    let server = quick();
    let at = server.address();
    let text = tensor("text", "BYTES", &[2], json!(["abcdef", "xyz"]));
    let body = json!({"inputs": [text], "parameters": {"max_tokens": 8, "stop": ["de", "zx"]}});
    let outputs = post(at, "/v2/models/m2/infer", &body.to_string()).json()["outputs"].clone();
    assert_eq!(outputs[1]["data"], json!(["abc", "xy"]));
    assert_eq!(outputs[0]["shape"], json!([2, 5]), "{}", outputs[0]);
    server.stop();
}

#[test]
fn binary_output_is_asked_for_once_or_output_by_output() {
    let server = quick();
    let at = server.address();
    let is_binary = |parameters: Value, outputs: Value| {
        let text = tensor("text", "BYTES", &[1], json!(["ab"]));
        let body = json!({"inputs": [text], "parameters": parameters, "outputs": outputs});
        let reply = post(at, "/v2/models/m2/infer", &body.to_string());
        assert_eq!(reply.status, 200, "{}", reply.body);
        let length = reply.head.lines().find_map(|line| line.strip_prefix("inference-header-content-length: "));
        let length = length.map_or(reply.body.len(), |length| length.trim().parse().expect("a length"));
        let header: Value = serde_json::from_str(&reply.body[..length]).expect("JSON");
        let outputs = header["outputs"].as_array().expect("outputs").clone();
        outputs.iter().map(|output| output["parameters"]["binary_data_size"].is_u64()).collect::<Vec<_>>()
    };
    let listed = json!([{"name": "text"}]);
    let says = |binary: Value| json!([{"name": "text", "parameters": {"binary_data": binary}}]);
    assert_eq!(is_binary(json!(null), json!(null)), [false, false]);
    assert_eq!(is_binary(json!({"binary_data_output": true}), json!(null)), [true, true]);
    assert_eq!(is_binary(json!({"binary_data_output": true}), listed.clone()), [true]);
    assert_eq!(is_binary(json!({"binary_data_output": true}), says(json!(null))), [true]);
    assert_eq!(is_binary(json!({"binary_data_output": true}), says(json!(false))), [false]);
    assert_eq!(is_binary(json!({"binary_data_output": false}), says(json!(true))), [true]);
    assert_eq!(is_binary(json!({}), listed), [false]);
    server.stop();
}

#[test]
fn every_error_under_v2_has_the_form_of_the_protocol() {
    let http = HttpSettings {
        keys: keys("secret", ""),
        body_limit: 2000,
        body_timeout: std::time::Duration::from_millis(300),
        ..HttpSettings::default()
    };
    let deployment = deployment(1, 1, 3, Span::from_millis(1), Slo::None);
    let server = server(deployment, ServerSettings { http, ..settings() });
    let at = server.address();
    const KEY: &str = "authorization: Bearer secret\r\n";
    let check = |reply: Reply, status: u16| {
        assert_eq!(reply.status, status, "{}", reply.body);
        assert!(reply.json()["error"].is_string() && reply.json()["message"].is_string(), "{}", reply.body);
        assert!(reply.head.contains("content-type: application/json"), "{}", reply.head);
        assert!(reply.head.contains("x-request-id: "), "{}", reply.head);
        reply
    };
    let body = json!({ "inputs": [ids()] }).to_string();
    let infer = "/v2/models/m0/infer";
    let reply = check(ask(at, "POST", infer, "", &body), 401);
    assert!(reply.head.contains("www-authenticate: bearer"), "{}", reply.head);
    check(ask(at, "GET", "/v2/nowhere", "", ""), 401);
    check(ask(at, "GET", "/v2/nowhere", KEY, ""), 404);
    check(ask(at, "GET", "/v2/models/nope", KEY, ""), 404);
    check(ask(at, "GET", "/v2/models/nope/ready", KEY, ""), 404);
    check(ask(at, "POST", "/v2/models/nope/infer", KEY, &body), 404);
    let reply = check(ask(at, "DELETE", infer, KEY, ""), 405);
    assert!(reply.head.contains("allow: post"), "{}", reply.head);
    check(ask(at, "POST", "/v2", KEY, ""), 405);
    check(ask(at, "POST", infer, KEY, &"x".repeat(3000)), 413);
    check(ask(at, "POST", infer, KEY, "{"), 400);
    let half = format!("POST {infer} HTTP/1.1\r\nhost: x\r\n{KEY}content-length: 50\r\n\r\n{{\"inputs\":");
    check(common::parse(&common::raw(at, half.as_bytes())), 408);
    let reply = ask(at, "GET", "/v1/nowhere", KEY, "");
    assert!(reply.json()["error"]["message"].is_string(), "{}", reply.body);
    server.stop();
}

#[test]
fn schemes_are_read_in_any_case() {
    let http = HttpSettings { keys: keys("secret", ""), ..HttpSettings::default() };
    let deployment = deployment(1, 1, 1, Span::from_millis(1), Slo::None);
    let server = server(deployment, ServerSettings { http, ..settings() });
    let at = server.address();
    for scheme in ["Bearer", "bearer", "BEARER", "beArer"] {
        assert_eq!(ask(at, "GET", "/v1/models", &format!("authorization: {scheme} secret\r\n"), "").status, 200);
        assert_eq!(ask(at, "GET", "/v1/models", &format!("authorization: {scheme} Secret\r\n"), "").status, 401);
    }
    for wrong in ["Basic secret", "Bearersecret", "secret", "Bearer", ""] {
        let reply = ask(at, "GET", "/v1/models", &format!("authorization: {wrong}\r\n"), "");
        assert_eq!(reply.status, 401, "{wrong}");
        assert!(reply.head.contains("www-authenticate: bearer realm="), "{}", reply.head);
    }
    server.stop();
}
