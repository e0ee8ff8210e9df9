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
    ("muster-repository", "deploy/repository", &["muster-common"]),
    ("muster-cluster", "tests/cluster", &[]),
    ("muster-domain", "control-plane/domain", &["muster-common"]),
    ("muster-store", "control-plane/store", &["muster-common", "muster-domain", "muster-cluster"]),
    (
        "muster-control-plane",
        "control-plane",
        &["muster-common", "muster-proto", "muster-domain", "muster-store"],
    ),
    ("muster-node-agent", "node-agent", &["muster-common", "muster-proto"]),
    (
        "muster-tests",
        "tests",
        &[
            "muster-cluster",
            "muster-common",
            "muster-proto",
            "muster-node-agent",
            // Of them all, only `model` uses these.
            "muster-domain",
            "muster-store",
            "muster-control-plane",
        ],
    ),
];

/// Rooms from the ground up; those on one line never use each other.
const CONTROL_PLANE: &[&[&str]] = &[
    &["config", "metrics"],
    &["traces"],
    &["session", "ca", "oidc", "host_ca", "blobs", "vault", "backup", "notify"],
    &["app"],
    &["api", "work"],
    &["server", "console"],
    &["fleet_console"],
    &["wiring"],
    &["cli"],
];
const NODE_AGENT: &[&[&str]] = &[
    &["redaction", "state", "watched"],
    &["config", "proxy"],
    &["dial"],
    &["platform"],
    &["depot"],
    &["admission", "ledger", "locks", "state_dir", "identity", "verbs"],
    &["upgrader"],
    &[
        "applier",
        "artifacts",
        "blobs",
        "commands",
        "diagnostics",
        "executor",
        "extensions",
        "liveness",
        "release",
        "session",
        "workload",
    ],
    &["local_api"],
    &["wiring"],
    &["cli"],
];

/// Crates that may be named in some places only; a place is a path or how one begins.
const CRATES_AT_HOME: &[(&str, &[&str])] = &[
    ("rusqlite", &["control-plane/store/"]),
    ("tokio_postgres", &["control-plane/store/"]),
    (
        "muster_store",
        &[
            "control-plane/store/",
            "control-plane/src/app",
            "control-plane/src/wiring",
            "control-plane/src/cli",
            // Where every room's errors become statuses.
            "control-plane/src/api/status.rs",
            // Drives the use-cases without their process.
            "tests/model/",
        ],
    ),
    (
        "muster_proto",
        &[
            "control-plane/src/api",
            // The names of methods, no types: for reflection, and to hold the table complete.
            "control-plane/src/server/reflection.rs",
            "control-plane/src/server/policy/tests.rs",
            "node-agent/src/session/wire/",
            "node-agent/src/session/transport/",
            "node-agent/src/identity/",
            "node-agent/src/diagnostics/",
            "node-agent/src/blobs",
            "node-agent/src/artifacts/control_plane.rs",
            "node-agent/src/local_api/",
            "node-agent/src/workload/",
            // Payloads are messages, too: they are decoded where they are understood.
            "node-agent/src/applier/bundle",
            "node-agent/src/commands/kinds",
            "node-agent/src/extensions/content",
            "node-agent/src/extensions/tests/",
            "node-agent/src/release/content",
            "node-agent/src/release/tests",
            "tests/",
            "deploy/",
        ],
    ),
    (
        "tonic",
        &[
            "proto/",
            "control-plane/src/api",
            "control-plane/src/server",
            // The messages of OTLP, and who sends them.
            "control-plane/src/traces/export.rs",
            "node-agent/src/dial",
            "node-agent/src/session/transport/",
            "node-agent/src/identity/",
            "node-agent/src/diagnostics/",
            "node-agent/src/blobs.rs",
            "node-agent/src/artifacts/control_plane.rs",
            "node-agent/src/local_api",
            "node-agent/src/workload/",
            "tests/",
        ],
    ),
];

/// Words that may stand in some places only.
const WORDS: &[(&str, &[&str])] = &[
    ("SystemTime::now", &["common/src/clock.rs"]),
    ("Instant::now", &["common/src/clock.rs"]),
    ("tokio::spawn(", &["common/src/tasks.rs", "tests/"]),
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

/// Our crates that a manifest names, in whatever kind of dependency and under whatever name.
fn uses_of(crate_name: &str, manifest: &toml::Table) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else { continue };
        if key.ends_with("dependencies") {
            for (name, how) in table {
                let package = how.get("package").and_then(toml::Value::as_str).unwrap_or(name);
                found.extend(
                    (package.starts_with("muster-") && package != crate_name).then(|| package.to_owned()),
                );
            }
        } else {
            // `target.'cfg(…)'.dependencies` and the like.
            found.extend(uses_of(crate_name, table));
        }
    }
    found
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
        let depth = below.iter().count();
        arrows.entry(room.clone()).or_default().extend(named(&code(&path), depth, &room, &all));
    }
    arrows
}

/// Rooms named in some code: `crate::ROOM`, also in `use crate::{ROOM, ROOM::…}`, and
/// the same by as many `super::` as the file lies deep.
fn named(code: &str, depth: usize, room: &str, all: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::".to_owned(), "super::".repeat(depth)] {
        for (at, _) in code.match_indices(&root) {
            let rest = &code[at + root.len()..];
            let words = match rest.strip_prefix('{') {
                Some(list) => first_words(list),
                None => vec![word(rest)],
            };
            let others = words.into_iter().filter(|name| *name != room && all.contains(name));
            found.extend(others.map(str::to_owned));
        }
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
            let arrow = format!("{crate_folder}: {from} uses {to}");
            if floor(to) >= floor(from) && !wrong.contains(&arrow) {
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

/// Whether code names a crate, by whatever path: `use NAME::{…}`, `NAME::x`, `NAME_more::x`.
fn names_crate(code: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        // tonic_types and its like belong to tonic.
        let whole = word(&code[at..]);
        let ours = whole == name || whole.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'));
        ours && !before.is_some_and(part)
    })
}

#[test]
fn crates_and_words_stand_only_where_they_belong() {
    let folders = ["common", "control-plane", "node-agent", "proto", "tests", "deploy"];
    for path in folders.iter().flat_map(|folder| sources(&root().join(folder))) {
        let below = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        if below == "tests/architecture.rs" || below.ends_with("tests.rs") {
            continue; // where these words are listed, and what tests may do
        }
        let code = code(&path);
        let at_home = |places: &[&str]| places.iter().any(|place| below.starts_with(place));
        for (name, places) in CRATES_AT_HOME {
            let wrong = names_crate(&code, name) && !at_home(places);
            assert!(!wrong, "{below} names {name}, which belongs in {places:?}");
        }
        for (word, places) in WORDS {
            let wrong = code.contains(word) && !at_home(places);
            assert!(!wrong, "{below} says {word}, which belongs in {places:?}");
        }
    }
}

#[test]
fn every_place_of_a_crate_is_one() {
    let all: Vec<PathBuf> = ["control-plane", "node-agent", "proto", "tests", "deploy"]
        .iter()
        .flat_map(|f| sources(&root().join(f)))
        .collect();
    for (name, places) in CRATES_AT_HOME {
        for place in *places {
            let within =
                |path: &&PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().starts_with(place);
            let used = all.iter().filter(within).any(|path| names_crate(&code(path), name));
            assert!(used, "nothing in {place} names {name}: its line is dead");
        }
    }
}

#[test]
fn a_crate_is_found_however_it_is_named() {
    for code in
        ["use tonic::{Code, Status};", "fn f() -> tonic::Status {}", "use tonic_types::X;", "use tonic as t;"]
    {
        assert!(names_crate(code, "tonic"), "{code}");
    }
    for code in ["use muster_tonic::X;", "let tonics = 1;", "atonic::x()"] {
        assert!(!names_crate(code, "tonic"), "{code}");
    }
}

#[test]
fn a_dependency_of_any_kind_is_found() {
    let manifest = "[dependencies]\nmuster-a.workspace = true\nserde = \"1\"\n\
        [dev-dependencies]\nmuster-b.workspace = true\nother = { package = \"muster-c\", path = \"x\" }\n\
        [target.'cfg(unix)'.build-dependencies]\nmuster-d = \"1\"\n";
    let mut found = uses_of("muster-a", &toml::from_str(manifest).unwrap());
    found.sort();
    assert_eq!(found, ["muster-b", "muster-c", "muster-d"]);
}

#[test]
fn an_arrow_that_points_up_is_found() {
    let rooms: &[&[&str]] = &[&["low", "side"], &["high"]];
    let all = ["low", "side", "high"];
    let code = "use crate::{\n    high::{A, B},\n    side,\n};\nfn f() { crate::low::g(); }";
    assert_eq!(named(code, 1, "low", &all), ["high", "side"]);
    assert_eq!(named("use super::super::{high::A, own};", 2, "low", &all), ["high"]);
    let arrows = BTreeMap::from([
        ("low".to_owned(), named(code, 1, "low", &all)),
        ("high".to_owned(), vec!["low".to_owned()]),
    ]);
    assert_eq!(upward("x", rooms, &arrows), ["x: low uses high", "x: low uses side"]);
}
