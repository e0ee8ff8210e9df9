//! Attacks on the signed repository with a hostile mirror, as `security.md` lists them:
//! each is refused with its own reason, in bounded time and with bounded bytes, and
//! afterwards an honest mirror works again. The repository is made by the real command.

mod lab;
mod signatures;

use std::{fs, sync::atomic::Ordering, time::Duration};

use muster_common::reason::Reason;
use muster_node_agent::{artifacts::ControlPlane, dial::Dialer, state::Cause};
use muster_proto::admin::v1 as pb;
use muster_tests::{
    hostile::{Mirror, Trick},
    operator::Operator,
    plane::{self, Plane},
    raw::RawNode,
    repository::{Published, Repository},
};
use tokio::sync::watch;

use lab::Lab;

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
async fn of_a_repository_that_has_not_changed_little_is_asked_for_again() {
    let lab = Lab::new().await;
    let first = lab.repository.add("1.0.0", b"the first");
    let second = lab.publish("2.0.0", b"the second");
    lab.obtain(&first).await.unwrap();
    let _ = lab.mirror.asked();
    lab.obtain(&second).await.unwrap();
    let asked: Vec<String> = lab.mirror.asked().into_iter().map(|(path, _)| path).collect();
    let expected = ["metadata/2.root.json".to_owned(), "metadata/timestamp.json".to_owned(), second.path()];
    assert_eq!(asked, expected);
    // Other content by the names that it knows is no reason to believe nothing any more.
    let third = lab.publish("3.0.0", b"the third");
    lab.recovers(&third).await;
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
async fn what_the_store_has_no_room_for_is_not_fetched_and_no_part_stays_for_ever() {
    let lab = Lab::new().await;
    let (large, small) = (lab.publish("1.0.0", &[5; 100_000]), lab.publish("2.0.0", b"small"));
    lab.quota.store(99_999, Ordering::Relaxed);
    let error = lab.refuses(&large, Reason::DiskFull).await;
    assert!(error.cause == Cause::Host && error.message.contains("may have 99999"), "{error}");
    assert!(lab.mirror.asked().iter().all(|(path, _)| !path.starts_with("targets/")));
    // What nobody has gone on with for a week goes, and what was admitted meanwhile.
    let incoming = lab.folder.path().join("incoming");
    let part = |name: &str, days: u64| {
        fs::write(incoming.join(name), b"a part").unwrap();
        let age = Duration::from_secs(days * 24 * 3600);
        let file = fs::File::options().append(true).open(incoming.join(name)).unwrap();
        file.set_modified(lab.clock.now().to_system_time() - age).unwrap();
    };
    fs::create_dir_all(&incoming).unwrap();
    part("old", 8);
    part("new", 6);
    lab.recovers(&small).await;
    let parts = || -> Vec<_> { fs::read_dir(&incoming).unwrap().map(|it| it.unwrap().file_name()).collect() };
    assert_eq!(parts(), ["new"]);
    part(&small.sha256().to_string(), 0);
    lab.recovers(&small).await;
    assert_eq!(parts(), ["new"]);
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
