//! Runs of scripts and hooks, made by this process or by the executor.

use std::{io, time::Duration};

use muster_common::{ids::CommandId, tasks};

mod words;

use super::{
    client::{Client, unexpected},
    messages::{AskOf, Id, LookAt, Nothing, Said, Verb},
};
use crate::platform::{
    runs::{self, NotStarted, Order, State},
    supervise::Asked,
};
use words::number;
pub use words::{asked, id};

/// Read of the output at once, of each stream.
pub const PIECE: usize = 64 * 1024;
/// For an answer where nobody can wait for it.
const NOW: Duration = Duration::from_secs(2);
/// It is asked so often, with this in between, whether something was started.
const ASK_AGAIN: (u32, Duration) = (20, Duration::from_millis(500));

/// Who makes runs on this host. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Runs {
    /// This process, which is root.
    Here(runs::Runs),
    /// The executor.
    Executor(Client),
}

/// While it holds, a run ends with whoever follows it.
#[derive(Debug)]
pub struct Leash<'a> {
    /// Who makes it.
    pub runs: &'a Runs,
    /// Which.
    pub id: CommandId,
    /// Whether it holds.
    pub holds: bool,
}

impl Drop for Leash<'_> {
    fn drop(&mut self) {
        if self.holds {
            self.runs.drop_now(self.id);
        }
    }
}

/// Nobody said whether it started: it has, unless `stands` says that nothing of it ever will.
pub(super) async fn is_it_started<F>(
    id: CommandId,
    error: io::Error,
    stands: impl Fn() -> F,
) -> Result<(), NotStarted>
where
    F: Future<Output = io::Result<bool>>,
{
    for _ in 0..ASK_AGAIN.0 {
        match stands().await {
            Ok(false) => return Err(NotStarted::Host(error)),
            Ok(true) => return Ok(()),
            Err(second) => tracing::warn!(command = %id, %second, "cannot see whether {id} has started"),
        }
        tokio::time::sleep(ASK_AGAIN.1).await;
    }
    Ok(()) // whoever follows it asks on
}

/// How a run stands.
#[derive(Debug, Default)]
pub struct Look {
    /// What is known of it.
    pub state: State,
    /// Nothing of its unit is left; `false` also if that was not asked.
    pub is_gone: bool,
}

impl Runs {
    /// What the lock file has against an order, if the executor is the one to ask. What
    /// this process would start itself it judges by its own reading.
    ///
    /// # Errors
    /// If nobody says.
    pub async fn judge(&self, order: &Order) -> io::Result<Option<String>> {
        match self {
            Self::Here(_) => Ok(None),
            Self::Executor(client) => match client.ask(Verb::Judge(order.into())).await?.said() {
                Said::Locked(why) => Ok(Some(why)),
                Said::Done(_) => Ok(None),
                other => Err(unexpected(other)),
            },
        }
    }

    /// Starts one, at most once for its id.
    ///
    /// # Errors
    /// Only if nothing of it runs or ever will.
    pub async fn start(&self, order: Order) -> Result<(), NotStarted> {
        let client = match self {
            Self::Here(runs) => {
                runs.reserve(order.id).await.map_err(NotStarted::Host)?;
                return runs.start(order).await;
            }
            Self::Executor(client) => client,
        };
        let id = order.id;
        match client.ask_once(Verb::Start((&order).into())).await.map(super::client::Reply::said) {
            Ok(Said::Done(_)) => Ok(()),
            Ok(Said::Locked(why)) => Err(NotStarted::Locked(why)),
            Ok(Said::UserUnknown(_)) => Err(NotStarted::UserUnknown),
            Ok(other) => Err(NotStarted::Host(unexpected(other))),
            Err(error) => is_it_started(id, error, || self.stands(id)).await,
        }
    }

    /// Whether something of it runs, or has run: otherwise nothing ever will.
    async fn stands(&self, id: CommandId) -> io::Result<bool> {
        if self.call_off(id).await? {
            return Ok(false);
        }
        if self.look(id, [0, 0], false).await?.state.is_known {
            return Ok(true);
        }
        Err(io::Error::other("it could be neither called off nor found"))
    }

    /// How a run stands, and what it has written after these places in its output. `unit`:
    /// systemd is asked whether its unit is gone, too.
    ///
    /// # Errors
    /// If nobody says.
    pub async fn look(&self, id: CommandId, after: [u64; 2], unit: bool) -> io::Result<Look> {
        match self {
            Self::Here(here) => {
                let runs = here.clone();
                // Not answered is not gone: it is asked again.
                let is_gone = unit && here.is_gone(id).await.unwrap_or(false);
                let state = tasks::blocking(move || runs.look(id, after, PIECE)).await;
                Ok(Look { state, is_gone })
            }
            Self::Executor(client) => {
                let [stdout, stderr] = after;
                let verb = Verb::Look(LookAt { id: id.to_string(), stdout, stderr, unit });
                match client.ask(verb).await?.said() {
                    Said::Run(state) => Ok(state.into()),
                    other => Err(unexpected(other)),
                }
            }
        }
    }

    /// Calls one off that has not begun. `true`: nothing of it runs, or ever will.
    ///
    /// # Errors
    /// If nobody says.
    pub async fn call_off(&self, id: CommandId) -> io::Result<bool> {
        match self {
            Self::Here(runs) => Ok(runs.call_off(id).await),
            Self::Executor(client) => client.ask(Verb::CallOff(of(id))).await?.is(),
        }
    }

    /// Asks all of it to end, and writes down why; `None`: that was said before.
    ///
    /// # Errors
    /// If nobody asks it.
    pub async fn ask(&self, id: CommandId, why: Option<Asked>) -> io::Result<()> {
        match self {
            Self::Here(runs) => {
                if let Some(why) = why
                    && let Err(error) = runs.ask(id, why).await
                {
                    tracing::warn!(%error, "could not note why command {id} is stopped");
                }
                runs.stop(id).await
            }
            Self::Executor(client) => {
                let why = why.map_or(0, number);
                client.ask(Verb::Ask(AskOf { id: id.to_string(), why })).await?.done()
            }
        }
    }

    /// Kills all of it, and waits until nothing is left.
    ///
    /// # Errors
    /// If it lives on.
    pub async fn kill(&self, id: CommandId) -> io::Result<()> {
        match self {
            Self::Here(runs) => runs.kill(id).await,
            Self::Executor(client) => client.ask(Verb::Kill(of(id))).await?.done(),
        }
    }

    /// Calls it off and kills what there is, from where nobody can wait.
    pub fn drop_now(&self, id: CommandId) {
        match self {
            Self::Here(runs) => runs.drop_now(id),
            Self::Executor(client) => {
                let gone =
                    client.call_once(&Verb::CallOff(of(id)), NOW).and_then(|reply| match reply.is()? {
                        true => Ok(()),
                        false => client.call_once(&Verb::Kill(of(id)), NOW)?.done(),
                    });
                if let Err(error) = gone {
                    tracing::warn!(command = %id, %error, "command {id} may go on: the next agent ends it");
                }
            }
        }
    }

    /// Forgets what was kept of it.
    pub async fn clear(&self, id: CommandId) {
        let cleared = match self {
            Self::Here(runs) => {
                let runs = runs.clone();
                tasks::blocking(move || runs.clear(id)).await
            }
            Self::Executor(client) => match client.ask(Verb::Clear(of(id))).await {
                Ok(reply) => reply.done(),
                Err(error) => Err(error),
            },
        };
        if let Err(error) = cleared {
            tracing::warn!(command = %id, %error, "could not clear what was kept of command {id}");
        }
    }

    /// Those of which something is kept.
    ///
    /// # Errors
    /// If nobody says.
    pub async fn list(&self) -> io::Result<Vec<CommandId>> {
        match self {
            Self::Here(runs) => {
                let runs = runs.clone();
                Ok(tasks::blocking(move || runs.list()).await)
            }
            Self::Executor(client) => {
                let names = client.ask(Verb::List(Nothing {})).await?.paths()?;
                Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
            }
        }
    }
}

fn of(id: CommandId) -> Id {
    Id { id: id.to_string() }
}
