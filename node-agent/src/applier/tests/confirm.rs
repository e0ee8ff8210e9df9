//! Changes that are kept only if the control plane is still reached with them.

use std::time::Duration;

use muster_common::drain::Drain;

use super::*;

/// Longest wait for what takes a second or a few.
const LONG: Duration = Duration::from_secs(30);

/// A bundle that is confirmed, with a hook that writes down whenever it is run.
fn confirmed(lab: &Lab, text: &str) -> types::BundleContent {
    types::BundleContent { confirm_after_s: 5, ..lab.bundle(&[("a", text)]) }
}

/// Plays the session: each wish for one is granted, or not, as `grants` says of the host.
async fn session(lab: &Lab, grants: impl Fn() -> bool) {
    let mut asked = lab.line.asked().number;
    loop {
        lab.line.asked_after(asked).await;
        asked = lab.line.asked().number;
        lab.line.closed();
        if grants() {
            lab.line.opened(asked);
        }
    }
}

/// What becomes of an offer while sessions are granted as told. Time passes by itself:
/// no hook may run.
async fn applied(lab: &Lab, applier: &mut Applier, offer: Offer, grants: impl Fn() -> bool) -> ItemState {
    tokio::select! {
        state = applier.apply(offer) => state,
        () = session(lab, grants) => unreachable!("it goes on for ever"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_kept_when_a_new_session_opens_with_it_in_place() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    lab.line.opened(0);
    let in_place = || lab.read("a").as_deref() == Some("new");
    let state = applied(&lab, &mut applier, offer(1, &confirmed(&lab, "new")), in_place).await;
    assert_eq!((verdict(&state), lab.read("a").as_deref()), ((Outcome::Applied, None, None), Some("new")));
    assert_eq!((lab.line.asked().number, lab.line.asked().longest_wait), (1, None), "it was asked once");
    assert!(lab.litter().is_empty() && !lab.state().join("journal.json").exists());
}

#[tokio::test(start_paused = true)]
async fn what_cuts_the_host_off_is_undone_and_settled_against_the_version() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(offer(1, &lab.bundle(&[("a", "old")]))).await;
    lab.line.opened(0);
    let cuts_off = || lab.read("a").as_deref() != Some("new");
    let next = offer(2, &confirmed(&lab, "new"));
    let state = applied(&lab, &mut applier, next.clone(), cuts_off).await;
    assert_eq!(verdict(&state), (Outcome::RolledBack, Some(Reason::NotConfirmed), Some(Cause::Content)));
    assert_eq!((running(&state), lab.read("a").as_deref()), (Some(1), Some("old")));
    assert!(state.error.as_ref().unwrap().message.ends_with("as soon as they were undone"));
    assert_eq!(applier.apply(next).await, state, "it is not tried again");
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_stays_away_says_nothing_of_the_change_and_it_is_tried_again() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    lab.line.opened(0);
    let next = offer(1, &confirmed(&lab, "new"));
    let state = applied(&lab, &mut applier, next.clone(), || false).await;
    assert_eq!(verdict(&state), (Outcome::RolledBack, Some(Reason::NotConfirmed), Some(Cause::Network)));
    assert_eq!((lab.line.asked().number, lab.read("a")), (2, None));
    // Offered again without a session: nothing is begun.
    let state = applied(&lab, &mut applier, next, || true).await;
    assert_eq!(verdict(&state), (Outcome::Rejected, Some(Reason::NotConfirmed), Some(Cause::Network)));
    assert_eq!((lab.line.asked().number, lab.read("a")), (2, None));
    assert!(lab.litter().is_empty());
}

#[tokio::test]
async fn an_answer_that_comes_too_late_says_nothing_of_the_change() {
    let lab = Lab::new();
    let applier = lab.open().await;
    let asked = lab.line.ask(Duration::from_secs(1));
    lab.line.opened(asked); // while it was undone
    let failure = Failure::rejected(Reason::NotConfirmed, Cause::Network, "x").rolled_back();
    let failure = applier.blame(failure, asked).await;
    assert_eq!(failure.error.cause, Cause::Network);
    assert_eq!(lab.line.asked().number, asked, "nothing more is asked");
}

#[tokio::test]
async fn services_hear_of_the_return() {
    let lab = Lab::new();
    let log = lab.folder.path().join("log");
    let mut applier = lab.open().await;
    let told = |text: &str| types::BundleContent {
        on_change: sh(&format!("cat {} >> {}", lab.file("a").display(), log.display())),
        ..confirmed(&lab, text)
    };
    lab.line.opened(0);
    applied(&lab, &mut applier, offer(1, &told("old\n")), || true).await;
    let cuts_off = || lab.read("a").as_deref() != Some("new\n");
    let state = applied(&lab, &mut applier, offer(2, &told("new\n")), cuts_off).await;
    assert_eq!(verdict(&state).2, Some(Cause::Content));
    assert_eq!(fs::read_to_string(&log).unwrap(), "old\nnew\nold\n");
}

#[tokio::test]
async fn what_waits_for_a_session_is_begun_when_there_is_one() {
    let lab = Lab::new();
    let (handle, task) = Task::new(lab.open().await);
    handle.desire(vec![offer(1, &confirmed(&lab, "new"))], vec![]);
    let mut states = handle.states();
    let story = async {
        let waits = |states: &Arc<Vec<ItemState>>| states.iter().any(|state| state.error.is_some());
        let waits = states.wait_for(waits).await.unwrap()[0].clone();
        assert_eq!(verdict(&waits), (Outcome::Rejected, Some(Reason::NotConfirmed), Some(Cause::Network)));
        assert_eq!((lab.read("a"), lab.line.asked().number), (None, 0));
        lab.line.opened(0);
        lab.line.asked_after(0).await;
        lab.line.opened(1);
        states.wait_for(|states| running(&states[0]) == Some(1)).await.unwrap()[0].clone()
    };
    let state = tokio::select! {
        () = task.run(Drain::default()) => panic!("it works until it is told to end"),
        state = tokio::time::timeout(LONG, story) => state.expect("in time"),
    };
    assert_eq!((verdict(&state), lab.read("a").as_deref()), ((Outcome::Applied, None, None), Some("new")));
}

#[tokio::test(start_paused = true)]
async fn what_changes_nothing_a_correction_and_a_removal_ask_for_no_session() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    lab.line.opened(0);
    let mut content = confirmed(&lab, "new");
    content.set_mode(types::BundleMode::ApplyAndCorrect);
    applied(&lab, &mut applier, offer(1, &content), || true).await;
    assert_eq!(lab.line.asked().number, 1);
    lab.line.closed();
    let same = types::BundleContent { confirm_after_s: 6, ..content };
    assert_eq!(applier.apply(offer(2, &same)).await.outcome, Outcome::Unchanged);
    fs::write(lab.file("a"), "theirs").unwrap();
    let after = applier.look_after(vec!["bundle/app".to_owned()]).await;
    assert!(after.again.is_empty() && after.wants.is_empty());
    assert_eq!(lab.read("a").as_deref(), Some("new"), "it is corrected also where nobody is reached");
    assert!(applier.remove(removal(3)).await.is_none());
    assert_eq!((lab.read("a"), lab.line.asked().number), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_while_it_waits_has_written_that_down_and_the_next_one_undoes() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(offer(1, &lab.bundle(&[("a", "old")]))).await;
    lab.line.opened(0);
    let next = offer(2, &confirmed(&lab, "new"));
    tokio::select! {
        state = applier.apply(next) => panic!("nobody confirms: {state:?}"),
        () = lab.line.asked_after(0) => {}
    }
    assert_eq!(lab.read("a").as_deref(), Some("new"));
    let journal = journal::Journal::load(&lab.state(), UnixMillis(1)).unwrap().unwrap();
    assert_eq!(journal.confirm_until, Some(UnixMillis(5001)));
    drop(applier);
    let applier = lab.open().await;
    assert_eq!((running(&applier.states()[0]), lab.read("a").as_deref()), (Some(1), Some("old")));
    assert!(lab.litter().is_empty() && !lab.state().join("journal.json").exists());
}

#[tokio::test]
async fn a_time_that_is_too_short_or_too_long_is_refused() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    lab.line.opened(0);
    for (number, seconds) in (1..).zip([1, 4, 3601, u32::MAX]) {
        let content = types::BundleContent { confirm_after_s: seconds, ..lab.bundle(&[("a", "x")]) };
        assert_eq!(verdict(&applier.apply(offer(number, &content)).await).1, Some(Reason::PayloadInvalid));
    }
}
