//! Protected contents, as they are kept: encrypted. Nobody but the vault reads them.

use muster_common::ids::SecretId;

/// One protected content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Which. It says nothing of the content.
    pub id: SecretId,
    /// The key of the vault that encrypted it.
    pub key_id: String,
    /// Nonce, ciphertext and tag.
    pub sealed: Vec<u8>,
}

/// A file of a version of a bundle that has a protected content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUse {
    /// Its content.
    pub id: SecretId,
    /// Of the file on the host.
    pub path: String,
}
