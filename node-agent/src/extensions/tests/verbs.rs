//! Each verb, failing, hanging, and lying: where it stands afterwards is an end, and says whose
//! fault it was.

use futures_util::future::join_all;
use muster_common::reason::Reason;

use super::bench::{Bench, in_verb, verdict, version};
use crate::state::{Cause, Outcome};

/// Promised by every package here.
const STATUS: &str = "reports-status = true";
const TELLS: &str = "echo '{\"ok\": true}' > $MUSTER_EXT_STATUS";
/// What a verb does in place of its work, and how that is told.
const FAULTS: [(&str, Reason); 5] = [
    ("exit 3", Reason::ExtensionVerbFailed),
    ("sleep 600", Reason::ExtensionVerbTimedOut),
    ("rm $MUSTER_EXT_STATUS", Reason::ExtensionStatusMissing),
    ("echo '{\"ok\": false}' > $MUSTER_EXT_STATUS", Reason::ExtensionVerbFailed),
    ("head -c 100000 /dev/zero > $MUSTER_EXT_STATUS", Reason::ExtensionStatusMissing),
];
/// What health does in place of its work.
const UNWELL: [&str; 2] = ["exit 1", "sleep 600"];

fn script(verb: &str, does: &str) -> String {
    format!("{TELLS}\n{}", in_verb(verb, does))
}

fn health() -> String {
    format!("{STATUS}\n[verbs.health]\nargv = [\"bin/verb\"]\ntimeout-s = 1\nwithin-s = 1\n")
}

#[tokio::test]
async fn a_new_extension_whose_verb_fails_hangs_or_lies_leaves_nothing() {
    let cases = ["install", "enable"].into_iter().flat_map(|verb| FAULTS.map(|fault| (verb, fault)));
    join_all(cases.map(|(verb, (does, reason))| async move {
        let mut bench = Bench::new().await;
        let state = bench.bring(&bench.package("1.0", STATUS, &script(verb, does))).await;
        let failed = (Outcome::RolledBack, Some(reason), Some(Cause::Content));
        assert_eq!((verdict(&state), version(&state)), (failed, None), "{verb} {does}");
        assert!(bench.rests() && !bench.home().exists(), "{verb} {does}");
    }))
    .await;
}

#[tokio::test]
async fn a_new_extension_that_says_it_is_well_and_is_not_leaves_nothing() {
    join_all(UNWELL.map(|does| async move {
        let mut bench = Bench::new().await;
        let state = bench.bring(&bench.package("1.0", &health(), &script("health", does))).await;
        let failed = (Outcome::RolledBack, Some(Reason::ExtensionUnhealthy), Some(Cause::Content));
        assert_eq!((verdict(&state), version(&state)), (failed, None), "{does}");
        assert!(bench.rests() && !bench.home().exists(), "{does}");
    }))
    .await;
}

#[tokio::test]
async fn verbs_that_lead_away_lead_away_whatever_they_do() {
    let cases = ["disable", "uninstall"].into_iter().flat_map(|verb| FAULTS.map(|fault| (verb, fault.0)));
    join_all(cases.map(|(verb, does)| async move {
        // Of what was never well, on the way back.
        let mut bench = Bench::new().await;
        let bad = format!("{}\n{}", script("enable", "exit 3"), in_verb(verb, does));
        let state = bench.bring(&bench.package("1.0", STATUS, &bad)).await;
        let failed = (Outcome::RolledBack, Some(Reason::ExtensionVerbFailed), Some(Cause::Content));
        assert_eq!((verdict(&state), version(&state)), (failed, None), "{verb} {does}");
        assert!(bench.rests() && !bench.home().exists(), "{verb} {does}");
        // Of what makes room for another version, and of what is to go.
        bench.bring(&bench.package("2.0", STATUS, &script(verb, does))).await;
        let next = bench.package("3.0", STATUS, &script(verb, does));
        let state = bench.bring(&next).await;
        assert_eq!((verdict(&state).0, version(&state)), (Outcome::Applied, Some("3.0")), "{verb} {does}");
        assert!(bench.rests());
        bench.remove().await;
        assert!(!bench.home().exists(), "{verb} {does}");
    }))
    .await;
}

#[tokio::test]
async fn an_update_that_is_not_well_returns_whichever_way_it_is_not() {
    join_all(UNWELL.map(|does| async move {
        let mut bench = Bench::new().await;
        bench.bring(&bench.package("1.0", &health(), TELLS)).await;
        let state = bench.bring(&bench.package("2.0", &health(), &script("health", does))).await;
        let failed = (Outcome::RolledBack, Some(Reason::ExtensionUnhealthy), Some(Cause::Content));
        assert_eq!((verdict(&state), version(&state)), (failed, Some("1.0")), "{does}");
        assert!(bench.rests() && state.health.unwrap().healthy, "{does}");
    }))
    .await;
}

#[tokio::test]
async fn a_way_back_that_fails_hangs_or_lies_is_broken_until_another_version_comes() {
    let verbs = ["update", "enable"].into_iter().flat_map(|verb| FAULTS.map(|fault| (verb, fault.0)));
    let cases = verbs.chain(UNWELL.map(|does| ("health", does)));
    join_all(cases.map(|(verb, does)| async move {
        let mut bench = Bench::new().await;
        // Only once it has been left.
        let when = format!("[ ! -e $MUSTER_EXT_STATE/left ] || {{ {does}; }}");
        let first =
            format!("{}\n{}", script(verb, &when), in_verb("disable", "touch $MUSTER_EXT_STATE/left"));
        bench.bring(&bench.package("1.0", &health(), &first)).await;
        let state = bench.bring(&bench.package("2.0", STATUS, &script("enable", "exit 4"))).await;
        let broken = (Outcome::Broken, Some(Reason::RollbackFailed));
        let (outcome, reason, _) = verdict(&state);
        assert_eq!(((outcome, reason), version(&state)), (broken, None), "{verb} {does}");
        let message = state.error.unwrap().message;
        assert!(message.contains("enable ended with exit status: 4"), "why it was begun: {message}");
        assert!(bench.rests() && state.health.is_none(), "{verb} {does}");
        let state = bench.bring(&bench.package("3.0", &health(), TELLS)).await;
        assert_eq!((verdict(&state).0, version(&state)), (Outcome::Applied, Some("3.0")), "{verb} {does}");
    }))
    .await;
}
