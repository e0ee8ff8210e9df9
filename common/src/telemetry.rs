//! Logs to standard error: text for people, JSON for machines.

use std::{collections::VecDeque, io};

use parking_lot::Mutex;
use serde::Deserialize;
use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, fmt},
};

/// What is kept in memory of what was logged.
const RECENT: usize = 256 * 1024;

static LOGGED: Mutex<VecDeque<u8>> = Mutex::new(VecDeque::new());

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The log filter does not parse.
#[derive(Debug, thiserror::Error)]
#[error("log filter {filter:?} is not valid")]
pub struct InvalidFilter {
    filter: String,
    #[source]
    source: tracing_subscriber::filter::ParseError,
}

/// Changes what is logged while the process runs.
pub struct Level(Option<Box<dyn Fn(EnvFilter) + Send + Sync>>);

impl Level {
    /// One that nothing changes, as where `MUSTER_LOG` is set.
    #[must_use]
    pub const fn fixed() -> Self {
        Self(None)
    }

    /// Whether `MUSTER_LOG` decides what is logged, whatever is set.
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        self.0.is_none()
    }

    /// From now on this filter counts, unless `MUSTER_LOG` is set.
    ///
    /// # Errors
    /// If the filter does not parse; the old one then stays.
    pub fn set(&self, filter: &str) -> Result<(), InvalidFilter> {
        let parsed = parse(filter)?;
        if let Some(set) = &self.0 {
            set(parsed);
        }
        Ok(())
    }
}

/// Starts logging. `MUSTER_LOG`, if set, wins over the given filter
/// (`info`, `info,muster_control_plane::session=debug`).
///
/// # Errors
/// If the filter does not parse. A second call does nothing.
pub fn start(filter: &str, format: Format) -> Result<Level, InvalidFilter> {
    let own = std::env::var("MUSTER_LOG").ok();
    let parsed = parse(own.as_deref().unwrap_or(filter))?;
    let builder = fmt().with_env_filter(parsed).with_writer(Tee).with_ansi(false);
    let set: Box<dyn Fn(EnvFilter) + Send + Sync> = match format {
        Format::Text => {
            let builder = builder.with_filter_reloading();
            let level = builder.reload_handle();
            let _ = builder.try_init();
            Box::new(move |filter| drop(level.reload(filter)))
        }
        Format::Json => {
            let builder = builder.json().with_filter_reloading();
            let level = builder.reload_handle();
            let _ = builder.try_init();
            Box::new(move |filter| drop(level.reload(filter)))
        }
    };
    Ok(Level(Some(set).filter(|_| own.is_none())))
}

fn parse(filter: &str) -> Result<EnvFilter, InvalidFilter> {
    EnvFilter::try_new(filter).map_err(|source| InvalidFilter { filter: filter.to_owned(), source })
}

/// The newest lines that this process has logged.
#[must_use]
pub fn recent() -> Vec<u8> {
    let logged = LOGGED.lock();
    let from = if logged.len() < RECENT {
        0
    } else {
        logged.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) // its first line is cut
    };
    logged.iter().skip(from).copied().collect()
}

/// Standard error, and memory.
struct Tee;

impl MakeWriter<'_> for Tee {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl io::Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        keep(bytes);
        io::stderr().write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn keep(bytes: &[u8]) {
    let mut logged = LOGGED.lock();
    let bytes = &bytes[bytes.len().saturating_sub(RECENT)..];
    let over = (logged.len() + bytes.len()).saturating_sub(RECENT);
    logged.drain(..over);
    logged.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_and_no_half_one() {
        for n in 0..30_000 {
            keep(format!("line {n}\n").as_bytes());
        }
        let recent = String::from_utf8(recent()).unwrap();
        assert!(recent.len() <= RECENT && recent.len() > RECENT - 100);
        assert!(recent.starts_with("line ") && recent.ends_with("line 29999\n"));
    }
}
