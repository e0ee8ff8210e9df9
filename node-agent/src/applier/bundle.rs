//! The content of a bundle. Checked here again: a host believes nobody.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_common::reason::Reason;
use muster_proto::types::v1 as types;
use prost::Message as _;

use super::{Failure, base::Base};
use crate::{locks::Locks, state::Cause};

const MAX_BYTES: usize = 64 * 1024;
const MAX_FILES: usize = 64;
const MAX_HOOK_S: u32 = 600;
const DEFAULT_HOOK_S: u32 = 30;
const DEFAULT_MODE: u32 = 0o644;

/// What a bundle brings.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) files: Vec<File>,
    pub(super) validate: Option<Hook>,
    pub(super) on_change: Option<Hook>,
    pub(super) probe: Option<Hook>,
}

/// One file.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
}

/// A program to run.
#[derive(Debug, Clone)]
pub(super) struct Hook {
    pub(super) argv: Vec<String>,
    pub(super) timeout: Duration,
}

/// Whether a name can be that of a bundle; such a name is safe as a file name, too.
pub(super) fn is_item(item: &str) -> bool {
    item.strip_prefix("bundle/").is_some_and(|name| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !name.is_empty() && name.len() <= 63 && name.bytes().all(plain)
    })
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::rejected(Reason::PayloadInvalid, Cause::Content, message)
}

impl Bundle {
    pub(super) fn decode(payload: &[u8]) -> Result<Self, Failure> {
        let content = types::BundleContent::decode(payload)
            .map_err(|error| invalid(format!("the bundle does not decode: {error}")))?;
        let file = |file: types::BundleFile| File {
            path: PathBuf::from(file.path),
            content: file.content.to_vec(),
            mode: if file.mode == 0 { DEFAULT_MODE } else { file.mode },
        };
        Ok(Self {
            files: content.files.into_iter().map(file).collect(),
            validate: content.validate.map(hook).transpose()?,
            on_change: content.on_change.map(hook).transpose()?,
            probe: content.probe.map(hook).transpose()?,
        })
    }

    /// Whether this host would take it: by its own limits and by its lock file.
    pub(super) fn check(&self, base: &Base) -> Result<(), Failure> {
        let locks = &base.locks.current();
        let bytes: usize = self.files.iter().map(|file| file.content.len()).sum();
        if self.files.is_empty() || self.files.len() > MAX_FILES || bytes > MAX_BYTES {
            let count = self.files.len();
            return Err(invalid(format!(
                "{count} files with {bytes} bytes; it must be 1 to {MAX_FILES} files with at most {MAX_BYTES} bytes"
            )));
        }
        for file in &self.files {
            check_place(&file.path, locks, base)?;
            if file.mode > 0o777 {
                return Err(invalid(format!(
                    "mode {:o} of {} is not allowed",
                    file.mode,
                    file.path.display()
                )));
            }
        }
        self.check_apart()?;
        let hooks = [&self.validate, &self.on_change, &self.probe];
        let has_hooks = hooks.iter().any(|hook| hook.is_some());
        if has_hooks && !locks.allows_hooks() { Err(Failure::hook_denied()) } else { Ok(()) }
    }

    /// No file twice, none inside another.
    fn check_apart(&self) -> Result<(), Failure> {
        let paths: BTreeSet<&Path> = self.paths().collect();
        if paths.len() < self.files.len() {
            return Err(invalid("a path stands there twice"));
        }
        match paths.iter().find(|path| path.ancestors().skip(1).any(|above| paths.contains(above))) {
            Some(path) => Err(invalid(format!("{} lies inside another file of the bundle", path.display()))),
            None => Ok(()),
        }
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }
}

/// Whether a bundle may write there.
fn check_place(path: &Path, locks: &Locks, base: &Base) -> Result<(), Failure> {
    let why = if locks.root_of(path).is_none() {
        "the lock file of this host allows no writing to"
    } else if base.protects(path) {
        "the agent itself lives in"
    } else {
        return Ok(());
    };
    let message = format!("{why} {}", path.display());
    Err(Failure::rejected(Reason::PathNotAllowed, Cause::Host, message))
}

fn hook(hook: types::Hook) -> Result<Hook, Failure> {
    let absolute = hook.argv.first().is_some_and(|program| program.starts_with('/'));
    if !absolute || hook.timeout_s > MAX_HOOK_S || hook.argv.iter().any(|word| word.contains('\0')) {
        return Err(invalid("a hook must name a program by its absolute path and end within 600 s"));
    }
    let seconds = if hook.timeout_s == 0 { DEFAULT_HOOK_S } else { hook.timeout_s };
    Ok(Hook { argv: hook.argv, timeout: Duration::from_secs(u64::from(seconds)) })
}
