//! As whom a command works, where the agent is split: what root does to the state of the
//! daemon is done as the daemon's user, or the daemon could not use it.

use std::{io, os::unix::fs::MetadataExt as _, path::Path};

use nix::unistd::{Gid, Uid, setegid, seteuid, setgroups};

use crate::{
    platform::accounts,
    verbs::{Client, Hands, SOCKET},
};

/// The user of the daemon of a split agent.
pub(super) const USER: &str = "muster";

/// Works as the owner of the state directory from now on, if root was asked to work there.
pub(super) fn become_owner(state: &Path) -> io::Result<()> {
    let owner = std::fs::metadata(state)?;
    if owner.uid() == 0 || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // In this order: afterwards there is no right to.
    setgroups(&[Gid::from_raw(owner.gid())])?;
    setegid(Gid::from_raw(owner.gid()))?;
    Ok(seteuid(Uid::from_raw(owner.uid()))?)
}

/// Who has the rights of the host's administrator, for a command that works as it is.
pub(super) fn hands() -> Hands {
    let is_daemon = accounts::user(USER).is_ok_and(|user| user == accounts::me().0);
    if is_daemon && Path::new(SOCKET).exists() { executor() } else { Hands::Here }
}

/// The executor of this host.
pub(super) fn executor() -> Hands {
    Hands::Executor(Client::new(Path::new(SOCKET)))
}
