//! Where a join string comes from: the command line, a file, standard input, the environment.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use muster_common::join::JoinString;

use super::exit::{self, Failure};

/// The variable that is looked at when nothing else is given.
pub(super) const VARIABLE: &str = "MUSTER_JOIN";

/// Longest file that can hold a join string or a token.
const MAX_FILE: u64 = 17 * 1024;

/// The join string, if there is one anywhere.
pub(super) fn find(argument: Option<&str>, file: Option<&Path>) -> Result<Option<JoinString>, Failure> {
    let text = match (argument, file) {
        (Some("-"), _) => read(Path::new("-"))?,
        (Some(text), _) => text.to_owned(),
        (None, Some(path)) => read(path)?,
        (None, None) => match std::env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => text,
            _ => return Ok(None),
        },
    };
    text.parse().map(Some).map_err(|error| Failure::new(exit::JOIN, &error))
}

/// A small file; `-`: standard input.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_FILE).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::told(exit::JOIN, format!("cannot read {}: {error}", path.display())))?;
    Ok(text)
}

/// The flags by which a join string can be given.
#[derive(Debug, clap::Args)]
pub(super) struct Given {
    /// The join string, as `token create` printed it; `-`: from standard input. Others on
    /// this host can see it here while the command runs: `--join-file` and the variable
    /// MUSTER_JOIN hide it.
    #[arg(value_name = "JOIN")]
    pub(super) join: Option<String>,
    /// File that holds the join string; `-`: standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "join")]
    pub(super) join_file: Option<PathBuf>,
}

impl Given {
    pub(super) fn find(&self) -> Result<Option<JoinString>, Failure> {
        find(self.join.as_deref(), self.join_file.as_deref())
    }
}
