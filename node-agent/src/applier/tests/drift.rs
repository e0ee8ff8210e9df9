//! A host that becomes other than its bundles say.

use std::time::Duration;

use muster_common::drain::Drain;

use super::*;
use crate::{applier::drift::WAIT, state::Drift};

/// Longest wait for something that takes a moment.
const LONG: Duration = Duration::from_secs(30);

impl Lab {
    fn correcting(&self, files: &[(&str, &str)]) -> types::BundleContent {
        let mut content = self.bundle(files);
        content.set_mode(types::BundleMode::ApplyAndCorrect);
        content
    }
}

async fn look(applier: &mut Applier) -> Option<muster_common::clock::Instant> {
    applier.look_after(vec!["bundle/app".to_owned()]).await.again.into_values().next()
}

fn drift(applier: &Applier) -> Vec<Drift> {
    applier.states().remove(0).drift
}

/// Path below the root, what, and whether it was corrected.
fn told(lab: &Lab, applier: &Applier) -> Vec<(String, String, bool)> {
    let below = |path: &str| path.strip_prefix(&format!("{}/", lab.root().display())).unwrap().to_owned();
    drift(applier).into_iter().map(|one| (below(&one.path), one.what, one.corrected)).collect()
}

#[tokio::test]
async fn what_differs_is_told_as_long_as_it_does_and_nothing_is_written() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let mut content = lab.bundle(&[("a", "one\ntwo\n"), ("b", "b"), ("c", "c")]);
    content.files.extend([lab.absent("d"), lab.folder("e", 0o750)]);
    applier.apply(offer(1, &content)).await;
    assert!(look(&mut applier).await.is_none() && drift(&applier).is_empty());
    fs::write(lab.file("a"), "one\n2\n").unwrap();
    fs::set_permissions(lab.file("a"), fs::Permissions::from_mode(0o664)).unwrap();
    fs::remove_file(lab.file("b")).unwrap();
    symlink("/dev/null", lab.file("b")).unwrap();
    fs::remove_file(lab.file("c")).unwrap();
    fs::write(lab.file("d"), "x").unwrap();
    fs::set_permissions(lab.file("e"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(look(&mut applier).await.is_none());
    let what: Vec<(String, String)> = told(&lab, &applier)
        .into_iter()
        .map(|(path, what, corrected)| {
            assert!(!corrected);
            (path, what)
        })
        .collect();
    let b = format!("{} is there and is not a regular file", lab.file("b").display());
    let expected = [
        ("e", "mode 0755 instead of 0750"),
        ("a", "content, mode 0664 instead of 0644"),
        ("b", &b),
        ("c", "it is missing"),
        ("d", "it is there"),
    ];
    assert_eq!(what, expected.map(|(path, what)| (path.to_owned(), what.to_owned())));
    let a = drift(&applier).remove(1);
    assert_eq!((a.before, a.after), (Some(Sha256::of(b"one\ntwo\n")), Some(Sha256::of(b"one\n2\n"))));
    assert_eq!(a.diff, "--- bundle\n+++ host\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n");
    assert_eq!((a.noticed_at, lab.read("a").as_deref()), (UnixMillis(1), Some("one\n2\n")));
    // Another process knows it, since when it is so, and sees when it is over.
    drop(applier);
    let mut again = lab.open().await;
    again.base.clock.advance(Duration::from_secs(5));
    look(&mut again).await;
    assert_eq!(drift(&again)[1], a);
    fs::write(lab.file("a"), "one\ntwo\n").unwrap();
    fs::set_permissions(lab.file("a"), fs::Permissions::from_mode(0o644)).unwrap();
    look(&mut again).await;
    assert_eq!(drift(&again).len(), 4);
    fs::remove_file(lab.file("b")).unwrap(); // a link is nothing that a version may replace
    let next = again.apply(offer(2, &lab.bundle(&[("a", "next")]))).await;
    assert!(next.drift.is_empty(), "a version that was just brought has not drifted");
}

#[tokio::test]
async fn an_owner_that_is_named_is_looked_at_and_a_closed_file_is_not_quoted() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let mut content = lab.bundle(&[("a", "a"), ("b", "b")]);
    content.files[0].owner = "4711".to_owned();
    content.files[1].mode = 0o640;
    applier.apply(offer(1, &content)).await;
    for name in ["a", "b"] {
        std::os::unix::fs::chown(lab.file(name), Some(7), Some(8)).unwrap();
    }
    fs::write(lab.file("b"), "a secret").unwrap();
    look(&mut applier).await;
    let all = drift(&applier);
    assert_eq!((all[0].what.as_str(), all[1].what.as_str()), ("owner 7 instead of 4711", "content"));
    assert!(all[1].diff.is_empty() && all[1].after.is_some());
}

#[tokio::test]
async fn at_most_eight_paths_are_told() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let names: Vec<String> = (0..12).map(|n| format!("f{n:02}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    applier.apply(offer(1, &lab.bundle(&files))).await;
    for name in &names {
        fs::remove_file(lab.file(name)).unwrap();
    }
    look(&mut applier).await;
    assert_eq!(drift(&applier).len(), 8);
}

#[tokio::test(start_paused = true)]
async fn drift_is_corrected_at_once_three_times_and_then_once_a_minute() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let content = lab.correcting(&[("a", "ours\n"), ("b", "b")]);
    applier.apply(offer(1, &content)).await;
    for time in 1..=3 {
        fs::write(lab.file("a"), "theirs\n").unwrap();
        assert!(look(&mut applier).await.is_none());
        assert_eq!(lab.read("a").as_deref(), Some("ours\n"), "{time}");
        assert_eq!(told(&lab, &applier), [("a".to_owned(), "content".to_owned(), true)]);
    }
    fs::write(lab.file("a"), "theirs\n").unwrap();
    let due = look(&mut applier).await.expect("it waits");
    let now = applier.base.clock.monotonic();
    assert!(due > now && due <= now + WAIT);
    assert_eq!((lab.read("a").as_deref(), drift(&applier)[0].corrected), (Some("theirs\n"), false));
    tokio::time::sleep_until(due).await;
    assert!(look(&mut applier).await.is_none());
    assert_eq!((lab.read("a").as_deref(), drift(&applier)[0].corrected), (Some("ours\n"), true));
    assert!(lab.litter().is_empty() && applier.states()[0].outcome == Outcome::Applied);
    // A version that comes now has no memory of it, and the originals are still what was there before.
    applier.apply(offer(2, &content)).await;
    assert!(applier.remove(removal(3)).await.is_none());
    assert_eq!((lab.read("a"), lab.read("b")), (None, None));
}

#[tokio::test]
async fn everything_that_can_differ_is_corrected() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let log = lab.folder.path().join("log");
    let mut content = lab.correcting(&[("deep/a", "a"), ("b", "b")]);
    content.on_change = sh(&format!("echo told >> {}", log.display()));
    content.files[1].owner = "4711".to_owned();
    content.files.extend([lab.absent("d"), lab.folder("deep", 0o750)]);
    applier.apply(offer(1, &content)).await;
    fs::remove_dir_all(lab.file("deep")).unwrap();
    std::os::unix::fs::chown(lab.file("b"), Some(7), None).unwrap();
    fs::write(lab.file("d"), "theirs").unwrap();
    assert!(look(&mut applier).await.is_none());
    assert!(told(&lab, &applier).iter().all(|(.., corrected)| *corrected), "{:?}", drift(&applier));
    assert_eq!((lab.read("deep/a").as_deref(), lab.read("d")), (Some("a"), None));
    assert_eq!(fs::read_to_string(&log).unwrap(), "told\n".repeat(2), "services hear of it");
    look(&mut applier).await;
    assert_eq!(drift(&applier).len(), 4, "what was corrected is told until another version comes");
    assert!(applier.remove(removal(2)).await.is_none());
    assert_eq!(lab.read("d").as_deref(), Some("theirs"), "what was found is not lost");
    assert!(!lab.file("deep").exists());
}

#[tokio::test]
async fn a_correction_that_a_hook_refuses_is_undone_told_and_tried_again_later() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let flag = lab.folder.path().join("flag");
    let content = types::BundleContent {
        probe: sh(&format!("test ! -e {}", flag.display())),
        ..lab.correcting(&[("a", "ours")])
    };
    applier.apply(offer(1, &content)).await;
    fs::write(&flag, "").unwrap();
    fs::write(lab.file("a"), "theirs").unwrap();
    assert!(look(&mut applier).await.is_some(), "it is tried again");
    let one = drift(&applier).remove(0);
    assert!(!one.corrected && one.error.starts_with("PROBE_FAILED: /bin/sh ended"), "{one:?}");
    assert_eq!((lab.read("a").as_deref(), applier.states()[0].error.is_none()), (Some("theirs"), true));
    fs::remove_file(&flag).unwrap();
    assert!(look(&mut applier).await.is_none());
    let one = drift(&applier).remove(0);
    assert!(one.corrected && one.error.is_empty() && lab.read("a").as_deref() == Some("ours"));
}

#[tokio::test]
async fn a_correction_that_a_crash_cuts_off_is_undone_and_begun_again() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let content = lab.correcting(&[("a", "ours"), ("b", "ours")]);
    applier.apply(offer(1, &content)).await;
    for (number, name) in [(1, "a"), (2, "b")] {
        fs::write(lab.file(name), "theirs").unwrap();
        let record = applier.record("bundle/app").unwrap();
        let bundle = Bundle::decode(&content.encode_to_vec()).unwrap();
        let version = record.state.running.clone().unwrap();
        let of = ("bundle/app", &version);
        let rules = lab.locks().current();
        let mut attempt = Attempt::bring(&applier.base, of, &bundle, Some(&record), &rules).unwrap();
        attempt.journal.correction = Some(number);
        attempt.stage().unwrap();
        attempt.swap().unwrap();
        drop(applier);
        applier = lab.open().await;
        assert_eq!(lab.read(name).as_deref(), Some("theirs"), "as it was before the correction");
        assert!(look(&mut applier).await.is_none());
        assert_eq!((lab.read(name).as_deref(), lab.litter()), (Some("ours"), Vec::new()));
    }
}

#[tokio::test]
async fn an_audited_bundle_writes_nothing_and_runs_nothing() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    fs::write(lab.file("a"), "theirs").unwrap();
    let mut content = types::BundleContent { probe: sh("false"), ..lab.bundle(&[("a", "ours"), ("b", "b")]) };
    content.set_mode(types::BundleMode::Audit);
    lab.rules(false);
    let state = applier.apply(offer(1, &content)).await;
    assert_eq!((verdict(&state), running(&state)), ((Outcome::Unchanged, None, None), Some(1)));
    let what = |applier: &Applier| {
        told(&lab, applier).into_iter().map(|(path, what, _)| (path, what)).collect::<Vec<_>>()
    };
    let of = |path: &str, what: &str| (path.to_owned(), what.to_owned());
    assert_eq!(what(&applier), [of("a", "content"), of("b", "it is missing")]);
    fs::write(lab.file("a"), "ours").unwrap();
    drop(applier);
    let mut applier = lab.open().await;
    look(&mut applier).await;
    assert_eq!(what(&applier), [of("b", "it is missing")]);
    let other = named("bundle/other", 2, lab.bundle(&[("b", "b")]).encode_to_vec());
    assert_eq!(applier.apply(other).await.outcome, Outcome::Applied, "it takes no path");
    look(&mut applier).await;
    assert!(drift(&applier).is_empty());
    assert!(applier.remove(removal(3)).await.is_none());
    assert_eq!((lab.read("a").as_deref(), lab.read("b").as_deref()), (Some("ours"), Some("b")));
}

#[tokio::test]
async fn an_audit_leaves_what_an_earlier_version_wrote_and_a_later_one_puts_it_back() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    fs::write(lab.file("a"), "of before").unwrap();
    applier.apply(offer(1, &lab.bundle(&[("a", "one")]))).await;
    let mut audit = lab.bundle(&[("a", "two")]);
    audit.set_mode(types::BundleMode::Audit);
    let state = applier.apply(offer(2, &audit)).await;
    assert_eq!((state.drift.len(), lab.read("a").as_deref()), (1, Some("one")));
    applier.apply(offer(3, &lab.bundle(&[("a", "three")]))).await;
    assert_eq!(lab.read("a").as_deref(), Some("three"));
    assert!(applier.remove(removal(4)).await.is_none());
    assert_eq!(lab.read("a").as_deref(), Some("of before"));
}

/// Runs a task beside some steps.
async fn beside(task: Task, steps: impl Future<Output = ()>) {
    tokio::select! {
        () = task.run(Drain::default()) => panic!("it works until it is told to end"),
        done = tokio::time::timeout(LONG, steps) => done.expect("in time"),
    }
}

async fn until(handle: &Handle, is: impl Fn(&Drift) -> bool) {
    let mut states = handle.states();
    let found = |states: &Arc<Vec<ItemState>>| states.iter().flat_map(|state| &state.drift).any(&is);
    states.wait_for(found).await.unwrap();
}

#[tokio::test]
async fn the_kernel_tells_and_the_task_corrects_or_tells() {
    let lab = Lab::new();
    let (handle, task) = Task::new(lab.open().await);
    let monitored = named("bundle/two", 2, lab.bundle(&[("deep/b", "ours")]).encode_to_vec());
    handle.desire(vec![offer(1, &lab.correcting(&[("a", "ours")])), monitored], vec![]);
    let steps = async {
        let mut states = handle.states();
        let both = |states: &Arc<Vec<ItemState>>| {
            states.iter().filter(|state| running(state).is_some()).count() == 2
        };
        states.wait_for(both).await.unwrap();
        fs::write(lab.file("a"), "theirs").unwrap();
        until(&handle, |one| one.path.ends_with("/a") && one.corrected).await;
        assert_eq!(lab.read("a").as_deref(), Some("ours"));
        fs::remove_dir_all(lab.file("deep")).unwrap();
        until(&handle, |one| one.path.ends_with("/b") && one.what == "it is missing").await;
        fs::create_dir(lab.file("deep")).unwrap();
        fs::write(lab.file("deep/b"), "ours").unwrap();
        let mut states = handle.states();
        states
            .wait_for(|states| states.iter().all(|state| state.drift.iter().all(|one| one.corrected)))
            .await
            .unwrap();
    };
    beside(task, steps).await;
}

#[tokio::test]
async fn what_drifted_while_no_agent_ran_and_what_the_kernel_does_not_tell_is_found_by_the_sweep() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(offer(1, &lab.correcting(&[("a", "ours")]))).await;
    drop(applier);
    fs::write(lab.file("a"), "theirs").unwrap();
    let (handle, task) = Task::new(lab.open().await);
    let (interval, told) = tokio::sync::watch::channel(Duration::from_secs(3600));
    let steps = async {
        until(&handle, |one| one.corrected).await;
        // A hard link elsewhere: the kernel says nothing of it in this folder.
        let elsewhere = lab.folder.path().join("elsewhere");
        fs::hard_link(lab.file("a"), &elsewhere).unwrap();
        let mut states = handle.states();
        states.mark_unchanged();
        fs::write(&elsewhere, "others").unwrap();
        interval.send_replace(Duration::from_millis(50));
        states.changed().await.unwrap();
        until(&handle, |one| one.corrected).await;
        assert_eq!(lab.read("a").as_deref(), Some("ours"));
    };
    beside(task.sweeping(told), steps).await;
}
