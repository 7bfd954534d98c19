//! Chat templates: from a conversation to the prompt that a model was trained on.
//!
//! Folders in Hugging Face's layout carry a Jinja template, as `chat_template.jinja` or in `tokenizer_config.json`.
//! It is rendered as `transformers` would: blocks trimmed, special tokens by name, Python's methods on texts, lists
//! and dictionaries, `raise_exception` and `strftime_now`. Templates write special tokens out themselves.

use crate::source_error::{SourceError, optional};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Deserialize;
use statmux_core::backend::{BackendError, ChatMessage};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

/// What the one template is called inside its environment, and so in messages.
const NAME: &str = "chat_template";
/// Marks around what a model is trained to say; they print nothing.
const TRAINING_MARKS: [&str; 6] = [
    "{% generation %}",
    "{%- generation %}",
    "{%- generation -%}",
    "{% endgeneration %}",
    "{%- endgeneration %}",
    "{%- endgeneration -%}",
];

/// What `tokenizer_config.json` says of conversations.
#[derive(Debug, Default)]
pub(crate) struct ChatFiles {
    /// The template and the file that holds it, if there is one.
    template: Option<(PathBuf, String)>,
    /// Special tokens by the names that templates know them by, such as `bos_token`.
    specials: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct TokenizerConfigFile {
    #[serde(default)]
    chat_template: Option<TemplateEntry>,
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TemplateEntry {
    One(String),
    Several(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl ChatFiles {
    /// Reads what the folder says. A `chat_template.jinja` goes before the template of `tokenizer_config.json`.
    pub(crate) fn read(directory: &Path) -> Result<Self, SourceError> {
        let config = directory.join("tokenizer_config.json");
        let file: TokenizerConfigFile = optional(&config)?;
        let specials = file.others.into_iter().filter(|(name, _)| name.ends_with("_token"));
        let specials = specials.filter_map(|(name, value)| Some((name, text(&value)?.to_owned()))).collect();
        let own = directory.join("chat_template.jinja");
        let template = match std::fs::read_to_string(&own) {
            Ok(template) => Some((own, template)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match file.chat_template {
                None => None,
                Some(TemplateEntry::One(template)) => Some((config, template)),
                Some(TemplateEntry::Several(several)) => Some((config.clone(), default_of(several, &config)?)),
            },
            Err(cause) => return Err(SourceError::Io { path: own, cause }),
        };
        Ok(Self { template, specials })
    }

    /// The token that ends a turn, if the folder names one.
    pub(crate) fn end_of_text(&self) -> Option<&str> {
        self.specials.get("eos_token").map(String::as_str)
    }

    /// The template, ready to be rendered, if there is one.
    pub(crate) fn template(self) -> Result<Option<ChatTemplate>, SourceError> {
        let Some((path, template)) = self.template else { return Ok(None) };
        match ChatTemplate::new(template, self.specials) {
            Ok(template) => Ok(Some(template)),
            Err(error) => Err(SourceError::Template { path, reason: error.to_string() }),
        }
    }
}

/// A special token is a text, or an object with the text as its `content`.
fn text(value: &serde_json::Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

fn default_of(several: Vec<NamedTemplate>, path: &Path) -> Result<String, SourceError> {
    let names: Vec<String> = several.iter().map(|named| named.name.clone()).collect();
    let default = several.into_iter().find(|named| named.name == "default");
    default.map(|named| named.template).ok_or_else(|| SourceError::Template {
        path: path.to_owned(),
        reason: format!("none of its chat templates is called \"default\": there are {}", names.join(", ")),
    })
}

/// A parsed template.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    specials: BTreeMap<String, String>,
}

/// What a template says with `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

impl ChatTemplate {
    fn new(template: String, specials: BTreeMap<String, String>) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        let template = TRAINING_MARKS.iter().fold(template, |template, mark| template.replace(mark, ""));
        environment.add_template_owned(NAME, template)?;
        Ok(Self { environment, specials })
    }

    /// The prompt that asks for the turn after `messages`, special tokens written out.
    pub(crate) fn render(&self, messages: &[ChatMessage]) -> Result<String, BackendError> {
        let message = |message: &ChatMessage| {
            let more = Value::from(Serde(message.more.clone()));
            context! { role => message.role.as_str(), content => message.content.as_deref(), ..more }
        };
        let messages: Vec<Value> = messages.iter().map(message).collect();
        let (tools, documents) = (Value::from(()), Value::from(()));
        let conversation = context! { messages, tools, documents, add_generation_prompt => true };
        let template = self.environment.get_template(NAME).expect("it was added when the environment was made");
        let rendered = template.render(context! { ..conversation, ..Value::from(self.specials.clone()) });
        rendered.map_err(|error| BackendError::BadInput {
            reason: match raised(&error) {
                Some(Raised(message)) => message.clone(),
                None => format!("the model's chat template cannot take these messages: {error}"),
            },
        })
    }
}

fn raised(error: &Error) -> Option<&Raised> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(raised) = error.downcast_ref() {
            return Some(raised);
        }
        cause = error.source();
    }
    None
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
}

/// The date and time now, in universal time: a server is nowhere in particular.
fn strftime_now(format: String) -> Result<String, Error> {
    let mut now = String::new();
    match write!(now, "{}", chrono::Utc::now().format(&format)) {
        Ok(()) => Ok(now),
        Err(_) => Err(Error::new(ErrorKind::InvalidOperation, format!("`{format}` is no format of a date"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Result<ChatTemplate, Error> {
        let specials = [("bos_token", "<s>"), ("eos_token", "</s>")];
        let specials = specials.map(|(name, token)| (name.to_owned(), token.to_owned())).into();
        ChatTemplate::new(text.to_owned(), specials)
    }

    fn render(text: &str, messages: &[(&str, &str)]) -> Result<String, String> {
        let message = |&(role, content): &(&str, &str)| ChatMessage::said(role, content);
        let messages: Vec<_> = messages.iter().map(message).collect();
        let template = template(text).expect("it parses");
        template.render(&messages).map_err(|error| error.to_string())
    }

    const TALK: &[(&str, &str)] = &[("system", " Be brief. "), ("user", "Hi"), ("assistant", "Yes?"), ("user", "Why?")];

    #[test]
    fn turns_between_marks() {
        let text = "{% for message in messages %}
    {% if loop.first and messages[0]['role'] != 'system' %}
        {{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}
    {% endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>' + '\\n' }}
{%- endfor %}
{% if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' -}}
{% endif %}
";
        let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n\
            <|im_start|>assistant\nYes?<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n";
        assert_eq!(render(text, TALK).expect("renders"), expected);
    }

    #[test]
    fn the_system_message_inside_the_first_turn_and_roles_in_turn() {
        let text = "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}\
            {% set system_message = messages[0]['content'] %}\
            {% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}\
            {% for message in loop_messages %}\
            {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
            {{ raise_exception('Roles must take turns: user, assistant, user, ...') }}{% endif %}\
            {% if loop.index0 == 0 and system_message != false %}\
            {% set content = '<<SYS>>\\n' + system_message.strip() + '\\n<</SYS>>\\n\\n' + message['content'] %}\
            {% else %}{% set content = message['content'] %}{% endif %}\
            {% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}\
            {% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}";
        let expected = "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Yes? </s><s>[INST] Why? [/INST]";
        assert_eq!(render(text, TALK).expect("renders"), expected);
        let refused = render(text, &[("user", "a"), ("user", "b")]).expect_err("the template raises");
        assert_eq!(refused, "Roles must take turns: user, assistant, user, ...");
    }

    #[test]
    fn headers_macros_tools_that_are_none_and_the_date() {
        let text = "{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now(\"%Y\") %}
    {%- endif %}
{%- endif %}
{%- macro head(role) %}{{ '<|start_header_id|>' ~ role ~ '<|end_header_id|>\\n\\n' }}{%- endmacro %}
{%- set ns = namespace(seen=0) %}
{%- for message in messages %}
    {%- if message.role == 'ipython' or message.get('tool_calls') %}{{ raise_exception(\"No tools.\") }}{%- endif %}
    {%- set ns.seen = ns.seen + 1 %}
    {%- generation %}
    {{- head(message.role) + message.content | trim + '<|eot_id|>' }}
    {%- endgeneration %}
{%- endfor %}
{%- if tools is not none %}{{ 'tools' }}{%- endif %}
{%- if add_generation_prompt %}
    {{- head('assistant') + ns.seen | string }}{{ '/' ~ (date_string | length) }}
{%- endif %}
";
        let head = |role| format!("<|start_header_id|>{role}<|end_header_id|>\n\n");
        let expected = format!("<s>{}Hi<|eot_id|>{}1/4", head("user"), head("assistant"));
        assert_eq!(render(text, &[("user", "Hi")]).expect("renders"), expected);
        assert_eq!(render(text, &[("ipython", "1")]).expect_err("raises"), "No tools.");
    }

    #[test]
    fn turns_that_call_tools_and_their_answers() {
        let text = "{% for message in messages %}\
            {% if 'tool_calls' in message and message.tool_calls %}{{ message.role }}\
            {% if message.content is none %} says nothing{% endif %}\
            {% for call in message.tool_calls %}<{{ call.function.name }} {{ call.function.arguments | tojson }}>{% endfor %}\
            {% elif message.get('tool_call_id') %}[{{ message['tool_call_id'] }}: {{ message.content }}]\
            {% else %}{{ message.content }} {% endif %}{% endfor %}";
        let more = |json: &str| serde_json::from_str(json).expect("an object");
        let calls = r#"{"tool_calls": [{"id": "1", "function": {"name": "sum", "arguments": {"a": 1}}}]}"#;
        let turns = [
            ChatMessage::said("user", "1+1?"),
            ChatMessage { role: "assistant".into(), content: None, more: more(calls) },
            ChatMessage { role: "tool".into(), content: Some("2".into()), more: more(r#"{"tool_call_id": "1"}"#) },
        ];
        let rendered = template(text).expect("it parses").render(&turns).expect("it renders");
        assert_eq!(rendered, "1+1? assistant says nothing<sum {\"a\": 1}>[1: 2]");
    }

    #[test]
    fn what_is_wrong_with_a_template_is_told() {
        let error = template("{% for message in messages %}").err().expect("it is not closed").to_string();
        assert!(error.contains("syntax error") && error.contains("chat_template:1"), "{error}");
        let refused = render("{{ messages[7].content.x }}", &[("user", "a")]).expect_err("there is no such message");
        assert!(refused.starts_with("the model's chat template cannot take these messages: "), "{refused}");
        let refused = render("{{ strftime_now('%Q') }}", &[]).expect_err("no such format");
        assert!(refused.contains("`%Q` is no format of a date"), "{refused}");
    }
}
