//! What crashes, damage and forbidden hooks leave behind, and what becomes of it.

use super::*;

/// A bundle whose `on_change` adds a line to a log.
fn logging(lab: &Lab, content: &str) -> types::BundleContent {
    let log = lab.folder.path().join("log");
    types::BundleContent {
        on_change: sh(&format!("echo {content} >> {}", log.display())),
        ..lab.bundle(&[("a", content)])
    }
}

fn log(lab: &Lab) -> String {
    fs::read_to_string(lab.folder.path().join("log")).unwrap_or_default()
}

#[tokio::test]
async fn a_hook_that_was_allowed_once_is_not_run_when_hooks_are_forbidden() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(offer(1, &logging(&lab, "one"))).await;
    assert_eq!(log(&lab), "one\n");
    lab.rules(false);
    let state = applier.remove(removal(2)).await.unwrap();
    assert_eq!(verdict(&state), (Outcome::Rejected, Some(Reason::HookDenied), Some(Cause::Host)));
    assert_eq!((lab.read("a").as_deref(), log(&lab).as_str()), (Some("one"), "one\n"));
    lab.cut_off(&applier, &offer(3, &lab.bundle(&[("a", "two")])), Cut::Swapped);
    drop(applier);
    let mut applier = lab.open().await;
    assert_eq!(lab.read("a").as_deref(), Some("one"), "the files return all the same");
    assert_eq!(log(&lab), "one\n");
    lab.rules(true);
    assert!(applier.remove(removal(4)).await.is_none());
    assert_eq!(log(&lab), "one\none\n");
}

#[tokio::test]
async fn a_removal_that_was_refused_is_not_tried_again_at_the_same_generation() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let once = lab.folder.path().join("once");
    let script = format!("echo x >> {0}; test $(wc -l < {0}) = 1", once.display());
    let content = types::BundleContent { on_change: sh(&script), ..lab.bundle(&[("a", "one")]) };
    applier.apply(offer(1, &content)).await;
    let refused = applier.remove(removal(2)).await.unwrap();
    assert_eq!(refused.error.as_ref().unwrap().cause, Cause::Content);
    assert_eq!((lab.read("a").as_deref(), running(&refused)), (Some("one"), Some(1)));
    let runs = fs::read_to_string(&once).unwrap();
    assert_eq!(applier.remove(removal(2)).await, Some(refused));
    assert_eq!(fs::read_to_string(&once).unwrap(), runs, "no hook was run");
    fs::remove_file(&once).unwrap();
    assert!(applier.remove(removal(3)).await.is_none());
}

#[tokio::test]
async fn a_file_kept_by_an_older_attempt_never_comes_back() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(offer(1, &lab.bundle(&[("a", "now")]))).await;
    let next = offer(2, &lab.bundle(&[("a", "next")]));
    let bundle = Bundle::decode(&next.payload).unwrap();
    let former = applier.record("bundle/app");
    let attempt = Attempt::bring(
        &applier.base,
        (&next.item, &next.version),
        &bundle,
        former.as_ref(),
        &lab.locks().current(),
    );
    // The journal is written, nothing is staged; a loss of power has brought back the name of before.
    attempt.unwrap().journal.save(&lab.state()).unwrap();
    let place = crate::platform::place::Place::make(&lab.root(), &lab.file("a")).unwrap();
    fs::write(lab.file("a"), "ancient").unwrap();
    place.keep().unwrap();
    fs::remove_file(lab.file("a")).unwrap();
    fs::write(lab.file("a"), "now").unwrap();
    drop(applier);
    lab.open().await;
    assert_eq!(lab.read("a").as_deref(), Some("now"));
    assert_eq!(lab.litter(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_cut_off_again_and_again_is_given_up() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(offer(1, &lab.bundle(&[("a", "one")]))).await;
    let next = offer(2, &lab.bundle(&[("a", "two")]));
    for time in 1..=cut_offs::LIMIT {
        lab.cut_off(&applier, &next, Cut::Swapped);
        drop(applier);
        applier = lab.open().await;
        let attempted = applier.states()[0].attempted.clone().unwrap().generation.number;
        assert_eq!(attempted == 2, time == cut_offs::LIMIT, "after {time} times");
    }
    let state = applier.states().remove(0);
    assert_eq!(verdict(&state), (Outcome::RolledBack, Some(Reason::CutOff), Some(Cause::Content)));
    assert_eq!((running(&state), lab.read("a").as_deref()), (Some(1), Some("one")));
    assert_eq!(applier.apply(next).await, state, "it is not tried again");
    let again = applier.apply(offer(3, &lab.bundle(&[("a", "two")]))).await;
    assert_eq!(again.outcome, Outcome::Applied, "a new generation is a new try");
}

#[tokio::test]
async fn opening_runs_no_hook_and_the_task_undoes_before_it_works() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(offer(1, &logging(&lab, "one"))).await;
    lab.cut_off(&applier, &offer(2, &lab.bundle(&[("a", "two")])), Cut::Swapped);
    drop(applier);
    let opened = lab.opened().await;
    assert_eq!((lab.read("a").as_deref(), log(&lab).as_str()), (Some("two"), "one\n"));
    let (handle, task) = Task::new(opened);
    handle.desire(vec![offer(3, &lab.bundle(&[("b", "three")]))], vec![]);
    let drain = muster_common::drain::Drain::default();
    let mut states = handle.states();
    let three = states.wait_for(|states| states.first().is_some_and(|state| running(state) == Some(3)));
    tokio::select! {
        () = task.run(drain.clone()) => panic!("it works until it is told to end"),
        three = three => drop(three.unwrap()),
    }
    assert_eq!((lab.read("a"), lab.read("b").as_deref()), (None, Some("three")));
    assert_eq!(log(&lab), "one\none\n", "services heard of the return");
}

#[tokio::test]
async fn what_an_agent_of_the_past_left_is_undone_before_it_is_forgotten() {
    let lab = Lab::new();
    settle(lab.options()).await.unwrap();
    assert!(!lab.state().exists(), "where nothing is, nothing is made");
    let applier = lab.open().await;
    fs::write(lab.file("a"), "of before").unwrap();
    lab.cut_off(&applier, &offer(1, &lab.bundle(&[("a", "one"), ("b", "one")])), Cut::Swapping(1));
    drop(applier);
    settle(lab.options()).await.unwrap();
    assert_eq!((lab.read("a").as_deref(), lab.read("b")), (Some("of before"), None));
    assert!(lab.litter().is_empty() && !lab.state().join("journal.json").exists());
}

#[tokio::test]
async fn an_applier_waits_for_the_work_of_the_one_before() {
    let lab = Lab::new();
    let applier = lab.open().await;
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
    let done = lab.folder.path().join("done");
    let mark = done.clone();
    let base = applier.base.clone();
    let work = base.blocking(move || {
        wait.recv().unwrap();
        fs::write(mark, "").unwrap();
    });
    // Begun, and then nobody waits for it any more: what the end of a task does.
    assert!(tokio::time::timeout(std::time::Duration::ZERO, work).await.is_err());
    drop((applier, base));
    let mut next = std::pin::pin!(lab.opened());
    let soon = std::time::Duration::from_millis(100);
    assert!(tokio::time::timeout(soon, &mut next).await.is_err(), "it waits");
    go.send(()).unwrap();
    next.await;
    assert!(done.exists());
}

#[tokio::test]
async fn what_is_damaged_is_set_aside_and_the_rest_goes_on() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(offer(1, &lab.bundle(&[("a", "one")]))).await;
    applier.apply(named("bundle/other", 2, lab.bundle(&[("b", "two")]).encode_to_vec())).await;
    drop(applier);
    let records = lab.state().join("records");
    fs::write(records.join("bundle+app.json"), "{\"state\":").unwrap();
    fs::write(lab.state().join("journal.json"), "x").unwrap();
    let mut applier = lab.open().await;
    let left: Vec<String> = applier.states().into_iter().map(|state| state.item).collect();
    assert_eq!(left, ["bundle/other"]);
    assert!(records.join("bundle+app.json.damaged-1").exists());
    assert!(lab.state().join("journal.failed-1.json").exists());
    assert_eq!(applier.apply(offer(3, &lab.bundle(&[("a", "three")]))).await.outcome, Outcome::Applied);
}

#[tokio::test]
async fn a_step_that_cannot_be_undone_does_not_keep_the_others_from_it() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(offer(1, &lab.bundle(&[("a", "one"), ("deep/c", "one")]))).await;
    lab.cut_off(&applier, &offer(2, &lab.bundle(&[("a", "two"), ("deep/c", "two")])), Cut::Swapped);
    drop(applier);
    fs::rename(lab.file("deep"), lab.file("moved")).unwrap();
    symlink(lab.file("moved"), lab.file("deep")).unwrap();
    let mut applier = lab.open().await;
    let state = applier.states().remove(0);
    assert_eq!((state.outcome, state.error.unwrap().reason), (Outcome::Broken, Reason::RollbackFailed));
    assert_eq!(lab.read("a").as_deref(), Some("one"));
    fs::remove_file(lab.file("deep")).unwrap();
    fs::rename(lab.file("moved"), lab.file("deep")).unwrap();
    let healed = applier.apply(offer(3, &lab.bundle(&[("a", "three"), ("deep/c", "three")]))).await;
    assert_eq!(healed.outcome, Outcome::Applied);
    assert_eq!((lab.read("deep/c").as_deref(), lab.litter()), (Some("three"), Vec::new()));
}

#[tokio::test]
async fn no_bundle_writes_where_the_agent_itself_lives() {
    let lab = Lab::new();
    let all = format!("[paths]\nallow = [{:?}]\n", lab.folder.path());
    fs::write(lab.folder.path().join("locks.toml"), all).unwrap();
    symlink(lab.state(), lab.folder.path().join("way")).unwrap();
    let mut applier = lab.open().await;
    for (number, name) in (1..).zip(["../locks.toml", "../state/x", "../way/x"]) {
        let path = lab.folder.path().join(name.strip_prefix("../").unwrap());
        let file = types::BundleFile { path: path.to_str().unwrap().to_owned(), ..Default::default() };
        let content = types::BundleContent { files: vec![file], ..Default::default() };
        let state = applier.apply(offer(number, &content)).await;
        assert_eq!(verdict(&state), (Outcome::Rejected, Some(Reason::PathNotAllowed), Some(Cause::Host)));
        assert!(state.error.unwrap().message.contains("agent itself"), "{name}");
    }
    assert_eq!(applier.apply(offer(9, &lab.bundle(&[("a", "one")]))).await.outcome, Outcome::Applied);
}
