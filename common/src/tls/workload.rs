//! Names of programs on hosts: `spiffe://TRUST-DOMAIN/workload/NODE/NAME`. They are not
//! [`Principal`](super::spiffe::Principal)s: whoever shows one to a port of Muster is
//! nobody there.

use std::{fmt, str::FromStr};

use super::spiffe::{Error, TrustDomain};
use crate::ids::NodeId;

/// Longest name of a program, in bytes.
pub const MAX_NAME: usize = 64;

/// A whole name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkloadId {
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// On which host.
    pub node: NodeId,
    /// Which program; the host says it.
    pub name: String,
}

/// Whether a program can have this name: letters, digits, `.`, `_`, `-`, at most 64.
#[must_use]
pub fn is_workload_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        && name != "."
        && name != ".."
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/workload/{}/{}", self.trust_domain, self.node, self.name)
    }
}

impl FromStr for WorkloadId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::Name(text.chars().take(256).collect());
        let rest = text.strip_prefix("spiffe://").ok_or_else(invalid)?;
        let (domain, path) = rest.split_once('/').ok_or_else(invalid)?;
        let (node, name) =
            path.strip_prefix("workload/").and_then(|path| path.split_once('/')).ok_or_else(invalid)?;
        if !is_workload_name(name) {
            return Err(invalid());
        }
        let node = node.parse().map_err(|_| invalid())?;
        Ok(Self { trust_domain: domain.parse()?, node, name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::spiffe::{Principal, SpiffeId},
        *,
    };

    #[test]
    fn a_program_has_one_form_of_name_and_is_no_principal() {
        let node = NodeId::generate();
        let text = format!("spiffe://fleet.example/workload/{node}/web-1.a_b");
        assert_eq!(text.parse::<WorkloadId>().unwrap().to_string(), text);
        assert!(text.parse::<SpiffeId>().is_err());
        assert!(format!("workload/{node}").parse::<Principal>().is_err());
        for bad in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(format!("spiffe://fleet.example/workload/{node}/{bad}").parse::<WorkloadId>().is_err());
        }
        for bad in
            ["spiffe://fleet.example/node/", "spiffe://Fleet/workload/", "https://fleet.example/workload/"]
        {
            assert!(format!("{bad}{node}/web").parse::<WorkloadId>().is_err(), "{bad}");
        }
        assert!("spiffe://fleet.example/workload/web/web".parse::<WorkloadId>().is_err());
    }
}
