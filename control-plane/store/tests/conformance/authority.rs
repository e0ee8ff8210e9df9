use muster_domain::{
    authority::{Authority, Move, Phase, Progress, Slot, Standing},
    certificate::{Issued, NodeCertificate},
    liveness::{Liveness, State},
    node::Node,
    revocation::Revocation,
    secret::Secret,
    sighting::{Kept, Quarantine, Sighting, Suspicion},
};
use muster_store::{
    ChangeKind, Error, ReadAuthority as _, ReadChanges as _, ReadNodes as _, WriteAuthority as _,
    WriteNodes as _,
};

use crate::{
    harness::{Database, NOW, note, read, report, stamp, write},
    samples::{issued, node},
};

fn slot(number: u32) -> Slot {
    Slot {
        number,
        standing: Standing::Next,
        root_of: number,
        root_der: vec![1; 500],
        issuing_der: vec![2; 500],
        cross_der: (number > 1).then(|| vec![3; 500]),
        external: number == 2,
        not_after: NOW,
        created_at: NOW,
        changed_at: NOW,
    }
}

pub(crate) fn slots_and_their_version_are_kept_together(database: &impl Database) {
    let store = database.open();
    assert_eq!(read(&store, |tx| tx.authority_get()), Authority { slots: vec![], bundle_version: 0 });
    let first = Authority::first(slot(1));
    let kept = first.clone();
    write(&store, move |tx| tx.authority_put(&kept));
    assert_eq!(read(&store, |tx| tx.authority_get()), first);
    let prepared = first.prepare(slot(2)).unwrap();
    let kept = prepared.clone();
    write(&store, move |tx| tx.authority_put(&kept));
    let activated = prepared.go(Move::Activate, &Progress::default(), false, NOW).unwrap();
    let kept = activated.clone();
    let revision = write(&store, move |tx| tx.authority_put(&kept)).revision;
    let found = read(&store, |tx| tx.authority_get());
    assert_eq!((found.phase(), found.bundle_version), (Phase::Activated, 2));
    assert_eq!(found, activated);
    let changes = read(&store, move |tx| tx.changes_since(revision - 1, 10));
    assert_eq!(changes[0].kind, ChangeKind::Authority);
    let unaudited = store.write_blocking::<_, Error, _>(stamp(), move |tx| tx.authority_put(&first));
    assert!(matches!(unaudited, Err(Error::Unaudited(_))));
}

pub(crate) fn a_revocation_is_made_once_and_taken_back(database: &impl Database) {
    let store = database.open();
    let revocation = |subject: &str, reason: &str| Revocation {
        subject: subject.parse().unwrap(),
        reason: reason.into(),
        at: NOW,
        by: "operator/alice".into(),
    };
    let (stolen, again) = (revocation("operator/bob", "stolen"), revocation("operator/bob", "again"));
    let serial = revocation("serial/0a", "copied");
    for (row, is_new) in [(stolen.clone(), true), (again, false), (serial.clone(), true)] {
        assert_eq!(write(&store, move |tx| tx.revocation_put(&row)).value, is_new);
    }
    let subject = stolen.subject.clone();
    assert_eq!(read(&store, move |tx| tx.revocation_get(&subject)), Some(stolen.clone()));
    assert_eq!(read(&store, |tx| tx.revocation_all()), [stolen.clone(), serial.clone()]);
    for found in [true, false] {
        let subject = stolen.subject.clone();
        assert_eq!(write(&store, move |tx| tx.revocation_delete(&subject)).value, found);
    }
    assert_eq!(read(&store, |tx| tx.revocation_all()), [serial]);
}

pub(crate) fn trust_recoveries_and_quarantine_of_a_node_are_kept(database: &impl Database) {
    let store = database.open();
    let id = node(1).id;
    write(&store, |tx| tx.node_insert(&node(1)));
    let seen = Sighting {
        instance: muster_common::ids::InstanceId::from_u128(3),
        boot_id: "b".into(),
        machine_fingerprint: vec![4; 32],
        remote: [192, 0, 2, 1].into(),
        at: NOW,
        serial: "0a".into(),
    };
    let quarantine =
        Quarantine { reason: Suspicion::TwoProcesses, since: NOW, seen: vec![seen.clone()], newest: None };
    let (kept, machine) = (quarantine.clone(), [9_u8; 32]);
    report(&store, move |tx| tx.node_set_trust_bundle(id, 4));
    write(&store, move |tx| tx.node_set_recoveries(id, 2));
    write(&store, move |tx| tx.node_set_quarantine(id, Some(&kept), Some(&machine)));
    let found = read(&store, move |tx| tx.node_get(id)).unwrap();
    assert_eq!((found.trust_bundle_version, found.recoveries), (4, 2));
    assert_eq!(
        (found.quarantine, found.machine_fingerprint),
        (Some(Box::new(quarantine)), [9; 32][..].into())
    );
    write(&store, move |tx| tx.node_set_quarantine(id, None, None));
    let found = read(&store, move |tx| tx.node_get(id)).unwrap();
    assert_eq!((found.quarantine, found.machine_fingerprint), (None, [9; 32][..].into()));
    let only = Kept { instance: seen.instance, serials: vec!["1".into(), "2".into()] };
    let kept = only.clone();
    write(&store, move |tx| tx.node_set_kept(id, Some(&kept)));
    assert_eq!(read(&store, move |tx| tx.node_get(id)).unwrap().kept, Some(Box::new(only)));
    write(&store, move |tx| tx.node_set_kept(id, None));
    assert_eq!(read(&store, move |tx| tx.node_get(id)).unwrap().kept, None);
    write(&store, move |tx| tx.node_set_own_since(id, NOW));
    assert_eq!(read(&store, move |tx| tx.node_get(id)).unwrap().own_since, NOW);
    let nobody = muster_common::ids::NodeId::from_u128(99);
    let missing = write(&store, move |tx| {
        tx.audit(note("node/99"))?;
        tx.node_set_recoveries(nobody, 1)
    });
    assert!(!missing.value);
}

pub(crate) fn nodes_are_counted_by_what_they_hold_and_acknowledged(database: &impl Database) {
    let store = database.open();
    let of_slot = |issuer: u32| Issued { issuer, ..issued(u64::from(issuer)) };
    let states = [State::Online, State::Late, State::Offline, State::Unknown, State::Quarantined];
    let kinds = states.into_iter().flat_map(|state| [(state, 1), (state, 2), (state, 3)]);
    for (number, (state, held)) in (1..).zip(kinds) {
        let next = (held == 3).then(|| Box::new(of_slot(1)));
        let certificate = NodeCertificate { current: of_slot(held.min(2)), next };
        let liveness = Liveness { state, since: NOW, reason: "X".into() };
        let node = Node { certificate, liveness, ..node(number) };
        let id = node.id;
        write(&store, move |tx| tx.node_insert(&node));
        report(&store, move |tx| tx.node_set_trust_bundle(id, u64::from(held)));
    }
    let locked = node(1).id;
    let quarantine = Quarantine { reason: Suspicion::ByOperator, since: NOW, seen: Vec::new(), newest: None };
    write(&store, move |tx| tx.node_set_quarantine(locked, Some(&quarantine), None));
    let prepared = Authority::first(slot(1)).prepare(slot(2)).unwrap();
    let activated = prepared.go(Move::Activate, &Progress::default(), true, NOW).unwrap();
    for authority in [Authority::first(slot(1)), prepared, activated] {
        let mut expected = Progress::begin(&authority, &[], true);
        for node in read(&store, |tx| tx.node_all()) {
            expected.count(&authority, &node, node.liveness.state);
        }
        let (asked, begun) = (authority.clone(), Progress::begin(&authority, &[], true));
        let found = read(&store, move |tx| tx.authority_progress(&asked, begun));
        assert_eq!(found, expected);
        assert_eq!(found.live, 5, "of six one is in quarantine");
        let is_beside = authority.phase() != Phase::Steady;
        assert_eq!(found.on_previous.live.count + found.on_next.live.count > 0, is_beside);
    }
}

pub(crate) fn keys_of_slots_are_kept_while_they_are_trusted(database: &impl Database) {
    let store = database.open();
    let secret = |number: u128, key: &str| Secret {
        id: muster_common::ids::SecretId::from_u128(number),
        key_id: key.to_owned(),
        sealed: vec![0, 255, 7],
    };
    let prepared = Authority::first(slot(1)).prepare(slot(2)).unwrap();
    let (kept, keys) = (prepared.clone(), [secret(1, "old"), secret(2, "old")]);
    write(&store, move |tx| {
        tx.authority_put(&kept)?;
        (1..).zip(&keys).try_for_each(|(slot, key)| tx.authority_key_put(slot, key))
    });
    let renewed = secret(3, "new");
    write(&store, move |tx| tx.authority_key_put(1, &renewed));
    let found = || [1, 2].map(|slot| read(&store, move |tx| tx.authority_key(slot)));
    assert_eq!(found(), [Some(secret(3, "new")), Some(secret(2, "old"))]);
    let activated = prepared.go(Move::Activate, &Progress::default(), true, NOW).unwrap();
    let retired = activated.go(Move::Retire, &Progress::default(), true, NOW).unwrap();
    write(&store, move |tx| tx.authority_put(&activated));
    assert!(found().iter().all(Option::is_some), "a step back is possible");
    write(&store, move |tx| tx.authority_put(&retired));
    assert_eq!(found(), [None, Some(secret(2, "old"))]);
    let nobody = secret(4, "new");
    let missing = store.write_blocking::<_, Error, _>(stamp(), move |tx| {
        tx.audit(note("authority"))?;
        tx.authority_key_put(9, &nobody)
    });
    assert!(matches!(missing, Err(Error::Constraint(_))), "{missing:?}");
}
