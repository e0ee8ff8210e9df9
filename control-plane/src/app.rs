//! The use-cases: what the control plane does, whoever asks for it.
//!
//! One file per noun, and the pieces they share: [`fleet`] and [`catalog`] hold
//! in memory what is asked for often, [`feed`] keeps them true to the store,
//! [`recorder`] writes down what nodes report, [`inbox`] and [`desk`] are the
//! sessions' view of it all. Handlers and workers call the same functions.
//!
//! Promises: a write is answered after it is committed and after this process
//! sees it; nothing is written without a [`Stamp`]; nothing here knows the wire.

pub mod access;
mod actor;
pub mod alerts;
pub mod artifacts;
pub mod assignments;
pub mod audit;
pub mod authority;
pub mod bindings;
pub mod blobs;
pub mod bundles;
pub mod catalog;
pub mod commands;
mod console_entry;
mod convergence;
pub mod denials;
pub mod desk;
pub mod dispatch;
pub mod enrollment;
mod error;
pub mod events;
pub mod explain;
pub mod extensions;
pub mod feed;
pub mod fleet;
pub mod groups;
pub mod heartbeats;
pub mod herd;
pub mod identity;
pub mod inbox;
mod items;
pub mod join_requests;
pub mod join_tokens;
pub mod leases;
mod loading;
pub mod losses;
pub mod nodes;
pub mod numbers;
pub mod operations;
pub mod overview;
pub mod preview;
pub mod quarantine;
pub mod recorder;
pub mod recovery;
pub mod releases;
mod rename;
pub mod replicas;
pub mod restored;
pub mod retention;
pub mod revocation;
pub mod rollouts;
pub mod schedules;
pub mod secrets;
pub mod selectors;
pub mod settings;
pub mod speaker;
pub mod system;
mod traced;
pub mod watch;
pub mod workloads;
pub mod workshop;
mod written;

use std::{sync::Arc, time::Duration};

use muster_common::{
    clock::{Clock, UnixMillis},
    drain::Drain,
    reason::Reason,
    tasks::Tasks,
    tls::spiffe::TrustDomain,
};
use muster_domain::{access::Asked, audit::Stamp, history::History, lane::Lane};
use muster_store::Store;

pub use actor::Actor;
pub use error::Error;
pub use items::ItemView;

use crate::{
    ca::Ca,
    config::Retention,
    metrics::Metrics,
    session::hub::Hub,
    traces::{self, Traces},
};

/// How long a caller waits for this process to see what was stored.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// Longest reason that someone may give, in bytes.
const MAX_REASON: usize = 1024;

/// What every use-case works with. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Core>);

/// The shared parts.
pub struct Core {
    /// The truth.
    pub store: Store,
    /// What is known of nodes.
    pub fleet: fleet::Fleet,
    /// What nodes should have.
    pub catalog: catalog::Catalog,
    /// Operations with open orders.
    pub open: operations::Open,
    /// What agents are held against.
    pub releases: releases::Releases,
    /// The rollouts that are not over.
    pub rollouts: rollouts::Rollouts,
    /// Who may call.
    pub access: access::Access,
    /// Who may not.
    pub revocations: revocation::Revocations,
    /// Callers' connections.
    pub lines: Arc<dyn access::Lines>,
    /// Refusals to be written down.
    pub denials: denials::Denials,
    /// How far memory follows the store.
    pub feed: feed::Feed,
    /// What is to be written down.
    pub recorder: recorder::Recorder,
    /// Nodes with orders to hand out.
    pub dispatch: dispatch::Dispatch,
    /// Who else serves the store.
    pub replicas: replicas::Replicas,
    /// Who is connected.
    pub hub: Hub,
    /// How many may be.
    pub herd: herd::Herd,
    /// Nodes that were lost, until it is told.
    pub losses: losses::Losses,
    /// What happened, until it is told.
    pub events: events::Events,
    /// Issues certificates.
    pub ca: Arc<Ca>,
    /// Issue identities for programs.
    pub workloads: Arc<crate::ca::workload::Issuers>,
    /// Where strangers' signatures are checked and made.
    pub workshop: workshop::Workshop,
    /// Issuers whose tokens let hosts in.
    pub oidc: crate::oidc::Issuers,
    /// Authorities of others whose certificates let hosts in.
    pub host_cas: crate::host_ca::Authorities,
    /// For proofs of keys.
    pub challenges: crate::ca::proof::Challenges,
    /// Signs the audit.
    pub audit: audit::Signer,
    /// Bytes known by their digest.
    pub blobs: crate::blobs::Blobs,
    /// What was said of the signed repository's ends.
    pub warned: artifacts::Warned,
    /// Encrypts protected contents.
    pub vault: crate::vault::Vault,
    /// Numbers.
    pub metrics: Metrics,
    /// Who collects what becomes of calls.
    pub traces: Traces,
    /// The time.
    pub clock: Clock,
    /// Where watches run.
    pub tasks: Tasks,
    /// Whether the process is ending.
    pub drain: Drain,
    /// What does not change while the process runs.
    pub fixed: Fixed,
}

/// What does not change while the process runs.
#[derive(Debug, Clone)]
pub struct Fixed {
    /// Of this process among others on one store.
    pub replica: String,
    /// The history that goes on, and those that a restore has ended.
    pub history: History,
    /// Under which all names stand.
    pub trust_domain: TrustDomain,
    /// When the process started.
    pub started: UnixMillis,
    /// Rhythm of sessions.
    pub session: SessionRules,
    /// Life of nodes' certificates.
    pub node_certificate_ttl: Duration,
    /// Renewals that the control plane asks for come within this time.
    pub renew_spread: Duration,
    /// Files of an authority that is not ours.
    pub authority: crate::config::Authority,
    /// How nodes may come back.
    pub recovery: recovery::Policy,
    /// Whether new nodes may come.
    pub enrollment_enabled: bool,
    /// Whether hosts may give their nodes other display names.
    pub hosts_may_rename: bool,
    /// How many may wait for approval.
    pub join_requests: join_requests::Bounds,
    /// Addresses told to agents, for sessions.
    pub session_addresses: Vec<String>,
    /// Addresses in join strings, for enrollment.
    pub enrollment_addresses: Vec<String>,
    /// Output kept of one command.
    pub output_limit: u64,
    /// Output kept of one operation, at most.
    pub operation_output_limit: u64,
    /// What is kept, and how long.
    pub retention: Retention,
    /// Identities for programs.
    pub workload: crate::config::Workload,
    /// How many blobs there may be, and how long they are kept.
    pub blobs: crate::config::Blobs,
    /// Full names of the operators' methods, and what they ask for.
    pub methods: fn() -> Vec<(&'static str, Asked)>,
    /// Capabilities that an agent needs for these bytes of a bundle.
    pub bundle_needs: fn(&[u8]) -> &'static [&'static str],
    /// The paths that a bundle's bytes write; none of one that is only audited.
    pub bundle_paths: assignments::PathsOf,
    /// The blobs to which a bundle's bytes refer.
    pub bundle_blobs: catalog::BlobsOf,
    /// What a schedule's stored request asks for.
    pub wish_of: schedules::WishOf,
    /// The root metadata with which trust in the signed repository begins. `None`: nothing is
    /// published here.
    pub artifacts_root: Option<bytes::Bytes>,
    /// The bytes of a release.
    pub release_of: artifacts::ReleaseOf,
    /// The files in them.
    pub files_of_release: artifacts::FilesOfRelease,
    /// What of an item's bytes people compare.
    pub item_outline: preview::OutlineOf,
}

/// Rhythm of sessions.
#[derive(Debug, Clone)]
pub struct SessionRules {
    /// Between heartbeats.
    pub heartbeat_interval: Duration,
    /// Each is spread by up to this.
    pub heartbeat_jitter: Duration,
    /// First backoff of agents.
    pub reconnect_min: Duration,
    /// Longest backoff of agents.
    pub reconnect_max: Duration,
}

impl std::ops::Deref for App {
    type Target = Core;
    fn deref(&self) -> &Core {
        &self.0
    }
}

impl App {
    /// Around these parts.
    #[must_use]
    pub fn new(core: Core) -> Self {
        Self(Arc::new(core))
    }

    /// Whether the process is ending: no new sessions.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_begun()
    }

    /// One write: committed, and seen by this process, when it returns.
    ///
    /// # Errors
    /// What `change` refuses, or the store; `OVERLOADED` if it was committed and
    /// this process could not take it in within some seconds.
    pub(crate) async fn commit<T, F>(&self, stamp: Stamp, change: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(&mut muster_store::WriteTx<'_>) -> Result<T, Error> + Send + 'static,
    {
        self.commit_in(Lane::Control, stamp, change).await
    }

    /// The same in another lane.
    ///
    /// # Errors
    /// As `commit`; `OVERLOADED` if the lane is turned away.
    pub(crate) async fn commit_in<T, F>(&self, lane: Lane, stamp: Stamp, change: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(&mut muster_store::WriteTx<'_>) -> Result<T, Error> + Send + 'static,
    {
        let part = traces::now().map(|call| self.write_begun(call, &stamp.action));
        let written = self.store.write_in(lane, stamp, change).await;
        if let Some(part) = part {
            traced::write_ended(part, written.as_ref().err());
        }
        let committed = written.inspect_err(|error| {
            if let Error::Store(muster_store::Error::Busy) = error {
                self.metrics.shed(lane.word());
            }
        })?;
        if self.feed.reached(committed.revision, SEEN_WITHIN).await {
            return Ok(committed.value);
        }
        let revision = committed.revision;
        tracing::error!(revision, "what was stored as revision {revision} is not in memory yet");
        // The caller must know both: that it stands, and that reading may not show it yet.
        Err(Error::refused(
            Reason::Overloaded,
            format!(
                "the change was stored, as revision {revision}, but this process has not taken it in yet; \
                 read what is there before you repeat it"
            ),
        ))
    }

    /// A stamp for what the control plane does by itself.
    pub(crate) fn own_stamp(&self, action: &str) -> Stamp {
        Stamp {
            actor: format!("control-plane/{}", self.fixed.replica),
            action: action.to_owned(),
            at: self.clock.now(),
            remote_address: String::new(),
            trace_id: String::new(),
        }
    }
}

/// Longest id that callers may give a request.
const MAX_REQUEST_ID: usize = 128;

/// Refuses an id of a request that is too long to be kept.
pub(crate) fn check_request_id(id: &str) -> Result<(), Error> {
    if id.len() > MAX_REQUEST_ID {
        return Err(Error::invalid("request_id", "it is longer than 128 bytes"));
    }
    Ok(())
}

/// Refuses a write that was made from an older reading.
pub(crate) fn check_etag(given: &str, revision: u64) -> Result<(), Error> {
    if muster_domain::node::is_stale(given, revision) {
        return Err(Error::refused(
            Reason::EtagMismatch,
            "the resource changed since it was read; read it again",
        ));
    }
    Ok(())
}

/// Refuses a reason that nobody would read: it goes to the audit, and to hosts.
pub(crate) fn check_reason(field: &str, reason: &str) -> Result<(), Error> {
    if reason.len() > MAX_REASON {
        let message = format!("it is {} bytes long; it may be {MAX_REASON}", reason.len());
        return Err(Error::invalid(field, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
