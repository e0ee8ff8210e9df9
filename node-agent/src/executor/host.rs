//! Verbs about units, journals and boots.

use std::io;

use muster_common::{clock::UnixMillis, unit_name};
use tokio::{io::AsyncReadExt as _, net::UnixStream};

use super::Peer;
use crate::{
    locks::Locks,
    platform::{
        journal, power,
        process::Group,
        services, systemd,
        tool::{self, Broken},
    },
    verbs::{
        frame::{self, DONE, NONE, invalid},
        messages::{self, Journal, Nothing, Reboot, Said},
        tools,
    },
};

/// The units of the agent itself, whatever they are doing now.
const OWN: [&str; 3] = ["muster-executor.service", "muster-executor.socket", "muster-node-agent.service"];
/// Read of a journal at once.
const PIECE: usize = 16 * 1024;
/// Longest word to people.
const MOST_TOLD: usize = 1024;

/// Acts on a unit until who asked hangs up.
pub(super) async fn service(
    wish: &messages::Service,
    locks: &Locks,
    peer: &Peer,
    hung_up: impl Future<Output = ()>,
) -> Said {
    let unit = &wish.unit;
    let act = match (unit_name::check(unit), tools::act(wish.act)) {
        (Ok(()), Ok(act)) => act,
        (Err(wrong), _) => return frame::failed(&invalid(wrong.to_string())),
        (_, Err(error)) => return frame::failed(&error),
    };
    if let Some(why) = locks.refuses_command("service").or_else(|| locks.refuses_service(unit)) {
        return Said::Locked(why);
    }
    let own: Vec<String> = OWN.iter().map(|own| (*own).to_owned()).chain([peer.unit.clone()]).collect();
    match services::act(act, unit, &own, hung_up).await {
        Ok(acted) => tools::told(acted),
        Err(Broken::Stopped(())) => Said::Stopped(Nothing {}),
        Err(Broken::Io(error)) => frame::failed(&error),
    }
}

/// Reads a journal, piece by piece, until it ends or who asked hangs up.
pub(super) async fn journal(
    wish: &Journal,
    locks: &Locks,
    peer: &Peer,
    stream: &mut UnixStream,
) -> io::Result<()> {
    let unit = match may_read(wish, locks, peer).await {
        Ok(unit) => unit,
        Err(said) => return frame::answer(stream, said).await,
    };
    // Dropped: it is ended. So it goes no further than somebody listens.
    let mut group = Group::spawn(journal::command(&unit, UnixMillis(wish.since_ms)))?;
    let (stdout, stderr) = group.outputs();
    if let Some(mut stdout) = stdout {
        let mut piece = vec![0; PIECE];
        while let Ok(read @ 1..) = stdout.read(&mut piece).await {
            frame::answer(stream, Said::Bytes(piece[..read].to_vec())).await?;
        }
    }
    if !group.wait().await?.success() {
        let mut said = Vec::new();
        if let Some(stderr) = stderr {
            stderr.take(PIECE as u64).read_to_end(&mut said).await?;
        }
        frame::answer(stream, Said::Bytes(journal::objection(&said))).await?;
    }
    frame::answer(stream, DONE).await
}

/// The unit whose journal it may be.
async fn may_read(wish: &Journal, locks: &Locks, peer: &Peer) -> Result<String, Said> {
    if let Some(why) = locks.refuses_command("collect-logs") {
        return Err(Said::Locked(why));
    }
    if wish.unit.is_empty() {
        let unit = &peer.unit;
        let may = is_own(unit, peer).await || locks.refuses_journal(unit).is_none();
        return if may { Ok(unit.clone()) } else { Err(NONE) };
    }
    let unit = &wish.unit;
    unit_name::check(unit).map_err(|wrong| frame::failed(&invalid(wrong.to_string())))?;
    match locks.refuses_journal(unit) {
        Some(why) => Err(Said::Locked(why)),
        None => Ok(unit.clone()),
    }
}

/// A service whose main process asks speaks of nobody else.
async fn is_own(unit: &str, peer: &Peer) -> bool {
    let shown = tool::run(systemd::show(unit), std::future::pending::<()>()).await;
    let Ok(shown) = shown else { return false };
    let main = systemd::unit(&String::from_utf8_lossy(&shown.stdout)).main_pid;
    unit.ends_with(".service") && main != 0 && peer.pid.and_then(|pid| u32::try_from(pid).ok()) == Some(main)
}

/// Boots the host, or tells people that it will be.
pub(super) async fn reboot(wish: Reboot, locks: &Locks) -> io::Result<Said> {
    if let Some(why) = locks.refuses_command("reboot") {
        return Ok(Said::Locked(why));
    }
    match wish.tell {
        Some(message) if message.len() > MOST_TOLD || message.contains(char::is_control) => {
            Err(invalid(format!("people are told at most {MOST_TOLD} bytes, without control characters")))
        }
        Some(message) => {
            power::tell(&message).await;
            Ok(DONE)
        }
        None => power::reboot().await.map(|()| DONE),
    }
}
