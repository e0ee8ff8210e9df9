//! The applier: after any cut a host has what its record says that it runs, file by file, and
//! nothing beside it.

use std::{fs, path::Path};

use muster_common::{
    clock::{Clock, UnixMillis},
    digest::Sha256,
    generation::Generation,
    ids::NodeId,
};
use muster_node_agent::{
    applier::{Applier, Options},
    locks,
    state::{ItemVersion, Line, Offer, Outcome, Pauses, Removal},
    verbs::Hands,
};
use muster_proto::types::v1 as types;
use prost::Message as _;

use super::Story;

const ITEM: &str = "bundle/app";
/// Which version runs, and what is in which file then.
type State = (Option<&'static str>, &'static [(&'static str, &'static str)]);

/// In the order of the story.
const STATES: [State; 4] = [
    (None, &[("a", "its own")]),
    (Some("1"), &[("a", "first"), ("deep/b", "first")]),
    (Some("2"), &[("a", "second"), ("c", "second")]),
    (None, &[("a", "its own")]),
];

#[test]
fn a_bundle_is_on_the_host_whole_or_not_at_all_after_a_loss_of_power_at_any_moment() {
    let _alone = crate::ALONE.blocking_lock();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let rules = tempfile::tempdir().unwrap();
    let mut story = Story::begin();
    let place = story.place().to_owned();
    let rules = rules.path().join("locks.toml");
    fs::write(&rules, format!("[paths]\nallow = [{:?}]\n", place.join("root"))).unwrap();
    fs::create_dir(place.join("root")).unwrap();
    fs::write(place.join("root/a"), "its own").unwrap();
    story.settle();
    let open = || async { Applier::open(options(&place, &rules)).await.unwrap() };
    runtime.block_on(async {
        let mut applier = open().await;
        for (step, (runs, _)) in STATES.iter().enumerate().skip(1) {
            match runs {
                Some(version) => {
                    let state = applier.apply(offer(&place, step, version)).await;
                    assert_eq!(state.outcome, Outcome::Applied, "{:?}", state.error);
                }
                None => {
                    let (item, generation) = (ITEM.to_owned(), generation(step));
                    let traceparent = String::new();
                    let left = applier.remove(Removal { item, generation, traceparent }).await;
                    assert!(left.is_none(), "{left:?}");
                }
            }
            story.promise(step);
        }
    });
    story.cut("applier", |place, facts| {
        let last = facts.last().copied().unwrap_or(0);
        runtime.block_on(async {
            let mut applier = open().await;
            applier.settle().await.unwrap();
            let runs = running(&applier);
            let is = |step: usize| {
                STATES.get(step).is_some_and(|(version, files)| {
                    runs.as_deref() == *version && found(&place.join("root")) == *files
                })
            };
            let found = found(&place.join("root"));
            assert!(is(last) || is(last + 1), "after {last} it runs {runs:?} with {found:?}");
            // It goes on from there.
            let state = applier.apply(offer(place, 9, "2")).await;
            assert!(state.error.is_none(), "{:?}", state.error);
            assert_eq!(self::found(&place.join("root")), STATES[2].1);
        });
    });
}

fn options(place: &Path, rules: &Path) -> Options {
    Options {
        folder: place.join("state"),
        node: NodeId::from_u128(1),
        locks: locks::Reader::new(rules.to_owned()),
        clock: Clock::test(UnixMillis(1)),
        protected: vec![place.join("state")],
        line: Line::default(),
        pauses: Pauses::default(),
        hands: Hands::Here,
    }
}

fn generation(step: usize) -> Generation {
    Generation::new(1, step as u64)
}

fn offer(place: &Path, step: usize, version: &str) -> Offer {
    let file = |(name, content): &(&str, &str)| types::BundleFile {
        path: place.join("root").join(name).to_str().unwrap().to_owned(),
        content: content.as_bytes().to_vec().into(),
        ..Default::default()
    };
    let files = STATES.iter().find(|(of, _)| *of == Some(version)).unwrap().1;
    let payload = types::BundleContent { files: files.iter().map(file).collect(), ..Default::default() }
        .encode_to_vec();
    let version = ItemVersion {
        generation: generation(step),
        version: version.to_owned(),
        sha256: Sha256::of(&payload),
    };
    Offer { item: ITEM.to_owned(), version, payload, sealed: None, traceparent: String::new() }
}

fn running(applier: &Applier) -> Option<String> {
    let states = applier.states();
    let state = states.into_iter().find(|state| state.item == ITEM)?;
    Some(state.running?.version)
}

/// All files below a folder, sorted by name, with their content.
fn found(root: &Path) -> Vec<(&'static str, &'static str)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    let known = |(name, content): (String, String)| {
        let all = STATES.iter().flat_map(|(_, files)| files.iter());
        let known = all.copied().find(|(of, with)| *of == name && *with == content);
        known.unwrap_or_else(|| panic!("{name} with {content:?} is of no version"))
    };
    found.into_iter().map(known).collect()
}
