//! A node's session, and which replica has it.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
};

use muster_common::{
    clock::UnixMillis,
    generation::Generation,
    ids::{InstanceId, ReplicaId, SessionId},
};
use muster_domain::{
    condition::Condition,
    session::{HeldBy, Told},
    sighting::Sighting,
};

/// Who holds a node: has its session, or had it last and still waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Holder {
    /// Nobody; of such nodes the replica that leads takes care.
    #[default]
    Nobody,
    /// This replica.
    Us,
    /// Another one.
    Other(ReplicaId),
}

/// A node's session.
#[derive(Debug, Clone)]
pub struct Live {
    /// Which.
    pub session: SessionId,
    /// Of which process.
    pub instance: InstanceId,
    /// Of the certificate that it showed.
    pub serial: String,
    /// From where.
    pub remote: SocketAddr,
    /// How the keys of its connection were agreed on.
    pub key_exchange: Cow<'static, str>,
    /// The newest that its host was told.
    pub newest: Generation,
    /// Item and command kinds the agent knows.
    pub capabilities: Arc<[String]>,
    /// Its version.
    pub agent_version: String,
    /// It has other facts than we know, and was asked for them.
    pub facts_due: bool,
    /// For what is sealed to it; empty: it takes nothing sealed.
    pub sealing_key: Vec<u8>,
    /// Something could not be sealed for it: it was said once.
    pub unsealed: Arc<AtomicBool>,
    /// Since when.
    pub since: UnixMillis,
    /// What memory knew of the store when it began: who took the node after that may be newer.
    pub known: u64,
    /// The replica that has it; `None`: this one.
    pub replica: Option<ReplicaId>,
}

impl Live {
    /// One of another replica, as that one says.
    #[must_use]
    pub fn elsewhere(replica: ReplicaId, detail: Told, capabilities: Arc<[String]>) -> Self {
        Self {
            session: detail.id,
            instance: detail.sighting.instance,
            serial: detail.sighting.serial,
            remote: detail.remote,
            key_exchange: Cow::Owned(detail.key_exchange),
            newest: detail.newest,
            capabilities,
            agent_version: detail.agent_version,
            facts_due: false,
            sealing_key: Vec::new(), // nothing is sealed to it from here
            unsealed: Arc::default(),
            since: detail.since,
            known: 0,
            replica: Some(replica),
        }
    }

    /// Whether this process has it.
    #[must_use]
    pub const fn is_here(&self) -> bool {
        self.replica.is_none()
    }

    /// What the others are to know of it.
    #[must_use]
    pub fn held(&self, replica: ReplicaId, sighting: Sighting, conditions: &[Condition]) -> HeldBy {
        let told = Told {
            id: self.session,
            sighting,
            remote: self.remote,
            key_exchange: self.key_exchange.to_string(),
            newest: self.newest,
            capabilities: self.capabilities.to_vec(),
            agent_version: self.agent_version.clone(),
            since: self.since,
            conditions: conditions.to_vec(),
        };
        HeldBy { replica, session: Some(told) }
    }
}
