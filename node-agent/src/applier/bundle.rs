//! The content of a bundle. Checked here again: a host believes nobody.

use std::{path::Path, time::Duration};

use muster_common::{ids::SecretId, reason::Reason, sealing::Contents};
use muster_proto::types::v1 as types;
use prost::Message as _;

mod files;
mod hook;

pub(super) use files::{Content, File};
pub(super) use hook::Hook;

use super::{Failure, base::Base, cache::Blob};
use crate::state::Cause;

/// What a bundle brings.
#[derive(Debug)]
pub(super) struct Bundle {
    /// Folders first, each before what is in it.
    pub(super) files: Vec<File>,
    pub(super) validate: Option<Hook>,
    pub(super) on_change: Option<Hook>,
    pub(super) probe: Option<Hook>,
    pub(super) on_remove: OnRemove,
    pub(super) mode: Mode,
    /// It is kept only if the control plane is reached again within this.
    pub(super) confirm_after: Option<Duration>,
}

/// What is done with it, and when the host differs from it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing is written and nothing run.
    Audit,
    /// It is brought, and drift is told.
    Monitor,
    /// It is brought, and drift is corrected.
    Correct,
}

/// What becomes of the files when the bundle is taken off the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnRemove {
    /// What was there before comes back.
    Restore,
    /// What the bundle wrote goes.
    Remove,
    /// They stay.
    Leave,
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
        let on_remove = match types::BundleOnRemove::try_from(content.on_remove) {
            Ok(types::BundleOnRemove::Unspecified | types::BundleOnRemove::Restore) => OnRemove::Restore,
            Ok(types::BundleOnRemove::Remove) => OnRemove::Remove,
            Ok(types::BundleOnRemove::Leave) => OnRemove::Leave,
            Err(_) => return Err(invalid("what becomes of its files on removal is not known here")),
        };
        let mode = match types::BundleMode::try_from(content.mode) {
            Ok(types::BundleMode::Audit) => Mode::Audit,
            Ok(types::BundleMode::Unspecified | types::BundleMode::ApplyAndMonitor) => Mode::Monitor,
            Ok(types::BundleMode::ApplyAndCorrect) => Mode::Correct,
            Err(_) => return Err(invalid("what is to be done with it is not known here")),
        };
        let confirm_after = match content.confirm_after_s {
            0 => None,
            seconds @ 5..=3600 => Some(Duration::from_secs(u64::from(seconds))),
            _ => return Err(invalid("a change is confirmed after 5 to 3600 s")),
        };
        Ok(Self {
            confirm_after,
            mode,
            on_remove,
            files: files::decode(content.files)?,
            validate: content.validate.map(Hook::decode).transpose()?,
            on_change: content.on_change.map(Hook::decode).transpose()?,
            probe: content.probe.map(Hook::decode).transpose()?,
        })
    }

    /// Gives every protected file its content.
    pub(super) fn fill(&mut self, contents: &Contents) -> Result<(), Failure> {
        self.files.iter_mut().try_for_each(|file| file.fill(contents))
    }

    /// The protected contents that it needs.
    pub(super) fn secrets(&self) -> Vec<SecretId> {
        self.files.iter().filter_map(|file| file.secret).collect()
    }

    /// Whether this host would take it: by its own limits and by its lock file.
    pub(super) fn check(&self, base: &Base) -> Result<(), Failure> {
        let locks = &base.locks.current();
        files::check(&self.files, self.mode == Mode::Audit, locks, base)?;
        let hooks = [&self.validate, &self.on_change, &self.probe];
        let has_hooks = hooks.iter().any(|hook| hook.is_some());
        if has_hooks && self.mode != Mode::Audit && !locks.allows_hooks() {
            Err(Failure::hook_denied(locks))
        } else {
            Ok(())
        }
    }

    /// Looks up the users and groups that files are to belong to. May wait for a
    /// directory service.
    pub(super) fn look_up_owners(&mut self) -> Result<(), Failure> {
        self.files.iter_mut().try_for_each(File::look_up_owner)
    }

    /// The blobs that its files are.
    pub(super) fn blobs(&self) -> impl Iterator<Item = Blob> {
        self.files.iter().filter_map(|file| file.content.blob())
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }
}
