//! An agent that was not installed by a package manager: two slots with a release each, and
//! a link that says which of them runs.
//!
//! ```text
//! /opt/muster/slots/a/bin/muster-node-agent
//! /opt/muster/slots/b/
//! /opt/muster/current -> slots/a
//! ```
//!
//! The link is changed by renaming another one over it, which lies there before: that is all
//! or nothing, also on a disk that is full and for a host that loses its power.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use muster_common::crash;
use serde::{Deserialize, Serialize};

use super::{
    archive::{self, Most},
    files,
};

/// The program in a slot.
const PROGRAM: &str = "bin/muster-node-agent";
/// What a release may hold.
const MOST: Most =
    Most { bytes: 1024 * 1024 * 1024, entries: 1024, window: 100 * 1024 * 1024, special_bits: true };

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

/// The slots below a folder. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    root: PathBuf,
}

impl Slot {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// Of the link that lies ready to lead to it.
    const fn ready(self) -> &'static str {
        match self {
            Self::A => ".to-a",
            Self::B => ".to-b",
        }
    }
}

impl Slots {
    /// Those from which a program runs, and in which of them it lies. `None`: in none.
    #[must_use]
    pub fn of(program: &Path) -> Option<(Self, Slot)> {
        let slot = program.parent()?.parent()?;
        let slots = slot.parent().filter(|slots| slots.ends_with("slots"))?;
        let slot = [Slot::A, Slot::B].into_iter().find(|it| slot.ends_with(it.name()))?;
        let slots = Self { root: slots.parent()?.to_owned() };
        (slots.program(slot) == program).then_some((slots, slot))
    }

    /// The program in a slot.
    #[must_use]
    pub fn program(&self, slot: Slot) -> PathBuf {
        self.folder(slot).join(PROGRAM)
    }

    /// To which slot the link leads.
    ///
    /// # Errors
    /// If it leads to none, or from the file system.
    pub fn current(&self) -> io::Result<Slot> {
        let leads = fs::read_link(self.root.join("current"))?;
        let found =
            [Slot::A, Slot::B].into_iter().find(|slot| leads.ends_with(Path::new("slots").join(slot.name())));
        found.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("it leads to {}", leads.display()))
        })
    }

    /// Fills a slot from an archive, and lays both links ready: from then on going there and
    /// back takes no space. What was in the slot goes first. `told`: bytes that are written.
    ///
    /// # Errors
    /// `InvalidData`: the archive is none of a release. `ResourceBusy`: the slot is the one that
    /// runs. Or from the file system.
    pub fn fill(&self, slot: Slot, archive: &Path, told: impl FnMut(u64)) -> io::Result<()> {
        if self.current()? == slot {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "that slot runs"));
        }
        let (folder, staged) = (self.folder(slot), self.root.join("slots/.new"));
        clear(&staged)?;
        let archive = File::open(archive)?;
        has_room(&self.root, archive.metadata()?.len())?;
        if let Err(error) = unpack(archive, &staged, told) {
            let _ = clear(&staged); // the room that it took is needed by what runs
            return Err(error);
        }
        clear(&folder)?;
        crash::point("upgrade.slot.cleared");
        fs::rename(&staged, &folder)?;
        files::sync_folder(&self.root.join("slots"))?;
        for slot in [Slot::A, Slot::B] {
            self.lay(slot)?;
        }
        files::sync_folder(&self.root)
    }

    /// Lets the link lead to a slot, durably. It may do so already.
    ///
    /// # Errors
    /// From the file system; the link is whole then, too.
    pub fn switch(&self, slot: Slot) -> io::Result<()> {
        if self.current().ok() != Some(slot) {
            let ready = self.root.join(slot.ready());
            if fs::symlink_metadata(&ready).is_err() {
                self.lay(slot)?;
            }
            fs::rename(ready, self.root.join("current"))?;
        }
        files::sync_folder(&self.root)
    }

    fn lay(&self, slot: Slot) -> io::Result<()> {
        let ready = self.root.join(slot.ready());
        match symlink(Path::new("slots").join(slot.name()), ready) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// What is in a slot.
    #[must_use]
    pub fn folder(&self, slot: Slot) -> PathBuf {
        self.root.join("slots").join(slot.name())
    }
}

fn unpack(archive: File, staged: &Path, told: impl FnMut(u64)) -> io::Result<()> {
    archive::unpack(archive, staged, MOST, told)?;
    if staged.join(PROGRAM).is_file() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has no {PROGRAM}")))
}

/// How much it is unpacked no archive says for certain; twice its own size it is at least.
fn has_room(folder: &Path, packed: u64) -> io::Result<()> {
    let disk = rustix::fs::statvfs(folder)?;
    let (free, needed) = (disk.f_bavail.saturating_mul(disk.f_frsize), packed.saturating_mul(2));
    if free >= needed {
        return Ok(());
    }
    let what = format!("{} has {free} bytes free, and {needed} are needed", folder.display());
    Err(io::Error::new(io::ErrorKind::StorageFull, what))
}

fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::archive::tests::packed;

    fn slots(root: &Path) -> Slots {
        for slot in ["a", "b"] {
            fs::create_dir_all(root.join("slots").join(slot).join("bin")).unwrap();
        }
        fs::write(root.join("slots/a").join(PROGRAM), "a").unwrap();
        symlink("slots/a", root.join("current")).unwrap();
        Slots::of(&root.join("slots/a").join(PROGRAM)).unwrap().0
    }

    #[test]
    fn a_slot_is_filled_and_the_link_goes_there_and_back_any_number_of_times() {
        let folder = tempfile::tempdir().unwrap();
        let slots = slots(folder.path());
        let archive = folder.path().join("archive");
        fs::write(&archive, packed(&[(PROGRAM, 0o755, b"b")])).unwrap();
        slots.fill(Slot::B, &archive, |_| {}).unwrap();
        let runs = || fs::read_to_string(folder.path().join("current").join(PROGRAM)).unwrap();
        for (slot, expected) in
            [(Slot::A, "a"), (Slot::B, "b"), (Slot::B, "b"), (Slot::A, "a"), (Slot::B, "b")]
        {
            slots.switch(slot).unwrap();
            assert_eq!((slots.current().unwrap(), runs().as_str()), (slot, expected));
        }
        let refused = slots.fill(Slot::B, &archive, |_| {}).unwrap_err().kind();
        assert_eq!(refused, io::ErrorKind::ResourceBusy, "what runs is not written over");
        assert_eq!(runs(), "b");
    }

    #[test]
    fn an_archive_without_the_program_leaves_both_slots_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let slots = slots(folder.path());
        let archive = folder.path().join("archive");
        fs::write(&archive, packed(&[("bin/other", 0o755, b"b")])).unwrap();
        fs::write(slots.program(Slot::B), "before").unwrap();
        assert_eq!(slots.fill(Slot::B, &archive, |_| {}).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(fs::read_to_string(slots.program(Slot::B)).unwrap(), "before");
        assert!(!folder.path().join("slots/.new").exists(), "it takes no room");
        assert_eq!(has_room(folder.path(), u64::MAX).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn slots_are_known_by_where_a_program_lies() {
        let of = |path: &str| Slots::of(Path::new(path)).map(|(slots, slot)| (slots.root, slot));
        assert_eq!(
            of("/opt/muster/slots/b/bin/muster-node-agent"),
            Some((PathBuf::from("/opt/muster"), Slot::B))
        );
        assert_eq!(of("/usr/bin/muster-node-agent"), None);
        assert_eq!(of("/opt/slots/c/bin/muster-node-agent"), None);
    }
}
