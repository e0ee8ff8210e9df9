//! Operations with open orders, in memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use muster_common::{clock::UnixMillis, ids::OperationId, trace::Context};
use muster_domain::operation::{Operation, Plan};
use parking_lot::{Mutex, RwLock};

use crate::app::App;

/// Operations that are traced and remembered after their end.
const TRACED: usize = 256;

/// What is needed of an operation to hand out its orders.
#[derive(Debug)]
pub struct OpenOperation {
    /// Which.
    pub id: OperationId,
    /// `run-script`.
    pub kind: String,
    /// The kind's message.
    pub args: Bytes,
    /// Earliest start.
    pub not_before: Option<UnixMillis>,
    /// Latest delivery.
    pub deliver_by: UnixMillis,
    /// Time to run.
    pub run_timeout: Duration,
    /// Of the request.
    pub trace_id: String,
    /// Where the request is in its trace, if somebody collects that.
    pub traced: Option<Context>,
    /// When it was started.
    pub created_at: UnixMillis,
    /// Empty: in none.
    pub lane: String,
    /// How it goes about it.
    pub plan: Plan,
}

/// Operations with open orders.
#[derive(Debug, Default)]
pub struct Open {
    all: RwLock<HashMap<OperationId, Arc<OpenOperation>>>,
    /// The last ones that ended and are traced: whoever wrote their end may learn of it after
    /// the feed.
    traced: Mutex<VecDeque<Arc<OpenOperation>>>,
}

impl App {
    /// Takes operations with open orders into memory; any number of times.
    pub(crate) fn adopt_operations(&self, operations: Vec<Operation>) {
        let mut open = self.open.all.write();
        for operation in operations {
            if open.contains_key(&operation.id) {
                continue; // what is kept of one does not change
            }
            let parts = OpenOperation {
                id: operation.id,
                kind: operation.kind,
                args: Bytes::from(operation.args),
                not_before: operation.not_before,
                deliver_by: operation.deliver_by,
                run_timeout: operation.run_timeout,
                trace_id: operation.trace_id,
                traced: Context::sampled(&operation.traceparent),
                created_at: operation.created_at,
                lane: operation.lane,
                plan: operation.plan,
            };
            open.insert(operation.id, Arc::new(parts));
        }
    }

    /// Operations that ended need nothing in memory.
    pub(crate) fn close_operations(&self, ended: &[OperationId]) {
        if !ended.is_empty() {
            let mut open = self.open.all.write();
            let traced = ended.iter().filter_map(|id| open.remove(id)).filter(|it| it.traced.is_some());
            let mut kept = self.open.traced.lock();
            kept.extend(traced);
            let surplus = kept.len().saturating_sub(TRACED);
            kept.drain(..surplus);
        }
    }

    /// One that is traced, also for some time after its end.
    pub(in crate::app) fn operation_traced(&self, id: OperationId) -> Option<Arc<OpenOperation>> {
        let open = self.operation_open(id).filter(|it| it.traced.is_some());
        open.or_else(|| self.open.traced.lock().iter().find(|it| it.id == id).cloned())
    }

    pub(crate) fn operation_open(&self, id: OperationId) -> Option<Arc<OpenOperation>> {
        self.open.all.read().get(&id).cloned()
    }
}
