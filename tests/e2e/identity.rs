//! Theft, absence, rotation: who may be a node, and for how long.

use std::{path::Path, process::Command, time::Duration};

use muster_common::{clock::Clock, reason::Reason};
use muster_proto::admin::v1::{self as pb, AuthorityPhase, AuthorityScope, Liveness};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    operator::{Operator, reason},
    plane::{Options, Plane, http_get},
};
use rustix::process::Signal;
use tonic::Status;

/// Within which a revocation has cut what is open.
const CUT_WITHIN: Duration = Duration::from_secs(2);

async fn authority(operator: &Operator) -> pb::Authority {
    let request = pb::GetAuthorityRequest {};
    operator.identity.clone().get_authority(request).await.unwrap().into_inner().authority.unwrap()
}

/// A new certificate for the first operator, as `operator create` gives it.
async fn renewed_operator(plane: &Plane) -> Operator {
    let _ = plane.cli(&["operator", "create", "admin", "--role", "admin"]);
    plane.operator().await
}

fn options() -> Options {
    Options { heartbeat: Duration::from_millis(300), ..Options::default() }
}

async fn plane_with(folder: &Path, settings: &[(&str, &str)], options: &Options) -> Plane {
    let mut plane = Plane::init(folder, options);
    for (key, value) in settings {
        plane.configure(key, value);
    }
    plane.serve(&[]).await;
    plane
}

async fn metric(plane: &Plane, line: &str) -> u64 {
    let metrics = http_get(plane.addresses().console, "/metrics").await.unwrap();
    let found = metrics.lines().find_map(|found| found.strip_prefix(line));
    found.map_or(0, |count| count.trim().parse().unwrap())
}

#[tokio::test]
async fn the_authority_rotates_under_a_living_fleet_and_a_host_that_slept_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane_with(folder.path(), &[("renew-spread", "\"500ms\"")], &options()).await;
    let mut operator = plane.operator().await;
    let old_join = plane.join(1, &[]).await;
    let awake = Agent::start(folder.path(), "awake", &plane.join(1, &[]).await);
    let mut asleep = Agent::start(folder.path(), "asleep", &plane.join(1, &[]).await);
    for agent in [&awake, &asleep] {
        operator.until_liveness(&agent.node, Liveness::Online).await;
    }
    assert!(asleep.process().stop().await.success());
    operator.until_liveness(&asleep.node, Liveness::Offline).await;
    for (slot, scope) in [(2, AuthorityScope::Root), (3, AuthorityScope::Root)] {
        let request = pb::PrepareAuthorityRequest { scope: scope as i32 };
        let prepared =
            operator.identity.prepare_authority(request).await.unwrap().into_inner().authority.unwrap();
        assert_eq!(prepared.phase(), AuthorityPhase::Prepared);
        eventually("the node trusts the new root, too", LONG, || async {
            let request = pb::ActivateAuthorityRequest { force: false };
            operator.identity.clone().activate_authority(request).await.ok()
        })
        .await;
        let on_new = |node: &pb::Node| node.certificate.as_ref().is_some_and(|it| it.issuer == slot);
        operator.until("the node has renewed", &awake.node, on_new).await;
        // The operator's certificate is of the old slot, and said to be in the way.
        let request = pb::RetireAuthorityRequest { force: false };
        let refused = operator.identity.retire_authority(request).await.unwrap_err();
        assert_eq!(reason(&refused), Some(Reason::AuthorityNotReady), "{refused}");
        assert!(refused.message().contains("operator/admin"), "{refused}");
        operator = renewed_operator(&plane).await;
        eventually("the old slot is retired", LONG, || async {
            operator.identity.clone().retire_authority(request).await.ok()
        })
        .await;
        assert_eq!(authority(&operator).await.phase(), AuthorityPhase::Steady);
    }
    operator.until_liveness(&awake.node, Liveness::Online).await;
    asleep.run();
    let back = operator.until_liveness(&asleep.node, Liveness::Online).await;
    let certificate = back.certificate.unwrap();
    assert_eq!((certificate.issuer, certificate.recoveries), (3, 1));
    // And a join string of before still pins the way to the root of now.
    let late = Agent::start(folder.path(), "late", &old_join);
    operator.until_liveness(&late.node, Liveness::Online).await;
    assert_eq!(metric(&plane, "muster_nodes_recovered_total ").await, 1);
}

#[tokio::test]
async fn a_rotation_is_taken_back_step_by_step_by_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let plane = plane_with(folder.path(), &[("renew-spread", "\"200ms\"")], &options()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    assert!(plane.cli(&["ca", "prepare"]).contains("prepared"));
    let acknowledged =
        |node: &pb::Node| node.certificate.as_ref().is_some_and(|it| it.trust_bundle_version == 2);
    operator.until("the node trusts both", &agent.node, acknowledged).await;
    eventually("it can be activated", LONG, || async {
        let mut command = Command::new(muster_tests::binaries::path("muster-control-plane"));
        let done = command.args(["ca", "activate", "--config"]).arg(plane.config()).output().unwrap();
        done.status.success().then_some(())
    })
    .await;
    let issued_by =
        |slot: u32| move |node: &pb::Node| node.certificate.as_ref().is_some_and(|it| it.issuer == slot);
    operator.until("the node has renewed", &agent.node, issued_by(2)).await;
    assert!(plane.cli(&["ca", "rollback"]).contains("prepared"));
    operator.until("the node has gone back", &agent.node, issued_by(1)).await;
    assert!(plane.cli(&["ca", "rollback"]).contains("steady"));
    let status = plane.cli(&["ca", "status"]);
    assert!(status.contains("slot 1\tactive") && status.contains("slot 2\tdropped"), "{status}");
    operator.until_liveness(&agent.node, Liveness::Online).await;
}

/// Chain and key of the authority of a control plane that serves for nothing else.
fn other_authority(folder: &Path, chain: &Path, key: &Path) {
    let other = Plane::init(folder, &options()).state().join("ca/1");
    let text = |name: &str| std::fs::read_to_string(other.join(name)).unwrap();
    std::fs::write(key, text("issuing.key")).unwrap();
    std::fs::write(chain, text("issuing.crt") + &text("root.crt")).unwrap();
}

#[tokio::test]
async fn an_authority_of_files_is_followed_and_what_does_not_fit_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    other_authority(&folder.path().join("first"), &chain, &key);
    let with_files = Options { authority: Some((chain.clone(), key.clone())), ..options() };
    let plane = plane_with(folder.path(), &[("every", "\"1s\"")], &with_files).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let good = std::fs::read_to_string(&chain).unwrap();
    std::fs::write(&chain, "nonsense").unwrap();
    eventually("it is told", LONG, || async {
        (metric(&plane, "muster_authority_behind_total ").await > 0).then_some(())
    })
    .await;
    assert_eq!(authority(&operator).await.phase(), AuthorityPhase::Steady, "the old one goes on");
    std::fs::write(&chain, good).unwrap();
    other_authority(&folder.path().join("second"), &chain, &key);
    eventually("the new one is the next slot", LONG, || async {
        (authority(&operator).await.phase() == AuthorityPhase::Prepared).then_some(())
    })
    .await;
    let slots = authority(&operator).await.slots;
    assert_eq!(
        slots.iter().map(|slot| (slot.standing.as_str(), slot.external)).collect::<Vec<_>>(),
        [("active", true), ("next", true)]
    );
    operator.until_liveness(&agent.node, Liveness::Online).await;
}

#[tokio::test]
async fn an_expired_host_comes_back_within_the_policy_and_not_outside_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let short = Options { certificate_ttl: Duration::from_secs(10), ..options() };
    let plane = plane_with(folder.path(), &[("recover-limit", "1")], &short).await;
    let operator = plane.operator().await;
    let mut agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let sleep = async |agent: &mut Agent| {
        agent.kill();
        operator.until_liveness(&agent.node, Liveness::Expired).await;
        agent.run();
    };
    sleep(&mut agent).await;
    let back = operator.until_liveness(&agent.node, Liveness::Online).await;
    assert_eq!(back.certificate.unwrap().recoveries, 1);
    sleep(&mut agent).await;
    eventually("the host is told that a person must say yes", LONG, || async {
        agent.log().contains("RECOVERY_LIMIT").then_some(())
    })
    .await;
    let allow = pb::AllowRecoveryRequest { id: agent.node.clone() };
    operator.nodes.clone().allow_recovery(allow).await.unwrap();
    operator.until_liveness(&agent.node, Liveness::Online).await;
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[tokio::test]
async fn a_copied_state_directory_locks_both_up_and_one_event_names_both() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &options()).await;
    let operator = plane.operator().await;
    let mut first = Agent::start(folder.path(), "first", &plane.join(1, &[]).await);
    operator.until_liveness(&first.node, Liveness::Online).await;
    let mut twin = Agent::host(folder.path(), "twin", muster_tests::agent::OPEN);
    // As a snapshot of a machine is taken: nothing changes meanwhile.
    first.process().signal(Signal::STOP);
    copy(&first.state(), &twin.state());
    first.process().signal(Signal::CONT);
    twin.run();
    let node = operator.until_liveness(&first.node, Liveness::Quarantined).await;
    let quarantine = node.quarantine.unwrap();
    assert_eq!((quarantine.reason.as_str(), quarantine.seen.len()), ("TwoProcesses", 2));
    assert_ne!(quarantine.seen[0].instance_id, quarantine.seen[1].instance_id);
    let event = eventually("one event names both", LONG, || async {
        let subject = format!("node/{}", first.node);
        let request = pb::ListAuditEntriesRequest { subject, page_size: 100, ..Default::default() };
        let entries = operator.audit.clone().list_audit_entries(request).await.ok()?.into_inner().entries;
        entries.into_iter().find(|entry| entry.action == "nodes.quarantine")
    });
    let event = event.await.after;
    assert!(quarantine.seen.iter().all(|seen| event.contains(&seen.instance_id)), "{event}");
    assert_eq!(metric(&plane, "muster_nodes_quarantined_total{reason=\"TwoProcesses\"} ").await, 1);
    // The right one is named; the other one is refused for good.
    let keep = quarantine.seen[0].instance_id.clone();
    let request = pb::ReleaseQuarantineRequest {
        id: first.node.clone(),
        keep_instance_id: keep,
        reason: String::new(),
    };
    operator.nodes.clone().release_quarantine(request).await.unwrap();
    let renewed = |node: &pb::Node| {
        node.quarantine.is_none() && node.certificate.as_ref().is_some_and(|it| it.generation == 2)
    };
    operator.until("the right one has a certificate of its own", &first.node, renewed).await;
    operator.until_liveness(&first.node, Liveness::Online).await;
    eventually("what both had is revoked", LONG, || async {
        let request = pb::ListRevocationsRequest {};
        let found = operator.identity.clone().list_revocations(request).await.ok()?.into_inner().revocations;
        (found.len() == 1 && found[0].subject.starts_with("serial/")).then_some(())
    })
    .await;
    let refused =
        |agent: &Agent| agent.log().contains("CERTIFICATE_REVOKED") || agent.log().contains("QUARANTINED");
    eventually("the other one is refused", LONG, || {
        std::future::ready((refused(&first) || refused(&twin)).then_some(()))
    })
    .await;
}

async fn watch_ends(operator: &Operator) -> (Clock, tokio::task::JoinHandle<Option<Status>>) {
    let request = pb::WatchNodesRequest::default();
    let mut stream = operator.nodes.clone().watch_nodes(request).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    #[allow(clippy::disallowed_methods)] // it ends with the stream
    let ended = tokio::spawn(async move {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(status),
            }
        }
    });
    (Clock::System, ended)
}

#[tokio::test]
async fn who_is_revoked_is_cut_within_two_seconds_and_stays_out_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(folder.path(), &options()).await;
    let operator = plane.operator().await;
    let agent = Agent::start(folder.path(), "host", &plane.join(1, &[]).await);
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let certs = folder.path().join("victor");
    let out = certs.to_str().unwrap();
    let _ = plane.cli(&["operator", "create", "victor", "--role", "viewer", "--out", out]);
    let victor = Operator::connect(plane.addresses().operators, plane.tls_of(&certs, "victor")).await;
    eventually("the viewer is known", LONG, || async {
        victor.nodes.clone().list_nodes(pb::ListNodesRequest::default()).await.ok()
    })
    .await;
    let (clock, ended) = watch_ends(&victor).await;
    let revoke = async |subject: String| {
        let request = pb::RevokeRequest { subject, reason: "stolen".to_owned() };
        operator.identity.clone().revoke(request).await.unwrap();
        clock.monotonic()
    };
    let begun = revoke("operator/victor".to_owned()).await;
    tokio::time::timeout(LONG, ended).await.expect("the stream is cut").unwrap();
    assert!(clock.monotonic() - begun < CUT_WITHIN * 2, "cut in {:?}", clock.monotonic() - begun);
    revoke(format!("node/{}", agent.node)).await;
    operator.until_liveness(&agent.node, Liveness::Offline).await;
    // Known from the store alone.
    plane.kill();
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let victor = Operator::connect(plane.addresses().operators, plane.tls_of(&certs, "victor")).await;
    let refused = victor.nodes.clone().list_nodes(pb::ListNodesRequest::default()).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::CertificateRevoked), "{refused}");
    let is_offline = async || {
        let node = operator.node(&agent.node).await.unwrap();
        !matches!(node.connection.unwrap().liveness(), Liveness::Online | Liveness::Late)
    };
    assert!(is_offline().await);
    let request = pb::DeleteRevocationRequest { subject: format!("node/{}", agent.node) };
    operator.identity.clone().delete_revocation(request).await.unwrap();
    operator.until_liveness(&agent.node, Liveness::Online).await;
}
