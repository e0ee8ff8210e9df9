//! The signed repository, as the daemon asks for it: in this process's own store, or in
//! the executor's.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Seek as _, Write as _},
    time::Duration,
};

use muster_common::{error_chain::Chain, reason::Reason};

use super::{
    client::Client,
    messages::{Artifact, Believe, Document, Refused, Said, Stored, Verb},
};
use crate::{platform::bytes, state::Cause};

/// For an answer to a file of a gigabyte that is made durable on a slow disk.
const WITHIN: Duration = Duration::from_secs(900);
/// Longest refusal; names in it are the repository's.
const LONGEST: usize = 1024;

/// A refusal, as the executor words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct No {
    /// Stable reason.
    pub reason: Reason,
    /// Whose fault.
    pub cause: Cause,
    /// For people.
    pub message: String,
}

impl Client {
    /// Brings metadata by paths of a mirror.
    ///
    /// # Errors
    /// If it is not believed there.
    pub fn believe(&self, metadata: &BTreeMap<String, Vec<u8>>) -> Result<(), No> {
        let document =
            |(path, bytes): (&String, &Vec<u8>)| Document { path: path.clone(), size: bytes.len() as u64 };
        let verb = Verb::Believe(Believe { documents: metadata.iter().map(document).collect() });
        let said = self.bring(&verb, |mut to| metadata.values().try_for_each(|bytes| to.write_all(bytes)))?;
        if let Said::Done(_) = said { Ok(()) } else { Err(unexpected()) }
    }

    /// Brings a file. What was signed about it comes back, as JSON; empty: nothing.
    ///
    /// # Errors
    /// If it is not taken there.
    pub fn admit(&self, artifact: Artifact, content: &File) -> Result<String, No> {
        let verb = Verb::Admit(artifact);
        // From its begin each time: the call may be repeated.
        let send = |mut to: &std::os::unix::net::UnixStream| {
            (&*content).rewind()?;
            bytes::copy(content, &mut to).map(drop)
        };
        match self.bring(&verb, send)? {
            Said::Stored(Stored { about }) => Ok(about),
            _ => Err(unexpected()),
        }
    }

    /// Whether a file is there; what was signed about it, as JSON.
    ///
    /// # Errors
    /// If that cannot be said.
    pub fn admitted(&self, artifact: Artifact) -> Result<Option<String>, No> {
        match self.bring(&Verb::Admitted(artifact), |_| Ok(()))? {
            Said::Stored(Stored { about }) => Ok(Some(about)),
            Said::None(_) => Ok(None),
            _ => Err(unexpected()),
        }
    }

    /// Says a verb, with the bytes that follow it. Who does not want them says why.
    fn bring(
        &self,
        verb: &Verb,
        send: impl Fn(&std::os::unix::net::UnixStream) -> io::Result<()>,
    ) -> Result<Said, No> {
        let said = self.with_bytes(verb, send, WITHIN).map_err(|error| No::host(&error))?;
        match said {
            Said::Refused(refused) => Err(refused.into()),
            said => Ok(said),
        }
    }
}

impl No {
    /// The executor or the disk fails.
    #[must_use]
    pub fn host(error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::DiskFull,
            _ => Reason::WriteFailed,
        };
        Self { reason, cause: Cause::Host, message: Chain(error).to_string() }
    }
}

impl From<Refused> for No {
    fn from(refused: Refused) -> Self {
        let reason = Reason::parse(&refused.reason).unwrap_or(Reason::WriteFailed);
        Self { reason, cause: cause(refused.cause), message: refused.message }
    }
}

impl From<No> for Refused {
    fn from(no: No) -> Self {
        let message = no.message.chars().take(LONGEST).collect();
        Self { reason: no.reason.to_string(), cause: number(no.cause), message }
    }
}

/// How a cause goes over the socket.
#[must_use]
pub const fn number(cause: Cause) -> u32 {
    match cause {
        Cause::Content => 1,
        Cause::Host => 2,
        Cause::Network => 3,
        Cause::ControlPlane => 4,
    }
}

/// The cause that is said so; what is not known is the host's.
#[must_use]
pub const fn cause(number: u32) -> Cause {
    match number {
        1 => Cause::Content,
        3 => Cause::Network,
        4 => Cause::ControlPlane,
        _ => Cause::Host,
    }
}

fn unexpected() -> No {
    No::host(&super::frame::invalid("the executor answered what was not asked".to_owned()))
}
