//! Verbs about extensions. What may be brought, and how much it may use, the lock file says;
//! what is run stands in the package. What leads out of the host is always allowed.

use std::{io, path::Path};

use muster_common::{ids::CommandId, tasks};

use crate::{
    depot::{Depot, MOST_SETTINGS, Package},
    locks::{self, Act, Name},
    platform::runs::{NotStarted, Runs},
    verbs::{
        extensions::end,
        frame::{DONE, NONE, invalid},
        messages::{Extension, ExtensionAct, Names, Said},
        runs::{Look, PIECE, id},
    },
};

/// Does them.
#[derive(Debug)]
pub(super) struct Extensions {
    depot: Depot,
    runs: Runs,
    locks: locks::Reader,
}

impl Extensions {
    /// `folder`: where it keeps what their units leave.
    pub(super) fn open(
        depot: Depot,
        program: &Path,
        folder: &Path,
        locks: locks::Reader,
    ) -> io::Result<Self> {
        let runs = Runs::of_this_host(program, folder);
        let runs = runs.ok_or_else(|| io::Error::other("this process is not root on a host with systemd"))?;
        Ok(Self { depot, runs, locks })
    }

    pub(super) async fn attend(&self, word: Extension) -> io::Result<Said> {
        match ExtensionAct::try_from(word.act).unwrap_or(ExtensionAct::Unspecified) {
            ExtensionAct::Unspecified => Err(invalid("an extension, and nothing to do with it".to_owned())),
            ExtensionAct::Unpack => self.unpack(word.package()?).await,
            ExtensionAct::Configure => self.configure(word).await,
            ExtensionAct::Launch => self.launch(&word).await,
            ExtensionAct::Look => self.look(id(&word.id)?, [word.stdout, word.stderr]).await,
            ExtensionAct::End => end(&self.runs, id(&word.id)?).await.map(|()| DONE),
            ExtensionAct::CallOff => Ok(Said::Is(self.runs.call_off(id(&word.id)?).await)),
            ExtensionAct::List => {
                let runs = self.runs.clone();
                let ids = tasks::blocking(move || runs.list()).await;
                Ok(Said::Names(Names { names: ids.iter().map(ToString::to_string).collect() }))
            }
            ExtensionAct::Status => {
                let (depot, package) = (self.depot.clone(), word.package()?);
                let status = tasks::blocking(move || depot.status(&package)).await?;
                Ok(status.map_or(NONE, Said::Bytes))
            }
            ExtensionAct::Keep => {
                let (name, kept) = named(&word)?;
                let depot = self.depot.clone();
                tasks::blocking(move || depot.keep(&name, &kept)).await.map(|()| DONE)
            }
            ExtensionAct::Clear => {
                let (name, _) = named(&word)?;
                let depot = self.depot.clone();
                tasks::blocking(move || depot.clear(&name)).await.map(|()| DONE)
            }
        }
    }

    async fn unpack(&self, package: Package) -> io::Result<Said> {
        if let Some(why) = self.refuses(&package, Act::Bring) {
            return Ok(Said::Locked(why));
        }
        let depot = self.depot.clone();
        let manifest = tasks::blocking(move || depot.unpack(&package)).await?;
        Ok(Said::Bytes(serde_json::to_vec(&manifest)?))
    }

    /// Settings may also be written on the way out: `disable` and `uninstall` read them.
    async fn configure(&self, word: Extension) -> io::Result<Said> {
        let package = word.package()?;
        if word.settings.len().max(word.protected.len()) > MOST_SETTINGS {
            return Err(invalid(format!("settings have at most {MOST_SETTINGS} bytes")));
        }
        let depot = self.depot.clone();
        let put = move || depot.configure(&package, &word.settings, &word.protected);
        tasks::blocking(put).await.map(|()| DONE)
    }

    async fn launch(&self, word: &Extension) -> io::Result<Said> {
        let launch = word.as_launch()?;
        // First of all, as with every run: what is called off is not started.
        self.runs.reserve(launch.id).await?;
        let act = if launch.verb.leads_out() { Act::Remove } else { Act::Bring };
        if let Some(why) = self.refuses(&launch.package, act) {
            self.runs.give_back(launch.id).await;
            return Ok(Said::Locked(why));
        }
        let (depot, id) = (self.depot.clone(), launch.id);
        // What the package calls itself is looked at once more: by that the lock file knows it.
        let order = match tasks::blocking(move || depot.order(&launch)).await {
            Ok(order) => self.locks.current().bounded(order),
            Err(error) => {
                self.runs.give_back(id).await;
                return Err(error);
            }
        };
        match self.runs.start(order).await {
            Ok(()) => Ok(DONE),
            Err(NotStarted::Locked(why)) => Ok(Said::Locked(why)),
            Err(NotStarted::Host(error)) => Err(error),
            Err(NotStarted::UserUnknown) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    async fn look(&self, id: CommandId, after: [u64; 2]) -> io::Result<Said> {
        let is_gone = self.runs.is_gone(id).await.unwrap_or(false);
        let runs = self.runs.clone();
        let state = tasks::blocking(move || runs.look(id, after, PIECE)).await;
        Ok(Said::Run(Look { state, is_gone }.into()))
    }

    fn refuses(&self, package: &Package, act: Act) -> Option<String> {
        let text = format!("{}/{}", package.publisher, package.kind);
        match Name::parse(&text) {
            Some(name) => self.locks.current().refuses_extension(&name, act),
            None => Some(format!("{text:?} is no extension that a lock file could name")),
        }
    }
}

/// The name, and the packages behind it.
fn named(word: &Extension) -> io::Result<(String, Vec<Package>)> {
    let (first, others) = word.packages.split_first().ok_or_else(|| invalid("no extension".to_owned()))?;
    let packages = others.iter().map(Package::try_from).collect::<io::Result<_>>()?;
    Ok((first.name.clone(), packages))
}
