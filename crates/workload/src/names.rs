//! Names to numbers, in the order in which they first appear.

use std::collections::HashMap;

/// A set of names, each with its position.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    index: HashMap<Box<[u8]>, u32>,
    list: Vec<String>,
    closed: bool,
}

impl Names {
    /// Only these names: others have no number.
    pub(crate) fn closed(names: &[impl AsRef<str>]) -> Self {
        let mut known = Self::default();
        for name in names {
            known.id(name.as_ref().as_bytes());
        }
        known.closed = true;
        known
    }

    /// The number of `name`, a new one if it is new and names are still being collected.
    ///
    /// `None` for a name that is not known, or is not UTF-8 text.
    pub(crate) fn id(&mut self, name: &[u8]) -> Option<u32> {
        if let Some(&id) = self.index.get(name) {
            return Some(id);
        }
        self.insert(name, std::str::from_utf8(name).ok()?)
    }

    /// Like [`Names::id`] for a name that is looked up by `key` but shown as `name`.
    pub(crate) fn id_shown_as(&mut self, key: &[u8], name: &str) -> Option<u32> {
        if let Some(&id) = self.index.get(key) { Some(id) } else { self.insert(key, name) }
    }

    fn insert(&mut self, key: &[u8], name: &str) -> Option<u32> {
        if self.closed {
            return None;
        }
        let id = u32::try_from(self.list.len()).ok()?;
        self.index.insert(key.into(), id);
        self.list.push(name.to_owned());
        Some(id)
    }

    /// The number of the only name there can be: the one that is known, or `name` if names are being collected.
    pub(crate) fn only(&mut self, name: &str) -> Option<u32> {
        if self.closed { (self.list.len() == 1).then_some(0) } else { self.id(name.as_bytes()) }
    }

    /// All names by number.
    pub(crate) fn list(&self) -> &[String] {
        &self.list
    }

    /// All names by number.
    pub(crate) fn into_list(self) -> Vec<String> {
        self.list
    }
}
