//! The item of the agent's own version, put to where releases come from, and to who may
//! bring them: this process, or the executor.

use std::{path::Path, sync::Arc};

use futures_util::future::BoxFuture;
use muster_common::{build_info, reason::Reason, tasks};

use super::{Error, House};
use crate::{
    admission::Store,
    artifacts::{Artifacts, Wanted},
    config::{Config, Upgrade},
    release::{Archive, Content, Options, Port, Task, Told},
    state::{Cause, ItemError, Keeper},
    upgrader::{
        machine::Limits,
        order::{self, Order, Orders},
    },
    verbs::{
        Client, Hands, No,
        messages::{Artifact, UpgradeStart, UpgradeState},
    },
};

/// Who upgrades.
#[derive(Clone)]
enum Upgrades {
    Here(Orders, Store),
    There(Client),
    /// Nobody can.
    Nobody,
}

/// The host, as the room needs it.
struct ThisHost {
    artifacts: Artifacts,
    upgrades: Upgrades,
}

impl Port for ThisHost {
    fn obtain(&self, archive: &Archive, told: Told) -> BoxFuture<'static, Result<(), ItemError>> {
        let (wanted, artifacts) = (wanted(archive), self.artifacts.clone());
        Box::pin(async move {
            let obtained = artifacts.obtain(&wanted, told).await;
            obtained.map(drop).map_err(|error| failed(error.reason, error.cause, error.message))
        })
    }

    fn start(&self, content: &Content) -> BoxFuture<'static, Result<UpgradeState, ItemError>> {
        let (content, upgrades) = (content.clone(), self.upgrades.clone());
        Box::pin(async move {
            let done = match upgrades {
                Upgrades::Here(orders, store) => orders.start(&order(&content), &store).await,
                Upgrades::There(client) => tasks::blocking(move || client.upgrade(words(&content))).await,
                Upgrades::Nobody => Err(nobody()),
            };
            done.map_err(|no| failed(no.reason, no.cause, no.message))
        })
    }

    fn look(&self) -> BoxFuture<'static, Result<UpgradeState, ItemError>> {
        let upgrades = self.upgrades.clone();
        Box::pin(async move {
            let seen = match upgrades {
                Upgrades::Here(orders, _) => orders.look().await,
                Upgrades::There(client) => tasks::blocking(move || client.upgrades()).await,
                Upgrades::Nobody => Err(nobody()),
            };
            seen.map_err(|no| failed(no.reason, no.cause, no.message))
        })
    }
}

/// The room, opened.
pub(super) async fn open(
    house: &House,
    folder: &Path,
    artifacts: Artifacts,
) -> Result<(Keeper, Task), Error> {
    let orders = || {
        Orders::new(order::Options {
            state_dir: house.config.state_dir.clone(),
            config: house.config.path.clone(),
            limits: limits(&house.config),
            locks: house.locks.clone(),
        })
    };
    let upgrades = match (&house.hands, artifacts.store_here()) {
        (Hands::Executor(client), _) => Upgrades::There(client.clone()),
        (Hands::Here, Some(store)) => Upgrades::Here(orders(), store),
        (Hands::Here, None) => Upgrades::Nobody,
    };
    let options = Options {
        folder: folder.join("release"),
        version: build_info::version().to_owned(),
        port: Arc::new(ThisHost { artifacts, upgrades }),
        locks: house.locks.clone(),
        clock: house.clock.clone(),
        pauses: house.local.pauses(),
    };
    Ok(Task::open(options).await?)
}

/// How long another version is watched on this host.
pub(crate) fn limits(config: &Config) -> Limits {
    let Upgrade { probation, patience } = config.upgrade;
    Limits { probation, patience, ..Limits::default() }
}

fn wanted(archive: &Archive) -> Wanted {
    Wanted { target: archive.target.clone(), size: archive.size, sha256: archive.sha256 }
}

fn order(content: &Content) -> Order {
    Order {
        version: content.version.clone(),
        package_version: content.package_version.clone(),
        archive: content.archive.as_ref().map(wanted),
    }
}

fn words(content: &Content) -> UpgradeStart {
    UpgradeStart {
        version: content.version.clone(),
        package_version: content.package_version.clone(),
        artifact: content.archive.as_ref().map(|archive| Artifact {
            target: archive.target.clone(),
            size: archive.size,
            sha256: archive.sha256.as_bytes().to_vec(),
        }),
    }
}

fn failed(reason: Reason, cause: Cause, message: String) -> ItemError {
    ItemError { reason, cause, message, output: Vec::new() }
}

fn nobody() -> No {
    let message = "this agent has no store for files of the repository".to_owned();
    No { reason: Reason::UpgradeUnavailable, cause: Cause::Host, message }
}
