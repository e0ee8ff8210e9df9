//! A file system in memory that real code works in, and that writes down what is done to it.
//! Served over FUSE: needs root.

use std::{
    ffi::OsStr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, UNIX_EPOCH},
};

use super::disk::{Body, Deed, Node, Tree};
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

/// Nothing is remembered by the kernel: it asks each time.
const NOT: Duration = Duration::ZERO;
const BLOCK: u32 = 4096;
/// Blocks that the disk says it has, all free.
const BLOCKS: u64 = 1 << 20;

/// What is on the disk, and how it came to that.
#[derive(Debug)]
pub(super) struct Disk {
    tree: Tree,
    deeds: Vec<Deed>,
}

/// A disk in use. Dropped: unmounted.
pub(super) struct Served {
    disk: Arc<Mutex<Disk>>,
    session: BackgroundSession,
}

struct Server(Arc<Mutex<Disk>>);

impl Served {
    /// Mounts an empty one.
    pub(super) fn mount(at: &Path) -> Self {
        let disk = Arc::new(Mutex::new(Disk { tree: Tree::new(), deeds: Vec::new() }));
        let session = fuser::spawn_mount(Server(Arc::clone(&disk)), at, &Config::default())
            .unwrap_or_else(|error| panic!("this test must run as root, with leave to mount: {error}"));
        Self { disk, session }
    }

    /// How much was done until now.
    pub(super) fn done(&self) -> usize {
        self.disk.lock().unwrap().deeds.len()
    }

    /// Unmounts it; all that was done.
    pub(super) fn finish(self) -> Vec<Deed> {
        self.session.umount_and_join().unwrap();
        std::mem::take(&mut self.disk.lock().unwrap().deeds)
    }
}

impl Server {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("no one panics with it")
    }
}

impl Disk {
    fn does(&mut self, deed: Deed) {
        self.tree.bear(&deed);
        self.tree.apply(&deed);
        self.deeds.push(deed);
    }

    fn attributes(&self, number: u64) -> Result<FileAttr, Errno> {
        let node = self.tree.get(number).ok_or(Errno::ENOENT)?;
        let (kind, size) = match &node.body {
            Body::File(content) => (FileType::RegularFile, content.len()),
            Body::Folder(names) => (FileType::Directory, names.len()),
            Body::Link(to) => (FileType::Symlink, to.as_os_str().len()),
        };
        let perm = u16::try_from(node.mode & 0o7777).unwrap_or_default();
        let (size, time) = (size as u64, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: u32::try_from(self.tree.count_names(number)).unwrap_or(u32::MAX),
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK,
            flags: 0,
        })
    }

    fn child(&self, folder: u64, name: &OsStr) -> Result<u64, Errno> {
        self.tree.child(folder, name).ok_or(Errno::ENOENT)
    }

    fn make(&mut self, folder: INodeNo, name: &OsStr, mode: u32, body: Body) -> Result<FileAttr, Errno> {
        let (folder, number) = (folder.0, self.tree.next());
        if self.tree.child(folder, name).is_some() {
            return Err(Errno::EEXIST);
        }
        self.does(Deed::Made { folder, name: name.to_owned(), number, node: Node { mode, body } });
        self.attributes(number)
    }

    fn remove(&mut self, folder: INodeNo, name: &OsStr) -> Result<(), Errno> {
        let number = self.child(folder.0, name)?;
        self.is_empty(number)?;
        self.does(Deed::Removed { folder: folder.0, name: name.to_owned() });
        Ok(())
    }

    fn is_empty(&self, number: u64) -> Result<(), Errno> {
        match self.tree.get(number).map(|node| &node.body) {
            Some(Body::Folder(names)) if !names.is_empty() => Err(Errno::ENOTEMPTY),
            _ => Ok(()),
        }
    }

    fn move_to(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), flags: RenameFlags) -> Result<(), Errno> {
        let number = self.child(from.0, from.1)?;
        let there = self.tree.child(to.0, to.1);
        if flags.contains(RenameFlags::RENAME_NOREPLACE) && there.is_some() {
            return Err(Errno::EEXIST);
        }
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            return Err(Errno::EINVAL);
        }
        if there == Some(number) {
            return Ok(()); // two names of one file stay
        }
        there.map_or(Ok(()), |there| self.is_empty(there))?;
        let (from, to) = ((from.0, from.1.to_owned()), (to.0, to.1.to_owned()));
        self.does(Deed::Moved { from, to, number });
        Ok(())
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let disk = self.disk();
        match disk.child(folder.0, name).and_then(|number| disk.attributes(number)) {
            Ok(found) => reply.entry(&NOT, &found, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.disk().attributes(number.0) {
            Ok(found) => reply.attr(&NOT, &found),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (mut disk, number) = (self.disk(), number.0);
        if let Some(mode) = mode {
            disk.does(Deed::Mode { number, mode });
        }
        if let Some(size) = size {
            disk.does(Deed::Cut { number, size: usize::try_from(size).unwrap() });
        }
        match disk.attributes(number) {
            Ok(found) => reply.attr(&NOT, &found),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        match self.disk().tree.get(number.0) {
            Some(Node { body: Body::Link(to), .. }) => reply.data(to.as_os_str().as_encoded_bytes()),
            _ => reply.error(Errno::EINVAL),
        }
    }

    fn mkdir(&self, _: &Request, folder: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        answer(self.disk().make(folder, name, mode & !umask, Body::Folder([].into())), reply);
    }

    fn symlink(&self, _: &Request, folder: INodeNo, name: &OsStr, to: &Path, reply: ReplyEntry) {
        answer(self.disk().make(folder, name, 0o777, Body::Link(to.to_owned())), reply);
    }

    fn link(&self, _: &Request, number: INodeNo, folder: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut disk = self.disk();
        let is_taken = disk.tree.child(folder.0, name).is_some();
        let named = if is_taken { Err(Errno::EEXIST) } else { disk.attributes(number.0) };
        if named.is_ok() {
            disk.does(Deed::Named { folder: folder.0, name: name.to_owned(), number: number.0 });
        }
        answer(named, reply);
    }

    fn unlink(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.disk().remove(folder, name), reply);
    }

    fn rmdir(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.disk().remove(folder, name), reply);
    }

    fn rename(
        &self,
        _: &Request,
        from: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        done(self.disk().move_to((from.0, name), (to.0, new), flags), reply);
    }

    fn create(
        &self,
        _: &Request,
        folder: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.disk().make(folder, name, mode & !umask & 0o7777, Body::File(Vec::new())) {
            Ok(made) => reply.created(&NOT, &made, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.disk().tree.get(number.0) {
            Some(Node { body: Body::File(content), .. }) => {
                let from = usize::try_from(offset).unwrap().min(content.len());
                let until = (from + size as usize).min(content.len());
                reply.data(&content[from..until]);
            }
            _ => reply.error(Errno::EISDIR),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let offset = usize::try_from(offset).unwrap();
        self.disk().does(Deed::Wrote { number: number.0, offset, bytes: bytes.to_vec() });
        reply.written(u32::try_from(bytes.len()).unwrap());
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.disk().does(Deed::Synced { number: number.0 });
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.disk().does(Deed::Synced { number: number.0 });
        reply.ok();
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let disk = self.disk();
        let Some(Node { body: Body::Folder(names), .. }) = disk.tree.get(number.0) else {
            return reply.error(Errno::ENOTDIR);
        };
        // By their numbers: what goes meanwhile moves nobody's place.
        let mut children: Vec<_> = names.iter().filter(|(_, child)| **child > offset).collect();
        children.sort_by_key(|(_, child)| **child);
        for (name, child) in children {
            let kind = disk.attributes(*child).map_or(FileType::RegularFile, |found| found.kind);
            if reply.add(INodeNo(*child), *child, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCK, 255, BLOCK);
    }
}

fn answer(made: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match made {
        Ok(made) => reply.entry(&NOT, &made, Generation(0)),
        Err(error) => reply.error(error),
    }
}

fn done(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}
