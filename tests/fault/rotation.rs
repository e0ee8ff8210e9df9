//! The authority rotates under load: hosts renew for real, what they should be
//! changes every second, and nobody is lost, refused or left without trust.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use muster_common::{clock::Clock, reason::Reason};
use muster_proto::admin::v1::{self as pb, AuthorityPhase, AuthorityScope, Liveness};
use muster_tests::{
    eventually::eventually,
    limits::raise_open_files,
    operator::{Operator, file, reason},
    plane::{Options, Plane},
    swarm::{self, Swarm},
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{number, report};

/// Longest a phase may take with 2,000 hosts on two cores.
const PHASE: Duration = Duration::from_secs(300);
/// Between two changes of what hosts should be.
const EVERY: Duration = Duration::from_secs(1);

struct Lab {
    plane: Plane,
    operator: watch::Sender<Operator>,
    hosts: usize,
    phases: Vec<(String, Duration)>,
    _folder: tempfile::TempDir,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_rotates_and_rolls_back_under_load_and_no_session_is_lost() {
    let _alone = crate::ALONE.lock().await;
    raise_open_files();
    let hosts = usize::try_from(number("MUSTER_SESSIONS", 60)).unwrap();
    let mut lab = Lab::new(hosts).await;
    let join = lab.plane.join(i32::try_from(hosts).unwrap(), &[("swarm", "yes")]).await;
    let members = swarm::enroll_members(&join, hosts).await.expect("they enroll");
    let swarm = Swarm::start_members(members, 16);
    let counters = Arc::clone(&swarm.counters);
    assert!(counters.reach(&counters.opened, hosts as u64, PHASE).await, "all are there");
    let changes = Arc::<AtomicU64>::default();
    let load = change_for_ever(lab.operator.subscribe(), Arc::clone(&changes));
    let retired = lab.rotate(2).await;
    lab.retire(retired).await;
    let turned = lab.rotate(3).await;
    lab.roll_back(turned).await;
    load.abort();
    eventually("those that just renewed are back", PHASE, || async {
        (lab.not_online().await == 0).then_some(())
    })
    .await;
    let told = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (lost, failed, renewed) = (told(&counters.lost), told(&counters.failed), told(&counters.renewed));
    let mut text = format!("| | |\n|---|---|\n| hosts | {hosts} |\n");
    for (phase, took) in &lab.phases {
        let _ = writeln!(text, "| {phase} | {:.1} s |", took.as_secs_f64());
    }
    for (what, count) in [
        ("changes of what hosts should be", told(&changes)),
        ("sessions opened", told(&counters.opened)),
        ("sessions lost without a word before", lost),
        ("renewals", renewed),
        ("renewals that were refused, trust that did not serve", failed),
        ("renewals that met a full door and were tried again", told(&counters.retried)),
    ] {
        let _ = writeln!(text, "| {what} | {count} |");
    }
    eprintln!("{text}");
    report("rotation.md", &text);
    swarm.end().await;
    assert_eq!((lost, failed), (0, 0), "lost, failed");
    assert!(renewed >= 3 * hosts as u64 && told(&changes) > 0, "{renewed} renewals");
}

/// A new version of a bundle that every host gets, each second.
#[allow(clippy::disallowed_methods)] // a test's own task, ended by its test
fn change_for_ever(operator: watch::Receiver<Operator>, changes: Arc<AtomicU64>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut every = tokio::time::interval(EVERY);
        for n in 0_u64.. {
            every.tick().await;
            // The operator's certificate is replaced meanwhile: then the next one tries.
            let operator = operator.borrow().clone();
            let files = vec![file(std::path::Path::new("/srv/load"), &n.to_string())];
            let content = Some(muster_proto::types::v1::BundleContent { files, ..Default::default() });
            let request = pb::CreateBundleRequest { name: "load".to_owned(), content, validate_only: false };
            if operator.bundles.clone().create_bundle(request).await.is_ok() {
                let target = pb::BundleTarget { name: "load".to_owned(), version: 0 };
                let assignment = Some(pb::Assignment {
                    name: "load".to_owned(),
                    selector: "swarm=yes".to_owned(),
                    target: Some(pb::assignment::Target::Bundle(target)),
                    ..Default::default()
                });
                let create =
                    pb::CreateAssignmentRequest { assignment: assignment.clone(), validate_only: false };
                let update = pb::UpdateAssignmentRequest { assignment, validate_only: false };
                let made = operator.assignments.clone().create_assignment(create).await.map(drop);
                let done = match made {
                    Err(status) if reason(&status) == Some(Reason::AlreadyExists) => {
                        operator.assignments.clone().update_assignment(update).await.map(drop)
                    }
                    other => other,
                };
                changes.fetch_add(u64::from(done.is_ok()), Ordering::Relaxed);
            }
        }
    })
}

impl Lab {
    async fn new(hosts: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let heartbeat = if hosts > 200 { Duration::from_secs(15) } else { Duration::from_secs(2) };
        let options = Options { heartbeat, log: "warn".to_owned(), ..Options::default() };
        let mut plane = Plane::init(folder.path(), &options);
        // Some 25 renewals in a second: each is two handshakes, with both their sides on this machine.
        plane.configure("renew-spread", &format!("\"{}s\"", (hosts / 25).max(1)));
        plane.serve(&[]).await;
        let operator = plane.operator().await;
        // A connection without a call would be dropped before thousands have enrolled.
        let _ = operator.select("").await;
        let operator = watch::Sender::new(operator);
        Self { plane, operator, hosts, phases: Vec::new(), _folder: folder }
    }

    fn now(&self) -> Operator {
        self.operator.borrow().clone()
    }

    fn done(&mut self, phase: String, begun: muster_common::clock::Instant) {
        let took = Clock::System.monotonic() - begun;
        eprintln!("rotation: {phase}: {took:?}");
        self.phases.push((phase, took));
    }

    /// Prepares and activates the next slot; all hosts renew under it.
    async fn rotate(&mut self, slot: u32) -> u32 {
        let begun = Clock::System.monotonic();
        let request = pb::PrepareAuthorityRequest { scope: AuthorityScope::Root as i32 };
        self.now().identity.prepare_authority(request).await.expect("it is prepared");
        eventually("all trust the next slot, and it is activated", PHASE, || async {
            let request = pb::ActivateAuthorityRequest { force: false };
            self.now().identity.activate_authority(request).await.ok()
        })
        .await;
        self.done(format!("slot {slot}: prepared, trusted by all, activated"), begun);
        self.until_issued_by(slot).await;
        slot
    }

    async fn retire(&mut self, slot: u32) {
        let begun = Clock::System.monotonic();
        let _ = self.plane.cli(&["operator", "create", "admin", "--role", "admin"]);
        self.operator.send_replace(self.plane.operator().await);
        eventually("the old slot is retired", PHASE, || async {
            let request = pb::RetireAuthorityRequest { force: false };
            self.now().identity.retire_authority(request).await.ok()
        })
        .await;
        self.done(format!("slot {}: retired", slot - 1), begun);
        self.is_steady().await;
    }

    async fn roll_back(&mut self, slot: u32) {
        let begun = Clock::System.monotonic();
        self.now()
            .identity
            .rollback_authority(pb::RollbackAuthorityRequest { force: false })
            .await
            .expect("back");
        self.done(format!("slot {slot}: rolled back to prepared"), begun);
        self.until_issued_by(slot - 1).await;
        let begun = Clock::System.monotonic();
        eventually("it is dropped", PHASE, || async {
            self.now().identity.rollback_authority(pb::RollbackAuthorityRequest { force: false }).await.ok()
        })
        .await;
        self.done(format!("slot {slot}: dropped"), begun);
        self.is_steady().await;
    }

    async fn is_steady(&self) {
        let request = pb::GetAuthorityRequest {};
        let authority = self.now().identity.get_authority(request).await.unwrap().into_inner().authority;
        assert_eq!(authority.unwrap().phase(), AuthorityPhase::Steady);
    }

    /// All nodes have shown a certificate of this slot.
    async fn until_issued_by(&mut self, slot: u32) {
        let begun = Clock::System.monotonic();
        let hosts = self.hosts;
        eventually("all have renewed", PHASE, || async {
            let nodes = self.nodes().await;
            let mut slots = BTreeMap::<u32, usize>::new();
            for node in &nodes {
                *slots.entry(node.certificate.as_ref().map_or(0, |it| it.issuer)).or_default() += 1;
            }
            (slots.get(&slot) == Some(&hosts)).then_some(())
        })
        .await;
        self.done(format!("all have renewed under slot {slot}"), begun);
    }

    async fn not_online(&self) -> usize {
        let online =
            |node: &&pb::Node| node.connection.as_ref().is_some_and(|it| it.liveness() == Liveness::Online);
        self.hosts - self.nodes().await.iter().filter(online).count()
    }

    async fn nodes(&self) -> Vec<pb::Node> {
        let (mut nodes, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListNodesRequest { page_size: 1000, page_token, ..Default::default() };
            let Ok(page) = self.now().nodes.list_nodes(request).await else { return Vec::new() };
            let page = page.into_inner();
            nodes.extend(page.nodes);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return nodes;
            }
        }
    }
}
