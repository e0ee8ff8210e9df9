//! What the applier knows durably: one record for each item, and the bytes that
//! records refer to, by their hash.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use muster_common::{clock::UnixMillis, digest::Sha256};
use serde::{Deserialize, Serialize};

use super::{bundle::Bundle, cache::Wishes, cut_offs::CutOffs, secrets};
use crate::{
    platform::{
        bytes::{self, Bytes},
        files,
        place::Rights,
    },
    state::ItemState,
};

/// One item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) state: ItemState,
    /// Files that belong to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) owned: Vec<Owned>,
    /// Folders that were made for them: under which root, and which.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) made: Vec<(PathBuf, PathBuf)>,
    /// How often it was corrected since it was applied.
    #[serde(default)]
    pub(super) corrections: u64,
    /// The options, of the item `settings`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) settings: BTreeMap<String, String>,
}

/// A file that belongs to an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owned {
    pub(super) path: PathBuf,
    /// What was there before Muster first wrote it.
    pub(super) original: Option<Original>,
    /// What the bundle wants there.
    #[serde(default, skip_serializing_if = "Kind::is_file")]
    pub(super) kind: Kind,
}

/// What an item wants at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// A file with content.
    #[default]
    File,
    /// No file.
    Absent,
    /// A folder.
    Folder,
}

impl Kind {
    const fn is_file(&self) -> bool {
        matches!(self, Self::File)
    }
}

/// A file or folder of before. A folder has no content, and the hash of nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Original {
    pub(super) sha256: Sha256,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
}

impl Original {
    pub(super) const fn rights(&self) -> Rights {
        Rights { mode: self.mode, owner: self.owner }
    }
}

/// All records, in memory and on disk.
#[derive(Debug)]
pub(super) struct Records {
    folder: PathBuf,
    records: BTreeMap<String, Record>,
    /// Items whose record on disk is not that in memory.
    unsaved: BTreeSet<String>,
    pub(super) cut_offs: CutOffs,
    /// Which blobs items wait for.
    pub(super) wishes: Wishes,
}

impl Record {
    pub(super) const fn new(state: ItemState) -> Self {
        Self { state, owned: Vec::new(), made: Vec::new(), corrections: 0, settings: BTreeMap::new() }
    }
}

impl Records {
    /// Reads what is there. A record that cannot be read is set aside: it must not
    /// stop the agent, and its item is offered again.
    pub(super) fn open(folder: &Path, now: UnixMillis) -> io::Result<Self> {
        for part in ["records", "blobs", "cache", "secrets"] {
            files::private_folder(&folder.join(part))?;
        }
        let mut records = BTreeMap::new();
        for file in fs::read_dir(folder.join("records"))? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match fs::read(&path).and_then(|json| Ok(serde_json::from_slice::<Record>(&json)?)) {
                Ok(record) => drop(records.insert(record.state.item.clone(), record)),
                Err(error) => set_aside(&path, &error, now),
            }
        }
        let (cut_offs, wishes) = (CutOffs::open(folder), Wishes::open(folder));
        Ok(Self { folder: folder.to_owned(), records, unsaved: BTreeSet::new(), cut_offs, wishes })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    pub(super) fn get(&self, item: &str) -> Option<&Record> {
        self.records.get(item)
    }

    /// The item to which a file belongs.
    pub(super) fn owner_of(&self, path: &Path) -> Option<&str> {
        let owns = |record: &&Record| record.owned.iter().any(|owned| owned.path == path);
        self.records.values().find(owns).map(|record| record.state.item.as_str())
    }

    /// Writes a record: the point of decision of an attempt. On the disk first: what
    /// could not be written was not decided.
    pub(super) fn put(&mut self, record: Record) -> io::Result<()> {
        self.write(&record)?;
        self.keep(record);
        Ok(())
    }

    /// Notes what became of an attempt that changed nothing. It is known at once, and
    /// written as soon as the disk takes it.
    pub(super) fn note(&mut self, record: Record) {
        let item = record.state.item.clone();
        let written = self.write(&record);
        self.keep(record);
        if let Err(error) = written {
            tracing::error!(item, %error, "could not write down yet what became of {item}");
            self.unsaved.insert(item);
        }
    }

    /// Notes how a host differs from what runs. Of an attempt it says nothing.
    pub(super) fn tell(&mut self, record: Record) {
        let item = record.state.item.clone();
        if let Err(error) = self.write(&record) {
            tracing::error!(item, %error, "could not write down yet how this host differs from {item}");
            self.unsaved.insert(item.clone());
        }
        self.records.insert(item, record);
    }

    /// Writes what the disk did not take before.
    pub(super) fn save_unsaved(&mut self) {
        let wrote = |item: &String| self.records.get(item).is_none_or(|record| self.write(record).is_ok());
        let written: Vec<String> = self.unsaved.iter().filter(|item| wrote(item)).cloned().collect();
        self.unsaved.retain(|item| !written.contains(item));
    }

    pub(super) fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        if !is_known_kind(&record.state.item) {
            // Its name cannot be trusted as a file name; it is known until this process ends.
            return Ok(());
        }
        let json = serde_json::to_vec_pretty(record)?;
        files::write_atomically(&self.path(&record.state.item), &json, 0o600)
    }

    fn keep(&mut self, record: Record) {
        let item = record.state.item.clone();
        self.cut_offs.forget(&item);
        self.unsaved.remove(&item);
        self.records.insert(item, record);
    }

    pub(super) fn remove(&mut self, item: &str) -> io::Result<()> {
        if is_known_kind(item) {
            match fs::remove_file(self.path(item)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => files::sync_folder(&self.folder.join("records"))?,
            }
        }
        self.cut_offs.forget(item);
        self.unsaved.remove(item);
        self.records.remove(item);
        Ok(())
    }

    /// The bundle that an item runs, without its protected contents.
    pub(super) fn payload(&self, record: &Record) -> Option<Bundle> {
        bundle_of(&self.folder, record)
    }

    /// The same, with them.
    pub(super) fn whole(&self, record: &Record) -> Option<Bundle> {
        let mut bundle = self.payload(record)?;
        let contents = secrets::read(&self.folder, &bundle.secrets());
        match contents
            .map_err(|error| error.to_string())
            .and_then(|contents| bundle.fill(&contents).map_err(|failure| failure.error.message))
        {
            Ok(()) => Some(bundle),
            Err(error) => {
                let item = &record.state.item;
                tracing::error!(
                    item,
                    "protected contents of {item} cannot be read: it is not looked after: {error}"
                );
                None
            }
        }
    }

    /// What was there before items wrote, that some still need.
    pub(super) fn originals(&self) -> Vec<(PathBuf, Sha256)> {
        let owned = self.records.values().flat_map(|record| &record.owned);
        owned.filter_map(|owned| Some((owned.path.clone(), owned.original.as_ref()?.sha256))).collect()
    }

    /// Takes away the bytes that no record refers to any more; not while the disk knows
    /// other records than the memory.
    pub(super) fn sweep(&self) -> io::Result<()> {
        if self.has_unsaved() {
            return Ok(());
        }
        self.sweep_secrets()?;
        let mut needed = BTreeSet::new();
        for record in self.records.values() {
            needed.extend(record.state.running.iter().map(|running| running.sha256));
            needed
                .extend(record.owned.iter().filter_map(|owned| owned.original.as_ref()).map(|it| it.sha256));
        }
        for file in fs::read_dir(self.folder.join("blobs"))? {
            let file = file?;
            let sha256 = file.file_name().to_str().and_then(Sha256::parse_hex);
            if !sha256.is_some_and(|sha256| needed.contains(&sha256)) {
                fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    /// The same after something that was decided: what could not go yet goes the next time.
    pub(super) fn sweep_or_warn(&self) {
        if let Err(error) = self.sweep() {
            tracing::warn!(%error, "what nothing needs any more could not be taken away");
        }
    }

    /// Takes away the protected contents that nothing needs which runs.
    pub(super) fn sweep_secrets(&self) -> io::Result<()> {
        let bundles = || self.records.values().filter(|record| super::bundle::is_item(&record.state.item));
        let running = bundles().filter(|record| record.state.running.is_some());
        // Of a bundle that cannot be read nobody knows what it needs.
        let read: Option<Vec<Bundle>> = running.map(|record| self.payload(record)).collect();
        let Some(read) = read.filter(|_| !self.has_unsaved()) else { return Ok(()) };
        secrets::sweep(&self.folder, &read.iter().flat_map(Bundle::secrets).collect())
    }

    fn path(&self, item: &str) -> PathBuf {
        self.folder.join("records").join(format!("{}.json", item.replace('/', "+")))
    }
}

fn set_aside(path: &Path, error: &io::Error, now: UnixMillis) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".damaged-{}", now.0));
    match fs::rename(path, &aside) {
        Ok(()) => tracing::error!(%error, "{} was damaged and set aside", path.display()),
        Err(second) => {
            tracing::error!(%error, "{} is damaged and cannot be set aside: {second}", path.display());
        }
    }
}

/// All records that can be read, by somebody who changes nothing.
pub(super) fn read_all(folder: &Path) -> io::Result<Vec<Record>> {
    let files = match fs::read_dir(folder.join("records")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files?,
    };
    let paths = files.map(|file| file.map(|file| file.path())).collect::<io::Result<Vec<_>>>()?;
    let records = paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = |path: &PathBuf| serde_json::from_slice(&files::read_plain(path).ok()?).ok();
    Ok(records.filter_map(read).collect())
}

/// The bundle that a record's item runs, likewise.
pub(super) fn bundle_of(folder: &Path, record: &Record) -> Option<Bundle> {
    let running = record.state.running.as_ref().filter(|_| super::bundle::is_item(&record.state.item))?;
    Bundle::decode(&read_blob(folder, running.sha256).ok()?).ok()
}

/// One record, without opening the others.
pub(super) fn read(folder: &Path, item: &str) -> Option<Record> {
    let path = folder.join("records").join(format!("{}.json", item.replace('/', "+")));
    serde_json::from_slice(&files::read_plain(&path).ok()?).ok()
}

/// Keeps bytes durably.
pub(super) fn keep_blob(folder: &Path, bytes: &[u8]) -> io::Result<Sha256> {
    let sha256 = Sha256::of(bytes);
    let path = folder.join("blobs").join(sha256.to_string());
    if !path.exists() {
        files::write_atomically(&path, bytes, 0o600)?;
    }
    Ok(sha256)
}

/// Keeps the bytes of a file durably. They are copied: what others do to the file later
/// changes nothing here.
pub(super) fn keep_file(folder: &Path, content: impl Read) -> io::Result<Sha256> {
    let folder = folder.join("blobs");
    let staged = folder.join("incoming");
    let _ = fs::remove_file(&staged); // of a process that ended here
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&staged)?;
    let kept = bytes::copy(content, &mut file).and_then(|sha256| {
        file.sync_all()?;
        fs::rename(&staged, folder.join(sha256.to_string()))?;
        Ok(sha256)
    });
    if kept.is_err() {
        let _ = fs::remove_file(&staged);
    }
    files::sync_folder(&folder).and(kept)
}

/// Bytes that are kept under this hash, as they are written somewhere.
pub(super) fn kept_as(folder: &Path, sha256: Sha256) -> Bytes {
    Bytes::Kept(folder.join("blobs").join(sha256.to_string()), sha256)
}

/// The bytes with this hash.
fn read_blob(folder: &Path, sha256: Sha256) -> io::Result<Vec<u8>> {
    let bytes = files::read_plain(&folder.join("blobs").join(sha256.to_string()))?;
    if Sha256::of(&bytes) == sha256 {
        Ok(bytes)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("what is kept as {sha256} was changed")))
    }
}

fn is_known_kind(item: &str) -> bool {
    item == super::options::ITEM || super::bundle::is_item(item)
}
