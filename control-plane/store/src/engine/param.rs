//! Parameters of statements.

use std::borrow::Cow;

use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    ids::{
        AlertId, CommandId, DeliveryId, EventId, JoinRequestId, JoinTokenId, LedgerId, NodeId, OperationId,
        ReplicaId, RolloutId, SessionId, SilenceId, UploadId,
    },
};

use super::Value;

/// One parameter.
#[derive(Debug, Clone)]
pub enum Param<'a> {
    /// Nothing.
    Null,
    /// BIGINT.
    Int(i64),
    /// TEXT.
    Text(Cow<'a, str>),
    /// BYTEA, BLOB.
    Blob(&'a [u8]),
}

/// Parameters in order.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::engine::Param::from($value)),*] };
}
pub(crate) use params;

impl From<i64> for Param<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Param<'_> {
    /// Databases have no unsigned numbers: the bits are kept, and `Row::u64`
    /// takes them back. What is compared in SQL stays far below the sign.
    fn from(number: u64) -> Self {
        Self::Int(number.cast_signed())
    }
}

impl From<u32> for Param<'_> {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<i32> for Param<'_> {
    fn from(number: i32) -> Self {
        Self::Int(number.into())
    }
}

impl From<bool> for Param<'_> {
    fn from(yes: bool) -> Self {
        Self::Int(yes.into())
    }
}

impl From<UnixMillis> for Param<'_> {
    fn from(at: UnixMillis) -> Self {
        Self::Int(at.0)
    }
}

impl<'a> From<&'a str> for Param<'a> {
    /// Not every engine takes the character zero; a host that sends one must not be able to
    /// spoil the write that it shares with others. It is kept as what stands for the unreadable.
    fn from(text: &'a str) -> Self {
        Self::Text(if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() })
    }
}

impl<'a> From<&'a Value> for Param<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Int(number) => Self::Int(*number),
            Value::Text(text) => Self::from(text),
            Value::Blob(bytes) => Self::Blob(bytes),
        }
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(text: &'a String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<String> for Param<'_> {
    fn from(text: String) -> Self {
        Self::Text(if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() })
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Blob(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Param<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

impl<'a> From<&'a Sha256> for Param<'a> {
    fn from(digest: &'a Sha256) -> Self {
        Self::Blob(digest.as_bytes())
    }
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

macro_rules! ids {
    ($($id:ident),*) => {
        $(impl From<$id> for Param<'_> {
            fn from(id: $id) -> Self {
                Self::Text(id.to_string().into())
            }
        })*
    };
}
ids!(
    AlertId,
    CommandId,
    DeliveryId,
    EventId,
    JoinRequestId,
    JoinTokenId,
    LedgerId,
    NodeId,
    OperationId,
    ReplicaId,
    RolloutId,
    SessionId,
    SilenceId,
    UploadId
);
