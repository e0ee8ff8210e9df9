//! The root half of a split agent. It does what the daemon asks, verb by verb, as far as
//! the lock file goes by its own reading of it: whoever takes over the daemon gets no
//! further. It has no network, starts nothing as its own child but the tools of systemd,
//! keeps nothing in memory from one verb to the next, and ends when nobody asks.

mod artifacts;
mod extensions;
mod files;
mod host;
mod originals;
mod runs;
mod upgrades;

use std::{
    io,
    os::fd::AsFd as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use muster_common::tasks::{Kind, Tasks};
use tokio::{
    io::AsyncReadExt as _,
    net::{UnixListener, UnixStream},
    time::timeout,
};

use crate::{
    admission,
    config::Config,
    depot::Depot,
    locks,
    platform::peer,
    upgrader::order::{self, Orders},
    verbs::{
        frame,
        messages::{Said, Verb},
    },
};
use artifacts::Artifacts;
use extensions::Extensions;
use files::Files;
use runs::Runs;
use upgrades::Upgrades;

/// It ends when nobody has asked for so long.
const IDLE: Duration = Duration::from_secs(30);
/// For a request to come whole.
const REQUEST: Duration = Duration::from_secs(10);
/// Verbs that are done at once. More are turned away.
const AT_ONCE: usize = 32;

/// What it works with.
pub struct Options {
    /// The only user that is heard.
    pub user: u32,
    /// What this host allows.
    pub locks: locks::Reader,
    /// Files and folders of the agent itself.
    pub protected: Vec<PathBuf>,
    /// Its own folder.
    pub folder: PathBuf,
    /// This program, which watches over what is run.
    pub program: PathBuf,
    /// Of the signed repository.
    pub artifacts: admission::Options,
    /// Of the agent whose root half this is.
    pub upgrades: order::Options,
}

/// Who does the verbs.
#[derive(Debug)]
pub struct Executor {
    user: u32,
    locks: locks::Reader,
    files: Files,
    runs: Runs,
    artifacts: Artifacts,
    extensions: Extensions,
    upgrades: Upgrades,
    at_work: AtomicUsize,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Peer {
    pid: Option<i32>,
    /// The unit in which it runs.
    unit: String,
}

/// The socket that systemd has handed over as standard input.
///
/// # Errors
/// If there is none.
pub fn listener() -> io::Result<UnixListener> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    if !rustix::net::sockopt::socket_acceptconn(&socket)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "standard input is no socket that listens"));
    }
    let listener = std::os::unix::net::UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

impl Executor {
    /// Opens its folder.
    ///
    /// # Errors
    /// If the folder cannot be used, or this process is not root under systemd.
    pub fn open(options: Options) -> io::Result<Self> {
        let Options { user, locks, protected, folder, program, artifacts, upgrades } = options;
        let artifacts = Artifacts::new(artifacts);
        let runs = Runs::open(&program, &folder.join("runs"), locks.clone())?;
        let store = artifacts.clone();
        let admitted = Arc::new(move |sha256| store.store()?.open_signed(sha256));
        let depot = Depot::new(&folder.join("extensions"), admitted);
        let extensions = Extensions::open(depot, &program, &folder.join("extension-runs"), locks.clone())?;
        let files = Files::open(&folder, locks.clone(), protected)?;
        let upgrades = Upgrades { orders: Orders::new(upgrades), artifacts: artifacts.clone() };
        Ok(Self { user, locks, files, runs, extensions, upgrades, artifacts, at_work: AtomicUsize::new(0) })
    }

    /// Listens until nobody has asked for a while. What comes later starts the next one.
    ///
    /// # Errors
    /// If the socket breaks.
    pub async fn run(self, listener: UnixListener) -> io::Result<()> {
        let (executor, tasks) = (Arc::new(self), Tasks::default());
        loop {
            let stream = match timeout(IDLE, listener.accept()).await {
                Ok(accepted) => accepted?.0,
                Err(_) if executor.at_work.load(Ordering::Relaxed) == 0 => return Ok(()),
                Err(_) => continue,
            };
            let Some(peer) = executor.admit(&stream) else { continue };
            let work = Work::begin(Arc::clone(&executor));
            tasks.spawn("verb", Kind::BestEffort, async move {
                if let Err(error) = work.0.attend(stream, &peer).await {
                    tracing::warn!(%error, "a request was not answered: {error}");
                }
                drop(work);
            });
        }
    }

    /// Who asks, if it is who may, and not too often at once.
    fn admit(&self, stream: &UnixStream) -> Option<Peer> {
        let from = match stream.peer_cred() {
            Ok(from) => from,
            Err(error) => {
                tracing::warn!(%error, "somebody asked of whom the kernel says nothing");
                return None;
            }
        };
        if from.uid() != self.user {
            let (uid, pid) = (from.uid(), from.pid());
            tracing::warn!(uid, pid, "user {uid} asked, who may not");
            return None;
        }
        if self.at_work.load(Ordering::Relaxed) >= AT_ONCE {
            tracing::warn!("a request was turned away: {AT_ONCE} others are being done");
            return None;
        }
        let unit = from.pid().and_then(|pid| peer::unit_or_by_number(stream, pid));
        let Some(unit) = unit else {
            tracing::warn!(pid = from.pid(), "somebody asked who runs in no unit of systemd");
            return None;
        };
        Some(Peer { pid: from.pid(), unit })
    }

    /// One verb, from its first byte to the answer.
    async fn attend(&self, mut stream: UnixStream, peer: &Peer) -> io::Result<()> {
        let Ok(request) = timeout(REQUEST, frame::receive(&mut stream)).await else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        let verb = match request.and_then(|bytes| frame::verb(&bytes)) {
            Ok(verb) => verb,
            Err(error) => {
                tracing::warn!(%error, "a request was none: {error}");
                return frame::answer(&mut stream, frame::failed(&error)).await;
            }
        };
        match verb {
            Verb::File(verb) => self.files.attend(verb, stream).await,
            verb @ (Verb::Believe(_) | Verb::Admit(_) | Verb::Admitted(_)) => {
                self.artifacts.attend(verb, stream).await
            }
            Verb::Service(service) => {
                let (mut ears, mut mouth) = stream.split();
                let hung_up = async { while !matches!(ears.read(&mut [0; 64]).await, Ok(0) | Err(_)) {} };
                let said = host::service(&service, &self.locks.current(), peer, hung_up).await;
                frame::answer(&mut mouth, said).await
            }
            Verb::Journal(journal) => host::journal(&journal, &self.locks.current(), peer, &mut stream).await,
            other => {
                let said = self.say(other).await;
                frame::answer(&mut stream, said).await
            }
        }
    }

    /// Those that are one answer.
    async fn say(&self, verb: Verb) -> Said {
        let runs = &self.runs;
        let said = match verb {
            Verb::Sweep(needed) => self.files.sweep(needed).await,
            Verb::Judge(run) => runs.judge(run).await,
            Verb::Start(run) => runs.start(run).await,
            Verb::Look(at) => runs.look(at).await,
            Verb::CallOff(id) => runs.call_off(&id).await,
            Verb::Ask(ask) => runs.ask(&ask).await,
            Verb::Kill(id) => runs.kill(&id).await,
            Verb::Clear(id) => runs.clear(id).await,
            Verb::List(_) => runs.list().await,
            Verb::Extension(word) => self.extensions.attend(word).await,
            verb @ (Verb::UpgradeStart(_) | Verb::UpgradeLook(_)) => self.upgrades.attend(verb).await,
            Verb::Reboot(reboot) => host::reboot(reboot, &self.locks.current()).await,
            // Done where their bytes are.
            Verb::File(_)
            | Verb::Service(_)
            | Verb::Journal(_)
            | Verb::Believe(_)
            | Verb::Admit(_)
            | Verb::Admitted(_) => Err(io::ErrorKind::InvalidInput.into()),
        };
        said.unwrap_or_else(|error| frame::failed(&error))
    }
}

/// A verb that is being done. Counted until it is dropped.
struct Work(Arc<Executor>);

impl Work {
    fn begin(executor: Arc<Executor>) -> Self {
        executor.at_work.fetch_add(1, Ordering::Relaxed);
        Self(executor)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the agent itself needs: no bundle writes there, whatever the lock file says.
#[must_use]
pub fn own_places(config: &Config) -> Vec<PathBuf> {
    let own = ["/etc/muster", "/var/lib/muster", "/run/muster", "/run/muster-scripts"];
    let Config { path, locks_file, state_dir, artifacts_root, .. } = config;
    let named = [path, locks_file, state_dir, artifacts_root].map(Clone::clone);
    own.into_iter().map(PathBuf::from).chain(named).collect()
}
