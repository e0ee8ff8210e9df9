//! Logs to standard error: text for people, JSON for machines.

use std::{collections::VecDeque, io};

use parking_lot::Mutex;
use serde::Deserialize;
use tracing_subscriber::{
    Registry,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
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
pub struct Level(Option<reload::Handle<Targets, Registry>>);

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
        if let Some(filter) = &self.0 {
            let _ = filter.reload(parsed); // nobody logs any more, if not
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
    let (filter, level) = reload::Layer::new(parsed);
    let lines = fmt::layer().with_writer(Tee).with_ansi(false);
    let _ = match format {
        Format::Text => Registry::default().with(filter).with(lines).try_init(),
        Format::Json => Registry::default().with(filter).with(lines.json()).try_init(),
    };
    Ok(Level(Some(level).filter(|_| own.is_none())))
}

/// By where it comes from, and no more than that: to filter by what is in a line takes a
/// compiler of regular expressions in each program.
fn parse(filter: &str) -> Result<Targets, InvalidFilter> {
    let words: Vec<&str> = filter.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    let words = if words.is_empty() { "error".to_owned() } else { words.join(",") };
    words.parse().map_err(|source| InvalidFilter { filter: filter.to_owned(), source })
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
    use tracing::Level;

    use super::*;

    #[test]
    fn a_filter_is_a_level_with_places_that_have_another_or_it_is_none() {
        let parsed = parse("info, muster_control_plane::session=debug,h2=off,").unwrap();
        let logs = |place: &str, level| parsed.would_enable(place, &level);
        assert!(logs("muster_node_agent", Level::INFO) && !logs("muster_node_agent", Level::DEBUG));
        assert!(logs("muster_control_plane::session::reactor", Level::DEBUG));
        assert!(!logs("h2::codec", Level::ERROR));
        let none = parse("").unwrap();
        assert!(none.would_enable("any", &Level::ERROR) && !none.would_enable("any", &Level::WARN));
        let loud = parse("info,h2=loud").unwrap_err();
        assert_eq!(loud.to_string(), "log filter \"info,h2=loud\" is not valid");
    }

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
