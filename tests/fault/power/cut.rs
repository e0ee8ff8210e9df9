//! What a disk has after a loss of power: what was synced, and of the rest what chance leaves.
//!
//! Stricter than the file systems that hosts have. A file that was synced has its content, and
//! a name only once the folder was synced; of a folder that was not synced any prefix of
//! what was done to its names may be there, of a file any prefix of what was written, the last
//! of it in part. What holds here holds on ext4, XFS and Btrfs.

use std::collections::HashMap;

use rand::{RngExt as _, rngs::StdRng};

use super::disk::{Deed, Tree};

/// How much of what was not synced is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// All of it.
    All,
    /// Nothing: the process was killed, and not the host.
    Nothing,
    /// By chance, for each file and each folder.
    Some,
}

/// The disk after a cut that came after these deeds; those before `settled` are durable.
pub(super) fn after(deeds: &[Deed], settled: usize, loss: Loss, random: &mut StdRng) -> Tree {
    let durable = durable(deeds, settled);
    let mut left: HashMap<u64, usize> = HashMap::new();
    let mut tree = Tree::new();
    deeds.iter().for_each(|deed| tree.bear(deed));
    for (at, deed) in deeds.iter().enumerate() {
        let Some(changed) = deed.changes().first().copied() else { continue };
        if durable[at] || loss == Loss::Nothing {
            tree.apply(deed);
        } else if loss == Loss::Some {
            let until = *left.entry(changed).or_insert_with(|| random.random_range(at..=deeds.len()));
            if at < until {
                tree.apply(deed);
            } else if at == until
                && let Deed::Wrote { number, offset, bytes } = deed
            {
                let torn = bytes[..random.random_range(0..=bytes.len())].to_vec();
                tree.apply(&Deed::Wrote { number: *number, offset: *offset, bytes: torn });
            }
        }
    }
    tree
}

/// Of each deed whether it is durable at the end.
fn durable(deeds: &[Deed], settled: usize) -> Vec<bool> {
    let mut last_sync: HashMap<u64, usize> = HashMap::new();
    for (at, deed) in deeds.iter().enumerate() {
        if let Deed::Synced { number } = deed {
            last_sync.insert(*number, at);
        }
    }
    let is_synced = |at: usize, number: &u64| last_sync.get(number).is_some_and(|sync| *sync > at);
    let is_durable = |(at, deed): (usize, &Deed)| {
        at < settled || deed.changes().iter().any(|number| is_synced(at, number))
    };
    deeds.iter().enumerate().map(is_durable).collect()
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, ffi::OsString};

    use rand::SeedableRng as _;

    use super::*;
    use crate::power::disk::{Body, Node, ROOT};

    fn made(name: &str, number: u64) -> Deed {
        let node = Node { mode: 0o600, body: Body::File(Vec::new()) };
        Deed::Made { folder: ROOT, name: name.into(), number, node }
    }

    fn wrote(number: u64, bytes: &[u8]) -> Deed {
        Deed::Wrote { number, offset: 0, bytes: bytes.to_vec() }
    }

    fn content(tree: &Tree, name: &str) -> Option<Vec<u8>> {
        match &tree.get(tree.child(ROOT, OsStr::new(name))?)?.body {
            Body::File(content) => Some(content.clone()),
            _ => None,
        }
    }

    #[test]
    fn what_was_not_synced_is_lost_and_a_rename_is_whole() {
        let mut random = StdRng::seed_from_u64(1);
        let moved =
            Deed::Moved { from: (ROOT, OsString::from("a.new")), to: (ROOT, OsString::from("a")), number: 3 };
        let mut deeds = vec![made("a", 2), wrote(2, b"old"), made("a.new", 3), wrote(3, b"new"), moved];
        let mut left = |deeds: &[Deed], loss| {
            let tree = after(deeds, 2, loss, &mut random);
            (content(&tree, "a"), content(&tree, "a.new"))
        };
        assert_eq!(left(&deeds, Loss::All), (Some(b"old".to_vec()), None));
        assert_eq!(left(&deeds, Loss::Nothing), (Some(b"new".to_vec()), None));
        deeds.push(Deed::Synced { number: ROOT });
        assert_eq!(left(&deeds, Loss::All), (Some(Vec::new()), None), "its content was not synced");
        deeds.insert(4, Deed::Synced { number: 3 });
        assert_eq!(left(&deeds, Loss::All), (Some(b"new".to_vec()), None));
        for _ in 0..100 {
            let (a, new) = left(&deeds[..6], Loss::Some);
            assert!(
                a == Some(b"old".to_vec()) || a == Some(b"new".to_vec()) && new.is_none(),
                "{a:?} {new:?}"
            );
        }
    }
}
