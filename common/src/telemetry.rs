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

/// Starts logging. `MUSTER_LOG`, if set, wins over the given filter
/// (`info`, `info,muster_control_plane::session=debug`).
///
/// # Errors
/// If the filter does not parse. A second call does nothing.
pub fn start(filter: &str, format: Format) -> Result<(), InvalidFilter> {
    let filter = std::env::var("MUSTER_LOG").unwrap_or_else(|_| filter.to_owned());
    let parsed = EnvFilter::try_new(&filter).map_err(|source| InvalidFilter { filter, source })?;
    let builder = fmt().with_env_filter(parsed).with_writer(std::io::stderr).with_ansi(false);
    let _ = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().try_init(),
    };
    Ok(())
}
