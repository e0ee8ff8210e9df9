//! The store of signed files: what is believed never becomes older, and what is there has the
//! digest by which it is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use muster_common::{clock::Clock, digest::Sha256};
use muster_node_agent::admission::{Metadata, Options, Quota, Store, Wanted};
use muster_tests::repository::{Published, Repository};

use super::Story;

/// Room for one of the files.
const QUOTA: u64 = 30 * 1024;
const SIZE: usize = 20 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    /// This version of the metadata is believed.
    Believed(usize),
    /// This file was admitted.
    Admitted(usize),
    /// It may go from now on.
    MayGo(usize),
}

/// Two versions of a repository: what is signed, and the file that is new in it.
struct Signed {
    versions: Vec<(Metadata, Published)>,
    root: PathBuf,
    _folder: tempfile::TempDir,
}

#[test]
fn what_is_believed_and_admitted_outlives_a_loss_of_power_at_any_moment() {
    let _alone = crate::ALONE.blocking_lock();
    let signed = Signed::make();
    let mut story = Story::begin();
    let store = signed.open(story.place());
    for (number, (metadata, file)) in signed.versions.iter().enumerate() {
        store.believe(metadata).unwrap();
        story.promise(Fact::Believed(number));
        (0..number).for_each(|before| story.promise(Fact::MayGo(before)));
        store.admit(&wanted(file), &file.content[..]).unwrap();
        story.promise(Fact::Admitted(number));
    }
    assert!(store.admitted(&wanted(&signed.versions[0].1)).unwrap().is_none(), "it made room");
    drop(store);
    story.cut("artifacts", |place, facts| signed.check(place, facts));
}

impl Signed {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::new();
        let root = folder.path().join("root.json");
        fs::write(&root, repository.root()).unwrap();
        let make = |number: u8| {
            let content: Vec<u8> = (0..SIZE).map(|at| u8::try_from(at % 251).unwrap() ^ number).collect();
            let file = repository.add(&format!("1.0.{number}"), &content);
            repository.sign();
            let metadata = repository.metadata().into_iter().map(|file| (file.path, file.content.to_vec()));
            (metadata.collect(), file)
        };
        Self { versions: (0..2).map(make).collect(), root, _folder: folder }
    }

    fn open(&self, place: &Path) -> Store {
        let options = Options {
            folder: place.join("store"),
            root: self.root.clone(),
            quota: Quota::new(|| QUOTA),
            clock: Clock::System,
        };
        Store::open(options).unwrap()
    }

    fn check(&self, place: &Path, facts: &[Fact]) {
        let store = self.open(place);
        has_what_it_says(place);
        for fact in facts {
            match *fact {
                Fact::Believed(0) | Fact::MayGo(_) => {}
                Fact::Believed(number) => {
                    let older = store.believe(&self.versions[number - 1].0);
                    assert!(older.is_err(), "{fact:?}: an older one is believed");
                }
                Fact::Admitted(number) if facts.contains(&Fact::MayGo(number)) => {}
                Fact::Admitted(number) => {
                    let wanted = wanted(&self.versions[number].1);
                    assert!(store.admitted(&wanted).unwrap().is_some(), "{fact:?}: it is gone");
                    store.open_signed(wanted.sha256).unwrap();
                }
            }
        }
        // It goes on from there.
        let (metadata, file) = self.versions.last().unwrap();
        store.believe(metadata).unwrap();
        store.admit(&wanted(file), &file.content[..]).unwrap();
        store.open_signed(file.sha256()).unwrap();
        has_what_it_says(place);
    }
}

fn has_what_it_says(place: &Path) {
    for entry in fs::read_dir(place.join("store/files")).unwrap() {
        let entry = entry.unwrap();
        let digest = Sha256::of(&fs::read(entry.path()).unwrap()).to_string();
        assert_eq!(entry.file_name().to_str(), Some(digest.as_str()));
    }
}

fn wanted(file: &Published) -> Wanted {
    Wanted { target: file.target.clone(), size: file.content.len() as u64, sha256: file.sha256() }
}
