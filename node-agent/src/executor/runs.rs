//! Verbs about scripts and hooks. Which may run the lock file says, when it is asked for
//! and again when one is started.

use std::{io, path::Path};

use muster_common::{ids::CommandId, tasks};

use crate::{
    locks,
    platform::runs::{self, NotStarted, Order},
    verbs::{
        self,
        frame::{DONE, invalid},
        messages::{AskOf, Id, LookAt, Names, Run, Said},
        runs::{Look, asked, id},
    },
};

/// Longest text of a script, and most output that is kept of a run: what an order may say.
const MOST_TEXT: usize = 64 * 1024;
const MOST_OUTPUT: u64 = 16 * 1024 * 1024;

/// Does them.
#[derive(Debug)]
pub(super) struct Runs {
    here: verbs::Runs,
    core: runs::Runs,
    locks: locks::Reader,
}

impl Runs {
    pub(super) fn open(program: &Path, folder: &Path, locks: locks::Reader) -> io::Result<Self> {
        let core = runs::Runs::of_this_host(program, folder);
        let core = core.ok_or_else(|| io::Error::other("this process is not root on a host with systemd"))?;
        Ok(Self { here: verbs::Runs::Here(core.clone()), core, locks })
    }

    pub(super) async fn judge(&self, run: Run) -> io::Result<Said> {
        let order = check(run)?;
        Ok(self.refuses(order).await.1.map_or(DONE, Said::Locked))
    }

    pub(super) async fn start(&self, run: Run) -> io::Result<Said> {
        let order = check(run)?;
        // First of all: what is called off from here on is not started however long it takes
        // to judge it.
        self.core.reserve(order.id).await?;
        let (order, refused) = self.refuses(order).await;
        if let Some(why) = refused {
            tracing::warn!(command = %order.id, "{} was not started: {why}", order.id);
            self.core.give_back(order.id).await;
            return Ok(Said::Locked(why));
        }
        let user = order.user.clone();
        match self.core.start(order).await {
            Ok(()) => Ok(DONE),
            Err(NotStarted::Host(error)) => Err(error),
            Err(NotStarted::Locked(why)) => Ok(Said::Locked(why)),
            Err(NotStarted::UserUnknown) => Ok(Said::UserUnknown(user)),
        }
    }

    /// On a thread that may wait for a directory service.
    async fn refuses(&self, order: Order) -> (Order, Option<String>) {
        let locks = self.locks.current();
        tasks::blocking(move || {
            let refused = locks.refuses_run(&order);
            (locks.bounded(order), refused)
        })
        .await
    }

    pub(super) async fn look(&self, at: LookAt) -> io::Result<Said> {
        let Look { state, is_gone } = self.here.look(id(&at.id)?, [at.stdout, at.stderr], at.unit).await?;
        Ok(Said::Run(Look { state, is_gone }.into()))
    }

    pub(super) async fn call_off(&self, run: &Id) -> io::Result<Said> {
        Ok(Said::Is(self.core.call_off(id(&run.id)?).await))
    }

    pub(super) async fn ask(&self, ask: &AskOf) -> io::Result<Said> {
        let why = asked(ask.why)?;
        self.here.ask(self.known(&ask.id).await?, why).await.map(|()| DONE)
    }

    pub(super) async fn kill(&self, run: &Id) -> io::Result<Said> {
        self.core.kill(id(&run.id)?).await.map(|()| DONE)
    }

    /// One that still may run is not forgotten: its place keeps it from being started again.
    pub(super) async fn clear(&self, run: Id) -> io::Result<Said> {
        let id = id(&run.id)?;
        self.core.call_off(id).await;
        if !self.core.is_gone(id).await? {
            return Err(io::Error::other(format!("run {id} has not ended")));
        }
        let core = self.core.clone();
        tasks::blocking(move || core.clear(id)).await.map(|()| DONE)
    }

    pub(super) async fn list(&self) -> io::Result<Said> {
        let core = self.core.clone();
        let ids = tasks::blocking(move || core.list()).await;
        Ok(Said::Names(Names { names: ids.iter().map(CommandId::to_string).collect() }))
    }

    /// One of which there is something: nothing is written for others.
    async fn known(&self, text: &str) -> io::Result<CommandId> {
        let id = id(text)?;
        let found = self.here.look(id, [u64::MAX, u64::MAX], false).await?;
        if found.state.is_known { Ok(id) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

/// What an order can be, whatever the daemon let through.
fn check(run: Run) -> io::Result<Order> {
    let order = Order::try_from(run)?;
    let is_hook = order.text.is_none();
    if is_hook && (order.survives || !order.user.is_empty() || order.limits.time.is_none()) {
        return Err(invalid("a hook has a time limit, no user, and ends with who ordered it".to_owned()));
    }
    if order.text.as_ref().is_some_and(|text| text.is_empty() || text.len() > MOST_TEXT) {
        return Err(invalid(format!("the text of a script has 1 to {MOST_TEXT} bytes")));
    }
    if order.output > MOST_OUTPUT {
        return Err(invalid(format!("at most {MOST_OUTPUT} bytes of output are kept of a run")));
    }
    Ok(order)
}
