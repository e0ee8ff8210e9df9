use muster_common::{
    clock::UnixMillis,
    generation::Generation,
    ids::{InstanceId, NodeId, ReplicaId, SessionId},
};
use muster_domain::{
    condition::Condition,
    replica::{Replica, Silent},
    session::{HeldBy, Told},
    sighting::Sighting,
};
use muster_store::{
    Change, ChangeKind, ReadChanges as _, ReadNodeSessions as _, ReadNodes as _, ReadReplicas as _,
    WriteNodeSessions as _, WriteNodes as _, WriteReplicas as _,
};

use crate::{
    harness::{Database, NOW, read, report, write},
    samples::node,
};

fn replica(number: u128, beat: u64) -> Replica {
    Replica {
        name: format!("r{number}"),
        id: ReplicaId::from_u128(number),
        version: "1.2.3".to_owned(),
        started_at: NOW,
        beat,
        beat_at: UnixMillis(NOW.0 + beat.cast_signed()),
        addresses: vec!["10.0.0.1:8443".to_owned(), "[::1]:8443".to_owned()],
        sessions: 7,
        revision: 9,
        leads: number == 1,
    }
}

fn held(replica: u128, session: u128) -> HeldBy {
    let sighting = Sighting {
        instance: InstanceId::from_u128(5),
        boot_id: "boot".to_owned(),
        machine_fingerprint: vec![1, 2, 3],
        remote: [192, 0, 2, 1].into(),
        at: NOW,
        serial: "0a".to_owned(),
    };
    let condition = Condition {
        kind: "ClockOk".to_owned(),
        holds: Some(false),
        reason: "Behind".to_owned(),
        message: "by \"an\" hour\n".to_owned(),
        since: NOW,
    };
    let session = Told {
        id: SessionId::from_u128(session),
        sighting,
        remote: ([192, 0, 2, 1], 4711).into(),
        key_exchange: "X25519MLKEM768".to_owned(),
        newest: Generation::new(1, 4),
        capabilities: vec!["bundle".to_owned()],
        agent_version: "1.0.0".to_owned(),
        since: NOW,
        conditions: vec![condition],
    };
    HeldBy { replica: ReplicaId::from_u128(replica), session: Some(session) }
}

fn id(number: u128) -> NodeId {
    node(number).id
}

pub(crate) fn replicas_beat_end_and_are_lost_by_their_last_beat(database: &impl Database) {
    let store = database.open();
    let before = write(&store, |tx| tx.replica_put(&replica(2, 1))).revision;
    let after = report(&store, |tx| {
        tx.replica_put(&replica(1, 1))?;
        tx.replica_put(&replica(2, 2))
    });
    assert_eq!(after.revision, before, "a beat is on no feed");
    assert_eq!(read(&store, |tx| tx.replica_all()), [replica(1, 1), replica(2, 2)]);
    // Of its own name another run takes the place.
    let other = Replica { name: "r2".to_owned(), ..replica(3, 1) };
    let other_run = other.clone();
    report(&store, move |tx| tx.replica_put(&other_run));
    assert_eq!(read(&store, |tx| tx.replica_all()), [replica(1, 1), other]);
    let lose =
        |beat| write(&store, move |tx| tx.replica_lose(Silent { id: ReplicaId::from_u128(1), beat })).value;
    assert!(!lose(0), "it has beaten since");
    assert!(lose(1));
    report(&store, |tx| tx.replica_end(ReplicaId::from_u128(3)));
    assert_eq!(read(&store, |tx| tx.replica_all()), []);
}

pub(crate) fn nodes_are_held_by_one_and_free_when_it_is_lost(database: &impl Database) {
    let store = database.open();
    for number in 1..=3 {
        write(&store, move |tx| tx.node_insert(&node(number)));
    }
    let first = report(&store, |tx| {
        tx.replica_put(&replica(1, 1))?;
        tx.node_session_put(id(1), &held(1, 10))?;
        tx.node_session_put(id(2), &held(1, 20))?;
        tx.node_session_put(id(99), &held(1, 30)) // a node that is no more
    })
    .revision;
    // The second one moves to another replica, of which the first one's word counts no more.
    let moved = report(&store, |tx| tx.node_session_put(id(2), &held(2, 21))).revision;
    report(&store, |tx| tx.node_session_end(id(2), ReplicaId::from_u128(1)));
    let all = read(&store, |tx| tx.node_session_all());
    assert_eq!(all, [(id(1), held(1, 10)), (id(2), held(2, 21))]);
    assert_eq!(read(&store, |tx| tx.node_session_get(id(2))), Some(held(2, 21)));
    assert_eq!(read(&store, |tx| tx.node_session_get(id(3))), None);
    let taken = |replica, after| {
        read(&store, move |tx| tx.node_session_taken_by_others(ReplicaId::from_u128(replica), after))
    };
    assert_eq!(taken(1, first), [(id(2), moved)]);
    assert_eq!(taken(2, first), []);
    assert_eq!(taken(1, moved), []);

    let lost = write(&store, |tx| tx.replica_lose(Silent { id: ReplicaId::from_u128(1), beat: 1 })).revision;
    assert_eq!(read(&store, |tx| tx.node_session_all()), [(id(2), held(2, 21))]);
    let on_the_feed = read(&store, move |tx| tx.changes_since(lost - 1, 10));
    let freed = Change { revision: lost, kind: ChangeKind::NodeSession, id: id(1).to_string() };
    assert_eq!(on_the_feed, [freed]);
    let stray = held(7, 70);
    report(&store, move |tx| tx.node_session_put(id(3), &stray));
    report(&store, |tx| tx.replica_put(&replica(2, 1)));
    let tidied = report(&store, |tx| tx.replica_free_strays()).revision;
    assert_eq!(read(&store, |tx| tx.node_session_all()), [(id(2), held(2, 21))]);
    assert_eq!(report(&store, |tx| tx.replica_free_strays()).revision, tidied, "nothing is left to free");
    // One that has ended is none, and the node is held all the same.
    let waits = HeldBy { session: None, ..held(2, 21) };
    let waiting = waits.clone();
    report(&store, move |tx| tx.node_session_put(id(2), &waiting));
    assert_eq!(read(&store, |tx| tx.node_session_get(id(2))), Some(waits));
    // With its node it goes, too.
    write(&store, |tx| tx.node_delete(id(2)));
    assert_eq!(read(&store, |tx| tx.node_session_all()), []);
}

pub(crate) fn what_nodes_tell_is_read_from_one_revision_to_another(database: &impl Database) {
    let store = database.open();
    let mut start = 0;
    for number in 1..=4 {
        start = write(&store, move |tx| tx.node_insert(&node(number))).revision;
    }
    let liveness = node(2).liveness;
    let reported = report(&store, move |tx| tx.node_set_liveness(id(2), &liveness).map(drop)).revision;
    let edited = write(&store, |tx| tx.node_edit(id(3), "another", &node(3).labels)).revision;
    let held_since = report(&store, |tx| tx.node_session_put(id(4), &held(1, 40))).revision;
    let told = |from, upto| {
        let (nodes, sessions) =
            read(&store, move |tx| Ok((tx.node_told(from, upto)?, tx.node_session_told(from, upto)?)));
        let sessions: Vec<NodeId> = sessions.into_iter().map(|(node, _)| node).collect();
        (nodes, sessions)
    };
    let whole = |number| read(&store, move |tx| tx.node_get(id(number))).unwrap();
    assert_eq!(told(start, held_since), (vec![whole(2), whole(4)], vec![id(4)]));
    assert_eq!(told(start, reported), (vec![whole(2)], vec![]));
    assert_eq!(told(reported, edited), (vec![], vec![]), "what operators edit is told otherwise");
    assert_eq!(told(held_since, held_since), (vec![], vec![]));
}
