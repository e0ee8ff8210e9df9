//! How a command ends that could not do what it was asked: one code of one table, with
//! cause and remedy, as text or as JSON.

mod page;
mod table;

use std::{error::Error, process::ExitCode};

use muster_common::{error_chain::Chain, reason::Reason};
use serde_json::{Value, json};

use super::output::{Output, Tone};
use crate::{dial, identity, proxy};

pub(super) use page::help;
pub(super) use table::*;

/// Where the table is explained.
const PAGE: &str = "docs/errors/agent-exit-codes.md";
/// Where reasons are explained.
const REASONS: &str = "docs/errors/README.md";

/// A command that could not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    code: Code,
    cause: String,
    reason: Option<Reason>,
    /// What was found all the same: the name of its shape, and itself.
    answer: Option<Box<(&'static str, Value)>>,
}

impl Failure {
    pub(super) fn new(code: Code, error: &dyn Error) -> Self {
        Self::told(code, Chain(error).to_string())
    }

    pub(super) const fn told(code: Code, cause: String) -> Self {
        Self { code, cause, reason: None, answer: None }
    }

    /// Whether it ends with this code.
    pub(super) const fn is(&self, code: Code) -> bool {
        self.code.number == code.number
    }

    /// With the stable reason that was given.
    pub(super) fn because(self, reason: Option<Reason>) -> Self {
        Self { reason, ..self }
    }

    /// With `--json` the error stands in this answer.
    pub(super) fn beside(self, schema: &'static str, answer: Value) -> Self {
        Self { answer: Some(Box::new((schema, answer))), ..self }
    }

    /// Tells code, cause and remedy: on standard error, or as JSON on standard output,
    /// where a program waits for an answer.
    pub(super) fn tell(&self, out: Output) -> ExitCode {
        if out.is_json() {
            let (schema, mut answer) = self.answer.as_deref().cloned().unwrap_or(("error/1", json!({})));
            answer["error"] = self.json();
            out.document(schema, &answer);
        } else {
            let Code { number, name, remedy, .. } = self.code;
            let error = out.paint_note(Tone::Bad, "error:");
            out.note(&format!(
                "{error} {}\n  code: {name} (exit status {number})\n  remedy: {remedy}",
                self.cause
            ));
        }
        ExitCode::from(self.code.number)
    }

    fn json(&self) -> Value {
        let docs = match self.reason {
            Some(reason) => format!("{REASONS}#{}", reason.as_str().to_lowercase()),
            None => format!("{PAGE}#{}", self.code.name.to_lowercase()),
        };
        json!({
            "code": self.code.name,
            "number": self.code.number,
            "cause": self.cause,
            "remedy": self.code.remedy,
            "reason": self.reason.map(Reason::as_str),
            "docs": docs,
        })
    }
}

impl From<identity::Error> for Failure {
    fn from(error: identity::Error) -> Self {
        let code = match (&error, error.reason()) {
            (identity::Error::PinMismatch { .. }, _) => PIN,
            (identity::Error::Enrolled(_), _) => CONNECTED,
            (identity::Error::None | identity::Error::Gone(_), _) => NOT_CONNECTED,
            (identity::Error::Dial(dial::Error::Proxy { source, .. }), _) => of_proxy(source),
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
        Self { reason: error.reason(), ..Self::new(code, &error) }
    }
}

pub(super) const fn of_proxy(error: &proxy::Error) -> Code {
    match error {
        proxy::Error::Unreachable { .. }
        | proxy::Error::Slow { .. }
        | proxy::Error::Ended { .. }
        | proxy::Error::NoProxy { .. } => PROXY_UNREACHABLE,
        proxy::Error::Refused { .. } => PROXY_REFUSED,
        proxy::Error::Authentication { .. } => PROXY_AUTHENTICATION,
        proxy::Error::Unusable { .. } => PROXY_INVALID,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_object_that_names_code_cause_remedy_and_page() {
        let told = Failure::told(CONFIG, "x".to_owned()).json();
        assert_eq!(
            told,
            json!({
                "code": "CONFIG_INVALID", "number": 10, "cause": "x", "remedy": CONFIG.remedy, "reason": null,
                "docs": "docs/errors/agent-exit-codes.md#config_invalid",
            })
        );
        let node = muster_common::ids::NodeId::generate();
        let told = Failure::from(identity::Error::Enrolled(node)).json();
        assert_eq!((told["number"].as_u64(), told["reason"].as_str()), (Some(14), Some("ALREADY_EXISTS")));
        assert_eq!(told["docs"], "docs/errors/README.md#already_exists");
    }
}
