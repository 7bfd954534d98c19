//! Rust source as words and signs: enough of the language to see which paths a file names.

/// A word, a path separator, or any other sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Word(String),
    /// `::`
    Separator,
    Sign(char),
}

impl Token {
    pub(crate) fn is(&self, sign: char) -> bool {
        *self == Self::Sign(sign)
    }

    pub(crate) fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// The tokens of `source`, without comments, and without what is in quotes.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut rest = source;
    let mut found = Vec::new();
    while let Some(first) = rest.chars().next() {
        let token;
        (token, rest) = if rest.starts_with("//") {
            (None, &rest[rest.find('\n').unwrap_or(rest.len())..])
        } else if rest.starts_with("/*") {
            (None, after_comment(rest))
        } else if let Some(after) = after_quotes(rest) {
            (None, after)
        } else if let Some(after) = rest.strip_prefix("::") {
            (Some(Token::Separator), after)
        } else if first == '_' || first.is_alphanumeric() {
            let plain = rest.strip_prefix("r#").unwrap_or(rest);
            let end = plain.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(plain.len());
            (Some(Token::Word(plain[..end].to_owned())), &plain[end..])
        } else {
            let token = (!first.is_whitespace()).then_some(Token::Sign(first));
            (token, &rest[first.len_utf8()..])
        };
        found.extend(token);
    }
    found
}

/// What follows the comment that `text` begins with; comments nest.
fn after_comment(text: &str) -> &str {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let (step, change) = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth += change;
        if depth == 0 {
            break;
        }
    }
    &text[at..]
}

/// What follows the string or character that `text` begins with, or `None` if it begins with neither.
fn after_quotes(text: &str) -> Option<&str> {
    let unprefixed = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - unprefixed.len();
    if let Some(raw) = unprefixed.strip_prefix('r').filter(|_| prefix < 2) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if let Some(inside) = raw[hashes..].strip_prefix('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            return Some(inside.split_once(&end).map_or("", |(_, after)| after));
        }
    }
    match unprefixed.chars().next()? {
        '"' if prefix < 2 => Some(after_escaped(&unprefixed[1..], '"')),
        '\'' if prefix < 2 => {
            let mut inside = unprefixed[1..].chars();
            let (first, second) = (inside.next()?, inside.next()?);
            // Anything else is a lifetime or a label.
            (first == '\\' || second == '\'').then(|| after_escaped(&unprefixed[1..], '\''))
        }
        _ => None,
    }
}

/// What follows the next `quote` that no backslash stands before.
fn after_escaped(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !escaped {
            return &text[at + c.len_utf8()..];
        }
        escaped = c == '\\' && !escaped;
    }
    ""
}

#[test]
fn source_becomes_words_and_signs() {
    let check = |source: &str, expected: &str| {
        let shown = tokens(source).into_iter().map(|token| match token {
            Token::Word(word) => word,
            Token::Separator => "::".to_owned(),
            Token::Sign(sign) => sign.to_string(),
        });
        assert_eq!(shown.collect::<Vec<_>>().join(" "), expected, "{source}");
    };
    check("use crate::a_1::B;", "use crate :: a_1 :: B ;");
    check("a /* b /* c */ d */ e // f\ng", "a e g");
    check("/// [`crate::a`]\nfn f() {}", "fn f ( ) { }");
    check(r##"f("a::b \" c", r"\", r#"d " e"#, b"g", br"h", c"i") + j"##, "f ( , , , , , ) + j");
    check(r"match c { 'x' | '\'' | '\u{7f}' | b'y' => 'label: loop {} }", "match c { | | | = > ' label : loop { } }");
    check("fn f<'a>(b: &'a str, r#type: c) -> bb", "fn f < ' a > ( b : & ' a str , type : c ) - > bb");
    check("\"first\nsecond\" é", "é");
    check("\"not ended", "");
}
