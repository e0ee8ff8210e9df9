//! What is logged.

use muster_common::telemetry::Format;
use serde::Deserialize;

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Log {
    /// `info`, or by module: `info,muster_control_plane::session=debug`.
    pub filter: String,
    /// For people or for machines.
    pub format: Format,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: Format::Text }
    }
}
