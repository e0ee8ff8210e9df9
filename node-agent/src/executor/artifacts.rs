//! Verbs about the signed repository. What comes is judged by the root that is pinned on
//! this host and by what was believed here before; the daemon has no say in it.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream as Waiting,
    sync::Arc,
    time::Duration,
};

use muster_common::{digest::Sha256, error_chain::Chain, tasks, tuf};
use parking_lot::Mutex;
use tokio::net::UnixStream;

use crate::{
    admission::{self, Admitted, Error, Metadata, Store, Wanted},
    verbs::{
        No,
        frame::{self, DONE, MOST_CONTENT, NONE, invalid},
        messages::{Answer, Artifact, Believe, Said, Stored, Verb},
    },
};

/// For each piece of the bytes that follow a request, and for an answer to be taken.
const PIECE: Duration = Duration::from_secs(10);
/// Most pieces of metadata: all roots that are followed, and the three others.
const MOST_DOCUMENTS: usize = tuf::MOST_ROOTS as usize + 8;

/// Does them. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Artifacts {
    options: Arc<admission::Options>,
    /// Opened when the first verb needs it: a host may never have one.
    store: Arc<Mutex<Option<Store>>>,
}

impl Artifacts {
    pub(super) fn new(options: admission::Options) -> Self {
        Self { options: Arc::new(options), store: Arc::default() }
    }

    /// The store.
    pub(super) fn store(&self) -> io::Result<Store> {
        let mut store = self.store.lock();
        if let Some(store) = &*store {
            return Ok(store.clone());
        }
        Ok(store.insert(Store::open((*self.options).clone())?).clone())
    }

    /// Does one, with the bytes that follow it, and answers.
    pub(super) async fn attend(&self, verb: Verb, stream: UnixStream) -> io::Result<()> {
        let (artifacts, stream) = (self.clone(), stream.into_std()?);
        let work = move || {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(PIECE))?;
            stream.set_write_timeout(Some(PIECE))?;
            let said = artifacts.say(verb, &stream);
            frame::write(&stream, &Answer { said: Some(said) })
        };
        tasks::blocking(work).await
    }

    fn say(&self, verb: Verb, content: &Waiting) -> Said {
        let said = match verb {
            Verb::Believe(believe) => self.believe(&believe, content),
            Verb::Admit(artifact) => self.admit(&artifact, content),
            Verb::Admitted(artifact) => self.admitted(&artifact),
            _ => Err(io::Error::from(io::ErrorKind::InvalidInput).into()),
        };
        said.unwrap_or_else(|error| refused(&error))
    }

    fn believe(&self, believe: &Believe, content: &Waiting) -> Result<Said, Error> {
        let metadata = documents(believe, content)?;
        self.store()?.believe(&metadata)?;
        Ok(DONE)
    }

    fn admit(&self, artifact: &Artifact, content: &Waiting) -> Result<Said, Error> {
        Ok(stored(self.store()?.admit(&wanted(artifact)?, content)?))
    }

    fn admitted(&self, artifact: &Artifact) -> Result<Said, Error> {
        Ok(self.store()?.admitted(&wanted(artifact)?)?.map_or(NONE, stored))
    }
}

pub(super) fn wanted(artifact: &Artifact) -> io::Result<Wanted> {
    let sha256 = Sha256::from_slice(&artifact.sha256).ok_or_else(|| invalid("no digest".to_owned()))?;
    Ok(Wanted { target: artifact.target.clone(), size: artifact.size, sha256 })
}

/// Reads what follows, as much as was said and may be.
fn documents(believe: &Believe, mut content: &Waiting) -> io::Result<Metadata> {
    let all = believe.documents.iter().fold(0_u64, |sum, document| sum.saturating_add(document.size));
    if believe.documents.len() > MOST_DOCUMENTS || all > MOST_CONTENT {
        let message = format!("{} documents of {all} bytes are too much", believe.documents.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut metadata = Metadata::new();
    for document in &believe.documents {
        let mut bytes = Vec::new();
        (&mut content).take(document.size).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != document.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        metadata.insert(document.path.clone(), bytes);
    }
    Ok(metadata)
}

fn stored(admitted: Admitted) -> Said {
    let about = admitted.about.and_then(|about| serde_json::to_string(&about).ok());
    Said::Stored(Stored { about: about.unwrap_or_default() })
}

fn refused(error: &Error) -> Said {
    let message = Chain(error).to_string();
    tracing::warn!("nothing was taken from the signed repository: {message}");
    Said::Refused(No { reason: error.reason(), cause: error.cause(), message }.into())
}

#[cfg(test)]
mod tests;
