//! What an error of a server means to the store.

use std::sync::Arc;

use tokio_postgres::{Error as Said, error::SqlState};

use super::types::WrongType;
use crate::error::{Cause, Error};

/// Who or what is to blame.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection is of no use any more.
    Lost(Error),
    /// The transaction stood in another one's way, and is over.
    Conflict(Error),
    /// The statement.
    Statement(Error),
}

impl Fault {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Lost(error) | Self::Conflict(error) | Self::Statement(error) => error,
        }
    }
}

/// Judges an error that came while `doing` a statement.
pub(super) fn judge(said: Said, doing: &str) -> Fault {
    let Some(code) = said.code().cloned() else {
        let is_ours = std::error::Error::source(&said).is_some_and(|source| source.is::<WrongType>());
        let cause: Cause = Arc::new(said);
        return if is_ours {
            Fault::Statement(Error::engine(doing, cause))
        } else {
            Fault::Lost(Error::Unreachable(cause))
        };
    };
    let cause: Cause = Arc::new(said);
    match code {
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => {
            Fault::Conflict(Error::Locked(cause))
        }
        SqlState::LOCK_NOT_AVAILABLE => Fault::Statement(Error::Locked(cause)),
        SqlState::DISK_FULL => Fault::Statement(Error::DiskFull(cause)),
        SqlState::IO_ERROR => Fault::Statement(Error::Io(cause)),
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => Fault::Statement(Error::Corrupt(cause)),
        // Was made a standby while we held it; ended the session for its silence.
        SqlState::READ_ONLY_SQL_TRANSACTION | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => {
            Fault::Lost(Error::Unreachable(cause))
        }
        code => match &code.code()[..2] {
            "23" => Fault::Statement(Error::Constraint(cause)),
            // Connections, its shutting down. What one statement has used up is that one's fault.
            "08" | "28" => Fault::Lost(Error::Unreachable(cause)),
            "57" if code != SqlState::QUERY_CANCELED => Fault::Lost(Error::Unreachable(cause)),
            _ => Fault::Statement(Error::engine(doing, cause)),
        },
    }
}
