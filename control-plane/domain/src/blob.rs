//! Blobs: bytes that are known by their digest and never change.

use muster_common::{clock::UnixMillis, digest::Sha256, ids::UploadId};

/// What is known of one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Of its bytes: its name.
    pub sha256: Sha256,
    /// Of its bytes.
    pub size_bytes: u64,
    /// Whether it can be had.
    pub state: State,
    /// When its bytes were whole.
    pub created_at: UnixMillis,
    /// By whom: the operator that brought it first or, if none did, the host.
    pub created_by: String,
    /// Since when nothing has referred to it. None: something does.
    pub unreferenced_since: Option<UnixMillis>,
}

impl Blob {
    /// Whether only hosts brought it, as the file of a command: nobody's to have but for who
    /// may see that command. Whoever brings all of its bytes, too, has had them before.
    #[must_use]
    pub fn is_of_command(&self) -> bool {
        self.created_by.starts_with("node/")
    }
}

/// Where the bytes are. Each step is written down before and after the bytes
/// move, so that an end of the process at any time leaves nothing unknown:
///
/// ```text
/// (upload whole) --> ARRIVING --> HERE --> LEAVING --> (gone)
///                        `-- its upload ran out --^
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// On their way into the storage; an upload has them.
    Arriving,
    /// In the storage.
    Here,
    /// On their way out; nobody gets them any more.
    Leaving,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Arriving, Self::Here, Self::Leaving];

    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Arriving => "arriving",
            Self::Here => "here",
            Self::Leaving => "leaving",
        }
    }

    /// The state written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// One upload: what it will be, and how long its first part is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Which.
    pub id: UploadId,
    /// What its bytes must have.
    pub sha256: Sha256,
    /// How many there must be.
    pub size_bytes: u64,
    /// When it was begun.
    pub created_at: UnixMillis,
    /// By whom; nobody else can go on with it.
    pub created_by: String,
    /// Until when it is kept.
    pub expires_at: UnixMillis,
}

/// The upload that a caller has of some bytes, if it does not say which.
#[must_use]
pub fn upload_of(caller: &str, sha256: &Sha256) -> UploadId {
    let digest = Sha256::of_parts([b"upload\0".as_slice(), caller.as_bytes(), b"\0", sha256.as_bytes()]);
    let mut bits = [0; 16];
    bits.copy_from_slice(&digest.as_bytes()[..16]);
    UploadId::from_u128(u128::from_be_bytes(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_without_a_name_is_one_callers_of_one_content() {
        let (a, b) = (Sha256::of(b"a"), Sha256::of(b"b"));
        assert_eq!(upload_of("operator/alice", &a), upload_of("operator/alice", &a));
        assert_ne!(upload_of("operator/alice", &a), upload_of("operator/alice", &b));
        assert_ne!(upload_of("operator/alice", &a), upload_of("operator/bob", &a));
    }

    #[test]
    fn states_have_one_written_form() {
        assert!(State::ALL.into_iter().all(|state| State::parse(state.as_str()) == Some(state)));
        assert_eq!(State::parse("gone"), None);
    }
}
