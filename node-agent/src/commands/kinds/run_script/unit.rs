//! A script as a unit of its own. The agent only follows what the unit's first process
//! keeps in files, so that another process of the agent can go on where this one ends.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
    pin::pin,
    time::Duration,
};

use muster_common::{crash, ids::CommandId, reason::Reason};
use tokio_util::sync::CancellationToken;

use super::{Halt, Script, Stop, not_started, place, told};
use crate::{
    commands::{Options, output::PIECE, voice::Voice},
    locks::Caps,
    platform::{
        accounts::Account,
        files,
        process::boot_id,
        supervise::{Asked, Ended, Job, Place},
        units::{Limits, SCRIPTS, Unit, Units},
    },
    state::{CommandState, Report, Ticket},
};

/// Between looks at what it has said.
const POLL: Duration = Duration::from_millis(100);
/// So many of them between looks whether the unit is still there, and while it is to end.
const LOOKS: (u32, u32) = (10, 2);
/// So many without a word, and a line that is not over is held back no longer.
const LINE_WAITS: u32 = 10;
/// So many until what was to end, and is still there, is ended again: systemd may not have
/// answered. Longer than it has to end by itself.
const AGAIN: u32 = 100;

/// What a run has around it.
pub(super) struct Around<'a> {
    pub(super) ticket: &'a Ticket,
    pub(super) options: &'a Options,
    pub(super) units: &'a Units,
    pub(super) voice: &'a Voice,
}

/// Starts the unit, and follows it to its end.
pub(super) async fn run(
    script: &Script,
    user: Option<Account>,
    around: &Around<'_>,
    stop: impl Future<Output = Halt>,
) -> Report {
    let Around { ticket, options, units, voice } = *around;
    let place = Place::at(&place(&options.scripts, ticket));
    let job = job(script, user, around);
    let limits = limits(script, options, job.time_limit);
    if let Err(error) = prepare(script, &job, &place, options, ticket.id) {
        return not_started(voice, script, &error);
    }
    let unit = Unit::of(ticket.id);
    // Before there is a unit: this may be dropped while systemd starts it.
    let mut leash = Leash { place: &place, unit: &unit, holds: !script.survives };
    crash::point("agent.script.ordered");
    if let Err(error) = units.start(&unit, place.folder(), &limits).await
        && place.call_off()
    {
        leash.holds = false;
        return not_started(voice, script, &error);
    }
    crash::point("agent.script.launched");
    to_its_end(ticket.id, leash, voice, stop).await
}

fn job(script: &Script, user: Option<Account>, around: &Around<'_>) -> Job {
    let Around { ticket, options, voice, .. } = *around;
    let text = text_of(ticket.id);
    let words = script.interpreter.iter().cloned().chain([text]).chain(script.arguments.iter().cloned());
    let home = user.iter().flat_map(|user| {
        [("HOME", &user.home), ("USER", &user.name), ("LOGNAME", &user.name)]
            .map(|(name, value)| (name.to_owned(), value.clone()))
    });
    let id = ("MUSTER_COMMAND_ID".to_owned(), ticket.id.to_string());
    let now = options.server_time.at(options.clock.monotonic());
    Job {
        command: words.collect(),
        environment: home.chain(script.environment.clone()).chain([id]).collect(),
        folder: script.folder.clone(),
        user,
        output_limit: voice.limit(),
        time_limit: ticket.finish_by.zip(now).map(|(at, now)| at.since(now)),
        survives: script.survives,
        boot_id: boot_id(),
    }
}

/// What it asks for, and never more than the host gives.
fn limits(script: &Script, options: &Options, time: Option<Duration>) -> Limits {
    let Caps { memory, tasks, cpu } = options.locks.current().caps().with(&script.asks());
    Limits { memory, tasks, cpu, time }
}

/// Puts all in place. What can be known to fail fails here, with a clear word.
fn prepare(script: &Script, job: &Job, place: &Place, options: &Options, id: CommandId) -> io::Result<()> {
    rustix::fs::access(&script.interpreter[0], rustix::fs::Access::EXEC_OK)?;
    files::folder(Path::new(SCRIPTS), 0o711)?;
    let text = text_of(id);
    files::write_atomically(Path::new(&text), script.text.as_bytes(), 0o500)?;
    if let Some(user) = &job.user {
        std::os::unix::fs::chown(&text, Some(user.uid), Some(user.gid))?;
    }
    files::private_folder(&options.scripts)?;
    place.order(job)
}

fn text_of(id: CommandId) -> String {
    format!("{SCRIPTS}/{id}")
}

/// What this host keeps of the output of a command that an earlier process of the agent
/// started.
pub(in crate::commands) fn limit(ticket: &Ticket, options: &Options) -> Option<u64> {
    Place::at(&place(&options.scripts, ticket)).job().map(|job| job.output_limit)
}

/// Whether a script that an earlier process of the agent started is to be followed: it goes on, or
/// it has ended and that is not yet told. Otherwise nothing of it is left, and nothing of
/// it will ever begin.
pub(in crate::commands) async fn goes_on(ticket: &Ticket, options: &Options) -> bool {
    if options.units.is_none() {
        return false;
    }
    let place = Place::at(&place(&options.scripts, ticket));
    if place.call_off() {
        return false;
    }
    let Some(job) = place.job() else { return false };
    if place.ended().is_some() || (job.survives && job.boot_id == boot_id()) {
        return true;
    }
    kill(&Unit::of(ticket.id), ticket.id).await;
    place.ended().is_some() // meanwhile
}

/// Ends what may still run of a script that nobody here follows.
pub(in crate::commands) async fn end_unknown(scripts: &Path, id: CommandId) {
    let place = Place::at(&scripts.join(id.to_string()));
    if !place.call_off() && place.job().is_some() && place.ended().is_none() {
        kill(&Unit::of(id), id).await;
    }
}

/// Forgets what was kept of a command while it ran.
pub(in crate::commands) fn clear(scripts: &Path, id: CommandId) {
    let kept = scripts.join(id.to_string());
    for gone in [fs::remove_dir_all(&kept).or_else(|_| fs::remove_file(&kept)), fs::remove_file(text_of(id))]
    {
        if let Err(error) = gone
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(command = %id, %error, "could not clear what was kept of command {id}");
        }
    }
}

/// A script's place and unit. While it holds, both end with the agent.
struct Leash<'a> {
    place: &'a Place,
    unit: &'a Unit,
    holds: bool,
}

impl Drop for Leash<'_> {
    fn drop(&mut self) {
        if self.holds {
            // Also a unit that only comes now finds nothing to run.
            let _ = self.place.call_off();
            self.unit.kill_now();
        }
    }
}

/// Follows a unit until it has ended, by itself or because it was stopped.
pub(in crate::commands) async fn follow(
    ticket: &Ticket,
    options: &Options,
    voice: &Voice,
    stop: impl Future<Output = Halt>,
) -> Report {
    let (place, unit) = (Place::at(&place(&options.scripts, ticket)), Unit::of(ticket.id));
    let survives = place.job().is_some_and(|job| job.survives);
    to_its_end(ticket.id, Leash { place: &place, unit: &unit, holds: !survives }, voice, stop).await
}

async fn to_its_end(
    id: CommandId,
    mut leash: Leash<'_>,
    voice: &Voice,
    stop: impl Future<Output = Halt>,
) -> Report {
    let Leash { place, unit, .. } = leash;
    let mut ears = [Ear::new(place, false), Ear::new(place, true)];
    let (ended, asked) = until_ended(place, unit, voice, &mut ears, stop).await;
    kill(unit, id).await;
    leash.holds = false;
    crash::point("agent.script.ended");
    for (ear, dropped) in ears.iter_mut().zip(ended.as_ref().map_or([0; 2], |ended| ended.dropped)) {
        ear.listen(voice).await;
        voice.lost(ear.stderr, dropped).await;
    }
    report(ended, asked.or_else(|| place.asked()), voice)
}

/// How it ended, as far as that is known, and why it was asked to.
async fn until_ended(
    place: &Place,
    unit: &Unit,
    voice: &Voice,
    ears: &mut [Ear; 2],
    stop: impl Future<Output = Halt>,
) -> (Option<Ended>, Option<Asked>) {
    let (mut stop, mut is_told, mut hurry, mut is_forced) = (pin!(stop), false, None, false);
    let mut asked = place.asked();
    if asked.is_some() {
        end(unit, false).await; // whoever noted it may not have come to this
    }
    for poll in 1_u32.. {
        for ear in &mut *ears {
            ear.listen(voice).await;
        }
        let every = if asked.is_some() { LOOKS.1 } else { LOOKS.0 };
        // A question that systemd does not answer is asked again.
        let ended = place.ended();
        if ended.is_some() || (poll % every == 0 && unit.is_gone().await.unwrap_or(false)) {
            return (ended.or_else(|| place.ended()), asked);
        }
        if asked.is_some() && poll % AGAIN == 0 {
            end(unit, is_forced).await;
        }
        tokio::select! {
            halt = &mut stop, if !is_told => {
                is_told = true;
                // It may have been asked by an earlier process, and then for that reason.
                match asked {
                    None => asked = Some(ask(place, unit, halt.why).await),
                    Some(_) => end(unit, false).await,
                }
                hurry = Some(halt.force);
            }
            () = hurried(hurry.as_ref()) => {
                (hurry, is_forced) = (None, true);
                end(unit, true).await;
            }
            () = tokio::time::sleep(POLL) => {}
        }
    }
    (None, asked)
}

/// Somebody wants it killed, who was told that it is asked to end.
async fn hurried(force: Option<&CancellationToken>) {
    match force {
        Some(force) => force.cancelled().await,
        None => std::future::pending().await,
    }
}

async fn ask(place: &Place, unit: &Unit, why: Stop) -> Asked {
    let why = match why {
        Stop::Cancelled => Asked::Cancelled,
        Stop::TimedOut => Asked::TimedOut,
    };
    if let Err(error) = place.ask(why) {
        tracing::warn!(%error, "could not note why {unit} is stopped");
    }
    crash::point("agent.script.asked");
    end(unit, false).await;
    why
}

/// With force it gets no time for that.
async fn end(unit: &Unit, force: bool) {
    if !force {
        match unit.stop().await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "could not stop {unit}; killing it"),
        }
    }
    let _ = unit.kill().await; // said by whoever waits for its end
}

async fn kill(unit: &Unit, id: CommandId) {
    if let Err(error) = unit.kill().await {
        tracing::error!(command = %id, %error, "something of command {id} may still run as {unit}");
    }
}

fn report(ended: Option<Ended>, asked: Option<Asked>, voice: &Voice) -> Report {
    match (asked, ended) {
        (Some(Asked::Cancelled), _) => Stop::Cancelled.report(voice),
        (Some(Asked::TimedOut), _) => Stop::TimedOut.report(voice),
        (_, Some(Ended { not_started: Some(why), .. })) => {
            voice.report(CommandState::Failed).because(Reason::StartFailed, why)
        }
        (Some(Asked::Stopped), _) => voice.report(CommandState::Interrupted).because(
            Reason::AgentStopped,
            "it was ended from outside: the host went down, or someone stopped its unit",
        ),
        (None, Some(ended)) if ended.out_of_memory => {
            let report = voice.report(CommandState::Failed);
            let report = Report { exit_code: ended.exit_code, signal: ended.signal, ..report };
            report.because(
                Reason::OutOfMemory,
                "it was ended because it wanted more memory than there was for it",
            )
        }
        (None, Some(ended)) if ended.exit_code.or(ended.signal).is_some() => {
            told(ended.exit_code, ended.signal, voice)
        }
        (None, _) => voice
            .report(CommandState::Interrupted)
            .because(Reason::AgentStopped, "what watched over it was ended: nobody saw how it ended"),
    }
}

/// Reads what one stream has brought.
struct Ear {
    path: std::path::PathBuf,
    stderr: bool,
    file: Option<File>,
    /// Looks since something came.
    quiet: u32,
}

impl Ear {
    fn new(place: &Place, stderr: bool) -> Self {
        Self { path: place.output(stderr), stderr, file: None, quiet: 0 }
    }

    /// Passes on what has come since the last time.
    async fn listen(&mut self, voice: &Voice) {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok(); // it may not have begun
        }
        let Some(file) = &mut self.file else { return };
        let mut piece = vec![0; PIECE];
        self.quiet = self.quiet.saturating_add(1);
        while let Ok(read @ 1..) = file.read(&mut piece) {
            self.quiet = 0;
            voice.output(self.stderr, &piece[..read]).await;
        }
        if self.quiet == LINE_WAITS {
            voice.pause(self.stderr).await;
        }
    }
}
