//! How what a node would have differs from what it has, for people.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use muster_common::{digest::Sha256, text_diff};
use muster_domain::item::ItemName;

use crate::app::catalog::Wanted;

/// Of all texts in a preview, so many bytes are told.
const TEXTS: usize = 64 * 1024;
/// Of all else, names and values: a client takes no more than some megabytes in one message.
const NAMES: usize = 1024 * 1024;

/// What of an item people compare, out of its bytes; the settings are read here.
pub type OutlineOf = fn(&ItemName, &[u8]) -> Outline;

/// What of an item people compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// Files by their paths.
    pub files: BTreeMap<String, FileOutline>,
    /// Everything else that has a name: options, hooks.
    pub values: BTreeMap<String, String>,
}

/// What of a file people compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileOutline {
    /// Of its content.
    pub sha256: Sha256,
    /// Its content. `None`: of it nothing is shown but that it changes.
    pub content: Option<Bytes>,
    /// Mode, owner and the like.
    pub properties: BTreeMap<&'static str, String>,
}

/// What some nodes have, and what they would have instead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// For people; empty: nothing.
    pub from: String,
    /// For people; empty: nothing.
    pub to: String,
    /// On so many nodes.
    pub nodes: usize,
    /// Files, by their paths.
    pub files: Vec<FileDifference>,
    /// Options and hooks, by their names.
    pub values: Vec<ValueDifference>,
    /// Something was left out.
    pub is_cut: bool,
}

/// What becomes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDifference {
    /// Where on the host.
    pub path: String,
    /// Whether it is new.
    pub kind: Kind,
    /// What changes, for people.
    pub what: Vec<String>,
    /// Unified; empty: it is no text, too large, or not to be shown.
    pub diff: String,
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was not in it before.
    Added,
    /// It is not in it any more.
    Removed,
    /// It is another one.
    Changed,
}

/// What becomes of something with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueDifference {
    /// Which.
    pub name: String,
    /// Empty: nothing.
    pub from: String,
    /// Empty: nothing.
    pub to: String,
}

/// What may still be told.
#[derive(Debug)]
pub(super) struct Budget {
    texts: usize,
    names: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { texts: TEXTS, names: NAMES }
    }
}

impl Budget {
    /// Whether there is room for a text; it is taken then.
    fn takes_text(&mut self, text: &str) -> bool {
        takes(&mut self.texts, text.len())
    }

    /// Whether there is room for names and values; it is taken then.
    fn takes_names<'a>(&mut self, names: impl IntoIterator<Item = &'a String>) -> bool {
        takes(&mut self.names, names.into_iter().map(String::len).sum())
    }
}

fn takes(left: &mut usize, bytes: usize) -> bool {
    let rest = left.checked_sub(bytes);
    *left = rest.unwrap_or(*left);
    rest.is_some()
}

impl Difference {
    pub(super) fn between(
        item: &ItemName,
        from: Option<&Wanted>,
        to: Option<&Wanted>,
        nodes: usize,
        outline: OutlineOf,
        budget: &mut Budget,
    ) -> Self {
        let version =
            |wanted: Option<&Wanted>| wanted.map(|it| it.version.version.clone()).unwrap_or_default();
        let of = |wanted: Option<&Wanted>| match (item, wanted) {
            (_, None) => Outline::default(),
            (ItemName::Settings, Some(wanted)) => options(&wanted.payload),
            (item, Some(wanted)) => outline(item, &wanted.payload),
        };
        let (before, after) = (of(from), of(to));
        let mut found = Self { from: version(from), to: version(to), nodes, ..Self::default() };
        for value in values(&before.values, &after.values) {
            match budget.takes_names([&value.name, &value.from, &value.to]) {
                true => found.values.push(value),
                false => found.is_cut = true,
            }
        }
        for path in keys(&before.files, &after.files) {
            let (before, after) = (before.files.get(path), after.files.get(path));
            let Some(mut file) = file(path, before, after) else { continue };
            if !budget.takes_names(file.what.iter().chain([path])) {
                found.is_cut = true;
                continue;
            }
            // What is taken away is told by its name.
            let diff = after.and_then(|after| text(before, after)).unwrap_or_default();
            match budget.takes_text(&diff) {
                true => file.diff = diff,
                false => found.is_cut = true,
            }
            found.files.push(file);
        }
        found
    }
}

/// The options of an item `settings`.
fn options(payload: &[u8]) -> Outline {
    Outline { values: serde_json::from_slice(payload).unwrap_or_default(), ..Outline::default() }
}

fn keys<'a, T>(a: &'a BTreeMap<String, T>, b: &'a BTreeMap<String, T>) -> BTreeSet<&'a String> {
    a.keys().chain(b.keys()).collect()
}

fn values(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<ValueDifference> {
    let value = |of: &BTreeMap<String, String>, name: &String| of.get(name).cloned().unwrap_or_default();
    let named = keys(before, after).into_iter().filter(|name| before.get(*name) != after.get(*name));
    named
        .map(|name| ValueDifference { name: name.clone(), from: value(before, name), to: value(after, name) })
        .collect()
}

/// What becomes of a file, without its text. `None`: nothing.
fn file(path: &str, before: Option<&FileOutline>, after: Option<&FileOutline>) -> Option<FileDifference> {
    let kind = match (before, after) {
        (None, None) => return None,
        (None, Some(_)) => Kind::Added,
        (Some(_), None) => Kind::Removed,
        (Some(before), Some(after)) if before == after => return None,
        (Some(_), Some(_)) => Kind::Changed,
    };
    let what = match (before, after) {
        (Some(before), Some(after)) => changes(before, after),
        _ => Vec::new(),
    };
    Some(FileDifference { path: path.to_owned(), kind, what, diff: String::new() })
}

fn changes(before: &FileOutline, after: &FileOutline) -> Vec<String> {
    let mut what = Vec::new();
    if before.sha256 != after.sha256 {
        what.push("content".to_owned());
    }
    let names: BTreeSet<&&str> = before.properties.keys().chain(after.properties.keys()).collect();
    for name in names {
        let value = |of: &FileOutline| of.properties.get(*name).cloned().unwrap_or_default();
        let (from, to) = (value(before), value(after));
        if from != to {
            what.push(format!("{name} {from:?} -> {to:?}"));
        }
    }
    what
}

fn text(before: Option<&FileOutline>, after: &FileOutline) -> Option<String> {
    let from: &[u8] = match before {
        Some(before) if before.sha256 == after.sha256 => return None,
        Some(before) => before.content.as_ref()?,
        None => &[],
    };
    text_diff::unified(from, after.content.as_ref()?, ("before", "after"))
}

#[cfg(test)]
mod tests;
