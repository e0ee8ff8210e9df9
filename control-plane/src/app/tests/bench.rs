//! What all these tests need.

use std::{sync::Arc, time::Duration};

use muster_common::{
    clock::{Clock, UnixMillis},
    digest::{Claimed, Sha256},
    drain::Drain,
    ids::{InstanceId, JoinTokenId, LedgerId, NodeId, OperationId},
    tasks::{Kind, Tasks},
};
use muster_domain::{
    access::{Asked, Binding, Permission, Role, Scope},
    audit::{Note, Stamp, checkpoint::Rhythm},
    authority::Authority,
    certificate::{Issued, Leaf, NodeCertificate},
    command::{Command, State},
    facts::Known,
    labels::Labels,
    liveness::{self, Liveness},
    node::{LedgerMark, Node},
};
use muster_store::{
    Options, ReadAuthority as _, ReadCommands as _, ReadHistories as _, ReadNodes as _, Store,
    WriteAccess as _, WriteAuthority as _, WriteNodes as _, WriteTx,
};

use crate::{
    app::{
        Actor, App, Core, Error, Fixed, SessionRules, access, audit, catalog, dispatch, feed, fleet, herd,
        operations,
        operations::Wish,
        preview::{FileOutline, Outline},
        recorder, recovery, revocation, rollouts, workloads,
    },
    ca::{self, Ca},
    metrics::Metrics,
    session::{
        frames::{Caller, CommandReport, Hello, Refusal},
        hub::{Handle, Hub},
        line::Line,
        ports::{Inbox as _, Opened},
    },
    traces::Span,
};

pub(in crate::app) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// The use-cases around a store, and nothing that works by itself.
pub(super) struct Bench {
    pub(super) app: App,
    folder: Arc<tempfile::TempDir>,
}

impl Bench {
    pub(super) async fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let store = Store::create(&options(&folder), "fleet.test").unwrap();
        let slot = ca::first(&folder.path().join("ca"), &"fleet.test".parse().unwrap(), NOW).unwrap();
        let put = move |tx: &mut WriteTx<'_>| {
            tx.authority_put(&Authority::first(slot.clone()))?;
            tx.caller_put(&caller("operator/alice"))?;
            tx.binding_put(&binding("operator/alice", Role::Admin, "*"))?;
            tx.audit(Note { subject: "authority".to_owned(), ..Note::default() })
        };
        store.write::<_, muster_store::Error, _>(stamp(), put).await.unwrap();
        let app = app(&folder, store, ALONE).await;
        app.load().await.unwrap();
        Self { app, folder }
    }

    /// Two replicas on one store; the first one leads.
    pub(super) async fn pair() -> (Self, Self) {
        let Self { app: alone, folder } = Self::new().await;
        alone.store.clone().close().await.unwrap();
        let first = Self::replica(&folder, "a").await;
        let second = Self::replica(&folder, "b").await;
        first.app.beat().await.unwrap();
        (first, second)
    }

    /// One more replica on the store of this one.
    pub(super) async fn beside(&self, name: &str) -> Self {
        Self::replica(&self.folder, name).await
    }

    async fn replica(folder: &Arc<tempfile::TempDir>, name: &str) -> Self {
        let options = options(folder).with_replica(name);
        let app = app(folder, Store::open(&options).unwrap(), Named { name, is_shared: true }).await;
        app.beat().await.unwrap();
        app.load().await.unwrap();
        Self { app, folder: Arc::clone(folder) }
    }

    /// One whose memory follows the store by itself.
    pub(super) async fn following() -> Self {
        let bench = Self::new().await;
        bench.follow();
        bench
    }

    /// One that follows, and whose traces somebody collects.
    pub(super) async fn traced() -> (Self, tokio::sync::mpsc::Receiver<Span>) {
        let mut bench = Self::new().await;
        let core = Arc::get_mut(&mut bench.app.0).expect("nothing works yet");
        let (traces, told) = crate::traces::tests::collected(1.0, 1024, core.clock.clone());
        core.traces = traces;
        bench.follow();
        (bench, told)
    }

    /// One that follows, and takes this for the root of the signed repository.
    pub(super) async fn trusting(root: &[u8]) -> Self {
        let bench = Self::new().await;
        std::fs::write(bench.folder().join("root.json"), root).unwrap();
        let bench = bench.killed().await;
        bench.follow();
        bench
    }

    pub(super) fn follow(&self) {
        let app = self.app.clone();
        self.app.tasks.spawn("follow", Kind::BestEffort, async move {
            let mut committed = app.store.committed();
            while committed.changed().await.is_ok() {
                app.follow().await.unwrap();
            }
        });
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The same store after a kill of the process: memory begins anew.
    pub(super) async fn killed(self) -> Self {
        let Self { app: old, folder } = self;
        old.store.clone().close().await.unwrap();
        let app = app(&folder, Store::open(&options(&folder)).unwrap(), ALONE).await;
        app.load().await.unwrap();
        Self { app, folder }
    }

    /// Writes past the use-cases, as another process would.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl Fn(&mut WriteTx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> u64 {
        let audited = move |tx: &mut WriteTx<'_>| {
            change(tx)?;
            tx.audit(Note { subject: "test".to_owned(), ..Note::default() })?;
            Ok::<_, Error>(())
        };
        self.app.store.write(stamp(), audited).await.unwrap().revision
    }

    /// A node in the store and in memory.
    pub(super) async fn node(&self, number: u128) -> NodeId {
        let node = node(number);
        let id = node.id;
        self.write(move |tx| Ok(tx.node_insert(&node)?)).await;
        self.app.follow().await.unwrap();
        id
    }

    pub(super) fn hello(&self, node: NodeId, hello: &Hello) -> Result<(Handle, Opened), Refusal> {
        self.hello_with(node, "1", hello)
    }

    pub(super) fn hello_with(
        &self,
        node: NodeId,
        serial: &(impl ToString + ?Sized),
        hello: &Hello,
    ) -> Result<(Handle, Opened), Refusal> {
        let line = Line::default();
        let handle = Handle::new(node, line.clone());
        let caller = Caller {
            node,
            serial: serial.to_string(),
            remote: ([127, 0, 0, 1], 1).into(),
            key_exchange: "X25519",
            line,
            is_unsure: false,
        };
        let opened = self.app.opened(&handle, &caller, hello, 1)?;
        Ok((handle, opened))
    }

    /// Starts an operation on all nodes and hands its orders to those that are connected.
    pub(super) async fn ordered(&self) -> Vec<Command> {
        let (operation, _) = self.app.start_operation(&alice(), wish("*")).await.unwrap();
        self.app.hand_out().await.unwrap();
        self.of(operation.id).await
    }

    /// The orders of an operation.
    pub(super) async fn of(&self, operation: OperationId) -> Vec<Command> {
        let page = muster_domain::page::Page { size: 100, after: None };
        let listed = self.app.commands(&whole(), operation, page, false).await.unwrap();
        listed.rows.into_iter().map(|row| row.0).collect()
    }

    pub(super) async fn command(&self, command: &Command) -> Command {
        let id = command.id;
        self.app.store.read(move |tx| Ok::<_, Error>(tx.command_get(id)?)).await.unwrap().unwrap()
    }

    /// Waits until something holds that others bring about.
    pub(super) async fn until(&self, holds: impl Fn() -> bool) {
        for _ in 0..2000 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it did not come to hold");
    }

    pub(super) async fn stored(&self, node: NodeId) -> Node {
        self.app.store.read(move |tx| Ok::<_, Error>(tx.node_get(node)?)).await.unwrap().unwrap()
    }
}

fn options(folder: &tempfile::TempDir) -> Options {
    Options::sqlite(folder.path().join("muster.db"))
}

/// How a process of a test is called, and whether it has company.
#[derive(Clone, Copy)]
struct Named<'a> {
    name: &'a str,
    is_shared: bool,
}

const ALONE: Named<'static> = Named { name: "a", is_shared: false };

async fn app(folder: &tempfile::TempDir, store: Store, named: Named<'_>) -> App {
    let authority = store.read::<_, muster_store::Error, _>(|tx| tx.authority_get()).await.unwrap();
    let trust_domain: muster_common::tls::spiffe::TrustDomain = "fleet.test".parse().unwrap();
    let (dir, rules) = (folder.path().join("ca"), crate::config::Workload::default().rules());
    let vault = crate::vault::KeyFile::at(&folder.path().join("secrets.key")).open_or_create().unwrap();
    let workloads = workloads::open(&store, &vault, &dir, &trust_domain, rules, stamp()).await.unwrap();
    let history = store.read(|tx| tx.history()).await.unwrap();
    App::new(Core {
        store,
        fleet: fleet::Fleet::default(),
        catalog: catalog::Catalog::default(),
        open: operations::Open::default(),
        releases: crate::app::releases::Releases::default(),
        rollouts: rollouts::Rollouts::default(),
        access: access::Access::default(),
        lines: Arc::new(NoLines),
        denials: crate::app::denials::Denials::new(60, 600),
        feed: feed::Feed::default(),
        recorder: recorder::Recorder::default(),
        dispatch: dispatch::Dispatch::default(),
        replicas: crate::app::replicas::Replicas::new(named.is_shared),
        hub: Hub::default(),
        herd: herd::Herd::new(64, 100),
        losses: crate::app::losses::Losses::default(),
        events: crate::app::events::Events::default(),
        revocations: revocation::Revocations::default(),
        ca: Arc::new(Ca::open(&folder.path().join("ca"), &trust_domain, authority).unwrap()),
        workloads: Arc::new(workloads),
        workshop: crate::app::workshop::Workshop::default(),
        oidc: crate::oidc::Issuers::new(&[]).unwrap(),
        host_cas: crate::host_ca::Authorities::new(&[]).unwrap(),
        challenges: ca::proof::Challenges::default(),
        audit: signer(folder),
        blobs: crate::blobs::Blobs::open(&crate::config::Blobs::default(), folder.path()).unwrap(),
        warned: crate::app::artifacts::Warned::default(),
        vault,
        metrics: Metrics::default(),
        traces: crate::traces::Traces::off(Metrics::default(), Clock::test(NOW)),
        clock: Clock::test(NOW),
        tasks: Tasks::default(),
        drain: Drain::default(),
        fixed: Fixed {
            replica: named.name.to_owned(),
            history,
            trust_domain,
            started: NOW,
            session: SessionRules {
                heartbeat_interval: Duration::from_secs(15),
                heartbeat_jitter: Duration::ZERO,
                reconnect_min: Duration::from_secs(1),
                reconnect_max: Duration::from_secs(60),
            },
            retention: crate::config::Retention::default(),
            node_certificate_ttl: Duration::from_secs(3600),
            renew_spread: Duration::from_secs(60),
            authority: crate::config::Authority::default(),
            recovery: recovery::Policy { enabled: true, within: Some(Duration::from_secs(86_400)), limit: 2 },
            enrollment_enabled: true,
            hosts_may_rename: true,
            join_requests: crate::app::join_requests::Bounds { in_all: 100, of_token: 10 },
            session_addresses: Vec::new(),
            enrollment_addresses: Vec::new(),
            output_limit: 1024 * 1024,
            operation_output_limit: 1024 * 1024,
            workload: crate::config::Workload::default(),
            blobs: crate::config::Blobs::default(),
            methods: || vec![("muster.admin.v1.NodesService/GetNode", READ)],
            wish_of,
            bundle_needs: |payload| match payload {
                [b'v', b'2', ..] => &["bundle-v2"],
                [b'v', b'3', ..] => &["bundle-v3"],
                _ => &[],
            },
            // A payload of a test names its paths, if it is an array of them.
            bundle_paths: |payload| serde_json::from_slice(payload).unwrap_or_default(),
            bundle_blobs: blobs_of,
            artifacts_root: std::fs::read(folder.path().join("root.json")).ok().map(Into::into),
            release_of: |_, files| {
                let files: Vec<(&str, Sha256)> =
                    files.iter().map(|it| (it.name.as_str(), it.sha256)).collect();
                serde_json::to_vec(&files).unwrap()
            },
            files_of_release: |payload| serde_json::from_slice(payload).unwrap(),
            item_outline,
        },
    })
}

/// A payload of a test names its blobs, if it is a list of digests and sizes.
fn blobs_of(payload: &[u8]) -> Vec<muster_domain::bundle::BlobOf> {
    let told: Vec<(Sha256, u64)> = serde_json::from_slice(payload).unwrap_or_default();
    let blob = |(file, (sha256, size_bytes))| muster_domain::bundle::BlobOf { file, sha256, size_bytes };
    told.into_iter().enumerate().map(blob).collect()
}

/// A payload of a test is one file.
/// In these tests a request is the selector alone.
fn wish_of(request: &[u8]) -> Result<Wish, Error> {
    Ok(wish(std::str::from_utf8(request).map_err(|_| Error::invalid("operation", "no text"))?))
}

fn item_outline(_: &muster_domain::item::ItemName, payload: &[u8]) -> Outline {
    let content = Some(bytes::Bytes::copy_from_slice(payload));
    let file = FileOutline { sha256: Sha256::of(payload), content, ..FileOutline::default() };
    Outline { files: [("/etc/file".to_owned(), file)].into(), ..Outline::default() }
}

fn signer(folder: &tempfile::TempDir) -> audit::Signer {
    let key = ca::audit_key::AuditKey::open_or_create(&folder.path().join("ca")).unwrap();
    audit::Signer::new(key, Rhythm { entries: 1000, time: Duration::from_secs(600) })
}

/// There are no connections here.
struct NoLines;

impl access::Lines for NoLines {
    fn cut_others(&self, _: &str, _: Option<&str>) {}
    fn cut(&self, _: &muster_domain::revocation::Subject) -> usize {
        0
    }
    fn leave(&self, _: NodeId) {}
}

pub(super) fn stamp() -> Stamp {
    Stamp {
        actor: "operator/bob".to_owned(),
        action: "tests.write".to_owned(),
        at: NOW,
        remote_address: String::new(),
        trace_id: String::new(),
    }
}

/// Someone with a certificate.
pub(super) fn caller(principal: &str) -> muster_domain::access::Caller {
    muster_domain::access::Caller {
        principal: principal.to_owned(),
        serial: "01".to_owned(),
        issuer: 2, // in no authority that a test has begun with
        not_after: NOW + Duration::from_secs(86_400),
        created_at: NOW,
    }
}

/// What a principal's own binding is.
pub(super) fn binding(principal: &str, role: Role, selector: &str) -> Binding {
    Binding {
        name: principal.to_owned(),
        principal: principal.parse().unwrap(),
        role,
        selector: selector.to_owned(),
        created_at: NOW,
        created_by: "cli/root".to_owned(),
    }
}

const READ: Asked = Asked { permission: Permission::Read, fleet: false };

/// A content without anything protected.
pub(super) fn open(payload: bytes::Bytes) -> crate::app::secrets::Draft {
    let encode = Arc::new(move |_: &[_]| payload.clone());
    crate::app::secrets::Draft { protected: Vec::new(), encode, open_bytes: 0 }
}

pub(super) fn alice() -> Actor {
    actor("operator/alice", whole())
}

pub(super) fn actor(principal: &str, scope: Scope) -> Actor {
    let principal = principal.to_owned();
    Actor { principal, scope, remote_address: String::new(), trace_id: String::new(), traced: None }
}

pub(super) fn whole() -> Scope {
    Scope::whole("operator/alice", Permission::Read)
}

pub(super) fn issued(serial: &str, generation: u64) -> Issued {
    Issued {
        serial: serial.into(),
        generation,
        issuer: 1,
        not_before: NOW,
        not_after: NOW + Duration::from_secs(3600),
        leaf: Some(Box::new(Leaf {
            key_sha256: Sha256::of(serial.as_bytes()).as_bytes().to_vec(),
            der: serial.as_bytes().to_vec(),
        })),
    }
}

pub(in crate::app) fn node(number: u128) -> Node {
    Node {
        id: NodeId::from_u128(number),
        display_name: format!("host-{number}"),
        labels: Labels::new(),
        facts: Known::default(),
        facts_sha256: Claimed::default(),
        liveness: Liveness { state: liveness::State::NeverSeen, since: NOW, reason: "Enrolled".into() },
        items: Vec::new(),
        certificate: NodeCertificate { current: issued("1", 1), next: None },
        enrolled_key_sha256: Some(Box::new(number.to_be_bytes()[..].into())),
        machine_fingerprint: Claimed::default(),
        enrolled_with: JoinTokenId::from_u128(1).into(),
        created_at: NOW,
        ledger: None,
        trust_bundle_version: 0,
        recoveries: 0,
        touches: Vec::new(),
        accepted: None,
        own_since: UnixMillis(0),
        quarantine: None,
        kept: None,
        selector_revision: 0,
        revision: 0,
    }
}

pub(super) fn ledger(id: u128, seq: u64) -> LedgerMark {
    LedgerMark { id: LedgerId::from_u128(id), seq }
}

pub(super) fn hello(ledger: LedgerMark) -> Hello {
    Hello {
        instance: InstanceId::from_u128(1),
        ledger,
        boot_id: String::new(),
        machine_fingerprint: Vec::new(),
        agent_version: String::new(),
        protocol_min: 1,
        protocol_max: 1,
        capabilities: Vec::new(),
        epoch: 0,
        newest: muster_common::generation::Generation::default(),
        wall_time: NOW,
        certificate_generation: 1,
        trust_bundle_version: 1,
        sealing_key: Vec::new(),
        facts_sha256: Vec::new(),
        items: Vec::new(),
        open_commands: Vec::new(),
    }
}

pub(super) fn wish(selector: &str) -> Wish {
    Wish {
        selector: selector.to_owned(),
        kind: "run-script",
        args: bytes::Bytes::new(),
        request_id: String::new(),
        not_before: None,
        deliver_within: None,
        run_timeout: None,
        lane: String::new(),
        output_limit: None,
        schedule: String::new(),
        plan: muster_domain::operation::Plan::default(),
        validate_only: false,
    }
}

pub(super) fn said(command: &Command, seq: u64, state: State) -> CommandReport {
    CommandReport {
        command: command.id,
        seq,
        state,
        output: None,
        exit_code: 0,
        signal: 0,
        reason: None,
        message: String::new(),
        result: None,
        ledger_seq: 0,
        spans: Vec::new(),
    }
}
