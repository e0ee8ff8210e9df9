//! A node's session as the replicas tell each other of it: one of them holds it, all show it.

use std::net::SocketAddr;

use muster_common::{
    clock::UnixMillis,
    generation::Generation,
    ids::{ReplicaId, SessionId},
};
use serde::{Deserialize, Serialize};

use crate::{condition::Condition, sighting::Sighting};

/// Which replica holds a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBy {
    /// The replica.
    pub replica: ReplicaId,
    /// The session that it has with the node. `None`: it has ended, and the node is waited for.
    pub session: Option<Told>,
}

/// What a session tells of its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Which session.
    pub id: SessionId,
    /// Who opened it: two hosts with one identity are noticed wherever they connect.
    pub sighting: Sighting,
    /// From where.
    pub remote: SocketAddr,
    /// How the keys of its connection were agreed on.
    pub key_exchange: String,
    /// The newest that its host was told.
    pub newest: Generation,
    /// Item and command kinds the agent knows.
    pub capabilities: Vec<String>,
    /// Its version.
    pub agent_version: String,
    /// Since when.
    pub since: UnixMillis,
    /// What it says holds.
    pub conditions: Vec<Condition>,
}
