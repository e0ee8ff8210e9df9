//! `add` and `remove`.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use muster_common::{
    digest::{Hashing, Sha256},
    tuf::{self, About, MOST_FILE, Target, check_name},
};

use crate::folder::Folder;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the repository.
    folder: PathBuf,
    /// The file.
    file: PathBuf,
    /// What it is.
    #[arg(long)]
    kind: Kind,
    /// Who made the extension.
    #[arg(long, required_if_eq("kind", "extension"), value_name = "NAME")]
    publisher: Option<String>,
    /// Which extension.
    #[arg(long = "type", required_if_eq("kind", "extension"), value_name = "NAME")]
    type_name: Option<String>,
    /// Its semantic version.
    #[arg(long)]
    version: String,
    /// For which operating system.
    #[arg(long, default_value = "linux")]
    os: String,
    /// For which processors: x86_64, aarch64, or any.
    #[arg(long, default_value = "any")]
    arch: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The package of an extension.
    Extension,
    /// A release of the agent.
    Release,
}

pub(crate) fn run(args: &Args) -> Result<String> {
    let folder = Folder::open(&args.folder)?;
    let about = about(args)?;
    let name = about.target_name();
    check_name(&name)?;
    let (size, sha256) = measure(&args.file)?;
    let target = Target { name, size, sha256, about: Some(about) };
    let place = folder.served(&target.path());
    if let Some(above) = place.parent() {
        fs::create_dir_all(above).with_context(|| format!("cannot make {}", above.display()))?;
    }
    copy(&args.file, &place)?;
    let mut all = folder.pending()?;
    let before = all.iter().position(|other| other.name == target.name).map(|at| all.remove(at));
    if let Some(before) = before.filter(|before| before.sha256 != target.sha256) {
        bail!(
            "{} is in the repository with other bytes ({}): give this one another version, or `remove` that one first",
            before.name,
            before.sha256
        );
    }
    let told = format!("{} is to be added: {size} bytes, {sha256}. Next: sign.", target.name);
    all.push(target);
    folder.set_pending(all)?;
    Ok(told)
}

pub(crate) fn remove(folder: &Folder, name: &str) -> Result<String> {
    let mut all = folder.pending()?;
    let before = all.len();
    all.retain(|target| target.name != name);
    if all.len() == before {
        bail!("the repository has no file {name}; `verify` lists them");
    }
    folder.set_pending(all)?;
    Ok(format!("{name} is to be taken out. Next: sign."))
}

fn about(args: &Args) -> Result<About> {
    let word = |text: &str| !text.is_empty() && !text.contains('/') && check_name(text).is_ok();
    let of_extension = args.kind == Kind::Extension;
    if !of_extension && (args.publisher.is_some() || args.type_name.is_some()) {
        bail!("--publisher and --type are of extensions; a release has neither");
    }
    let (publisher, type_name) =
        (args.publisher.clone().unwrap_or_default(), args.type_name.clone().unwrap_or_default());
    let words = [("--version", &args.version), ("--os", &args.os), ("--arch", &args.arch)];
    let named = [("--publisher", &publisher), ("--type", &type_name)];
    for (name, text) in words.into_iter().chain(named.into_iter().filter(|_| of_extension)) {
        if !word(text) {
            bail!(
                "{name} {text:?} cannot be used: letters, digits, '.', '_', '+' and '-', not beginning with a dot"
            );
        }
    }
    let kind = if of_extension { tuf::Kind::Extension } else { tuf::Kind::Release };
    let (version, os, arch) = (args.version.clone(), args.os.clone(), args.arch.clone());
    Ok(About { kind, publisher, type_name, version, os, arch })
}

/// Size and digest of a file.
pub(crate) fn measure(path: &Path) -> Result<(u64, Sha256)> {
    let context = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(context)?;
    let (mut hashing, mut piece, mut size) = (Hashing::default(), vec![0; 64 * 1024], 0_u64);
    loop {
        let read = file.read(&mut piece).with_context(context)?;
        if read == 0 {
            break;
        }
        hashing.update(&piece[..read]);
        size += read as u64;
    }
    if size > MOST_FILE {
        bail!("{} has {size} bytes; hosts take at most {MOST_FILE}", path.display());
    }
    Ok((size, hashing.digest()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let staged = to.with_extension("new");
    let copied = fs::copy(from, &staged)
        .and_then(|_| File::open(&staged)?.sync_all())
        .and_then(|()| fs::rename(&staged, to));
    copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
