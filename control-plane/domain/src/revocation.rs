//! Who is not let in, whatever certificate is shown.

use std::{fmt, str::FromStr};

use muster_common::{clock::UnixMillis, tls::spiffe::Principal};

/// Longest serial in hexadecimal digits: 20 bytes, as X.509 allows.
const MAX_SERIAL: usize = 40;

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Every certificate of a node, operator or service.
    Principal(Principal),
    /// One certificate: lower-case hexadecimal.
    Serial(String),
}

/// A subject that is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// What.
    pub subject: Subject,
    /// For people.
    pub reason: String,
    /// When.
    pub at: UnixMillis,
    /// Who did it.
    pub by: String,
}

/// The text names nothing that can be revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of node/ID, operator/NAME, service/NAME, serial/HEX")]
pub struct InvalidSubject(String);

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(principal) => principal.fmt(f),
            Self::Serial(serial) => write!(f, "serial/{serial}"),
        }
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;
    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let invalid = || InvalidSubject(text.chars().take(160).collect());
        if let Some(serial) = text.strip_prefix("serial/") {
            let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
            let good = !serial.is_empty() && serial.len() <= MAX_SERIAL && serial.bytes().all(hex);
            return if good { Ok(Self::Serial(serial.to_owned())) } else { Err(invalid()) };
        }
        match text.parse() {
            // We cannot revoke ourselves: a control plane that is stolen ends with its authority.
            Ok(Principal::ControlPlane(_)) | Err(_) => Err(invalid()),
            Ok(principal) => Ok(Self::Principal(principal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_read_as_it_is_written() {
        for text in [
            "node/018f0000-0000-7000-8000-000000000001",
            "operator/alice@example.com",
            "service/ci",
            "serial/0a1b",
        ] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_revoked_is_told() {
        let long = format!("serial/{}", "a".repeat(41));
        for text in ["", "alice", "serial/", "serial/XY", "serial/0A", &long, "control-plane/a", "node/x"] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }
}
