//! What rules look for.

use serde::{Deserialize, Serialize};

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A node is offline.
    NodeOffline,
    /// A node is late, or offline.
    NodeLate,
    /// A node's certificate ends soon.
    CertificateExpiry,
    /// The authority's certificate ends soon.
    AuthorityExpiry,
    /// Metadata of the signed repository end soon.
    RepositoryExpiry,
    /// An item could not be applied, and was taken back or broke.
    ItemFailed,
    /// A host refused an item before anything changed.
    ItemRejected,
    /// An item is on its way and does not move.
    ItemStuck,
    /// A host differs from what it has.
    Drift,
    /// A node is in quarantine.
    Quarantine,
    /// A host's clock is out of step.
    ClockSkew,
    /// An agent is too old.
    VersionUnsupported,
    /// A rollout was stopped by what went wrong.
    RolloutStopped,
    /// A replica of the control plane beats no more.
    ReplicaLost,
    /// A disk of a host is nearly full.
    DiskNearlyFull,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 15] = [
        Self::NodeOffline,
        Self::NodeLate,
        Self::CertificateExpiry,
        Self::AuthorityExpiry,
        Self::RepositoryExpiry,
        Self::ItemFailed,
        Self::ItemRejected,
        Self::ItemStuck,
        Self::Drift,
        Self::Quarantine,
        Self::ClockSkew,
        Self::VersionUnsupported,
        Self::RolloutStopped,
        Self::ReplicaLost,
        Self::DiskNearlyFull,
    ];

    /// Its written form, which is also the name of its runbook.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodeOffline => "node-offline",
            Self::NodeLate => "node-late",
            Self::CertificateExpiry => "certificate-expiry",
            Self::AuthorityExpiry => "authority-expiry",
            Self::RepositoryExpiry => "repository-expiry",
            Self::ItemFailed => "item-failed",
            Self::ItemRejected => "item-rejected",
            Self::ItemStuck => "item-stuck",
            Self::Drift => "drift",
            Self::Quarantine => "quarantine",
            Self::ClockSkew => "clock-skew",
            Self::VersionUnsupported => "version-unsupported",
            Self::RolloutStopped => "rollout-stopped",
            Self::ReplicaLost => "replica-lost",
            Self::DiskNearlyFull => "disk-nearly-full",
        }
    }

    /// Whether it is about nodes.
    #[must_use]
    pub const fn is_of_nodes(self) -> bool {
        !matches!(
            self,
            Self::AuthorityExpiry | Self::RepositoryExpiry | Self::RolloutStopped | Self::ReplicaLost
        )
    }

    /// Whether it looks ahead to an end.
    #[must_use]
    pub const fn has_threshold(self) -> bool {
        matches!(self, Self::CertificateExpiry | Self::AuthorityExpiry | Self::RepositoryExpiry)
    }

    /// For people: what many nodes of a group are.
    #[must_use]
    pub const fn of_many(self) -> &'static str {
        match self {
            Self::NodeOffline => "are offline",
            Self::NodeLate => "are late or offline",
            Self::CertificateExpiry => "have certificates that end soon",
            Self::ItemFailed => "failed to apply an item",
            Self::ItemRejected => "refused an item",
            Self::ItemStuck => "are stuck with an item",
            Self::Drift => "have drifted",
            Self::Quarantine => "are in quarantine",
            Self::ClockSkew => "have clocks out of step",
            Self::DiskNearlyFull => "have disks that are nearly full",
            Self::VersionUnsupported => "have agents that are too old",
            Self::AuthorityExpiry | Self::RepositoryExpiry | Self::RolloutStopped | Self::ReplicaLost => {
                "have it"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_written_as_it_is_stored() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
