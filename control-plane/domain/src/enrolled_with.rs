//! By what a node was let in.

use std::{fmt, str::FromStr};

use muster_common::ids::JoinTokenId;

const OIDC: &str = "oidc/";

/// By what a node was let in. Written as the id of a join token, or `oidc/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrolledWith {
    /// A join token.
    Token(JoinTokenId),
    /// A token of the issuer with this name in the configuration.
    Oidc(String),
}

/// A text that names nothing of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is neither the id of a join token nor oidc/NAME")]
pub struct Invalid;

impl fmt::Display for EnrolledWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => id.fmt(f),
            Self::Oidc(name) => write!(f, "{OIDC}{name}"),
        }
    }
}

impl FromStr for EnrolledWith {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.strip_prefix(OIDC) {
            Some(name) => Ok(Self::Oidc(name.to_owned())),
            None => text.parse().map(Self::Token).map_err(|_| Invalid),
        }
    }
}

impl From<JoinTokenId> for EnrolledWith {
    fn from(id: JoinTokenId) -> Self {
        Self::Token(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_being_written_and_read() {
        for with in [EnrolledWith::Token(JoinTokenId::from_u128(7)), EnrolledWith::Oidc("ci".to_owned())] {
            assert_eq!(with.to_string().parse(), Ok(with));
        }
        assert_eq!("ci".parse::<EnrolledWith>(), Err(Invalid));
    }
}
