//! Lists that must agree, and the order of the house.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use muster_common::reason::Reason;
use prost::Message as _;

/// Lines of a source file, its tests not counted.
const LONGEST: usize = 400;

fn root() -> PathBuf {
    muster_tests::binaries::repository()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files of the repository with one of these endings; what is built or installed is left out.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                if !["target", "generated", ".git", ".tools"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_reason_is_in_the_protocol_in_the_code_and_on_its_page() {
    let code: BTreeSet<String> = Reason::ALL.iter().map(|reason| reason.to_string()).collect();
    let proto = read("proto/muster/types/v1/errors.proto");
    let proto: BTreeSet<String> = proto
        .lines()
        .filter_map(|line| line.trim().strip_prefix("ERROR_REASON_")?.split_whitespace().next())
        .filter(|name| *name != "UNSPECIFIED")
        .map(str::to_owned)
        .collect();
    assert_eq!(code, proto);
    let page = read("docs/errors/README.md");
    for reason in &code {
        assert!(
            page.lines().any(|line| line.starts_with('#') && line.contains(reason.as_str())),
            "{reason} has no page"
        );
    }
}

#[test]
fn every_operators_method_is_a_grpcurl_line() {
    let set = prost_types::FileDescriptorSet::decode(muster_proto::DESCRIPTORS).unwrap();
    let scripts: String = files(&[".sh"]).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let admin = set.file.iter().filter(|file| file.package() == "muster.admin.v1");
    for (file, service) in admin.flat_map(|file| file.service.iter().map(move |service| (file, service))) {
        for method in &service.method {
            let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
            assert!(scripts.contains(&name), "{name} is in no script of deploy/grpcurl");
        }
    }
}

#[test]
fn every_request_is_fuzzed() {
    let set = prost_types::FileDescriptorSet::decode(muster_proto::DESCRIPTORS).unwrap();
    let list = read("control-plane/src/api/fuzz.rs");
    // What the agent serves on its own host is not the control plane's to read.
    let served = ["muster.admin.v1", "muster.agent.v1"];
    let ours = set.file.iter().filter(|file| served.contains(&file.package()));
    for method in ours.flat_map(|file| &file.service).flat_map(|service| &service.method) {
        let request = method.input_type().rsplit('.').next().unwrap();
        assert!(
            list.contains(&format!("::{request} =>")),
            "{request} has no line in control-plane/src/api/fuzz.rs: add how a handler reads it"
        );
    }
}

#[test]
fn every_fuzz_target_is_built_and_has_seeds() {
    let manifest = read("fuzz/Cargo.toml");
    for path in files(&[".rs"]).iter().filter(|path| path.starts_with(root().join("fuzz/targets"))) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name} has no [[bin]]");
        let seeds = fs::read_dir(root().join("fuzz/corpus").join(name)).map(Iterator::count);
        assert!(seeds.is_ok_and(|seeds| seeds > 0), "{name} has no seeds: fuzz/run.sh seeds");
    }
}

#[test]
fn every_script_is_run_by_a_test() {
    let tests = ["clients.rs", "clients_catalogue.rs", "clients_alerts.rs", "clients_events.rs"]
        .map(|name| read(&format!("tests/e2e/{name}")))
        .concat();
    for path in files(&[".sh"]).iter().filter(|path| path.starts_with(root().join("deploy/grpcurl"))) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name == "lib.sh" || tests.contains(&format!("\"{name}\"")), "no test runs {name}");
    }
}

#[test]
fn files_are_short_enough_to_read() {
    for path in files(&[".rs"]) {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().count();
        let is_test = path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
        assert!(is_test || lines <= LONGEST, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nothing_is_left_to_be_done() {
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["unimpl", "emented!"].concat(),
        ["to", "do!("].concat(),
    ];
    for path in files(&[".rs", ".proto", ".sh", ".toml", ".md", "Makefile"]) {
        let text = fs::read_to_string(&path).unwrap();
        for word in &words {
            assert!(!text.contains(word.as_str()), "{} says {word}", path.display());
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in files(&[".md"]) {
        let text = fs::read_to_string(&path).unwrap();
        for target in links(&text) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            let found = path.parent().unwrap_or(Path::new("/")).join(file);
            assert!(found.exists(), "{} links to {target}, which is not there", path.display());
        }
    }
}

#[test]
fn every_threat_and_attack_names_tests_that_exist() {
    let page = read("docs/security.md");
    let code: String = files(&[".rs"]).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    for title in ["## Threats", "## Attacks"] {
        let part = page.split(&format!("{title}\n")).nth(1).unwrap();
        let part = part.split("\n## ").next().unwrap();
        let rows: Vec<&str> = part.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
        assert!(rows.len() >= 15, "{title}: {rows:?}");
        for row in rows {
            let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
            let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
            assert!(!names.is_empty(), "no test in: {row}");
            for name in names {
                assert!(code.contains(&format!("fn {name}(")), "{name} is no test; it stands in: {row}");
            }
        }
    }
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let alerts = read("deploy/prometheus/alerts.yml");
    let named: BTreeSet<String> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect();
    let pages = files(&[".md"]).into_iter().filter(|path| path.starts_with(root().join("docs/runbooks")));
    let pages: BTreeSet<String> =
        pages.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let proto = read("proto/muster/admin/v1/alerts.proto");
    let kinds = proto.lines().filter_map(|line| line.trim().strip_prefix("ALERT_KIND_")?.split(' ').next());
    let kinds: BTreeSet<String> = kinds
        .filter(|kind| *kind != "UNSPECIFIED")
        .map(|kind| kind.to_lowercase().replace('_', "-"))
        .collect();
    assert_eq!(named.union(&kinds).cloned().collect::<BTreeSet<_>>(), pages);
    let explained = read("docs/alerts.md");
    for kind in &kinds {
        assert!(
            explained.contains(&format!("(runbooks/{kind}.md)")),
            "docs/alerts.md leads to no page of {kind}"
        );
    }
    for name in &named {
        assert!(alerts.contains(&format!("runbook: docs/runbooks/{name}.md")), "{name} names no page");
    }
    for name in &pages {
        let page = read(&format!("docs/runbooks/{name}.md"));
        for part in [format!("# {name}\n"), "\n## How to see it\n".to_owned(), "\n## What to do\n".to_owned()]
        {
            assert!(page.contains(&part), "the page of {name} has no {part:?}");
        }
    }
}

#[test]
fn every_panel_is_explained_and_nothing_else_is() {
    let page = read("docs/dashboards.md");
    for (file, title) in [
        ("fleet", "Fleet"),
        ("sessions", "Sessions"),
        ("rollouts", "Rollouts and commands"),
        ("store", "Store"),
    ] {
        let board: serde_json::Value =
            serde_json::from_str(&read(&format!("deploy/grafana/{file}.json"))).unwrap();
        let panels = board["panels"].as_array().unwrap().iter();
        let shown: Vec<&str> = panels.map(|panel| panel["title"].as_str().unwrap()).collect();
        let part = page.split(&format!("\n## {title}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
        let rows = part.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
        let told: Vec<&str> = rows.filter(|cell| *cell != "panel").collect();
        assert_eq!(shown, told, "{file}.json and its part of docs/dashboards.md");
    }
    assert_eq!(
        files(&[".json"]).iter().filter(|it| it.starts_with(root().join("deploy/grafana"))).count(),
        4
    );
}

/// Every number that a text names: `muster_…` without what a histogram or a counter adds.
fn numbers(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c: char| !is_part(c)).filter(|it| it.starts_with("muster_") && !it.contains(':'));
    let plain = |word: &str| {
        let word =
            ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
        word.to_owned()
    };
    words.map(plain).collect()
}

#[test]
fn dashboards_and_rules_ask_for_numbers_that_there_are() {
    let told = numbers(&read("docs/metrics.md"));
    let mut asked = BTreeSet::new();
    for path in files(&[".json", ".yml"]).iter().filter(|path| {
        ["deploy/grafana", "deploy/prometheus"].iter().any(|folder| path.starts_with(root().join(folder)))
    }) {
        asked.extend(numbers(&fs::read_to_string(path).unwrap()));
    }
    let unknown: Vec<&String> = asked.difference(&told).collect();
    assert!(asked.len() > 30 && unknown.is_empty(), "docs/metrics.md does not know {unknown:?}");
}

/// Targets of `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    text.match_indices("](").filter_map(|(at, _)| text[at + 2..].split(')').next()).collect()
}

#[test]
fn a_link_is_found() {
    assert_eq!(links("see [a](b.md) and [c](d/e.md#f)"), ["b.md", "d/e.md#f"]);
}
