//! Private keys, in files that only their owner may read.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use muster_common::tuf::{
    Role,
    signing::{self, Holders, Public, SigningKey},
};

use crate::{cli::Group, folder::Folder};

/// All keys at hand.
#[derive(Debug)]
pub(crate) struct Keys(Vec<SigningKey>);

impl Keys {
    /// All of some folders, none of which is in the repository. A key that is there twice is one.
    pub(crate) fn load(folders: &[PathBuf], repository: &Folder) -> Result<Self> {
        let mut keys: Vec<SigningKey> = Vec::new();
        for folder in folders {
            refuse_inside(folder, repository.path())?;
            let entries =
                fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
            for entry in entries {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "pem") {
                    let key = load(&path)?;
                    if keys.iter().all(|known| known.public() != key.public()) {
                        keys.push(key);
                    }
                }
            }
        }
        if keys.is_empty() {
            bail!("there are no keys (*.pem) in {}", list(folders));
        }
        Ok(Self(keys))
    }

    /// With some that were just made.
    pub(crate) fn and(mut self, more: Vec<SigningKey>) -> Self {
        self.0.extend(more);
        self
    }

    /// Signs with all keys of a role that are at hand.
    pub(crate) fn sign(&self, role: Role, holders: &Holders, draft: Vec<u8>) -> Result<Vec<u8>> {
        let mine: Vec<&SigningKey> =
            self.0.iter().filter(|key| holders.keys.contains(key.public())).collect();
        let threshold = holders.threshold as usize;
        if mine.len() < threshold {
            let all: Vec<&str> = holders.keys.iter().map(Public::id).collect();
            bail!(
                "{} of the {role} keys are at hand, and {threshold} must sign: bring more of {} with --keys",
                mine.len(),
                all.join(", ")
            );
        }
        mine.iter().try_fold(draft, |bytes, key| Ok(signing::sign(role, &bytes, key)?))
    }
}

/// Refuses keys below what mirrors serve, by whichever way their folder is named: a link, or `..`.
pub(crate) fn refuse_inside(keys: &Path, repository: &Path) -> Result<()> {
    let real = |path: &Path| {
        let path = std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))?;
        // What is to be made yet is below the nearest folder that there is.
        let there = path.ancestors().find(|path| path.exists()).unwrap_or(&path);
        let real = there.canonicalize().with_context(|| format!("cannot find {}", there.display()))?;
        anyhow::Ok(real.join(path.strip_prefix(there).unwrap_or(Path::new(""))))
    };
    if real(keys)?.starts_with(real(repository)?) {
        bail!("{} is in the repository, which is served: keep the keys elsewhere", keys.display());
    }
    Ok(())
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn load(path: &Path) -> Result<SigningKey> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    SigningKey::from_pem(&text).with_context(|| format!("{} cannot be used", path.display()))
}

/// Makes keys of a group, into a folder.
pub(crate) fn make(folder: &Path, group: Group, count: u32) -> Result<Vec<SigningKey>> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    (0..count).map(|_| make_one(folder, group)).collect()
}

fn make_one(folder: &Path, group: Group) -> Result<SigningKey> {
    let key = SigningKey::generate()?;
    let name = match group {
        Group::Root => "root",
        Group::Targets => "targets",
        Group::Online => "online",
    };
    let path = folder.join(format!("{name}-{}.pem", &key.public().id()[..8]));
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| {
            file.write_all(key.to_pem().map_err(std::io::Error::other)?.as_bytes())
                .and_then(|()| file.sync_all())
        });
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(key)
}
