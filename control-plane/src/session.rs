//! Live sessions: one bidirectional stream per node.
//!
//! A session is a value, not a task: the response stream that the HTTP/2 layer
//! polls ([`reactor`]) reads what the node sent, asks the pure [`machine`] what
//! it means, and tells the [`ports`]. Ten thousand idle sessions cost ten
//! thousand small structs, no channels and no timers.
//!
//! Promises: one live session per node, a newer fences the older ([`hub`]);
//! nothing is queued without a bound: what others want of a session are hints
//! in its mailbox, coalesced, and the truth is looked at again; a reader that
//! does not read is not read from, goes silent, and loses its stream; one
//! that says too much is read more slowly.
//!
//! Never: wire types, the store, a decision about what a node should have.

pub mod frames;
pub mod hub;
pub mod line;
pub mod machine;
pub mod ports;
mod rate;
pub mod reactor;

#[cfg(test)]
mod tests;
