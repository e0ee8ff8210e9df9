//! `[session]`.

use std::time::Duration;

use serde::Deserialize;

/// Rhythm of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Session {
    /// Between heartbeats.
    #[serde(with = "humantime_serde")]
    pub heartbeat_interval: Duration,
    /// Each is spread by up to this, both ways.
    #[serde(with = "humantime_serde")]
    pub heartbeat_jitter: Duration,
    /// First wait of an agent before it tries a broken session again.
    #[serde(with = "humantime_serde")]
    pub reconnect_min: Duration,
    /// Longest such wait.
    #[serde(with = "humantime_serde")]
    pub reconnect_max: Duration,
    /// Bytes of output kept of one command.
    pub output_limit: u64,
    /// Bytes of output kept of all commands of one operation.
    pub operation_output_limit: u64,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(15),
            heartbeat_jitter: Duration::from_millis(1500),
            reconnect_min: Duration::from_secs(1),
            reconnect_max: Duration::from_secs(60),
            output_limit: 1024 * 1024,
            operation_output_limit: 256 * 1024 * 1024,
        }
    }
}
