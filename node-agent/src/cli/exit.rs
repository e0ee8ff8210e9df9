//! Exit codes: one table, one meaning each, none above 125.

use std::{error::Error, process::ExitCode};

use muster_common::{error_chain::Chain, reason::Reason};

use crate::identity;

/// Something that should not be.
pub(super) const INTERNAL: Code =
    Code { number: 1, name: "INTERNAL", remedy: "see the log; report it if it repeats" };
/// The configuration file cannot be used.
pub(super) const CONFIG: Code =
    Code { number: 10, name: "CONFIG_INVALID", remedy: "correct the configuration file" };
/// The state directory cannot be used.
pub(super) const STATE: Code = Code {
    number: 11,
    name: "STATE_UNUSABLE",
    remedy: "run as the agent's user, and look at the state directory",
};
/// Another agent runs there.
pub(super) const BUSY: Code = Code {
    number: 12,
    name: "ALREADY_RUNNING",
    remedy: "another agent runs with this state directory; stop it first",
};
/// The host is in no fleet.
pub(super) const NOT_CONNECTED: Code =
    Code { number: 13, name: "NOT_CONNECTED", remedy: "bring the host into a fleet with `connect`" };
/// The host is in a fleet already.
pub(super) const CONNECTED: Code = Code {
    number: 14,
    name: "ALREADY_CONNECTED",
    remedy: "take the host out of its fleet with `disconnect` first",
};
/// Not a join string.
pub(super) const JOIN: Code = Code {
    number: 15,
    name: "JOIN_STRING_INVALID",
    remedy: "copy the join string whole, or ask for a new one",
};
/// The control plane has another root than the join string pins.
pub(super) const PIN: Code = Code {
    number: 16,
    name: "CA_PIN_MISMATCH",
    remedy: "ask for a new join string; if you did not expect this, somebody may stand between",
};
/// Nobody answers.
pub(super) const UNREACHABLE: Code =
    Code { number: 17, name: "UNREACHABLE", remedy: "see that the address is right and its port open" };
/// The control plane said no.
pub(super) const REFUSED: Code =
    Code { number: 18, name: "REFUSED", remedy: "docs/errors has a page for the reason that was given" };
/// There is no such property.
pub(super) const PROPERTY: Code =
    Code { number: 19, name: "PROPERTY_UNKNOWN", remedy: "`show` without a name lists all properties" };

/// Nobody has said yes yet.
pub(super) const PENDING: Code = Code {
    number: 20,
    name: "APPROVAL_PENDING",
    remedy: "have somebody approve this host, then run the same command again",
};

/// The certificate or key that the host wants in by.
pub(super) const HOST_CERTIFICATE: Code = Code {
    number: 21,
    name: "HOST_CERTIFICATE_UNUSABLE",
    remedy: "see that both files can be read and belong together",
};

/// This host has never heard of the item.
pub(super) const ITEM: Code =
    Code { number: 22, name: "ITEM_UNKNOWN", remedy: "`explain` without a name tells of all items" };

/// For `--help`.
pub(super) const TABLE: &str = "\
Exit codes:
  0  done                        14  ALREADY_CONNECTED
  1  INTERNAL                    15  JOIN_STRING_INVALID
  2  the command line is wrong   16  CA_PIN_MISMATCH
 10  CONFIG_INVALID              17  UNREACHABLE
 11  STATE_UNUSABLE              18  REFUSED
 12  ALREADY_RUNNING             19  PROPERTY_UNKNOWN
 13  NOT_CONNECTED               20  APPROVAL_PENDING
                                 21  HOST_CERTIFICATE_UNUSABLE
                                 22  ITEM_UNKNOWN";

/// One way to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code {
    number: u8,
    name: &'static str,
    remedy: &'static str,
}

/// A command that could not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    code: Code,
    cause: String,
}

impl Failure {
    pub(super) fn new(code: Code, error: &dyn Error) -> Self {
        Self { code, cause: Chain(error).to_string() }
    }

    pub(super) const fn told(code: Code, cause: String) -> Self {
        Self { code, cause }
    }

    /// Tells code, cause and remedy.
    pub(super) fn tell(&self) -> ExitCode {
        eprintln!(
            "error: {}\n  code: {} (exit status {})\n  remedy: {}",
            self.cause, self.code.name, self.code.number, self.code.remedy
        );
        ExitCode::from(self.code.number)
    }
}

impl From<identity::Error> for Failure {
    fn from(error: identity::Error) -> Self {
        let code = match (&error, error.reason()) {
            (identity::Error::PinMismatch { .. }, _) => PIN,
            (identity::Error::Enrolled(_), _) => CONNECTED,
            (identity::Error::None | identity::Error::Gone(_), _) => NOT_CONNECTED,
            (identity::Error::Dial(_), _) => UNREACHABLE,
            (identity::Error::HostCertificate(_), _) => HOST_CERTIFICATE,
            (identity::Error::Io { .. } | identity::Error::Damaged { .. }, _) => STATE,
            (identity::Error::Refused(_), None | Some(Reason::Overloaded | Reason::ShuttingDown)) => {
                UNREACHABLE
            }
            (identity::Error::Refused(_), Some(Reason::ApprovalPending)) => PENDING,
            (identity::Error::Refused(_), Some(_)) => REFUSED,
            (
                identity::Error::Answer(_)
                | identity::Error::Tls(_)
                | identity::Error::Key(_)
                | identity::Error::Roots { .. },
                _,
            ) => INTERNAL,
        };
        Self::new(code, &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_number_at_most_125_and_stands_in_the_help() {
        let all = [
            INTERNAL,
            CONFIG,
            STATE,
            BUSY,
            NOT_CONNECTED,
            CONNECTED,
            JOIN,
            PIN,
            UNREACHABLE,
            REFUSED,
            PROPERTY,
            PENDING,
            HOST_CERTIFICATE,
            ITEM,
        ];
        for (n, code) in all.iter().enumerate() {
            assert!(code.number <= 125 && !all[..n].iter().any(|other| other.number == code.number));
            assert!(TABLE.contains(&format!("{}  {}", code.number, code.name)), "{}", code.name);
        }
    }
}
