//! Who does what orders ask for, if it is not the host itself: where many hosts are
//! tried out in one process, what they do is counted and not done. Everything around
//! it is as ever: the ledger, the guard, the slots, the reports.

use std::{fmt::Debug, future::Future, pin::Pin};

use super::{Stop, Voice};
use crate::state::{Report, Ticket};

/// What is being done, until the report of its end.
pub type Doing<'a> = Pin<Box<dyn Future<Output = Report> + Send + 'a>>;

/// Comes when what is being done is to stop, and says why.
pub type Stopping<'a> = Pin<Box<dyn Future<Output = Stop> + Send + 'a>>;

/// Does what orders ask for.
pub trait Deeds: Debug + Send + Sync {
    /// Does it. Dropped: the agent has died meanwhile.
    fn act<'a>(&'a self, ticket: &'a Ticket, voice: &'a Voice, stop: Stopping<'a>) -> Doing<'a>;
}
