//! Why nothing more of an operation goes out at this moment.

use std::collections::HashMap;

use muster_common::{clock::UnixMillis, ids::OperationId};
use muster_domain::{
    command::State,
    operation::{
        Operation, Plan,
        pace::{Hold, Step, decide},
    },
};
use muster_store::{ReadLeases, ReadOperations};

use crate::app::{App, Error, dispatch::Places};

/// What is needed of an operation to tell.
struct Asked {
    id: OperationId,
    kind: String,
    not_before: Option<UnixMillis>,
    plan: Plan,
}

impl From<&Operation> for Asked {
    fn from(operation: &Operation) -> Self {
        let (id, not_before) = (operation.id, operation.not_before);
        Self { id, kind: operation.kind.clone(), not_before, plan: operation.plan.clone() }
    }
}

impl App {
    /// What holds each of these that waits for something.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn holds(
        &self,
        operations: impl IntoIterator<Item = &Operation>,
    ) -> Result<HashMap<OperationId, Hold>, Error> {
        let open = operations.into_iter().filter(|it| it.ended_at.is_none());
        let open: Vec<Asked> = open.map(Asked::from).collect();
        if open.is_empty() {
            return Ok(HashMap::new());
        }
        let (app, now) = (self.clone(), self.clock.now());
        let read = self.store.read(move |tx| {
            let (mut places, mut holds) = (Places::read(tx)?, HashMap::new());
            for operation in &open {
                if let Some(hold) = app.hold(tx, &mut places, operation, now)? {
                    holds.insert(operation.id, hold);
                }
            }
            Ok::<_, Error>(holds)
        });
        read.await
    }

    fn hold(
        &self,
        tx: &mut (impl ReadOperations + ReadLeases),
        places: &mut Places,
        operation: &Asked,
        now: UnixMillis,
    ) -> Result<Option<Hold>, Error> {
        let counts = tx.operation_counts(operation.id)?;
        if counts.get(State::Queued) == 0 {
            return Ok(None);
        }
        let plan = &operation.plan;
        let rooms = places.rooms(tx, &operation.kind, plan.lease.as_deref())?;
        let not_before = plan.waits_here_until(operation.not_before, &rooms);
        Ok(match decide(&plan.pacing, &counts, &rooms, not_before, now) {
            Step::Hold(hold) => Some(hold),
            Step::HandOut(_) => (!self.dispatch.may_wait(operation.id)).then_some(Hold::NobodyOnline),
            Step::Stop => None, // it ends in the write that finds this
        })
    }
}
