use super::*;

#[cfg(feature = "s3")]
mod s3;

/// The storage, in a folder that is gone with the test.
struct Place {
    folder: tempfile::TempDir,
    blobs: Blobs,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&config::Blobs::default(), folder.path()).unwrap();
    Place { folder, blobs }
}

/// Bytes that differ from place to place.
fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn wanted(bytes: &[u8]) -> Wanted {
    Wanted { sha256: Sha256::of(bytes), size_bytes: bytes.len() as u64 }
}

const ID: UploadId = UploadId::from_u128(7);

impl Place {
    async fn upload(&self, content: &[u8]) -> Result<Whole, Error> {
        let mut incoming = self.blobs.receive(ID, wanted(content), 0).await?;
        for piece in content.chunks(100_000) {
            incoming.write(piece).await?;
        }
        incoming.finish().await
    }

    async fn read(&self, content: &[u8], offset: u64) -> Result<Vec<u8>, Error> {
        let mut reader = self.blobs.get(&Sha256::of(content), content.len() as u64, offset).await?;
        let mut all = Vec::new();
        while let Some(piece) = reader.next().await? {
            assert!(piece.len() <= PIECE);
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    /// Files below the folder of whole blobs.
    fn stored(&self) -> usize {
        let folders = std::fs::read_dir(self.folder.path().join("blobs")).unwrap();
        folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
    }
}

#[tokio::test]
async fn what_was_put_is_read_from_any_offset() {
    let place = place();
    // Empty, one part, and parts with a rest.
    for size in [0, 1, PIECE, 5 * 1024 * 1024, 11 * 1024 * 1024 + 3] {
        let content = bytes(size);
        let whole = place.upload(&content).await.unwrap();
        place.blobs.put(&whole).await.unwrap();
        drop(whole);
        for offset in [0, 1, PIECE + 1, size.saturating_sub(1), size] {
            let offset = offset.min(size);
            let read = place.read(&content, offset as u64).await.unwrap();
            assert!(read == content[offset..], "{size} bytes from {offset}");
        }
    }
}

#[tokio::test]
async fn a_broken_upload_is_taken_up_where_it_ended() {
    let (place, content) = (place(), bytes(200_000));
    let mut incoming = place.blobs.receive(ID, wanted(&content), 0).await.unwrap();
    incoming.write(&content[..70_000]).await.unwrap();
    assert_eq!(place.blobs.uploads().await.unwrap(), [ID]);
    assert!(matches!(place.blobs.discard(ID).await, Err(Error::Busy)));
    let second = place.blobs.receive(ID, wanted(&content), 70_000).await.unwrap_err();
    assert!(matches!(second, Error::Busy), "{second}");
    drop(incoming);
    assert_eq!(place.blobs.received(ID).await.unwrap(), 70_000);

    let gap = place.blobs.receive(ID, wanted(&content), 70_001).await.unwrap_err();
    assert!(matches!(gap, Error::Gap { offset: 70_001, received: 70_000 }), "{gap}");
    // What the caller is not sure of, it sends again.
    let mut incoming = place.blobs.receive(ID, wanted(&content), 60_000).await.unwrap();
    incoming.write(&content[60_000..]).await.unwrap();
    let whole = incoming.finish().await.unwrap();
    place.blobs.put(&whole).await.unwrap();
    drop(whole);
    assert_eq!(place.read(&content, 0).await.unwrap(), content);
    place.blobs.discard(ID).await.unwrap();
    place.blobs.discard(ID).await.unwrap();
    assert_eq!(place.blobs.received(ID).await.unwrap(), 0);
    assert_eq!(place.blobs.uploads().await.unwrap(), []);
}

#[tokio::test]
async fn nothing_that_is_not_what_was_announced_is_whole() {
    let (place, content) = (place(), bytes(1000));
    let mut incoming = place.blobs.receive(ID, wanted(&content), 0).await.unwrap();
    incoming.write(&content[..999]).await.unwrap();
    let long = incoming.write(&content[..2]).await.unwrap_err();
    assert!(matches!(long, Error::TooLong(1000)), "{long}");
    let short = incoming.finish().await.unwrap_err();
    assert!(matches!(short, Error::TooShort { received: 999, wanted: 1000 }), "{short}");

    let mut incoming = place.blobs.receive(ID, wanted(&content), 999).await.unwrap();
    incoming.write(b"x").await.unwrap();
    let other = incoming.finish().await.unwrap_err();
    assert!(matches!(other, Error::Digest { wanted, .. } if wanted == Sha256::of(&content)), "{other}");
    assert_eq!((place.stored(), place.blobs.received(ID).await.unwrap()), (0, 0), "nothing of it is kept");
}

#[tokio::test]
async fn bytes_that_a_crash_has_spoiled_are_not_believed() {
    let (place, content) = (place(), bytes(1000));
    let file = place.folder.path().join("uploads").join(ID.to_string());
    std::fs::write(file, [0; 500]).unwrap();
    let mut incoming = place.blobs.receive(ID, wanted(&content), 500).await.unwrap();
    incoming.write(&content[500..]).await.unwrap();
    assert!(matches!(incoming.finish().await, Err(Error::Digest { .. })));
}

#[tokio::test]
async fn a_full_disk_is_told_at_the_piece_that_has_no_room() {
    let (place, content) = (place(), bytes(1000));
    let file = place.folder.path().join("uploads").join(ID.to_string());
    std::os::unix::fs::symlink("/dev/full", file).unwrap();
    let mut incoming = place.blobs.receive(ID, wanted(&content), 0).await.unwrap();
    let full = incoming.write(&content).await.unwrap_err();
    assert!(matches!(full, Error::DiskFull(_)), "{full:?}");
    assert_eq!(incoming.received(), 0);
}

#[tokio::test]
async fn what_is_deleted_or_cut_is_missing() {
    let (place, content) = (place(), bytes(300_000));
    let whole = place.upload(&content).await.unwrap();
    place.blobs.put(&whole).await.unwrap();
    let name = whole.sha256().to_string();
    let file = place.folder.path().join("blobs").join(&name[..2]).join(&name);
    let cut = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    cut.set_len(100_000).unwrap();
    let short = place.read(&content, 0).await.unwrap_err();
    assert!(matches!(short, Error::Missing(_)), "{short:?}");
    for _ in 0..2 {
        place.blobs.delete(&whole.sha256()).await.unwrap();
    }
    assert!(matches!(place.read(&content, 0).await, Err(Error::Missing(_))));
    assert!(!file.exists());
}

#[tokio::test]
async fn what_an_end_of_the_process_left_half_way_is_swept() {
    let (place, content) = (place(), bytes(1000));
    let whole = place.upload(&content).await.unwrap();
    place.blobs.put(&whole).await.unwrap();
    let name = whole.sha256().to_string();
    let folder = place.folder.path().join("blobs").join(&name[..2]);
    std::fs::write(folder.join(format!("{name}#1")), b"half").unwrap();
    assert_eq!(place.stored(), 2);
    Blobs::open(&config::Blobs::default(), place.folder.path()).unwrap();
    assert_eq!(place.stored(), 1);
    assert_eq!(place.read(&content, 0).await.unwrap(), content);
}

#[test]
fn a_storage_that_cannot_be_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let options = config::Blobs { url: format!("file://{}", file.display()), ..config::Blobs::default() };
    let error = Blobs::open(&options, folder.path()).unwrap_err();
    assert!(matches!(error, Error::Directory { .. }), "{error:?}");
    let options = config::Blobs { url: "gs://bucket".to_owned(), ..config::Blobs::default() };
    assert!(matches!(Blobs::open(&options, folder.path()), Err(Error::Place(_))));
}
