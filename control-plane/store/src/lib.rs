//! What the control plane keeps. The only SQL of the house: rows stay in here,
//! values of the domain go out.
//!
//! Promises:
//! - A write that was answered is on the disk. One that failed left nothing.
//! - Every write has a [`Stamp`](muster_domain::audit::Stamp); what callers
//!   change cannot be committed without an entry in the audit chain.
//! - Every write appends what it changed to the change feed, in the same
//!   transaction; revisions are committed in their order, so whoever follows
//!   the feed misses nothing.
//! - Full queues and full disks are answers, not ends.
//!
//! Never: a decision about values, a clock, a wait without an end.
//!
//! A write is a closure over [`WriteTx`], and may be run more than once: it
//! must have no effect but through the transaction. What can be read and
//! written is in one pair of traits per noun, e.g. [`ReadNodes`] and
//! [`WriteNodes`].

mod access;
mod alerts;
mod artifacts;
mod assignments;
mod audit;
mod authority;
mod blobs;
mod bundles;
mod changes;
mod commands;
mod copy;
mod dialect;
mod engine;
mod error;
mod events;
mod extensions;
mod groups;
mod histories;
mod inspect;
mod item_marks;
mod join_requests;
mod join_tokens;
mod leases;
mod meta;
mod meter;
mod migrate;
mod node_sessions;
mod nodes;
mod operations;
mod options;
mod page;
mod places;
#[cfg(test)]
mod plans;
mod postgres;
mod profiles;
mod readers;
mod releases;
mod replicas;
mod rollouts;
mod schedules;
mod secrets;
mod snapshot;
mod spent_tokens;
mod sqlite;
mod store;
mod tables;
mod tx;
mod watcher;
mod workload_issuers;
mod writer;

pub use access::{ReadAccess, WriteAccess};
pub use alerts::{ReadAlerts, ReadDeliveries, ReadReceivers, WriteAlerts, WriteDeliveries, WriteReceivers};
pub use artifacts::{ReadArtifacts, WriteArtifacts};
pub use assignments::{ReadAssignments, WriteAssignments};
pub use audit::{Piece, ReadAudit, WriteAudit};
pub use authority::{ReadAuthority, WriteAuthority};
pub use blobs::{ReadBlobs, WriteBlobs};
pub use bundles::{ReadBundles, WriteBundles};
pub use changes::{Change, ChangeKind, ReadChanges, WriteChanges};
pub use commands::{OutputPlace, ReadCommands, WriteCommands};
pub use copy::{Copied, Progress, copy, unmake};
pub use error::{Cause, Error};
pub use events::{Below, ReadEvents, WriteEvents};
pub use extensions::{ReadExtensions, WriteExtensions};
pub use groups::{ReadGroups, WriteGroups};
pub use histories::{ReadHistories, WriteHistories};
pub use inspect::{Inspection, inspect};
pub use item_marks::{ReadItemMarks, WriteItemMarks};
pub use join_requests::{ReadJoinRequests, WriteJoinRequests};
pub use join_tokens::{ReadJoinTokens, WriteJoinTokens};
pub use leases::{ReadLeases, WriteLeases};
pub use meta::{ReadMeta, WriteMeta};
pub use meter::{Batch, Meter, Transaction};
pub use migrate::migrate;
pub use node_sessions::{ReadNodeSessions, WriteNodeSessions};
pub use nodes::{ReadNodes, WriteNodes};
pub use operations::{ReadOperations, WriteOperations};
pub use options::{InvalidUrl, Options, Place};
pub use postgres::server::Server;
pub use profiles::{ReadProfiles, WriteProfiles};
pub use releases::{ReadReleases, WriteReleases};
pub use replicas::{ReadReplicas, WriteReplicas};
pub use rollouts::{ReadRollouts, WriteRollouts};
pub use schedules::{ReadSchedules, SchedulePlace, WriteSchedules};
pub use secrets::{ReadSecrets, WriteSecrets};
pub use snapshot::snapshot;
pub use spent_tokens::{ReadSpentTokens, WriteSpentTokens};
pub use store::{Committed, Store};
pub use tx::{ReadTx, WriteTx};
pub use workload_issuers::{ReadWorkloadIssuers, WriteWorkloadIssuers};
