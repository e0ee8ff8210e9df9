//! Who is at the other end of a connection: what the kernel says of the process that
//! opened it. Whoever hands an open connection on hands its rights on, too.

use std::{io, sync::Arc};

use tokio::net::UnixStream;

use crate::platform;

/// A process of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
    /// The process when it connected; 0: the kernel does not say. Only for logs: it may be
    /// another one by now.
    pub pid: i32,
    /// It is root, or the agent's own user.
    pub is_owner: bool,
}

/// The unit of systemd in which a caller ran when it connected, if it did in one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unit(pub Option<Arc<str>>);

impl Caller {
    /// The peer of a connection.
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let peer = stream.peer_cred()?;
        let uid = peer.uid();
        let is_owner = uid == 0 || uid == rustix::process::geteuid().as_raw();
        Ok(Self { uid, gid: peer.gid(), pid: peer.pid().unwrap_or_default(), is_owner })
    }
}

impl Unit {
    /// Of the peer of a connection.
    pub(super) fn of(stream: &UnixStream) -> Self {
        Self(platform::peer::unit(stream).map(Arc::from))
    }
}
