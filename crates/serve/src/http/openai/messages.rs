//! The messages of a conversation.

use crate::http::error::ApiError;
use crate::http::fields::{Field, Fields, Neutral, any_of, list_schema, neutral, required, schema, taken};
use crate::http::json::{FromJson, Json, Wrong};
use serde_json::{Map, Value, json};
use statmux_core::backend::ChatMessage;
use std::fmt::Write;
use utoipa::PartialSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

/// One turn.
#[derive(Debug, Default)]
pub(crate) struct Message {
    role: String,
    content: Option<Content>,
    name: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
    tool_call_id: Option<String>,
}

/// A text, or parts of one.
#[derive(Debug)]
struct Content(String);

#[derive(Debug, Default)]
struct Part {
    text: String,
}

/// What a model asked for in an earlier turn.
#[derive(Debug, Default)]
struct ToolCall {
    id: Option<String>,
    function: Function,
}

#[derive(Debug, Default)]
struct Function {
    name: String,
    arguments: String,
}

impl Fields for Message {
    const TABLES: &'static [&'static [Field<Self>]] = &[&[
        required("role", String::schema, "Who speaks.", |turn, v| String::from_json(v).map(|role| turn.role = role)),
        taken("content", Content::schema, "What is said; may be absent beside `tool_calls`.", |turn, v| {
            v.put(&mut turn.content)
        }),
        taken("name", String::schema, "Who of several speaks.", |turn, v| v.put(&mut turn.name)),
        taken("tool_calls", list_schema::<ToolCall>, "What a model asked for.", |turn, v| v.put(&mut turn.tool_calls)),
        taken("tool_call_id", String::schema, "Which call this answers.", |turn, v| v.put(&mut turn.tool_call_id)),
        neutral("function_call", &[]),
        neutral("refusal", &[]),
        neutral("audio", &[]),
        neutral("annotations", &[Neutral::EmptyList]),
    ]];
}

impl Fields for Part {
    const TABLES: &'static [&'static [Field<Self>]] = &[&[
        neutral("type", &[Neutral::Text("text")]),
        required("text", String::schema, "", |part, v| String::from_json(v).map(|text| part.text = text)),
    ]];
}

impl Fields for ToolCall {
    const TABLES: &'static [&'static [Field<Self>]] = &[&[
        taken("id", String::schema, "", |call, v| v.put(&mut call.id)),
        neutral("type", &[Neutral::Text("function")]),
        neutral("index", &[Neutral::Anything]),
        required("function", schema::<Function>, "", |call, v| Function::from_json(v).map(|of| call.function = of)),
    ]];
}

impl Fields for Function {
    const TABLES: &'static [&'static [Field<Self>]] = &[&[
        required("name", String::schema, "", |of, v| String::from_json(v).map(|name| of.name = name)),
        required("arguments", String::schema, "JSON, as a text.", |of, v| {
            String::from_json(v).map(|arguments| of.arguments = arguments)
        }),
    ]];
}

impl FromJson for Content {
    fn from_json(value: Json) -> Result<Self, Wrong> {
        if let Json::Text(text) = value {
            return Ok(Self(text));
        }
        let parts = value.items("a text or a list of parts")?.into_iter().enumerate();
        let texts = parts.map(|(index, part)| text_of(part).map_err(|wrong| wrong.in_item(index)));
        Ok(Self(texts.collect::<Result<_, _>>()?))
    }
}

/// The text of a part; what is not text is refused by its type, whatever else it has.
fn text_of(part: Json) -> Result<String, Wrong> {
    if let Json::Object(fields) = &part {
        match fields.iter().find(|(name, _)| name == "type") {
            Some((_, Json::Text(kind))) if kind == "text" => {}
            Some((_, other)) => {
                return Err(other.instead_of("\"text\", the only kind of part offered").in_field("type"));
            }
            None => return Err(Wrong::new("is missing").in_field("type")),
        }
    }
    Part::from_json(part).map(|part| part.text)
}

impl Content {
    fn schema() -> RefOr<Schema> {
        any_of([String::schema(), list_schema::<Part>()])
    }
}

impl Message {
    /// The turn as templates know it.
    fn turn(self) -> Result<ChatMessage, Wrong> {
        let calls = self.tool_calls.unwrap_or_default();
        if self.content.is_none() && calls.is_empty() {
            return Err(Wrong::new("is missing: it may be absent only beside `tool_calls`").in_field("content"));
        }
        let mut more = Map::new();
        let texts = [("name", self.name), ("tool_call_id", self.tool_call_id)];
        more.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::String(text?)))));
        if !calls.is_empty() {
            more.insert("tool_calls".to_owned(), calls.into_iter().map(ToolCall::value).collect());
        }
        Ok(ChatMessage { role: self.role, content: self.content.map(|Content(text)| text), more })
    }
}

impl ToolCall {
    /// Templates expect arguments as an object; they come as its text.
    fn value(self) -> Value {
        let Self { id, function: Function { name, arguments } } = self;
        let arguments =
            serde_json::from_str::<Map<String, Value>>(&arguments).map_or(Value::String(arguments), Value::Object);
        json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
    }
}

/// The turns that `messages` are.
pub(super) fn turns(messages: Vec<Message>) -> Result<Vec<ChatMessage>, ApiError> {
    if messages.is_empty() {
        return Err(ApiError::invalid("messages", "`messages` is an empty list: give at least one message"));
    }
    let turn = |(index, message): (usize, Message)| {
        message.turn().map_err(|wrong| ApiError::from(wrong.in_item(index).in_field("messages")))
    };
    messages.into_iter().enumerate().map(turn).collect()
}

/// A conversation as models without a form of their own are asked to go on with it: a line for each turn, calls of
/// tools as JSON.
pub(super) fn lines(turns: &[ChatMessage]) -> String {
    let mut lines = String::new();
    for ChatMessage { role, content, more } in turns {
        let name = more.get("name").and_then(Value::as_str);
        let speaker = name.map_or_else(|| role.clone(), |name| format!("{role} ({name})"));
        let calls = more.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
        let calls = calls.map(|call| call["function"].to_string());
        let said: Vec<String> = content.iter().cloned().chain(calls).collect();
        writeln!(lines, "{speaker}: {}", said.join(" ")).expect("writing to a string succeeds");
    }
    lines.push_str("assistant:");
    lines
}
