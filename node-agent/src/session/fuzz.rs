//! A way for the fuzz targets to the session machine. Compiled with the feature
//! `fuzzing` only.

use super::{
    frames::{Body, Inbound},
    machine::{Machine, Step},
    outbox::Outbox,
};
use crate::state::{ItemState, Report};

/// One session of an agent, as far as it needs no host.
pub struct Session {
    machine: Machine,
    outbox: Outbox,
    open: bool,
}

impl Session {
    /// Hello was said.
    #[must_use]
    pub fn greeted(items: &[ItemState]) -> Self {
        let mut outbox = Outbox::default();
        outbox.greeted(items, &[]);
        Self { machine: Machine::Greeted, outbox, open: false }
    }

    /// Hears a message; `false` once the session is over.
    ///
    /// # Panics
    /// If something acts on the host before Welcome.
    pub fn hear(&mut self, message: Inbound) -> bool {
        let is_welcome = matches!(message.body, Body::Welcome(_));
        match self.machine.on(message) {
            Step::Open(welcome) => {
                assert!(!self.open && is_welcome);
                assert!(welcome.tune.reconnect_min <= welcome.tune.reconnect_max);
                self.open = true;
            }
            Step::Removed(_) | Step::Broken(_) => return false,
            Step::Leave(_) => {
                assert!(self.open);
                return false;
            }
            Step::Run(_, id, credit) => {
                assert!(self.open);
                self.outbox.ordered(id, credit);
            }
            Step::Stored(ack) => {
                assert!(self.open);
                self.outbox.stored(&ack);
            }
            Step::Tell(_) | Step::Report(_) | Step::Retune(_) | Step::Unknown => assert!(self.open),
        }
        true
    }

    /// Tells what is due of a command.
    pub fn tell(&mut self, command: &super::frames::OpenCommand, report: &Report) {
        if self.outbox.due(command).is_some() {
            self.outbox.sent(command.id, report);
        }
    }
}
