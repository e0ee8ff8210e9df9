//! Words about files of the signed repository. Metadata and files come as bytes behind the
//! request: no path of the daemon's is ever opened for them.

/// Metadata that follows, one after the other.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Believe {
    /// Each, in the order of their paths.
    #[prost(message, repeated, tag = "1")]
    pub documents: Vec<Document>,
}

/// One piece of metadata.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Document {
    /// Where a mirror has it.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Bytes that follow.
    #[prost(uint64, tag = "2")]
    pub size: u64,
}

/// A file of the repository.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Artifact {
    /// Its name there.
    #[prost(string, tag = "1")]
    pub target: String,
    /// Its bytes; where it is brought, they follow.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// Of all of them.
    #[prost(bytes = "vec", tag = "3")]
    pub sha256: Vec<u8>,
}

/// A file that is in the store.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Stored {
    /// What was signed about it, as JSON; empty: nothing.
    #[prost(string, tag = "1")]
    pub about: String,
}

/// Why nothing was taken.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Refused {
    /// Stable reason.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// Whose fault: 1 content, 2 host, 3 network, 4 control plane.
    #[prost(uint32, tag = "2")]
    pub cause: u32,
    /// For people.
    #[prost(string, tag = "3")]
    pub message: String,
}
