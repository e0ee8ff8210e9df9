//! What a lock file says of a script or a hook that is ordered. May wait for a directory
//! service: it asks who a user is.

use muster_common::trace;

use super::{Caps, Locks, Text, User};
use crate::platform::{accounts, runs::Order, units::Limits};

/// What runs scripts, by the name that a lock file knows it by.
const RUN_SCRIPT: &str = "run-script";

impl Locks {
    /// Why a script or a hook may not run. `None`: it may.
    #[must_use]
    pub fn refuses_run(&self, order: &Order) -> Option<String> {
        if order.text.is_none() {
            return (!self.allows_hooks()).then(|| self.hooks_refused());
        }
        if let Some(refused) = self.refuses_command(RUN_SCRIPT) {
            return Some(refused);
        }
        let (account, own) = (order.account().ok().flatten(), accounts::me().0);
        let uid = match (&account, order.user.as_str()) {
            (Some(account), _) => Some(account.uid),
            (None, "") => Some(own),
            (None, number) => number.parse().ok(),
        };
        let name = account.as_ref().map_or(order.user.as_str(), |account| account.name.as_str());
        let user = User { name, uid, is_agent: uid == Some(own) };
        let text = Text {
            sha256: order.sha256(),
            interpreter: &order.program,
            has_environment: order.environment.iter().any(|(name, value)| !is_place(name, value)),
        };
        self.refuses_script(&user, &text, &asked(&order.limits))
    }

    /// The order within what this host gives, whatever it asks for.
    #[must_use]
    pub fn bounded(&self, order: Order) -> Order {
        let Caps { memory, cpu, tasks } = self.caps().with(&asked(&order.limits));
        let limits = Limits { memory, cpu, tasks, ..order.limits };
        Order { limits, ..order }
    }
}

/// Where a program is in a trace: nothing by which anybody could have it do something else.
fn is_place(name: &str, value: &str) -> bool {
    name == trace::VARIABLE && value.parse::<trace::Context>().is_ok()
}

const fn asked(limits: &Limits) -> Caps {
    let Limits { memory, cpu, tasks, .. } = *limits;
    Caps { memory, cpu, tasks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_place_in_a_trace_is_no_environment_that_a_rule_could_be_about() {
        let place = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_place("TRACEPARENT", place));
        for (name, value) in [("TRACEPARENT", "$(reboot)"), ("TRACEPARENT", ""), ("LD_PRELOAD", place)] {
            assert!(!is_place(name, value), "{name}={value}");
        }
    }
}
