//! Slots, and the record of an upgrade: after any cut the link leads to a release that is
//! whole, and who goes on from the record comes to the end.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use muster_common::clock::UnixMillis;
use muster_node_agent::{
    platform::slots::{Slot, Slots},
    upgrader::{
        machine::{End, Limits, Stage, Watch},
        record::{Folder, Method, Plan, Record},
    },
};
use muster_tests::versions;

use super::Story;

const OLD: &str = "the old one";
const NEW: &str = "the new one";
const PROGRAM: &str = "bin/muster-node-agent";

/// How far the story is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fact {
    Planned,
    Switching,
    Over,
}

#[test]
fn slots_and_the_record_of_an_upgrade_outlive_a_loss_of_power_at_any_moment() {
    let _alone = crate::ALONE.blocking_lock();
    let made = tempfile::tempdir().unwrap();
    let (program, archive) = (made.path().join("program"), made.path().join("archive.tar.zst"));
    versions::write_program(NEW.as_bytes(), &program);
    versions::archive(&[(PROGRAM, &program), ("doc/more", &program)], &archive);
    let mut story = Story::begin();
    let place = story.place().to_owned();
    lay_old(&place);
    story.settle();
    let upgrades = upgrades(&place);
    let record = record(&place, &archive);
    upgrades.keep(&record).unwrap();
    story.promise(Fact::Planned);
    to_the_end(&place, record, |stage| match stage {
        Stage::Switching => story.promise(Fact::Switching),
        Stage::Ended(_) => story.promise(Fact::Over),
        _ => {}
    });
    story.cut("slots", |place, facts| check(place, facts.last().copied()));
}

fn check(place: &Path, fact: Option<Fact>) {
    let (slots, upgrades) = (slots(place), upgrades(place));
    let runs = runs(place);
    assert!(runs == OLD || runs == NEW, "{runs:?}");
    let pending = upgrades.pending().unwrap();
    let last = upgrades.last().unwrap();
    match (fact, &pending) {
        (None | Some(Fact::Over), _) | (_, Some(_)) => {}
        // What comes next may be there before it is promised.
        (Some(Fact::Planned | Fact::Switching), None) => assert!(last.is_some(), "the plan is lost"),
    }
    if fact == Some(Fact::Over) {
        assert!(last.is_some() && runs == NEW, "{last:?} {runs:?}");
    }
    let is_far = |record: &Record| !matches!(record.stage, Stage::Verified);
    if pending.as_ref().is_some_and(is_far) {
        for (slot, whole) in [(Slot::A, OLD), (Slot::B, NEW)] {
            assert_eq!(fs::read_to_string(slots.program(slot)).unwrap(), whole);
            fs::symlink_metadata(place.join("slots/a")).unwrap();
        }
        assert_eq!(fs::read_to_string(slots.folder(Slot::B).join("doc/more")).unwrap(), NEW);
    }
    let Some(record) = pending else { return };
    to_the_end(place, record, |_| {});
    assert_eq!(self::runs(place), NEW);
    assert!(upgrades.pending().unwrap().is_none() && upgrades.last().unwrap().is_some());
}

/// As the watchdog does, which needs a host with systemd.
fn to_the_end(place: &Path, mut record: Record, mut told: impl FnMut(&Stage)) {
    let (slots, upgrades) = (slots(place), upgrades(place));
    let Method::Slots { archive, .. } = record.plan.method.clone() else { panic!("it is in slots") };
    loop {
        record.stage = match record.stage {
            Stage::Verified => {
                slots.fill(Slot::B, &archive, |_| {}).unwrap();
                Stage::Staged
            }
            Stage::Staged => Stage::Switching,
            Stage::Switching => {
                slots.switch(Slot::B).unwrap();
                Stage::Probation(Watch::default())
            }
            Stage::Probation(_) => Stage::Ended(End::Committed),
            Stage::Ended(_) => break,
            other => panic!("{other:?}"),
        };
        upgrades.keep(&record).unwrap();
        if !matches!(record.stage, Stage::Ended(_)) {
            told(&record.stage);
        }
    }
    upgrades.end(&record).unwrap();
    told(&record.stage);
}

fn lay_old(place: &Path) {
    let program = place.join("slots/a").join(PROGRAM);
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::create_dir_all(place.join("slots/b")).unwrap();
    fs::create_dir(place.join("upgrade")).unwrap();
    fs::write(&program, OLD).unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    symlink("slots/a", place.join("current")).unwrap();
}

/// What is started through the link, which must be a program.
fn runs(place: &Path) -> String {
    let program = place.join("current").join(PROGRAM);
    assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o755);
    fs::read_to_string(program).unwrap()
}

fn slots(place: &Path) -> Slots {
    Slots::of(&place.join("slots/a").join(PROGRAM)).unwrap().0
}

fn upgrades(place: &Path) -> Folder {
    Folder::at(&place.join("upgrade"))
}

fn record(place: &Path, archive: &Path) -> Record {
    let plan = Plan {
        from: "0.1.0".to_owned(),
        to: "0.2.0".to_owned(),
        method: Method::Slots { slots: slots(place), to: Slot::B, archive: archive.to_owned() },
        needs_session: true,
        limits: Limits::default(),
        state_dir: PathBuf::from("/var/lib/muster/node-agent"),
        config: PathBuf::from("/etc/muster/node-agent.toml"),
        by: "operator".to_owned(),
        begun: UnixMillis(1),
    };
    Record { plan, stage: Stage::Verified, since: UnixMillis(1) }
}
