//! What lies where in the agent's state directory.
//!
//! ```text
//! run.lock                one running agent for each directory
//! contact.json            the session and when it was last open, for the next process
//! pause.json              a pause, as long as it lasts
//! agent.sock status.json  for programs of the host, where there is no other place
//! identity/               the identity, its key
//! nodes/NODE-ID/          all that belongs to one enrollment:
//!   ledger/ items/ scripts/ memo.json
//! ```

mod memo;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_common::{clock::UnixMillis, ids::NodeId};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

pub use memo::Memo;

use crate::{platform::files, state::Pause};

/// What a node remembers of its control plane, in its folder.
pub const MEMO: &str = "memo.json";
/// Who has it locked runs; its process id stands there.
const LOCK: &str = "run.lock";

/// For somebody who looks whether an agent runs, at most.
const LOOKING: Duration = Duration::from_millis(50);

/// The directory of one agent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

/// How the agent stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// Of the agent that told it.
    pub pid: u32,
    /// As which node; none in no fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// `waiting`, `connecting`, `connected`, `not connected`.
    pub session: String,
    /// Since when, Unix milliseconds.
    pub since: i64,
    /// Why there is no session, if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// When the next session is tried, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<UnixMillis>,
    /// When a session was last known to be open, to a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_contact: Option<UnixMillis>,
    /// Since when none has been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off_since: Option<UnixMillis>,
    /// By which way each service is reached and why, as people read it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub proxies: BTreeMap<String, String>,
}

/// What `Status::session` says of an open one.
pub const CONNECTED: &str = "connected";

impl Status {
    /// The same, with what is known from the status before about the last contact.
    #[must_use]
    pub fn after(self, before: Option<&Self>, now: UnixMillis) -> Self {
        if self.session == CONNECTED {
            return Self { last_contact: Some(now), cut_off_since: None, ..self };
        }
        let Some(before) = before else { return self };
        let was_open = before.session == CONNECTED;
        // What another process had open ended when that was last heard to live.
        let last_contact = if was_open && before.pid == self.pid { Some(now) } else { before.last_contact };
        let cut_off_since = if was_open { last_contact } else { before.cut_off_since };
        Self { last_contact, cut_off_since, ..self }
    }
}

impl StateDir {
    /// The directory at this path; made if it is missing.
    ///
    /// # Errors
    /// From the file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        files::private_folder(path)?;
        Ok(Self(path.to_owned()))
    }

    /// The directory at this path, as it is; to look at only.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The right to run: one agent for each directory. `None`: another has it.
    ///
    /// # Errors
    /// From the file system.
    pub fn lock(&self) -> io::Result<Option<File>> {
        let mut how = File::options();
        let how = how.write(true).create(true).truncate(false).custom_flags(files::plain());
        let mut file = how.open(self.0.join(LOCK))?;
        for last in [false, false, false, true] {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    file.set_len(0)?;
                    write!(file, "{}", std::process::id())?;
                    return Ok(Some(file));
                }
                // Somebody may just be looking whether an agent runs.
                Err(rustix::io::Errno::WOULDBLOCK) if !last => std::thread::sleep(LOOKING),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Whether an agent runs. Changes nothing; `None`: this user may not know.
    #[must_use]
    pub fn is_running(&self) -> Option<bool> {
        let file = match files::open_plain(&self.0.join(LOCK)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(false),
            Err(_) => return None,
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Some(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Some(true),
            Err(_) => None,
        }
    }

    /// All that belongs to one enrollment.
    #[must_use]
    pub fn node(&self, node: NodeId) -> PathBuf {
        self.0.join("nodes").join(node.to_string())
    }

    /// Enrollments of which something is kept.
    ///
    /// # Errors
    /// From the file system.
    pub fn nodes(&self) -> io::Result<Vec<NodeId>> {
        match fs::read_dir(self.0.join("nodes")) {
            Ok(folders) => {
                Ok(folders.filter_map(|folder| folder.ok()?.file_name().to_str()?.parse().ok()).collect())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Forgets an enrollment. Files that bundles brought stay as they are.
    ///
    /// # Errors
    /// From the file system.
    pub fn forget_node(&self, node: NodeId) -> io::Result<()> {
        match fs::remove_dir_all(self.node(node)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// How the agent stands, if it ever ran.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        serde_json::from_slice(&files::read_plain(&self.0.join("contact.json")).ok()?).ok()
    }

    /// How the agent stands that runs now, if one does and has told: what another one left
    /// behind says nothing of it.
    #[must_use]
    pub fn status_now(&self) -> Option<Status> {
        let pid: Option<u32> = files::read_plain(&self.0.join(LOCK))
            .ok()
            .and_then(|pid| std::str::from_utf8(&pid).ok()?.parse().ok());
        let status = self.status().filter(|_| self.is_running() == Some(true))?;
        // An agent of a release before writes no number there.
        pid.is_none_or(|pid| pid == status.pid).then_some(status)
    }

    /// Tells how the agent stands; answers the whole, and whether it is written down. What is known
    /// of the last contact stays.
    pub fn set_status(&self, status: Status, now: UnixMillis) -> (Status, bool) {
        let status = status.after(self.status().as_ref(), now);
        let path = self.0.join("contact.json");
        let written = serde_json::to_vec_pretty(&status)
            .map_err(io::Error::from)
            .and_then(|json| files::write_atomically(&path, &json, 0o600));
        if let Err(error) = &written {
            tracing::warn!(%error, "could not write {}", path.display());
        }
        (status, written.is_ok())
    }

    /// The pause that was asked for, if there is one. One that cannot be read is one
    /// without an end: somebody wanted changes to rest.
    #[must_use]
    pub fn pause(&self) -> Option<Pause> {
        let path = self.0.join("pause.json");
        let damaged = |why: String| {
            let reason = format!("{} cannot be read: {why}", path.display());
            Pause { reason, since: UnixMillis(0), until: None, uid: 0 }
        };
        match files::read_plain(&path) {
            Ok(json) => {
                Some(serde_json::from_slice(&json).unwrap_or_else(|error| damaged(error.to_string())))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(damaged(error.to_string())),
        }
    }

    /// Remembers a pause, or that there is none.
    ///
    /// # Errors
    /// From the file system; what was remembered then stays.
    pub fn set_pause(&self, pause: Option<&Pause>) -> io::Result<()> {
        let path = self.0.join("pause.json");
        let Some(pause) = pause else {
            return match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(()) => files::sync_folder(&self.0),
            };
        };
        files::write_atomically(&path, &serde_json::to_vec_pretty(pause)?, 0o600)
    }

    /// What is remembered of the control plane.
    #[must_use]
    pub fn memo(&self, node: NodeId) -> Memo {
        let read = files::read_plain(&self.node(node).join(MEMO)).ok();
        read.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }

    /// Remembers.
    ///
    /// # Errors
    /// From the file system.
    pub fn set_memo(&self, node: NodeId, memo: &Memo) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(memo)?;
        files::write_atomically(&self.node(node).join(MEMO), &json, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use muster_common::generation::Generation;

    use super::*;
    use crate::platform::files::tests::pipe;

    #[test]
    fn one_agent_runs_in_a_directory() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("state")).unwrap();
        let first = state.lock().unwrap();
        assert!(first.is_some() && state.lock().unwrap().is_none());
        assert_eq!(state.is_running(), Some(true));
        drop(first);
        assert_eq!(state.is_running(), Some(false));
        assert!(state.lock().unwrap().is_some());
    }

    #[test]
    fn what_another_process_left_behind_is_not_how_the_agent_stands() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let tell = |pid| {
            let status = Status { pid, session: CONNECTED.to_owned(), ..Status::default() };
            state.set_status(status, UnixMillis(1));
        };
        tell(std::process::id());
        assert_eq!(state.status_now(), None, "nobody runs");
        let _runs = state.lock().unwrap().unwrap();
        assert!(state.status_now().is_some());
        tell(std::process::id() + 1);
        assert_eq!(state.status_now(), None, "that was another process");
        assert!(state.status().is_some());
    }

    #[test]
    fn links_and_pipes_in_the_folder_are_neither_read_nor_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("state")).unwrap();
        let (elsewhere, at) = (folder.path().join("elsewhere"), |name| state.path().join(name));
        let theirs = "{\"pid\":1,\"session\":\"connected\",\"since\":1}";
        fs::write(&elsewhere, theirs).unwrap();
        std::os::unix::fs::symlink(&elsewhere, at("contact.json")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, at("run.lock")).unwrap();
        pipe(&at("pause.json")).unwrap();
        assert_eq!((state.status(), state.is_running()), (None, None));
        assert!(state.lock().is_err());
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), theirs);
        assert!(state.pause().is_some_and(|pause| pause.reason.contains("no regular file")));
    }

    #[test]
    fn the_last_contact_is_known_through_tries_and_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let told = |pid, session: &str, now| {
            let status = Status { pid, session: session.to_owned(), ..Status::default() };
            state.set_status(status, UnixMillis(now));
            let told = state.status().unwrap();
            (told.last_contact.map(|at| at.0), told.cut_off_since.map(|at| at.0))
        };
        assert_eq!(told(1, "waiting", 1), (None, None), "there was never any");
        assert_eq!(told(1, CONNECTED, 2), (Some(2), None));
        assert_eq!(told(1, CONNECTED, 60), (Some(60), None));
        assert_eq!(told(1, "waiting", 70), (Some(70), Some(70)));
        assert_eq!(told(1, "waiting", 80), (Some(70), Some(70)), "another try that failed");
        assert_eq!(told(2, "waiting", 90), (Some(70), Some(70)));
        assert_eq!(told(2, CONNECTED, 100), (Some(100), None));
        assert_eq!(told(3, "waiting", 900), (Some(100), Some(100)), "the agent before died unseen");
        assert_eq!(told(3, "not connected", 950), (Some(100), Some(100)));
        let of_tomorrow = r#"{"pid": 7, "session": "connected", "since": 1, "more": {"of it": [1]}}"#;
        fs::write(folder.path().join("contact.json"), of_tomorrow).unwrap();
        assert_eq!(state.status().map(|it| (it.pid, it.session)), Some((7, CONNECTED.to_owned())));
    }

    #[test]
    fn a_pause_is_kept_until_it_is_ended_and_a_damaged_one_too() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        assert_eq!(state.pause(), None);
        let until = Some(UnixMillis(9));
        let pause = Pause { reason: "a restore".to_owned(), since: UnixMillis(1), until, uid: 7 };
        state.set_pause(Some(&pause)).unwrap();
        assert_eq!(state.pause(), Some(pause));
        fs::write(folder.path().join("pause.json"), "{").unwrap();
        assert!(state.pause().is_some_and(|pause| pause.until.is_none()));
        state.set_pause(None).unwrap();
        state.set_pause(None).unwrap();
        assert_eq!(state.pause(), None);
    }

    #[test]
    fn looking_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let state = StateDir::at(&path);
        assert_eq!((state.is_running(), state.status()), (Some(false), None));
        assert!(!path.exists());
    }

    #[test]
    fn an_enrollment_is_forgotten_whole() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let node = NodeId::generate();
        fs::create_dir_all(state.node(node)).unwrap();
        let newest = Generation::new(3, 7);
        let memo = Memo { epoch: 3, display_name: "web".to_owned(), newest, clock_ahead_ms: Some(-5) };
        state.set_memo(node, &memo).unwrap();
        assert_eq!((state.memo(node), state.nodes().unwrap()), (memo, vec![node]));
        state.forget_node(node).unwrap();
        state.forget_node(node).unwrap();
        assert_eq!(state.memo(node), Memo::default());
    }
}
