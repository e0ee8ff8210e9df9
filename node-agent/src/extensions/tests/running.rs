use std::fs;

use muster_common::reason::Reason;

use super::bench::{Bench, verdict, version};
use crate::state::Outcome;

const RUN: &str = "[run]\nargv = [\"bin/verb\"]\nmost-restarts = 1\n";
/// A program that lives until its file goes, and says who it is.
const LIVES: &str = "if [ $verb = run ]; then echo $$ > $MUSTER_EXT_STATE/pid; touch $MUSTER_EXT_STATE/alive\n\
    while [ -e $MUSTER_EXT_STATE/alive ]; do sleep 0.05; done; exit 7; fi";

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
}

#[tokio::test]
async fn what_runs_is_started_again_given_up_and_told() {
    let mut bench = Bench::new().await;
    let state = bench.bring(&bench.package("1.0", RUN, LIVES)).await;
    assert_eq!(verdict(&state).0, Outcome::Applied);
    assert!(state.health.unwrap().healthy);
    let alive = bench.home().join("state/alive");
    fs::remove_file(&alive).unwrap();
    let again = |state: Option<&crate::state::ItemState>, healthy: bool, what: &str| {
        let health = state.and_then(|state| state.health.as_ref());
        health.is_some_and(|health| health.healthy == healthy && health.message.contains(what))
    };
    bench.until(|state| again(state, true, "started again")).await;
    while !alive.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    fs::remove_file(&alive).unwrap();
    let state = bench.until(|state| again(state, false, "is not any more")).await.unwrap();
    assert_eq!((verdict(&state).0, version(&state)), (Outcome::Applied, Some("1.0")), "the version stays");
    // Another version begins anew, and what ran is gone before it.
    let state = bench.bring(&bench.package("2.0", RUN, LIVES)).await;
    assert!(state.health.unwrap().healthy);
    let pid = fs::read_to_string(bench.home().join("state/pid")).unwrap();
    assert!(is_alive(&pid));
    bench.remove().await;
    assert!(!is_alive(&pid), "nothing of it runs");
}

#[tokio::test]
async fn a_program_that_ends_at_once_and_one_that_is_not_healthy_are_taken_back() {
    let mut bench = Bench::new().await;
    bench.bring(&bench.package("1.0", RUN, LIVES)).await;
    let pid = fs::read_to_string(bench.home().join("state/pid")).unwrap();
    let dies = "if [ $verb = run ]; then echo no; exit 9; fi";
    let state = bench.bring(&bench.package("2.0", RUN, dies)).await;
    assert_eq!((verdict(&state).1, version(&state)), (Some(Reason::ExtensionUnhealthy), Some("1.0")));
    assert_eq!(state.error.unwrap().output, b"no\n");
    let health = format!("{RUN}[verbs.health]\nargv = [\"bin/verb\"]\nwithin-s = 1\n");
    let unwell = format!("{LIVES}\nif [ $verb = health ]; then exit 1; fi");
    let state = bench.bring(&bench.package("3.0", &health, &unwell)).await;
    assert_eq!(
        (verdict(&state).0, verdict(&state).1, version(&state)),
        (Outcome::RolledBack, Some(Reason::ExtensionUnhealthy), Some("1.0"))
    );
    let again = fs::read_to_string(bench.home().join("state/pid")).unwrap();
    assert!(!is_alive(&pid) && is_alive(&again), "the version before runs again");
}

#[tokio::test]
async fn a_program_that_has_done_its_work_does_it_once() {
    let mut bench = Bench::new().await;
    let once = "if [ $verb = run ]; then touch $MUSTER_EXT_STATE/alive\n\
        while [ -e $MUSTER_EXT_STATE/alive ]; do sleep 0.05; done; exit 0; fi\n\
        [ $verb != health ] || touch $MUSTER_EXT_STATE/asked";
    let health = format!("{RUN}[verbs.health]\nargv = [\"bin/verb\"]\ninterval-s = 1\n");
    bench.bring(&bench.package("1.0", &health, once)).await;
    fs::remove_file(bench.home().join("state/alive")).unwrap();
    let is_done = |state: Option<&crate::state::ItemState>| {
        let health = state.and_then(|state| state.health.as_ref());
        health.is_some_and(|health| health.message.contains("done its work"))
    };
    bench.until(is_done).await;
    bench.kill().await;
    bench.forget_trace();
    let asked = bench.home().join("state/asked");
    let _ = fs::remove_file(&asked);
    bench.start().await;
    // By the time its health is asked for, its program would have been started.
    for _ in 0..500 {
        if asked.exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(asked.exists());
    assert!(bench.trace().is_empty() && !bench.home().join("state/alive").exists());
}

#[tokio::test]
async fn health_that_changes_is_told_and_takes_nothing_back() {
    let mut bench = Bench::new().await;
    let health = "[verbs.health]\nargv = [\"bin/verb\"]\ninterval-s = 1\n";
    let script = "[ $verb != health ] || [ ! -e $MUSTER_EXT_STATE/sick ]";
    let state = bench.bring(&bench.package("1.0", health, script)).await;
    assert!(state.health.unwrap().healthy);
    fs::write(bench.home().join("state/sick"), "").unwrap();
    let is = |healthy: bool| {
        move |state: Option<&crate::state::ItemState>| {
            state.and_then(|state| state.health.as_ref()).is_some_and(|health| health.healthy == healthy)
        }
    };
    let state = bench.until(is(false)).await.unwrap();
    assert_eq!((verdict(&state).0, version(&state)), (Outcome::Applied, Some("1.0")));
    fs::remove_file(bench.home().join("state/sick")).unwrap();
    bench.until(is(true)).await;
}

#[tokio::test]
async fn the_way_out_is_for_packages_that_ask_for_it() {
    for (more, wanted) in [("", ""), ("proxy = \"agent\"", "http://proxy:1")] {
        let mut bench = Bench::new().await;
        let script = "echo \"$HTTPS_PROXY\" > $MUSTER_EXT_STATE/way";
        bench.bring(&bench.package("1.0", more, script)).await;
        assert_eq!(fs::read_to_string(bench.home().join("state/way")).unwrap().trim(), wanted);
    }
}
