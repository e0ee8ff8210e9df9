use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use muster_common::{clock::Clock, reason::Reason};

use super::bench::{Bench, in_verb, verdict, version};
use crate::state::{Cause, Outcome};

#[tokio::test]
async fn a_new_extension_whose_verb_fails_leaves_nothing_and_is_not_tried_again() {
    for (verb, way) in [
        ("install", &["install 1.0", "uninstall 1.0"][..]),
        ("enable", &["install 1.0", "enable 1.0", "disable 1.0", "uninstall 1.0"]),
    ] {
        let mut bench = Bench::new().await;
        let content = bench.package("1.0", "", &in_verb(verb, "echo so it is >&2; exit 3"));
        let state = bench.bring(&content).await;
        let failed = (Outcome::RolledBack, Some(Reason::ExtensionVerbFailed), Some(Cause::Content));
        assert_eq!((verdict(&state), version(&state)), (failed, None), "{verb}");
        let error = state.error.unwrap();
        assert!(error.message.contains(verb) && error.message.contains('3'), "{}", error.message);
        assert_eq!(error.output, b"so it is\n");
        assert_eq!(bench.trace(), way);
        assert!(!bench.home().exists());
        bench.kill().await;
        bench.start().await;
        assert_eq!(verdict(&bench.now().unwrap()), failed, "it is known afterwards");
        assert_eq!(bench.trace(), way);
    }
}

#[tokio::test]
async fn an_update_whose_verb_fails_hangs_or_lies_returns_to_what_ran() {
    let status = "reports-status = true";
    let tells = "echo '{\"ok\": true}' > $MUSTER_EXT_STATUS";
    for (verb, more, does, reason) in [
        ("update", "", "exit 3", Reason::ExtensionVerbFailed),
        ("enable", "", "kill -9 $$", Reason::ExtensionVerbFailed),
        ("update", "", "sleep 600", Reason::ExtensionVerbTimedOut),
        ("enable", status, "rm $MUSTER_EXT_STATUS", Reason::ExtensionStatusMissing),
        ("enable", status, "echo '{\"ok\": false}' > $MUSTER_EXT_STATUS", Reason::ExtensionVerbFailed),
        ("update", status, "echo nonsense > $MUSTER_EXT_STATUS", Reason::ExtensionVerbFailed),
    ] {
        let mut bench = Bench::new().await;
        bench.bring(&bench.package("1.0", "", "")).await;
        bench.forget_trace();
        let script = format!("{tells}\n{}", in_verb(verb, does));
        let state = bench.bring(&bench.package("2.0", more, &script)).await;
        let failed = (Outcome::RolledBack, Some(reason), Some(Cause::Content));
        assert_eq!((verdict(&state), version(&state)), (failed, Some("1.0")), "{verb} {does}");
        let trace = bench.trace();
        assert_eq!(trace[trace.len() - 3..], ["disable 2.0 1.0", "update 1.0 2.0", "enable 1.0 2.0"]);
        assert_eq!(state.progress, None, "nothing stays on the way");
    }
}

#[tokio::test]
async fn what_cannot_return_is_told_as_broken() {
    let mut bench = Bench::new().await;
    let first = bench.package("1.0", "", &in_verb("update", "exit 4"));
    bench.bring(&first).await;
    let state = bench.bring(&bench.package("2.0", "", &in_verb("enable", "exit 3"))).await;
    assert_eq!((verdict(&state).0, version(&state)), (Outcome::Broken, None), "nothing of it runs");
    let message = state.error.unwrap().message;
    assert!(message.contains('4') && message.contains("EXTENSION_VERB_FAILED"), "{message}");
    // That it was here once does not make it run.
    bench.forget_trace();
    let state = bench.bring(&first).await;
    assert_eq!((verdict(&state).0, version(&state)), (Outcome::Applied, Some("1.0")));
    assert_eq!(bench.trace(), ["enable 1.0 1.0"]);
    let state = bench.bring(&bench.package("2.0", "", &in_verb("enable", "exit 3"))).await;
    assert_eq!(verdict(&state).0, Outcome::Broken);
    // A person brings one that works.
    let state = bench.bring(&bench.package("3.0", "", "")).await;
    assert_eq!((verdict(&state).0, version(&state)), (Outcome::Applied, Some("3.0")));
}

#[tokio::test]
async fn what_broke_for_the_hosts_sake_is_tried_again() {
    let mut bench = Bench::new().await;
    bench.bring(&bench.package("1.0", "", "")).await;
    // The way back finds no place for its settings, for as long as there is a gate.
    let gate = bench.folder.path().join("gate");
    let spoils =
        format!("[ ! -e {} ] || {{ rm -r $MUSTER_EXT_CONFIG; : > $MUSTER_EXT_CONFIG; }}", gate.display());
    let script = format!("{}\n{}", in_verb("enable", "exit 3"), in_verb("disable", &spoils));
    fs::write(&gate, "").unwrap();
    let state = bench.bring(&bench.package("2.0", "", &script)).await;
    assert_eq!(verdict(&state), (Outcome::Broken, Some(Reason::RollbackFailed), Some(Cause::Host)));
    fs::remove_file(&gate).unwrap();
    fs::remove_file(bench.home().join("config")).unwrap();
    let state =
        bench.until(|state| state.is_some_and(|state| state.outcome == Outcome::RolledBack)).await.unwrap();
    let settled = (Outcome::RolledBack, Some(Reason::ExtensionVerbFailed), Some(Cause::Content));
    assert_eq!((verdict(&state), version(&state)), (settled, Some("1.0")));
}

#[tokio::test]
async fn files_that_do_not_go_are_tried_again() {
    let mut bench = Bench::new().await;
    let (home, aside) = (bench.home(), bench.folder.path().join("aside"));
    let spoils = format!("mv {0} {1}; : > {0}", home.display(), aside.display());
    bench.bring(&bench.package("1.0", "", &in_verb("uninstall", &spoils))).await;
    bench.wish_away();
    let state =
        bench.until(|state| state.is_some_and(|state| state.outcome == Outcome::Broken)).await.unwrap();
    assert_eq!((verdict(&state).2, version(&state)), (Some(Cause::Host), None));
    fs::remove_file(&home).unwrap();
    bench.until(|state| state.is_none()).await;
}

#[tokio::test]
async fn what_goes_goes_whatever_its_verbs_say() {
    let mut bench = Bench::new().await;
    let script = format!("{}\n{}", in_verb("disable", "exit 1"), in_verb("uninstall", "sleep 600"));
    bench.bring(&bench.package("1.0", "", &script)).await;
    bench.remove().await;
    assert!(!bench.home().exists());
    assert_eq!(bench.trace()[2..], ["disable 1.0", "uninstall 1.0"]);
}

#[tokio::test]
async fn a_package_that_does_not_come_is_the_networks_fault_and_one_that_is_none_its_own() {
    let mut bench = Bench::new().await;
    let content = bench.package("1.0", "", "");
    let file = bench.folder.path().join("admitted").join(hex(&content.artifacts[0]));
    let aside = bench.folder.path().join("aside");
    fs::rename(&file, &aside).unwrap();
    let state = bench.bring(&content).await;
    assert_eq!(verdict(&state), (Outcome::Rejected, Some(Reason::FetchFailed), Some(Cause::Network)));
    fs::rename(&aside, &file).unwrap();
    let state = bench.until(|state| state.is_some_and(|state| state.outcome == Outcome::Applied)).await;
    assert_eq!(version(&state.unwrap()), Some("1.0"));
    bench.remove().await;
    let foreign = bench.package("1.0", "arch = \"pdp11\"", "");
    assert_eq!(verdict(&bench.bring(&foreign).await).0, Outcome::Rejected);
    for _ in 0..500 {
        if !bench.home().exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(!bench.home().exists(), "of what was refused nothing stays");
    bench.bring(&content).await;
    let state = bench.bring(&bench.package("2.0", "nonsense = 1", "")).await;
    let none = (Outcome::Rejected, Some(Reason::ExtensionPackageInvalid), Some(Cause::Content));
    assert_eq!((verdict(&state), version(&state)), (none, Some("1.0")));
    let state = bench.bring(&bench.package("3.0", "arch = \"pdp11\"", "")).await;
    assert_eq!(verdict(&state), none);
    let state = bench.bring(&bench.package("4.0", "limits = { tasks = 9, required = true }", "")).await;
    assert_eq!(verdict(&state).1, Some(Reason::ExtensionLimitsUnenforced));
}

fn hex(one: &muster_proto::types::v1::PlatformArtifact) -> String {
    let sha256 = &one.artifact.as_ref().unwrap().sha256;
    sha256.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn whatever_verb_an_agent_dies_in_the_next_one_ends_what_was_begun() {
    for verb in ["disable", "update", "enable"] {
        let mut bench = Bench::new().await;
        let waits = |of: &str| {
            let gate = bench.folder.path().join("gate");
            in_verb(of, &format!("while [ -e {} ]; do sleep 0.05; done", gate.display()))
        };
        let of_first = if verb == "disable" { waits(verb) } else { String::new() };
        let of_second = if verb == "disable" { String::new() } else { waits(verb) };
        bench.bring(&bench.package("1.0", "", &of_first)).await;
        fs::write(bench.folder.path().join("gate"), "").unwrap();
        bench.forget_trace();
        bench.wish(&bench.package("2.0", "", &of_second));
        let line = if verb == "disable" { "disable 1.0 2.0".to_owned() } else { format!("{verb} 2.0 1.0") };
        bench.traced(&line).await;
        bench.kill().await;
        fs::remove_file(bench.folder.path().join("gate")).unwrap();
        bench.start().await;
        let state = bench.settled().await;
        assert_eq!((verdict(&state).0, version(&state)), (Outcome::Applied, Some("2.0")), "{verb}");
        assert_eq!(bench.trace().iter().filter(|known| **known == line).count(), 2, "{verb} is run again");
    }
}

#[tokio::test]
async fn what_was_denied_and_then_was_here_already_is_not_tried_for_ever() {
    let mut bench = Bench::new().await;
    let now = Arc::new(AtomicI64::new(1_000_000));
    bench.kill().await;
    bench.clock = Clock::Test(Arc::clone(&now));
    bench.start().await;
    let content = bench.package("1.0", "", "");
    bench.bring(&content).await;
    bench.lock("[extensions]\nblock = [\"*/*\"]\n");
    let state = bench.bring(&content).await;
    assert_eq!(verdict(&state).1, Some(Reason::ExtensionDenied));
    bench.lock("[extensions]\nallow = [\"*/*\"]\n");
    bench.until(|state| state.is_some_and(|state| state.outcome == Outcome::Unchanged)).await;
    now.fetch_add(3_600_000, Ordering::Relaxed);
    bench.connect();
    for _ in 0..20 {
        tokio::task::yield_now().await; // with something left to try, the room never rests again
    }
    let state = bench.bring(&bench.package("2.0", "", "")).await;
    assert_eq!((verdict(&state).0, version(&state)), (Outcome::Applied, Some("2.0")));
}
