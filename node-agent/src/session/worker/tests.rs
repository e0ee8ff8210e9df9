use std::collections::VecDeque;

use muster_common::{
    digest::Sha256,
    generation::Generation,
    ids::{CommandId, InstanceId, LedgerId, OperationId},
    reason::Reason,
};
use tokio::{
    sync::mpsc,
    time::{Duration, timeout},
};

use super::*;
use crate::{
    dial,
    session::{
        frames::{
            Ack, Body, Desired, FactsReport, Heartbeat, Inbound, Introduction, Need, OpenCommand, Reconnect,
            Tune, Welcome,
        },
        ports::Changes,
        transport::memory::{Memory, Peer},
    },
    state::{
        Chunk, CommandState, Condition, Facts, ItemState, ItemVersion, Load, Offer, Outcome, Report, Ticket,
    },
};

/// A host that does at once what it is told.
struct Fake {
    items: Vec<ItemState>,
    command: Option<(OpenCommand, Vec<Report>)>,
    news: VecDeque<Changes>,
    later: mpsc::Receiver<Changes>,
    orders: mpsc::UnboundedSender<Order>,
}

impl Host for Fake {
    async fn introduce(&mut self) -> Introduction {
        Introduction {
            ledger: (LedgerId::from_u128(1), 1),
            boot_id: "boot".to_owned(),
            machine_fingerprint: Sha256::ZERO,
            capabilities: vec!["bundle".to_owned()],
            newest: muster_common::generation::Generation::default(),
            epoch: 0,
            certificate_generation: 1,
            trust_bundle_version: 1,
            sealing_public_key: Vec::new(),
            facts_sha256: Sha256::ZERO,
            items: self.items.clone(),
            commands: self.commands().await,
        }
    }

    fn addresses(&self) -> Vec<String> {
        vec!["there:1".to_owned(), "there:2".to_owned()]
    }

    fn beat(&mut self) -> (Load, Vec<Condition>) {
        (Load::default(), Vec::new())
    }

    fn facts(&mut self) -> FactsReport {
        FactsReport { facts: Facts::default(), sha256: Sha256::ZERO }
    }

    fn items(&mut self) -> Vec<ItemState> {
        self.items.clone()
    }

    async fn commands(&mut self) -> Vec<OpenCommand> {
        self.command.iter().map(|(open, _)| *open).collect()
    }

    async fn reports(&mut self, _: CommandId, after: u64, bytes: usize) -> Vec<Report> {
        let mut room = bytes;
        let all = self.command.iter().flat_map(|(_, reports)| reports);
        let fits = all.filter(|report| report.seq > after).take_while(|report| {
            let fits = report.output_bytes() <= room;
            room = room.saturating_sub(report.output_bytes());
            fits
        });
        fits.cloned().collect()
    }

    async fn changed(&mut self) -> Changes {
        match self.news.pop_front() {
            Some(news) => news,
            None => self.later.recv().await.unwrap_or_default(),
        }
    }

    async fn take(&mut self, order: Order) {
        if let Order::Desired(desired) = &order {
            for offer in &desired.offers {
                self.items = vec![applied(offer)];
            }
            self.news.push_back(Changes { items: true, ..Changes::default() });
        }
        let _ = self.orders.send(order);
    }
}

fn applied(offer: &Offer) -> ItemState {
    ItemState {
        item: offer.item.clone(),
        running: Some(offer.version.clone()),
        attempted: Some(offer.version.clone()),
        outcome: Outcome::Applied,
        error: None,
        changed_at: UnixMillis(1),
        drift: Vec::new(),
        progress: None,
        health: None,
    }
}

struct Lab {
    /// First and longest wait between tries.
    reconnect: watch::Sender<(Duration, Duration)>,
    /// What changes on the host.
    news: mpsc::Sender<Changes>,
    peers: mpsc::Receiver<Peer>,
    orders: mpsc::UnboundedReceiver<Order>,
    stop: watch::Sender<Stop>,
    status: watch::Receiver<Status>,
    line: Line,
    end: tokio::task::JoinHandle<Why>,
}

fn lab(command: Option<(OpenCommand, Vec<Report>)>) -> Lab {
    lab_with(Vec::new(), command)
}

#[allow(clippy::disallowed_methods)] // a test's own task and queues
fn lab_with(items: Vec<ItemState>, command: Option<(OpenCommand, Vec<Report>)>) -> Lab {
    let (orders, told) = mpsc::unbounded_channel();
    let (streams, peers) = mpsc::channel(4);
    let (stop, stopped) = watch::channel(Stop::No);
    let (news, later) = mpsc::channel(4);
    let (reconnect, waits) = watch::channel((Duration::from_secs(1), Duration::from_secs(60)));
    let line = Line::default();
    let host = Fake { items, command, news: VecDeque::new(), later, orders };
    let options = Options {
        instance: InstanceId::generate(),
        clock: Clock::System,
        reconnect: waits,
        stop: stopped,
        line: line.clone(),
    };
    let (worker, status) = Worker::new(host, Memory(streams), options);
    Lab { reconnect, news, peers, orders: told, stop, status, line, end: tokio::spawn(worker.run()) }
}

const INTERVAL: Duration = Duration::from_secs(15);

fn tune() -> Tune {
    Tune {
        heartbeat_interval: INTERVAL,
        heartbeat_jitter: Duration::from_secs(1),
        reconnect_min: Duration::from_secs(1),
        reconnect_max: Duration::from_secs(60),
        display_name: String::new(),
    }
}

fn welcome() -> Body {
    Body::Welcome(Box::new(Welcome {
        epoch: 7,
        server_time: UnixMillis(0),
        tune: tune(),
        max_message_bytes: 256 * 1024,
        max_output_bytes: 0,
        need: Need { facts: true, items: false },
        display_name: "web-1".to_owned(),
        withdrawn: Vec::new(),
    }))
}

impl Peer {
    async fn say(&self, body: Body) {
        let session = Some(SessionId::from_u128(1));
        self.say.send(Ok(Inbound { session, body })).await.unwrap();
    }

    async fn hear(&mut self) -> Outbound {
        timeout(Duration::from_secs(120), self.heard.recv()).await.expect("it speaks").expect("it is there")
    }

    async fn hear_until<T>(&mut self, pick: impl Fn(Outbound) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(self.hear().await) {
                return found;
            }
        }
    }
}

impl Lab {
    /// The next stream, with Hello heard and Welcome said.
    async fn open(&mut self) -> Peer {
        let mut peer = self.peers.recv().await.expect("a stream is opened");
        assert!(matches!(peer.hear().await, Outbound::Hello(_)));
        peer.say(welcome()).await;
        peer
    }

    /// As `open`; and the agent has seen it.
    async fn opened(&mut self) -> Peer {
        let peer = self.open().await;
        self.status.wait_for(|status| matches!(status, Status::Connected { .. })).await.unwrap();
        peer
    }
}

fn beat(message: Outbound) -> Option<Heartbeat> {
    match message {
        Outbound::Heartbeat(beat) => Some(beat),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_in_order_at_the_rhythm_of_the_control_plane() {
    let mut lab = lab(None);
    let mut peer = lab.open().await;
    let facts = peer.hear_until(|message| matches!(message, Outbound::Facts(_)).then_some(())).await;
    assert_eq!(facts, (), "the facts were asked for");
    let first = peer.hear_until(beat).await;
    assert_eq!((first.seq, first.epoch), (1, 7));
    for seq in 2..6 {
        let before = Clock::System.monotonic();
        assert_eq!(peer.hear_until(beat).await.seq, seq);
        let waited = before.elapsed();
        assert!(
            waited >= INTERVAL - Duration::from_secs(1) && waited <= INTERVAL + Duration::from_secs(2),
            "{waited:?}"
        );
    }
    assert!(matches!(*lab.status.borrow(), Status::Connected { .. }));
}

#[tokio::test(start_paused = true)]
async fn who_is_tuned_again_and_again_still_beats() {
    let mut lab = lab(None);
    let mut peer = lab.open().await;
    peer.hear_until(beat).await;
    let before = Clock::System.monotonic();
    for _ in 0..5 {
        tokio::time::sleep(INTERVAL / 4).await;
        peer.say(Body::Tune(tune())).await; // as a new name is told
    }
    assert_eq!(peer.hear_until(beat).await.seq, 2);
    assert!(before.elapsed() < INTERVAL * 3 / 2, "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_became_of_items_is_told_before_a_heartbeat_relies_on_it() {
    let mut lab = lab(None);
    let mut peer = lab.open().await;
    let version =
        ItemVersion { generation: Generation::new(1, 5), version: "1".to_owned(), sha256: Sha256::of(b"x") };
    let offer = Offer {
        item: "bundle/a".to_owned(),
        version,
        payload: b"x".to_vec(),
        sealed: None,
        traceparent: String::new(),
    };
    peer.say(Body::Desired(Desired {
        nonce: "n1".to_owned(),
        offers: vec![offer.clone()],
        removals: vec![],
    }))
    .await;
    let report = peer
        .hear_until(|message| match message {
            Outbound::Items(report) => Some(report),
            _ => None,
        })
        .await;
    assert_eq!((report.nonce.as_str(), report.seq, report.items), ("n1", 1, vec![applied(&offer)]));
    let running = [("bundle/a", offer.version.generation, offer.version.sha256)];
    assert_eq!(peer.hear_until(beat).await.state_hash, muster_common::digest::state_hash(running));
}

#[tokio::test(start_paused = true)]
async fn output_keeps_to_its_credit() {
    let id = CommandId::from_u128(9);
    let piece = |seq| Report {
        output: Some(Chunk { stderr: false, data: vec![b'x'; 40_000], dropped: 0 }),
        ..Report::new(seq, CommandState::Running, UnixMillis(0))
    };
    let open = OpenCommand { id, state: CommandState::Running, acked: 0, last: 3 };
    let mut lab = lab(Some((open, vec![piece(1), piece(2), piece(3)])));
    let mut peer = lab.open().await;
    let next = |message| match message {
        Outbound::Command(report) => Some(report.report.seq),
        _ => None,
    };
    assert_eq!(peer.hear_until(next).await, 1);
    // No second piece fits into the credit: heartbeats go on, output does not.
    for _ in 0..2 {
        assert!(!matches!(peer.hear().await, Outbound::Command(_)));
    }
    peer.say(Body::Ack(Ack { items_seq: 0, commands: vec![(id, 1, 40_000)] })).await;
    assert_eq!(peer.hear_until(next).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_broken_session_is_opened_again_with_a_growing_wait() {
    let mut lab = lab(None);
    for _ in 0..3 {
        drop(lab.peers.recv().await.unwrap());
    }
    let peer = lab.open().await;
    lab.status.wait_for(|status| matches!(status, Status::Connected { .. })).await.unwrap();
    peer.say.send(Err(Error::Refused(refusal(Reason::Fenced)))).await.unwrap();
    lab.open().await;
}

fn refusal(reason: Reason) -> dial::Refusal {
    dial::Refusal {
        reason: Some(reason),
        message: "no".to_owned(),
        retry_after: Some(Duration::from_secs(5)),
        alert: false,
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_told_when_to_come_again_does_not_come_with_all_the_others() {
    let mut waits = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let mut lab = lab(None);
        let peer = lab.peers.recv().await.unwrap();
        let before = Clock::System.monotonic();
        peer.say.send(Err(Error::Refused(refusal(Reason::Overloaded)))).await.unwrap();
        lab.open().await;
        waits.insert(before.elapsed().as_millis());
    }
    assert!(waits.iter().all(|wait| *wait > 5000) && waits.len() > 4, "{waits:?}");
    let hours = Error::Refused(dial::Refusal {
        retry_after: Some(Duration::from_secs(100 * 3600)),
        ..refusal(Reason::Overloaded)
    });
    let mut lab = lab(None);
    let peer = lab.peers.recv().await.unwrap();
    let before = Clock::System.monotonic();
    peer.say.send(Err(hours)).await.unwrap();
    lab.open().await;
    assert!(before.elapsed() < Duration::from_secs(2 * 3600), "nobody can send it away for days");
}

#[tokio::test(start_paused = true)]
async fn a_removed_node_stops_and_a_revoked_one_goes_on_trying() {
    let mut one = lab(None);
    let peer = one.open().await;
    peer.say(Body::Removed("by an operator".to_owned())).await;
    assert_eq!(one.end.await.unwrap(), Why::Removed("by an operator".to_owned()));

    let mut two = lab(None);
    let peer = two.peers.recv().await.unwrap();
    peer.say.send(Err(Error::Refused(refusal(Reason::NodeRemoved)))).await.unwrap();
    assert!(matches!(two.end.await.unwrap(), Why::Removed(_)));

    let mut three = lab(None);
    let peer = three.peers.recv().await.unwrap();
    let before = Clock::System.monotonic();
    peer.say.send(Err(Error::Refused(refusal(Reason::CertificateRevoked)))).await.unwrap();
    three.open().await;
    assert!(before.elapsed() >= Duration::from_secs(5), "it waits as long as it was told to");
}

#[tokio::test(start_paused = true)]
async fn asked_to_stop_it_says_goodbye_and_why() {
    let mut lab = lab(None);
    let mut peer = lab.open().await;
    lab.status.wait_for(|status| matches!(status, Status::Connected { .. })).await.unwrap();
    lab.stop.send_replace(Stop::Say(Goodbye::Restart));
    let word = peer
        .hear_until(|message| match message {
            Outbound::Goodbye(word) => Some(word),
            _ => None,
        })
        .await;
    assert_eq!((word, lab.end.await.unwrap()), (Goodbye::Restart, Why::Stopped));
}

#[tokio::test(start_paused = true)]
async fn orders_reach_the_host_and_messages_of_another_session_do_not() {
    let mut lab = lab(None);
    let peer = lab.open().await;
    let ticket = Ticket {
        id: CommandId::from_u128(3),
        operation: OperationId::from_u128(4),
        kind: "refresh-facts".to_owned(),
        args: Vec::new(),
        not_before: None,
        deliver_by: UnixMillis(1),
        finish_by: None,
        lane: "db".to_owned(),
        trace: String::new(),
        traceparent: String::new(),
        came: None,
        epoch: 7,
    };
    peer.say(Body::Command { ticket: Box::new(ticket.clone()), credit: 5 }).await;
    assert!(matches!(lab.orders.recv().await, Some(Order::Welcome(_))));
    assert_eq!(lab.orders.recv().await, Some(Order::Command(Box::new(ticket))));
    let foreign = Inbound {
        session: Some(SessionId::from_u128(2)),
        body: Body::Cancel(CommandId::from_u128(3), false),
    };
    peer.say.send(Ok(foreign)).await.unwrap();
    lab.open().await;
    assert!(matches!(lab.orders.recv().await, Some(Order::Welcome(_))), "the cancel was not obeyed");
}

#[tokio::test(start_paused = true)]
async fn sessions_that_break_as_they_open_are_opened_less_and_less_often() {
    let mut lab = lab(None);
    let begun = Clock::System.monotonic();
    for _ in 0..9 {
        drop(lab.opened().await);
    }
    // At least a tenth of 1 + 2 + 4 + ... seconds; with a fresh start each time it would be 8 at most.
    assert!(begun.elapsed() >= Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn other_bounds_count_from_the_next_wait_on() {
    let mut lab = lab(None);
    for _ in 0..9 {
        drop(lab.peers.recv().await.unwrap()); // the waits have grown to a minute
    }
    lab.reconnect.send_replace((Duration::from_millis(100), Duration::from_millis(200)));
    drop(lab.peers.recv().await.unwrap()); // the wait that was under way
    let begun = Clock::System.monotonic();
    for _ in 0..5 {
        drop(lab.peers.recv().await.unwrap());
    }
    assert!(begun.elapsed() <= Duration::from_secs(1), "{:?}", begun.elapsed());
    lab.reconnect.send_replace((Duration::from_secs(50), Duration::from_secs(50)));
    drop(lab.peers.recv().await.unwrap());
    let begun = Clock::System.monotonic();
    drop(lab.peers.recv().await.unwrap());
    assert!(begun.elapsed() >= Duration::from_secs(5), "a tenth at least: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_always_wants_another_session_does_not_make_the_host_spin() {
    let mut lab = lab(None);
    let begun = Clock::System.monotonic();
    for _ in 0..9 {
        let peer = lab.opened().await;
        peer.say(Body::Reconnect(Reconnect::default())).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_come_later_while_it_speaks_comes_later() {
    let mut lab = lab(None);
    let mut peer = lab.peers.recv().await.unwrap();
    assert!(matches!(peer.hear().await, Outbound::Hello(_)));
    let begun = Clock::System.monotonic();
    // The facts that the welcome asks for reach nobody any more.
    peer.heard.close();
    peer.say(welcome()).await;
    let after = Duration::from_secs(200);
    peer.say(Body::Reconnect(Reconnect { after, ..Reconnect::default() })).await;
    lab.open().await;
    assert!(begun.elapsed() >= after, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn after_a_session_that_lasted_another_one_is_opened_soon() {
    let mut lab = lab(None);
    for _ in 0..6 {
        drop(lab.opened().await);
    }
    let mut peer = lab.opened().await;
    for _ in 0..2 {
        peer.hear_until(beat).await;
    }
    let before = Clock::System.monotonic();
    peer.say(Body::Reconnect(Reconnect::default())).await;
    lab.open().await;
    assert!(before.elapsed() <= Duration::from_secs(1), "{:?}", before.elapsed());
}

fn failed(n: usize) -> ItemState {
    let version =
        ItemVersion { generation: Generation::new(1, 5), version: "1".to_owned(), sha256: Sha256::of(b"x") };
    let error = crate::state::ItemError {
        reason: Reason::ProbeFailed,
        cause: crate::state::Cause::Content,
        message: "m".repeat(1024),
        output: vec![7; 4096],
    };
    let offer = Offer {
        item: format!("bundle/{n:03}"),
        version,
        payload: Vec::new(),
        sealed: None,
        traceparent: String::new(),
    };
    ItemState { outcome: Outcome::RolledBack, error: Some(error), ..applied(&offer) }
}

#[tokio::test(start_paused = true)]
async fn a_host_with_many_failed_items_can_greet_and_report() {
    use prost::Message as _;
    let mut lab = lab_with((0..150).map(failed).collect(), None);
    let mut peer = lab.peers.recv().await.unwrap();
    let fits =
        |message: &Outbound| crate::session::wire::outbound(message.clone()).encoded_len() <= 256 * 1024;
    let hello = peer.hear().await;
    assert!(fits(&hello));
    peer.say(welcome()).await;
    peer.say(Body::Need(Need { facts: false, items: true })).await;
    let mut whole = None;
    while whole.is_none() {
        let message = peer.hear().await;
        assert!(fits(&message));
        if let Outbound::Items(report) = message {
            assert!(report.complete);
            whole = Some(report.items.len());
        }
    }
    assert_eq!(whole, Some(150));
}

#[tokio::test(start_paused = true)]
async fn an_address_where_nobody_says_welcome_is_left_for_the_next() {
    let mut lab = lab(None);
    let first = lab.peers.recv().await.unwrap();
    let address = first.address.clone();
    drop(first);
    let second = lab.opened().await;
    let served = second.address.clone();
    let mut both = [address.as_str(), served.as_str()];
    both.sort_unstable();
    assert_eq!(both, ["there:1", "there:2"], "it begins with any of them");
    drop(second);
    assert_eq!(lab.open().await.address, served, "it had served us");
}

#[tokio::test(start_paused = true)]
async fn what_a_later_release_says_is_passed_over_and_the_session_goes_on() {
    let mut lab = lab(None);
    let mut peer = lab.open().await;
    let first = peer.hear_until(beat).await.seq;
    peer.say(Body::Unknown).await;
    peer.say(Body::Need(Need { facts: true, items: false })).await;
    peer.hear_until(|message| matches!(message, Outbound::Facts(_)).then_some(())).await;
    assert!(peer.hear_until(beat).await.seq > first, "in the same session");
}

#[tokio::test(start_paused = true)]
async fn facts_are_sent_when_asked_for_and_when_they_changed_and_not_else() {
    let is_facts = |message: &Outbound| matches!(message, Outbound::Facts(_));
    let mut lab = lab(None);
    let mut peer = lab.open().await;
    assert!(is_facts(&peer.hear().await), "Welcome asked for them");
    for seq in 1..10 {
        assert_eq!(beat(peer.hear().await).map(|beat| beat.seq), Some(seq), "nothing but heartbeats");
    }
    lab.news.send(Changes { facts: true, ..Changes::default() }).await.unwrap();
    assert!(is_facts(&peer.hear().await));
    for seq in 10..20 {
        assert_eq!(beat(peer.hear().await).map(|beat| beat.seq), Some(seq), "once for one change");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_asked_for_takes_the_place_of_the_open_one_and_is_told() {
    let mut lab = lab(None);
    let mut first = lab.opened().await;
    assert!(lab.line.is_open());
    let asked = lab.line.ask(Duration::from_secs(1));
    let goodbye = |message| matches!(message, Outbound::Goodbye(Goodbye::Reconnect)).then_some(());
    first.hear_until(goodbye).await;
    let second = lab.peers.recv().await.unwrap();
    assert!(!lab.line.has_answered(asked) && !lab.line.is_open(), "a connection is no session yet");
    second.say(welcome()).await;
    timeout(Duration::from_secs(1), lab.line.answer(asked)).await.expect("it is told at once");
    assert!(lab.line.is_open());
    drop(second);
    lab.status.wait_for(|status| matches!(status, Status::Waiting { .. })).await.unwrap();
    assert!(!lab.line.is_open());
}

#[tokio::test(start_paused = true)]
async fn who_asks_waits_neither_for_a_try_that_hangs_nor_for_a_long_backoff() {
    let mut lab = lab(None);
    let hangs = lab.peers.recv().await.unwrap();
    let start = Clock::System.monotonic();
    let asked = lab.line.ask(Duration::from_secs(1));
    for _ in 0..20 {
        drop(lab.peers.recv().await.unwrap());
    }
    let took = Clock::System.monotonic() - start;
    assert!(took <= Duration::from_secs(21), "{took:?}: no wait was longer than asked for");
    drop(hangs);
    let last = lab.peers.recv().await.unwrap();
    let full = dial::Refusal {
        reason: Some(Reason::Overloaded),
        message: String::new(),
        retry_after: None,
        alert: false,
    };
    last.say.send(Err(full.into())).await.unwrap();
    timeout(Duration::from_secs(1), lab.line.answer(asked)).await.expect("the way is open");
    assert!(!lab.line.is_open(), "though there is no session");
    lab.line.rest();
    drop(lab.peers.recv().await.unwrap());
    let soon = timeout(Duration::from_secs(2), lab.peers.recv()).await;
    assert!(soon.is_ok(), "haste has not made the backoff longer");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_answer_only_if_what_was_said_has_arrived() {
    let mut lab = lab(None);
    let asked = lab.line.ask(Duration::from_secs(1));
    for (reason, is_answer) in [(Reason::HelloMissing, false), (Reason::Quarantined, true)] {
        let peer = lab.peers.recv().await.unwrap();
        let refusal =
            dial::Refusal { reason: Some(reason), message: String::new(), retry_after: None, alert: false };
        peer.say.send(Err(refusal.into())).await.unwrap();
        lab.status.wait_for(|status| matches!(status, Status::Waiting { .. })).await.unwrap();
        assert_eq!(lab.line.has_answered(asked), is_answer, "{reason}");
    }
}
