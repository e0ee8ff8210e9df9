//! What is said of items by somebody who reads what is written down, beside an agent or
//! without one.

use std::time::Duration;

use muster_common::drain::Drain;

use super::{
    super::explain::{Explanation, Verdict, explain},
    *,
};

/// Longest wait for what takes a moment.
const LONG: Duration = Duration::from_secs(30);

impl Lab {
    fn explain(&self) -> Vec<Explanation> {
        explain(&self.state(), &self.locks().current()).unwrap()
    }
}

fn texts(found: &Explanation, about: &str) -> String {
    let of = found.reasons.iter().filter(|reason| reason.about == about);
    of.map(|reason| reason.text.clone()).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn where_nothing_is_nothing_is_said_and_nothing_made() {
    let lab = Lab::new();
    assert!(lab.explain().is_empty() && !lab.state().exists());
}

#[tokio::test]
async fn an_item_that_waits_for_another_is_told_though_no_record_has_it() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applier.apply(named("bundle/has", 1, lab.bundle(&[("a", "x")]).encode_to_vec())).await;
    let (handle, task) = Task::new(applier);
    handle.desire(vec![named("bundle/wants", 2, lab.bundle(&[("a", "y")]).encode_to_vec())], vec![]);
    let written = async {
        while lab.explain().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = task.run(Drain::default()) => panic!("it works until it is told to end"),
        written = tokio::time::timeout(LONG, written) => written.expect("in time"),
    }
    let told = lab.explain();
    assert_eq!((told[0].item.as_str(), told[0].verdict), ("bundle/has", Verdict::InSync));
    assert_eq!((told[1].item.as_str(), told[1].verdict), ("bundle/wants", Verdict::RetriedByHost));
    assert!(texts(&told[1], "Host").contains("PATH_TAKEN") && told[1].retry_at.is_some());
    assert!(texts(&told[1], "Delivery").starts_with("the host tries it again by itself, not before 19"));
    // The next agent has heard nothing of it yet.
    let (_, task) = Task::new(lab.open().await);
    let drain = Drain::default();
    let forgotten = async {
        while lab.explain().len() > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = task.run(drain) => panic!("it works until it is told to end"),
        forgotten = tokio::time::timeout(LONG, forgotten) => forgotten.expect("in time"),
    }
}

#[tokio::test]
async fn a_change_that_is_under_way_says_how_far_it_is() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    lab.cut_off(&applier, &offer(1, &lab.bundle(&[("a", "one")])), Cut::Staged);
    let first = lab.explain().remove(0);
    assert_eq!((first.verdict, first.state), (Verdict::OnItsWay, None));
    applier.settle().await.unwrap();
    applier.apply(offer(2, &lab.bundle(&[("a", "two")]))).await;
    lab.cut_off(&applier, &offer(3, &lab.bundle(&[("a", "three")])), Cut::Swapped);
    let second = lab.explain().remove(0);
    assert_eq!((second.verdict, second.under_way.as_ref().unwrap().phase), (Verdict::OnItsWay, "in place"));
    assert_eq!(texts(&second, "Host"), "the host runs version 2 of it");
    assert!(texts(&second, "Delivery").starts_with("version 3 is being brought onto the host"));
    assert_eq!(lab.read("a").as_deref(), Some("three"), "looking undoes nothing");
}

#[tokio::test]
async fn what_is_broken_or_damaged_or_no_longer_allowed_is_told_as_that() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let flag = lab.folder.path().join("flag");
    let told = |probe: Option<types::Hook>, text: &str| types::BundleContent {
        on_change: sh(&format!("test ! -e {}", flag.display())),
        probe,
        ..lab.bundle(&[("a", text)])
    };
    applier.apply(offer(1, &told(None, "one"))).await;
    assert_eq!(lab.explain()[0].verdict, Verdict::InSync);
    lab.rules(false);
    assert!(texts(&lab.explain()[0], "LocalLock").starts_with(
        "the lock file of this host does not allow hooks (denied-by-local-lock: hooks.allow, line "
    ));
    lab.rules(true);
    applier.apply(offer(2, &told(sh(&format!("touch {}; echo why; false", flag.display())), "two"))).await;
    let broken = lab.explain().remove(0);
    assert_eq!((broken.verdict, broken.output.as_str()), (Verdict::Broken, "why\n"));
    assert!(texts(&broken, "Delivery").contains("a person is needed"));
    let record = lab.state().join("records/bundle+app.json");
    fs::write(&record, "{").unwrap();
    assert!(lab.explain().is_empty() && record.exists(), "it is left to the agent to set it aside");
}
