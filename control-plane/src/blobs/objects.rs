//! Whole blobs, in a directory or in a bucket.

use std::{fs, os::unix::fs::DirBuilderExt as _, path::Path, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream::BoxStream};
use muster_common::digest::Sha256;
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt as _, local::LocalFileSystem,
    path::Path as Key,
};
use tokio::io::AsyncReadExt as _;

use super::error::Error;
use crate::config::Place;

/// Most bytes that a reader gives at once.
pub const PIECE: usize = 64 * 1024;
/// Bytes that move into the storage at once; S3 takes no smaller parts but the last.
const PART: usize = 5 * 1024 * 1024;

/// The storage. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Key,
}

/// The bytes of one blob, from some place on to its end.
pub struct Reader {
    sha256: Sha256,
    bytes: BoxStream<'static, object_store::Result<Bytes>>,
    rest: BytesMut,
    left: u64,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("sha256", &self.sha256)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Objects {
    pub(super) fn open(place: &Place) -> Result<Self, Error> {
        match place {
            Place::Directory(path) => directory(path),
            Place::S3(url) => bucket(url),
        }
    }

    /// The bucket and the prefix are the URL's, everything else the builder's.
    #[cfg(feature = "s3")]
    pub(super) fn in_bucket(builder: object_store::aws::AmazonS3Builder, url: &str) -> Result<Self, Error> {
        // One blob goes at a time, and not every S3 deletes many in one request.
        let store = builder.with_url(url).with_disable_bulk_delete(true).build()?;
        let prefix = url.trim_start_matches("s3://").split_once('/').map_or("", |(_, prefix)| prefix);
        Ok(Self { store: Arc::new(store), prefix: Key::from(prefix) })
    }

    fn key(&self, sha256: &Sha256) -> Key {
        let name = sha256.to_string();
        let folder = name[..2].to_owned();
        self.prefix.clone().join(folder).join(name)
    }

    pub(super) async fn put(&self, sha256: &Sha256, path: &Path, size_bytes: u64) -> Result<(), Error> {
        let failed = |source| Error::file("read", path.to_owned(), source);
        let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
        let key = self.key(sha256);
        if size_bytes <= PART as u64 {
            let whole = part(&mut file).await.map_err(failed)?;
            self.store.put(&key, whole.into()).await?;
            return Ok(());
        }
        let mut upload = self.store.put_multipart(&key).await?;
        let moved = move_parts(upload.as_mut(), &mut file).await.map_err(|error| match error {
            Moved::File(source) => failed(source),
            Moved::Storage(error) => error.into(),
        });
        if moved.is_err() {
            // What it left is of no use to anyone, and the first error is the one to tell.
            let _ = upload.abort().await;
        }
        moved
    }

    pub(super) async fn get(&self, sha256: &Sha256, size_bytes: u64, offset: u64) -> Result<Reader, Error> {
        let left = size_bytes.saturating_sub(offset);
        let bytes = if left == 0 {
            futures_util::stream::empty().boxed()
        } else {
            let options =
                GetOptions { range: Some(GetRange::Bounded(offset..size_bytes)), ..GetOptions::default() };
            match self.store.get_opts(&self.key(sha256), options).await {
                Ok(got) => got.into_stream(),
                Err(object_store::Error::NotFound { .. }) => return Err(Error::Missing(*sha256)),
                Err(error) => return Err(error.into()),
            }
        };
        Ok(Reader { sha256: *sha256, bytes, rest: BytesMut::new(), left })
    }

    pub(super) async fn delete(&self, sha256: &Sha256) -> Result<(), Error> {
        match self.store.delete(&self.key(sha256)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What failed while parts moved.
enum Moved {
    File(std::io::Error),
    Storage(object_store::Error),
}

async fn move_parts(upload: &mut dyn MultipartUpload, file: &mut tokio::fs::File) -> Result<(), Moved> {
    loop {
        let next = part(file).await.map_err(Moved::File)?;
        if next.is_empty() {
            break;
        }
        upload.put_part(next.into()).await.map_err(Moved::Storage)?;
    }
    upload.complete().await.map(drop).map_err(Moved::Storage)
}

/// The next part of a file; empty at its end.
async fn part(file: &mut tokio::fs::File) -> std::io::Result<Bytes> {
    let mut part = Vec::new();
    file.take(PART as u64).read_to_end(&mut part).await?;
    Ok(part.into())
}

impl Reader {
    /// The next bytes, at most [`PIECE`]. `None`: that was the end.
    ///
    /// # Errors
    /// If the storage fails, or has fewer bytes than it should.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.rest.len() < PIECE {
            match self.bytes.next().await {
                Some(bytes) => self.rest.extend_from_slice(&bytes?),
                None => break,
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE)).freeze();
        if piece.is_empty() && self.left > 0 {
            return Err(Error::Missing(self.sha256));
        }
        self.left = self.left.saturating_sub(piece.len() as u64);
        Ok((!piece.is_empty()).then_some(piece))
    }
}

fn directory(path: &Path) -> Result<Objects, Error> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.and_then(|()| sweep(path)).map_err(|source| Error::Directory { path: path.to_owned(), source })?;
    let store = LocalFileSystem::new_with_prefix(path)?.with_fsync(true);
    Ok(Objects { store: Arc::new(store), prefix: Key::default() })
}

/// Takes away what an end of the process has left half way into the directory:
/// the storage writes beside the name, with a `#` in it, and then renames.
fn sweep(path: &Path) -> std::io::Result<()> {
    for folder in fs::read_dir(path)? {
        let folder = folder?.path();
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().contains(&b'#') {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

#[cfg(feature = "s3")]
fn bucket(url: &str) -> Result<Objects, Error> {
    Objects::in_bucket(object_store::aws::AmazonS3Builder::from_env(), url)
}

#[cfg(not(feature = "s3"))]
fn bucket(url: &str) -> Result<Objects, Error> {
    Err(Error::Place(format!("blobs.url is {url:?}; this program was built without the feature s3")))
}
