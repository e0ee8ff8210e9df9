use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use muster_common::{
    clock::{Clock, UnixMillis},
    generation::Generation,
    ids::NodeId,
};
use muster_proto::types::v1 as types;
use proptest::prelude::*;
use prost::Message as _;

use super::{attempt::Attempt, *};
use crate::{
    locks,
    state::{Line, Pauses},
};

mod blobs;
mod confirm;
mod drift;
mod explain;
mod hooks;
mod kinds;
mod leftovers;
mod pauses;
mod removal;
mod retried;
mod secrets;

/// A host in a folder: `root` may be written, `state` is the applier's.
struct Lab {
    folder: tempfile::TempDir,
    line: Line,
    pauses: Pauses,
}

impl Lab {
    fn new() -> Self {
        let (line, pauses) = (Line::default(), Pauses::default());
        let lab = Self { folder: tempfile::tempdir().unwrap(), line, pauses };
        fs::create_dir(lab.root()).unwrap();
        lab.rules(true);
        lab
    }

    fn rules(&self, hooks: bool) {
        let text = format!("[paths]\nallow = [{:?}]\n[hooks]\nallow = {hooks}\n", self.root());
        fs::write(self.folder.path().join("locks.toml"), text).unwrap();
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn locks(&self) -> locks::Reader {
        locks::Reader::new(self.folder.path().join("locks.toml"))
    }

    async fn open(&self) -> Applier {
        let mut applier = self.opened().await;
        applier.settle().await.unwrap();
        applier
    }

    /// What an earlier process left is not settled yet.
    async fn opened(&self) -> Applier {
        Applier::open(self.options()).await.unwrap()
    }

    fn options(&self) -> Options {
        Options {
            folder: self.state(),
            node: NodeId::from_u128(1),
            locks: self.locks(),
            clock: Clock::test(UnixMillis(1)),
            protected: vec![self.state(), self.folder.path().join("locks.toml")],
            line: self.line.clone(),
            pauses: self.pauses.clone(),
            hands: crate::verbs::Hands::Here,
        }
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.file(name)).ok()
    }

    /// Names below the root that are not files of a bundle.
    fn litter(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.root()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else if name.starts_with(".muster") {
                    found.push(name);
                }
            }
        }
        found
    }

    fn bundle(&self, files: &[(&str, &str)]) -> types::BundleContent {
        let file = |(name, content): &(&str, &str)| types::BundleFile {
            path: self.file(name).to_str().unwrap().to_owned(),
            content: content.as_bytes().to_vec().into(),
            ..Default::default()
        };
        types::BundleContent { files: files.iter().map(file).collect(), ..types::BundleContent::default() }
    }
}

fn offer(number: u64, content: &types::BundleContent) -> Offer {
    named("bundle/app", number, content.encode_to_vec())
}

fn named(item: &str, number: u64, payload: Vec<u8>) -> Offer {
    let version = ItemVersion {
        generation: Generation::new(1, number),
        version: number.to_string(),
        sha256: Sha256::of(&payload),
    };
    Offer { item: item.to_owned(), version, payload, sealed: None, traceparent: String::new() }
}

fn sh(script: &str) -> Option<types::Hook> {
    Some(types::Hook {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        timeout_s: 5,
        ..Default::default()
    })
}

fn removal(number: u64) -> Removal {
    let (generation, traceparent) = (Generation::new(1, number), String::new());
    Removal { item: "bundle/app".to_owned(), generation, traceparent }
}

fn verdict(state: &ItemState) -> (Outcome, Option<Reason>, Option<Cause>) {
    (state.outcome, state.error.as_ref().map(|e| e.reason), state.error.as_ref().map(|e| e.cause))
}

fn running(state: &ItemState) -> Option<u64> {
    state.running.as_ref().map(|version| version.generation.number)
}

#[tokio::test]
async fn files_come_with_content_and_mode_and_go_with_the_bundle() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    fs::write(lab.file("b"), "of before").unwrap();
    fs::set_permissions(lab.file("b"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut content = lab.bundle(&[("deep/down/a", "one"), ("b", "two")]);
    content.files[0].mode = 0o640;
    let state = applier.apply(offer(1, &content)).await;
    assert_eq!((verdict(&state), running(&state)), ((Outcome::Applied, None, None), Some(1)));
    assert_eq!((lab.read("deep/down/a").as_deref(), lab.read("b").as_deref()), (Some("one"), Some("two")));
    assert_eq!(fs::metadata(lab.file("deep/down/a")).unwrap().permissions().mode() & 0o777, 0o640);
    // The next version has one file less: what was there before comes back.
    let next = applier.apply(offer(2, &lab.bundle(&[("deep/down/a", "three")]))).await;
    assert_eq!(running(&next), Some(2));
    assert_eq!(lab.read("b").as_deref(), Some("of before"));
    assert_eq!(fs::metadata(lab.file("b")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(applier.remove(removal(3)).await.is_none());
    assert!(!lab.file("deep").exists(), "folders that were made go, too");
    assert_eq!((applier.states(), lab.litter()), (Vec::new(), Vec::new()));
    assert_eq!(fs::read_dir(lab.state().join("blobs")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_older_offer_does_nothing_and_a_generation_has_one_content() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let (one, two) = (lab.bundle(&[("a", "one")]), lab.bundle(&[("a", "two")]));
    let applied = applier.apply(offer(5, &two)).await;
    assert_eq!(applier.apply(offer(4, &one)).await, applied);
    assert_eq!(applier.apply(offer(5, &two)).await, applied);
    let conflict = applier.apply(offer(5, &one)).await;
    assert_eq!(
        verdict(&conflict),
        (Outcome::Rejected, Some(Reason::GenerationConflict), Some(Cause::ControlPlane))
    );
    assert_eq!(applier.remove(removal(4)).await, Some(applied));
    assert_eq!(lab.read("a").as_deref(), Some("two"));
    let same = applier.apply(offer(6, &two)).await;
    assert_eq!((same.outcome, running(&same)), (Outcome::Unchanged, Some(6)));
}

#[tokio::test]
async fn a_failing_hook_returns_the_host_to_last_good() {
    let lab = Lab::new();
    let log = lab.folder.path().join("log");
    let good = types::BundleContent {
        on_change: sh(&format!("cat {} >> {}", lab.file("a").display(), log.display())),
        ..lab.bundle(&[("a", "good\n")])
    };
    let mut applier = lab.open().await;
    applier.apply(offer(1, &good)).await;
    let bad = || lab.bundle(&[("a", "bad\n"), ("new", "x")]);
    let no = || sh("echo told; exit 7");
    let cases = [
        (types::BundleContent { validate: no(), ..bad() }, Outcome::Rejected, Reason::ValidateFailed),
        (types::BundleContent { on_change: no(), ..bad() }, Outcome::RolledBack, Reason::OnChangeFailed),
        (types::BundleContent { probe: no(), ..bad() }, Outcome::RolledBack, Reason::ProbeFailed),
        (
            types::BundleContent {
                probe: sh("sleep 60").map(|h| types::Hook { timeout_s: 1, ..h }),
                ..bad()
            },
            Outcome::RolledBack,
            Reason::ProbeFailed,
        ),
    ];
    for (number, (content, outcome, reason)) in (2..).zip(cases) {
        let state = applier.apply(offer(number, &content)).await;
        assert_eq!(verdict(&state), (outcome, Some(reason), Some(Cause::Content)));
        assert_eq!((running(&state), state.attempted.as_ref().unwrap().generation.number), (Some(1), number));
        assert_eq!((lab.read("a").as_deref(), lab.read("new")), (Some("good\n"), None));
        assert_eq!(lab.litter(), Vec::<String>::new());
        if reason != Reason::ProbeFailed || number == 4 {
            assert_eq!(state.error.unwrap().output, b"told\n");
        }
    }
    // Once when it was applied, and once after each return.
    assert_eq!(fs::read_to_string(log).unwrap(), "good\n".repeat(4));
    drop(applier);
    let again = lab.open().await;
    assert_eq!(running(&again.states()[0]), Some(1), "the next process knows it, too");
}

#[tokio::test]
async fn validate_sees_the_new_files_before_anything_is_swapped() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(offer(1, &lab.bundle(&[("a", "old")]))).await;
    let look = format!(
        "test \"$(cat $MUSTER_STAGE{0})\" = new && test \"$(cat {0})\" = old",
        lab.file("a").display()
    );
    let content = types::BundleContent { validate: sh(&look), ..lab.bundle(&[("a", "new")]) };
    let state = applier.apply(offer(2, &content)).await;
    assert_eq!(state.outcome, Outcome::Applied, "{:?}", state.error);
    assert!(!lab.state().join("stage").exists());
}

#[tokio::test]
async fn a_way_back_that_fails_is_told_as_broken() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let first =
        types::BundleContent { on_change: sh("test ! -e /proc/self/nothing"), ..lab.bundle(&[("a", "one")]) };
    applier.apply(offer(1, &first)).await;
    let flag = lab.folder.path().join("flag");
    let second = types::BundleContent {
        on_change: sh(&format!("test ! -e {}", flag.display())),
        ..lab.bundle(&[("a", "two")])
    };
    applier.apply(offer(2, &second)).await;
    let third = types::BundleContent {
        probe: sh(&format!("touch {}; false", flag.display())),
        ..lab.bundle(&[("a", "three")])
    };
    let state = applier.apply(offer(3, &third)).await;
    assert_eq!((state.outcome, state.error.unwrap().reason), (Outcome::Broken, Reason::RollbackFailed));
    assert_eq!(lab.read("a").as_deref(), Some("two"), "the files are back all the same");
}

#[tokio::test]
async fn what_the_host_does_not_allow_or_cannot_read_is_rejected_and_nothing_changes() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(offer(1, &lab.bundle(&[("a", "one")]))).await;
    let outside = types::BundleContent {
        files: vec![types::BundleFile { path: "/etc/muster-outside".to_owned(), ..Default::default() }],
        ..Default::default()
    };
    let up = lab.bundle(&[("../up", "x")]);
    let twice = lab.bundle(&[("b", "x"), ("b", "y")]);
    let inside = lab.bundle(&[("b", "x"), ("b/c", "y")]);
    let big = lab.bundle(&[("b", &"x".repeat(70_000))]);
    let mut setuid = lab.bundle(&[("b", "x")]);
    setuid.files[0].mode = 0o4755;
    let relative = types::BundleContent {
        probe: Some(types::Hook { argv: vec!["sh".to_owned()], timeout_s: 1, ..Default::default() }),
        ..lab.bundle(&[("b", "x")])
    };
    let cases = [
        (outside, Reason::PathNotAllowed),
        (up, Reason::PathNotAllowed),
        (twice, Reason::PayloadInvalid),
        (inside, Reason::PayloadInvalid),
        (big, Reason::PayloadInvalid),
        (setuid, Reason::PayloadInvalid),
        (relative, Reason::PayloadInvalid),
        (types::BundleContent::default(), Reason::PayloadInvalid),
    ];
    for (number, (content, reason)) in (2..).zip(cases) {
        let state = applier.apply(offer(number, &content)).await;
        assert_eq!(
            (state.outcome, state.error.as_ref().unwrap().reason),
            (Outcome::Rejected, reason),
            "{content:?}"
        );
        assert_eq!(running(&state), Some(1));
    }
    lab.rules(false);
    let hooked = types::BundleContent { probe: sh("true"), ..lab.bundle(&[("b", "x")]) };
    assert_eq!(verdict(&applier.apply(offer(20, &hooked)).await).1, Some(Reason::HookDenied));
    let corrupt = Offer { payload: b"other".to_vec(), ..offer(21, &hooked) };
    assert_eq!(
        verdict(&applier.apply(corrupt).await),
        (Outcome::Rejected, Some(Reason::PayloadCorrupt), Some(Cause::Network))
    );
    assert_eq!(
        verdict(&applier.apply(named("bundle/app", 22, vec![0xff])).await).1,
        Some(Reason::PayloadInvalid)
    );
    assert_eq!(
        verdict(&applier.apply(named("firmware/x", 1, vec![])).await).1,
        Some(Reason::ItemKindUnknown)
    );
    assert_eq!(
        verdict(&applier.apply(named("bundle/../x", 1, vec![])).await).1,
        Some(Reason::ItemKindUnknown)
    );
    assert_eq!((lab.read("a").as_deref(), lab.read("b")), (Some("one"), None));
}

#[tokio::test]
async fn no_symbolic_link_is_followed_and_no_foreign_file_taken() {
    let lab = Lab::new();
    let outside = lab.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "kept").unwrap();
    symlink(&outside, lab.file("way")).unwrap();
    symlink(outside.join("secret"), lab.file("link")).unwrap();
    fs::create_dir(lab.file("folder")).unwrap();
    let mut applier = lab.open().await;
    for (number, name) in (1..).zip(["way/secret", "link", "folder"]) {
        let state = applier.apply(offer(number, &lab.bundle(&[("ok", "x"), (name, "changed")]))).await;
        assert_eq!(
            verdict(&state),
            (Outcome::Rejected, Some(Reason::PathNotAllowed), Some(Cause::Host)),
            "{name}"
        );
        assert_eq!((lab.read("ok"), lab.litter()), (None, Vec::new()));
    }
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "kept");
    applier.apply(offer(9, &lab.bundle(&[("mine", "x")]))).await;
    let other = applier.apply(named("bundle/other", 10, lab.bundle(&[("mine", "y")]).encode_to_vec())).await;
    assert_eq!(verdict(&other), (Outcome::Rejected, Some(Reason::PathTaken), Some(Cause::Host)));
    assert_eq!(lab.read("mine").as_deref(), Some("x"));
}

#[tokio::test]
async fn settings_are_checked_and_kept() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let set = |number, json: &str| named("settings", number, json.as_bytes().to_vec());
    assert_eq!(applier.apply(set(1, r#"{"facts-interval":"1m"}"#)).await.outcome, Outcome::Applied);
    for (number, json, reason) in [
        (2, r#"{"colour":"red"}"#, Reason::SettingUnknown),
        (3, r#"{"facts-interval":"soon"}"#, Reason::SettingInvalid),
        (4, "[]", Reason::PayloadInvalid),
    ] {
        assert_eq!(verdict(&applier.apply(set(number, json)).await).1, Some(reason));
    }
    drop(applier);
    let mut again = lab.open().await;
    assert_eq!(again.settings().get("facts-interval").map(String::as_str), Some("1m"));
    let gone = Removal { item: "settings".to_owned(), ..removal(5) };
    assert!(again.remove(gone).await.is_none() && again.settings().is_empty());
}

/// Where a crash cuts an attempt off.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Staged,
    Swapping(usize),
    Swapped,
}

impl Lab {
    /// Does a part of an attempt, as a process does that is killed then.
    fn cut_off(&self, applier: &Applier, offer: &Offer, cut: Cut) {
        let bundle = Bundle::decode(&offer.payload).unwrap();
        let former = applier.record(&offer.item).filter(|record| !record.owned.is_empty());
        let mut attempt = Attempt::bring(
            &applier.base,
            (&offer.item, &offer.version),
            &bundle,
            former.as_ref(),
            &self.locks().current(),
        )
        .unwrap();
        if !attempt.changes() {
            return;
        }
        attempt.stage().unwrap();
        match cut {
            Cut::Staged => {}
            Cut::Swapped => attempt.swap().unwrap(),
            Cut::Swapping(steps) => {
                attempt.journal.phase = journal::Phase::Swapping;
                attempt.journal.save(&self.state()).unwrap();
                for step in attempt.journal.steps.iter().take(steps) {
                    let place = crate::verbs::Hands::Here.make(&step.root, &step.path).unwrap();
                    attempt::put(step, &place).unwrap();
                }
            }
        }
    }

    fn snapshot(&self) -> BTreeMap<&'static str, String> {
        NAMES.iter().filter_map(|name| Some((*name, self.read(name)?))).collect()
    }
}

const NAMES: [&str; 4] = ["a", "b", "deep/c", "deep/er/d"];

#[derive(Debug, Clone)]
enum Act {
    Apply(Vec<(usize, u8)>),
    Cut(Vec<(usize, u8)>, Cut),
    Remove,
}

fn any_files() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::btree_map(0..NAMES.len(), 0_u8..4, 1..4).prop_map(|files| files.into_iter().collect())
}

fn any_act() -> impl Strategy<Value = Act> {
    let cut = prop_oneof![Just(Cut::Staged), (0_usize..4).prop_map(Cut::Swapping), Just(Cut::Swapped)];
    prop_oneof![
        any_files().prop_map(Act::Apply),
        (any_files(), cut).prop_map(|(files, cut)| Act::Cut(files, cut)),
        Just(Act::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn after_any_story_with_any_crash_the_disk_is_what_is_said_to_run(
        before in any_files(), story in prop::collection::vec(any_act(), 1..12)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let lab = Lab::new();
            for (name, content) in &before {
                let path = lab.file(NAMES[*name]);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("before {content}")).unwrap();
            }
            let originals = lab.snapshot();
            let mut expected = originals.clone();
            for (number, act) in (1..).zip(story) {
                let mut applier = lab.open().await;
                prop_assert_eq!(&lab.snapshot(), &expected);
                prop_assert_eq!(lab.litter(), Vec::<String>::new());
                // The first of the contents is none: the file must not be there.
                let content = |files: &[(usize, u8)]| {
                    let of = |(n, c): &(usize, u8)| match c {
                        0 => lab.absent(NAMES[*n]),
                        _ => lab.bundle(&[(NAMES[*n], &format!("new {c}"))]).files.remove(0),
                    };
                    types::BundleContent { files: files.iter().map(of).collect(), ..Default::default() }
                };
                match act {
                    Act::Apply(files) => {
                        let state = applier.apply(offer(number, &content(&files))).await;
                        prop_assert!(matches!(state.outcome, Outcome::Applied | Outcome::Unchanged), "{:?}", state);
                        expected = originals.clone();
                        for (n, c) in files {
                            if c == 0 { expected.remove(NAMES[n]) } else { expected.insert(NAMES[n], format!("new {c}")) };
                        }
                    }
                    Act::Cut(files, cut) => lab.cut_off(&applier, &offer(number, &content(&files)), cut),
                    Act::Remove => {
                        prop_assert!(applier.remove(removal(number)).await.is_none());
                        expected = originals.clone();
                    }
                }
            }
            lab.open().await;
            prop_assert_eq!(&lab.snapshot(), &expected);
            Ok(())
        })?;
    }
}

/// A small file system of its own, gone with the guard.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&at)
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "this test mounts a file system: it needs root"
        );
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_the_old_files_whole() {
    let lab = Lab::new();
    let _disk = SmallDisk::mount(lab.root(), "16k");
    let mut applier = lab.open().await;
    applier.apply(offer(1, &lab.bundle(&[("a", "one"), ("b", "one")]))).await;
    let state = applier.apply(offer(2, &lab.bundle(&[("a", "two"), ("b", &"x".repeat(60_000))]))).await;
    assert_eq!(verdict(&state), (Outcome::Rejected, Some(Reason::DiskFull), Some(Cause::Host)));
    assert_eq!((lab.read("a").as_deref(), lab.read("b").as_deref()), (Some("one"), Some("one")));
    assert_eq!(lab.litter(), Vec::<String>::new());
    assert_eq!(applier.apply(offer(3, &lab.bundle(&[("a", "three")]))).await.outcome, Outcome::Applied);
}

#[tokio::test]
async fn what_the_file_system_refuses_is_told_and_nothing_changes() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(offer(1, &lab.bundle(&[("a", "one")]))).await;
    // Longer than a name may be on any file system of Linux.
    let state = applier.apply(offer(2, &lab.bundle(&[("a", "two"), (&"n".repeat(300), "x")]))).await;
    assert_eq!(verdict(&state), (Outcome::Rejected, Some(Reason::WriteFailed), Some(Cause::Host)));
    assert_eq!((running(&state), lab.read("a").as_deref()), (Some(1), Some("one")));
    assert_eq!(lab.litter(), Vec::<String>::new());
}
