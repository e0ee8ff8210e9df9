//! The daemon's side of the socket. Each call waits: it is for threads that may.

use std::{
    fs::File,
    io::{self, Read},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use muster_common::{digest::Sha256, tasks};

use super::{
    frame,
    messages::{Answer, FileVerb, Found, Kept, Needed, Request, Said, Verb},
};
use crate::platform::{
    bytes::{self, Bytes},
    place,
};

/// For an answer to what takes no longer than the disk.
const ANSWER: Duration = Duration::from_secs(120);
/// So often a verb is said that may be repeated, where the executor ended before it answered.
const TRIES: u32 = 2;

/// How the daemon reaches the executor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    socket: Arc<Path>,
}

/// What the executor answered.
#[derive(Debug)]
pub struct Reply(Said);

/// A call that is under way.
#[derive(Debug)]
pub(super) struct Call(UnixStream);

impl Client {
    /// Of the executor that listens there.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.into() }
    }

    /// Says a verb that may be repeated.
    ///
    /// # Errors
    /// If it fails there, or nobody answers.
    pub fn call(&self, verb: &Verb) -> io::Result<Reply> {
        self.repeat(|| self.begin(verb)?.answer(ANSWER))
    }

    /// Says a verb once.
    ///
    /// # Errors
    /// If it fails there, or nobody answers. It may have been done all the same.
    pub fn call_once(&self, verb: &Verb, within: Duration) -> io::Result<Reply> {
        self.begin(verb)?.answer(within)
    }

    /// Says one about a file.
    ///
    /// # Errors
    /// If it fails there, or nobody answers.
    pub fn file(&self, verb: FileVerb) -> io::Result<Reply> {
        self.call(&Verb::File(verb))
    }

    /// The same, with bytes.
    pub(super) fn stage(&self, verb: &FileVerb, content: &Bytes) -> io::Result<Reply> {
        let sha256 = content.sha256();
        self.repeat(|| {
            let (size, mut from) = open(content)?;
            let verb = FileVerb { size, sha256: sha256.as_bytes().to_vec(), ..verb.clone() };
            let call = self.begin(&Verb::File(verb))?;
            let sent = bytes::copy((&mut from).take(size), &mut &call.0);
            // Who does not want them has said why.
            match call.answer(ANSWER) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => sent.and(Err(error)),
                answer => answer,
            }
        })
    }

    /// Says a verb that may be repeated, and the bytes that follow it.
    pub(crate) fn with_bytes(
        &self,
        verb: &Verb,
        send: impl Fn(&UnixStream) -> io::Result<()>,
        within: Duration,
    ) -> io::Result<Said> {
        let reply = self.repeat(|| {
            let call = self.begin(verb)?;
            let sent = send(&call.0);
            match call.answer(within) {
                Err(error) if is_broken(&error) => sent.and(Err(error)),
                answer => answer,
            }
        });
        reply.map(Reply::said)
    }

    pub(super) fn sweep(&self, needed: &[(PathBuf, Sha256)]) -> io::Result<()> {
        let files = needed.iter().map(|(path, sha256)| Kept::new(path, *sha256)).collect();
        self.call(&Verb::Sweep(Needed { files })).and_then(Reply::done)
    }

    /// The same as `call`, from where nobody may wait.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn ask(&self, verb: Verb) -> io::Result<Reply> {
        let client = self.clone();
        tasks::blocking(move || client.call(&verb)).await
    }

    /// The same as `call_once`, likewise.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn ask_once(&self, verb: Verb) -> io::Result<Reply> {
        let client = self.clone();
        tasks::blocking(move || client.call_once(&verb, ANSWER)).await
    }

    pub(super) fn begin(&self, verb: &Verb) -> io::Result<Call> {
        let told = |error: io::Error| {
            let socket = self.socket.display();
            // No socket is not "no such file": that is an answer about what was asked for.
            let kind = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => io::ErrorKind::NotConnected,
                kind => kind,
            };
            io::Error::new(kind, format!("cannot reach the executor at {socket}: {error}"))
        };
        let stream = UnixStream::connect(&self.socket).map_err(told)?;
        stream.set_write_timeout(Some(ANSWER))?;
        let sent = frame::write(&stream, &Request { verb: Some(verb.clone()) });
        match sent {
            // It hung up; what it has said meanwhile says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
        Ok(Call(stream))
    }

    fn repeat(&self, call: impl Fn() -> io::Result<Reply>) -> io::Result<Reply> {
        for _ in 1..TRIES {
            match call() {
                Err(error) if is_broken(&error) => {
                    tracing::warn!(%error, "the executor ended before it answered; asking again");
                }
                answer => return answer,
            }
        }
        call()
    }
}

/// It hung up without a word.
pub(super) fn is_broken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

/// What is sent, and how much that is.
fn open(content: &Bytes) -> io::Result<(u64, Box<dyn Read + '_>)> {
    match content {
        Bytes::Inline(bytes) => Ok((bytes.len() as u64, Box::new(bytes.as_slice()))),
        Bytes::Kept(path, _) | Bytes::Fetched(path, _) => {
            let file = File::open(path)?;
            Ok((file.metadata()?.len(), Box::new(file)))
        }
    }
}

impl Call {
    pub(super) fn answer(self, within: Duration) -> io::Result<Reply> {
        self.0.set_read_timeout(Some(within))?;
        self.next().map(Reply)
    }

    /// The next answer of several, however long it takes.
    pub(super) fn next(&self) -> io::Result<Said> {
        match frame::read::<Answer>(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            answer => frame::said(answer?),
        }
    }

    /// A way to say that the answer is no longer wanted.
    pub(super) fn end(&self) -> io::Result<impl FnOnce() + Send + use<>> {
        let stream = self.0.try_clone()?;
        Ok(move || drop(stream.shutdown(Shutdown::Write)))
    }
}

impl Reply {
    /// That it is done, and nothing else.
    ///
    /// # Errors
    /// If it was not.
    pub fn done(self) -> io::Result<()> {
        match self.0 {
            Said::Done(_) => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// That it is so, or not.
    ///
    /// # Errors
    /// If the lock file has something against it.
    pub fn is(self) -> io::Result<bool> {
        match self.0 {
            Said::Is(is) => Ok(is),
            other => Err(unexpected(other)),
        }
    }

    /// Paths or ids.
    ///
    /// # Errors
    /// If the lock file has something against it.
    pub fn paths(self) -> io::Result<Vec<String>> {
        match self.0 {
            Said::Names(names) => Ok(names.names),
            other => Err(unexpected(other)),
        }
    }

    /// A file or folder, or none.
    ///
    /// # Errors
    /// If the lock file has something against it.
    pub fn found(self) -> io::Result<Option<place::Found>> {
        match self.0 {
            Said::None(_) => Ok(None),
            Said::Found(Found { sha256, size, rights: Some(rights) }) => {
                let sha256 = Sha256::from_slice(&sha256).unwrap_or(Sha256::ZERO);
                Ok(Some(place::Found { sha256, size, rights: rights.into() }))
            }
            other => Err(unexpected(other)),
        }
    }

    /// Bytes, or none.
    ///
    /// # Errors
    /// If the lock file has something against it.
    pub fn bytes(self) -> io::Result<Option<Vec<u8>>> {
        match self.0 {
            Said::None(_) => Ok(None),
            Said::Bytes(bytes) => Ok(Some(bytes)),
            other => Err(unexpected(other)),
        }
    }

    /// As it came.
    #[must_use]
    pub fn said(self) -> Said {
        self.0
    }
}

/// What the lock file has against it, by the executor's reading. In an [`io::Error`] it reads
/// as a path that may not be: that is how it is told where nobody asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Locked(String);

impl Locked {
    /// The refusal in an error of the executor, if it is one.
    #[must_use]
    pub fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

pub(super) fn unexpected(said: Said) -> io::Error {
    match said {
        Said::Locked(why) => io::Error::new(io::ErrorKind::InvalidInput, Locked(why)),
        Said::Stopped(_) => io::Error::new(io::ErrorKind::Interrupted, "it was ended by who asked"),
        _ => frame::invalid("the executor answered what was not asked".to_owned()),
    }
}
