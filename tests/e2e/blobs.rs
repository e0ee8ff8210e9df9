//! Blobs over the wire: broken uploads, wrong ones, too many, and what goes.

use std::{path::PathBuf, process::Command};

use muster_common::reason::Reason;
use muster_proto::admin::v1::{self as pb, upload_blob_request::Part};
use muster_tests::{
    blobs::{CHUNK, Open, bytes, message, sha256, start},
    eventually::{LONG, eventually},
    operator::{Operator, reason},
    plane::{Options, Plane},
};
use tonic::{Code, Status};

/// A control plane with these keys set.
async fn plane(folder: &std::path::Path, keys: &[(&str, &str)]) -> (Plane, Operator) {
    let mut plane = Plane::init(folder, &Options::default());
    for (key, value) in keys {
        plane.configure(key, value);
    }
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    (plane, operator)
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, Reason) {
    let status = answer.expect_err("it must be refused");
    (status.code(), reason(&status).unwrap_or_else(|| panic!("no reason in {status}")))
}

/// Files below a folder of the state directory.
fn files(plane: &Plane, folder: &str) -> usize {
    fn count(path: PathBuf) -> usize {
        let entries = std::fs::read_dir(path).map(|entries| entries.map(|entry| entry.unwrap().path()));
        entries.map_or(0, |entries| entries.map(|it| if it.is_dir() { count(it) } else { 1 }).sum())
    }
    count(plane.state().join(folder))
}

#[tokio::test]
async fn an_upload_that_broke_goes_on_where_it_was_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (mut plane, operator) = plane(folder.path(), &[]).await;
    let content = bytes(6 * 1024 * 1024 + 17, 1);
    let upload = Open::begin(&operator, start(&content, 0)).await;
    upload.say(&content[..3 * CHUNK]).await;
    operator.until_received(&content, 3 * CHUNK).await;
    // While it is written, nobody else writes it; what is not whole is no blob.
    let second = operator.upload_from(&content, 3 * CHUNK).await;
    assert_eq!(refused(second), (Code::Unavailable, Reason::Overloaded));
    assert_eq!(refused(operator.blob(&sha256(&content)).await), (Code::NotFound, Reason::NotFound));
    upload.cut().await;
    plane.kill();
    plane.serve(&[]).await;
    let operator = plane.operator().await;
    assert_eq!(operator.received(&content).await.unwrap(), 3 * CHUNK as u64);

    let gap = operator.upload_from(&content, 4 * CHUNK).await;
    assert_eq!(refused(gap), (Code::FailedPrecondition, Reason::StateConflict));
    let short = Open::begin(&operator, start(&content, 2 * CHUNK as u64)).await;
    short.say(&content[2 * CHUNK..5 * CHUNK]).await;
    assert_eq!(refused(short.end().await), (Code::InvalidArgument, Reason::InvalidArgument));
    assert_eq!(operator.received(&content).await.unwrap(), 5 * CHUNK as u64);
    let blob = operator.upload_from(&content, 5 * CHUNK).await.unwrap();
    assert_eq!((blob.sha256.as_ref(), blob.size_bytes), (sha256(&content).as_slice(), content.len() as u64));
    assert_eq!(blob.created_by, "operator/admin");
    assert_eq!(refused(operator.received(&content).await), (Code::NotFound, Reason::NotFound));
    eventually("the file of the upload is gone", LONG, || {
        std::future::ready((files(&plane, "uploads") == 0).then_some(()))
    })
    .await;

    for offset in [0, 1, CHUNK + 1, content.len() - 1, content.len()] {
        let read = operator.download(&blob.sha256, offset as u64).await.unwrap();
        assert!(read == content[offset..], "from {offset}");
    }
    let beyond = operator.download(&blob.sha256, content.len() as u64 + 1).await;
    assert_eq!(refused(beyond), (Code::InvalidArgument, Reason::InvalidArgument));
    // What is there is answered before a byte of it comes.
    let again = Open::begin(&operator, start(&content, 0)).await.answer().await.unwrap();
    assert_eq!(again.sha256, blob.sha256);
    let audit = pb::ListAuditEntriesRequest { action_prefix: "blobs.".to_owned(), ..Default::default() };
    let entries = operator.audit.clone().list_audit_entries(audit).await.unwrap().into_inner().entries;
    let told: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(told, ["blobs.upload"], "one entry for one blob");
}

#[tokio::test]
async fn what_is_not_what_was_announced_is_refused_and_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (plane, operator) = plane(folder.path(), &[("max-blob-bytes", "300000")]).await;
    let content = bytes(200_000, 2);
    let mut other = content.clone();
    other[150_000] ^= 1;
    let upload = Open::begin(&operator, start(&content, 0)).await;
    upload.say(&other).await;
    assert_eq!(refused(upload.end().await), (Code::InvalidArgument, Reason::DigestMismatch));
    assert_eq!(refused(operator.received(&content).await), (Code::NotFound, Reason::NotFound));
    assert_eq!(refused(operator.download(&sha256(&content), 0).await), (Code::NotFound, Reason::NotFound));
    assert_eq!((files(&plane, "uploads"), files(&plane, "blobs")), (0, 0));

    let large = Open::begin(&operator, start(&bytes(300_001, 2), 0)).await.answer().await;
    assert_eq!(refused(large), (Code::InvalidArgument, Reason::TooLarge));
    let more = Open::begin(&operator, start(&content[..CHUNK], 0)).await;
    more.say(&content[..2 * CHUNK]).await;
    assert_eq!(refused(more.end().await), (Code::InvalidArgument, Reason::InvalidArgument));

    let stream = |parts: Vec<Part>| tokio_stream::iter(parts.into_iter().map(message));
    let begin = || Part::Start(start(&content, 0));
    for (parts, expected) in [
        (vec![begin(), Part::Chunk(content[..CHUNK + 1].to_vec().into())], Reason::TooLarge),
        (vec![Part::Start(start(b"", 0)), Part::Chunk(Vec::new().into())], Reason::InvalidArgument),
        (vec![begin(), begin()], Reason::InvalidArgument),
        (vec![Part::Chunk(vec![1].into())], Reason::InvalidArgument),
        (vec![], Reason::InvalidArgument),
        (
            vec![Part::Start(pb::UploadStart { sha256: vec![1].into(), ..Default::default() })],
            Reason::InvalidArgument,
        ),
        (vec![Part::Start(start(&content, 200_001))], Reason::InvalidArgument),
    ] {
        let said = format!("{parts:?}").chars().take(80).collect::<String>();
        let answer = operator.blobs.clone().upload_blob(stream(parts)).await;
        assert_eq!(refused(answer), (Code::InvalidArgument, expected), "{said}");
    }
    // An id is one upload of one content.
    let id = "01890000-0000-7000-8000-000000000000";
    let named = |content: &[u8]| pb::UploadStart { upload_id: id.to_owned(), ..start(content, 0) };
    let open = Open::begin(&operator, named(&content)).await;
    open.say(&content[..CHUNK]).await;
    let request = pb::GetUploadRequest { upload_id: id.to_owned(), ..Default::default() };
    eventually("the upload is known by its id", LONG, || async {
        operator.blobs.clone().get_upload(request.clone()).await.ok()
    })
    .await;
    let taken = Open::begin(&operator, named(&bytes(1000, 9))).await.answer().await;
    assert_eq!(refused(taken), (Code::AlreadyExists, Reason::AlreadyExists));
}

#[tokio::test]
async fn what_is_over_the_quota_is_refused_before_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [("max-blob-bytes", "200000"), ("max-total-bytes", "400000"), ("max-uploads", "2")];
    let (_plane, operator) = plane(folder.path(), &keys).await;
    let (first, second, third) = (bytes(200_000, 1), bytes(150_000, 2), bytes(50_001, 3));
    operator.upload(&first).await;
    // What has only begun takes its whole room.
    let open = Open::begin(&operator, start(&second, 0)).await;
    open.say(&second[..10]).await;
    operator.until_received(&second, 10).await;
    let over = Open::begin(&operator, start(&third, 0)).await.answer().await;
    assert_eq!(refused(over), (Code::ResourceExhausted, Reason::QuotaExceeded));
    let fits = bytes(50_000, 3);
    let another = Open::begin(&operator, start(&fits, 0)).await;
    another.say(&fits[..10]).await;
    operator.until_received(&fits, 10).await;
    let many = Open::begin(&operator, start(b"x", 0)).await.answer().await;
    assert_eq!(refused(many), (Code::Unavailable, Reason::Overloaded));
    another.say(&fits[10..]).await;
    another.end().await.unwrap();
    open.say(&second[10..]).await;
    open.end().await.unwrap();
    assert_eq!(
        refused(operator.upload_from(b"x", 0).await),
        (Code::ResourceExhausted, Reason::QuotaExceeded)
    );

    let list = |page_size| pb::ListBlobsRequest { page_size, ..Default::default() };
    let page = operator.blobs.clone().list_blobs(list(2)).await.unwrap().into_inner();
    assert_eq!((page.blobs.len(), page.next_page_token.is_empty()), (2, false));
    let delete = pb::DeleteBlobRequest { sha256: sha256(&first).into() };
    operator.blobs.clone().delete_blob(delete.clone()).await.unwrap();
    let again = operator.blobs.clone().delete_blob(delete).await;
    assert_eq!(refused(again), (Code::NotFound, Reason::NotFound));
    operator.upload(b"x").await;
    let left = operator.blobs.clone().list_blobs(list(0)).await.unwrap().into_inner().blobs;
    assert_eq!(left.len(), 3);
}

#[tokio::test]
async fn an_upload_that_says_nothing_is_ended_and_can_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, operator) = plane(folder.path(), &[("idle-within", "\"1s\"")]).await;
    let content = bytes(2 * CHUNK, 4);
    let silent = Open::begin(&operator, start(&content, 0)).await;
    silent.say(&content[..CHUNK]).await;
    assert_eq!(refused(silent.answer().await), (Code::Unavailable, Reason::Overloaded));
    operator.upload_from(&content, CHUNK).await.unwrap();
    assert_eq!(operator.download(&sha256(&content), 0).await.unwrap(), content);
}

#[tokio::test]
async fn what_nobody_needs_is_collected() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [("keep-unreferenced", "\"1s\""), ("keep-uploads", "\"1s\"")];
    let (plane, operator) = plane(folder.path(), &keys).await;
    let (whole, part) = (bytes(100_000, 5), bytes(100_000, 6));
    operator.upload(&whole).await;
    let open = Open::begin(&operator, start(&part, 0)).await;
    open.say(&part[..CHUNK]).await;
    operator.until_received(&part, CHUNK).await;
    open.cut().await;
    eventually("the blob and the broken upload are gone", LONG, || async {
        let gone = operator.blob(&sha256(&whole)).await.is_err() && operator.received(&part).await.is_err();
        (gone && files(&plane, "blobs") + files(&plane, "uploads") == 0).then_some(())
    })
    .await;
    let audit =
        pb::ListAuditEntriesRequest { action_prefix: "blobs.collect".to_owned(), ..Default::default() };
    let entries = operator.audit.clone().list_audit_entries(audit).await.unwrap().into_inner().entries;
    assert_eq!(entries.len(), 1, "a blob that goes leaves a trace: {entries:?}");
}

/// A file system of its own below the state directory, gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, size: &str) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let made = Self(path);
        made.run(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        made
    }

    fn grow(&self, size: &str) {
        self.run(&["-o", &format!("remount,size={size}")]);
    }

    fn run(&self, args: &[&str]) {
        let status = Command::new("mount").args(args).arg(&self.0).status().unwrap();
        assert!(status.success(), "mount failed: this test must run as root, with leave to mount");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_an_answer_and_the_upload_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let content = bytes(6 * 1024 * 1024, 7);
    for place in ["uploads", "blobs"] {
        let below = folder.path().join(place);
        std::fs::create_dir_all(&below).unwrap();
        let mut plane = Plane::init(&below, &Options::default());
        let disk = SmallDisk::mount(plane.state().join(place), "1m");
        plane.serve(&[]).await;
        let operator = plane.operator().await;
        let full = operator.upload_from(&content, 0).await;
        assert_eq!(refused(full), (Code::Unavailable, Reason::Overloaded), "{place}");
        let received = operator.received(&content).await.unwrap();
        assert!(received > 0, "{place}: what has come is kept");
        assert!(refused(operator.blob(&sha256(&content)).await).0 == Code::NotFound, "{place}");
        disk.grow("32m");
        let offset = usize::try_from(received).unwrap();
        operator.upload_from(&content, offset).await.unwrap();
        assert_eq!(operator.download(&sha256(&content), 0).await.unwrap(), content, "{place}");
    }
}
