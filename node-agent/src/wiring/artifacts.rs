//! The agent's way to files of the signed repository.

use std::{io, sync::Arc};

use muster_common::{clock::Clock, settings::MirrorUrl};
use tokio::sync::watch;

use super::settings::Layers;
use crate::{
    admission::{self, Quota, Store},
    artifacts::{Artifacts, ControlPlane, Limits, Options, Place},
    config::{self, Config},
    dial::Dialer,
    identity::Identity,
    locks,
    verbs::Hands,
};

/// What an agent obtains files with: into the executor's store, or its own where it is one
/// process. In the state directory is what is on its way, and that store.
///
/// # Errors
/// If the store of this process cannot be opened.
pub fn open(
    config: &Config,
    hands: &Hands,
    identity: watch::Receiver<Identity>,
    dialer: Dialer,
    mirror: watch::Receiver<Option<MirrorUrl>>,
) -> io::Result<Artifacts> {
    let folder = config.state_dir.join("artifacts");
    let quota = quota(config, &locks::Reader::new(config.locks_file.clone()));
    let store = match hands {
        Hands::Executor(client) => Place::There(client.clone()),
        Hands::Here => Place::Here(Store::open(admission::Options {
            folder: folder.join("store"),
            root: config.artifacts_root.clone(),
            quota: quota.clone(),
            clock: Clock::System,
        })?),
    };
    Ok(Artifacts::new(Options {
        folder: folder.join("incoming"),
        root: config.artifacts_root.clone(),
        store,
        quota,
        mirror,
        control_plane: Some(ControlPlane::new(identity, dialer.clone())),
        dialer,
        limits: Limits::default(),
        clock: Clock::System,
    }))
}

/// What a store may have, as the host's files say at any moment.
#[must_use]
pub fn quota(config: &Config, locks: &locks::Reader) -> Quota {
    let (reader, locks) = (config::Reader::new(config.clone()), locks.clone());
    let nobody = Arc::new(std::collections::BTreeMap::new());
    Quota::new(move || {
        let (configuration, locks) = (&reader.settings(), &locks.current());
        Layers { control_plane: &nobody, configuration, locks }.artifacts_quota()
    })
}
