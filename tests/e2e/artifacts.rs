//! Attacks on the signed repository with a hostile mirror, as `security.md` lists them:
//! each is refused with its own reason, in bounded time and with bounded bytes, and
//! afterwards an honest mirror works again. The repository is made by the real command.

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
use muster_proto::admin::v1 as pb;
use muster_tests::{
    hostile::{Mirror, Trick},
    operator::Operator,
    plane::{self, Plane},
    raw::RawNode,
    repository::{Published, Repository},
};
use tokio::sync::watch;

/// A host that pins a repository and asks a mirror.
struct Lab {
    repository: Repository,
    mirror: Mirror,
    folder: tempfile::TempDir,
    artifacts: Artifacts,
    clock: Clock,
    progress: Arc<AtomicU64>,
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
    async fn new() -> Self {
        Self::with(Repository::new(), None).await
    }

    async fn with(repository: Repository, control_plane: Option<ControlPlane>) -> Self {
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
        let artifacts = Artifacts::new(Options {
            folder: folder.path().join("incoming"),
            root,
            store: Place::Here(store.unwrap()),
            mirror: watch::Sender::new(Some(MirrorUrl::parse(&mirror.url()).unwrap())).subscribe(),
            dialer: Dialer::default(),
            control_plane,
            limits: LIMITS,
            clock: clock.clone(),
        });
        Self { repository, mirror, folder, artifacts, clock, progress: Arc::default() }
    }

    /// A file of the repository, signed.
    fn publish(&self, version: &str, content: &[u8]) -> Published {
        let file = self.repository.add(version, content);
        self.repository.sign();
        file
    }

    async fn obtain(&self, file: &Published) -> Result<Admitted, Error> {
        let progress = Arc::clone(&self.progress);
        let told = Arc::new(move |bytes| progress.store(bytes, Ordering::Relaxed));
        self.artifacts.obtain(&wanted(file), told).await
    }

    /// It must be refused, with this reason, and never as the content's fault.
    async fn refuses(&self, file: &Published, reason: Reason) -> Error {
        let error = self.obtain(file).await.unwrap_err();
        assert_eq!(error.reason, reason, "{error}");
        assert_ne!(error.cause, Cause::Content, "{error}");
        assert!(self.nothing_of(file), "nothing of it is kept");
        error
    }

    fn nothing_of(&self, file: &Published) -> bool {
        !self.folder.path().join("store/files").join(file.sha256().to_string()).exists()
    }

    /// An honest mirror of the newest repository is believed, and gives the file.
    async fn recovers(&self, file: &Published) {
        self.mirror.serve(&self.repository.path());
        let admitted = self.obtain(file).await.unwrap();
        assert_eq!(admitted.sha256, file.sha256());
        let there = self.folder.path().join("store/files").join(file.sha256().to_string());
        assert_eq!(fs::read(there).unwrap(), file.content);
    }
}

#[tokio::test]
async fn rollback_freeze_and_mix_and_match_are_refused() {
    let lab = Lab::new().await;
    let first = lab.publish("1.0.0", b"the first");
    let old = lab.repository.copy();
    let second = lab.publish("2.0.0", b"the second");
    lab.recovers(&second).await;
    // T-U1: an old state, whole, with a file that this host has never had.
    lab.mirror.serve(old.path());
    lab.refuses(&first, Reason::ArtifactRolledBack).await;
    // T-U3: pieces of two days.
    lab.mirror.serve(&lab.repository.path());
    let old_snapshot = fs::read(old.path().join("metadata/2.snapshot.json")).unwrap();
    lab.mirror.does("snapshot.json", [Trick::Bytes(old_snapshot)]);
    lab.refuses(&first, Reason::ArtifactUntrusted).await;
    lab.mirror.serve(&lab.repository.path());
    let old_targets = fs::read(old.path().join("metadata/2.targets.json")).unwrap();
    lab.mirror.does("targets.json", [Trick::Bytes(old_targets)]);
    lab.refuses(&first, Reason::ArtifactUntrusted).await;
    // T-U2: the newest state, longer than it is good for.
    lab.clock.advance(Duration::from_secs(8 * 24 * 3600));
    lab.mirror.serve(&lab.repository.path());
    lab.refuses(&first, Reason::ArtifactExpired).await;
    lab.repository.does(&["refresh", "REPOSITORY", "--keys", "KEYS", "--timestamp-for", "30d"]);
    lab.recovers(&first).await;
}

#[tokio::test]
async fn endless_slow_and_wandering_answers_end_in_bounded_time_and_bytes() {
    let lab = Lab::new().await;
    let file = lab.publish("1.0.0", &[7; 200_000]);
    // T-U4.
    for part in ["2.root.json", "timestamp.json", "snapshot.json", "targets.json"] {
        lab.mirror.serve(&lab.repository.path());
        lab.mirror.does(part, [Trick::Endless]);
        lab.refuses(&file, Reason::ArtifactUntrusted).await;
    }
    lab.mirror.serve(&lab.repository.path());
    lab.mirror.does("targets/", [Trick::Endless]);
    lab.refuses(&file, Reason::ArtifactUntrusted).await;
    // T-U5: of metadata, and of a file.
    for part in ["timestamp.json", "targets/"] {
        lab.mirror.serve(&lab.repository.path());
        lab.mirror.does(part, [Trick::Dribble(Duration::from_millis(100))]);
        let error = lab.refuses(&file, Reason::FetchFailed).await;
        assert_eq!(error.cause, Cause::Network);
    }
    // Elsewhere is not gone to.
    let elsewhere = Mirror::start(&lab.repository.path()).await;
    lab.mirror.serve(&lab.repository.path());
    lab.mirror.does("timestamp.json", [Trick::Elsewhere(elsewhere.url())]);
    let error = lab.refuses(&file, Reason::FetchFailed).await;
    assert!(error.message.contains("sends elsewhere"), "{error}");
    assert!(elsewhere.asked().is_empty());
    // A root that "cannot be had just now" is not one that there is not.
    lab.mirror.serve(&lab.repository.path());
    lab.mirror.does("2.root.json", [Trick::Status(503)]);
    lab.refuses(&file, Reason::FetchFailed).await;
    lab.recovers(&file).await;
}

#[tokio::test]
async fn other_bytes_are_refused_at_every_read_and_a_broken_download_goes_on() {
    let lab = Lab::new().await;
    let content: Vec<u8> = (0..300_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let file = lab.publish("1.0.0", &content);
    // T-U6: of the right length, shorter, longer.
    let mut wrong = content.clone();
    wrong[150_000] ^= 1;
    for (bytes, reason) in [
        (wrong.clone(), Reason::ArtifactUntrusted),
        (content[..100].to_vec(), Reason::FetchFailed),
        ([&content[..], b"more"].concat(), Reason::ArtifactUntrusted),
    ] {
        lab.mirror.serve(&lab.repository.path());
        lab.mirror.does("targets/", [Trick::Bytes(bytes)]);
        lab.refuses(&file, reason).await;
    }
    // T-U10: the first half is right, the second read gives other bytes.
    lab.mirror.serve(&lab.repository.path());
    lab.mirror.does("targets/", [Trick::CutAfter(100_000), Trick::Bytes(wrong)]);
    lab.refuses(&file, Reason::ArtifactUntrusted).await;
    // What broke goes on where it ended, whether the mirror knows of ranges or not.
    lab.mirror.serve(&lab.repository.path());
    lab.mirror.does("targets/", [Trick::CutAfter(100_000), Trick::CutAfter(100_000), Trick::NoRanges]);
    let _ = lab.mirror.asked();
    let admitted = lab.obtain(&file).await.unwrap();
    assert_eq!(admitted.about.map(|about| about.version).as_deref(), Some("1.0.0"));
    let asked = lab.mirror.asked();
    let of_file: Vec<u64> =
        asked.iter().filter(|(path, _)| *path == file.path()).map(|(_, at)| *at).collect();
    assert_eq!(of_file, [0, 100_000, 200_000]);
    assert_eq!(lab.progress.load(Ordering::Relaxed), 300_000);
    // What is there is not asked for again.
    lab.obtain(&file).await.unwrap();
    assert!(lab.mirror.asked().is_empty());
}

#[tokio::test]
async fn a_part_that_somebody_else_has_put_there_is_no_way_in() {
    let lab = Lab::new().await;
    let file = lab.publish("1.0.0", b"the right bytes");
    let part = lab.folder.path().join("incoming").join(file.sha256().to_string());
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    fs::write(&part, b"the wrong bytes").unwrap();
    lab.recovers(&file).await;
    let file = lab.publish("2.0.0", b"others");
    let part = lab.folder.path().join("incoming").join(file.sha256().to_string());
    let secret = lab.folder.path().join("secret");
    fs::write(&secret, b"secret").unwrap();
    std::os::unix::fs::symlink(&secret, &part).unwrap();
    let error = lab.obtain(&file).await.unwrap_err();
    assert_eq!((error.cause, fs::read(&secret).unwrap()), (Cause::Host, b"secret".to_vec()), "{error}");
    fs::remove_file(&part).unwrap();
    lab.recovers(&file).await;
}

#[tokio::test]
async fn keys_that_do_not_count_sign_nothing_and_roots_are_followed_link_by_link() {
    let lab = Lab::new().await;
    let file = lab.publish("1.0.0", b"by the first keys");
    // T-U7: all is signed, by keys of somebody else.
    let evil = Repository::new();
    evil.add("1.0.0", &file.content);
    evil.sign();
    lab.mirror.serve(&evil.path());
    lab.refuses(&file, Reason::ArtifactUntrusted).await;
    // T-U8: two rotations, of which one is held back.
    lab.mirror.serve(&lab.repository.path());
    let rotate =
        |group| lab.repository.does(&["rotate-root", "REPOSITORY", "--keys", "KEYS", "--replace", group]);
    rotate("root");
    rotate("targets");
    let second = lab.publish("2.0.0", b"by the second keys");
    let third = fs::read(lab.repository.path().join("metadata/3.root.json")).unwrap();
    lab.mirror.does("2.root.json", [Trick::Bytes(third)]);
    lab.refuses(&second, Reason::ArtifactUntrusted).await;
    lab.mirror.serve(&lab.repository.path());
    lab.mirror.does("2.root.json", [Trick::Status(404)]);
    lab.refuses(&second, Reason::ArtifactUntrusted).await;
    lab.recovers(&second).await;
    lab.recovers(&file).await;
}

#[tokio::test]
async fn a_repository_that_was_wound_forward_comes_back_with_new_online_keys() {
    let lab = Lab::new().await;
    let file = lab.publish("1.0.0", b"before");
    // T-U9: who has the online key signs versions that nobody reaches.
    let wound = lab.repository.copy();
    wind_forward(wound.path(), &lab.repository.keys());
    lab.mirror.serve(wound.path());
    lab.recovers_from(&file).await;
    let second = lab.publish("2.0.0", b"after");
    lab.mirror.serve(&lab.repository.path());
    lab.refuses(&second, Reason::ArtifactRolledBack).await;
    lab.repository.does(&["rotate-root", "REPOSITORY", "--keys", "KEYS", "--replace", "online"]);
    lab.repository.sign();
    lab.recovers(&second).await;
}

impl Lab {
    /// As `recovers`, from what the mirror serves by now.
    async fn recovers_from(&self, file: &Published) {
        assert_eq!(self.obtain(file).await.unwrap().sha256, file.sha256());
    }
}

/// Signs snapshot and timestamp of the highest version, with the online key.
fn wind_forward(folder: &std::path::Path, keys: &std::path::Path) {
    use muster_common::tuf::{
        Role,
        signing::{self, Edition, Named, SigningKey},
    };
    use std::num::NonZeroU64;
    let online = fs::read_dir(keys).unwrap().map(|entry| entry.unwrap().path());
    let online = online.into_iter().find(|path| path.to_str().unwrap().contains("online-")).unwrap();
    let key = SigningKey::from_pem(&fs::read_to_string(online).unwrap()).unwrap();
    let targets = fs::read(folder.join("metadata/2.targets.json")).unwrap();
    let expires = Clock::System.now() + Duration::from_secs(1000);
    let most = Edition { version: NonZeroU64::new(u64::MAX - 1).unwrap(), expires };
    let named = Named::of(NonZeroU64::new(2).unwrap(), &targets);
    let snapshot = signing::sign(Role::Snapshot, &signing::snapshot(most, &named), &key).unwrap();
    let named = Named::of(most.version, &snapshot);
    let timestamp = signing::sign(Role::Timestamp, &signing::timestamp(most, &named), &key).unwrap();
    fs::write(folder.join(format!("metadata/{}.snapshot.json", most.version)), snapshot).unwrap();
    fs::write(folder.join("metadata/timestamp.json"), timestamp).unwrap();
}

#[tokio::test]
async fn what_is_not_signed_so_is_the_contents_fault_and_no_room_is_the_hosts() {
    let lab = Lab::new().await;
    let file = lab.publish("1.0.0", b"signed");
    let unknown = Published { target: "agent/9.9.9/linux-any.tar.zst".to_owned(), ..file.clone() };
    let other = Published { content: b"not so".to_vec(), ..file.clone() };
    for wrong in [unknown, other, Published { target: "../../etc/passwd".to_owned(), ..file.clone() }] {
        let error = lab.obtain(&wrong).await.unwrap_err();
        assert_eq!((error.cause, error.reason), (Cause::Content, Reason::ArtifactUnknown), "{error}");
    }
    fs::rename(lab.folder.path().join("root.json"), lab.folder.path().join("elsewhere")).unwrap();
    let error = lab.refuses(&file, Reason::NoTrustRoot).await;
    assert!(error.cause == Cause::Host && error.message.contains("root.json"), "{error}");
    fs::rename(lab.folder.path().join("elsewhere"), lab.folder.path().join("root.json")).unwrap();
    lab.recovers(&file).await;
}

/// As an operator brings it to a control plane, with one file.
async fn publish(operator: &Operator, repository: &Repository, file: &Published) {
    operator.upload(&file.content).await;
    let metadata = fs::read_dir(repository.path().join("metadata")).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let name = format!("metadata/{}", path.file_name().unwrap().to_str().unwrap());
        pb::MetadataFile { path: name, content: fs::read(path).unwrap().into() }
    });
    let request = pb::PublishRepositoryRequest { metadata: metadata.collect(), validate_only: false };
    operator.artifacts.clone().publish_repository(request).await.unwrap();
}

#[tokio::test]
async fn where_a_mirror_ends_lags_or_lies_the_control_plane_goes_on() {
    let (folder, repository) = (tempfile::tempdir().unwrap(), Repository::new());
    let mut plane = Plane::init(folder.path(), &plane::Options::default());
    plane.configure("root", &format!("{:?}", repository.path().join("metadata/1.root.json")));
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    let node = RawNode::enroll(&plane.join(1, &[]).await).await;
    let identity = watch::Sender::new(node.identity.clone()).subscribe();
    let lab = Lab::with(repository, Some(ControlPlane::new(identity, Dialer::default()))).await;
    let empty = lab.repository.copy();
    let content: Vec<u8> = (0..400_000_u32).map(|n| u8::try_from(n % 241).unwrap()).collect();
    let first = lab.publish("1.0.0", &content);
    publish(&operator, &lab.repository, &first).await;
    // It dies half way, and does not come back.
    lab.mirror.does("targets/", [Trick::CutAfter(150_000), Trick::Status(503)]);
    lab.obtain(&first).await.unwrap();
    let asked = lab.mirror.asked().into_iter().filter(|(path, _)| *path == first.path()).count();
    assert_eq!(asked, 1, "it was asked once, and the control plane for the rest");
    // It lags behind; then it gives other bytes; then it is gone.
    for (version, trick) in
        [("2.0.0", None), ("3.0.0", Some(Trick::Bytes(vec![1; 20_000]))), ("4.0.0", Some(Trick::Status(500)))]
    {
        let file = lab.publish(version, &[version.as_bytes(), &[0; 19_995][..]].concat());
        publish(&operator, &lab.repository, &file).await;
        let served = if trick.is_none() { empty.path().to_owned() } else { lab.repository.path() };
        lab.mirror.serve(&served);
        lab.mirror.does("targets/", trick);
        let admitted = lab.obtain(&file).await.unwrap();
        assert_eq!(admitted.about.map(|about| about.version).as_deref(), Some(version));
    }
    // Both are gone: nobody blames the version.
    let file = lab.publish("5.0.0", b"not to be had");
    lab.mirror.does("timestamp.json", [Trick::Status(500)]);
    plane.kill();
    let error = lab.obtain(&file).await.unwrap_err();
    assert_eq!((error.cause, error.reason), (Cause::Network, Reason::FetchFailed), "{error}");
}
