//! By what a node was let in.

use std::{fmt, str::FromStr};

use muster_common::{digest::Sha256, ids::JoinTokenId};

const OIDC: &str = "oidc/";
const HOST_CA: &str = "host-ca/";

/// By what a node was let in. Written as the id of a join token, `oidc/NAME`, or
/// `host-ca/NAME/SHA256`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrolledWith {
    /// A join token.
    Token(JoinTokenId),
    /// A token of the issuer with this name in the configuration.
    Oidc(String),
    /// A certificate of an authority in the configuration.
    HostCertificate(Box<HostCertificate>),
}

/// A host's certificate of an authority in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCertificate {
    /// The authority's name.
    pub authority: String,
    /// Of the certificate's public key info: the same for a certificate that was
    /// renewed with its key, and whatever is done to the authority's signature.
    pub key_sha256: Sha256,
}

/// A text that names nothing of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is neither the id of a join token nor oidc/NAME nor host-ca/NAME/SHA256")]
pub struct Invalid;

impl fmt::Display for EnrolledWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => id.fmt(f),
            Self::Oidc(name) => write!(f, "{OIDC}{name}"),
            Self::HostCertificate(it) => write!(f, "{HOST_CA}{}/{}", it.authority, it.key_sha256),
        }
    }
}

impl FromStr for EnrolledWith {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Some(name) = text.strip_prefix(OIDC) {
            return Ok(Self::Oidc(name.to_owned()));
        }
        if let Some(rest) = text.strip_prefix(HOST_CA) {
            let (authority, key) = rest.rsplit_once('/').ok_or(Invalid)?;
            let key_sha256 = Sha256::parse_hex(key).ok_or(Invalid)?;
            return Ok(HostCertificate { authority: authority.to_owned(), key_sha256 }.into());
        }
        text.parse().map(Self::Token).map_err(|_| Invalid)
    }
}

impl From<HostCertificate> for EnrolledWith {
    fn from(certificate: HostCertificate) -> Self {
        Self::HostCertificate(Box::new(certificate))
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
        let certificate =
            HostCertificate { authority: "corp".to_owned(), key_sha256: Sha256::of(b"x") }.into();
        let oidc = EnrolledWith::Oidc("ci".to_owned());
        for with in [EnrolledWith::Token(JoinTokenId::from_u128(7)), oidc, certificate] {
            assert_eq!(with.to_string().parse(), Ok(with));
        }
        for bad in ["ci", "host-ca/corp", "host-ca/corp/12"] {
            assert_eq!(bad.parse::<EnrolledWith>(), Err(Invalid), "{bad}");
        }
    }
}
