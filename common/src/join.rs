//! The join string: all that a host needs to find, trust and enter a fleet.
//!
//! `muster1.` and then base64url of a JSON object with the enrollment addresses
//! (`a`), the CA pin (`p`) and the token's secret (`t`).

use std::{fmt, str::FromStr};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;

const PREFIX: &str = "muster1.";
const MAX_LENGTH: usize = 8 * 1024;

/// Address, pin and secret in one. `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinString {
    /// `host:port` of enrollment ports; tried in order.
    #[serde(rename = "a")]
    pub addresses: Vec<String>,
    /// SHA-256 of the root's public key info.
    #[serde(rename = "p")]
    pub ca_pin: Sha256,
    /// Secret of the join token.
    #[serde(rename = "t")]
    pub secret: String,
}

/// The text is not a join string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It does not begin as one.
    #[error("a join string begins with \"muster1.\"")]
    Prefix,
    /// It was cut or changed on the way.
    #[error("the join string is damaged; copy it whole")]
    Damaged,
    /// It names no control plane.
    #[error("the join string names no address")]
    NoAddress,
}

impl fmt::Display for JoinString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(self).map_err(|_| fmt::Error)?;
        write!(f, "{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(json))
    }
}

impl fmt::Debug for JoinString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinString")
            .field("addresses", &self.addresses)
            .field("ca_pin", &self.ca_pin)
            .finish_non_exhaustive()
    }
}

impl FromStr for JoinString {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let body = text.trim().strip_prefix(PREFIX).ok_or(Invalid::Prefix)?;
        if body.len() > MAX_LENGTH {
            return Err(Invalid::Damaged);
        }
        let json = BASE64_URL_SAFE_NO_PAD.decode(body).map_err(|_| Invalid::Damaged)?;
        let join: Self = serde_json::from_slice(&json).map_err(|_| Invalid::Damaged)?;
        if join.addresses.is_empty() { Err(Invalid::NoAddress) } else { Ok(join) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join() -> JoinString {
        JoinString {
            addresses: vec!["plane.example:8444".to_owned()],
            ca_pin: Sha256::of(b"root"),
            secret: "very-secret".to_owned(),
        }
    }

    #[test]
    fn a_join_string_survives_being_written_and_read() {
        assert_eq!(format!(" {}\n", join()).parse(), Ok(join()));
    }

    #[test]
    fn a_cut_or_foreign_text_is_told_from_a_join_string() {
        let text = join().to_string();
        assert_eq!(text[..text.len() - 4].parse::<JoinString>(), Err(Invalid::Damaged));
        assert_eq!("glsa_123".parse::<JoinString>(), Err(Invalid::Prefix));
        let nowhere = JoinString { addresses: Vec::new(), ..join() };
        assert_eq!(nowhere.to_string().parse::<JoinString>(), Err(Invalid::NoAddress));
    }

    #[test]
    fn debug_does_not_tell_the_secret() {
        assert!(!format!("{:?}", join()).contains("very-secret"));
    }
}
