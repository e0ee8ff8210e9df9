//! Logs to standard error: text for people, JSON for machines.

use serde::Deserialize;
use tracing_subscriber::{EnvFilter, fmt};

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
    let builder = fmt().with_env_filter(parsed).with_writer(std::io::stderr).with_ansi(false);
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
