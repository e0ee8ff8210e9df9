//! `restore`: a control plane out of a backup. Its store begins another history.
//!
//! It is put together in `restoring` below the state directory, which may be a mount. When that
//! is whole and the new history has begun, it is called `restored`: from there on the same command
//! does not read the backup any more, but goes on. What was there moves into
//! `before-restore-TIME`; then it is called `moving-in`, and its parts move into their places.
//! As long as it is there under any of these names, `serve` refuses to start.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use muster_common::clock::Clock;
use muster_store::{Options, ReadMeta as _, Store};

use super::{ConfigArg, open_store, serve, stamp};
use crate::{
    app::restored::{self, Plan, Restored},
    backup::{About, Reader, STORE},
    config::Config,
    wiring,
};

/// What is restored is put together in the first, is whole in the second, and moves in from the third.
const STAGES: [&str; 3] = ["restoring", "restored", "moving-in"];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A backup. "-": standard input.
    file: PathBuf,
    /// What is in the state directory goes into `before-restore-TIME` below it.
    #[arg(long)]
    replace: bool,
    /// Number of the history that begins; above all that hosts know. Without it, one more than
    /// those of the backup and of the store that is replaced.
    #[arg(long)]
    epoch: Option<u64>,
    /// Join tokens stay valid: also one that was used up after the backup was made.
    #[arg(long)]
    keep_join_tokens: bool,
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    if wiring::store::options(&config, "cli")?.file().is_none() {
        bail!("the store is on a server: put it back with the server's own tools");
    }
    let dir = &config.state_dir;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let _alone = serve::alone(&config).context("stop the control plane first")?;
    own(&dir.join("serve.lock"), dir)?;
    let [stage, whole, moving] = STAGES.map(|name| dir.join(name));
    if !whole.exists() && !moving.exists() {
        let there = there(dir)?;
        if !there.is_empty() && !args.replace {
            let shown: Vec<_> = there.iter().map(|path| path.display().to_string()).collect();
            bail!("{} is not empty ({}): --replace moves that aside", dir.display(), shown.join(", "));
        }
        if stage.exists() {
            fs::remove_dir_all(&stage)?; // of one that was cut off; nothing else has changed
        }
        fs::DirBuilder::new().mode(0o700).create(&stage)?;
        let (about, done) = put_together(args, &config, &stage).inspect_err(|_| {
            let _ = fs::remove_dir_all(&stage); // nothing else has changed; the error is the one to tell
        })?;
        rename(dir, &stage, &whole)?;
        tell(&about, &done);
    } else {
        eprintln!("a restore was cut off: it goes on, without the file");
    }
    if !moving.exists() {
        if let Some(aside) = move_aside(dir)? {
            eprintln!("what was there before is in {}", aside.display());
        }
        rename(dir, &whole, &moving)?;
    }
    move_in(dir, &moving)?;
    eprintln!("next: start the control plane, and see nodes-accept-restored.sh");
    Ok(())
}

/// Whether a restore was cut off, and where it stands.
pub(super) fn is_unfinished(dir: &Path) -> Option<PathBuf> {
    STAGES.iter().map(|name| dir.join(name)).find(|stage| stage.exists())
}

fn rename(dir: &Path, from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    File::open(dir)?.sync_all()
}

/// What is in the state directory and would be replaced.
fn there(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut there = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        let is_ours = text == "serve.lock" || text.starts_with("before-restore-");
        if !is_ours && !STAGES.contains(&&*text) {
            there.push(PathBuf::from(name));
        }
    }
    there.sort();
    Ok(there)
}

fn put_together(args: &Args, config: &Config, stage: &Path) -> anyhow::Result<(About, Restored)> {
    let from: Box<dyn Read> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(&args.file).with_context(|| format!("cannot open {}", args.file.display()))?;
        Box::new(BufReader::with_capacity(1 << 20, file))
    };
    let about = Reader::new(from)
        .put_into(stage, |about| check(about, config))
        .with_context(|| format!("{} cannot be restored", args.file.display()))?;
    for name in &about.keys_left_out {
        let to = stage.join(name);
        fs::create_dir_all(to.parent().unwrap_or(stage))?;
        fs::copy(config.state_dir.join(name), &to).with_context(|| format!("cannot take over {name}"))?;
    }
    let options = Options::sqlite(stage.join(STORE)).with_replica("cli");
    let before = epoch_of(config);
    let store = Store::open(&options).context("the store in it cannot be used")?;
    let found = muster_store::inspect(&options).context("the store in it cannot be read")?;
    ensure!(found.problems.is_empty(), "the store in it is damaged: {}", found.problems.join("; "));
    let epoch = args.epoch.unwrap_or_else(|| about.epoch.max(before.unwrap_or(0)) + 1);
    let plan = Plan { epoch, taken_at: about.taken_at, keep_join_tokens: args.keep_join_tokens };
    let done = restored::begin(&store, stamp("store.restore"), plan)?;
    store.close_blocking()?;
    own(stage, &config.state_dir)?;
    Ok((about, done))
}

fn check(about: &About, config: &Config) -> anyhow::Result<()> {
    ensure!(
        about.trust_domain == config.trust_domain.as_str(),
        "it is of trust domain {:?}, the configuration says {:?}",
        about.trust_domain,
        config.trust_domain.as_str()
    );
    let missing: Vec<&String> =
        about.keys_left_out.iter().filter(|name| !config.state_dir.join(name).is_file()).collect();
    ensure!(
        missing.is_empty(),
        "it was made without keys; bring these into {} first: {missing:?}",
        config.state_dir.display()
    );
    Ok(())
}

/// Of the store that is replaced, if it can still be read.
fn epoch_of(config: &Config) -> Option<u64> {
    let store = open_store(config).ok()?;
    let epoch = store.read_blocking(|tx| tx.epoch()).ok();
    store.close_blocking().ok()?;
    epoch
}

/// What is restored belongs to whom the state directory belongs to, and is on the disk. It is
/// made of plain files and folders; a link in it is another's, and is not followed.
fn own(path: &Path, like: &Path) -> anyhow::Result<()> {
    let owner = fs::metadata(like)?;
    let mut all = vec![path.to_owned()];
    while let Some(path) = all.pop() {
        let found = fs::symlink_metadata(&path)?;
        if found.uid() != owner.uid() {
            std::os::unix::fs::lchown(&path, Some(owner.uid()), Some(owner.gid()))?;
        }
        if found.is_dir() {
            for entry in fs::read_dir(&path)? {
                all.push(entry?.path());
            }
            File::open(&path)?.sync_all()?;
        }
    }
    Ok(())
}

/// Moves what was there out of the way, as it is. Answers where to.
fn move_aside(dir: &Path) -> anyhow::Result<Option<PathBuf>> {
    let there = there(dir)?; // anew: the store that was there was opened, and its log is gone
    if there.is_empty() {
        return Ok(None);
    }
    let folder = dir.join(format!("before-restore-{}", Clock::System.now().0));
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    own(&folder, dir)?;
    for name in there {
        fs::rename(dir.join(&name), folder.join(&name))?;
    }
    File::open(&folder)?.sync_all()?;
    Ok(Some(folder))
}

fn move_in(dir: &Path, moving: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(moving)? {
        let name = entry?.file_name();
        fs::rename(moving.join(&name), dir.join(&name))?;
    }
    File::open(dir)?.sync_all()?;
    fs::remove_dir(moving)?;
    File::open(dir)?.sync_all()?;
    Ok(())
}

fn tell(about: &About, done: &Restored) {
    eprintln!("restored as of {} (revision {} of epoch {})", about.taken_at, about.revision, about.epoch);
    tell_of_history(done);
    for place in [&about.blobs_elsewhere, &about.secrets_elsewhere].into_iter().flatten() {
        eprintln!("not in the backup, and needed: {place}");
    }
}

/// What the beginning of a history has done.
pub(super) fn tell_of_history(done: &Restored) {
    eprintln!(
        "epoch {} begins; hosts that were told more than this store knows wait for a person",
        done.epoch
    );
    for (count, what) in [
        (done.interrupted, "commands that were queued are interrupted: they may have gone out since"),
        (done.revoked, "join tokens are revoked: they may have been used since"),
        (done.held, "rollouts wait: look at them, then release the brake"),
    ] {
        if count > 0 {
            eprintln!("{count} {what}");
        }
    }
}
