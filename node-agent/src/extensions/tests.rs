mod bench;
mod failing;
mod running;
mod verbs;

use std::fs;

use muster_common::reason::Reason;

use crate::state::{Cause, Outcome, Pause};
use bench::{Bench, verdict, version};

#[tokio::test]
async fn a_version_comes_makes_room_for_the_next_and_leaves_nothing() {
    let mut bench = Bench::new().await;
    let (first, second) = (bench.package("1.0", "", ""), bench.package("2.0", "", ""));
    let state = bench.bring(&first).await;
    assert_eq!((verdict(&state), version(&state)), ((Outcome::Applied, None, None), Some("1.0")));
    assert_eq!(bench.trace(), ["install 1.0", "enable 1.0"]);
    bench.forget_trace();
    let state = bench.bring(&second).await;
    assert_eq!((verdict(&state), version(&state)), ((Outcome::Applied, None, None), Some("2.0")));
    assert_eq!(bench.trace(), ["disable 1.0 2.0", "update 2.0 1.0", "enable 2.0 1.0"]);
    assert_eq!(state.progress, None);
    let packages = || {
        fs::read_dir(bench.home())
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().contains("-"))
            .count()
    };
    for _ in 0..500 {
        if packages() == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(packages(), 1, "the version before goes once the next has proved itself");
    bench.forget_trace();
    bench.remove().await;
    assert_eq!(bench.trace(), ["disable 2.0", "uninstall 2.0"]);
    assert!(!bench.home().exists());
}

#[tokio::test]
async fn other_settings_are_enabled_and_nothing_is_installed_for_them() {
    let mut bench = Bench::new().await;
    let script = "[ $verb != enable ] || ! grep -q bad $MUSTER_EXT_CONFIG/settings.json";
    let content = bench.package("1.0", "", script);
    bench.bring(&content).await;
    bench.forget_trace();
    fs::remove_dir_all(bench.folder.path().join("admitted")).unwrap(); // nor is anything fetched
    let good = muster_proto::types::v1::ExtensionContent {
        settings: b"{\"a\":1}".to_vec().into(),
        ..content.clone()
    };
    let state = bench.bring(&good).await;
    assert_eq!(verdict(&state).0, Outcome::Applied);
    assert_eq!(bench.trace(), ["enable 1.0 1.0"]);
    let bad =
        muster_proto::types::v1::ExtensionContent { settings: b"{\"bad\":1}".to_vec().into(), ..content };
    let state = bench.bring(&bad).await;
    assert_eq!(verdict(&state).0, Outcome::RolledBack);
    assert_eq!(fs::read(bench.home().join("config/settings.json")).unwrap(), b"{\"a\":1}");
    // The same content again, in a new place of the history, is nothing to do.
    bench.forget_trace();
    let state = bench.bring(&good).await;
    assert_eq!(verdict(&state).0, Outcome::Unchanged);
    assert!(bench.trace().is_empty());
}

#[tokio::test]
async fn what_the_lock_file_blocks_is_denied_until_it_allows_it_and_goes_all_the_same() {
    let mut bench = Bench::new().await;
    bench.lock("[extensions]\nallow = [\"*/*\"]\nblock = [\"acme/log\"]\n");
    let content = bench.package("1.0", "", "");
    let state = bench.bring(&content).await;
    assert_eq!(verdict(&state), (Outcome::Rejected, Some(Reason::ExtensionDenied), Some(Cause::Host)));
    assert!(state.error.unwrap().message.contains("denied-by-local-lock: extensions.block"));
    assert!(bench.trace().is_empty() && !bench.home().exists());
    bench.lock("[extensions]\nallow = [\"acme/log\"]\n");
    let state = bench.until(|state| state.is_some_and(|state| state.outcome == Outcome::Applied)).await;
    assert_eq!(version(&state.unwrap()), Some("1.0"));
    // Under a ceiling nothing of it could be uninstalled: its files stay, too.
    bench.lock("profile = \"locked\"\n");
    assert!(bench.removal_is_denied().unwrap().contains("profile locked"));
    assert!(bench.home().exists());
    bench.lock("[extensions]\nblock = [\"acme/log\"]\n");
    bench.remove().await;
    assert!(!bench.home().exists());
}

#[tokio::test]
async fn what_the_host_removed_comes_again_as_another_version_only() {
    let mut bench = Bench::new().await;
    let (first, second) = (bench.package("1.0", "", ""), bench.package("2.0", "", ""));
    assert!(!bench.remove_here(), "there is nothing");
    bench.bring(&first).await;
    let failing = bench.package("1.5", "", "[ $verb != enable ] || exit 3");
    assert_eq!(version(&bench.bring(&failing).await), Some("1.0"));
    assert!(bench.remove_here());
    let is_gone = |state: Option<&crate::state::ItemState>| {
        state.is_some_and(|state| state.running.is_none() && state.outcome == Outcome::Rejected)
    };
    bench.traced("disable 1.0").await;
    bench.remove_here(); // in the middle of it
    let state = bench.until(is_gone).await;
    let settled = (Outcome::Rejected, Some(Reason::ExtensionRemovedHere), Some(Cause::Content));
    assert_eq!(verdict(&state.unwrap()), settled);
    assert!(!bench.home().exists());
    assert!(!bench.remove_here(), "it has gone");
    bench.kill().await;
    bench.start().await;
    for content in [&first, &failing] {
        let state = bench.bring(content).await;
        assert_eq!(verdict(&state).1, Some(Reason::ExtensionRemovedHere), "also after the agent began anew");
    }
    let state = bench.bring(&second).await;
    assert_eq!((verdict(&state).0, version(&state)), (Outcome::Applied, Some("2.0")));
}

#[tokio::test]
async fn in_a_pause_nothing_is_brought_and_afterwards_the_newest() {
    let mut bench = Bench::new().await;
    let (first, second) = (bench.package("1.0", "", ""), bench.package("2.0", "", ""));
    let since = muster_common::clock::UnixMillis(0);
    bench.pauses.set(Some(Pause { reason: String::new(), since, until: None, uid: 0 }));
    bench.wish(&first);
    bench.wish(&second);
    tokio::task::yield_now().await;
    assert!(bench.now().is_none());
    bench.pauses.set(None);
    let state = bench.settled().await;
    assert_eq!((verdict(&state).0, version(&state)), (Outcome::Applied, Some("2.0")));
    assert_eq!(bench.trace(), ["install 2.0", "enable 2.0"]);
}
