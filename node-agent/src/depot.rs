//! Extensions as they lie on this host: for each a folder with its packages, unpacked, its
//! settings, and places for what its programs write. It is root's where there is an
//! executor, and the agent's own in one process.
//!
//! It makes of a verb the one order there is for it: which program, with which words, which
//! environment and which limits stands in the package, and in nothing that is said later. It
//! decides nothing else: when something is done is the room `extensions`', whether it may be
//! is the lock file's.

mod handler;
mod manifest;
mod package;

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_common::{
    digest::Sha256,
    trace,
    tuf::{About, Kind},
};
use rustix::fs::StatVfsMountFlags;

pub use manifest::{Manifest, Program, Restart, Unusable, Verb, is_version};
pub use package::{Launch, Package, is_name};

use crate::platform::{archive, files, runs::Order, units::Limits};

/// Longest settings of either kind.
pub const MOST_SETTINGS: usize = 64 * 1024;
/// Longest status that is read.
const MOST_STATUS: usize = 16 * 1024;
/// Bytes of output that are kept of a program.
const OUTPUT: u64 = 256 * 1024;
/// What a package may hold.
const MOST: archive::Most =
    archive::Most { bytes: 1 << 30, entries: 10_000, window: 1 << 24, special_bits: false };
/// An unpacked package may need so many times the room of its file, and this besides.
const GROWTH: u64 = 4;
const SPARE: u64 = 16 * 1024 * 1024;
/// In the folder of a package: what was signed of it.
const SIGNED: &str = ".muster-signed.json";

/// The folder of all extensions. Cheap to clone.
#[derive(Clone)]
pub struct Depot {
    root: PathBuf,
    admitted: Admitted,
}

/// Opens a file that has been admitted to this host, by the digest that it still has; and says what was signed
/// of it, once for each name that it has in the repository.
pub type Admitted = Arc<dyn Fn(Sha256) -> io::Result<(File, Vec<About>)> + Send + Sync>;

impl fmt::Debug for Depot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Depot").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Depot {
    /// In a folder. `admitted`: what may be unpacked.
    #[must_use]
    pub fn new(root: &Path, admitted: Admitted) -> Self {
        Self { root: root.to_owned(), admitted }
    }

    /// Unpacks a package, if that was not done before, and reads its manifest.
    ///
    /// # Errors
    /// `InvalidData`: the package is not what it is to be. Others are this host's.
    pub fn unpack(&self, package: &Package) -> io::Result<Manifest> {
        package.check()?;
        let (home, folder) = (self.home(&package.name), self.folder(package));
        if !folder.exists() {
            files::folder(&self.root, 0o755)?;
            files::folder(&home, 0o755)?;
            let (file, signed) = (self.admitted)(package.sha256)?;
            check_signed(package, &signed)?;
            self.check_room(&file)?;
            let staged = home.join(format!(".{}", package.folder()));
            remove(&staged)?;
            let unpacked = archive::unpack(file, &staged, MOST, |_| {}).map_err(unusable);
            // Over whatever the package itself has there.
            let json = serde_json::to_vec(&signed)?;
            let unpacked =
                unpacked.and_then(|()| files::write_atomically(&staged.join(SIGNED), &json, 0o644));
            if let Err(error) = unpacked {
                let _ = remove(&staged);
                return Err(error);
            }
            fs::rename(&staged, &folder)?;
            files::sync_folder(&home)?;
        }
        self.manifest(package)
    }

    /// What an unpacked package says of itself, if it is what it is to be.
    ///
    /// # Errors
    /// `InvalidData`: it is not. `NotFound`: it was not unpacked.
    pub fn manifest(&self, package: &Package) -> io::Result<Manifest> {
        package.check()?;
        let folder = self.folder(package);
        // By this, and not by who asks: one of the two kinds of manifest does not say it.
        let signed: Vec<About> = serde_json::from_slice(&fs::read(folder.join(SIGNED))?)?;
        check_signed(package, &signed)?;
        let manifest = match fs::read(folder.join("manifest.toml")) {
            Ok(bytes) => Manifest::parse(&String::from_utf8_lossy(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => handler::manifest(&folder, package)?,
            Err(error) => return Err(error),
        };
        let manifest = manifest.map_err(|error| invalid(error.to_string()))?;
        let is = (&manifest.publisher, &manifest.kind, &manifest.version);
        if is != (&package.publisher, &package.kind, &package.version) {
            let message = format!("the package calls itself {}/{} {}", is.0, is.1, is.2);
            return Err(invalid(message));
        }
        Ok(manifest)
    }

    /// Writes the settings that programs find from now on, and makes their places.
    ///
    /// # Errors
    /// From the file system.
    pub fn configure(&self, package: &Package, settings: &[u8], protected: &[u8]) -> io::Result<()> {
        let manifest = self.manifest(package)?;
        let home = self.home(&package.name);
        for (place, mode) in [("config", 0o700), ("status", 0o755), ("log", 0o755), ("state", 0o700)] {
            files::folder(&home.join(place), mode)?;
        }
        for (name, bytes) in [("settings.json", settings), ("protected.json", protected)] {
            let bytes = if bytes.is_empty() { b"{}" } else { bytes };
            let file = home.join("config").join(name);
            // What is there already needs no room on a disk that may be full.
            if fs::read(&file).is_ok_and(|there| there == bytes) {
                continue;
            }
            files::write_atomically(&file, bytes, 0o600)?;
        }
        if manifest.is_handler {
            handler::configure(&home, &self.folder(package), package, settings, protected)?;
        }
        Ok(())
    }

    /// The order for a verb. A status of an earlier one is gone then.
    ///
    /// # Errors
    /// `NotFound`: the package has no such verb.
    pub fn order(&self, launch: &Launch) -> io::Result<Order> {
        let manifest = self.manifest(&launch.package)?;
        let verb = launch.verb;
        let program = manifest.verbs.get(&verb).ok_or(io::ErrorKind::NotFound)?;
        let (home, folder) = (self.home(&launch.package.name), self.folder(&launch.package));
        if !matches!(verb, Verb::Health | Verb::Run) {
            remove_file(&status(&home, &manifest))?;
        }
        let mut environment = self.environment(launch, &home);
        if manifest.wants_proxy {
            environment.extend(launch.proxy.clone());
        }
        environment.extend(launch.place.map(|place| (trace::VARIABLE.to_owned(), place.to_string())));
        let mut argv = program.argv.clone();
        if let Some(first) = argv.first_mut().filter(|first| !first.starts_with('/')) {
            *first = folder.join(&first).display().to_string();
        }
        let limits = Limits {
            memory: launch.limits.memory.or(manifest.limits.memory),
            cpu: launch.limits.cpu.or(manifest.limits.cpu),
            tasks: launch.limits.tasks.or(manifest.limits.tasks),
            time: (verb != Verb::Run).then_some(program.timeout),
        };
        Ok(Order {
            id: launch.id,
            text: None,
            program: argv,
            arguments: Vec::new(),
            environment,
            folder,
            user: String::new(),
            limits,
            output: OUTPUT,
            survives: true,
        })
    }

    fn environment(&self, launch: &Launch, home: &Path) -> BTreeMap<String, String> {
        let path = |name: &str| home.join(name).display().to_string();
        let package = &launch.package;
        [
            ("NAME", package.name.clone()),
            ("VERSION", package.version.clone()),
            ("VERB", launch.verb.as_str().to_owned()),
            ("FROM_VERSION", launch.from_version.clone()),
            ("PACKAGE", self.folder(package).display().to_string()),
            ("CONFIG", path("config")),
            ("STATUS", path("status/status.json")),
            ("LOG", path("log")),
            ("STATE", path("state")),
        ]
        .into_iter()
        .map(|(name, value)| (format!("MUSTER_EXT_{name}"), value))
        .collect()
    }

    /// What the last verb wrote about itself. `None`: nothing.
    ///
    /// # Errors
    /// From the file system, or if it is too long.
    pub fn status(&self, package: &Package) -> io::Result<Option<Vec<u8>>> {
        let manifest = self.manifest(package)?;
        match files::read_plain(&status(&self.home(&package.name), &manifest)) {
            Ok(bytes) if bytes.len() > MOST_STATUS => {
                Err(invalid(format!("a status of more than {MOST_STATUS} bytes")))
            }
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes away all packages of an extension but these.
    ///
    /// # Errors
    /// From the file system.
    pub fn keep(&self, name: &str, packages: &[Package]) -> io::Result<()> {
        let kept: Vec<String> = packages.iter().map(Package::folder).collect();
        let own = ["config", "status", "log", "state"];
        let home = self.checked_home(name)?;
        let entries = match fs::read_dir(&home) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !own.contains(&name.as_str()) && !kept.contains(&name) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Takes away all that there is of an extension.
    ///
    /// # Errors
    /// From the file system.
    pub fn clear(&self, name: &str) -> io::Result<()> {
        let home = self.checked_home(name)?;
        remove(&home)?;
        if self.root.exists() { files::sync_folder(&self.root) } else { Ok(()) }
    }

    fn checked_home(&self, name: &str) -> io::Result<PathBuf> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no extension"));
        is_name(name).then(|| self.home(name)).ok_or_else(wrong)
    }

    fn home(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn folder(&self, package: &Package) -> PathBuf {
        self.home(&package.name).join(package.folder())
    }

    /// Known before anything is written: programs can run there, and there is room.
    fn check_room(&self, file: &File) -> io::Result<()> {
        let size = file.metadata()?.len();
        let volume = rustix::fs::statvfs(&self.root)?;
        if volume.f_flag.contains(StatVfsMountFlags::NOEXEC) {
            let message = format!("{} is on a file system that runs no programs", self.root.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        let free = volume.f_bavail.saturating_mul(volume.f_frsize);
        let wanted = size.saturating_mul(GROWTH).saturating_add(SPARE);
        if free < wanted {
            let message = format!("{wanted} bytes are to be free to unpack the package, and {free} are");
            return Err(io::Error::new(io::ErrorKind::StorageFull, message));
        }
        Ok(())
    }
}

/// Whether it was signed as the one that it is to be.
fn check_signed(package: &Package, signed: &[About]) -> io::Result<()> {
    let is = |about: &About| {
        about.kind == Kind::Extension
            && (&about.publisher, &about.type_name, &about.version)
                == (&package.publisher, &package.kind, &package.version)
    };
    if signed.iter().any(is) {
        return Ok(());
    }
    let all: Vec<_> = signed.iter().map(About::target_name).collect();
    let all = if all.is_empty() { "no extension".to_owned() } else { all.join(", ") };
    let Package { publisher, kind, version, .. } = package;
    Err(invalid(format!("the package was signed as {all}, and not as {publisher}/{kind} {version}")))
}

/// Where a package's verbs write how they ended.
fn status(home: &Path, manifest: &Manifest) -> PathBuf {
    home.join("status").join(if manifest.is_handler { handler::STATUS } else { "status.json" })
}

fn unusable(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidData => invalid(format!("the package cannot be used: {error}")),
        _ => error,
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn remove(folder: &Path) -> io::Result<()> {
    fine(fs::remove_dir_all(folder))
}

fn remove_file(file: &Path) -> io::Result<()> {
    fine(fs::remove_file(file))
}

fn fine(gone: io::Result<()>) -> io::Result<()> {
    match gone {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
pub(crate) mod tests;
