//! What every step of the applier needs: where it works and under which rules.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use muster_common::{clock::Clock, ids::NodeId};
use rustix::fs::{FlockOperation, flock};

use super::secrets::Sealing;
use crate::{
    locks,
    platform::files::{self, resolve},
    state::{Line, Pauses, Pulse, Stories, Story},
    verbs::Hands,
};

/// What the room needs from others.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its own folder.
    pub folder: PathBuf,
    /// Which host this is: what is sealed is sealed for it.
    pub node: NodeId,
    /// The host's rules.
    pub locks: locks::Reader,
    /// What time it is.
    pub clock: Clock,
    /// Files and folders of the agent itself: no bundle writes there, whatever the rules allow.
    pub protected: Vec<PathBuf>,
    /// The line to the control plane, for what is kept only if it holds.
    pub line: Line,
    /// While one holds nothing is brought, taken off or corrected.
    pub pauses: Pauses,
    /// Who writes files and runs hooks.
    pub hands: Hands,
}

/// The same, opened. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) folder: PathBuf,
    pub(super) locks: locks::Reader,
    pub(super) clock: Clock,
    pub(super) sealing: Arc<Sealing>,
    pub(super) line: Line,
    pub(super) pauses: Pauses,
    pub(super) hands: Hands,
    pub(super) pulse: Pulse,
    /// What is done for the item that is under way.
    pub(super) story: Story,
    /// What was done for others, until it is told.
    pub(super) stories: Stories,
    protected: Arc<Vec<PathBuf>>,
    /// One applier works in a folder. The work of a cancelled one goes on for a
    /// moment on its thread; it holds this, and the next applier waits for it.
    held: Arc<File>,
}

impl Base {
    /// Waits until nobody else works there. For a thread that may wait.
    pub(super) fn open(options: Options) -> io::Result<Self> {
        files::private_folder(&options.folder)?;
        let held = File::create(options.folder.join("lock"))?;
        flock(&held, FlockOperation::LockExclusive)?;
        // Of a `validate` that a crash cut off: it may hold what is protected.
        let _ = std::fs::remove_dir_all(options.folder.join("stage"));
        let mut protected = options.protected;
        let resolved: Vec<PathBuf> = protected.iter().map(|path| resolve(path)).collect();
        protected.extend(resolved);
        let Options { folder, locks, clock, node, line, pauses, hands, .. } = options;
        let sealing = Arc::new(Sealing::open_or_create(&folder, node)?);
        let (protected, held) = (Arc::new(protected), Arc::new(held));
        let (pulse, story, stories) = (Pulse::default(), Story::default(), Stories::default());
        Ok(Self {
            folder,
            locks,
            clock,
            sealing,
            line,
            pauses,
            hands,
            pulse,
            story,
            stories,
            protected,
            held,
        })
    }

    /// The task of the applier has got on, and will again within this.
    pub(super) fn beat(&self, within: Duration) {
        self.pulse.beat("applier", self.clock.monotonic(), within);
    }

    /// Works with files on a thread where waiting for the disk harms nobody.
    pub(super) async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let held = Arc::clone(&self.held);
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(held);
            result
        });
        match done.await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Whether a path belongs to the agent, by its name or by where it leads.
    pub(super) fn protects(&self, path: &Path) -> bool {
        let real = resolve(path);
        self.protected.iter().any(|own| path.starts_with(own) || real.starts_with(own))
    }
}
