//! Where the store is and how it is driven.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use crate::postgres::server::Server;

/// Options of a store. `"sqlite:PATH".parse()` gives the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Which database.
    pub place: Place,
    /// Name of this process among those that write; its audit chain has it.
    pub replica: String,
    /// How long to wait for another process that writes.
    pub busy_timeout: Duration,
    /// How long a server may take over one statement.
    pub statement_timeout: Duration,
    /// How long a batch of writes waits for a lost server to come back.
    pub failover_within: Duration,
    /// Threads that read, each with a connection.
    pub readers: usize,
    /// Requests that may wait, for the writer and for the readers each.
    pub queue: usize,
    /// Most writes that share a commit.
    pub batch: usize,
    /// How often to look for commits of other processes.
    pub watch_interval: Duration,
}

/// Which database. Shown, it has no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file of SQLite.
    File(PathBuf),
    /// A database of a PostgreSQL server.
    Server(Box<Server>),
}

/// The text is not the URL of a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{scheme:?} is not a store: {why}. Write \"sqlite:PATH\" or \"postgres://USER@HOST:PORT/DATABASE\"")]
pub struct InvalidUrl {
    /// The URL may hold a password: only its scheme is shown.
    scheme: String,
    why: String,
}

impl Options {
    /// The defaults, for a file.
    #[must_use]
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::at(Place::File(path.into()))
    }

    fn at(place: Place) -> Self {
        Self {
            place,
            replica: "main".to_owned(),
            busy_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            failover_within: Duration::from_secs(20),
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

    /// The file of SQLite, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Server(_) => None,
        }
    }

    /// The same, with the password of the database's user; a file has none.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        if let Place::Server(server) = &mut self.place {
            server.set_password(password);
        }
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(server) => server.fmt(f),
        }
    }
}

impl FromStr for Options {
    type Err = InvalidUrl;
    fn from_str(url: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = url.split_once(':').unwrap_or(("…", url));
        let invalid = |why: String| InvalidUrl { scheme: scheme.chars().take(32).collect(), why };
        match scheme {
            // `sqlite://host/path` would mean a host; there is none.
            "sqlite" if rest.starts_with("//") && !rest.starts_with("///") => {
                Err(invalid("a file has no host".to_owned()))
            }
            "sqlite" if rest.is_empty() => Err(invalid("it names no file".to_owned())),
            "sqlite" => Ok(Self::sqlite(rest.strip_prefix("//").unwrap_or(rest))),
            "postgres" | "postgresql" => {
                let server = Server::parse(url).map_err(invalid)?;
                Ok(Self::at(Place::Server(Box::new(server))))
            }
            _ => Err(invalid("its engine is not known".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_and_never_shows_a_password() {
        let file = |url: &str| url.parse::<Options>().map(|options| options.place);
        assert_eq!(
            file("sqlite:/var/lib/muster/store.db"),
            Ok(Place::File("/var/lib/muster/store.db".into()))
        );
        assert_eq!(file("sqlite:///var/x.db"), Ok(Place::File("/var/x.db".into())));
        assert_eq!(file("sqlite:x.db"), Ok(Place::File("x.db".into())));
        let refused = [
            "sqlite:",
            "sqlite://host/x",
            "x.db",
            "mysql://me:secret@host/db",
            "postgres://me:secret@host/db",
            "postgres://me@host/db?password=secret",
            "postgres://me@host/db?sslmode=prefer",
            "postgres://me@host/db?secret=secret",
            "",
        ];
        for url in refused {
            let error = url.parse::<Options>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_server_is_shown_without_its_password() {
        let options: Options = "postgres://me@db1,db2:6432/fleet?sslmode=disable".parse().unwrap();
        let options = options.with_password("secret");
        assert_eq!(options.place.to_string(), "postgres://me@db1:5432,db2:6432/fleet");
        assert!(!format!("{options:?}").contains("secret"));
    }
}
