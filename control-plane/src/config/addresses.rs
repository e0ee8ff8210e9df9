//! Where a running control plane listens, told to programs on the same host in
//! `addresses.json`.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Addresses in use.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Addresses {
    /// For nodes.
    pub agents: SocketAddr,
    /// For hosts without an identity.
    pub enrollment: SocketAddr,
    /// For operators.
    pub operators: SocketAddr,
    /// For probes.
    pub console: SocketAddr,
    /// For browsers. `None`: there is no fleet console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet_console: Option<SocketAddr>,
}

impl Addresses {
    fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("addresses.json")
    }

    /// Tells them.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, state_dir: &Path) -> io::Result<()> {
        let staged = Self::path(state_dir).with_extension("new");
        std::fs::write(&staged, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(staged, Self::path(state_dir))
    }

    /// Those last told.
    ///
    /// # Errors
    /// If there are none.
    pub fn read(state_dir: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(Self::path(state_dir))?)?)
    }
}
