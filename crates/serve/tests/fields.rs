//! Every field of the protocols: done, neutral, or refused by name.

mod common;

use common::{Reply, ask, deployment, get, post, server, settings};
use serde_json::{Value, json};
use statmux_core::{Slo, Span};
use statmux_serve::Server;
use std::net::SocketAddr;

fn quick() -> Server {
    server(deployment(1, 1, 2, Span::from_millis(1), Slo::None), settings())
}

/// A request that is fine, for each endpoint.
fn fine(path: &str) -> Value {
    match path {
        "/v1/embeddings" => json!({"model": "m0", "input": "x"}),
        "/v1/completions" => json!({"model": "m1", "prompt": "x", "max_tokens": 2}),
        "/v1/chat/completions" => {
            json!({"model": "m1", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2})
        }
        _ => json!({"inputs": [{"name": "input_ids", "datatype": "INT64", "shape": [1, 2], "data": [1, 2]}]}),
    }
}

const PATHS: [&str; 4] = ["/v1/embeddings", "/v1/completions", "/v1/chat/completions", "/v2/models/m1/infer"];

/// Posts the fine request with `field` set to `value`; a field such as `parameters.seed` stands inside another.
fn with(at: SocketAddr, path: &str, field: &str, value: Value) -> Reply {
    let mut body = fine(path);
    match field.split_once('.') {
        Some((outer, inner)) => body[outer][inner] = value,
        None => body[field] = value,
    }
    post(at, path, &body.to_string())
}

/// That the request is refused, and which field is to blame.
fn blamed(reply: &Reply) -> String {
    assert_eq!(reply.status, 400, "{}", reply.body);
    let body = reply.json();
    let (detail, message) =
        if body["error"].is_string() { (&body, &body["error"]) } else { (&body["error"], &body["error"]["message"]) };
    let message = message.as_str().expect("a message");
    for word in ["untagged", "variant", "expected struct", "invalid type", "invalid value", "missing field", "serde"] {
        assert!(!message.contains(word), "in a parser's words: {message}");
    }
    detail["param"].as_str().unwrap_or_else(|| panic!("no param: {}", reply.body)).to_owned()
}

#[test]
fn neutral_values_pass_and_others_are_refused_by_name() {
    let server = quick();
    let at = server.address();
    let check = |path: &str, field: &str, neutral: &[Value], refused: &[Value]| {
        // A short prompt that goes on to the end of the context takes its time.
        let endless = (path, field) == ("/v1/chat/completions", "max_tokens");
        let optional = !endless && !["prompt", "input"].contains(&field);
        for value in neutral.iter().chain([&Value::Null].into_iter().filter(|_| optional)) {
            let reply = with(at, path, field, value.clone());
            assert_eq!(reply.status, 200, "{path} {field} {value}: {}", reply.body);
        }
        for value in refused {
            assert_eq!(blamed(&with(at, path, field, value.clone())), field, "{path} {value}");
        }
    };
    for path in ["/v1/completions", "/v1/chat/completions"] {
        check(path, "n", &[json!(1), json!(3)], &[json!(0), json!(129), json!("1"), json!(1.5)]);
        check(path, "presence_penalty", &[json!(0), json!(0.0)], &[json!(0.1), json!("0")]);
        check(path, "frequency_penalty", &[json!(0)], &[json!(-1)]);
        check(path, "logit_bias", &[json!({})], &[json!({"5": 1}), json!([])]);
        check(path, "user", &[json!("me")], &[]);
        check(path, "seed", &[json!(0), json!(-7)], &[json!(0.5), json!("0"), json!(u64::MAX)]);
        check(path, "stop", &[json!("q"), json!([]), json!(["q", "r"])], &[json!(""), json!(["a", ""])]);
        check(path, "stop", &[], &[json!(["a", "b", "c", "d", "e"]), json!(5), json!({"a": 1})]);
        check(path, "temperature", &[json!(0), json!(1), json!(2)], &[json!(-0.1), json!("hot")]);
        check(path, "top_p", &[json!(1), json!(0.5)], &[json!(0), json!(1.1)]);
        check(path, "stream", &[json!(false), json!(true)], &[json!("yes")]);
        check(path, "stream_options", &[json!({}), json!({"include_usage": null})], &[json!(true)]);
        check(path, "max_tokens", &[json!(1), json!(16.0)], &[json!(0), json!(-1), json!(1.5)]);
        check(path, "deadline_ms", &[json!(60000)], &[json!(0), json!(-1)]);
    }
    let path = "/v1/completions";
    check(path, "best_of", &[json!(1)], &[json!(2)]);
    check(path, "echo", &[json!(false)], &[json!(true)]);
    check(path, "suffix", &[json!("")], &[json!("end")]);
    check(path, "logprobs", &[], &[json!(0), json!(5), json!(true)]);
    check(path, "prompt", &[json!(["a", "b"]), json!([1, 2]), json!([[1], [2, 3]])], &[json!([]), json!({}), json!(5)]);
    let path = "/v1/chat/completions";
    check(path, "max_completion_tokens", &[json!(2)], &[json!(0)]);
    check(path, "logprobs", &[json!(false)], &[json!(true)]);
    check(path, "top_logprobs", &[json!(0)], &[json!(2)]);
    check(path, "tools", &[json!([])], &[json!([{"type": "function", "function": {"name": "f"}}])]);
    check(path, "tool_choice", &[json!("none"), json!("auto")], &[json!("required"), json!({"type": "function"})]);
    check(path, "parallel_tool_calls", &[json!(true), json!(false)], &[json!(1)]);
    check(path, "functions", &[json!([])], &[json!([{"name": "f"}])]);
    check(path, "function_call", &[json!("auto")], &[json!({"name": "f"})]);
    check(path, "response_format", &[json!({"type": "text"})], &[json!({"type": "json_object"}), json!("text")]);
    check(path, "modalities", &[json!(["text"])], &[json!(["text", "audio"])]);
    check(path, "audio", &[], &[json!({"voice": "x"})]);
    check(path, "prediction", &[], &[json!({"type": "content", "content": "x"})]);
    check(path, "web_search_options", &[], &[json!({})]);
    check(path, "reasoning_effort", &[json!("none")], &[json!("high")]);
    check(path, "verbosity", &[json!("medium")], &[json!("low")]);
    check(path, "store", &[json!(false)], &[json!(true)]);
    check(path, "service_tier", &[json!("auto"), json!("default")], &[json!("flex")]);
    check(path, "metadata", &[json!({}), json!({"a": "b"})], &[]);
    check(path, "prompt_cache_key", &[json!("k")], &[]);
    check(path, "safety_identifier", &[json!("k")], &[]);
    let path = "/v1/embeddings";
    check(path, "encoding_format", &[json!("float"), json!("base64")], &[json!("int8"), json!(1)]);
    check(path, "dimensions", &[json!(8)], &[json!(4), json!("8")]);
    check(path, "user", &[json!("me")], &[]);
    check(path, "input", &[json!(["a", "b"]), json!([1]), json!([[1], [2]])], &[json!([]), json!(5), json!({"a": 1})]);
    let path = "/v2/models/m1/infer";
    check(path, "id", &[json!("7")], &[json!(7)]);
    check(path, "parameters", &[json!({})], &[json!([])]);
    check(path, "outputs", &[json!([])], &[json!({})]);
    check(path, "model_name", &[json!("m1")], &[json!("m0")]);
    for (field, neutral, refused) in [
        ("priority", json!(0), json!(3)),
        ("sequence_id", json!(0), json!(4)),
        ("sequence_start", json!(false), json!(true)),
        ("sequence_end", json!(false), json!(true)),
        ("binary_data_output", json!(false), json!("no")),
        ("timeout", json!(0), json!(-1)),
        ("seed", json!(5), json!("5")),
        ("stop", json!("q"), json!("")),
        ("max_tokens", json!(3), json!("3")),
    ] {
        let field = format!("parameters.{field}");
        let reply = with(at, path, &field, neutral);
        assert_eq!(reply.status, 200, "{field}: {}", reply.body);
        let param = blamed(&with(at, path, &field, refused));
        assert!(field.ends_with(&param) || param == "deadline_ms", "{field}: {param}");
    }
    server.stop();
}

#[test]
fn unknown_fields_name_the_nearest_known_one() {
    let server = quick();
    let at = server.address();
    let check = |path: &str, field: &str, near: &str| {
        let reply = with(at, path, field, json!(1));
        assert_eq!(blamed(&reply), field, "{path}");
        assert!(reply.body.contains(near), "{path} {field}: {}", reply.body);
    };
    for path in ["/v1/completions", "/v1/chat/completions"] {
        check(path, "temprature", "did you mean `temperature`?");
        check(path, "max_token", "did you mean `max_tokens`?");
        check(path, "Seed", "did you mean `seed`?");
        check(path, "stream_option", "did you mean `stream_options`?");
        check(path, "stream_options.include_useage", "did you mean `include_usage`?");
    }
    check("/v1/embeddings", "dimension", "did you mean `dimensions`?");
    check("/v1/embeddings", "xyzzy", "there are `model`");
    check("/v2/models/m1/infer", "input", "did you mean `inputs`?");
    check("/v2/models/m1/infer", "parameters.max_tokens_", "did you mean `max_tokens`?");
    for path in PATHS {
        let twice = fine(path).to_string().replacen('{', r#"{"user":"a","user":"b","id":"a","id":"b","#, 1);
        let param = blamed(&post(at, path, &twice));
        assert!(["user", "id"].contains(&param.as_str()), "{param}");
        let missing = blamed(&post(at, path, "{}"));
        assert!(["model", "inputs"].contains(&missing.as_str()), "{missing}");
        for body in ["", "[]", "5", "{\"model\":", "{\"model\":nope}", "\"x\"", &"[".repeat(500)] {
            let reply = post(at, path, body);
            assert_eq!(reply.status, 400, "{path} {body}: {}", reply.body);
            assert!(reply.body.contains("the body "), "{}", reply.body);
        }
    }
    server.stop();
}

#[test]
fn messages_say_where() {
    let server = quick();
    let at = server.address();
    let check = |path: &str, field: &str, value: Value, param: &str, message: &str| {
        let reply = with(at, path, field, value);
        assert_eq!(blamed(&reply), param);
        assert!(reply.body.replace("\\\"", "\"").contains(message), "{}", reply.body);
    };
    let (chat, embed) = ("/v1/chat/completions", "/v1/embeddings");
    check(embed, "input", json!(["a", 5]), "input[1]", "must be a text");
    check(embed, "input", json!([1, "a"]), "input[1]", "must be a token id");
    check(embed, "input", json!([[1, 2], [3, -4]]), "input[1][1]", "must be a token id, but is the number -4");
    check(embed, "model", json!(null), "model", "must be a text, but is null");
    check(chat, "messages", json!([]), "messages", "at least one message");
    check(chat, "messages", json!("hi"), "messages", "must be a list");
    check(chat, "messages", json!([{"content": "x"}]), "messages[0].role", "is missing");
    check(chat, "messages", json!([{"role": "user"}]), "messages[0].content", "only beside `tool_calls`");
    check(
        chat,
        "messages",
        json!([{"role": "user", "content": 5}]),
        "messages[0].content",
        "a text or a list of parts",
    );
    let picture = json!([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]);
    check(chat, "messages", picture, "messages[0].content[1].type", "must be \"text\"");
    check(chat, "messages", json!([{"role": "user", "content": "x", "nam": "y"}]), "messages[0].nam", "`name`");
    check(chat, "max_completion_tokens", json!(3), "max_tokens", "give one of them");
    check(embed, "input", json!(""), "input", "at least one token");
    check(embed, "input", json!([1, 9999]), "input", "vocabulary");
    let completions = "/v1/completions";
    check(completions, "prompt", json!(["x", ""]), "prompt", "at least one token");
    check(completions, "stop", json!("s".repeat(2000)), "stop", "2000 bytes");
    let inputs = json!([{"name": "input_ids", "datatype": "INT64", "shape": [1, 1], "data": [9999]}]);
    check("/v2/models/m1/infer", "inputs", inputs, "inputs", "vocabulary");
    let many = json!({"model": "m1", "prompt": "x".repeat(20_000), "n": 100}).to_string();
    assert_eq!(blamed(&post(at, completions, &many)), "n");
    server.stop();
}

#[test]
fn turns_that_call_tools_may_say_nothing() {
    let server = quick();
    let at = server.address();
    let call = json!([{"id": "c1", "type": "function", "function": {"name": "sum", "arguments": "{\"a\":1}"}}]);
    for content in [None, Some(Value::Null), Some(json!("")), Some(json!([{"type": "text", "text": ""}]))] {
        let mut turn =
            json!({"role": "assistant", "tool_calls": call, "refusal": null, "annotations": [], "audio": null});
        if let Some(content) = content {
            turn["content"] = content;
        }
        let messages = json!([{"role": "user", "content": [{"type": "text", "text": "1+1?"}]}, turn,
            {"role": "tool", "tool_call_id": "c1", "content": "2"}]);
        let body = json!({"model": "m1", "messages": messages, "max_tokens": 200});
        let reply = post(at, "/v1/chat/completions", &body.to_string()).json();
        let said = reply["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("{reply}"));
        assert!(said.starts_with("user: 1+1?\nassistant: ") && said.contains("\"name\":\"sum\""), "{said}");
        assert!(said.contains("\ntool: 2\nassistant:"), "{said}");
    }
    server.stop();
}

#[test]
fn null_means_absent_in_every_optional_field() {
    let server = quick();
    let at = server.address();
    let document = get(at, "/openapi.json").json();
    for path in PATHS {
        let path_item = path.replace("m1", "{model}");
        let schema = &document["paths"][&path_item]["post"]["requestBody"]["content"]["application/json"]["schema"];
        let name = schema["$ref"].as_str().expect("a reference").rsplit('/').next().expect("a name");
        let schema = &document["components"]["schemas"][name];
        let required = schema["required"].as_array().expect("some fields are required");
        let properties = schema["properties"].as_object().expect("fields");
        let mut all = fine(path);
        for field in properties.keys().filter(|field| !required.contains(&Value::from(field.as_str()))) {
            if all.get(field).is_none() {
                all[field] = Value::Null;
            }
            if (path, field.as_str()) != ("/v1/chat/completions", "max_tokens") {
                let reply = with(at, path, field, Value::Null);
                assert_eq!(reply.status, 200, "{path} {field}: {}", reply.body);
            }
        }
        assert_eq!(post(at, path, &all.to_string()).status, 200, "{path}: {all}");
    }
    server.stop();
}

#[test]
fn several_answers_streamed_and_whole() {
    let server = quick();
    let at = server.address();
    let body = json!({"model": "m1", "prompt": ["abc", "def"], "n": 2, "max_tokens": 3, "temperature": 0});
    let reply = post(at, "/v1/completions", &body.to_string()).json();
    let texts: Vec<_> = reply["choices"].as_array().expect("choices").iter().map(|choice| &choice["text"]).collect();
    assert_eq!(texts, ["abc", "abc", "def", "def"]);
    assert_eq!(reply["choices"][3]["index"], 3);
    assert_eq!((&reply["usage"]["prompt_tokens"], &reply["usage"]["completion_tokens"]), (&json!(6), &json!(12)));
    let mut streamed = body;
    streamed["stream"] = json!(true);
    streamed["stream_options"] = json!({"include_usage": true});
    let reply = post(at, "/v1/completions", &streamed.to_string());
    let events: Vec<&str> = reply.body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    assert_eq!(events.iter().filter(|&&event| event == "[DONE]").count(), 1);
    assert_eq!(events.last(), Some(&"[DONE]"));
    let chunks: Vec<Value> =
        events[..events.len() - 1].iter().map(|event| serde_json::from_str(event).expect("JSON")).collect();
    let mut texts = vec![String::new(); 4];
    let mut ends = 0;
    for choice in chunks.iter().flat_map(|chunk| chunk["choices"].as_array().expect("choices")) {
        let index = choice["index"].as_u64().expect("an index") as usize;
        texts[index] += choice["text"].as_str().expect("a text");
        ends += usize::from(choice["finish_reason"] == "length");
    }
    assert_eq!((texts, ends), (["abc", "abc", "def", "def"].map(str::to_owned).to_vec(), 4));
    let usages: Vec<_> = chunks.iter().filter(|chunk| chunk["usage"].is_object()).collect();
    assert_eq!(usages.len(), 1);
    assert_eq!(usages[0]["usage"]["completion_tokens"], 12);
    server.stop();
}

#[test]
fn answers_are_dated_when_they_are_made_and_chats_go_on_to_the_end_of_the_context() {
    let server = quick();
    let at = server.address();
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let before = now();
    let created = post(at, "/v1/completions", &fine("/v1/completions").to_string()).json()["created"].as_u64();
    assert!(created.is_some_and(|created| (before..=now()).contains(&created)), "{created:?}");
    // The backend's context is 65,536 tokens; all but 100 are the prompt, with `user: ` and `\nassistant:`.
    let long = "x".repeat((1 << 16) - 100 - 17);
    let body = json!({"model": "m1", "messages": [{"role": "user", "content": long}]});
    let reply = post(at, "/v1/chat/completions", &body.to_string()).json();
    assert_eq!(reply["usage"]["completion_tokens"], 100, "{}", reply["usage"]);
    // Where there is more room than it usually takes, it takes that.
    let body = json!({"model": "m1", "messages": [{"role": "user", "content": "x"}]});
    let reply = post(at, "/v1/chat/completions", &body.to_string()).json();
    assert_eq!(
        (&reply["usage"]["completion_tokens"], &reply["choices"][0]["finish_reason"]),
        (&json!(256), &json!("length"))
    );
    let body = json!({"model": "m1", "prompt": "x"});
    let reply = post(at, "/v1/completions", &body.to_string()).json();
    assert_eq!(reply["usage"]["completion_tokens"], 16);
    let reply = ask(at, "POST", "/v1/chat/completions", "", &fine("/v1/chat/completions").to_string());
    assert_eq!(reply.json()["usage"]["completion_tokens"], 2);
    server.stop();
}
