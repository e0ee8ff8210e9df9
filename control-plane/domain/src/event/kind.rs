//! What can happen, and how much it matters.

use serde::{Deserialize, Serialize};

use crate::alert::Severity;

/// The text names nothing that can happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no kind of event that this release knows")]
pub struct UnknownKind(String);

/// Kinds: in words, how they matter unless the event says otherwise, and what many of them are.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $text:literal $severity:ident $many:literal,)*) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// All.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its written form, stable.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// How much it matters, if no more is known.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                }
            }

            /// For people: what many of them have done.
            pub(super) const fn of_many(self) -> &'static str {
                match self {
                    $(Self::$name => $many,)*
                }
            }
        }
    };
}

kinds! {
    /// A host was let in.
    NodeEnrolled "node.enrolled" Info "were enrolled",
    /// It is heard, which it was not before.
    NodeOnline "node.online" Info "are online",
    /// It was late, and is heard again.
    NodeLate "node.late" Info "were late and are heard again",
    /// It is heard no more.
    NodeOffline "node.offline" Warning "are offline",
    /// It is offline, and its certificate has run out.
    NodeExpired "node.expired" Warning "are offline with certificates that have run out",
    /// Many were lost at once.
    FleetMassLoss "fleet.mass-loss" Critical "were lost at once",
    /// A session took the place of one that had not ended.
    NodeSessionReplaced "node.session-replaced" Info "came anew while their sessions were open",
    /// It was locked up.
    NodeQuarantined "node.quarantined" Critical "were put in quarantine",
    /// It was let out.
    NodeReleased "node.released" Info "were let out of quarantine",
    /// Somebody or something is let in no more.
    AccessDenied "access.denied" Warning "are let in no more",
    /// It is let in again.
    AccessAllowed "access.allowed" Info "are let in again",
    /// A host that waited was let in.
    JoinApproved "join.approved" Info "were approved",
    /// It was not.
    JoinDenied "join.denied" Warning "were denied",
    /// It has another display name.
    NodeRenamed "node.renamed" Info "were renamed",
    /// It has other labels.
    NodeLabelled "node.labelled" Info "have other labels",
    /// Its host left by its own will.
    NodeDisconnected "node.disconnected" Info "have left",
    /// Somebody removed it.
    NodeRemoved "node.removed" Info "were removed",
    /// It was given its next certificate.
    NodeCertificateRenewed "node.certificate-renewed" Info "renewed their certificates",
    /// It proved with an old key who it is, and was given a certificate.
    NodeRecovered "node.recovered" Warning "recovered",
    /// The certificate authority moved on.
    AuthorityTurned "authority.turned" Warning "were turned",
    /// A host has what it should have.
    ItemApplied "item.applied" Info "was applied",
    /// An item was taken from a host.
    ItemRemoved "item.removed" Info "was removed",
    /// It failed, and the way back, too.
    ItemFailed "item.failed" Critical "broke",
    /// It failed, and the host has again what it had.
    ItemRolledBack "item.rolled-back" Warning "was rolled back",
    /// A host refused it before anything changed.
    ItemRejected "item.rejected" Warning "was refused",
    /// A host differs from what it has.
    ItemDrifted "item.drifted" Warning "drifted",
    /// An agent runs another release.
    AgentUpgraded "agent.upgraded" Info "was taken up",
    /// A channel recommends another release.
    ReleaseRecommended "release.recommended" Info "were recommended",
    /// An operation began.
    OperationStarted "operation.started" Info "began",
    /// Its last command has ended.
    OperationEnded "operation.ended" Info "ended",
    /// A command ended, as the reason says.
    CommandEnded "command.ended" Info "ended",
    /// A rollout began.
    RolloutStarted "rollout.started" Info "began",
    /// It went on to its next step.
    RolloutStep "rollout.step" Info "went on",
    /// It rests.
    RolloutPaused "rollout.paused" Warning "rest",
    /// It goes on.
    RolloutResumed "rollout.resumed" Info "go on",
    /// It goes back.
    RolloutRollingBack "rollout.rolling-back" Warning "go back",
    /// It is over, as the reason says.
    RolloutEnded "rollout.ended" Info "ended",
    /// The brake of all rollouts was pulled, or let go.
    RolloutBrake "rollout.brake" Warning "were braked",
    /// An alert began.
    AlertOpened "alert.opened" Warning "began",
    /// It ended.
    AlertResolved "alert.resolved" Info "ended",
    /// A replica of the control plane serves the store.
    ReplicaJoined "replica.joined" Info "joined",
    /// It took its leave.
    ReplicaLeft "replica.left" Info "left",
    /// It beats no more.
    ReplicaLost "replica.lost" Critical "were lost",
    /// A replica that could not read the store reads it again.
    DatabaseBack "database.back" Warning "read the store again",
    /// A settings profile has another version, or lost one.
    SettingsChanged "settings.changed" Info "changed",
}

impl Kind {
    /// The kind written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }

    /// Whether a node tells it of its items.
    #[must_use]
    pub const fn is_of_items(self) -> bool {
        matches!(
            self,
            Self::ItemApplied
                | Self::ItemRemoved
                | Self::ItemFailed
                | Self::ItemRolledBack
                | Self::ItemRejected
                | Self::ItemDrifted
                | Self::AgentUpgraded
        )
    }
}

impl TryFrom<String> for Kind {
    type Error = UnknownKind;
    fn try_from(text: String) -> Result<Self, UnknownKind> {
        Self::parse(&text).ok_or(UnknownKind(text))
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_kind_has_one_written_form_that_a_filter_can_hold() {
        let forms: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(forms.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
            let is_plain = |c: char| c.is_ascii_lowercase() || c == '.' || c == '-';
            assert!(kind.as_str().chars().all(is_plain), "{kind:?}");
        }
        assert_eq!(Kind::parse("node"), None);
    }
}
