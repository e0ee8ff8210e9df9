//! What is on a disk: a tree of files, folders and links by their numbers, and each thing that
//! was done to it, in order.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

/// Of the folder that everything is in.
pub(super) const ROOT: u64 = 1;

/// One thing that was done.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    /// Something new got a name.
    Made { folder: u64, name: OsString, number: u64, node: Node },
    /// What has a name got another one.
    Named { folder: u64, name: OsString, number: u64 },
    /// A name was taken away.
    Removed { folder: u64, name: OsString },
    /// A name became another one; what had that is gone.
    Moved { from: (u64, OsString), to: (u64, OsString), number: u64 },
    /// Bytes of a file.
    Wrote { number: u64, offset: usize, bytes: Vec<u8> },
    /// The length of a file.
    Cut { number: u64, size: usize },
    /// A mode.
    Mode { number: u64, mode: u32 },
    /// What was done to this file or folder is durable.
    Synced { number: u64 },
}

/// A file, a folder or a link.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) mode: u32,
    pub(super) body: Body,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    File(Vec<u8>),
    Folder(BTreeMap<OsString, u64>),
    Link(PathBuf),
}

/// All of them.
#[derive(Debug, Clone)]
pub(super) struct Tree(BTreeMap<u64, Node>);

impl Deed {
    /// Files and folders that are changed by it: once one of them is synced it is durable. A
    /// rename is one thing, whole in both folders or in none.
    pub(super) fn changes(&self) -> Vec<u64> {
        match self {
            Self::Made { folder, .. } | Self::Named { folder, .. } | Self::Removed { folder, .. } => {
                vec![*folder]
            }
            Self::Moved { from, to, .. } => vec![to.0, from.0],
            Self::Wrote { number, .. } | Self::Cut { number, .. } | Self::Mode { number, .. } => {
                vec![*number]
            }
            Self::Synced { .. } => Vec::new(),
        }
    }
}

impl Tree {
    pub(super) fn new() -> Self {
        let root = Node { mode: 0o700, body: Body::Folder(BTreeMap::new()) };
        Self([(ROOT, root)].into())
    }

    pub(super) fn get(&self, number: u64) -> Option<&Node> {
        self.0.get(&number)
    }

    pub(super) fn child(&self, folder: u64, name: &std::ffi::OsStr) -> Option<u64> {
        match &self.get(folder)?.body {
            Body::Folder(names) => names.get(name).copied(),
            Body::File(_) | Body::Link(_) => None,
        }
    }

    /// How many names lead to it.
    pub(super) fn count_names(&self, number: u64) -> usize {
        let of = |node: &Node| match &node.body {
            Body::Folder(names) => names.values().filter(|child| **child == number).count(),
            Body::File(_) | Body::Link(_) => 0,
        };
        self.0.values().map(of).sum()
    }

    /// A number that nothing had before.
    pub(super) fn next(&self) -> u64 {
        self.0.keys().next_back().copied().unwrap_or(ROOT) + 1
    }

    /// What is new is there, without content and without a name.
    pub(super) fn bear(&mut self, deed: &Deed) {
        if let Deed::Made { number, node, .. } = deed {
            self.0.insert(*number, node.clone());
        }
    }

    /// What was done is so. Of numbers that are not known nothing is.
    pub(super) fn apply(&mut self, deed: &Deed) {
        match deed {
            Deed::Made { folder, name, number, node } => {
                self.0.entry(*number).or_insert_with(|| node.clone());
                self.name(*folder, name, *number);
            }
            Deed::Named { folder, name, number } => self.name(*folder, name, *number),
            Deed::Removed { folder, name } => self.names(*folder, |names| {
                names.remove(name);
            }),
            Deed::Moved { from, to, number } => {
                self.names(from.0, |names| {
                    if names.get(&from.1) == Some(number) {
                        names.remove(&from.1);
                    }
                });
                self.name(to.0, &to.1, *number);
            }
            Deed::Wrote { number, offset, bytes } => self.content(*number, |content| {
                let end = offset + bytes.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(bytes);
            }),
            Deed::Cut { number, size } => self.content(*number, |content| content.resize(*size, 0)),
            Deed::Mode { number, mode } => {
                if let Some(node) = self.0.get_mut(number) {
                    node.mode = *mode;
                }
            }
            Deed::Synced { .. } => {}
        }
    }

    fn name(&mut self, folder: u64, name: &OsString, number: u64) {
        self.names(folder, |names| {
            names.insert(name.clone(), number);
        });
    }

    fn names(&mut self, folder: u64, change: impl FnOnce(&mut BTreeMap<OsString, u64>)) {
        if let Some(Node { body: Body::Folder(names), .. }) = self.0.get_mut(&folder) {
            change(names);
        }
    }

    fn content(&mut self, number: u64, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(Node { body: Body::File(content), .. }) = self.0.get_mut(&number) {
            change(content);
        }
    }

    /// Lays out all that has a name below an empty folder.
    pub(super) fn lay_out(&self, at: &Path) {
        self.lay(ROOT, at, &mut BTreeMap::new());
    }

    fn lay(&self, number: u64, at: &Path, laid: &mut BTreeMap<u64, PathBuf>) {
        let Some(node) = self.get(number) else { return };
        match &node.body {
            Body::Link(to) => return symlink(to, at).unwrap(),
            Body::File(content) => {
                if let Some(same) = laid.get(&number) {
                    return fs::hard_link(same, at).unwrap();
                }
                fs::write(at, content).unwrap();
                laid.insert(number, at.to_owned());
            }
            Body::Folder(names) => {
                fs::create_dir_all(at).unwrap();
                names.iter().for_each(|(name, number)| self.lay(*number, &at.join(name), laid));
            }
        }
        fs::set_permissions(at, fs::Permissions::from_mode(node.mode)).unwrap();
    }
}
