//! T-F2: a session as the control plane lives it: any sequence of messages,
//! hints and ends against the real reactor and its machine.
#![no_main]

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

use arbitrary::Arbitrary;
use futures_util::Stream;
use libfuzzer_sys::fuzz_target;
use muster_common::{
    clock::UnixMillis,
    digest::Sha256,
    generation::Generation,
    ids::{CommandId, InstanceId, LedgerId, NodeId},
    reason::Reason,
};
use muster_control_plane::session::{
    frames::{
        Caller, Chunk, CommandAck, CommandReport, Desired, FactsReport, Goodbye, Heartbeat, Hello, Inbound,
        ItemReport, Load, Need, Outbound, Refusal, Removal, Ticket, Trust, Tune, Upsert, Welcome,
    },
    hub::{Handle, Hub},
    line::Line,
    ports::{Closed, Desk, End, Inbox, Opened},
    reactor::{Ports, Reactor},
};
use muster_domain::{
    command,
    facts::Facts,
    item::{ItemName, ItemState, ItemVersion, Outcome},
    liveness,
    node::LedgerMark,
};

/// What happens, one after the other.
#[derive(Debug, Arbitrary)]
enum Event {
    Hello { min: u8, max: u8 },
    Beat { seq: u8, knows: bool },
    LastBeat,
    Facts,
    Items { seq: u64, states: Vec<(u8, u8, bool)> },
    Command { seq: u64, dropped: u64, end: bool },
    Roots(u64),
    Goodbye,
    Unknown,
    Broken,
    Want { items: Vec<(u8, u8, bool)> },
    Look(u8),
    Ack { seq: u64, credit: u32 },
    End(u8),
    Newer,
}

/// What the node sends: whatever lies in the queue, then silence.
struct Said(Arc<Mutex<VecDeque<Result<Inbound, Refusal>>>>);

impl Stream for Said {
    type Item = Result<Inbound, Refusal>;
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match locked(&self.0).pop_front() {
            Some(message) => Poll::Ready(Some(message)),
            None => Poll::Pending,
        }
    }
}

/// Both ports; what must hold is held here.
#[derive(Default)]
struct House {
    hub: Hub,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    opened: u32,
    closed: u32,
    beat: u64,
    handle: Option<Handle>,
    wants: Desired,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

impl House {
    /// The session, which must be open.
    fn open(&self) -> MutexGuard<'_, Seen> {
        let seen = locked(&self.seen);
        assert!(seen.opened == 1 && seen.closed == 0, "nothing is told before Hello or after the end");
        seen
    }
}

impl Inbox for House {
    fn opened(
        &self,
        handle: &Handle,
        caller: &Caller,
        hello: &Hello,
        protocol: u32,
    ) -> Result<Opened, Refusal> {
        assert!((hello.protocol_min..=hello.protocol_max).contains(&protocol));
        let mut seen = locked(&self.seen);
        seen.opened += 1;
        assert_eq!(seen.opened, 1, "a stream opens one session");
        seen.handle = Some(handle.clone());
        self.hub.register(handle);
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
        Ok(Opened { welcome, state_hash: Sha256::ZERO })
    }

    fn heard(&self, _: &Handle, beat: Heartbeat) {
        let mut seen = self.open();
        assert!(beat.seq > seen.beat, "no heartbeat goes back");
        seen.beat = beat.seq;
    }

    fn facts(&self, _: &Handle, _: FactsReport) {
        drop(self.open());
    }

    fn items(&self, _: &Handle, report: ItemReport) -> Sha256 {
        drop(self.open());
        Sha256::of(&report.seq.to_be_bytes())
    }

    fn command(&self, _: &Handle, _: CommandReport) -> Result<(), Box<CommandReport>> {
        Ok(drop(self.open()))
    }

    fn trust_bundle(&self, _: &Handle, _: u64) {
        drop(self.open());
    }

    fn unknown(&self, _: &Handle) {
        drop(self.open());
    }

    fn closed(&self, session: &Handle, _: &Closed) {
        self.open().closed = 1;
        self.hub.unregister(session);
    }
}

impl Desk for House {
    fn desired(&self, _: &Handle) -> Desired {
        self.open().wants.clone()
    }

    fn tickets(&self, _: &Handle) -> Vec<Ticket> {
        drop(self.open());
        Vec::new()
    }

    fn trust(&self, _: &Handle) -> Trust {
        drop(self.open());
        Trust { renew: Some((Duration::ZERO, "asked")), ..Trust::default() }
    }

    fn tune(&self, _: &Handle) -> Tune {
        tune()
    }
}

fuzz_target!(init: runtime(), |events: Vec<Event>| {
    let Some(runtime) = RUNTIME.get() else { return };
    runtime.block_on(live(events));
});

static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();

/// With a clock that stands still until everybody waits for it.
fn runtime() {
    muster_fuzz::seeds("plane_session", || [0, 1, 2].map(|n: u8| vec![n; 64]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    drop(RUNTIME.set(runtime.expect("a runtime")));
}

async fn live(events: Vec<Event>) {
    let house = Arc::new(House::default());
    let said = Arc::new(Mutex::new(VecDeque::new()));
    let (node, serial, remote) = (NodeId::from_u128(1), "01".to_owned(), ([127, 0, 0, 1], 1).into());
    let (key_exchange, line) = ("X25519MLKEM768", Line::default());
    let caller = Caller { node, serial, remote, key_exchange, line, is_unsure: false };
    let ports = Ports { inbox: Arc::clone(&house) as _, desk: Arc::clone(&house) as _ };
    let mut reactor = Box::pin(Reactor::new(caller, Said(Arc::clone(&said)), ports));
    let mut ended = false;
    for event in events.into_iter().take(256) {
        if let Some(message) = message(&event) {
            locked(&said).push_back(message);
        } else {
            hint(&house, &event);
        }
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(out) = reactor.as_mut().poll_next(&mut context) {
            assert!(!ended || out.is_none(), "nothing follows the end");
            match out {
                Some(Ok(frame)) => told(&house, &frame.body),
                Some(Err(_)) => {}
                None => {
                    ended = true;
                    break;
                }
            }
        }
        if ended {
            break;
        }
        if reactor_rests(&said) {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }
    drop(reactor);
    let seen = locked(&house.seen);
    assert_eq!(seen.opened, seen.closed, "what opened is closed, once");
    assert!(house.hub.len() <= 1);
}

fn reactor_rests(said: &Mutex<VecDeque<Result<Inbound, Refusal>>>) -> bool {
    !locked(said).is_empty()
}

fn told(house: &House, body: &Outbound) {
    let seen = locked(&house.seen);
    assert!(seen.opened == 1 || matches!(body, Outbound::Removed { .. } | Outbound::Reconnect { .. }));
    if let Outbound::Desired(desired) = body {
        assert!(!desired.upserts.is_empty() || !desired.removals.is_empty(), "an offer offers something");
    }
}

fn item(n: u8) -> ItemName {
    if n % 4 == 0 { ItemName::Settings } else { ItemName::Bundle(format!("b{}", n % 4)) }
}

fn version(n: u8) -> ItemVersion {
    ItemVersion {
        generation: Generation::new(1, u64::from(n)),
        version: n.to_string(),
        sha256: Sha256::of(&[n / 2]),
    }
}

fn message(event: &Event) -> Option<Result<Inbound, Refusal>> {
    Some(Ok(match event {
        Event::Hello { min, max } => Inbound::Hello(Box::new(hello(u32::from(*min), u32::from(*max)))),
        Event::Beat { seq, knows } => beat(u64::from(*seq), *knows),
        Event::LastBeat => beat(u64::MAX, true),
        Event::Facts => Inbound::Facts(Box::new(FactsReport { facts: Facts::default(), sha256: Vec::new() })),
        Event::Items { seq, states } => {
            let items = states.iter().take(16).map(state).collect();
            Inbound::Items(ItemReport { seq: *seq, items, complete: false, traces: Vec::new() })
        }
        Event::Command { seq, dropped, end } => Inbound::Command(report(*seq, *dropped, *end)),
        Event::Roots(version) => Inbound::TrustBundle(*version),
        Event::Goodbye => {
            Inbound::Goodbye(Goodbye { how: liveness::Closed::Stopped, message: String::new() })
        }
        Event::Unknown => Inbound::Unknown,
        Event::Broken => return Some(Err(Refusal::new(Reason::MessageInvalid, "it does not decode"))),
        Event::Want { .. } | Event::Look(_) | Event::Ack { .. } | Event::End(_) | Event::Newer => {
            return None;
        }
    }))
}

fn hint(house: &House, event: &Event) {
    let handle = {
        let mut seen = locked(&house.seen);
        if let Event::Want { items } = event {
            seen.wants = wants(items);
        }
        seen.handle.clone()
    };
    let Some(handle) = handle else { return };
    match event {
        Event::Want { .. } => handle.hint_desired(),
        Event::Look(what) => match what % 4 {
            0 => handle.hint_desired(),
            1 => handle.hint_tickets(),
            2 => handle.hint_tune(),
            _ => handle.hint_trust(),
        },
        Event::Ack { seq, credit } => {
            handle.ack_items(*seq);
            handle.ack_command(CommandAck { command: CommandId::from_u128(1), seq: *seq, credit: *credit });
        }
        Event::End(how) => handle.end(match how % 3 {
            0 => End::Refuse(Refusal::new(Reason::Fenced, "another one came")),
            1 => End::Removed("gone".to_owned()),
            _ => moved(Duration::ZERO),
        }),
        Event::Newer => house.hub.register(&Handle::new(NodeId::from_u128(1), Line::default())),
        _ => {}
    }
}

fn moved(at_once: Duration) -> End {
    End::Reconnect { after: at_once, spread: at_once, addresses: Arc::default(), reason: "moved" }
}

fn wants(items: &[(u8, u8, bool)]) -> Desired {
    let mut desired = Desired { complete: true, ..Desired::default() };
    for (name, number, gone) in items.iter().take(16) {
        let (item, version, payload) = (item(*name), version(*number), vec![*number / 2].into());
        if *gone {
            desired.removals.push(Removal { item, generation: version.generation, traceparent: "".into() });
            continue;
        }
        desired.upserts.push(Upsert { item, version, payload, sealed: None, traceparent: String::new() });
    }
    desired
}

fn state((name, number, holds): &(u8, u8, bool)) -> ItemState {
    ItemState {
        item: item(*name),
        running: holds.then(|| version(*number)),
        attempted: Some(version(*number)),
        outcome: Some(if *holds { Outcome::Applied } else { Outcome::RolledBack }),
        error: None,
        changed_at: UnixMillis(0),
        drift: Vec::new(),
        progress: None,
        health: None,
    }
}

fn beat(seq: u64, knows: bool) -> Inbound {
    let state_hash = knows.then_some(Sha256::ZERO);
    Inbound::Heartbeat(Heartbeat { seq, state_hash, load: Load::default(), conditions: Vec::new() })
}

fn report(seq: u64, dropped_bytes: u64, end: bool) -> CommandReport {
    let chunk = Chunk { stderr: false, data: vec![b'x'].into(), dropped_bytes };
    CommandReport {
        command: CommandId::from_u128(1),
        seq,
        state: if end { command::State::Succeeded } else { command::State::Running },
        output: Some(chunk),
        exit_code: 0,
        signal: 0,
        reason: None,
        message: String::new(),
        result: None,
        ledger_seq: seq,
        spans: Vec::new(),
    }
}

fn hello(protocol_min: u32, protocol_max: u32) -> Hello {
    Hello {
        newest: muster_common::generation::Generation::default(),
        instance: InstanceId::from_u128(1),
        ledger: LedgerMark { id: LedgerId::from_u128(1), seq: 1 },
        boot_id: String::new(),
        machine_fingerprint: Vec::new(),
        agent_version: String::new(),
        protocol_min,
        protocol_max,
        capabilities: Vec::new(),
        epoch: 0,
        wall_time: UnixMillis(0),
        certificate_generation: 1,
        trust_bundle_version: 1,
        sealing_key: Vec::new(),
        facts_sha256: Vec::new(),
        items: Vec::new(),
        open_commands: Vec::new(),
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
