//! Owners, folders, and files that must not be there.

use std::os::unix::fs::MetadataExt as _;

use super::*;

impl Lab {
    fn entry(&self, name: &str) -> types::BundleFile {
        let path = self.file(name).to_str().unwrap().to_owned();
        types::BundleFile { path, ..Default::default() }
    }

    pub(super) fn absent(&self, name: &str) -> types::BundleFile {
        types::BundleFile { absent: true, ..self.entry(name) }
    }

    pub(super) fn folder(&self, name: &str, mode: u32) -> types::BundleFile {
        types::BundleFile { directory: true, mode, ..self.entry(name) }
    }

    /// Mode, user and group.
    fn rights(&self, name: &str) -> (u32, u32, u32) {
        let metadata = fs::metadata(self.file(name)).unwrap();
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
    }
}

fn of(files: Vec<types::BundleFile>) -> types::BundleContent {
    types::BundleContent { files, ..Default::default() }
}

fn applied(state: &ItemState) {
    assert_eq!(state.outcome, Outcome::Applied, "{:?}", state.error);
}

#[tokio::test]
async fn files_and_folders_belong_to_whom_the_bundle_says_and_go_back_to_who_had_them() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    fs::write(lab.file("b"), "of before").unwrap();
    std::os::unix::fs::chown(lab.file("b"), Some(7), Some(8)).unwrap();
    let mut a =
        types::BundleFile { owner: "4711".to_owned(), group: "4712".to_owned(), ..lab.entry("deep/a") };
    a.content = b"one".to_vec().into();
    let b = types::BundleFile { group: "root".to_owned(), ..lab.entry("b") };
    let deep = types::BundleFile { owner: "4713".to_owned(), ..lab.folder("deep", 0o750) };
    applied(&applier.apply(offer(1, &of(vec![a.clone(), b, deep.clone()]))).await);
    assert_eq!(lab.rights("deep/a"), (0o644, 4711, 4712));
    assert_eq!(lab.rights("b"), (0o644, 7, 0), "who is not named stays who it was");
    assert_eq!(lab.rights("deep"), (0o750, 4713, 0));
    // Another owner is a change, and one that nobody names is none.
    let other = types::BundleFile { owner: "root".to_owned(), ..a };
    applied(&applier.apply(offer(2, &of(vec![other.clone(), deep.clone()]))).await);
    assert_eq!((lab.rights("deep/a"), lab.rights("b")), ((0o644, 0, 4712), (0o644, 7, 8)));
    let unnamed = types::BundleFile { owner: String::new(), group: String::new(), ..other };
    assert_eq!(applier.apply(offer(3, &of(vec![unnamed, deep]))).await.outcome, Outcome::Unchanged);
    assert!(applier.remove(removal(4)).await.is_none());
    assert!(!lab.file("deep").exists() && lab.litter().is_empty());
}

#[tokio::test]
async fn a_user_that_the_host_does_not_have_is_told_and_nothing_changes() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let nobody = types::BundleFile { owner: "no-such-user".to_owned(), ..lab.entry("a") };
    let state = applier.apply(offer(1, &of(vec![nobody]))).await;
    assert_eq!(verdict(&state), (Outcome::Rejected, Some(Reason::WriteFailed), Some(Cause::Host)));
    assert!(state.error.unwrap().message.contains("no user \"no-such-user\""));
    assert_eq!(lab.read("a"), None);
}

#[tokio::test]
async fn a_file_that_must_not_be_there_is_kept_and_comes_back_with_the_bundles_end() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    fs::write(lab.file("a"), "of before").unwrap();
    fs::set_permissions(lab.file("a"), fs::Permissions::from_mode(0o600)).unwrap();
    let content = of(vec![lab.absent("a"), lab.absent("not/there")]);
    applied(&applier.apply(offer(1, &content)).await);
    assert!(lab.read("a").is_none() && !lab.file("not").exists(), "no folder is made for what is absent");
    assert_eq!(applier.apply(offer(2, &content)).await.outcome, Outcome::Unchanged);
    // A probe that fails brings it back at once.
    let bad = types::BundleContent { probe: sh("false"), ..of(vec![lab.absent("a"), lab.absent("b")]) };
    fs::write(lab.file("b"), "b").unwrap();
    assert_eq!(applier.apply(offer(3, &bad)).await.outcome, Outcome::RolledBack);
    assert_eq!((lab.read("a"), lab.read("b").as_deref()), (None, Some("b")));
    // As a file of the next version it is still what was there before that comes back.
    applied(&applier.apply(offer(4, &lab.bundle(&[("a", "new")]))).await);
    applied(&applier.apply(offer(5, &content)).await);
    assert!(applier.remove(removal(6)).await.is_none());
    assert_eq!((lab.read("a").as_deref(), lab.rights("a").0), (Some("of before"), 0o600));
    assert_eq!(fs::read_dir(lab.state().join("blobs")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_others_put_where_nothing_had_to_be_is_theirs() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    applied(&applier.apply(offer(1, &of(vec![lab.absent("a")]))).await);
    fs::write(lab.file("a"), "theirs").unwrap();
    applied(&applier.apply(offer(2, &lab.bundle(&[("a", "ours")]))).await);
    assert!(applier.remove(removal(3)).await.is_none());
    assert_eq!(lab.read("a").as_deref(), Some("theirs"));
    applied(&applier.apply(offer(4, &of(vec![lab.absent("a"), lab.absent("b")]))).await);
    fs::write(lab.file("b"), "theirs, too").unwrap();
    assert!(applier.remove(removal(5)).await.is_none());
    assert_eq!((lab.read("a").as_deref(), lab.read("b").as_deref()), (Some("theirs"), Some("theirs, too")));
}

#[tokio::test]
async fn a_folder_is_made_with_its_rights_and_goes_when_it_is_empty() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    fs::create_dir(lab.file("old")).unwrap();
    fs::set_permissions(lab.file("old"), fs::Permissions::from_mode(0o711)).unwrap();
    let mut content = lab.bundle(&[("new/in/a", "x")]);
    content.files.extend([lab.folder("old", 0o700), lab.folder("new/in", 0o750), lab.folder("new", 0)]);
    content.files.push(lab.folder("empty/one", 0o700));
    applied(&applier.apply(offer(1, &content)).await);
    let modes = ["old", "new", "new/in", "empty", "empty/one"].map(|name| lab.rights(name).0);
    assert_eq!(modes, [0o700, 0o755, 0o750, 0o755, 0o700]);
    // A failure takes the rights back, and what was made.
    let mut bad = lab.bundle(&[("new/in/a", "y"), ("more/a", "y")]);
    bad.files.extend([lab.folder("old", 0o777), lab.folder("new/in", 0o777), lab.folder("more", 0o700)]);
    bad.probe = sh("false");
    assert_eq!(applier.apply(offer(2, &bad)).await.outcome, Outcome::RolledBack);
    assert_eq!((lab.rights("old").0, lab.rights("new/in").0), (0o700, 0o750));
    assert!(!lab.file("more").exists() && lab.read("new/in/a").as_deref() == Some("x"));
    fs::write(lab.file("new/theirs"), "x").unwrap();
    assert!(applier.remove(removal(3)).await.is_none());
    assert_eq!(lab.rights("old").0, 0o711);
    assert!(lab.file("new/theirs").exists(), "a folder with something else in it stays");
    assert!(!lab.file("new/in").exists() && !lab.file("empty").exists());
}

#[tokio::test]
async fn a_path_keeps_its_kind_and_a_folder_is_no_file() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    fs::write(lab.file("file"), "x").unwrap();
    symlink(lab.root(), lab.file("link")).unwrap();
    applied(&applier.apply(offer(1, &of(vec![lab.folder("folder", 0), lab.entry("a")]))).await);
    let cases = [
        lab.folder("file", 0),
        lab.folder("link", 0),
        lab.folder("a", 0),
        lab.entry("folder"),
        lab.absent("folder"),
        lab.absent("link"),
    ];
    for (number, entry) in (2..).zip(cases) {
        let state = applier.apply(offer(number, &of(vec![entry.clone()]))).await;
        assert_eq!(
            verdict(&state),
            (Outcome::Rejected, Some(Reason::PathNotAllowed), Some(Cause::Host)),
            "{entry:?}"
        );
    }
    let wrong = [
        types::BundleFile { directory: true, ..lab.absent("x") },
        types::BundleFile { content: b"x".to_vec().into(), ..lab.absent("x") },
        types::BundleFile { content: b"x".to_vec().into(), ..lab.folder("x", 0) },
    ];
    for (number, wrong) in (20..).zip(wrong) {
        let state = applier.apply(offer(number, &of(vec![wrong]))).await;
        assert_eq!(verdict(&state).1, Some(Reason::PayloadInvalid));
    }
}

#[tokio::test]
async fn a_crash_leaves_folders_and_absent_files_old_or_new() {
    for cut in [Cut::Staged, Cut::Swapping(1), Cut::Swapping(2), Cut::Swapping(3), Cut::Swapped] {
        let lab = Lab::new();
        fs::write(lab.file("gone"), "of before").unwrap();
        fs::create_dir(lab.file("old")).unwrap();
        fs::set_permissions(lab.file("old"), fs::Permissions::from_mode(0o711)).unwrap();
        let applier = lab.open().await;
        let mut content = lab.bundle(&[("old/a", "x"), ("new/a", "x")]);
        content.files.extend([lab.folder("old", 0o700), lab.folder("new", 0o700), lab.absent("gone")]);
        lab.cut_off(&applier, &offer(1, &content), cut);
        drop(applier);
        let mut applier = lab.open().await;
        assert_eq!((lab.read("gone").as_deref(), lab.rights("old").0), (Some("of before"), 0o711), "{cut:?}");
        assert!(!lab.file("new").exists() && lab.read("old/a").is_none(), "{cut:?}");
        assert_eq!(lab.litter(), Vec::<String>::new());
        applied(&applier.apply(offer(1, &content)).await);
        assert_eq!((lab.read("gone"), lab.rights("new").0), (None, 0o700));
    }
}
