//! What becomes of files when their bundle goes.

use super::*;

async fn removed(lab: &Lab, on_remove: types::BundleOnRemove) -> Applier {
    let mut applier = lab.open().await;
    fs::write(lab.file("a"), "a of before").unwrap();
    fs::write(lab.file("gone"), "gone of before").unwrap();
    let mut content = lab.bundle(&[("a", "new"), ("made/b", "new")]);
    content.files.push(lab.absent("gone"));
    content.set_on_remove(on_remove);
    content.on_change = sh(&format!("echo told >> {}", lab.folder.path().join("log").display()));
    assert_eq!(applier.apply(offer(1, &content)).await.outcome, Outcome::Applied);
    fs::remove_file(lab.folder.path().join("log")).unwrap();
    assert!(applier.remove(removal(2)).await.is_none());
    assert!(applier.states().is_empty() && lab.litter().is_empty());
    assert_eq!(fs::read_dir(lab.state().join("blobs")).unwrap().count(), 0, "nothing is kept for ever");
    applier
}

fn told(lab: &Lab) -> bool {
    lab.folder.path().join("log").exists()
}

#[tokio::test]
async fn restore_puts_back_what_was_there() {
    for word in [types::BundleOnRemove::Unspecified, types::BundleOnRemove::Restore] {
        let lab = Lab::new();
        removed(&lab, word).await;
        assert_eq!(
            (lab.read("a").as_deref(), lab.read("gone").as_deref()),
            (Some("a of before"), Some("gone of before"))
        );
        assert!(!lab.file("made").exists() && told(&lab));
    }
}

#[tokio::test]
async fn remove_deletes_what_the_bundle_wrote() {
    let lab = Lab::new();
    removed(&lab, types::BundleOnRemove::Remove).await;
    assert_eq!((lab.read("a"), lab.read("gone")), (None, None));
    assert!(!lab.file("made").exists() && told(&lab));
}

#[tokio::test]
async fn leave_leaves_everything_and_lets_go_of_it() {
    let lab = Lab::new();
    let mut applier = removed(&lab, types::BundleOnRemove::Leave).await;
    assert_eq!((lab.read("a").as_deref(), lab.read("made/b").as_deref()), (Some("new"), Some("new")));
    assert!(lab.read("gone").is_none() && !told(&lab), "nothing changed: nobody is told");
    let other = named("bundle/other", 3, lab.bundle(&[("a", "others")]).encode_to_vec());
    assert_eq!(applier.apply(other).await.outcome, Outcome::Applied, "another bundle may have the file");
}

#[tokio::test]
async fn a_word_that_is_not_known_is_refused_and_a_lost_bundle_restores() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let strange = types::BundleContent { on_remove: 99, ..lab.bundle(&[("a", "x")]) };
    assert_eq!(verdict(&applier.apply(offer(1, &strange)).await).1, Some(Reason::PayloadInvalid));
    fs::write(lab.file("a"), "of before").unwrap();
    let mut leave = lab.bundle(&[("a", "new")]);
    leave.set_on_remove(types::BundleOnRemove::Leave);
    applier.apply(offer(2, &leave)).await;
    fs::remove_file(lab.state().join("blobs").join(Sha256::of(&leave.encode_to_vec()).to_string())).unwrap();
    assert!(applier.remove(removal(3)).await.is_none());
    assert_eq!(lab.read("a").as_deref(), Some("of before"));
}
