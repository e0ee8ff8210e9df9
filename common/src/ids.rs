//! Identifiers. Each is a type of its own, so that a command's id cannot be
//! given where a node's is asked for.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// The text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not a valid {kind} id")]
pub struct InvalidId {
    kind: &'static str,
    what: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id (UUIDv7): sorts by the time it was made.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id with exactly these bits; for stores and tests.
            #[must_use]
            pub const fn from_u128(bits: u128) -> Self {
                Self(Uuid::from_u128(bits))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // Only the one written form, so that ids can be compared as text.
                match Uuid::try_parse(text) {
                    Ok(id) if text.len() == 36 && !text.bytes().any(|b| b.is_ascii_uppercase()) => Ok(Self(id)),
                    _ => Err(InvalidId { kind: $kind, what: format!("{:?}", text.chars().take(64).collect::<String>()) }),
                }
            }
        }
    };
}

id!(
    /// One enrolled host, for ever.
    NodeId, "node"
);
id!(
    /// One live stream of one node.
    SessionId, "session"
);
id!(
    /// One order for one node.
    CommandId, "command"
);
id!(
    /// One request that fans out to commands.
    OperationId, "operation"
);
id!(
    /// One change of desired state that is brought to its nodes in steps.
    RolloutId, "rollout"
);
id!(
    /// One join token; not its secret.
    JoinTokenId, "join token"
);
id!(
    /// One host that waits to be let in.
    JoinRequestId, "join request"
);
id!(
    /// One run of an agent process.
    InstanceId, "instance"
);
id!(
    /// One state directory of an agent.
    LedgerId, "ledger"
);
id!(
    /// One protected content of a bundle.
    SecretId, "protected content"
);
id!(
    /// One run of a control plane's process on a store.
    ReplicaId, "replica"
);
id!(
    /// One upload of a blob, which may take more than one attempt.
    UploadId, "upload"
);
id!(
    /// One alert, from its beginning to its end.
    AlertId, "alert"
);
id!(
    /// A time in which some alerts are told to nobody.
    SilenceId, "silence"
);
id!(
    /// What one receiver is to be told of one alert.
    DeliveryId, "delivery"
);
id!(
    /// Something that happened.
    EventId, "event"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_written_form() {
        let id = NodeId::generate();
        assert_eq!(id.to_string().parse::<NodeId>(), Ok(id));
        assert!(id.to_string().to_uppercase().parse::<NodeId>().is_err());
        assert!(id.to_string().replace('-', "").parse::<NodeId>().is_err());
        assert!("".parse::<NodeId>().is_err());
    }
}
