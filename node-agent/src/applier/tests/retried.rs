//! What fails for the host's own reasons is told, and tried again.

use std::time::Duration;

use muster_common::drain::Drain;

use super::*;

/// Longest wait for something that takes a second or a few.
const LONG: Duration = Duration::from_secs(30);

/// Runs a task until the states are as wanted.
async fn until(handle: &Handle, task: Task, wanted: impl Fn(&[ItemState]) -> bool) -> Vec<ItemState> {
    let mut states = handle.states();
    let found = tokio::time::timeout(LONG, states.wait_for(|states| wanted(states)));
    tokio::select! {
        () = task.run(Drain::default()) => panic!("it works until it is told to end"),
        found = found => found.expect("in time").unwrap().to_vec(),
    }
}

fn runs(states: &[ItemState], item: &str, number: u64) -> bool {
    states.iter().any(|state| state.item == item && running(state) == Some(number))
}

#[tokio::test]
async fn a_file_moves_from_one_bundle_to_another_whatever_their_names() {
    for (from, to) in [("bundle/a", "bundle/z"), ("bundle/z", "bundle/a")] {
        for taken_away in [false, true] {
            let lab = Lab::new();
            let mut applier = lab.open().await;
            let both = lab.bundle(&[("moves", "old"), ("stays", "x")]).encode_to_vec();
            applier.apply(named(from, 1, both)).await;
            let (handle, task) = Task::new(applier);
            let arrives = named(to, 2, lab.bundle(&[("moves", "new")]).encode_to_vec());
            if taken_away {
                let (generation, traceparent) = (Generation::new(1, 2), String::new());
                let gone = Removal { item: from.to_owned(), generation, traceparent };
                handle.desire(vec![arrives], vec![gone]);
            } else {
                let left = named(from, 2, lab.bundle(&[("stays", "x")]).encode_to_vec());
                handle.desire(vec![arrives, left], vec![]);
            }
            let calm = |states: &[ItemState]| {
                assert!(states.iter().all(|state| state.error.is_none()), "nothing is refused on the way");
                runs(states, to, 2)
            };
            until(&handle, task, calm).await;
            assert_eq!(lab.read("moves").as_deref(), Some("new"), "{from} to {to}");
        }
    }
}

#[tokio::test]
async fn a_file_of_another_bundle_is_waited_for_and_that_is_not_written_as_tried() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(named("bundle/has", 1, lab.bundle(&[("a", "x"), ("b", "x")]).encode_to_vec())).await;
    let wants = named("bundle/wants", 2, lab.bundle(&[("a", "y")]).encode_to_vec());
    let told = applier.apply(wants.clone()).await;
    assert_eq!(told.error.as_ref().unwrap().reason, Reason::PathTaken);
    assert!(told.error.as_ref().unwrap().message.contains("bundle/has"));
    assert!(applier.states().contains(&told), "it is told");
    drop(applier);
    let applier = lab.open().await;
    assert_eq!(applier.states().len(), 1, "and not written down");
    let (handle, task) = Task::new(applier);
    handle.desire(vec![wants], vec![]);
    let let_go = named("bundle/has", 3, lab.bundle(&[("b", "x")]).encode_to_vec());
    let later = async {
        let mut states = handle.states();
        states.wait_for(|states| states.len() == 2).await.unwrap();
        handle.desire(vec![let_go], vec![]);
    };
    let (states, ()) = tokio::join!(until(&handle, task, |states| runs(states, "bundle/wants", 2)), later);
    assert!(states.iter().all(|state| state.error.is_none()));
}

#[tokio::test]
async fn what_the_lock_file_forbade_is_applied_when_it_allows_it() {
    let lab = Lab::new();
    lab.rules(false);
    let hooked = types::BundleContent { probe: sh("true"), ..lab.bundle(&[("a", "x")]) };
    let (handle, task) = Task::new(lab.open().await);
    handle.desire(vec![offer(1, &hooked)], vec![]);
    let allow = async {
        let mut states = handle.states();
        states.wait_for(|states| states.iter().any(|state| state.error.is_some())).await.unwrap();
        lab.rules(true);
    };
    let (states, ()) = tokio::join!(until(&handle, task, |states| runs(states, "bundle/app", 1)), allow);
    assert_eq!(verdict(&states[0]), (Outcome::Applied, None, None));
}

#[tokio::test]
async fn what_failed_for_the_hosts_sake_is_taken_again_and_what_failed_for_its_own_is_not() {
    let lab = Lab::new();
    lab.rules(false);
    let mut applier = lab.open().await;
    let hooked = offer(1, &types::BundleContent { probe: sh("true"), ..lab.bundle(&[("a", "x")]) });
    let denied = applier.apply(hooked.clone()).await;
    assert_eq!(verdict(&denied).1, Some(Reason::HookDenied));
    assert_eq!(applier.apply(hooked.clone()).await, denied);
    lab.rules(true);
    assert_eq!(applier.apply(hooked).await.outcome, Outcome::Applied);
    let bad = offer(2, &types::BundleContent { probe: sh("false"), ..lab.bundle(&[("a", "y")]) });
    let refused = applier.apply(bad.clone()).await;
    assert_eq!(applier.apply(bad).await, refused);
}

#[tokio::test]
async fn a_generation_with_two_contents_is_told() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(offer(1, &lab.bundle(&[("a", "one")]))).await;
    let conflict = applier.apply(offer(1, &lab.bundle(&[("a", "two")]))).await;
    assert_eq!(conflict.error.as_ref().unwrap().reason, Reason::GenerationConflict);
    assert_eq!(applier.states(), [conflict]);
    let next = applier.apply(offer(2, &lab.bundle(&[("a", "two")]))).await;
    assert_eq!(applier.states(), [next]);
}

#[tokio::test]
async fn a_full_disk_under_the_state_is_told_and_what_waits_is_written_when_there_is_room() {
    let lab = Lab::new();
    let _disk = SmallDisk::mount(lab.state(), "128k");
    let mut applier = lab.open().await;
    applier.apply(offer(1, &lab.bundle(&[("a", "one")]))).await;
    let filler = lab.state().join("filler");
    let fill = || {
        let mut file = fs::File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 512]).is_ok() {}
    };
    fill();
    let next = offer(2, &lab.bundle(&[("a", "two")]));
    let state = applier.apply(next.clone()).await;
    assert_eq!(verdict(&state), (Outcome::Rejected, Some(Reason::DiskFull), Some(Cause::Host)));
    assert_eq!(applier.states(), std::slice::from_ref(&state), "it is told though it could not be written");
    assert_eq!((lab.read("a").as_deref(), applier.has_unsaved()), (Some("one"), true));
    applier.save_unsaved().await;
    assert!(applier.has_unsaved());
    fs::remove_file(&filler).unwrap();
    applier.save_unsaved().await;
    assert!(!applier.has_unsaved());
    assert_eq!(records::read(&lab.state(), "bundle/app").unwrap().state, state);
    fill();
    let (handle, task) = Task::new(applier);
    handle.desire(vec![next], vec![]);
    let make_room = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        fs::remove_file(&filler).unwrap();
    };
    let (states, ()) = tokio::join!(until(&handle, task, |states| runs(states, "bundle/app", 2)), make_room);
    assert_eq!(states[0].outcome, Outcome::Applied);
}
