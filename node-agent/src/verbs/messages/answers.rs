//! What the executor answers.

use super::{Nothing, Refused, Rights, Stored, UpgradeState};

/// What came of it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Answer {
    /// One of these.
    #[prost(oneof = "Said", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 30, 31")]
    pub said: Option<Said>,
}

/// All answers there are.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Said {
    /// It is done.
    #[prost(message, tag = "1")]
    Done(Nothing),
    /// There is nothing of it.
    #[prost(message, tag = "2")]
    None(Nothing),
    /// A file or folder.
    #[prost(message, tag = "3")]
    Found(Found),
    /// Bytes; of a journal one of many answers.
    #[prost(bytes = "vec", tag = "4")]
    Bytes(Vec<u8>),
    /// Paths or ids.
    #[prost(message, tag = "5")]
    Names(Names),
    /// How a run stands.
    #[prost(message, tag = "6")]
    Run(RunState),
    /// What came of an act on a unit.
    #[prost(message, tag = "7")]
    Unit(Acted),
    /// The lock file does not allow it, with a sentence.
    #[prost(string, tag = "8")]
    Locked(String),
    /// The host has no user of that name.
    #[prost(string, tag = "9")]
    UserUnknown(String),
    /// It failed.
    #[prost(message, tag = "10")]
    Failed(Failed),
    /// It was ended because who asked hung up.
    #[prost(message, tag = "11")]
    Stopped(Nothing),
    /// Yes or no.
    #[prost(bool, tag = "12")]
    Is(bool),
    /// How upgrades of the agent stand.
    #[prost(message, tag = "13")]
    Upgrade(UpgradeState),
    /// The store has the file.
    #[prost(message, tag = "30")]
    Stored(Stored),
    /// The keys, the store or the disk say no.
    #[prost(message, tag = "31")]
    Refused(Refused),
}

/// A file or folder that is there.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Found {
    /// Of a file.
    #[prost(bytes = "vec", tag = "1")]
    pub sha256: Vec<u8>,
    /// Bytes of a file.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// Who may do what with it.
    #[prost(message, optional, tag = "3")]
    pub rights: Option<Rights>,
}

/// Several names.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Names {
    /// Each.
    #[prost(string, repeated, tag = "1")]
    pub names: Vec<String>,
}

/// How a run stands.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RunState {
    /// Something is kept of it.
    #[prost(bool, tag = "1")]
    pub known: bool,
    /// It outlives the daemon, and the boot is still that in which it was ordered.
    #[prost(bool, tag = "2")]
    pub survives: bool,
    /// Bytes of its output that are kept.
    #[prost(uint64, tag = "3")]
    pub output: u64,
    /// How it ended.
    #[prost(message, optional, tag = "4")]
    pub ended: Option<Ended>,
    /// Why it was asked to end: as in the verb, and 3: from outside. 0: it was not.
    #[prost(uint32, tag = "5")]
    pub asked: u32,
    /// Its unit is gone.
    #[prost(bool, tag = "6")]
    pub gone: bool,
    /// More of its standard output.
    #[prost(bytes = "vec", tag = "7")]
    pub stdout: Vec<u8>,
    /// More of its standard error.
    #[prost(bytes = "vec", tag = "8")]
    pub stderr: Vec<u8>,
}

/// How a run ended.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ended {
    /// Its exit status.
    #[prost(int32, optional, tag = "1")]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[prost(int32, optional, tag = "2")]
    pub signal: Option<i32>,
    /// Why not a line of it ran.
    #[prost(string, optional, tag = "3")]
    pub not_started: Option<String>,
    /// The kernel ended something of it for want of memory.
    #[prost(bool, tag = "4")]
    pub out_of_memory: bool,
    /// Bytes of standard output that were not kept.
    #[prost(uint64, tag = "5")]
    pub dropped_stdout: u64,
    /// Of standard error.
    #[prost(uint64, tag = "6")]
    pub dropped_stderr: u64,
}

/// What came of an act on a unit.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Acted {
    /// Why nobody may act on it, whatever the lock file says.
    #[prost(string, optional, tag = "1")]
    pub never: Option<String>,
    /// As systemd shows it; empty: it knows none of that name.
    #[prost(string, tag = "2")]
    pub shown: String,
    /// Of the act; none: it was only looked at.
    #[prost(message, optional, tag = "3")]
    pub tool: Option<Tool>,
}

/// What the tool said that acted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Tool {
    /// Its exit status; none: a signal ended it.
    #[prost(int32, optional, tag = "1")]
    pub exit_code: Option<i32>,
    /// Its standard error.
    #[prost(bytes = "vec", tag = "2")]
    pub stderr: Vec<u8>,
}

/// A failure of the host.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Failed {
    /// One of [`crate::verbs::frame::KINDS`].
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
}
