//! What the kernel says of files: inotify on the folders that they lie in. What it
//! says is a sign, never the truth: whoever hears it looks.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

/// What may make a file other than it was.
const SIGNS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// Of one reading; each sign has at most 16 bytes and a name.
const READING: usize = 4096;

/// Whose files may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// Those of these items; may be none.
    Some(BTreeSet<String>),
    /// The kernel had too much to say: anything may have.
    Lost,
}

/// Names in a folder, and the items that care.
type Names = BTreeMap<OsString, BTreeSet<String>>;

/// The kernel's word.
#[derive(Debug)]
pub(super) struct Notify {
    queue: AsyncFd<OwnedFd>,
    /// By the kernel's number of the folder.
    folders: Mutex<BTreeMap<i32, Names>>,
}

impl Notify {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// If the host has no more of these for the agent's user.
    pub(super) fn new() -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its heir is unsafe and asks for a descriptor that stays open and the same: an OwnedFd is one"
        )]
        let queue = AsyncFd::new(queue)?;
        Ok(Self { queue, folders: Mutex::default() })
    }

    /// Watches these paths and no others. Of a path in a folder that is not there, the
    /// nearest folder that is. For a thread that may wait.
    pub(super) fn follow(&self, paths: &BTreeMap<PathBuf, BTreeSet<String>>) {
        let mut wanted = BTreeMap::<&Path, Names>::new();
        for (path, items) in paths {
            if let Some((folder, name)) = nearest(path) {
                let names = wanted.entry(folder).or_default();
                names.entry(name.to_owned()).or_default().extend(items.iter().cloned());
            }
        }
        let mut folders = self.folders.lock();
        let before = std::mem::take(&mut *folders);
        for (folder, names) in wanted {
            match inotify::add_watch(&self.queue, folder, SIGNS) {
                // Two ways may lead to one folder.
                Ok(number) => merge(folders.entry(number).or_default(), names),
                Err(error) => {
                    let folder = folder.display();
                    tracing::warn!(%error, "changes in {folder} are noticed from time to time only: {error}");
                }
            }
        }
        for number in before.keys().filter(|number| !folders.contains_key(number)) {
            let _ = inotify::remove_watch(&self.queue, *number); // its folder may be gone already
        }
    }

    /// Waits for signs. May be dropped at any time.
    pub(super) async fn touched(&self) -> Touched {
        loop {
            let Ok(mut ready) = self.queue.readable().await else {
                return std::future::pending().await; // the runtime ends
            };
            let read = ready.try_io(|_| self.read());
            match read {
                Ok(Ok(Touched::Some(items))) if items.is_empty() => {}
                Ok(Ok(touched)) => return touched,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the kernel no longer tells of changes: {error}");
                    return std::future::pending().await; // the sweep goes on
                }
                Err(_) => {} // nothing was there after all
            }
        }
    }

    /// All signs that are there.
    fn read(&self) -> io::Result<Touched> {
        let mut buffer = [MaybeUninit::uninit(); READING];
        let mut reader = inotify::Reader::new(&self.queue, &mut buffer);
        let folders = self.folders.lock();
        let (mut items, mut lost, mut any) = (BTreeSet::new(), false, false);
        loop {
            let sign = match reader.next() {
                Ok(sign) => sign,
                Err(rustix::io::Errno::AGAIN) if any => break,
                Err(error) => return Err(error.into()),
            };
            any = true;
            lost |= sign.events().contains(ReadFlags::QUEUE_OVERFLOW);
            let Some(names) = folders.get(&sign.wd()) else { continue };
            match sign.file_name() {
                Some(name) => {
                    let name = OsStr::from_bytes(name.to_bytes());
                    items.extend(names.get(name).into_iter().flatten().cloned());
                }
                // The folder itself: it may be gone, with all that was in it.
                None => items.extend(names.values().flatten().cloned()),
            }
        }
        Ok(if lost { Touched::Lost } else { Touched::Some(items) })
    }
}

fn merge(into: &mut Names, names: Names) {
    for (name, items) in names {
        into.entry(name).or_default().extend(items);
    }
}

/// The nearest folder above a path that is there, and the name in it that leads on.
fn nearest(path: &Path) -> Option<(&Path, &OsStr)> {
    path.ancestors().find_map(|below| {
        let (folder, name) = (below.parent()?, below.file_name()?);
        folder.is_dir().then_some((folder, name))
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn of(paths: &[(&Path, &str)]) -> BTreeMap<PathBuf, BTreeSet<String>> {
        paths.iter().map(|(path, item)| ((*path).to_owned(), [(*item).to_owned()].into())).collect()
    }

    async fn heard(notify: &Notify) -> BTreeSet<String> {
        match tokio::time::timeout(LONG, notify.touched()).await.expect("the kernel says so") {
            Touched::Some(items) => items,
            Touched::Lost => panic!("nothing is lost here"),
        }
    }

    #[tokio::test]
    async fn only_what_is_watched_is_told_and_folders_that_come_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (a, deep) = (folder.path().join("a"), folder.path().join("deep/er/b"));
        let notify = Notify::new().unwrap();
        notify.follow(&of(&[(&a, "one"), (&deep, "two")]));
        fs::write(folder.path().join("other"), "x").unwrap();
        fs::write(&a, "x").unwrap();
        assert_eq!(heard(&notify).await, ["one".to_owned()].into());
        fs::create_dir_all(deep.parent().unwrap()).unwrap();
        let mut items = heard(&notify).await;
        while !items.contains("two") {
            items = heard(&notify).await; // the file's end of writing, told apart from its beginning
        }
        notify.follow(&of(&[(&deep, "two")]));
        fs::write(&a, "y").unwrap();
        fs::rename(&a, &deep).unwrap();
        assert_eq!(heard(&notify).await, ["two".to_owned()].into(), "the other is no longer watched");
    }
}
