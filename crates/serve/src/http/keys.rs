//! Keys that clients show, and the files they stand in.
//!
//! **Invariant:** a key is never written anywhere: not in logs, not in errors, not by `Debug`. Its name is.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

/// The longest name of a key.
const LONGEST_NAME: usize = 64;

/// Keys with the names of those who hold them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

#[derive(Clone, PartialEq, Eq)]
struct Key {
    name: Arc<str>,
    secret: Box<[u8]>,
}

/// What is wrong with a file of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// Nobody could ask anything.
    #[error("holds no key: nobody could ask anything")]
    Empty,
    /// A line is no key.
    #[error("{what}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Keys {
    /// The keys in a file: one a line, `name:key` or the key alone, which is then called after its line. Lines that
    /// begin with `#` and empty ones are passed over.
    ///
    /// # Errors
    /// If there is none, a line is no key, or a key comes twice.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let mut keys: Vec<Key> = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what| KeysError::Line { line: index + 1, what };
            let (name, secret) = match line.split_once(':').filter(|(name, _)| is_name(name.trim_end())) {
                Some((name, secret)) => (Arc::from(name.trim_end()), secret.trim_start()),
                None => (Arc::from(format!("line-{}", index + 1)), line),
            };
            if secret.is_empty() {
                return Err(wrong("has a name, but no key after it"));
            }
            if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(wrong("holds a key with spaces or other characters that no header can carry"));
            }
            if keys.iter().any(|key| *key.secret == *secret.as_bytes()) {
                return Err(wrong("holds a key that stands above already"));
            }
            keys.push(Key { name, secret: secret.as_bytes().into() });
        }
        if keys.is_empty() { Err(KeysError::Empty) } else { Ok(Self(keys)) }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whose key was shown. Every key is looked at whole, so that the time taken tells nothing.
    pub(crate) fn holder(&self, shown: &[u8]) -> Option<Arc<str>> {
        let mut holder = None;
        for key in &self.0 {
            if same(&key.secret, shown) {
                holder = Some(&key.name);
            }
        }
        holder.cloned()
    }

    /// The name here of a key that `other` has too.
    fn shared_with(&self, other: &Self) -> Option<&str> {
        self.0.iter().find(|key| other.holder(&key.secret).is_some()).map(|key| &*key.name)
    }
}

fn is_name(text: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@' | b'+');
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(fit)
}

/// Whether the two are the same, in a time that depends on the length of what was shown alone.
fn same(key: &[u8], shown: &[u8]) -> bool {
    let mut difference = u8::from(key.len() != shown.len());
    for (index, byte) in shown.iter().enumerate() {
        difference |= black_box(byte ^ key[index % key.len()]);
    }
    difference == 0
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.name)).finish()
    }
}

/// The keys of a server: one ring for those who ask models, one for those who administer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRings {
    pub(crate) inference: Keys,
    pub(crate) admin: Keys,
}

/// An admin key that asks models too: whoever may ask could then administer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("holds a key (`{name}`) that is an inference key too: admin keys are to be keys of their own")]
pub struct SharedKey {
    /// Its name among the admin keys.
    pub name: String,
}

impl KeyRings {
    /// Both rings; an empty one asks for no key.
    ///
    /// # Errors
    /// If a key is in both.
    pub fn new(inference: Keys, admin: Keys) -> Result<Self, SharedKey> {
        match admin.shared_with(&inference) {
            Some(name) => Err(SharedKey { name: name.to_owned() }),
            None => Ok(Self { inference, admin }),
        }
    }

    /// How many keys there are, of both kinds.
    pub fn counts(&self) -> (usize, usize) {
        (self.inference.len(), self.admin.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_names_keys_remarks_and_nothing_else() {
        let keys = Keys::parse("\u{feff}# mine\n\nalice:s3cret\r\n  bob : x:y \nbare\nwith/slash:z\n").expect("keys");
        for (shown, holder) in [
            ("s3cret", Some("alice")),
            ("x:y", Some("bob")),
            ("bare", Some("line-5")),
            ("with/slash:z", Some("line-6")),
            ("alice:s3cret", None),
            ("s3cre", None),
            ("s3cret ", None),
            ("s3crets3cret", None),
            ("S3CRET", None),
            ("", None),
        ] {
            assert_eq!(keys.holder(shown.as_bytes()).as_deref(), holder, "{shown}");
        }
        let line = |line, part: &str, text: &str| match Keys::parse(text) {
            Err(KeysError::Line { line: at, what }) => {
                assert!(at == line && what.contains(part), "{text}: {at}: {what}");
            }
            other => panic!("{text}: {other:?}"),
        };
        line(2, "no key after it", "a:b\nalice:\n");
        line(1, "spaces", "two words\n");
        line(1, "spaces", "key # remark\n");
        line(1, "spaces", "schlüssel\n");
        line(3, "stands above", "a:x\n\nb:x\n");
        for text in ["", "\n", "# only\n  # remarks\n", "\u{feff}"] {
            assert_eq!(Keys::parse(text), Err(KeysError::Empty), "{text:?}");
        }
    }

    #[test]
    fn keys_are_never_shown() {
        let keys = Keys::parse("alice:s3cret\n0therS3cret\n").expect("keys");
        let shared = KeyRings::new(keys.clone(), Keys::parse("root:0therS3cret").expect("a key"));
        let rings = KeyRings::new(keys, Keys::parse("root:tops3cret").expect("a key")).expect("of their own");
        let shown = format!("{rings:?} {shared:?} {}", shared.as_ref().expect_err("shared"));
        assert!(!shown.to_lowercase().contains("s3cret"), "{shown}");
        assert!(shown.contains("alice") && shown.contains("root"), "{shown}");
    }
}
