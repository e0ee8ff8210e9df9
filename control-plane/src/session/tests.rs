use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use muster_common::{
    clock::{Clock, UnixMillis},
    digest::{Sha256, state_hash},
    generation::Generation,
    ids::{CommandId, InstanceId, LedgerId, NodeId, OperationId},
    reason::Reason,
    sealing::Sealed,
};
use muster_domain::{
    command::State,
    item::{ItemName, ItemState, ItemVersion, Outcome},
    liveness,
    node::LedgerMark,
};
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    frames::{
        Caller, CommandAck, CommandReport, Desired, FactsReport, Goodbye, Heartbeat, Hello, Inbound,
        ItemReport, Load, Need, Outbound, Refusal, Removal, Ticket, Trust, Tune, Upsert, Welcome,
    },
    hub::{Handle, Hub},
    line::Line,
    machine::{Machine, Step},
    ports::{Closed, Desk, End, Inbox, Opened},
    reactor::{Frame, Ports, Reactor},
};

fn hello() -> Inbound {
    Inbound::Hello(Box::new(Hello {
        instance: InstanceId::from_u128(1),
        ledger: LedgerMark { id: LedgerId::from_u128(1), seq: 1 },
        boot_id: String::new(),
        machine_fingerprint: Vec::new(),
        agent_version: String::new(),
        protocol_min: 1,
        protocol_max: 1,
        capabilities: Vec::new(),
        epoch: 0,
        newest: muster_common::generation::Generation::default(),
        wall_time: UnixMillis(0),
        certificate_generation: 1,
        trust_bundle_version: 1,
        sealing_key: Vec::new(),
        facts_sha256: Vec::new(),
        items: Vec::new(),
        open_commands: Vec::new(),
    }))
}

fn nothing() -> Sha256 {
    state_hash([])
}

fn beat(seq: u64) -> Inbound {
    Inbound::Heartbeat(Heartbeat {
        seq,
        state_hash: Some(nothing()),
        load: Load::default(),
        conditions: Vec::new(),
    })
}

fn live() -> Machine {
    let mut machine = Machine::Waiting;
    assert_eq!(machine.on(&hello()), Step::Greet(1));
    machine.opened(nothing());
    machine
}

fn refused(step: &Step) -> Option<Reason> {
    match step {
        Step::Refuse(refusal) => Some(refusal.reason),
        _ => None,
    }
}

fn upsert(number: u64) -> Upsert {
    let payload = Bytes::from(format!("payload {number}"));
    let version = ItemVersion {
        generation: Generation::new(1, number),
        version: number.to_string(),
        sha256: Sha256::of(&payload),
    };
    Upsert {
        item: ItemName::Bundle("app".to_owned()),
        version,
        payload,
        sealed: None,
        traceparent: String::new(),
    }
}

fn wants(number: u64) -> Desired {
    Desired { complete: true, upserts: vec![upsert(number)], ..Desired::default() }
}

fn report(number: u64) -> Inbound {
    let version = upsert(number).version;
    let state = ItemState {
        item: ItemName::Bundle("app".to_owned()),
        running: Some(version.clone()),
        attempted: Some(version),
        outcome: Some(Outcome::Applied),
        error: None,
        changed_at: UnixMillis(0),
        drift: Vec::new(),
        progress: None,
        health: None,
    };
    Inbound::Items(ItemReport { seq: number, items: vec![state], complete: false, traces: Vec::new() })
}

fn any_message() -> impl Strategy<Value = Inbound> {
    prop_oneof![
        1 => Just(hello()),
        6 => (0_u64..8).prop_map(beat),
        2 => (1_u64..4).prop_map(report),
        1 => Just(Inbound::TrustBundle(1)),
        1 => Just(Inbound::Unknown),
        1 => Just(Inbound::Goodbye(Goodbye { how: liveness::Closed::Stopped, message: String::new() })),
    ]
}

proptest! {
    #[test]
    fn nothing_is_taken_before_hello_and_no_heartbeat_goes_back(
        messages in prop::collection::vec(any_message(), 0..60)
    ) {
        let mut machine = Machine::Waiting;
        let (mut open, mut last) = (false, 0);
        for message in messages {
            let step = machine.on(&message);
            match (&message, &step) {
                (Inbound::Hello(_), Step::Greet(1)) => {
                    prop_assert!(!open);
                    open = true;
                    machine.opened(nothing());
                }
                (Inbound::Hello(_), other) => {
                    prop_assert!(open && refused(other) == Some(Reason::HelloRepeated));
                    break;
                }
                (_, other) if !open => {
                    prop_assert_eq!(refused(other), Some(Reason::HelloMissing));
                    break;
                }
                (Inbound::Heartbeat(beat), Step::Heard(need)) => {
                    prop_assert!(beat.seq > last, "{} after {}", beat.seq, last);
                    prop_assert_eq!(need.items, beat.seq != last + 1, "a gap is asked about");
                    last = beat.seq;
                }
                (Inbound::Heartbeat(beat), other) => {
                    prop_assert!(beat.seq <= last && refused(other) == Some(Reason::SequenceOutOfOrder));
                    break;
                }
                (Inbound::Goodbye(_), other) => { prop_assert_eq!(other, &Step::Left); break }
                (_, other) => prop_assert_eq!(other, &Step::Take),
            }
        }
    }

    #[test]
    fn an_offer_is_made_once_and_never_goes_back(
        numbers in prop::collection::vec((1_u64..6, any::<bool>()), 1..40)
    ) {
        let mut machine = live();
        let mut newest = 0;
        for (number, answered) in numbers {
            if let Some(sent) = machine.fresh(wants(number)) {
                prop_assert!(sent.nonce > 0 && sent.upserts.len() == 1);
                prop_assert!(number > newest, "{} after {}", number, newest);
                newest = number;
            }
            if answered {
                machine.on(&report(newest));
                newest = 0; // answered: the desk decides anew
            }
        }
    }
}

#[test]
fn an_answer_of_no_is_not_asked_for_again_at_once() {
    let mut machine = live();
    let item = ItemName::Bundle("app".to_owned());
    let removal = |number| Desired {
        complete: true,
        removals: vec![Removal {
            item: item.clone(),
            generation: Generation::new(1, number),
            traceparent: String::new(),
        }],
        ..Desired::default()
    };
    let no = |version: ItemVersion| {
        let Inbound::Items(mut report) = report(1) else { unreachable!() };
        report.items[0].attempted = Some(version);
        report.items[0].outcome = Some(Outcome::RolledBack);
        Inbound::Items(report)
    };
    assert!(machine.fresh(removal(5)).is_some());
    machine.on(&no(ItemVersion { sha256: Sha256::ZERO, ..upsert(5).version }));
    assert!(machine.fresh(removal(5)).is_none());
    assert!(machine.fresh(removal(6)).is_some(), "a later place is a new try");
    assert!(machine.fresh(wants(7)).is_some());
    machine.on(&no(upsert(7).version));
    assert!(machine.fresh(wants(7)).is_none());
    assert!(machine.fresh(wants(8)).is_some());
}

#[test]
fn a_state_that_is_not_known_is_asked_about() {
    let mut machine = live();
    assert_eq!(machine.on(&beat(1)), Step::Heard(Need { facts: false, items: false }));
    machine.reported(Sha256::of(b"something else"));
    assert_eq!(machine.on(&beat(2)), Step::Heard(Need { facts: false, items: true }));
}

#[test]
fn an_agent_of_another_age_is_refused() {
    let Inbound::Hello(mut message) = hello() else { unreachable!() };
    (message.protocol_min, message.protocol_max) = (7, 9);
    let step = Machine::Waiting.on(&Inbound::Hello(message));
    assert_eq!(refused(&step), Some(Reason::ProtocolUnsupported));
}

/// Both ports, remembering what they were told.
#[derive(Default)]
struct Fake {
    hub: Hub,
    told: Mutex<Vec<String>>,
    desired: Mutex<Desired>,
    tickets: Mutex<Vec<Ticket>>,
    handle: Mutex<Option<Handle>>,
    /// So often there is no room for a report.
    refusals: Mutex<u32>,
}

impl Fake {
    fn tell(&self, what: impl Into<String>) {
        self.told.lock().push(what.into());
    }

    fn handle(&self) -> Handle {
        self.handle.lock().clone().expect("a session is open")
    }
}

fn tune() -> Tune {
    Tune {
        heartbeat_interval: Duration::from_secs(15),
        heartbeat_jitter: Duration::ZERO,
        reconnect_min: Duration::from_secs(1),
        reconnect_max: Duration::from_secs(60),
        display_name: "host".to_owned(),
    }
}

impl Inbox for Fake {
    fn opened(&self, handle: &Handle, caller: &Caller, _: &Hello, protocol: u32) -> Result<Opened, Refusal> {
        self.hub.register(handle);
        *self.handle.lock() = Some(handle.clone());
        self.tell("opened");
        let welcome = Welcome {
            session: handle.id(),
            node: caller.node,
            display_name: String::new(),
            epoch: 1,
            protocol,
            server_time: UnixMillis(0),
            tune: tune(),
            output_limit: 1024 * 1024,
            need: Need::default(),
            withdrawn: Vec::new(),
        };
        Ok(Opened { welcome, state_hash: nothing() })
    }

    fn heard(&self, _: &Handle, beat: Heartbeat) {
        self.tell(format!("beat {}", beat.seq));
    }

    fn facts(&self, _: &Handle, _: FactsReport) {
        self.tell("facts");
    }

    fn items(&self, _: &Handle, report: ItemReport) -> Sha256 {
        self.tell(format!("items {}", report.seq));
        nothing()
    }

    fn command(&self, _: &Handle, report: CommandReport) -> Result<(), Box<CommandReport>> {
        let mut refusals = self.refusals.lock();
        if *refusals > 0 {
            *refusals -= 1;
            return Err(Box::new(report));
        }
        self.tell(format!("command {}", report.seq));
        Ok(())
    }

    fn trust_bundle(&self, _: &Handle, version: u64) {
        self.tell(format!("trust {version}"));
    }

    fn unknown(&self, _: &Handle) {
        self.tell("unknown");
    }

    fn closed(&self, session: &Handle, why: &Closed) {
        self.hub.unregister(session);
        self.tell(match why {
            Closed::Goodbye(_) => "closed: goodbye".to_owned(),
            Closed::Refused(refusal) => format!("closed: {}", refusal.reason),
            Closed::Lost => "closed: lost".to_owned(),
        });
    }
}

impl Desk for Fake {
    fn desired(&self, _: &Handle) -> Desired {
        self.desired.lock().clone()
    }

    fn tickets(&self, _: &Handle) -> Vec<Ticket> {
        std::mem::take(&mut self.tickets.lock())
    }

    fn trust(&self, _: &Handle) -> Trust {
        Trust::default()
    }

    fn tune(&self, _: &Handle) -> Tune {
        tune()
    }
}

type Out = Pin<Box<Reactor<ReceiverStream<Result<Inbound, Refusal>>>>>;

fn open(fake: &Arc<Fake>, node: u128) -> (mpsc::Sender<Result<Inbound, Refusal>>, Out) {
    let (say, messages) = mpsc::channel(64);
    let caller = Caller {
        node: NodeId::from_u128(node),
        serial: "01".to_owned(),
        remote: ([127, 0, 0, 1], 1).into(),
        key_exchange: "X25519MLKEM768",
        line: Line::default(),
        is_unsure: false,
    };
    let ports = Ports { inbox: Arc::clone(fake) as _, desk: Arc::clone(fake) as _ };
    (say, Box::pin(Reactor::new(caller, ReceiverStream::new(messages), ports)))
}

async fn next(out: &mut Out) -> Result<Outbound, Reason> {
    match out.next().await.expect("a message") {
        Ok(Frame { body, .. }) => Ok(body),
        Err(refusal) => Err(refusal.reason),
    }
}

async fn greeted(fake: &Arc<Fake>, node: u128) -> (mpsc::Sender<Result<Inbound, Refusal>>, Out) {
    let (say, mut out) = open(fake, node);
    say.send(Ok(hello())).await.unwrap();
    assert!(matches!(next(&mut out).await, Ok(Outbound::Welcome(_))));
    (say, out)
}

fn ticket() -> Ticket {
    Ticket {
        id: CommandId::from_u128(5),
        operation: OperationId::from_u128(6),
        kind: "run-script".to_owned(),
        args: Bytes::new(),
        not_before: None,
        deliver_by: UnixMillis(1),
        finish_by: None,
        trace_id: String::new(),
        traceparent: String::new(),
        output_credit: 1,
        epoch: 1,
        retry_of: None,
        cancel: true,
        lane: String::new(),
        force: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_ends_without_having_been_open() {
    let fake = Arc::<Fake>::default();
    let (_say, mut out) = open(&fake, 1);
    assert_eq!(next(&mut out).await, Err(Reason::HelloMissing));
    drop(out);
    assert!(fake.told.lock().is_empty(), "nobody was told of a session that never was");
}

#[tokio::test(start_paused = true)]
async fn hints_are_obeyed_and_merge() {
    let fake = Arc::<Fake>::default();
    let (_say, mut out) = greeted(&fake, 1).await;
    let handle = fake.handle();
    let ack = |seq| CommandAck { command: CommandId::from_u128(5), seq, credit: 10 };
    handle.ack_command(ack(1));
    handle.ack_command(ack(3));
    handle.ack_items(2);
    *fake.desired.lock() = wants(1);
    fake.tickets.lock().push(ticket());
    handle.hint_desired();
    handle.hint_tickets();
    handle.hint_tune();
    let Ok(Outbound::Ack(acked)) = next(&mut out).await else { panic!("the acknowledgement comes first") };
    assert_eq!((acked.items_seq, acked.commands), (2, vec![CommandAck { credit: 20, ..ack(3) }]));
    assert!(matches!(next(&mut out).await, Ok(Outbound::Tune(_))));
    assert!(matches!(next(&mut out).await, Ok(Outbound::Command(_))));
    assert!(matches!(next(&mut out).await, Ok(Outbound::Cancel { .. })));
    assert!(matches!(next(&mut out).await, Ok(Outbound::Desired(_))));
    handle.hint_desired();
    assert!(futures_util::poll!(out.next()).is_pending(), "what was offered is not offered again");
}

fn said(seq: u64) -> Inbound {
    Inbound::Command(CommandReport {
        command: CommandId::from_u128(5),
        seq,
        state: State::Running,
        output: None,
        exit_code: 0,
        signal: 0,
        reason: None,
        message: String::new(),
        result: None,
        ledger_seq: 0,
        spans: Vec::new(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_report_waits_for_room_and_what_comes_after_it_waits_too() {
    let fake = Arc::<Fake>::default();
    let (say, mut out) = greeted(&fake, 1).await;
    *fake.refusals.lock() = 3;
    for message in [said(1), beat(1), said(2)] {
        say.send(Ok(message)).await.unwrap();
    }
    assert!(futures_util::poll!(out.next()).is_pending());
    assert_eq!(*fake.told.lock(), ["opened"]);
    drop(say);
    assert!(out.next().await.is_none());
    assert_eq!(fake.told.lock()[1..], ["command 1", "beat 1", "command 2"]);
}

#[tokio::test(start_paused = true)]
async fn reports_that_nobody_takes_are_left_out_and_the_host_is_heard_again() {
    let fake = Arc::<Fake>::default();
    let (say, mut out) = greeted(&fake, 1).await;
    *fake.refusals.lock() = u32::MAX;
    let begun = Clock::System.monotonic();
    for seq in 1..10 {
        say.send(Ok(said(seq))).await.unwrap();
    }
    say.send(Ok(beat(1))).await.unwrap();
    drop(say);
    assert!(out.next().await.is_none());
    assert_eq!(fake.told.lock()[1..], ["beat 1"]);
    let waited = Clock::System.monotonic() - begun;
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(6), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_newer_session_ends_the_older_and_keeps_its_place() {
    let fake = Arc::<Fake>::default();
    let (_say, mut older) = greeted(&fake, 1).await;
    let (_say, newer) = greeted(&fake, 1).await;
    assert_eq!(next(&mut older).await, Err(Reason::Fenced));
    drop(older);
    assert_eq!(fake.hub.len(), 1);
    drop(newer);
    assert!(fake.hub.is_empty());
    assert_eq!(*fake.told.lock(), ["opened", "opened", "closed: FENCED", "closed: lost"]);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_as_it_is_told() {
    let fake = Arc::<Fake>::default();
    let (_say, mut out) = greeted(&fake, 1).await;
    fake.handle().end(End::Removed("retired".to_owned()));
    fake.handle().end(End::Refuse(Refusal::new(Reason::Fenced, "too late: the first word counts")));
    assert!(matches!(next(&mut out).await, Ok(Outbound::Removed { .. })));
    assert_eq!(next(&mut out).await, Err(Reason::NodeRemoved));

    let (_say, mut out) = greeted(&fake, 2).await;
    let spread = Duration::from_secs(5);
    fake.handle().end(End::Reconnect {
        after: Duration::ZERO,
        spread,
        addresses: Arc::default(),
        reason: "draining",
    });
    assert!(matches!(next(&mut out).await, Ok(Outbound::Reconnect { .. })));
    assert!(out.next().await.is_none(), "and then in peace");
}

#[tokio::test(start_paused = true)]
async fn what_a_node_says_is_taken_in_order_and_a_broken_message_ends_it() {
    let fake = Arc::<Fake>::default();
    let (say, mut out) = greeted(&fake, 1).await;
    for message in [beat(1), report(1), Inbound::TrustBundle(4), Inbound::Unknown, beat(2)] {
        say.send(Ok(message)).await.unwrap();
    }
    say.send(Err(Refusal::new(Reason::FrameTooLarge, "too large"))).await.unwrap();
    assert_eq!(next(&mut out).await, Err(Reason::FrameTooLarge));
    drop(out);
    let told = ["opened", "beat 1", "items 1", "trust 4", "unknown", "beat 2", "closed: FRAME_TOO_LARGE"];
    assert_eq!(*fake.told.lock(), told);
}

#[tokio::test(start_paused = true)]
async fn a_large_difference_is_cut_into_messages_and_only_the_last_is_complete() {
    let fake = Arc::<Fake>::default();
    let (_say, mut out) = greeted(&fake, 1).await;
    let big = |n: u64| Upsert {
        item: ItemName::Bundle(format!("b{n}")),
        payload: Bytes::from(vec![0; 20_000]),
        sealed: Some(Sealed { encapsulated_key: vec![0; 32], ciphertext: vec![0; 40_000] }),
        ..upsert(n)
    };
    *fake.desired.lock() =
        Desired { complete: true, upserts: (1..=5).map(big).collect(), ..Desired::default() };
    fake.handle().hint_desired();
    let mut seen = Vec::new();
    loop {
        let Ok(Outbound::Desired(part)) = next(&mut out).await else { panic!("a difference") };
        assert!(part.upserts.iter().map(Upsert::bytes).sum::<usize>() <= 128 * 1024);
        seen.extend(part.upserts.into_iter().map(|upsert| upsert.version.generation.number));
        if part.complete {
            break;
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_says_too_much_is_read_more_slowly_and_loses_nothing() {
    let fake = Arc::<Fake>::default();
    let caller = Caller {
        node: NodeId::from_u128(1),
        serial: "01".to_owned(),
        remote: ([127, 0, 0, 1], 1).into(),
        key_exchange: "X25519MLKEM768",
        line: Line::default(),
        is_unsure: false,
    };
    let said = std::iter::once(hello()).chain((1..=2000).map(beat)).map(Ok);
    let ports = Ports { inbox: Arc::clone(&fake) as _, desk: Arc::clone(&fake) as _ };
    let start = Clock::System.monotonic();
    let mut out = Box::pin(Reactor::new(caller, futures_util::stream::iter(said), ports));
    while out.next().await.is_some() {}
    assert_eq!(fake.told.lock().iter().filter(|told| told.starts_with("beat")).count(), 2000);
    let took = Clock::System.monotonic() - start;
    assert!((Duration::from_secs(2)..Duration::from_secs(3)).contains(&took), "{took:?}");
}
