//! The configuration file as people wrote it: what is not changed stays as it is, to the
//! letter, and a change is there whole or not at all.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use muster_common::error_chain::Chain;
use toml_edit::{DocumentMut, Item, TableLike, Value, value};

use super::change::Wanted;
use crate::{
    cli::exit::{self, Failure},
    config::Config,
    platform::files,
    redaction::redact,
};

const SECTION: &str = "settings";
/// Of a file that was not there: the agent's group may read it, as the agent must.
const MODE: u32 = 0o640;

/// The file, read.
pub(super) struct ConfigFile {
    path: PathBuf,
    document: DocumentMut,
    is_there: bool,
}

/// Who may do what with a file.
#[derive(Debug, Clone, Copy)]
struct Rights {
    mode: u32,
    owner: Option<u32>,
    group: Option<u32>,
    /// It had them before: they must stay.
    strict: bool,
}

impl ConfigFile {
    /// Reads it; without one it is empty.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let (text, is_there) = match fs::read_to_string(path) {
            Ok(text) => (text, true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), false),
            Err(error) => return Err(cannot(path, &error)),
        };
        let document = text.parse::<DocumentMut>().map_err(|error| {
            let why = redact(error.to_string().trim_end());
            Failure::told(exit::CONFIG, format!("{} is not a valid configuration: {why}", path.display()))
        })?;
        Ok(Self { path: path.to_owned(), document, is_there })
    }

    /// Puts values in their place.
    pub(super) fn put(&mut self, wanted: &Wanted) -> Result<(), Failure> {
        let section = self.document.entry(SECTION).or_insert_with(toml_edit::table);
        let table = section.as_table_like_mut().ok_or_else(|| {
            Failure::told(exit::CONFIG, format!("{SECTION} in {} is no table", self.path.display()))
        })?;
        for (key, value) in wanted {
            put_one(table, key, value.as_deref());
        }
        Ok(())
    }

    /// Writes it, if the agent could use it; what was there before is kept beside it.
    /// `state`: the state directory; a file that was not there is for its group to read.
    pub(super) fn write(&self, state: &Path) -> Result<(), Failure> {
        let rights = rights(&self.path, state);
        let staged = beside(&self.path, ".new");
        let failed = |error: io::Error| cannot(&self.path, &error);
        let written = stage(&staged, self.document.to_string().as_bytes(), rights);
        let usable = written.map_err(failed).and_then(|()| {
            Config::load(Some(&staged)).map_err(|error| Failure::told(exit::CONFIG, told(&error, &self.path)))
        });
        let done = usable.and_then(|_| {
            if self.is_there && Config::load(Some(&self.path)).is_ok() {
                keep(&self.path, rights).map_err(failed)?;
            }
            fs::rename(&staged, &self.path)
                .and_then(|()| files::sync_folder(folder(&self.path)))
                .map_err(failed)
        });
        if done.is_err() {
            let _ = fs::remove_file(&staged);
        }
        done
    }
}

/// Puts the last good file back in the place of one that is broken, which is kept, too.
/// `false`: there is no good one.
pub(super) fn restore(path: &Path) -> Result<bool, Failure> {
    let (kept, broken) = (beside(path, ".bak"), beside(path, ".broken"));
    let Ok(config) = Config::load(Some(&kept)) else { return Ok(false) };
    let restored = fs::read(&kept).and_then(|bytes| {
        let staged = beside(path, ".new");
        stage(&staged, &bytes, rights(&kept, &config.state_dir))?;
        let _ = fs::remove_file(&broken); // an earlier one
        fs::hard_link(path, &broken)?;
        fs::rename(&staged, path)?;
        files::sync_folder(folder(path))
    });
    restored.map_err(|error| cannot(path, &error))?;
    Ok(true)
}

/// What the file says of settings, as it is, whether that can be or not.
pub(super) fn settings(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    match Config::read(Some(path)) {
        Ok(config) => Ok(config.settings),
        Err(_) if !path.exists() => Ok(BTreeMap::new()),
        Err(error) => Err(Failure::told(exit::CONFIG, told(&error, path))),
    }
}

fn told(error: &crate::config::Error, path: &Path) -> String {
    let staged = beside(path, ".new").display().to_string();
    Chain(error).to_string().replace(&staged, &path.display().to_string())
}

/// A key with a dot may stand in quotes, or as a table below.
fn put_one(table: &mut dyn TableLike, key: &str, value: Option<&str>) {
    if let Some((above, below)) = key.split_once('.')
        && !table.contains_key(key)
        && let Some(inner) = table.get_mut(above).and_then(Item::as_table_like_mut)
        && inner.contains_key(below)
    {
        return set(inner, below, value);
    }
    set(table, key, value);
}

/// What stands behind a value on its line stays there.
fn set(table: &mut dyn TableLike, key: &str, text: Option<&str>) {
    match (table.get_mut(key).and_then(Item::as_value_mut), text) {
        (Some(old), Some(text)) => {
            let decor = old.decor().clone();
            *old = Value::from(text);
            *old.decor_mut() = decor;
        }
        (None, Some(text)) => drop(table.insert(key, value(text))),
        (_, None) => drop(table.remove(key)),
    }
}

fn rights(path: &Path, state: &Path) -> Rights {
    match fs::metadata(path) {
        Ok(it) => {
            Rights { mode: it.mode() & 0o7777, owner: Some(it.uid()), group: Some(it.gid()), strict: true }
        }
        Err(_) => {
            let group = [state, folder(path)].into_iter().find_map(|it| fs::metadata(it).ok());
            let group = group.map(|it| it.gid());
            Rights { mode: MODE, owner: None, group, strict: false }
        }
    }
}

fn stage(path: &Path, bytes: &[u8], rights: Rights) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // For nobody else until it is theirs: it may have a password.
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    match fchown(&file, rights.owner, rights.group) {
        Err(error) if rights.strict => return Err(error),
        _ => {}
    }
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(rights.mode))?;
    file.sync_all()
}

/// Keeps what is there under a second name.
fn keep(path: &Path, rights: Rights) -> io::Result<()> {
    let (kept, staged) = (beside(path, ".bak"), beside(path, ".bak.new"));
    stage(&staged, &fs::read(path)?, rights)?;
    fs::rename(staged, kept)
}

pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => exit::NOT_WRITABLE,
        _ => exit::CONFIG,
    };
    Failure::told(code, format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const TEXT: &str = "# ours\nlog-format = \"json\" # for the collector\n\n[settings]\n# quiet\nlog-level = \"warn\" # for now\nproxy.bypass = \"Session\"\n";

    fn written() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node-agent.toml");
        fs::write(&path, TEXT).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        (folder, path)
    }

    fn change(path: &Path, wanted: &[(&str, Option<&str>)]) -> Result<(), Failure> {
        let mut file = ConfigFile::open(path)?;
        let wanted = wanted.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)));
        file.put(&wanted.collect())?;
        file.write(folder(path))
    }

    #[test]
    fn all_but_what_is_changed_stays_to_the_letter_and_so_do_the_rights() {
        let (_folder, path) = written();
        change(&path, &[("log-level", Some("debug")), ("proxy.bypass", Some("*"))]).unwrap();
        let expected = TEXT.replace("\"warn\"", "\"debug\"").replace("\"Session\"", "\"*\"");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o604);
        assert_eq!(fs::read_to_string(beside(&path, ".bak")).unwrap(), TEXT);
        change(&path, &[("proxy.url", Some("http://p:1")), ("log-level", None)]).unwrap();
        let now = settings(&path).unwrap();
        assert_eq!(now.get("proxy.url").map(String::as_str), Some("http://p:1"));
        assert_eq!((now.get("log-level"), now.len()), (None, 2));
        assert!(fs::read_to_string(&path).unwrap().contains("# for the collector"));
    }

    #[test]
    fn what_the_agent_could_not_use_is_not_written() {
        let (_folder, path) = written();
        assert!(change(&path, &[("log-level", Some("loud"))]).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), TEXT);
        assert!(!beside(&path, ".new").exists());
    }

    #[test]
    fn a_file_that_was_not_there_is_made_and_is_not_for_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.toml");
        change(&path, &[("log-level", Some("debug"))]).unwrap();
        assert_eq!(settings(&path).unwrap().len(), 1);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE);
    }

    #[test]
    fn a_new_file_is_for_the_group_of_the_agent_that_has_to_read_it() {
        const AGENT: u32 = 4321;
        if !rustix::process::geteuid().is_root() {
            return; // nobody else can give a file away
        }
        let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::chown(state.path(), Some(AGENT), Some(AGENT)).unwrap();
        let path = folder.path().join("new.toml");
        let mut file = ConfigFile::open(&path).unwrap();
        file.put(&Wanted::from([("log-level".to_owned(), Some("debug".to_owned()))])).unwrap();
        file.write(state.path()).unwrap();
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (0, AGENT, MODE));
    }

    #[test]
    fn the_last_good_file_comes_back_and_the_broken_one_is_kept() {
        let (_folder, path) = written();
        fs::write(&path, "[settings\n").unwrap();
        assert!(!restore(&path).unwrap(), "there is none yet");
        fs::write(&path, TEXT).unwrap();
        change(&path, &[("log-level", Some("debug"))]).unwrap();
        fs::write(&path, "[settings\n").unwrap();
        assert!(ConfigFile::open(&path).is_err());
        assert!(restore(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), TEXT);
        assert_eq!(fs::read_to_string(beside(&path, ".broken")).unwrap(), "[settings\n");
    }
}
