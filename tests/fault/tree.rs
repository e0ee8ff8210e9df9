//! A bundle that has all that a bundle can have, and what a host looks like with each of its
//! versions: every path with its content, its mode and to whom it belongs.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
};

use muster_proto::types::v1::{BundleContent, BundleFile, Hook};
use muster_tests::operator::{file, sh};

/// What lies below a folder, by path.
pub(crate) type Tree = BTreeMap<String, Entry>;

/// A file, or a folder, which has no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    mode: u32,
    owner: (u32, u32),
    content: Option<String>,
}

/// What was on the host before the bundle: `gone` and `kept`.
const BEFORE: Rights = Rights { mode: 0o600, owner: (7, 8) };
const PLAIN: Rights = Rights { mode: 0o644, owner: (0, 0) };

#[derive(Debug, Clone, Copy)]
struct Rights {
    mode: u32,
    owner: (u32, u32),
}

impl Rights {
    fn file(self, content: &str) -> Entry {
        Entry { mode: self.mode, owner: self.owner, content: Some(content.to_owned()) }
    }
}

/// Makes what is there before.
pub(crate) fn make_before(files: &Path) {
    for name in ["gone", "kept"] {
        let path = files.join(name);
        fs::write(&path, of_before(name)).unwrap();
        chown(&path, Some(BEFORE.owner.0), Some(BEFORE.owner.1))
            .expect("this test gives files to others: it needs root");
        fs::set_permissions(&path, fs::Permissions::from_mode(BEFORE.mode)).unwrap();
    }
}

/// A host without the bundle.
pub(crate) fn before() -> Tree {
    ["gone", "kept"].map(|name| (name.to_owned(), BEFORE.file(&of_before(name)))).into()
}

fn of_before(name: &str) -> String {
    format!("{name} of before\n")
}

fn text(n: u64) -> String {
    format!("{n}\n")
}

/// Mode and owner of `left`, group of `right`, mode and owner of `folder`.
const fn rights(n: u64) -> (u32, u32, u32, u32, u32) {
    if n % 2 == 1 { (0o640, 4711, 4713, 0o750, 4715) } else { (0o604, 4712, 4714, 0o705, 0) }
}

const fn has_extra(n: u64) -> bool {
    n.is_multiple_of(3)
}

/// A version. From each to the next one rights change, and files come, go and return.
pub(crate) fn content(files: &Path, n: u64) -> BundleContent {
    let (mode, user, group, folder_mode, folder_user) = rights(n);
    let of = |name: &str| file(&files.join(name), &text(n));
    let bare = |name: &str| file(&files.join(name), "");
    let mut all = vec![
        BundleFile { mode, owner: user.to_string(), ..of("left") },
        BundleFile { group: group.to_string(), ..of("right") },
        BundleFile { directory: true, mode: folder_mode, owner: folder_user.to_string(), ..bare("folder") },
        of("folder/inner"),
    ];
    if n % 2 == 1 {
        all.extend([of("kept"), BundleFile { absent: true, ..bare("gone") }]);
    }
    if has_extra(n) {
        all.push(of("extra"));
    }
    let here = |script: &str| {
        let working_directory = files.to_str().unwrap().to_owned();
        sh(script).map(|hook| Hook { working_directory, ..hook })
    };
    BundleContent {
        files: all,
        // Whoever is told, of the new files or of those that return, finds files of one version, or none.
        on_change: here("test ! -e left || { cmp left right && cmp left folder/inner; }"),
        probe: here("cmp left right && cmp left folder/inner"),
        // Longer than a control plane that is killed here stays away.
        confirm_after_s: 60,
        ..Default::default()
    }
}

/// A host with a version.
pub(crate) fn expected(n: u64) -> Tree {
    let (mode, user, group, folder_mode, folder_user) = rights(n);
    let mut tree = before();
    let mut put = |name: &str, rights: Rights| tree.insert(name.to_owned(), rights.file(&text(n)));
    put("left", Rights { mode, owner: (user, 0) });
    put("right", Rights { owner: (0, group), ..PLAIN });
    put("folder/inner", PLAIN);
    if n % 2 == 1 {
        put("kept", Rights { owner: BEFORE.owner, ..PLAIN });
    }
    if has_extra(n) {
        put("extra", PLAIN);
    }
    tree.insert("folder".to_owned(), Entry { mode: folder_mode, owner: (folder_user, 0), content: None });
    if n % 2 == 1 {
        tree.remove("gone");
    }
    tree
}

/// What is there. `None`: it changes while it is looked at.
pub(crate) fn look(files: &Path) -> Option<Tree> {
    let mut tree = Tree::new();
    let mut folders = vec![files.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).ok()? {
            let path = entry.ok()?.path();
            let metadata = fs::symlink_metadata(&path).ok()?;
            let content = if metadata.is_dir() {
                folders.push(path.clone());
                None
            } else {
                Some(fs::read_to_string(&path).ok()?)
            };
            let name = path.strip_prefix(files).unwrap().to_str().unwrap().to_owned();
            let owner = (metadata.uid(), metadata.gid());
            tree.insert(name, Entry { mode: metadata.mode() & 0o7777, owner, content });
        }
    }
    Some(tree)
}
