//! A program that a bundle has run.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use muster_proto::types::v1 as types;

use super::invalid;
use crate::applier::Failure;

const MAX_S: u32 = 600;
const DEFAULT_S: u32 = 30;

/// A program to run.
#[derive(Debug, Clone)]
pub(in crate::applier) struct Hook {
    /// Program and arguments.
    pub(in crate::applier) argv: Vec<String>,
    pub(in crate::applier) timeout: Duration,
    /// Where it begins.
    pub(in crate::applier) folder: PathBuf,
    /// What it finds in its environment, besides what the agent says there.
    pub(in crate::applier) environment: BTreeMap<String, String>,
}

impl Hook {
    pub(super) fn decode(hook: types::Hook) -> Result<Self, Failure> {
        let absolute = hook.argv.first().is_some_and(|program| program.starts_with('/'));
        if !absolute || hook.timeout_s > MAX_S || hook.argv.iter().any(|word| word.contains('\0')) {
            return Err(invalid("a hook must name a program by its absolute path and end within 600 s"));
        }
        if !matches!(hook.working_directory.as_bytes(), [] | [b'/', ..]) {
            return Err(invalid("the working directory of a hook must be absolute"));
        }
        if let Some((name, _)) = hook.environment.iter().find(|(name, value)| !is_variable(name, value)) {
            return Err(invalid(format!("{name:?} cannot be in the environment of a hook")));
        }
        let seconds = if hook.timeout_s == 0 { DEFAULT_S } else { hook.timeout_s };
        let folder = if hook.working_directory.is_empty() { "/".to_owned() } else { hook.working_directory };
        Ok(Self {
            argv: hook.argv,
            timeout: Duration::from_secs(u64::from(seconds)),
            folder: PathBuf::from(folder),
            environment: hook.environment,
        })
    }
}

/// A shell can export it, and what the agent itself says stays.
fn is_variable(name: &str, value: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
        && name.bytes().all(plain)
        && !name.starts_with("MUSTER_")
        && !value.contains('\0')
}
