//! Protected contents.

use std::os::unix::fs::MetadataExt as _;

use muster_common::{
    ids::SecretId,
    sealing::{self, Address, Contents},
};
use zeroize::Zeroizing;

use super::*;

const SECRET: &str = "hunter2";

/// A version with one protected file.
fn protected(lab: &Lab, number: u128, mode: types::BundleMode) -> types::BundleContent {
    let mut content = lab.bundle(&[("key", "")]);
    content.files[0].protected = true;
    content.files[0].protected_id = SecretId::from_u128(number).to_string();
    content.set_mode(mode);
    content
}

/// The same, sealed as the control plane does.
fn sealed(
    applier: &Applier,
    node: NodeId,
    number: u64,
    content: &types::BundleContent,
    secret: &str,
) -> Offer {
    let offer = super::offer(number, content);
    let ids =
        content.files.iter().filter(|file| file.protected).map(|file| file.protected_id.parse().unwrap());
    let contents: Contents = ids.map(|id| (id, Zeroizing::new(secret.as_bytes().to_vec()))).collect();
    let address = Address { node, item: &offer.item, sha256: offer.version.sha256 };
    let sealed = sealing::seal(applier.sealing_key(), address, &contents).unwrap();
    Offer { sealed: Some(sealed), ..offer }
}

fn kept(lab: &Lab) -> usize {
    fs::read_dir(lab.state().join("secrets")).unwrap().count()
}

#[tokio::test]
async fn a_protected_content_is_written_for_its_owner_alone_and_kept_nowhere_else() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let content = protected(&lab, 1, types::BundleMode::ApplyAndMonitor);
    let offer = sealed(&applier, NodeId::from_u128(1), 1, &content, SECRET);
    let state = applier.apply(offer).await;
    assert_eq!(state.outcome, Outcome::Applied, "{state:?}");
    assert_eq!(lab.read("key").as_deref(), Some(SECRET));
    assert_eq!(fs::metadata(lab.file("key")).unwrap().mode() & 0o777, 0o600);
    assert_eq!(kept(&lab), 1);
    let open = lab.bundle(&[("key", "open")]);
    applier.apply(super::offer(2, &open)).await;
    assert_eq!((lab.read("key").as_deref(), kept(&lab)), (Some("open"), 0));
}

#[tokio::test]
async fn what_was_sealed_for_another_host_or_not_at_all_changes_nothing() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let content = protected(&lab, 1, types::BundleMode::ApplyAndMonitor);
    let strange = sealed(&applier, NodeId::from_u128(2), 1, &content, SECRET);
    let missing = Offer { sealed: None, ..strange.clone() };
    for offer in [strange, missing] {
        let state = applier.apply(offer).await;
        let error = state.error.unwrap();
        assert_eq!((state.outcome, error.reason), (Outcome::Rejected, Reason::ProtectedUnreadable));
        assert_eq!(error.cause, Cause::ControlPlane, "the version is not at fault");
        assert_eq!((lab.read("key"), kept(&lab)), (None, 0));
    }
    let right = sealed(&applier, NodeId::from_u128(1), 1, &content, SECRET);
    assert_eq!(applier.apply(right).await.outcome, Outcome::Applied);
}

#[tokio::test]
async fn drift_of_a_protected_file_is_corrected_and_told_without_its_content() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let content = protected(&lab, 1, types::BundleMode::ApplyAndCorrect);
    let offer = sealed(&applier, NodeId::from_u128(1), 1, &content, SECRET);
    applier.apply(offer).await;
    drop(applier);
    fs::write(lab.file("key"), "something else").unwrap();
    let mut applier = lab.open().await; // another process: it has the content from its disk
    applier.look_after(vec!["bundle/app".to_owned()]).await;
    assert_eq!(lab.read("key").as_deref(), Some(SECRET));
    let drift = applier.states()[0].drift.clone();
    assert_eq!((drift.len(), drift[0].corrected, drift[0].what.as_str()), (1, true, "content"));
    assert_eq!((drift[0].before, drift[0].after, drift[0].diff.as_str()), (None, None, ""));
}

#[tokio::test]
async fn a_payload_that_would_show_what_is_protected_is_refused() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let changes: [fn(&mut types::BundleFile); 4] = [
        |file| file.content = b"open".to_vec().into(),
        |file| file.protected_id = "none".to_owned(),
        |file| file.mode = 0o644,
        |file| file.directory = true,
    ];
    for (number, change) in (1..).zip(changes) {
        let mut content = protected(&lab, 1, types::BundleMode::ApplyAndMonitor);
        change(&mut content.files[0]);
        let state = applier.apply(offer(number, &content)).await;
        let error = state.error.unwrap();
        assert_eq!(
            (error.reason, error.cause),
            (Reason::PayloadInvalid, Cause::Content),
            "{}",
            error.message
        );
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_read_is_made_anew() {
    let lab = Lab::new();
    let first = lab.open().await.sealing_key().to_vec();
    assert_eq!(lab.open().await.sealing_key(), first);
    fs::write(lab.state().join("sealing.key"), "damaged").unwrap();
    assert_ne!(lab.open().await.sealing_key(), first);
}

#[tokio::test]
async fn what_an_audited_bundle_kept_goes_with_it() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let content = protected(&lab, 1, types::BundleMode::Audit);
    let offer = sealed(&applier, NodeId::from_u128(1), 1, &content, SECRET);
    assert_eq!(applier.apply(offer).await.drift.len(), 1, "the file is missing");
    assert_eq!((lab.read("key"), kept(&lab)), (None, 1));
    let (generation, traceparent) = (Generation::new(1, 2), String::new());
    let removal = Removal { item: "bundle/app".to_owned(), generation, traceparent };
    assert_eq!(applier.remove(removal).await, None);
    assert_eq!(kept(&lab), 0);
}

#[tokio::test]
async fn a_kept_content_that_was_damaged_is_not_written_over_a_good_file() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let content = protected(&lab, 1, types::BundleMode::ApplyAndCorrect);
    let offer = sealed(&applier, NodeId::from_u128(1), 1, &content, SECRET);
    applier.apply(offer).await;
    let file = lab.state().join("secrets").join(SecretId::from_u128(1).to_string());
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    applier.look_after(vec!["bundle/app".to_owned()]).await;
    assert_eq!((lab.read("key").as_deref(), applier.states()[0].drift.len()), (Some(SECRET), 0));
    let again = sealed(&applier, NodeId::from_u128(1), 2, &content, SECRET);
    applier.apply(again).await;
    fs::write(lab.file("key"), "something else").unwrap();
    applier.look_after(vec!["bundle/app".to_owned()]).await;
    assert_eq!(lab.read("key").as_deref(), Some(SECRET), "it is kept whole again");
}

#[tokio::test]
async fn who_put_a_file_in_the_place_of_a_secret_does_not_own_the_secret() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    fs::write(lab.file("key"), "mine").unwrap();
    std::os::unix::fs::chown(lab.file("key"), Some(4711), Some(4711)).unwrap();
    let content = protected(&lab, 1, types::BundleMode::ApplyAndMonitor);
    let offer = sealed(&applier, NodeId::from_u128(1), 1, &content, SECRET);
    assert_eq!(applier.apply(offer).await.outcome, Outcome::Applied);
    let metadata = fs::metadata(lab.file("key")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), crate::platform::accounts::me());
}
