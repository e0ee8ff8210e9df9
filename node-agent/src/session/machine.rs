//! What a message of the control plane means. Pure: no I/O, no clock.
//!
//! ```text
//!          Welcome                 Reconnect / Removed / another session's message
//! Greeted ─────────▶ Live ──────────────────────────────────────────────▶ (ended)
//!    │ anything else
//!    ▼
//! (ended: broken)
//! ```

use muster_common::ids::SessionId;

use super::{
    frames::{Ack, Body, Inbound, Need, Reconnect, Tune, Welcome},
    ports::Order,
};

/// Where a session is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Machine {
    /// Hello was said.
    Greeted,
    /// Welcome was heard.
    Live(SessionId),
}

/// What a message means.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// The session is open.
    Open(Box<Welcome>),
    /// The host is to be told.
    Tell(Order),
    /// The host is to be told, and output may be sent.
    Run(Order, muster_common::ids::CommandId, u32),
    /// Reports are stored.
    Stored(Ack),
    /// Reports are wanted.
    Report(Need),
    /// Another rhythm.
    Retune(Tune),
    /// Nothing to do; counted.
    Unknown,
    /// The control plane wants another session.
    Leave(Reconnect),
    /// The node was removed.
    Removed(String),
    /// The control plane broke the contract.
    Broken(&'static str),
}

impl Machine {
    pub(super) fn on(&mut self, message: Inbound) -> Step {
        match (&*self, message.session, message.body) {
            // Even before Welcome: a node that was removed is told so.
            (_, _, Body::Removed(reason)) => Step::Removed(reason),
            (Self::Greeted, Some(session), Body::Welcome(welcome)) => {
                *self = Self::Live(session);
                Step::Open(welcome)
            }
            (Self::Greeted, None, Body::Welcome(_)) => Step::Broken("its Welcome has no session id"),
            (Self::Greeted, _, _) => Step::Broken("it said something before Welcome"),
            (Self::Live(_), _, Body::Welcome(_)) => Step::Broken("it said Welcome twice"),
            (Self::Live(open), Some(session), _) if *open != session => {
                Step::Broken("it mixed two sessions up")
            }
            (Self::Live(_), _, body) => live(body),
        }
    }
}

fn live(body: Body) -> Step {
    match body {
        Body::Welcome(_) => Step::Broken("it said Welcome twice"),
        Body::Removed(reason) => Step::Removed(reason),
        Body::Desired(desired) => Step::Tell(Order::Desired(desired)),
        Body::Command { ticket, credit } => {
            let id = ticket.id;
            Step::Run(Order::Command(ticket), id, credit)
        }
        Body::Cancel(id, force) => Step::Tell(Order::Cancel(id, force)),
        Body::Ack(ack) => Step::Stored(ack),
        Body::Need(need) => Step::Report(need),
        Body::Tune(tune) => Step::Retune(tune),
        Body::TrustBundle { version, roots_der, issuers_der } => {
            Step::Tell(Order::TrustBundle { version, roots_der, issuers_der })
        }
        Body::Renew(spread) => Step::Tell(Order::Renew(spread)),
        Body::Quarantine(reason) => Step::Tell(Order::Quarantine(reason)),
        Body::Reconnect(reconnect) => Step::Leave(reconnect),
        Body::Unknown => Step::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use muster_common::{clock::UnixMillis, ids::CommandId};
    use proptest::prelude::*;

    use super::*;
    use crate::session::frames::Desired;

    fn tune() -> Tune {
        Tune {
            heartbeat_interval: Duration::from_secs(15),
            heartbeat_jitter: Duration::ZERO,
            reconnect_min: Duration::from_secs(1),
            reconnect_max: Duration::from_secs(60),
            display_name: String::new(),
        }
    }

    fn welcome() -> Body {
        Body::Welcome(Box::new(Welcome {
            epoch: 1,
            server_time: UnixMillis(0),
            tune: tune(),
            max_message_bytes: 1,
            max_output_bytes: 0,
            need: Need::default(),
            display_name: String::new(),
            withdrawn: Vec::new(),
        }))
    }

    fn session(n: u128) -> Option<SessionId> {
        Some(SessionId::from_u128(n))
    }

    fn any_body() -> impl Strategy<Value = Body> {
        prop_oneof![
            Just(welcome()),
            Just(Body::Desired(Desired::default())),
            Just(Body::Cancel(CommandId::from_u128(1), false)),
            Just(Body::Ack(Ack::default())),
            Just(Body::Need(Need::default())),
            Just(Body::Tune(tune())),
            Just(Body::TrustBundle { version: 1, roots_der: Vec::new(), issuers_der: Vec::new() }),
            Just(Body::Renew(Duration::ZERO)),
            Just(Body::Quarantine(String::new())),
            Just(Body::Reconnect(Reconnect::default())),
            Just(Body::Removed(String::new())),
            Just(Body::Unknown),
        ]
    }

    proptest! {
        #[test]
        fn nothing_acts_on_the_host_before_welcome_or_from_another_session(
            messages in prop::collection::vec((prop::option::of(1_u128..3), any_body()), 0..40)
        ) {
            let mut machine = Machine::Greeted;
            let mut open = None;
            for (id, body) in messages {
                let from = id.and_then(session);
                let is_welcome = matches!(body, Body::Welcome(_));
                match machine.on(Inbound { session: from, body }) {
                    Step::Open(_) => {
                        prop_assert!(open.is_none() && is_welcome);
                        open = from;
                    }
                    Step::Removed(_) | Step::Broken(_) => break,
                    Step::Leave(_) => { prop_assert!(open.is_some()); break }
                    Step::Tell(_) | Step::Run(..) | Step::Stored(_) | Step::Report(_) | Step::Retune(_)
                    | Step::Unknown => prop_assert!(open.is_some() && (from.is_none() || from == open)),
                }
            }
        }
    }

    #[test]
    fn a_second_welcome_and_a_message_before_the_first_break_the_session() {
        let mut machine = Machine::Greeted;
        let early = machine.on(Inbound { session: session(1), body: Body::Unknown });
        assert!(matches!(early, Step::Broken(_)));
        assert!(matches!(machine.on(Inbound { session: session(1), body: welcome() }), Step::Open(_)));
        assert!(matches!(machine.on(Inbound { session: session(1), body: welcome() }), Step::Broken(_)));
    }
}
