//! The room for extensions, joined to where packages come from, to who runs their programs,
//! and to what opens protected settings.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use muster_common::ids::NodeId;
use tokio::sync::watch;

use super::{Error, House};
use crate::{
    applier,
    artifacts::{Artifacts, Wanted},
    depot::{Admitted, Depot},
    extensions::{self, Artifact, Options, Source, Task, Told},
    platform::runs::Runs,
    proxy::Rules,
    state::{ItemError, Keeper},
    state_dir::StateDir,
    verbs::{Depots, Hands},
};

/// Files of the signed repository.
struct Repository(Artifacts);

impl Source for Repository {
    fn obtain(&self, artifact: &Artifact, told: Told) -> BoxFuture<'static, Result<(), ItemError>> {
        let Artifact { target, size, sha256 } = artifact.clone();
        let artifacts = self.0.clone();
        Box::pin(async move {
            let obtained = artifacts.obtain(&Wanted { target, size, sha256 }, told).await;
            obtained.map(drop).map_err(|error| ItemError {
                reason: error.reason,
                cause: error.cause,
                message: error.message,
                output: Vec::new(),
            })
        })
    }
}

/// The room, opened, and how others hold it.
pub(super) async fn open(
    house: &House,
    folder: &Path,
    artifacts: Artifacts,
    applier: applier::Handle,
    proxies: watch::Receiver<Rules>,
) -> Result<(Keeper, extensions::Handle, Task), Error> {
    let folder = records(folder);
    let store = artifacts.store_here();
    let admitted: Admitted = Arc::new(move |sha256| {
        let store = store.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        store.open_signed(sha256)
    });
    let options = Options {
        depots: depots(&house.hands, house.program.as_deref(), &folder, admitted),
        folder,
        source: Arc::new(Repository(artifacts)),
        locks: house.locks.clone(),
        clock: house.clock.clone(),
        pauses: house.local.pauses(),
        open: Arc::new(move |item, sha256, sealed| applier.open_sealed(item, sha256, sealed)),
        way_out: Arc::new(move || proxies.borrow().variables()),
    };
    Ok(Task::open(options).await?)
}

/// The host leaves its fleet: what runs of extensions ends. Their verbs are not run.
pub(super) async fn leave(state: &StateDir, node: NodeId, hands: &Hands) -> Result<(), Error> {
    let folder = records(&state.node(node));
    let program = std::env::current_exe().ok();
    let nothing: Admitted = Arc::new(|_| Err(io::ErrorKind::Unsupported.into()));
    let depots = depots(hands, program.as_deref(), &folder, nothing);
    Ok(extensions::leave(&folder, &depots).await?)
}

/// In one process packages lie with the node; the executor has its own place for them.
fn depots(hands: &Hands, program: Option<&Path>, folder: &Path, admitted: Admitted) -> Depots {
    match hands {
        Hands::Executor(client) => Depots::Executor(client.clone()),
        Hands::Here => {
            let runs = program.and_then(|program| Runs::of_this_host(program, &folder.join("runs")));
            Depots::Here(Depot::new(&folder.join("packages"), admitted), runs)
        }
    }
}

fn records(folder: &Path) -> PathBuf {
    folder.join("extensions")
}
