//! Makes an archive of what the host can say about the agent and some units, without
//! credentials, and brings it to the control plane.

mod archive;
mod own;
mod tail;

use std::{io, path::PathBuf, pin::pin, time::Duration};

use muster_common::{
    backoff::Backoff, clock::UnixMillis, digest::Sha256, reason::Reason, telemetry, unit_name,
};
use muster_proto::types::v1::{self as types, command_result};

use super::{Options, Stop, Voice, failed, with_result};
use crate::{
    commands::errands::File,
    locks::Locks,
    platform::{files, journal, tool::Broken},
    state::{CommandState, Report, Ticket},
};
pub(in crate::commands) use archive::Archive;
use archive::Made;
pub(in crate::commands) use tail::Tail;

const DEFAULT_SINCE_S: u32 = 24 * 3600;
const MAX_SINCE_S: u32 = 30 * 24 * 3600;
const MAX_UNITS: usize = 32;
const DEFAULT_BYTES: u64 = 8 * 1024 * 1024;
const MIN_BYTES: u64 = 64 * 1024;
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Of what the agent says about itself, each.
const ABOUT: usize = 256 * 1024;
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// An archive that can be made.
#[derive(Debug, PartialEq)]
pub(in crate::commands) struct Wish {
    since: Duration,
    units: Vec<String>,
    max_bytes: u64,
}

impl Wish {
    pub(in crate::commands) fn check(args: types::CollectLogs) -> Result<Self, String> {
        if args.since_s > MAX_SINCE_S {
            return Err(format!("since_s is {}; it may be {MAX_SINCE_S}", args.since_s));
        }
        if args.units.len() > MAX_UNITS {
            return Err(format!("there are {} units; there may be {MAX_UNITS}", args.units.len()));
        }
        for unit in &args.units {
            unit_name::check(unit).map_err(|wrong| wrong.to_string())?;
        }
        if args.max_bytes != 0 && !(MIN_BYTES..=MAX_BYTES).contains(&args.max_bytes) {
            return Err(format!("max_bytes is {}; it may be {MIN_BYTES} to {MAX_BYTES}", args.max_bytes));
        }
        let or = |said, default| if said == 0 { default } else { said };
        Ok(Self {
            since: Duration::from_secs(or(args.since_s, DEFAULT_SINCE_S).into()),
            max_bytes: if args.max_bytes == 0 { DEFAULT_BYTES } else { args.max_bytes },
            units: args.units,
        })
    }

    pub(super) fn locked(&self, locks: &Locks) -> Option<String> {
        self.units.iter().find_map(|unit| locks.refuses_journal(unit))
    }
}

/// The archive's file, gone when it was brought, or will not be.
struct ArchiveFile(PathBuf);

impl Drop for ArchiveFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(super) async fn run(
    wish: &Wish,
    ticket: &Ticket,
    options: &Options,
    voice: &Voice,
    stop: impl Future<Output = Stop>,
) -> Report {
    let mut stop = pin!(stop);
    let file = ArchiveFile(options.scripts.join(format!("{}.tar.gz", ticket.id)));
    let begun = files::private_folder(&options.scripts).and_then(|()| Archive::create(&file.0));
    let made = match begun {
        Ok(archive) => make(wish, options, archive, &mut stop).await,
        Err(error) => Err(Broken::Io(error)),
    };
    let (made, cut) = match made {
        Ok(made) => made,
        Err(Broken::Stopped(why)) => return why.report(voice),
        Err(Broken::Io(error)) => {
            return failed(voice, Reason::WriteFailed, format!("the archive could not be written: {error}"));
        }
    };
    let Made { sha256, size_bytes } = made;
    let brought = File { command: ticket.id, path: file.0.clone(), sha256, size_bytes };
    tokio::select! {
        biased;
        why = stop => why.report(voice),
        report = bring(brought, options, voice) => match report {
            None => with_result(voice.report(CommandState::Succeeded), result(sha256, size_bytes, cut)),
            Some(report) => report,
        },
    }
}

fn result(sha256: Sha256, size_bytes: u64, cut: bool) -> command_result::Kind {
    let sha256 = sha256.as_bytes().to_vec().into();
    command_result::Kind::CollectLogs(types::CollectLogsResult { sha256, size_bytes, cut })
}

/// Brings the archive, however often it takes; or says why not.
async fn bring(file: File, options: &Options, voice: &Voice) -> Option<Report> {
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    loop {
        match options.errands.bring(file.clone()).await {
            Ok(()) => return None,
            Err(error) if error.passes() => {
                tracing::info!(%error, "an archive did not come to the control plane; trying again");
                tokio::time::sleep(backoff.next_wait()).await;
            }
            Err(error) => {
                let reason = error.reason.unwrap_or(Reason::Internal);
                let message = format!("the control plane does not take the archive: {}", error.message);
                return Some(failed(voice, reason, message));
            }
        }
    }
}

/// Fills an archive; answers whether something was cut, too.
async fn make(
    wish: &Wish,
    options: &Options,
    archive: Archive,
    mut stop: impl Future<Output = Stop> + Unpin,
) -> Result<(Made, bool), Broken<Stop>> {
    let mut filling = Filling { archive, left: wish.max_bytes, cut: false, at: options.clock.now().0 / 1000 };
    for (name, text) in options.errands.describe() {
        filling.add(format!("about/{name}"), text.as_bytes(), ABOUT).await?;
    }
    filling.add("agent.log".to_owned(), &telemetry::recent(), usize::MAX).await?;
    let own = own::journal(options, &mut stop).await?.filter(|own| !wish.units.contains(own));
    let units: Vec<&String> = own.iter().chain(&wish.units).collect();
    for (n, unit) in units.iter().enumerate() {
        // What one leaves over is for those after it.
        let share = filling.left / (units.len() - n) as u64;
        let mut tail = Tail::new(usize::try_from(share).unwrap_or(usize::MAX));
        let since = options.clock.now() - wish.since;
        let is_own = n == 0 && own.is_some() && options.hands.asks_for_own_journal();
        let asked = if is_own { "" } else { unit.as_str() };
        if !options.hands.journal(asked, since, |piece| tail.push(piece), &mut stop).await? {
            continue;
        }
        filling.put(format!("journal/{unit}.log"), tail).await?;
    }
    let cut = filling.cut;
    Ok((filling.archive.finish().await.map_err(Broken::Io)?, cut))
}

/// Reads a journal to its end, for somebody who waits; a pattern of units is one journal.
pub(in crate::commands) async fn read_journal(
    unit: &str,
    since: UnixMillis,
    tail: &mut Tail,
) -> io::Result<()> {
    let read = journal::read(unit, since, |piece| tail.push(piece), std::future::pending::<()>()).await;
    read.map_err(|()| io::ErrorKind::Interrupted.into()) // nobody stops it
}

/// An archive that is being filled.
struct Filling {
    archive: Archive,
    left: u64,
    cut: bool,
    at: i64,
}

impl Filling {
    /// Adds a text without its credentials, as far as there is room; at most `most` of it.
    async fn add(&mut self, name: String, text: &[u8], most: usize) -> Result<(), Broken<Stop>> {
        let mut tail = Tail::new(usize::try_from(self.left).unwrap_or(usize::MAX).min(most));
        tail.push(text);
        self.put(name, tail).await
    }

    async fn put(&mut self, name: String, tail: Tail) -> Result<(), Broken<Stop>> {
        let text = tail.finish();
        self.cut |= text.is_cut();
        self.left = self.left.saturating_sub(text.len());
        self.archive.add(name, text, self.at).await.map_err(Broken::Io)
    }
}
