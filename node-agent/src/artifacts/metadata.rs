//! Metadata of one source: all that whoever judges it will ask for. It is walked here as it
//! will be there, but for the floor, which is not this half's to know.

use muster_common::tuf::{self, Repository, Update, Want};
use tokio::time::timeout;

use super::{
    Error, Options, Wanted,
    fault::{Fault, Source},
    pace::Paced,
};
use crate::admission::{self, Metadata};

/// What a source has, and where it has the file that is wanted. What is known already by a name
/// that has its version in it is not asked for again; it is judged as what comes is.
pub(super) async fn collect(
    options: &Options,
    source: &Source,
    wanted: &Wanted,
    known: &Metadata,
) -> Result<(Metadata, String), Error> {
    let root = options.root.clone();
    let pinned = muster_common::tasks::blocking(move || admission::pinned(&root)).await?;
    let refused = |error: tuf::Error| Error::refused(&error);
    let unusable = |error: tuf::Error| -> Error {
        admission::Error::NoRoot { path: options.root.clone(), why: error.to_string() }.into()
    };
    let mut update = Update::begin(&pinned, None, options.clock.now()).map_err(unusable)?;
    let mut metadata = Metadata::new();
    while let Some(want) = update.wants() {
        let bytes = match known.get(&want.path).filter(|_| is_versioned(&want.path)) {
            Some(bytes) => Some(bytes.clone()),
            None => document(options, source, &want).await?,
        };
        update.take(bytes.as_deref()).map_err(refused)?;
        if let Some(bytes) = bytes {
            metadata.insert(want.path, bytes);
        }
    }
    let path = path(&update.finish().map_err(refused)?, wanted).map_err(refused)?;
    Ok((metadata, path))
}

/// Whether a path names one content for ever: `metadata/2.snapshot.json`.
fn is_versioned(path: &str) -> bool {
    path.strip_prefix("metadata/").is_some_and(|name| name.starts_with(|first: char| first.is_ascii_digit()))
}

/// Where the file is, if the repository signs it as it is wanted.
fn path(repository: &Repository, wanted: &Wanted) -> Result<String, tuf::Error> {
    let target = repository.target(&wanted.target)?;
    if (target.size, target.sha256) == (wanted.size, wanted.sha256) {
        Ok(repository.path(&target))
    } else {
        Err(tuf::Error::OtherFile(wanted.target.clone()))
    }
}

/// One piece, if there is one, and never more of it than may be.
async fn document(options: &Options, source: &Source, want: &Want) -> Result<Option<Vec<u8>>, Error> {
    let slow = |_| Fault::Network(format!("{} did not come in time", want.path));
    let fetched = timeout(options.limits.document, fetch(options, source, want)).await;
    match fetched.map_err(slow).and_then(|fetched| fetched) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Fault::Missing | Fault::Forbidden) if want.optional => Ok(None),
        Err(Fault::Missing) => Err(Error::refused(&tuf::Error::Missing { path: want.path.clone() })),
        Err(fault) => Err(Error::fault(fault)),
    }
}

/// One byte more than may be is enough to see that it is too much.
async fn fetch(options: &Options, source: &Source, want: &Want) -> Result<Vec<u8>, Fault> {
    let pieces = source.open(&want.path, 0).await?;
    let mut paced = Paced::new(pieces, options.limits, options.clock.monotonic());
    let mut bytes = Vec::new();
    while let Some(piece) = paced.next().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > want.most {
            break;
        }
    }
    Ok(bytes)
}
