//! `backup`: all that a control plane is, in one file, while it serves.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use muster_common::{
    build_info,
    clock::{Clock, UnixMillis},
};
use muster_store::{Options, ReadMeta as _, Store};

use super::ConfigArg;
use crate::{
    backup::{About, FORMAT, STORE, State, Writer},
    config::{Config, Place},
    wiring,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// File to write; must not exist. "-": standard output.
    file: PathBuf,
    /// Leave private keys out: of the authority, of the audit, of protected contents, of
    /// operators. Restoring it needs them beside it.
    #[arg(long)]
    without_keys: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// A copy of the store, as long as this lives.
struct Copy {
    path: PathBuf,
    /// Everything that was written before this moment is in it.
    taken_at: UnixMillis,
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // what stays is removed by the next backup
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    if args.file == Path::new("-") {
        write(args, &config, io::stdout().lock())?.flush()?;
        return Ok(());
    }
    if args.file.exists() {
        bail!("{} exists already", args.file.display());
    }
    let partial = PathBuf::from(format!("{}.partial", args.file.display()));
    let done = write_file(args, &config, &partial);
    if done.is_err() {
        let _ = fs::remove_file(&partial); // the error is the one to tell
    }
    done
}

fn write_file(args: &Args, config: &Config, partial: &Path) -> anyhow::Result<()> {
    let made = File::options().write(true).create(true).truncate(true).mode(0o600).open(partial);
    let file = made.with_context(|| format!("cannot make {}", partial.display()))?;
    let file =
        write(args, config, BufWriter::new(file))?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    fs::rename(partial, &args.file)?;
    let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

fn write<W: Write>(args: &Args, config: &Config, to: W) -> anyhow::Result<W> {
    let copy = copy_of_store(config)?;
    // After the copy: of what it refers to, nothing is removed within minutes.
    let state = State::of(&config.state_dir, args.without_keys)
        .with_context(|| format!("cannot read {}", config.state_dir.display()))?;
    let about = about(config, &copy, &state)?;
    let mut writer = Writer::begin(to, &about)?;
    writer.file(Path::new(STORE), &copy.path).context("cannot add the store")?;
    eprintln!("the store, at revision {}: {} KiB", about.revision, writer.written() / 1024);
    for name in &state.files {
        match writer.file(name, &config.state_dir.join(name)) {
            // One to which nothing refers any more was collected meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && name.starts_with("blobs") => {
                eprintln!("not in it: {}, which was removed meanwhile", name.display());
            }
            done => done.with_context(|| format!("cannot add {}", name.display()))?,
        }
    }
    eprintln!("and {} other files: {} KiB in all", state.files.len(), writer.written() / 1024);
    for (what, place) in
        [("blobs", &about.blobs_elsewhere), ("keys of protected contents", &about.secrets_elsewhere)]
    {
        if let Some(place) = place {
            eprintln!("not in it: the {what}, which are in {place}");
        }
    }
    if !about.keys_left_out.is_empty() {
        eprintln!("not in it: {}", about.keys_left_out.join(", "));
    }
    Ok(writer.finish()?)
}

fn copy_of_store(config: &Config) -> anyhow::Result<Copy> {
    let options = wiring::store::options(config, "cli")?;
    if options.file().is_none() {
        bail!(
            "the store is on a server: back it up with the server's own tools, and the state directory with it"
        );
    }
    for entry in fs::read_dir(&config.state_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let process = name.strip_prefix("backup-").and_then(|rest| rest.strip_suffix(".db"));
        if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            fs::remove_file(entry.path())?; // of a backup that was killed
        }
    }
    let path = config.state_dir.join(format!("backup-{}.db", std::process::id()));
    let copy = Copy { path, taken_at: Clock::System.now() };
    muster_store::snapshot(&options, &copy.path).context("cannot copy the store")?;
    Ok(copy)
}

fn about(config: &Config, copy: &Copy, state: &State) -> anyhow::Result<About> {
    let store = Store::open(&Options::sqlite(&copy.path).with_replica("cli"))?;
    let (epoch, revision) =
        store.read_blocking(|tx| Ok::<_, muster_store::Error>((tx.epoch()?, tx.revision()?)))?;
    store.close_blocking()?;
    let blobs_elsewhere = match config.blobs.place().map_err(anyhow::Error::msg)? {
        Some(Place::Directory(path)) => Some(path.display().to_string()),
        Some(Place::S3(url)) => Some(url),
        None => None,
    };
    let secrets = config.secrets_path();
    Ok(About {
        format: FORMAT,
        made_by: build_info::line("muster-control-plane"),
        trust_domain: config.trust_domain.to_string(),
        epoch,
        revision,
        taken_at: copy.taken_at,
        keys_left_out: state.keys.iter().map(|name| name.display().to_string()).collect(),
        blobs_elsewhere,
        secrets_elsewhere: (!secrets.starts_with(&config.state_dir)).then(|| secrets.display().to_string()),
    })
}
