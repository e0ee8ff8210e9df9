//! A host of its own kind: it has what an agent takes files with, and nothing else.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use muster_common::{clock::Clock, reason::Reason, settings::MirrorUrl};
use muster_node_agent::{
    admission::{self, Quota, Store},
    artifacts::{Admitted, Artifacts, ControlPlane, Error, Limits, Options, Place, Wanted},
    dial::Dialer,
    state::Cause,
};
use muster_tests::{
    hostile::Mirror,
    repository::{Published, Repository},
};
use tokio::sync::watch;

/// A host that pins a repository and asks a mirror.
pub(super) struct Lab {
    pub(super) repository: Repository,
    pub(super) mirror: Mirror,
    pub(super) folder: tempfile::TempDir,
    pub(super) artifacts: Artifacts,
    pub(super) clock: Clock,
    pub(super) progress: Arc<AtomicU64>,
    /// What the half that fetches believes the store may have.
    pub(super) quota: Arc<AtomicU64>,
}

/// Quick enough for a test, and no different else.
const LIMITS: Limits = Limits {
    window: Duration::from_millis(700),
    least: 1024,
    document: Duration::from_secs(20),
    whole: Duration::from_secs(20),
    rate: 64 * 1024,
};

fn wanted(file: &Published) -> Wanted {
    Wanted { target: file.target.clone(), size: file.content.len() as u64, sha256: file.sha256() }
}

impl Lab {
    pub(super) async fn new() -> Self {
        Self::with(Repository::new(), None).await
    }

    pub(super) async fn with(repository: Repository, control_plane: Option<ControlPlane>) -> Self {
        let mirror = Mirror::start(&repository.path()).await;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root.json");
        fs::write(&root, repository.root()).unwrap();
        let clock = Clock::test(Clock::System.now());
        let store = Store::open(admission::Options {
            folder: folder.path().join("store"),
            root: root.clone(),
            quota: Quota::new(|| 1 << 30),
            clock: clock.clone(),
        });
        let quota = Arc::new(AtomicU64::new(1 << 30));
        let known = Arc::clone(&quota);
        let artifacts = Artifacts::new(Options {
            folder: folder.path().join("incoming"),
            root,
            store: Place::Here(store.unwrap()),
            quota: Quota::new(move || known.load(Ordering::Relaxed)),
            mirror: watch::Sender::new(Some(MirrorUrl::parse(&mirror.url()).unwrap())).subscribe(),
            dialer: Dialer::default(),
            control_plane,
            limits: LIMITS,
            clock: clock.clone(),
        });
        Self { repository, mirror, folder, artifacts, clock, progress: Arc::default(), quota }
    }

    /// A file of the repository, signed.
    pub(super) fn publish(&self, version: &str, content: &[u8]) -> Published {
        let file = self.repository.add(version, content);
        self.repository.sign();
        file
    }

    pub(super) async fn obtain(&self, file: &Published) -> Result<Admitted, Error> {
        let progress = Arc::clone(&self.progress);
        let told = Arc::new(move |bytes| progress.store(bytes, Ordering::Relaxed));
        self.artifacts.obtain(&wanted(file), told).await
    }

    /// It must be refused, with this reason, and never as the content's fault.
    pub(super) async fn refuses(&self, file: &Published, reason: Reason) -> Error {
        let error = self.obtain(file).await.unwrap_err();
        assert_eq!(error.reason, reason, "{error}");
        assert_ne!(error.cause, Cause::Content, "{error}");
        assert!(self.nothing_of(file), "nothing of it is kept");
        error
    }

    pub(super) fn nothing_of(&self, file: &Published) -> bool {
        !self.folder.path().join("store/files").join(file.sha256().to_string()).exists()
    }

    /// An honest mirror of the newest repository is believed, and gives the file.
    pub(super) async fn recovers(&self, file: &Published) {
        self.mirror.serve(&self.repository.path());
        let admitted = self.obtain(file).await.unwrap();
        assert_eq!(admitted.sha256, file.sha256());
        let there = self.folder.path().join("store/files").join(file.sha256().to_string());
        assert_eq!(fs::read(there).unwrap(), file.content);
    }

    /// As `recovers`, from what the mirror serves by now.
    pub(super) async fn recovers_from(&self, file: &Published) {
        assert_eq!(self.obtain(file).await.unwrap().sha256, file.sha256());
    }
}
