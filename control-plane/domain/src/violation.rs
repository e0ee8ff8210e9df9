//! One fault in a request, in words that its caller can act on.

use muster_common::reason::Reason;

/// Which field is wrong, and how. Becomes a field violation of
/// `google.rpc.BadRequest`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {description}")]
pub struct Violation {
    /// Path of the field in the request: `files[2].path`.
    pub field: String,
    /// What is wrong and what would be right.
    pub description: String,
    /// Stable.
    pub reason: Reason,
}

impl Violation {
    /// A field that is missing or malformed.
    #[must_use]
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into(), reason: Reason::InvalidArgument }
    }

    /// A selector that cannot be used.
    #[must_use]
    pub fn selector(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into(), reason: Reason::SelectorInvalid }
    }

    /// A field with more in it than is taken.
    #[must_use]
    pub fn too_large(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into(), reason: Reason::TooLarge }
    }
}
