//! What may stand in a bundle. A host checks the same again, and its lock file
//! beside it; what is refused here never gets that far.

use std::collections::BTreeMap;

mod files;
mod hooks;

pub use hooks::MAX_HOOK_TIMEOUT_S;

use crate::violation::Violation;

/// Most bytes in all files of a bundle that are no blobs.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most bytes of a whole content as it is sent, paths and hooks included: a
/// message to a host holds one.
pub const MAX_WHOLE: usize = 128 * 1024;
/// Most bytes in all files of a bundle that are blobs.
pub const MAX_BLOB_BYTES: u64 = 8 * 1024 * 1024;
/// Most files of a bundle.
pub const MAX_FILES: usize = 64;
/// The capability of agents that know more of a file than path, content and mode.
pub const SECOND: &str = "bundle-v2";
/// The capability of agents that also fetch blobs, know of protected contents, and keep a
/// change only if they still reach the control plane; they have the one before, too.
pub const THIRD: &str = "bundle-v3";
/// Shortest and longest time for a confirmation, in seconds.
const CONFIRM_AFTER_S: std::ops::RangeInclusive<u32> = 5..=3600;
/// Longest path and longest part of one, as Linux has them.
const MAX_PATH: usize = 4095;
const MAX_PATH_PART: usize = 255;

/// The content of a bundle, looked at and not copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content<'a> {
    /// Files to write.
    pub files: Vec<File<'a>>,
    /// Run before anything is swapped.
    pub validate: Option<Hook<'a>>,
    /// Run after the swap.
    pub on_change: Option<Hook<'a>>,
    /// Run last.
    pub probe: Option<Hook<'a>>,
    /// What becomes of the files when it is taken off a host. `None`: a word that this
    /// release does not know.
    pub on_remove: Option<OnRemove>,
    /// What a host does with it. `None`: a word that this release does not know.
    pub mode: Option<Mode>,
    /// Seconds within which a host must open a new session to keep it; 0: not asked for.
    pub confirm_after_s: u32,
}

/// What a host does with a bundle, and when it differs from it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing is said: old agents apply, newer ones also tell drift.
    #[default]
    Unsaid,
    /// It never writes, and tells what differs.
    Audit,
    /// It writes once, and tells drift.
    Monitor,
    /// It writes, and corrects drift.
    Correct,
}

/// What becomes of the files of a bundle that is taken off a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRemove {
    /// What was there before comes back.
    #[default]
    Restore,
    /// They are deleted.
    Remove,
    /// They stay as they are.
    Leave,
}

impl Default for Content<'_> {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            validate: None,
            on_change: None,
            probe: None,
            on_remove: Some(OnRemove::Restore),
            mode: Some(Mode::Unsaid),
            confirm_after_s: 0,
        }
    }
}

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct File<'a> {
    /// Where on the host.
    pub path: &'a str,
    /// Bytes of its content.
    pub size: usize,
    /// Permission bits; 0: the default.
    pub mode: u32,
    /// User, by name or number; empty: as it is, or the agent's.
    pub owner: &'a str,
    /// Group, likewise.
    pub group: &'a str,
    /// It must not be there.
    pub absent: bool,
    /// It is a folder.
    pub directory: bool,
    /// It is a blob.
    pub blob: Option<FileBlob<'a>>,
    /// Its content is a secret.
    pub protected: bool,
    /// The protected content that stays; empty: none.
    pub protected_id: &'a str,
}

/// A blob as the content of a file names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileBlob<'a> {
    /// Its digest, if it is one.
    pub sha256: &'a [u8],
    /// Bytes of it.
    pub size_bytes: u64,
}

/// A program run on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook<'a> {
    /// Program and arguments.
    pub argv: &'a [String],
    /// 0: the default.
    pub timeout_s: u32,
    /// Where it begins; empty: `/`.
    pub working_directory: &'a str,
    /// Variables for it.
    pub environment: &'a BTreeMap<String, String>,
}

impl Default for Hook<'_> {
    fn default() -> Self {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        Self { argv: &[], timeout_s: 0, working_directory: "", environment: &NONE }
    }
}

/// What an agent must be capable of to bring a content onto its host whole: an
/// older one would pass over what it does not know.
#[must_use]
pub fn needs(content: &Content) -> &'static [&'static str] {
    if content.files.iter().any(|file| file.protected || file.blob.is_some()) {
        return &[THIRD];
    }
    let hooks = [content.validate, content.on_change, content.probe];
    let plain = content.files.iter().all(is_plain_file) && hooks.iter().flatten().all(is_plain_hook);
    let plain = plain && content.on_remove == Some(OnRemove::Restore) && content.mode == Some(Mode::Unsaid);
    match (plain, content.confirm_after_s) {
        (true, 0) => &[],
        (false, 0) => &[SECOND],
        // Who is capable of the third is capable of the second.
        (_, 1..) => &[THIRD],
    }
}

const fn is_plain_file(file: &File) -> bool {
    file.owner.is_empty() && file.group.is_empty() && !file.absent && !file.directory
}

fn is_plain_hook(hook: &Hook) -> bool {
    hook.working_directory.is_empty() && hook.environment.is_empty()
}

/// Finds everything that is wrong with a content. Fields are named from the
/// content on: `content.files[2].path`.
///
/// # Errors
/// All faults, at least one.
pub fn check_content(content: &Content) -> Result<(), Vec<Violation>> {
    let mut faults = Vec::new();
    check_files(&content.files, &mut faults);
    let hooks = [("validate", content.validate), ("on_change", content.on_change), ("probe", content.probe)];
    for (name, hook) in hooks {
        if let Some(hook) = hook {
            hooks::check(&format!("content.{name}"), hook, &mut faults);
        }
    }
    if content.mode.is_none() {
        let text = "it must be AUDIT, APPLY_AND_MONITOR or APPLY_AND_CORRECT";
        faults.push(Violation::invalid("content.mode", text));
    }
    if content.confirm_after_s != 0 && !CONFIRM_AFTER_S.contains(&content.confirm_after_s) {
        faults.push(Violation::invalid("content.confirm_after_s", "5 to 3600 seconds, or 0"));
    }
    if content.on_remove.is_none() {
        faults.push(Violation::invalid("content.on_remove", "it must be RESTORE, REMOVE or LEAVE"));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Checks the size of a whole content, as it is sent.
///
/// # Errors
/// When it is too large.
pub fn check_whole(bytes: usize) -> Result<(), Violation> {
    if bytes <= MAX_WHOLE {
        return Ok(());
    }
    let text = format!("{bytes} bytes with paths and hooks; at most {MAX_WHOLE}");
    Err(Violation::too_large("content", text))
}

fn check_files(files: &[File], faults: &mut Vec<Violation>) {
    if files.is_empty() {
        faults.push(Violation::invalid("content.files", "a bundle has at least one file"));
    }
    if files.len() > MAX_FILES {
        faults.push(Violation::too_large("content.files", format!("at most {MAX_FILES} files")));
        return; // a fault for each of thousands helps nobody
    }
    let total = files.iter().map(|file| file.size).fold(0, usize::saturating_add);
    faults.extend(check_bytes(total).err());
    let blobs = files.iter().filter_map(|file| file.blob);
    let total = blobs.map(|blob| blob.size_bytes).fold(0, u64::saturating_add);
    if total > MAX_BLOB_BYTES {
        let text = format!("{total} bytes in all blobs; at most {MAX_BLOB_BYTES}");
        faults.push(Violation::too_large("content.files", text));
    }
    files::check(files, faults);
}

/// Checks how much is in all files of a bundle, those included whose content stays.
///
/// # Errors
/// When it is too much.
pub fn check_bytes(bytes: usize) -> Result<(), Violation> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(Violation::too_large("content.files", format!("{bytes} bytes in all files; at most {MAX_BYTES}")))
}

fn path_fault(path: &str) -> Option<&'static str> {
    let Some(inner) = path.strip_prefix('/') else { return Some("it must be absolute: begin with '/'") };
    if path.len() > MAX_PATH {
        Some("it is longer than 4095 bytes")
    } else if path.chars().any(char::is_control) {
        Some("no control characters")
    } else if inner.split('/').any(|part| matches!(part, "" | "." | "..")) {
        Some("it must be in normal form: without '.', '..', '//' and '/' at its end")
    } else if inner.split('/').any(|part| part.len() > MAX_PATH_PART) {
        Some("a part of it is longer than 255 bytes")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
