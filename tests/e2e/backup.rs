//! A control plane that comes back from a backup under hosts that know more than it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use muster_proto::{
    admin::v1::{AcceptRestoredRequest, Liveness, Node},
    types::v1::{BundleContent, CommandSpec, CommandState, ErrorReason, RotateIdentity, command_spec::Kind},
};
use muster_tests::{
    agent::{Agent, OPEN},
    eventually::{LONG, eventually},
    operator::{Operator, file, reported, script},
    plane::{Options, Plane},
};

/// To hosts that are labelled with their own names: each writes below its own folder.
async fn give(operator: &Operator, agents: &[(&str, &Agent)], text: &str) {
    for (name, agent) in agents {
        let files = vec![file(&agent.file("app.conf"), text)];
        operator.bundle(name, BundleContent { files, ..Default::default() }).await;
        operator.assign(name, &format!("host={name}"), name).await;
    }
}

async fn until_has(agent: &Agent, text: &str) {
    eventually("the host has it", LONG, || async { (agent.read("app.conf")? == text).then_some(()) }).await;
}

fn is_held(node: &Node) -> bool {
    node.quarantine.as_ref().is_some_and(|it| it.reason == "NewerThanStore")
}

async fn accept(operator: &Operator, validate_only: bool) -> i64 {
    let request = AcceptRestoredRequest {
        selector: "role=web".to_owned(),
        reason: "the bundle of Tuesday is lost".to_owned(),
        validate_only,
    };
    operator.nodes.clone().accept_restored(request).await.unwrap().into_inner().nodes
}

fn backup(plane: &Plane, to: &Path, more: &[&str]) {
    let _ = plane.cli(&[&["backup", to.to_str().unwrap()], more].concat());
    assert_eq!(fs::metadata(to).unwrap().permissions().mode() & 0o777, 0o600);
}

fn refused(plane: &Plane, args: &[&str]) -> String {
    let done = plane.try_cli(args);
    assert!(!done.status.success(), "{args:?}");
    String::from_utf8(done.stderr).unwrap()
}

#[tokio::test]
async fn hosts_that_know_more_than_a_restored_store_are_neither_undone_nor_told_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(folder.path(), &Options::default()).await;
    let mut operator = plane.operator().await;
    let join = plane.join(9, &[("role", "web"), ("host", "web")]).await;
    let of_away = plane.join(1, &[("role", "web"), ("host", "away")]).await;
    let web = Agent::start(folder.path(), "web", &join);
    let mut away = Agent::start(folder.path(), "away", &of_away);
    let other = Agent::start(folder.path(), "other", &plane.join(1, &[("role", "db")]).await);
    for agent in [&web, &away, &other] {
        operator.until_liveness(&agent.node, Liveness::Online).await;
    }
    give(&operator, &[("web", &web), ("away", &away)], "one\n").await;
    until_has(&web, "one\n").await;
    until_has(&away, "one\n").await;
    away.kill();
    let count = web.file("count");
    let once = script(&format!("echo x >> {}", count.display()));
    let order = operator.start("role=web", once).await;
    eventually("the one that is here has run it", LONG, || async { count.exists().then_some(()) }).await;

    let file = folder.path().join("tuesday.tar");
    backup(&plane, &file, &[]);

    // What the backup does not know: a version, an order that went out, a certificate.
    away.run();
    let ran = operator.ended(&order, LONG).await;
    assert!(ran.values().all(|command| command.state() == CommandState::Succeeded), "{ran:?}");
    give(&operator, &[("web", &web), ("away", &away)], "two\n").await;
    until_has(&web, "two\n").await;
    until_has(&away, "two\n").await;
    let serial = |node: &Node| node.certificate.as_ref().map(|it| it.serial.clone());
    let old = serial(&operator.node(&other.node).await.unwrap());
    let rotate = CommandSpec { kind: Some(Kind::RotateIdentity(RotateIdentity {})) };
    let rotated = operator.start("role=db", rotate).await;
    operator.ended(&rotated, LONG).await;
    let new = operator.until("its new certificate", &other.node, |node| serial(node) != old).await;

    assert!(refused(&plane, &["restore", file.to_str().unwrap()]).contains("stop the control plane first"));
    plane.kill();
    assert!(refused(&plane, &["restore", file.to_str().unwrap()]).contains("--replace"));
    let _ = plane.cli(&["restore", "--replace", file.to_str().unwrap()]);
    plane.serve(&[]).await;
    operator = plane.operator().await;

    // The one that was told nothing since is served, by a certificate that the store has lost.
    let back = operator.until_liveness(&other.node, Liveness::Online).await;
    assert!(back.quarantine.is_none() && serial(&back) == serial(&new), "{back:?}");
    for agent in [&web, &away] {
        operator.until("it is held", &agent.node, is_held).await;
    }
    // The order that still waited in the backup did run. It never goes out again.
    let order = operator.ended(&order, LONG).await;
    let of_away = &order[&away.node];
    assert_eq!((of_away.state(), of_away.reason()), (CommandState::Interrupted, ErrorReason::StoreRestored));
    let again = Agent::host(folder.path(), "again", OPEN).try_connect(&join);
    assert!(!again.status.success(), "a token of the backup may have been used up since");

    assert_eq!(accept(&operator, true).await, 2);
    for agent in [&web, &away] {
        assert_eq!(agent.read("app.conf").as_deref(), Some("two\n"), "nothing is undone by itself");
    }
    assert_eq!(accept(&operator, false).await, 2);
    for (name, agent) in [("web", &web), ("away", &away)] {
        until_has(agent, "one\n").await;
        let item = format!("bundle/{name}");
        let is_new = |node: &Node| reported(node, &item)?.running.as_ref().map(|it| it.epoch == 2);
        operator.until("it says so", &agent.node, |node| is_new(node) == Some(true)).await;
    }
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\nx\n");

    // Nobody is held twice for the same.
    plane.kill();
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    for agent in [&web, &away, &other] {
        operator.until_liveness(&agent.node, Liveness::Online).await;
    }
    assert_eq!(accept(&operator, true).await, 0);
}

#[tokio::test]
async fn a_store_that_was_put_back_past_the_restore_is_noticed_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let web = Agent::start(folder.path(), "web", &plane.join(1, &[("host", "web")]).await);
    operator.until_liveness(&web.node, Liveness::Online).await;
    plane.process().signal(rustix::process::Signal::TERM);
    eventually("it has ended", LONG, || std::future::ready(plane.process().has_ended())).await;
    let store = plane.state().join("muster.db");
    let copy = fs::read(&store).unwrap();
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    operator.until_liveness(&web.node, Liveness::Online).await;
    give(&operator, &[("web", &web)], "two\n").await;
    until_has(&web, "two\n").await;
    plane.kill();
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(plane.state().join(format!("muster.db{end}")));
    }
    fs::write(&store, copy).unwrap();
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    operator.until("it is held", &web.node, is_held).await;
    assert_eq!(web.read("app.conf").as_deref(), Some("two\n"));
    // Its numbers would be given again: the store needs another history.
    plane.kill();
    let _ = plane.cli(&["store", "begin-epoch", "--taken-at", "2026-01-31T04:00:00Z"]);
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    give(&operator, &[("web", &web)], "three\n").await;
    operator.until("it is held", &web.node, is_held).await;
    let request = AcceptRestoredRequest { selector: "host=web".to_owned(), ..Default::default() };
    operator.nodes.clone().accept_restored(request).await.unwrap();
    until_has(&web, "three\n").await;
}

#[tokio::test]
async fn a_backup_that_is_not_whole_or_not_ours_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::init(folder.path(), &Options::default());
    let (file, bad) = (folder.path().join("whole.tar"), folder.path().join("bad.tar"));
    backup(&plane, &file, &[]);
    assert!(refused(&plane, &["backup", file.to_str().unwrap()]).contains("exists already"));
    let before = plane.cli(&["audit", "verify"]);
    let whole = fs::read(&file).unwrap();
    let damaged = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let sums = whole.windows(10).rposition(|found| found == b"SHA256SUMS").unwrap();
    let stories = [
        (whole[..whole.len() / 2].to_vec(), "not whole"),
        (whole[..sums].to_vec(), "not whole"),
        (damaged(whole.len() / 2), "not what was put in"),
        (b"something else".to_vec(), "not a backup"),
        (Vec::new(), "not a backup"),
    ];
    for (bytes, says) in stories {
        fs::write(&bad, bytes).unwrap();
        let said = refused(&plane, &["restore", "--replace", bad.to_str().unwrap()]);
        assert!(said.contains(says), "{says}: {said}");
    }
    let low = refused(&plane, &["restore", "--replace", "--epoch", "1", file.to_str().unwrap()]);
    assert!(low.contains("not above 1"), "{low}");
    assert_eq!(plane.cli(&["audit", "verify"]), before);
    assert!(!plane.state().join("restoring").exists());
}

#[tokio::test]
async fn a_restore_that_was_cut_off_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::init(folder.path(), &Options::default());
    let file = folder.path().join("whole.tar");
    backup(&plane, &file, &[]);
    let _ = plane.cli(&["restore", "--replace", file.to_str().unwrap()]);
    let state = plane.state();
    // As a loss of power leaves it: the old one is aside, and not all of the new one has moved.
    fs::create_dir(state.join("moving-in")).unwrap();
    fs::rename(state.join("muster.db"), state.join("moving-in/muster.db")).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(refused(&plane, &["serve"]).contains("a restore did not end"));
    let _ = plane.cli(&["restore", file.to_str().unwrap()]);
    assert!(state.join("muster.db").exists() && !state.join("moving-in").exists());
    // The same before the old one was aside: it goes there, and the new one comes.
    fs::create_dir(state.join("restored")).unwrap();
    fs::write(state.join("restored/new"), "new").unwrap();
    let _ = plane.cli(&["restore", file.to_str().unwrap()]);
    assert!(state.join("new").exists() && !state.join("muster.db").exists());
    let aside =
        fs::read_dir(&state).unwrap().flatten().filter(|entry| entry.path().join("muster.db").exists());
    assert_eq!(aside.count(), 2, "of the restore, and of this one");
}

#[tokio::test]
async fn a_backup_without_keys_needs_them_beside_it_and_a_whole_one_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(folder.path(), &Options::default()).await;
    let (with, without) = (folder.path().join("with.tar"), folder.path().join("without.tar"));
    backup(&plane, &with, &[]);
    backup(&plane, &without, &["--without-keys"]);
    let bytes = fs::read(&without).unwrap();
    assert!(!bytes.windows(11).any(|found| found == b"PRIVATE KEY"), "a key is in it");
    plane.kill();
    let keys = folder.path().join("keys");
    fs::create_dir(&keys).unwrap();
    fs::rename(plane.state().join("ca"), keys.join("ca")).unwrap();
    let said = refused(&plane, &["restore", "--replace", without.to_str().unwrap()]);
    assert!(said.contains("made without keys") && said.contains("ca/"), "{said}");
    fs::rename(keys.join("ca"), plane.state().join("ca")).unwrap();
    let _ = plane.cli(&["restore", "--replace", without.to_str().unwrap()]);
    plane.serve(&[]).await;
    plane.kill();
    // A machine that has nothing but its configuration.
    fs::remove_dir_all(plane.state()).unwrap();
    let _ = plane.cli(&["restore", with.to_str().unwrap()]);
    plane.serve(&[]).await;
    // What it was before, nobody can know: the backup alone says how the histories are counted.
    let operator = plane.operator().await;
    let about = operator.system.clone().get_system(muster_proto::admin::v1::GetSystemRequest {}).await;
    assert_eq!(about.unwrap().into_inner().epoch, 2);
}
