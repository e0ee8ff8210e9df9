//! Whether two hosts speak with one identity.
//!
//! What a host says of itself is a claim. Two things cannot be said by one
//! honest host: another machine than before, and, after another process spoke,
//! that of a process seen before: a process that ended does not come back.

use std::net::IpAddr;

use muster_common::{clock::UnixMillis, generation::Generation, ids::InstanceId};
use serde::{Deserialize, Serialize};

/// Processes remembered of one node.
const REMEMBERED: usize = 8;

/// Who opened a session, as it says itself; the address is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The process.
    pub instance: InstanceId,
    /// The boot of its host.
    pub boot_id: String,
    /// Its machine; empty: it did not say.
    pub machine_fingerprint: Vec<u8>,
    /// From where.
    pub remote: IpAddr,
    /// When.
    pub at: UnixMillis,
    /// Of the certificate that it showed; empty in what was written down before this was.
    #[serde(default)]
    pub serial: String,
}

/// Why a node is in quarantine. Two hosts are named where two were seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// One stable CamelCase word.
    pub reason: Suspicion,
    /// Since when.
    pub since: UnixMillis,
    /// Those who spoke as this node, the newest last.
    pub seen: Vec<Sighting>,
    /// The newest that its host was told, if that is why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Generation>,
}

/// The one process that is a node after a quarantine, until it has a certificate
/// that nobody else can have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Which.
    pub instance: InstanceId,
    /// Serials of the certificates that it may have in common with others.
    pub serials: Vec<String>,
}

impl Kept {
    /// Whether who shows this certificate is not the one.
    #[must_use]
    pub fn excludes(&self, instance: Option<InstanceId>, serial: &str) -> bool {
        instance != Some(self.instance) && self.shares(serial)
    }

    /// Whether others may have this certificate.
    #[must_use]
    pub fn shares(&self, serial: &str) -> bool {
        self.serials.iter().any(|shared| shared == serial)
    }
}

/// What was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Suspicion {
    /// A host with another machine fingerprint spoke.
    OtherMachine,
    /// Two processes took turns.
    TwoProcesses,
    /// A certificate was shown that the node had replaced.
    ReplacedCertificate,
    /// A person put it there.
    ByOperator,
    /// The host was told what the store, restored from a backup, does not know.
    NewerThanStore,
}

impl Suspicion {
    /// In one word, stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherMachine => "OtherMachine",
            Self::TwoProcesses => "TwoProcesses",
            Self::ReplacedCertificate => "ReplacedCertificate",
            Self::ByOperator => "ByOperator",
            Self::NewerThanStore => "NewerThanStore",
        }
    }

    /// For people.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::OtherMachine => "another machine speaks with this identity",
            Self::TwoProcesses => "two agents take turns with this identity",
            Self::ReplacedCertificate => "a certificate was shown that had been replaced by a renewal",
            Self::ByOperator => "an operator put it in quarantine",
            Self::NewerThanStore => {
                "the host follows changes that the restored store does not know; accept that they are undone"
            }
        }
    }
}

/// The last processes that spoke as one node, the newest last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sightings(Vec<Sighting>);

impl Sightings {
    /// Takes in one more. `machine`: the fingerprint the node is known by;
    /// empty: any.
    pub fn look(&mut self, next: Sighting, machine: &[u8]) -> Option<Suspicion> {
        let other = !machine.is_empty()
            && !next.machine_fingerprint.is_empty()
            && next.machine_fingerprint != machine;
        let known = self.0.iter().position(|seen| seen.instance == next.instance);
        let is_last = known.is_some_and(|at| at + 1 == self.0.len());
        if let Some(at) = known {
            self.0.remove(at);
        }
        if self.0.len() == REMEMBERED {
            // Of the same address first: one that goes by many names pushes nobody else out.
            let same = self.0.iter().position(|seen| seen.remote == next.remote);
            self.0.remove(same.unwrap_or(0));
        }
        self.0.reserve_exact(1); // most nodes have one
        self.0.push(next);
        if other {
            Some(Suspicion::OtherMachine)
        } else if known.is_some() && !is_last {
            Some(Suspicion::TwoProcesses)
        } else {
            None
        }
    }

    /// The last of each host that spoke, at most two of them.
    #[must_use]
    pub fn last_two(&self) -> Vec<Sighting> {
        let mut two: Vec<Sighting> = self.0.iter().rev().take(2).cloned().collect();
        two.reverse();
        two
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Sighting] {
        &self.0
    }

    /// Forgets all but one process: the others were told off.
    pub fn keep(&mut self, instance: InstanceId) {
        self.0.retain(|seen| seen.instance == instance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(instance: u128, machine: u8) -> Sighting {
        Sighting {
            instance: InstanceId::from_u128(instance),
            boot_id: "b".to_owned(),
            machine_fingerprint: vec![machine; 32],
            remote: IpAddr::from([192, 0, 2, 1]),
            at: UnixMillis(0),
            serial: String::new(),
        }
    }

    #[test]
    fn an_agent_that_starts_anew_and_comes_back_often_is_no_twin() {
        let mut sightings = Sightings::default();
        for instance in [1, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11] {
            assert_eq!(sightings.look(seen(instance, 1), &[1; 32]), None, "{instance}");
        }
    }

    #[test]
    fn a_process_that_comes_back_after_another_is_a_twin() {
        let mut sightings = Sightings::default();
        assert_eq!(sightings.look(seen(1, 1), &[1; 32]), None);
        assert_eq!(sightings.look(seen(2, 1), &[1; 32]), None);
        assert_eq!(sightings.look(seen(1, 1), &[1; 32]), Some(Suspicion::TwoProcesses));
        let two: Vec<_> = sightings.last_two().iter().map(|seen| seen.instance).collect();
        assert_eq!(two, [InstanceId::from_u128(2), InstanceId::from_u128(1)]);
        sightings.keep(InstanceId::from_u128(1));
        assert_eq!(sightings.look(seen(1, 1), &[1; 32]), None);
    }

    #[test]
    fn one_that_goes_by_many_names_pushes_nobody_else_out() {
        let mut sightings = Sightings::default();
        let elsewhere = |instance| Sighting { remote: IpAddr::from([192, 0, 2, 9]), ..seen(instance, 1) };
        assert_eq!(sightings.look(seen(1, 1), &[]), None);
        for instance in 2..40 {
            assert_eq!(sightings.look(elsewhere(instance), &[]), None);
        }
        assert_eq!(sightings.all().len(), REMEMBERED);
        assert_eq!(sightings.look(seen(1, 1), &[]), Some(Suspicion::TwoProcesses));
    }

    #[test]
    fn another_machine_is_noticed_at_its_first_word() {
        let mut sightings = Sightings::default();
        assert_eq!(sightings.look(seen(1, 1), &[1; 32]), None);
        assert_eq!(sightings.look(seen(2, 2), &[1; 32]), Some(Suspicion::OtherMachine));
        assert_eq!(sightings.look(seen(3, 2), &[]), None, "a node that never said where it lives");
        let silent = Sighting { machine_fingerprint: Vec::new(), ..seen(4, 0) };
        assert_eq!(sightings.look(silent, &[1; 32]), None);
    }
}
