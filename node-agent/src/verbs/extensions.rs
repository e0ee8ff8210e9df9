//! Extensions on this host: by this process, or by the executor.

use std::{io, time::Duration};

use muster_common::{ids::CommandId, tasks};

use super::{
    client::{Client, Reply, is_broken, unexpected},
    messages::{Extension, ExtensionAct, Said, Verb as Word},
    runs::{Look, PIECE, is_it_started},
};
use crate::{
    depot::{Depot, Launch, Manifest, Package},
    platform::runs::{self, NotStarted, Order},
};

/// It is looked so often, with this in between, whether what was asked to end has.
const ASKED: (u32, Duration) = (60, Duration::from_millis(100));
/// To unpack what is large.
const UNPACKS: Duration = Duration::from_secs(600);

/// Who has the extensions of this host. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Depots {
    /// This process. `None`: no systemd makes units for it; their programs are its children.
    Here(Depot, Option<runs::Runs>),
    /// The executor.
    Executor(Client),
}

impl Depots {
    /// Whether each program is a unit of its own, with limits that the kernel holds.
    #[must_use]
    pub const fn has_units(&self) -> bool {
        !matches!(self, Self::Here(_, None))
    }

    /// Unpacks a package that was admitted, and reads its manifest.
    ///
    /// # Errors
    /// `InvalidData`: the package is none. `InvalidInput`: the lock file is against it.
    pub async fn unpack(&self, package: &Package) -> io::Result<Manifest> {
        match self {
            Self::Here(depot, _) => {
                let (depot, package) = (depot.clone(), package.clone());
                tasks::blocking(move || depot.unpack(&package)).await
            }
            Self::Executor(client) => {
                let (client, word) = (client.clone(), Extension::of(ExtensionAct::Unpack, package));
                let answer = move || client.call_once(&Word::Extension(word), UNPACKS);
                let bytes = tasks::blocking(answer).await?.bytes()?.unwrap_or_default();
                serde_json::from_slice(&bytes).map_err(Into::into)
            }
        }
    }

    /// Writes the settings that programs find from now on.
    ///
    /// # Errors
    /// From the file system.
    pub async fn configure(&self, package: &Package, settings: &[u8], protected: &[u8]) -> io::Result<()> {
        match self {
            Self::Here(depot, _) => {
                let (depot, package) = (depot.clone(), package.clone());
                let (settings, protected) = (settings.to_vec(), protected.to_vec());
                tasks::blocking(move || depot.configure(&package, &settings, &protected)).await
            }
            Self::Executor(client) => {
                let word = Extension {
                    settings: settings.to_vec(),
                    protected: protected.to_vec(),
                    ..Extension::of(ExtensionAct::Configure, package)
                };
                client.ask(Word::Extension(word)).await?.done()
            }
        }
    }

    /// What a program is, for a child of this process. Only where there are no units.
    ///
    /// # Errors
    /// If there is no such program.
    pub async fn order(&self, launch: &Launch) -> io::Result<Order> {
        match self {
            Self::Here(depot, None) => {
                let (depot, launch) = (depot.clone(), launch.clone());
                tasks::blocking(move || depot.order(&launch)).await
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Starts a program as a unit, at most once for its id. Only where there are units.
    ///
    /// # Errors
    /// If nothing of it runs or ever will, or nobody says.
    pub async fn launch(&self, launch: &Launch) -> Result<(), NotStarted> {
        match self {
            Self::Here(depot, Some(runs)) => {
                let (depot, launch) = (depot.clone(), launch.clone());
                let order = tasks::blocking(move || depot.order(&launch)).await.map_err(NotStarted::Host)?;
                runs.reserve(order.id).await.map_err(NotStarted::Host)?;
                runs.start(order).await
            }
            Self::Here(_, None) => Err(NotStarted::Host(io::ErrorKind::Unsupported.into())),
            Self::Executor(client) => {
                let said = client.ask_once(Word::Extension(Extension::launch(launch))).await;
                match said.map(Reply::said) {
                    Ok(Said::Done(_)) => Ok(()),
                    Ok(Said::Locked(why)) => Err(NotStarted::Locked(why)),
                    Ok(other) => Err(NotStarted::Host(unexpected(other))),
                    Err(error) if is_unanswered(&error) => {
                        is_it_started(launch.id, error, || self.stands(launch.id)).await
                    }
                    Err(error) => Err(NotStarted::Host(error)),
                }
            }
        }
    }

    /// Whether something of it runs, or has run: otherwise nothing ever will.
    async fn stands(&self, id: CommandId) -> io::Result<bool> {
        let Self::Executor(client) = self else { return Ok(false) };
        let word = Extension::run(ExtensionAct::CallOff, id);
        if client.ask(Word::Extension(word)).await?.is()? {
            return Ok(false);
        }
        if self.look(id, [u64::MAX, u64::MAX]).await?.state.is_known {
            return Ok(true);
        }
        Err(io::Error::other("it could be neither called off nor found"))
    }

    /// The runs of which something is kept.
    ///
    /// # Errors
    /// If nobody says.
    pub async fn list(&self) -> io::Result<Vec<CommandId>> {
        match self {
            Self::Here(_, None) => Ok(Vec::new()),
            Self::Here(_, Some(runs)) => {
                let runs = runs.clone();
                Ok(tasks::blocking(move || runs.list()).await)
            }
            Self::Executor(client) => {
                let word = Extension { act: ExtensionAct::List.into(), ..Extension::default() };
                let names = client.ask(Word::Extension(word)).await?.paths()?;
                Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
            }
        }
    }

    /// How a unit stands, and what it has written after these places in its output.
    ///
    /// # Errors
    /// If nobody says.
    pub async fn look(&self, id: CommandId, [stdout, stderr]: [u64; 2]) -> io::Result<Look> {
        match self {
            Self::Here(_, None) => Ok(Look { is_gone: true, ..Look::default() }),
            Self::Here(_, Some(runs)) => {
                let is_gone = runs.is_gone(id).await.unwrap_or(false);
                let runs = runs.clone();
                let state = tasks::blocking(move || runs.look(id, [stdout, stderr], PIECE)).await;
                Ok(Look { state, is_gone })
            }
            Self::Executor(client) => {
                let word = Extension { stdout, stderr, ..Extension::run(ExtensionAct::Look, id) };
                match client.ask(Word::Extension(word)).await?.said() {
                    Said::Run(state) => Ok(state.into()),
                    other => Err(unexpected(other)),
                }
            }
        }
    }

    /// Ends all of a unit, and forgets it. One that never was is no error.
    ///
    /// # Errors
    /// If it lives on.
    pub async fn end(&self, id: CommandId) -> io::Result<()> {
        match self {
            Self::Here(_, None) => Ok(()),
            Self::Here(_, Some(runs)) => end(runs, id).await,
            Self::Executor(client) => {
                let word = Extension::run(ExtensionAct::End, id);
                client.ask(Word::Extension(word)).await?.done()
            }
        }
    }

    /// What the last verb wrote about itself.
    ///
    /// # Errors
    /// From the file system.
    pub async fn status(&self, package: &Package) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Here(depot, _) => {
                let (depot, package) = (depot.clone(), package.clone());
                tasks::blocking(move || depot.status(&package)).await
            }
            Self::Executor(client) => {
                client.ask(Word::Extension(Extension::of(ExtensionAct::Status, package))).await?.bytes()
            }
        }
    }

    /// Takes away all packages of an extension but these.
    ///
    /// # Errors
    /// From the file system.
    pub async fn keep(&self, name: &str, packages: &[Package]) -> io::Result<()> {
        match self {
            Self::Here(depot, _) => {
                let (depot, name, packages) = (depot.clone(), name.to_owned(), packages.to_vec());
                tasks::blocking(move || depot.keep(&name, &packages)).await
            }
            Self::Executor(client) => {
                let word = Extension::named(ExtensionAct::Keep, name, packages);
                client.ask(Word::Extension(word)).await?.done()
            }
        }
    }

    /// Takes away all that there is of an extension.
    ///
    /// # Errors
    /// From the file system.
    pub async fn clear(&self, name: &str) -> io::Result<()> {
        match self {
            Self::Here(depot, _) => {
                let (depot, name) = (depot.clone(), name.to_owned());
                tasks::blocking(move || depot.clear(&name)).await
            }
            Self::Executor(client) => {
                let word = Extension::named(ExtensionAct::Clear, name, &[]);
                client.ask(Word::Extension(word)).await?.done()
            }
        }
    }
}

/// It was said, and may have been done.
fn is_unanswered(error: &io::Error) -> bool {
    is_broken(error) || error.kind() == io::ErrorKind::TimedOut
}

/// Ends all of a unit, and forgets it.
///
/// # Errors
/// If it lives on.
pub async fn end(runs: &runs::Runs, id: CommandId) -> io::Result<()> {
    if !runs.call_off(id).await {
        // It may tidy up first; systemd kills what has not ended after its grace.
        let asked = runs.stop(id).await.is_ok();
        for _ in 0..ASKED.0 {
            if !asked || runs.is_gone(id).await.unwrap_or(false) {
                break;
            }
            tokio::time::sleep(ASKED.1).await;
        }
        runs.kill(id).await?;
    }
    let runs = runs.clone();
    tasks::blocking(move || runs.clear(id)).await
}
