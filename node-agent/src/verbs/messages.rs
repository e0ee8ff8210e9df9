//! The words. A request holds one verb; what it does not say is zero, empty or none.

use std::{collections::BTreeMap, path::Path};

use muster_common::digest::Sha256;

mod answers;
mod artifacts;
mod extensions;
mod upgrades;

pub use answers::{Acted, Answer, Ended, Failed, Found, Names, RunState, Said, Tool};
pub use artifacts::{Artifact, Believe, Document, Refused, Stored};
pub use extensions::{Extension, ExtensionAct, ExtensionPackage};
pub use upgrades::{UpgradeFailure, UpgradeOver, UpgradePending, UpgradeStart, UpgradeState};

/// What is wanted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// The verb.
    #[prost(oneof = "Verb", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 30, 31, 32")]
    pub verb: Option<Verb>,
}

/// All verbs there are.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Verb {
    /// Does something with one path below a root of the lock file.
    #[prost(message, tag = "1")]
    File(FileVerb),
    /// Lets go of what was kept from before bundles wrote, but for these.
    #[prost(message, tag = "2")]
    Sweep(Needed),
    /// What the lock file has against a run; nothing is started.
    #[prost(message, tag = "3")]
    Judge(Run),
    /// Starts a run as a unit of its own, at most once for its id.
    #[prost(message, tag = "4")]
    Start(Run),
    /// How a run stands, and what it has written after these places in its output.
    #[prost(message, tag = "5")]
    Look(LookAt),
    /// Calls a run off that has not begun.
    #[prost(message, tag = "6")]
    CallOff(Id),
    /// Asks a run to end, for a reason that is written down before.
    #[prost(message, tag = "7")]
    Ask(AskOf),
    /// Kills all of a run.
    #[prost(message, tag = "8")]
    Kill(Id),
    /// Forgets a run that has ended.
    #[prost(message, tag = "9")]
    Clear(Id),
    /// The runs of which something is kept.
    #[prost(message, tag = "10")]
    List(Nothing),
    /// Acts on a unit of systemd.
    #[prost(message, tag = "11")]
    Service(Service),
    /// Reads the journal of a unit.
    #[prost(message, tag = "12")]
    Journal(Journal),
    /// Boots the host anew, or tells those who are logged in that it will be.
    #[prost(message, tag = "13")]
    Reboot(Reboot),
    /// Does something with an extension.
    #[prost(message, tag = "14")]
    Extension(Extension),
    /// Lets another version of the agent be brought.
    #[prost(message, tag = "15")]
    UpgradeStart(UpgradeStart),
    /// How upgrades of the agent stand.
    #[prost(message, tag = "16")]
    UpgradeLook(Nothing),
    /// Takes metadata of the signed repository, which follows, as far as it is to be believed.
    #[prost(message, tag = "30")]
    Believe(Believe),
    /// Takes a file of the signed repository, which follows, into the store.
    #[prost(message, tag = "31")]
    Admit(Artifact),
    /// Whether a file is in the store, and what it is.
    #[prost(message, tag = "32")]
    Admitted(Artifact),
}

/// No words.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Nothing {}

/// Of a file or folder.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Rights {
    /// Permission bits.
    #[prost(uint32, tag = "1")]
    pub mode: u32,
    /// Number of its user.
    #[prost(uint32, tag = "2")]
    pub user: u32,
    /// Number of its group.
    #[prost(uint32, tag = "3")]
    pub group: u32,
}

/// What is done with a path. Each may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Act {
    /// Nothing; no request has it.
    Unspecified = 0,
    /// Digest, size and rights of the file that is there.
    Look = 1,
    /// Rights of the folder that is there.
    LookFolder = 2,
    /// The bytes of a small file that everybody may read.
    Text = 3,
    /// Keeps what is there for the time after the bundle.
    KeepOriginal = 4,
    /// The folders on the way that do not exist.
    Missing = 5,
    /// Writes the bytes that follow beside the place.
    Stage = 6,
    /// Writes what was kept from before beside the place.
    StageOriginal = 7,
    /// Keeps what is there under a second name.
    Keep = 8,
    /// What is staged takes the place.
    SwapIn = 9,
    /// What was kept under a second name takes the place again.
    SwapBack = 10,
    /// The file goes.
    Remove = 11,
    /// What is staged and what was kept beside the place goes.
    Clear = 12,
    /// What is staged goes.
    ClearStaged = 13,
    /// The folder is made, closed to others.
    MakeFolder = 14,
    /// The folder gets these rights.
    SetRights = 15,
    /// The folder goes if it is empty.
    RemoveFolder = 16,
}

/// Something with one path.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FileVerb {
    /// Absolute, in normal form.
    #[prost(string, tag = "1")]
    pub path: String,
    /// What.
    #[prost(enumeration = "Act", tag = "2")]
    pub act: i32,
    /// Folders on the way are made if they are missing.
    #[prost(bool, tag = "3")]
    pub make: bool,
    /// Of what is staged, or of the folder.
    #[prost(message, optional, tag = "4")]
    pub rights: Option<Rights>,
    /// Of what is staged.
    #[prost(bytes = "vec", tag = "5")]
    pub sha256: Vec<u8>,
    /// Bytes that follow the request.
    #[prost(uint64, tag = "6")]
    pub size: u64,
}

impl FileVerb {
    /// This and nothing more.
    #[must_use]
    pub fn of(path: &Path, act: Act) -> Self {
        Self { path: path.display().to_string(), act: act.into(), ..Self::default() }
    }
}

/// Files from before that are still needed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Needed {
    /// Each by its path and its digest.
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<Kept>,
}

/// A file that was kept.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Kept {
    /// Where it was.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Of its bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub sha256: Vec<u8>,
}

/// A script or a hook.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Run {
    /// Its own, a UUID. No other run ever has it.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Of a script. A hook has none.
    #[prost(string, optional, tag = "2")]
    pub text: Option<String>,
    /// What reads the text, with its own words; of a hook the program and its arguments.
    #[prost(string, repeated, tag = "3")]
    pub program: Vec<String>,
    /// Behind the text.
    #[prost(string, repeated, tag = "4")]
    pub arguments: Vec<String>,
    /// All of its environment but the search path.
    #[prost(btree_map = "string, string", tag = "5")]
    pub environment: BTreeMap<String, String>,
    /// Where it begins.
    #[prost(string, tag = "6")]
    pub folder: String,
    /// Name or number; empty: the executor's own.
    #[prost(string, tag = "7")]
    pub user: String,
    /// Bytes; 0: no limit.
    #[prost(uint64, tag = "8")]
    pub memory: u64,
    /// Processes and threads; 0: no limit.
    #[prost(uint32, tag = "9")]
    pub tasks: u32,
    /// Percent of one core; 0: no limit.
    #[prost(uint32, tag = "10")]
    pub cpu: u32,
    /// How long it may run, in milliseconds. None: no limit.
    #[prost(uint64, optional, tag = "11")]
    pub time_ms: Option<u64>,
    /// Bytes of output that are kept.
    #[prost(uint64, tag = "12")]
    pub output: u64,
    /// It outlives the daemon that ordered it.
    #[prost(bool, tag = "13")]
    pub survives: bool,
}

/// Which run.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Id {
    /// A UUID.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// How a run stands.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LookAt {
    /// A UUID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What is known of its standard output, in bytes.
    #[prost(uint64, tag = "2")]
    pub stdout: u64,
    /// Of its standard error.
    #[prost(uint64, tag = "3")]
    pub stderr: u64,
    /// Whether systemd is asked if its unit is gone.
    #[prost(bool, tag = "4")]
    pub unit: bool,
}

/// A run is to end.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AskOf {
    /// A UUID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// 1: someone wanted it. 2: its time was over. 0: that was said before.
    #[prost(uint32, tag = "2")]
    pub why: u32,
}

/// An act on a unit.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Service {
    /// Which.
    #[prost(string, tag = "1")]
    pub unit: String,
    /// 0: look. 1: start. 2: stop. 3: restart.
    #[prost(uint32, tag = "2")]
    pub act: u32,
}

/// A journal.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Journal {
    /// Of which unit; empty: of the unit of who asks.
    #[prost(string, tag = "1")]
    pub unit: String,
    /// From when on, in milliseconds since 1970.
    #[prost(int64, tag = "2")]
    pub since_ms: i64,
}

/// A boot.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reboot {
    /// Only tells this to people.
    #[prost(string, optional, tag = "1")]
    pub tell: Option<String>,
}

impl Kept {
    /// A file by its path and digest.
    #[must_use]
    pub fn new(path: &Path, sha256: Sha256) -> Self {
        Self { path: path.display().to_string(), sha256: sha256.as_bytes().to_vec() }
    }
}
