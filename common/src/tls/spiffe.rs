//! Names in certificates: exactly one URI SAN of the form
//! `spiffe://TRUST-DOMAIN/KIND/NAME`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, GeneralName, ParsedExtension, X509Certificate};

use crate::ids::NodeId;

/// Under which all names of one installation stand: a lower-case DNS-like name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(String);

/// Who a certificate names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A host.
    Node(NodeId),
    /// A person.
    Operator(String),
    /// Another program.
    Service(String),
    /// One of us.
    ControlPlane(String),
}

/// A whole name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// Who.
    pub principal: Principal,
}

/// A name or a certificate that does not follow the form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a trust domain.
    #[error("{0:?} is not a trust domain: lower-case letters, digits, dots and dashes, at most 253")]
    TrustDomain(String),
    /// Not a name of ours.
    #[error("{0:?} is not a name of the form spiffe://TRUST-DOMAIN/KIND/NAME")]
    Name(String),
    /// The certificate does not parse.
    #[error("not an X.509 certificate")]
    Certificate,
    /// None, or several, or other names beside it.
    #[error("the certificate does not have exactly one URI name")]
    NotOneUri,
}

impl TrustDomain {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if text.len() <= 253 && text.split('.').all(label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::TrustDomain(text.chars().take(256).collect()))
        }
    }
}

impl TryFrom<String> for TrustDomain {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<TrustDomain> for String {
    fn from(domain: TrustDomain) -> Self {
        domain.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `operator/alice`: the name without its trust domain.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "node/{id}"),
            Self::Operator(name) => write!(f, "operator/{name}"),
            Self::Service(name) => write!(f, "service/{name}"),
            Self::ControlPlane(name) => write!(f, "control-plane/{name}"),
        }
    }
}

impl FromStr for Principal {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::Name(text.chars().take(256).collect());
        let (kind, name) = text.split_once('/').ok_or_else(invalid)?;
        if !is_principal_name(name) {
            return Err(invalid());
        }
        match kind {
            "node" => name.parse().map(Self::Node).map_err(|_| invalid()),
            "operator" => Ok(Self::Operator(name.to_owned())),
            "service" => Ok(Self::Service(name.to_owned())),
            "control-plane" => Ok(Self::ControlPlane(name.to_owned())),
            _ => Err(invalid()),
        }
    }
}

/// Whether a name can stand in a certificate: letters, digits, `.`, `_`, `@`, `-`, at most 128.
#[must_use]
pub fn is_principal_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'@' | b'-'))
        && name != "."
        && name != ".."
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}", self.trust_domain, self.principal)
    }
}

impl FromStr for SpiffeId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::Name(text.chars().take(256).collect());
        let rest = text.strip_prefix("spiffe://").ok_or_else(invalid)?;
        let (domain, path) = rest.split_once('/').ok_or_else(invalid)?;
        Ok(Self { trust_domain: domain.parse()?, principal: path.parse()? })
    }
}

/// What Muster reads from a peer's leaf certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Whom it names.
    pub id: SpiffeId,
    /// Lower-case hexadecimal, no separators.
    pub serial: String,
    /// End of its validity, Unix seconds.
    pub not_after_s: i64,
    /// Begin of its validity, Unix seconds.
    pub not_before_s: i64,
}

/// Reads a leaf. The chain must have been verified by TLS before.
///
/// # Errors
/// If it does not parse or does not have exactly one URI name of the form.
pub fn read_leaf(der: &[u8]) -> Result<Leaf, Error> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| Error::Certificate)?;
    let mut uris = certificate.extensions().iter().filter_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(san) => Some(san),
        _ => None,
    });
    let (Some(san), None) = (uris.next(), uris.next()) else { return Err(Error::NotOneUri) };
    let mut uris = san.general_names.iter().filter_map(|n| match n {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else { return Err(Error::NotOneUri) };
    let id: SpiffeId = uri.parse()?;
    // Only the control plane's certificates carry other names beside the URI.
    if san.general_names.len() > 1 && !matches!(id.principal, Principal::ControlPlane(_)) {
        return Err(Error::NotOneUri);
    }
    Ok(Leaf {
        id,
        serial: hex::encode(certificate.raw_serial()),
        not_after_s: certificate.validity().not_after.timestamp(),
        not_before_s: certificate.validity().not_before.timestamp(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        let text = "spiffe://fleet.example/operator/alice@example.com";
        assert_eq!(text.parse::<SpiffeId>().map(|id| id.to_string()), Ok(text.to_owned()));
        for bad in [
            "spiffe://Fleet/operator/a",
            "spiffe://fleet/operator/",
            "spiffe://fleet/operator/a/b",
            "spiffe://fleet/king/a",
            "spiffe://fleet/node/a",
            "spiffe://fleet:1/operator/a",
            "https://fleet/operator/a",
            "spiffe://fleet/operator/..",
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
        }
    }
}
