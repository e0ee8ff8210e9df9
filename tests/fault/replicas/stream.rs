//! Callers who write and order all the time, of whichever replica, and remember what they were told.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use muster_common::tasks::{Kind, Tasks};
use muster_proto::{admin::v1 as pb, types::v1::CommandState};
use muster_tests::operator::{Operator, reason, script};
use tonic::Status;

/// Between two calls of one caller.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at what is there: a caller may read 500 times a second.
const PACE: Duration = Duration::from_millis(5);
/// How long commands may take to end, once nobody dies any more.
const TO_END: Duration = Duration::from_secs(120);
/// No replica.
const NONE: usize = usize::MAX;

/// What callers were told.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Bundles whose version was acknowledged.
    pub(super) writes: Vec<String>,
    /// Operations that were acknowledged.
    pub(super) operations: Vec<String>,
    /// Calls that were refused, or whose answer was lost, by the reason.
    pub(super) refused: BTreeMap<String, usize>,
}

/// How commands ended.
#[derive(Debug, Default)]
pub(super) struct Ends(pub(super) BTreeMap<&'static str, usize>);

struct Shared {
    /// One connection to each replica; it ends with that.
    operators: Mutex<Vec<Operator>>,
    avoided: AtomicUsize,
    is_over: AtomicBool,
    said: Mutex<Said>,
    ran: PathBuf,
}

/// The callers.
pub(super) struct Stream {
    shared: Arc<Shared>,
    callers: Tasks,
}

impl Stream {
    pub(super) fn start(operators: Vec<Operator>, folder: &Path) -> Self {
        let shared = Arc::new(Shared {
            operators: Mutex::new(operators),
            avoided: AtomicUsize::new(NONE),
            is_over: AtomicBool::new(false),
            said: Mutex::default(),
            ran: folder.join("ran"),
        });
        let callers = Tasks::default();
        callers.spawn("writer", Kind::Fatal, write(Arc::clone(&shared)));
        callers.spawn("orderer", Kind::Fatal, order(Arc::clone(&shared)));
        Self { shared, callers }
    }

    /// A replica is about to die: whoever calls it then is told nothing.
    pub(super) fn avoids(&self, replica: usize) {
        // Every other death comes as a surprise.
        let is_odd = self.shared.said.lock().unwrap().writes.len() % 2 == 1;
        self.shared.avoided.store(if is_odd { replica } else { NONE }, Ordering::Relaxed);
    }

    /// A replica that died is there again.
    pub(super) fn asks_all(&self, replica: usize, operator: Operator) {
        self.shared.operators.lock().unwrap()[replica] = operator;
        self.shared.avoided.store(NONE, Ordering::Relaxed);
    }

    pub(super) async fn end(self) -> Said {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.callers.close();
        self.callers.ended().await;
        std::mem::take(&mut *self.shared.said.lock().unwrap())
    }
}

impl Shared {
    fn operator(&self, number: usize) -> Operator {
        let (operators, avoided) = (self.operators.lock().unwrap(), self.avoided.load(Ordering::Relaxed));
        let at = number % operators.len();
        operators[if at == avoided { (at + 1) % operators.len() } else { at }].clone()
    }

    fn refused(&self, status: &Status) {
        let why = reason(status).map_or_else(|| format!("{:?}", status.code()), |reason| reason.to_string());
        self.say(|said| *said.refused.entry(why).or_default() += 1);
    }

    fn say(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.said.lock().unwrap());
    }
}

async fn write(shared: Arc<Shared>) {
    for number in 0.. {
        if shared.is_over.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("stream-{number}");
        match shared.operator(number).try_bundle(&name, &name).await {
            Ok(()) => shared.say(|said| said.writes.push(name)),
            Err(status) => shared.refused(&status),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn order(shared: Arc<Shared>) {
    for number in 0.. {
        if shared.is_over.load(Ordering::Relaxed) {
            return;
        }
        let text = format!("echo x >> {}/$MUSTER_COMMAND_ID; sleep 0.1; echo done", shared.ran.display());
        let request = pb::StartOperationRequest {
            selector: "kind=real".to_owned(),
            spec: Some(script(&text)),
            request_id: format!("stream-{number}"),
            ..Default::default()
        };
        let asked = shared.operator(number).operations.clone().start_operation(request).await;
        match asked.map(|answer| answer.into_inner().operation) {
            Ok(operation) => shared.say(|said| said.operations.extend(operation.map(|it| it.id))),
            Err(status) => shared.refused(&status),
        }
        tokio::time::sleep(PAUSE * 5).await;
    }
}

impl Said {
    pub(super) async fn writes_are_there(&self, operator: &Operator) {
        assert!(!self.writes.is_empty());
        for name in &self.writes {
            let request = pb::GetBundleRequest { name: name.clone(), version: 0 };
            let found = operator.bundles.clone().get_bundle(request).await;
            assert!(found.is_ok(), "{name} was acknowledged: {found:?}");
            tokio::time::sleep(PACE).await;
        }
    }

    pub(super) async fn commands_end_once(&self, operator: &Operator, ran: &Path) -> Ends {
        assert!(!self.operations.is_empty());
        let mut ends = Ends::default();
        for operation in &self.operations {
            tokio::time::sleep(PACE).await;
            for command in operator.ended(operation, TO_END).await.values() {
                let times =
                    std::fs::read_to_string(ran.join(&command.id)).unwrap_or_default().lines().count();
                assert!(times <= 1, "command {} was done {times} times", command.id);
                match command.state() {
                    CommandState::Succeeded => assert_eq!(times, 1, "command {} succeeded", command.id),
                    CommandState::Interrupted => {}
                    other => panic!("command {} is {other:?}: {}", command.id, command.message),
                }
                *ends.0.entry(command.state().as_str_name()).or_default() += 1;
            }
        }
        ends
    }
}
