use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::*;
use crate::{
    platform::{accounts, bytes::Bytes},
    verbs::{Client, Hands, messages::Request},
};

/// An executor's files, with one root that may be written, and a daemon's hands on them.
struct Lab {
    folder: tempfile::TempDir,
    hands: Hands,
}

impl Lab {
    fn new() -> Self {
        Self::under("")
    }

    /// With more at the head of its lock file.
    fn under(rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (root, own) = (folder.path().join("root"), folder.path().join("root/own"));
        fs::create_dir_all(&own).unwrap();
        let locks = folder.path().join("locks.toml");
        fs::write(&locks, format!("{rules}[paths]\nallow = [{root:?}]\n")).unwrap();
        let reader = locks::Reader::new(locks);
        let files = Files::open(&folder.path().join("executor"), reader, vec![own]).unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        // Ends with the process: it waits for the next one for ever.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Ok(request) = frame::read::<Request>(&stream) else { continue };
                let Some(crate::verbs::messages::Verb::File(verb)) = request.verb else { continue };
                let said = Some(files.say(&verb, &stream));
                let _ = frame::write(&stream, &crate::verbs::messages::Answer { said });
            }
        });
        let hands = Hands::Executor(Client::new(&socket));
        Self { folder, hands }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file as the applier does.
    fn bring(&self, path: &Path, text: &str, mode: u32) -> io::Result<()> {
        let spot = self.hands.make(Path::new("/"), path)?;
        let rights = Rights { mode, owner: accounts::me() };
        spot.stage(&Bytes::Inline(text.as_bytes().to_vec()), rights, true)?;
        spot.swap_in()
    }

    fn look(&self, path: &Path) -> io::Result<Option<crate::platform::place::Found>> {
        self.hands.open(Path::new("/"), path)?.unwrap().read()
    }
}

#[test]
fn a_file_is_brought_looked_at_and_what_was_there_comes_back_with_its_rights() {
    let lab = Lab::new();
    let path = lab.path("root/a/b");
    assert_eq!(lab.look(&path).unwrap(), None);
    assert_eq!(lab.hands.missing(Path::new("/"), &path).unwrap(), [lab.path("root/a")]);
    lab.bring(&path, "first", 0o640).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4750)).unwrap();
    let spot = lab.hands.open(Path::new("/"), &path).unwrap().unwrap();
    assert_eq!(spot.text().unwrap(), None, "not everybody may read it");
    let (sha256, rights) = spot.keep_original(|_| panic!("the executor keeps it")).unwrap().unwrap();
    assert_eq!((sha256, rights.mode), (Sha256::of(b"first"), 0o4750));
    lab.bring(&path, "second", 0o644).unwrap();
    assert_eq!(spot.text().unwrap().unwrap(), b"second");
    for closed in ["root/a", "root", ""] {
        let closed = lab.path(closed);
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o750)).unwrap();
        assert_eq!(spot.text().unwrap(), None, "not everybody gets through {}", closed.display());
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(spot.text().unwrap().unwrap(), b"second");
    spot.stage(&Bytes::Kept(lab.path("nowhere"), sha256), rights, false).unwrap();
    spot.swap_in().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "first");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o4750);
    let other = lab.hands.open(Path::new("/"), &lab.path("root/other")).unwrap().unwrap();
    let stolen = other.stage(&Bytes::Kept(lab.path("nowhere"), sha256), rights, false);
    assert!(stolen.is_err(), "what was at one place comes back to no other");
}

#[test]
fn nothing_outside_the_roots_is_written_looked_at_or_taken_away() {
    let lab = Lab::new();
    fs::write(lab.path("secret"), "secret").unwrap();
    let deep = lab.path("root/../secret");
    let dots = lab.path("root/./x");
    let doubled = PathBuf::from(format!("{}//x", lab.path("root").display()));
    let own = lab.path("root/own/key");
    let relative = PathBuf::from("root/x");
    for path in [lab.path("secret"), deep, dots, doubled, own, relative, lab.path("root"), "/".into()] {
        let refused = lab.bring(&path, "mine", 0o644).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{}: {refused}", path.display());
        assert!(lab.look(&path).is_err());
        let spot = lab.hands.open(Path::new("/"), &path).unwrap().unwrap();
        for done in [spot.remove(), spot.clear(), spot.swap_back(), spot.remove_folder(), spot.make_folder()]
        {
            assert!(done.is_err(), "{}", path.display());
        }
        assert!(spot.keep_original(|_| Ok(Sha256::ZERO)).is_err());
    }
    assert_eq!(fs::read_to_string(lab.path("secret")).unwrap(), "secret");
    assert_eq!(fs::read_dir(lab.path("root/own")).unwrap().count(), 0);
}

#[test]
fn no_symbolic_link_leads_out_of_a_root() {
    let lab = Lab::new();
    fs::create_dir(lab.path("outside")).unwrap();
    fs::write(lab.path("outside/file"), "theirs").unwrap();
    symlink(lab.path("outside"), lab.path("root/link")).unwrap();
    symlink(lab.path("outside/file"), lab.path("root/file")).unwrap();
    assert!(lab.bring(&lab.path("root/link/new"), "mine", 0o644).is_err());
    assert!(lab.look(&lab.path("root/link/file")).is_err());
    assert!(lab.look(&lab.path("root/file")).is_err());
    let folder = lab.hands.open(Path::new("/"), &lab.path("root/link")).unwrap().unwrap();
    assert!(folder.set_rights(Rights { mode: 0o777, owner: accounts::me() }, true).is_err());
    lab.bring(&lab.path("root/file"), "mine", 0o644).unwrap();
    assert_eq!(
        fs::read_to_string(lab.path("outside/file")).unwrap(),
        "theirs",
        "the link itself was replaced"
    );
    assert_eq!(fs::read_dir(lab.path("outside")).unwrap().count(), 1);
}

#[test]
fn a_link_that_comes_between_a_look_and_a_write_changes_nothing_outside() {
    let lab = Lab::new();
    let (outside, folder) = (lab.path("outside"), lab.path("root/folder"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "theirs").unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = fs::remove_dir_all(&folder);
                let _ = symlink(&outside, &folder);
                let _ = fs::remove_file(&folder);
                let _ = fs::create_dir(&folder);
            }
        });
        for _ in 0..300 {
            let _ = lab.bring(&folder.join("file"), "mine", 0o644);
            if let Ok(Some(spot)) = lab.hands.open(Path::new("/"), &folder.join("file")) {
                let _ = spot.remove();
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "theirs");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn a_second_name_of_somebody_elses_file_gives_neither_its_bytes_nor_a_hold_on_it() {
    let lab = Lab::new();
    let (secret, name) = (lab.path("secret"), lab.path("root/name"));
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(&secret, &name).unwrap();
    let spot = lab.hands.open(Path::new("/"), &name).unwrap().unwrap();
    assert_eq!(spot.text().unwrap(), None);
    lab.bring(&name, "mine", 0o666).unwrap();
    assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
    assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn no_file_gets_bits_that_give_its_users_rights_away_and_no_other_bytes_than_were_meant() {
    let lab = Lab::new();
    let path = lab.path("root/tool");
    for mode in [0o4755, 0o2755, 0o1644, 0o10_0644] {
        assert_eq!(lab.bring(&path, "x", mode).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
    let changed = lab.path("changed");
    fs::write(&changed, "changed").unwrap();
    let spot = lab.hands.make(Path::new("/"), &path).unwrap();
    let rights = Rights { mode: 0o644, owner: accounts::me() };
    let error = spot.stage(&Bytes::Kept(changed, Sha256::of(b"meant")), rights, true).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(!path.exists());
    let error = spot.stage(&Bytes::Inline(vec![0; 17 * 1024 * 1024]), rights, true).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
}

#[test]
fn a_host_that_may_only_be_looked_at_is_looked_at_and_nothing_on_it_changes() {
    let lab = Lab::under("profile = \"monitor\"\n");
    let path = lab.path("root/file");
    fs::write(&path, "theirs").unwrap();
    assert_eq!(lab.look(&path).unwrap().unwrap().sha256, Sha256::of(b"theirs"));
    assert!(lab.hands.missing(Path::new("/"), &lab.path("root/a/b")).is_ok());
    let Hands::Executor(client) = &lab.hands else { unreachable!() };
    let said = |verb: FileVerb| client.file(verb).map(|reply| reply.said());
    let rights = Some(Rights { mode: 0o777, owner: accounts::me() }.into());
    for act in [
        Act::KeepOriginal,
        Act::Stage,
        Act::StageOriginal,
        Act::Keep,
        Act::SwapIn,
        Act::SwapBack,
        Act::Remove,
        Act::Clear,
        Act::ClearStaged,
        Act::MakeFolder,
        Act::SetRights,
        Act::RemoveFolder,
    ] {
        let verb = FileVerb { rights, ..FileVerb::of(&path, act) };
        let said = said(verb);
        assert!(
            matches!(&said, Ok(Said::Locked(why)) if why.contains("profile monitor")),
            "{act:?}: {said:?}"
        );
    }
    let making = FileVerb { make: true, ..FileVerb::of(&lab.path("root/new/file"), Act::Look) };
    assert!(matches!(said(making), Ok(Said::Locked(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    assert_eq!(fs::read_dir(lab.path("root")).unwrap().count(), 2, "the file and the agent's own folder");
}
