//! A node's orders that have not ended, as memory holds them.

use muster_common::ids::{CommandId, OperationId};
use muster_domain::command::{Command, State};

use super::Entry;

/// An order that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenTicket {
    /// Which.
    pub command: CommandId,
    /// Of which it is part.
    pub operation: OperationId,
    /// Where it is.
    pub state: State,
    /// Someone asked it to stop.
    pub cancel: bool,
    /// At once.
    pub force: bool,
    /// The order that it repeats.
    pub retry_of: Option<CommandId>,
    /// To be handed to the session that is now.
    pub to_send: bool,
    /// A session of this process was given it.
    pub was_sent: bool,
    /// Its host has lost it: it is about to end, and nobody gets it any more.
    pub lost: bool,
}

/// What is to be done after an order was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It waits for its node.
    ToHandOut,
    /// Its host is to be told of it: that it is to run it, or to stop it.
    ToTell,
    /// Nothing that was not known.
    Nothing,
}

/// As the store has it.
impl From<&Command> for OpenTicket {
    fn from(command: &Command) -> Self {
        Self {
            command: command.id,
            operation: command.operation,
            state: command.state,
            cancel: command.cancel_requested,
            force: command.cancel_forced,
            retry_of: command.retry_of,
            to_send: false,
            was_sent: false,
            lost: false,
        }
    }
}

impl Entry {
    /// An order that has not ended.
    pub fn ticket(&mut self, command: CommandId) -> Option<&mut OpenTicket> {
        self.tickets.iter_mut().find(|ticket| ticket.command == command)
    }

    /// Takes in where an order is in the store; any number of times. What the
    /// store said some moments ago may be older than what is known here.
    pub fn adopt(&mut self, stored: OpenTicket) -> News {
        if stored.state.is_end() {
            self.moved(stored.command, stored.state, stored.cancel);
            return News::Nothing;
        }
        let Some(known) = self.ticket(stored.command) else {
            let (news, to_send) = match stored.state {
                State::Queued => (News::ToHandOut, false),
                State::Delivered => (News::ToTell, true),
                _ => (News::Nothing, false),
            };
            self.tickets.push(OpenTicket { to_send, ..stored });
            return news;
        };
        // Another replica handed it out, to a session that was no more: this one's has it to get.
        let to_give = known.state == State::Queued && stored.state == State::Delivered && !known.lost;
        known.to_send |= to_give;
        known.state = known.state.max(stored.state);
        let is_news = (stored.cancel && !known.cancel) || (stored.force && !known.force);
        let to_stop = is_news && !known.lost;
        known.cancel |= stored.cancel;
        known.force |= stored.force;
        known.to_send |= to_stop;
        if to_stop || to_give { News::ToTell } else { News::Nothing }
    }

    /// An order moved on; one that ended is forgotten. States only go forward.
    pub fn moved(&mut self, command: CommandId, state: State, cancel: bool) {
        if state.is_end() {
            self.tickets.retain(|ticket| ticket.command != command);
        } else if let Some(ticket) = self.ticket(command) {
            ticket.state = ticket.state.max(state);
            ticket.cancel |= cancel;
        }
    }

    /// Orders that the host has lost and that have not ended yet.
    #[must_use]
    pub fn lost(&self) -> Vec<CommandId> {
        self.tickets.iter().filter(|ticket| ticket.lost).map(|ticket| ticket.command).collect()
    }
}
