//! Boots the host, once. The boot that was is written down before anything is asked for;
//! another boot id is the proof, and the process that finds it reports it.

use std::{io, pin::pin, sync::atomic::Ordering, time::Duration};

use muster_common::{crash, reason::Reason};
use muster_proto::types::v1::{self as types, command_result};

use super::{Left, Options, Stop, Voice, failed, not_begun, with_result};
use crate::{
    commands::kinds::Kind,
    ledger::Entry,
    platform::process,
    state::{CommandState, Report},
};

const MAX_DELAY_S: u32 = 3600;
const MAX_MESSAGE: usize = 1024;
/// A host that was asked to boot and has not by then stays up.
const GOES_DOWN: Duration = Duration::from_secs(10 * 60);

/// A boot that can be.
#[derive(Debug, PartialEq)]
pub(in crate::commands) struct Wish {
    delay: Duration,
    message: String,
}

impl Wish {
    pub(in crate::commands) fn check(args: types::Reboot) -> Result<Self, String> {
        if args.delay_s > MAX_DELAY_S {
            return Err(format!("delay_s is {}; it may be {MAX_DELAY_S}", args.delay_s));
        }
        if args.message.len() > MAX_MESSAGE || args.message.contains(char::is_control) {
            return Err(format!("message may have {MAX_MESSAGE} bytes and no control characters"));
        }
        Ok(Self { delay: Duration::from_secs(args.delay_s.into()), message: args.message })
    }
}

pub(super) async fn run(
    wish: &Wish,
    options: &Options,
    voice: &Voice,
    stop: impl Future<Output = Stop>,
) -> Report {
    if let Err(why) = options.hands.can_reboot() {
        return failed(voice, Reason::UnavailableOnHost, why);
    }
    let mut stop = pin!(stop);
    let wait = async {
        if !wish.message.is_empty() {
            options.hands.tell(&wish.message).await;
        }
        tokio::time::sleep(wish.delay).await;
    };
    tokio::select! {
        biased;
        why = &mut stop => return why.report(voice),
        () = wait => {}
    }
    if let Err(error) = voice.noted(process::boot_id()).await {
        return failed(voice, Reason::StartFailed, format!("it cannot be written down: {error}"));
    }
    crash::point("agent.reboot.noted");
    // Before: it may be down as soon as it is asked.
    options.rebooting.store(true, Ordering::Relaxed);
    match options.hands.reboot().await {
        Ok(()) => tracing::warn!("this host was asked to boot anew"),
        // Nobody said no: it may come all the same.
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            tracing::warn!("systemd does not say whether it boots this host anew");
        }
        Err(error) => {
            options.rebooting.store(false, Ordering::Relaxed);
            return not_begun(&error, error.to_string(), voice);
        }
    }
    goes_down(options, voice, stop).await
}

/// Ends only if the host stays up.
pub(super) async fn goes_down(options: &Options, voice: &Voice, stop: impl Future<Output = Stop>) -> Report {
    options.rebooting.store(true, Ordering::Relaxed);
    let message = "the host was asked to boot anew, and has not in time; it still may";
    match stop.await {
        Stop::TimedOut => voice.report(CommandState::TimedOut).because(Reason::NotRebooted, message),
        // It cannot be called back: what it comes to is still worth knowing.
        Stop::Cancelled => {
            tokio::time::sleep(GOES_DOWN).await;
            failed(voice, Reason::NotRebooted, message)
        }
    }
}

/// Of an order that an earlier process had begun.
pub(super) fn left(entry: &Entry, options: &Options) -> Left {
    left_in(entry, options, process::boot_id())
}

fn left_in(entry: &Entry, options: &Options, now: String) -> Left {
    match &entry.was {
        // It ended before it asked for anything; if the host booted, then not for this order.
        None => Left::Unknown,
        Some(was) if *was == now => Left::Comes(Kind::Rebooting),
        Some(was) => {
            let result = types::RebootResult { old_boot_id: was.clone(), new_boot_id: now };
            let report = Report::new(0, CommandState::Succeeded, options.clock.now());
            Left::Ended(with_result(report, command_result::Kind::Reboot(result)))
        }
    }
}
