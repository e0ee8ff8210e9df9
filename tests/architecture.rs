//! Arrows point down only. Crates, rooms, and the words that belong to one room.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Crates from the ground up; each may use those before it, and no other.
const CRATES: &[(&str, &str, &[&str])] = &[
    ("muster-proto", "proto", &[]),
    ("muster-common", "common", &[]),
    ("muster-domain", "control-plane/domain", &["muster-common"]),
    ("muster-store", "control-plane/store", &["muster-common", "muster-domain"]),
    (
        "muster-control-plane",
        "control-plane",
        &["muster-common", "muster-proto", "muster-domain", "muster-store"],
    ),
    ("muster-node-agent", "node-agent", &["muster-common", "muster-proto"]),
    ("muster-tests", "tests", &["muster-common", "muster-proto", "muster-node-agent"]),
];

/// Rooms from the ground up; those on one line never use each other.
const CONTROL_PLANE: &[&[&str]] = &[
    &["config", "metrics"],
    &["session", "ca"],
    &["app"],
    &["api", "work"],
    &["server", "console"],
    &["wiring"],
    &["cli"],
];
const NODE_AGENT: &[&[&str]] = &[
    &["state", "config", "dial"],
    &["platform"],
    &["ledger", "locks", "state_dir", "identity"],
    &["applier", "commands", "liveness", "session"],
    &["wiring"],
    &["cli"],
];

/// Arrows that are known to differ from the lines above, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    // The policy of a door is asked before a handler, and a handler's errors become statuses in one place.
    ("node-agent", "platform", "state"),
];

/// Words that may stand in some places only.
const WORDS: &[(&str, &[&str])] = &[
    ("rusqlite::", &["control-plane/store"]),
    ("SystemTime::now", &["common/src/clock.rs"]),
    ("tokio::spawn(", &["common/src/tasks.rs", "tests/"]),
    ("tonic::Status", &["control-plane/src/api", "control-plane/src/server", "proto/", "tests/"]),
];

fn root() -> PathBuf {
    muster_tests::binaries::repository()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// Code without comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn uses_of(crate_name: &str, manifest: &toml::Table) -> Vec<String> {
    let tables = ["dependencies", "build-dependencies"];
    let names =
        tables.iter().filter_map(|table| manifest.get(*table)?.as_table()).flat_map(|table| table.keys());
    names.filter(|name| name.starts_with("muster-") && *name != crate_name).cloned().collect()
}

#[test]
fn crates_use_only_what_lies_below_them() {
    for (name, folder, allowed) in CRATES {
        let manifest: toml::Table =
            toml::from_str(&fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap()).unwrap();
        for used in uses_of(name, &manifest) {
            assert!(allowed.contains(&used.as_str()), "{name} uses {used}: that arrow points up");
        }
    }
    let workspace: toml::Table =
        toml::from_str(&fs::read_to_string(root().join("Cargo.toml")).unwrap()).unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    assert_eq!(members.len(), CRATES.len(), "every crate has its floor");
}

/// For each room the other rooms of its crate that it names.
fn arrows(folder: &Path, rooms: &[&[&str]]) -> BTreeMap<String, Vec<String>> {
    let all: Vec<&str> = rooms.iter().flat_map(|line| line.iter().copied()).collect();
    let mut arrows = BTreeMap::<String, Vec<String>>::new();
    for path in sources(folder) {
        let below = path.strip_prefix(folder).unwrap();
        let room = below.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if matches!(room.as_str(), "lib" | "main") || path.ends_with("tests.rs") {
            continue;
        }
        assert!(all.contains(&room.as_str()), "{room} in {} has no place among the rooms", folder.display());
        arrows.entry(room.clone()).or_default().extend(named(&code(&path), &room, &all));
    }
    arrows
}

/// Rooms named in some code: `crate::ROOM`, also in `use crate::{ROOM, ROOM::…}`.
fn named(code: &str, room: &str, all: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let words = match rest.strip_prefix('{') {
            Some(list) => first_words(list),
            None => vec![word(rest)],
        };
        found.extend(words.into_iter().filter(|name| *name != room && all.contains(name)).map(str::to_owned));
    }
    found
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The first word of each entry of a `{…}` list, its nested lists passed over.
fn first_words(list: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                words.push(word(list[start..at].trim_start()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                words.push(word(list[start..at].trim_start()));
                start = at + 1;
            }
            _ => {}
        }
    }
    words
}

fn upward(crate_folder: &str, rooms: &[&[&str]], arrows: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let floor = |room: &str| rooms.iter().position(|line| line.contains(&room)).unwrap();
    let mut wrong = Vec::new();
    for (from, targets) in arrows {
        for to in targets {
            let known =
                EXCEPTIONS.iter().any(|(folder, a, b)| *folder == crate_folder && a == from && b == to);
            let arrow = format!("{crate_folder}: {from} uses {to}");
            if floor(to) >= floor(from) && !known && !wrong.contains(&arrow) {
                wrong.push(arrow);
            }
        }
    }
    wrong
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let mut wrong = Vec::new();
    for (folder, rooms) in [("control-plane", CONTROL_PLANE), ("node-agent", NODE_AGENT)] {
        let arrows = arrows(&root().join(folder).join("src"), rooms);
        wrong.extend(upward(folder, rooms, &arrows));
    }
    assert!(wrong.is_empty(), "these arrows point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn some_words_stand_only_where_they_belong() {
    for path in ["common", "control-plane", "node-agent", "proto", "tests"]
        .iter()
        .flat_map(|folder| sources(&root().join(folder)))
    {
        let below = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        if below == "tests/architecture.rs" {
            continue; // where these words are listed
        }
        let code = code(&path);
        for (word, places) in WORDS {
            let at_home = below.ends_with("tests.rs") || places.iter().any(|place| below.starts_with(place));
            assert!(at_home || !code.contains(word), "{below} says {word}, which belongs in {places:?}");
        }
    }
}

#[test]
fn an_arrow_that_points_up_is_found() {
    let rooms: &[&[&str]] = &[&["low", "side"], &["high"]];
    let all = ["low", "side", "high"];
    let code = "use crate::{\n    high::{A, B},\n    side,\n};\nfn f() { crate::low::g(); }";
    assert_eq!(named(code, "low", &all), ["high", "side"]);
    let arrows = BTreeMap::from([
        ("low".to_owned(), named(code, "low", &all)),
        ("high".to_owned(), vec!["low".to_owned()]),
    ]);
    assert_eq!(upward("x", rooms, &arrows), ["x: low uses high", "x: low uses side"]);
}
