//! What watches over a script in a unit of its own, as the unit's first process: apart
//! from the agent, so that the agent may end meanwhile and the next one finds all there is
//! to know. It starts the script at most once, keeps its output in files, never more than
//! the limit, and writes down durably how it ended. Whatever is left of the script then
//! ends with the unit.

mod begin;
mod memory;
mod place;

use std::{
    fs::File,
    io,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use muster_common::clock::{Clock, Instant};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Child,
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

pub use begin::become_script;
pub use place::{Asked, Ended, Job, Place};

/// Between looks whether the kernel has ended something of it for want of memory.
const LOOK: Duration = Duration::from_millis(100);
/// For the last output, once the script itself has ended: what it started may hold the
/// pipe for ever.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Read at once.
const PIECE: usize = 16 * 1024;
/// Kept beyond what an order may say: so that the agent sees where it is cut.
const BEYOND: u64 = 64 * 1024;
/// How often, and how long apart, it is tried to write down how it ended.
const TRIES: (u32, Duration) = (60, Duration::from_secs(1));

/// Runs the script of a place to its end, unless somebody else has or it was called off.
///
/// # Errors
/// If its end cannot be written down.
pub async fn supervise(folder: &Path) -> io::Result<()> {
    let place = Place::at(folder);
    let Some(job) = place.claim()? else { return Ok(()) };
    // From here on a request to end is heard, and what the script makes of it is waited for.
    let mut terminate = signal(SignalKind::terminate())?;
    let ended = Watch::new(&place, &job).run(&mut terminate).await;
    let mut written = place.end(&ended);
    for _ in 0..TRIES.0 {
        if written.is_ok() {
            break;
        }
        tokio::time::sleep(TRIES.1).await; // a full disk may have room again
        written = place.end(&ended);
    }
    written
}

/// One script under watch.
struct Watch<'a> {
    place: &'a Place,
    job: &'a Job,
    clock: Clock,
    begun: Instant,
    /// Bytes that may still be kept, of both streams.
    room: AtomicU64,
    /// Bytes that were not, of each.
    dropped: [AtomicU64; 2],
}

impl<'a> Watch<'a> {
    fn new(place: &'a Place, job: &'a Job) -> Self {
        let clock = Clock::System;
        let begun = clock.monotonic();
        let room = AtomicU64::new(job.output_limit.saturating_add(BEYOND));
        Self { place, job, clock, begun, room, dropped: Default::default() }
    }

    async fn run(&self, terminate: &mut Signal) -> Ended {
        let files = File::create(self.place.output(false)).and_then(|stdout| {
            let stderr = File::create(self.place.output(true))?;
            Ok([stdout, stderr])
        });
        let started = match files {
            Ok(files) => begin::start(self.job).await.map(|script| (script, files)),
            Err(error) => Err(error),
        };
        match started {
            Ok((script, files)) => self.attend(script, &files, terminate).await,
            Err(error) => Ended { not_started: Some(error.to_string()), ..Ended::default() },
        }
    }

    /// Listens until the script has ended, or something of it was ended for want of memory:
    /// then all of it is to end.
    async fn attend(&self, mut script: Child, files: &[File; 2], terminate: &mut Signal) -> Ended {
        let (stdout, stderr) = (script.stdout.take(), script.stderr.take());
        let listening = async {
            tokio::join!(self.keep(stdout, &files[0], 0), self.keep(stderr, &files[1], 1));
        };
        let mut listening = std::pin::pin!(listening);
        let mut look = tokio::time::interval(LOOK);
        let (mut is_heard, mut ended) = (false, Ended::default());
        loop {
            // A unit is asked to end all at once: first that, whatever the script makes of it.
            tokio::select! {
                biased;
                Some(()) = terminate.recv() => self.asked(),
                status = script.wait() => {
                    ended.note(status);
                    break;
                }
                () = &mut listening, if !is_heard => is_heard = true,
                _ = look.tick() => if memory::kills() > 0 {
                    let _ = script.start_kill(); // the rest ends with the unit
                    break;
                },
            }
        }
        if !is_heard {
            let _ = timeout(LAST_WORDS, listening).await;
        }
        ended.out_of_memory = memory::kills() > 0;
        ended.dropped = [0, 1].map(|stream: usize| self.dropped[stream].load(Ordering::Relaxed));
        for file in files {
            let _ = file.sync_all(); // what the disk refuses to hold was not promised
        }
        ended
    }

    /// Somebody asks the unit to end. If nobody wrote down why and its time is over, it is
    /// systemd, at the limit of the unit; before, it is from outside.
    fn asked(&self) {
        let is_late = self.job.time_limit.is_some_and(|limit| self.clock.monotonic() - self.begun >= limit);
        if self.place.asked().is_none() {
            let why = if is_late { Asked::TimedOut } else { Asked::Stopped };
            let _ = self.place.ask(why);
        }
    }

    /// Keeps what a pipe brings, and reads on when there is no more room: a script must not
    /// wait for ever to be heard.
    async fn keep(&self, pipe: Option<impl AsyncRead + Unpin>, mut file: &File, stream: usize) {
        let Some(mut pipe) = pipe else { return };
        let mut piece = vec![0; PIECE];
        while let Ok(read @ 1..) = pipe.read(&mut piece).await {
            let room = self.room.load(Ordering::Relaxed);
            let keep = usize::try_from(room).unwrap_or(usize::MAX).min(read);
            let kept = write_what_goes(&mut file, &piece[..keep]);
            // One thread: nobody else has changed it meanwhile.
            self.room.store(room - kept as u64, Ordering::Relaxed);
            self.dropped[stream].fetch_add((read - kept) as u64, Ordering::Relaxed);
        }
    }
}

/// Writes as much as there is room for on the disk; gives how much that was.
fn write_what_goes(file: &mut impl io::Write, piece: &[u8]) -> usize {
    let mut kept = 0;
    while kept < piece.len() {
        match file.write(&piece[kept..]) {
            Ok(0) => break,
            Ok(written) => kept += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    kept
}

#[cfg(test)]
mod tests;
