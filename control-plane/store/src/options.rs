//! Where the store is and how it is driven.

use std::{path::PathBuf, str::FromStr, time::Duration};

/// Options of a store. `"sqlite:PATH".parse()` gives the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The SQLite file.
    pub path: PathBuf,
    /// Name of this process among those that write; its audit chain has it.
    pub replica: String,
    /// How long to wait for another process that writes.
    pub busy_timeout: Duration,
    /// Threads that read.
    pub readers: usize,
    /// Requests that may wait, for the writer and for the readers each.
    pub queue: usize,
    /// Most writes that share a commit.
    pub batch: usize,
    /// How often to look for commits of other processes.
    pub watch_interval: Duration,
}

/// The text is not the URL of a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a store: write \"sqlite:PATH\"")]
pub struct InvalidUrl(String);

impl Options {
    /// The defaults, for a file.
    #[must_use]
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            replica: "main".to_owned(),
            busy_timeout: Duration::from_secs(5),
            readers: 2,
            queue: 4096,
            batch: 256,
            watch_interval: Duration::from_millis(500),
        }
    }

    /// The same, under another replica's name.
    #[must_use]
    pub fn with_replica(self, replica: impl Into<String>) -> Self {
        Self { replica: replica.into(), ..self }
    }
}

impl FromStr for Options {
    type Err = InvalidUrl;
    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        match url.strip_prefix("sqlite:") {
            // `sqlite://host/path` would mean a host; there is none.
            Some(path) if !path.is_empty() && (!path.starts_with("//") || path.starts_with("///")) => {
                Ok(Self::sqlite(path.strip_prefix("//").unwrap_or(path)))
            }
            // The URL may hold a password: only its scheme is shown.
            _ => Err(InvalidUrl(
                url.split_once(':').map_or("…", |(scheme, _)| scheme).chars().take(32).collect(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_and_never_shows_a_password() {
        let path = |url: &str| url.parse::<Options>().map(|options| options.path);
        assert_eq!(path("sqlite:/var/lib/muster/store.db"), Ok("/var/lib/muster/store.db".into()));
        assert_eq!(path("sqlite:///var/x.db"), Ok("/var/x.db".into()));
        assert_eq!(path("sqlite:x.db"), Ok("x.db".into()));
        for url in ["sqlite:", "sqlite://host/x", "x.db", "postgres://me:secret@host/db", ""] {
            let error = path(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
