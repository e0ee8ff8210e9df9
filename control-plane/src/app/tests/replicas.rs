//! Two replicas on one store: what one of them is told, the other one knows.

mod away;
mod keys;
mod losses;
mod taken;

use std::time::Duration;

use futures_util::StreamExt as _;
use muster_common::{ids::NodeId, reason::Reason};
use muster_domain::{
    command::{Command, State},
    condition::Condition,
    liveness,
    replica::{BEAT, LEADS_FOR, LEASE},
    sighting::Suspicion,
};

use super::{
    bench::{Bench, NOW, hello, ledger, said, whole},
    sessions::session,
};
use crate::{
    app::fleet::Holder,
    session::{
        frames::{Heartbeat, Hello, Load, Outbound, Refusal},
        hub::Handle,
        ports::{Closed, Inbox as _},
        reactor::Frame,
    },
};

async fn node(pair: &(Bench, Bench)) -> NodeId {
    let id = pair.0.node(1).await;
    pair.1.app.follow().await.unwrap();
    id
}

/// All that waits is written, and both know it.
async fn settle(pair: &(Bench, Bench)) {
    for bench in [&pair.0, &pair.1] {
        bench.app.record().await.unwrap();
    }
    for bench in [&pair.0, &pair.1] {
        bench.app.follow().await.unwrap();
    }
}

/// An order for every node, from the replica that is asked.
async fn order(bench: &Bench) -> Command {
    let follow = async {
        loop {
            bench.app.follow().await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        mut orders = bench.ordered() => orders.remove(0),
        () = follow => unreachable!(),
    }
}

fn state(bench: &Bench, id: NodeId) -> liveness::State {
    let entry = bench.app.fleet.get(id).unwrap();
    let entry = entry.lock();
    assert_eq!(entry.tracker.state(), entry.node.liveness.state);
    entry.tracker.state()
}

/// Time passes: the store needs a moment of the real one, which goes on afterwards.
pub(super) async fn wait(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Time passes, and these beat meanwhile.
async fn pass(time: Duration, beating: &[&Bench]) {
    let mut left = time;
    while !left.is_zero() {
        let step = left.min(BEAT);
        wait(step).await;
        for bench in beating {
            bench.app.beat().await.unwrap();
            bench.app.follow().await.unwrap();
        }
        left -= step;
    }
}

fn silence() -> Heartbeat {
    Heartbeat { seq: 1, state_hash: None, load: Load::default(), conditions: Vec::new() }
}

fn greeting() -> Hello {
    Hello { capabilities: vec!["run-script".to_owned()], ..hello(ledger(1, 1)) }
}

fn connect(bench: &Bench, id: NodeId) -> Handle {
    bench.hello(id, &greeting()).unwrap().0
}

#[tokio::test]
async fn what_a_node_tells_one_replica_every_replica_shows() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    let session = connect(&pair.0, id);
    let condition = Condition {
        kind: "ClockOk".to_owned(),
        holds: Some(false),
        reason: "Behind".to_owned(),
        message: String::new(),
        since: NOW,
    };
    let beat = Heartbeat { conditions: vec![condition.clone()], ..silence() };
    pair.0.app.heard(&session, beat);
    settle(&pair).await;
    pair.1.app.beat().await.unwrap();
    let (here, there) = (pair.0.app.node(&whole(), id).unwrap(), pair.1.app.node(&whole(), id).unwrap());
    assert_eq!(there.node, here.node);
    assert_eq!((here.replica.as_deref(), there.replica.as_deref()), (Some("a"), Some("a")));
    let session_of = |view: &crate::app::nodes::View| {
        view.live.as_ref().map(|live| (live.session, live.remote, live.capabilities.clone()))
    };
    assert_eq!(session_of(&there), session_of(&here));
    assert_eq!(there.conditions, [condition]);
    assert_eq!(state(&pair.1, id), liveness::State::Online);
    // It is the holder that says when it is gone, and nobody else.
    pass(Duration::from_secs(3600), &[]).await;
    pair.1.app.sweep(None);
    assert_eq!(state(&pair.1, id), liveness::State::Online);
    pair.0.app.closed(&session, &Closed::Goodbye(liveness::Closed::Stopped));
    settle(&pair).await;
    assert_eq!([state(&pair.0, id), state(&pair.1, id)], [liveness::State::Offline; 2]);
    let view = pair.1.app.node(&whole(), id).unwrap();
    assert_eq!((view.live.is_none(), view.replica), (true, None));
}

#[tokio::test]
async fn one_that_starts_later_knows_where_all_are() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    let session = connect(&pair.0, id);
    settle(&pair).await;
    let late = pair.0.beside("c").await;
    assert_eq!(state(&late, id), liveness::State::Online);
    let view = late.app.node(&whole(), id).unwrap();
    assert_eq!((view.live.unwrap().session, view.replica.as_deref()), (session.id(), Some("a")));
    // Its stream broke: it is waited for, and has no session.
    pair.0.app.closed(&session, &Closed::Lost);
    pair.0.app.record().await.unwrap();
    late.app.follow().await.unwrap();
    assert_eq!(state(&late, id), liveness::State::Late);
    assert!(late.app.node(&whole(), id).unwrap().live.is_none());
    let later = pair.0.beside("d").await;
    assert_eq!(state(&later, id), liveness::State::Late);
}

#[tokio::test]
async fn a_node_that_moves_is_held_by_the_other_one_and_its_old_session_says_nothing_more() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    let mut old = session(&pair.0.app, id);
    assert!(matches!(old.next().await, Some(Ok(Frame { body: Outbound::Welcome(_), .. }))));
    settle(&pair).await;
    let session_there = connect(&pair.1, id);
    pair.1.app.record().await.unwrap();
    // The first one has something to write of it, and does not know yet that it is another's.
    pair.0.app.fleet.with(id, |mut entry| {
        let now = pair.0.app.clock.monotonic() + Duration::from_secs(100);
        pair.0.app.observe(&mut entry, liveness::Event::Tick, now);
    });
    assert_eq!(state(&pair.0, id), liveness::State::Late);
    pair.0.app.record().await.unwrap();
    assert_eq!(pair.0.stored(id).await.liveness.state, liveness::State::Online);
    assert!(matches!(old.next().await, Some(Err(Refusal { reason: Reason::Fenced, .. }))));
    drop(old);
    settle(&pair).await;
    assert_eq!([state(&pair.0, id), state(&pair.1, id)], [liveness::State::Online; 2]);
    let holder = pair.0.app.fleet.with(id, |entry| entry.holder).unwrap();
    assert_eq!(holder, Holder::Other(pair.1.app.replicas.id()));
    assert_eq!(pair.1.app.fleet.with(id, |entry| entry.is_live(session_there.id())), Some(true));
    let heard = [&pair.0, &pair.1].map(|it| it.app.node(&whole(), id).unwrap().last_heard.is_some());
    assert_eq!(heard, [false, true], "who has it knows when it was heard, and nobody else says so");
}

#[tokio::test]
async fn a_node_comes_back_to_the_replica_that_it_left() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    for bench in [&pair.0, &pair.1, &pair.0, &pair.0, &pair.1] {
        connect(bench, id);
        settle(&pair).await;
        let holders = [&pair.0, &pair.1].map(|it| it.app.fleet.with(id, |entry| entry.holder).unwrap());
        let ours = holders.iter().filter(|holder| **holder == Holder::Us).count();
        assert_eq!(ours, 1, "{holders:?}");
        assert_eq!(bench.app.fleet.with(id, |entry| entry.holder), Some(Holder::Us));
        assert_eq!([state(&pair.0, id), state(&pair.1, id)], [liveness::State::Online; 2]);
    }
    let quarantine = pair.0.stored(id).await.quarantine;
    assert_eq!(quarantine, None, "one process that wanders is no twin");
}

#[tokio::test]
async fn two_hosts_with_one_identity_are_noticed_though_each_speaks_with_another_replica() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    let twin =
        |instance| Hello { instance: muster_common::ids::InstanceId::from_u128(instance), ..greeting() };
    pair.0.hello(id, &twin(1)).unwrap();
    settle(&pair).await;
    pair.1.hello(id, &twin(2)).unwrap();
    settle(&pair).await;
    pair.0.hello(id, &twin(1)).unwrap();
    let noticed = || pair.0.app.fleet.with(id, |entry| entry.node.quarantine.as_ref().map(|it| it.reason));
    assert_eq!(noticed().unwrap(), Some(Suspicion::TwoProcesses));
}

#[tokio::test]
async fn nodes_of_a_replica_that_is_lost_are_unknown_and_then_offline() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    connect(&pair.1, id);
    settle(&pair).await;
    assert!(pair.0.app.leads() && !pair.1.app.leads());
    pass(LEASE - BEAT, &[&pair.0]).await;
    assert_eq!(state(&pair.0, id), liveness::State::Online, "its lease is not over yet");
    pass(BEAT * 2, &[&pair.0]).await;
    assert_eq!(state(&pair.0, id), liveness::State::Unknown);
    assert_eq!(pair.0.app.replicas.all().len(), 1);
    assert_eq!(pair.0.stored(id).await.liveness.state, liveness::State::Online, "nobody has judged it");
    let grace = pair.0.app.liveness_limits().away;
    pass(grace, &[&pair.0]).await;
    pair.0.app.sweep(None);
    pair.0.app.record().await.unwrap();
    let stored = pair.0.stored(id).await.liveness;
    assert_eq!((stored.state, &*stored.reason), (liveness::State::Offline, "DidNotReturn"));
}

#[tokio::test]
async fn a_replica_that_was_said_to_be_lost_takes_its_nodes_again_but_none_that_went_elsewhere() {
    let pair = Bench::pair().await;
    let (stays, moves) = (node(&pair).await, pair.0.node(2).await);
    pair.1.app.follow().await.unwrap();
    for id in [stays, moves] {
        connect(&pair.1, id);
    }
    settle(&pair).await;
    pass(LEASE + BEAT, &[&pair.0]).await;
    assert_eq!(state(&pair.0, stays), liveness::State::Unknown);
    connect(&pair.0, moves);
    pair.0.app.record().await.unwrap();
    // It was cut off from the store, and comes back.
    pair.1.app.beat().await.unwrap();
    settle(&pair).await;
    let holder = |bench: &Bench, id| bench.app.fleet.with(id, |entry| entry.holder).unwrap();
    assert_eq!(holder(&pair.1, stays), Holder::Us);
    assert_eq!(holder(&pair.0, stays), Holder::Other(pair.1.app.replicas.id()));
    assert_eq!([state(&pair.0, stays), state(&pair.1, stays)], [liveness::State::Online; 2]);
    assert_eq!(holder(&pair.0, moves), Holder::Us);
    assert_eq!(holder(&pair.1, moves), Holder::Other(pair.0.app.replicas.id()));
}

#[tokio::test]
async fn one_leads_and_another_one_when_it_ends_or_cannot_beat() {
    let pair = Bench::pair().await;
    assert!(pair.0.app.leads() && !pair.1.app.leads());
    wait(LEADS_FOR).await;
    assert!(!pair.0.app.leads(), "it does not know any more whether others have it for lost");
    pair.0.app.beat().await.unwrap();
    assert!(pair.0.app.leads());
    pair.0.app.leave_replicas().await.unwrap();
    pair.1.app.beat().await.unwrap();
    assert!(pair.1.app.leads());
}

#[tokio::test]
async fn who_has_the_name_of_a_newer_process_ends() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    connect(&pair.0, id);
    settle(&pair).await;
    let newer = pair.0.beside("a").await;
    // What the former one held is nobody's, until it comes.
    assert_eq!(state(&newer, id), liveness::State::Unknown);
    let refused = pair.0.app.beat().await.unwrap_err().to_string();
    assert!(refused.contains("\"a\""), "{refused}");
    let over = tokio::time::timeout(Duration::from_secs(5), pair.0.app.replicas.over()).await.unwrap();
    assert!(over.contains("its own name"), "{over}");
    newer.app.beat().await.unwrap();
    assert!(newer.app.leads());
}

#[tokio::test]
async fn an_order_reaches_its_node_wherever_that_is() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    let session = connect(&pair.1, id);
    settle(&pair).await;
    let order = order(&pair.0).await;
    assert_eq!(order.state, State::Queued, "the one that was asked does not have its node");
    pair.1.app.follow().await.unwrap();
    pair.1.app.hand_out().await.unwrap();
    assert_eq!(pair.0.command(&order).await.state, State::Delivered);
    pair.1.app.command(&session, said(&order, 1, State::Running)).unwrap();
    pair.1.app.command(&session, said(&order, 2, State::Succeeded)).unwrap();
    settle(&pair).await;
    assert_eq!(pair.0.command(&order).await.state, State::Succeeded);
    let open = |bench: &Bench| bench.app.fleet.with(id, |entry| entry.tickets.len()).unwrap();
    assert_eq!([open(&pair.0), open(&pair.1)], [0, 0]);
}

#[tokio::test]
async fn an_order_that_was_handed_to_a_session_that_is_over_is_given_to_the_one_that_is() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    let order = order(&pair.0).await;
    assert_eq!(order.state, State::Queued);
    connect(&pair.0, id);
    settle(&pair).await;
    // It went, and the first one does not know that yet.
    let session = connect(&pair.1, id);
    pair.1.app.record().await.unwrap();
    pair.0.app.hand_out().await.unwrap();
    assert_eq!(pair.0.command(&order).await.state, State::Delivered);
    pair.1.app.follow().await.unwrap();
    let given: Vec<_> = crate::session::ports::Desk::tickets(&pair.1.app, &session);
    assert_eq!(given.iter().map(|ticket| ticket.id).collect::<Vec<_>>(), [order.id]);
}

#[tokio::test]
async fn who_cannot_ask_the_store_takes_nothing_from_a_node_that_others_may_have_given() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    connect(&pair.0, id);
    settle(&pair).await;
    let order = order(&pair.0).await;
    // The second one knows nothing of the order.
    let open = crate::session::frames::OpenCommand { id: order.id, state: Some(State::Delivered) };
    let held = Hello { open_commands: vec![open], ..greeting() };
    let withdrawn = |is_unsure| {
        let line = crate::session::line::Line::default();
        let handle = Handle::new(id, line.clone());
        let caller = crate::session::frames::Caller {
            node: id,
            serial: "1".to_owned(),
            remote: ([127, 0, 0, 1], 1).into(),
            key_exchange: "X25519",
            line,
            is_unsure,
        };
        pair.1.app.opened(&handle, &caller, &held, 1).unwrap().welcome.withdrawn
    };
    assert_eq!(withdrawn(true), []);
    assert_eq!(withdrawn(false), [order.id]);
    pair.1.app.follow().await.unwrap();
    assert_eq!(withdrawn(false), [], "it is open");
}

#[tokio::test]
async fn how_far_a_ledger_is_every_replica_knows() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    let session = connect(&pair.0, id);
    settle(&pair).await;
    let order = order(&pair.0).await;
    let running = crate::session::frames::CommandReport { ledger_seq: 7, ..said(&order, 1, State::Running) };
    pair.0.app.command(&session, running).unwrap();
    settle(&pair).await;
    assert_eq!(pair.1.app.fleet.with(id, |entry| entry.node.ledger), Some(Some(ledger(1, 7))));
    // The host is set back to before it ran: nothing that was delivered runs again.
    pair.1.hello(id, &Hello { ledger: ledger(1, 3), ..greeting() }).unwrap();
    settle(&pair).await;
    assert_eq!(pair.1.command(&order).await.state, State::Interrupted);
}

#[tokio::test]
async fn a_session_that_is_over_takes_no_node_from_a_newer_one() {
    let pair = Bench::pair().await;
    let id = node(&pair).await;
    let holder = |bench: &Bench| bench.app.fleet.with(id, |entry| entry.holder).unwrap();
    // The first one could not write for a while: its session began and ended, and then came the other.
    for is_closed in [true, false] {
        let old = connect(&pair.0, id);
        if is_closed {
            pair.0.app.closed(&old, &Closed::Lost);
        }
        let new = connect(&pair.1, id);
        pair.1.app.record().await.unwrap();
        pair.0.app.record().await.unwrap();
        settle(&pair).await;
        assert_eq!(holder(&pair.1), Holder::Us, "closed: {is_closed}");
        assert_eq!(holder(&pair.0), Holder::Other(pair.1.app.replicas.id()));
        assert_eq!(pair.1.app.fleet.with(id, |entry| entry.is_live(new.id())), Some(true));
    }
}
