//! What all stories begin with: an authority, a store with its nodes, and the use-cases
//! around it, of which none works by itself.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use muster_common::{
    clock::{Clock, UnixMillis},
    digest::Sha256,
    drain::Drain,
    ids::{JoinTokenId, NodeId},
    tasks::Tasks,
    tls::spiffe::TrustDomain,
};
use muster_control_plane::{
    api,
    app::{self, App, Core, Fixed, SessionRules},
    ca::{self, Ca},
    config,
    metrics::Metrics,
    session::hub::Hub,
    vault::KeyFile,
};
use muster_domain::{
    audit::{Note, Stamp, checkpoint::Rhythm},
    authority::Authority,
    certificate::{Issued, Leaf, NodeCertificate},
    facts::Known,
    labels::Labels,
    liveness::{self, Liveness},
    node::Node,
};
use muster_store::{Options, ReadAuthority as _, Store, WriteAuthority as _, WriteNodes as _, WriteTx};

use crate::plane::{HOSTS, NOW, node_id};

const DOMAIN: &str = "fleet.test";

/// What all stories begin with: an authority, keys, and a store with their nodes.
pub(crate) static BEGINNING: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = in_memory();
    let store = Store::create(&options(folder.path()), DOMAIN).unwrap();
    let slot = ca::first(&folder.path().join("ca"), &domain(), NOW).unwrap();
    let nodes: Vec<Node> = (0..HOSTS).map(node).collect();
    let begin = move |tx: &mut WriteTx<'_>| {
        tx.authority_put(&Authority::first(slot.clone()))?;
        for node in &nodes {
            tx.node_insert(node)?;
        }
        tx.audit(Note { subject: "model".to_owned(), ..Note::default() })
    };
    store.write_blocking::<_, muster_store::Error, _>(stamp(), begin).unwrap();
    store.close_blocking().unwrap();
    // Here, and not by the first story: several begin at once.
    ca::audit_key::AuditKey::open_or_create(&folder.path().join("ca")).unwrap();
    KeyFile::at(&folder.path().join("secrets.key")).open_or_create().unwrap();
    folder
});

/// A folder that no disk has to wait for, where there is such a place.
pub(crate) fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn domain() -> TrustDomain {
    DOMAIN.parse().unwrap()
}

pub(crate) fn options(folder: &Path) -> Options {
    let options = Options::sqlite(folder.join("muster.db"));
    // Nobody else writes to it.
    Options { readers: 1, watch_interval: Duration::from_secs(3600), ..options }
}

fn stamp() -> Stamp {
    Stamp {
        actor: "cli/root".to_owned(),
        action: "model".to_owned(),
        at: NOW,
        remote_address: String::new(),
        trace_id: String::new(),
    }
}

fn node(host: usize) -> Node {
    let issued = Issued {
        serial: "1".into(),
        generation: 1,
        issuer: 1,
        not_before: NOW,
        not_after: NOW + Duration::from_secs(3600),
        leaf: Some(Box::new(Leaf { key_sha256: Sha256::of(b"key").as_bytes().to_vec(), der: vec![1] })),
    };
    Node {
        id: node_id(host),
        display_name: format!("host-{host}"),
        labels: Labels::from([("host".to_owned(), host.to_string())]),
        facts: Known::default(),
        facts_sha256: [][..].into(),
        liveness: Liveness { state: liveness::State::NeverSeen, since: NOW, reason: "Enrolled".into() },
        items: Vec::new(),
        certificate: NodeCertificate { current: issued, next: None },
        enrolled_key_sha256: Some(Box::new([u8::try_from(host).unwrap()][..].into())),
        machine_fingerprint: [][..].into(),
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

/// The use-cases around a store; what works by itself is left to the story.
pub(crate) async fn app_on(store: Store, folder: &Path, clock: Clock, epoch: u64) -> App {
    let begun = BEGINNING.path();
    let authority = store.read::<_, muster_store::Error, _>(|tx| tx.authority_get()).await.unwrap();
    let key = ca::audit_key::AuditKey::open_or_create(&begun.join("ca")).unwrap();
    let rhythm = Rhythm { entries: 1_000_000, time: Duration::from_secs(86_400) };
    let (dir, rules) = (folder.join("ca"), config::Workload::default().rules());
    let vault = KeyFile::at(&begun.join("secrets.key")).open_or_create().unwrap();
    let workloads = app::workloads::open(&store, &vault, &dir, &domain(), rules, stamp()).await.unwrap();
    App::new(Core {
        store,
        fleet: app::fleet::Fleet::default(),
        catalog: app::catalog::Catalog::default(),
        open: app::operations::Open::default(),
        releases: app::releases::Releases::default(),
        rollouts: app::rollouts::Rollouts::default(),
        access: app::access::Access::default(),
        lines: Arc::new(NoLines),
        denials: app::denials::Denials::new(60, 600),
        feed: app::feed::Feed::default(),
        recorder: app::recorder::Recorder::default(),
        dispatch: app::dispatch::Dispatch::default(),
        herd: app::herd::Herd::new(64, 100),
        losses: app::losses::Losses::default(),
        events: app::events::Events::default(),
        replicas: muster_control_plane::app::replicas::Replicas::new(false),
        hub: Hub::default(),
        revocations: app::revocation::Revocations::default(),
        ca: Arc::new(Ca::open(&begun.join("ca"), &domain(), authority).unwrap()),
        workloads: Arc::new(workloads),
        workshop: app::workshop::Workshop::default(),
        oidc: muster_control_plane::oidc::Issuers::new(&[]).unwrap(),
        host_cas: muster_control_plane::host_ca::Authorities::new(&[]).unwrap(),
        challenges: ca::proof::Challenges::default(),
        audit: app::audit::Signer::new(key, rhythm),
        blobs: muster_control_plane::blobs::Blobs::open(&config::Blobs::default(), folder).unwrap(),
        warned: app::artifacts::Warned::default(),
        vault,
        metrics: Metrics::default(),
        traces: muster_control_plane::traces::Traces::off(Metrics::default(), clock.clone()),
        clock,
        tasks: Tasks::default(),
        drain: Drain::default(),
        fixed: fixed(epoch),
    })
}

fn fixed(epoch: u64) -> Fixed {
    Fixed {
        replica: "model".to_owned(),
        history: muster_domain::history::History { epoch, ended: Vec::new() },
        trust_domain: domain(),
        started: NOW,
        session: SessionRules {
            heartbeat_interval: Duration::from_secs(15),
            heartbeat_jitter: Duration::ZERO,
            reconnect_min: Duration::from_millis(1),
            reconnect_max: Duration::from_millis(1),
        },
        node_certificate_ttl: Duration::from_secs(3600),
        renew_spread: Duration::from_secs(60),
        authority: config::Authority::default(),
        recovery: app::recovery::Policy { enabled: true, within: None, limit: 2 },
        enrollment_enabled: true,
        hosts_may_rename: true,
        join_requests: app::join_requests::Bounds { in_all: 100, of_token: 10 },
        session_addresses: Vec::new(),
        enrollment_addresses: Vec::new(),
        output_limit: 1024 * 1024,
        operation_output_limit: 1024 * 1024 * 1024,
        retention: config::Retention::default(),
        workload: config::Workload::default(),
        blobs: config::Blobs::default(),
        methods: Vec::new,
        bundle_needs: api::bundle_needs,
        bundle_paths: api::bundle_paths,
        bundle_blobs: api::bundle_blobs,
        artifacts_root: None,
        release_of: api::release_content,
        files_of_release: api::release_files,
        item_outline: api::item_outline,
        wish_of: api::schedule_operation,
    }
}

/// There are no connections here.
struct NoLines;

impl app::access::Lines for NoLines {
    fn cut_others(&self, _: &str, _: Option<&str>) {}
    fn cut(&self, _: &muster_domain::revocation::Subject) -> usize {
        0
    }
    fn leave(&self, _: NodeId) {}
}
