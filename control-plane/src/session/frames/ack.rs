//! What is stored, as a session says it.

use muster_common::ids::CommandId;

/// Stored durably.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ack {
    /// Every item report up to this; 0: none.
    pub items_seq: u64,
    /// Per command.
    pub commands: Vec<CommandAck>,
}

/// Reports of one command that are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandAck {
    /// Which.
    pub command: CommandId,
    /// Every report up to this.
    pub seq: u64,
    /// More output that may be sent.
    pub credit: u32,
}
