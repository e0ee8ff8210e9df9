//! Scripts and hooks as transient units of systemd, each in a folder of its own where what
//! watches over it keeps its output and its end. Whoever ordered one may end meanwhile:
//! all there is to know is on the disk.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use muster_common::{crash, digest::Sha256, ids::CommandId, tasks};

use super::{
    accounts::{self, Account},
    files,
    process::boot_id,
    supervise::{Asked, Ended, Job, Place},
    units::{Limits, SCRIPTS, Unit, Units},
};

/// Runs of which something is kept. More are not begun.
const MOST_KEPT: usize = 1024;

/// A script or a hook that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its own. No other run ever has it.
    pub id: CommandId,
    /// Of a script. A hook has none.
    pub text: Option<String>,
    /// What reads the text, with its own words; of a hook the program and its arguments.
    pub program: Vec<String>,
    /// Behind the text.
    pub arguments: Vec<String>,
    /// All of its environment but the search path.
    pub environment: BTreeMap<String, String>,
    /// Where it begins.
    pub folder: PathBuf,
    /// Name or number; empty: that of who starts it.
    pub user: String,
    /// What it may use.
    pub limits: Limits,
    /// Bytes of output that are kept.
    pub output: u64,
    /// It outlives the agent that ordered it.
    pub survives: bool,
}

/// Not a line of it runs, and none ever will.
#[derive(Debug)]
pub enum NotStarted {
    /// The host has no such user.
    UserUnknown,
    /// The lock file has this against it.
    Locked(String),
    /// The host cannot.
    Host(io::Error),
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Something is kept of it.
    pub is_known: bool,
    /// It is to outlive who ordered it, and can: it was ordered in this boot.
    pub survives: bool,
    /// Bytes of its output that are kept.
    pub output: u64,
    /// How it ended. All its output is there then.
    pub ended: Option<Ended>,
    /// Why it was asked to end.
    pub asked: Option<Asked>,
    /// What it has written since, of standard output and of standard error.
    pub pieces: [Vec<u8>; 2],
}

/// Makes and follows them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runs {
    units: Units,
    folder: PathBuf,
}

impl Order {
    /// By which a lock file knows its text.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(self.text.as_deref().unwrap_or_default().as_bytes())
    }

    /// The account that it is to run as. `None`: the host does not know it. May wait for a
    /// directory service.
    ///
    /// # Errors
    /// If this host cannot say so.
    pub fn account(&self) -> io::Result<Option<Account>> {
        match self.user.as_str() {
            "" => accounts::account(&accounts::me().0.to_string()),
            user => accounts::account(user),
        }
    }

    /// The same, if it is another than that of this process.
    fn other(&self) -> Result<Option<Account>, NotStarted> {
        match self.account() {
            Ok(Some(account)) => Ok((account.uid != accounts::me().0).then_some(account)),
            Ok(None) if self.user.is_empty() => Ok(None),
            Ok(None) => Err(NotStarted::UserUnknown),
            Err(error) => Err(NotStarted::Host(error)),
        }
    }

    /// A script is told which command it is; a hook knows what it is for by its environment.
    fn own_variable(&self) -> Option<(String, String)> {
        self.text.is_some().then(|| ("MUSTER_COMMAND_ID".to_owned(), self.id.to_string()))
    }

    fn job(&self, user: Option<Account>) -> Job {
        let text = self.text.is_some().then(|| text_of(self.id));
        let words = self.program.iter().cloned().chain(text).chain(self.arguments.iter().cloned());
        let home = user.iter().flat_map(|user| {
            [("HOME", &user.home), ("USER", &user.name), ("LOGNAME", &user.name)]
                .map(|(name, value)| (name.to_owned(), value.clone()))
        });
        Job {
            command: words.collect(),
            environment: home.chain(self.environment.clone()).chain(self.own_variable()).collect(),
            folder: self.folder.clone(),
            user,
            output_limit: self.output,
            time_limit: self.limits.time,
            survives: self.survives,
            boot_id: boot_id(),
        }
    }
}

impl Runs {
    /// Those of this host, if this process is root and systemd runs the host. `program`:
    /// this agent's own, which watches over them; `folder`: where each has its own.
    #[must_use]
    pub fn of_this_host(program: &Path, folder: &Path) -> Option<Self> {
        Some(Self { units: Units::of_this_host(program)?, folder: folder.to_owned() })
    }

    /// Takes an id for a run, before anything else is done for it: two that come with the
    /// same id do not both go on from here.
    ///
    /// # Errors
    /// If it was taken before, too much is kept of others, or from the file system.
    pub async fn reserve(&self, id: CommandId) -> io::Result<()> {
        let (runs, place) = (self.clone(), self.place(id));
        let reserve = move || match place.reserve() {
            Ok(()) if runs.list().len() > MOST_KEPT => {
                let _ = fs::remove_dir(place.folder());
                let message = format!("{MOST_KEPT} runs are kept already: they are cleared away first");
                Err(io::Error::new(io::ErrorKind::QuotaExceeded, message))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let message = format!("run {id} was ordered before: it is not started again");
                Err(io::Error::new(error.kind(), message))
            }
            reserved => reserved,
        };
        tasks::blocking(reserve).await
    }

    /// Gives an id back for which nothing was ordered, unless it was called off.
    pub async fn give_back(&self, id: CommandId) {
        let place = self.place(id);
        let _ = tasks::blocking(move || fs::remove_dir(place.folder())).await; // only if it is empty
    }

    /// Starts one whose id is reserved.
    ///
    /// # Errors
    /// Only if nothing of it runs or ever will.
    pub async fn start(&self, order: Order) -> Result<(), NotStarted> {
        let (place, id, limits) = (self.place(order.id), order.id, order.limits);
        let prepared = tasks::blocking(move || prepare(&order, &place)).await;
        prepared?;
        crash::point("executor.run.ordered");
        let place = self.place(id);
        if let Err(error) = self.units.start(&Unit::of(id), place.folder(), &limits).await
            && self.call_off(id).await
        {
            return Err(NotStarted::Host(error));
        }
        crash::point("executor.run.launched");
        Ok(())
    }

    /// How a run stands, and what it has written after these places in its output, at most
    /// so much of each. For a thread that may wait.
    #[must_use]
    pub fn look(&self, id: CommandId, after: [u64; 2], most: usize) -> State {
        let place = self.place(id);
        // First its end: what it has written by then is all there is.
        let ended = place.ended();
        let Some(job) = place.job() else { return State::default() };
        let piece = |stderr| piece(&place.output(stderr), after[usize::from(stderr)], most);
        State {
            is_known: true,
            survives: job.survives && job.boot_id == boot_id(),
            output: job.output_limit,
            ended,
            asked: place.asked(),
            pieces: [piece(false), piece(true)],
        }
    }

    /// Calls one off that has not begun, or has not even come yet. `true`: nothing of it runs,
    /// or ever will.
    pub async fn call_off(&self, id: CommandId) -> bool {
        let place = self.place(id);
        tasks::blocking(move || place.call_off()).await
    }

    /// Notes why it is asked to end, before it is.
    ///
    /// # Errors
    /// From the file system.
    pub async fn ask(&self, id: CommandId, why: Asked) -> io::Result<()> {
        let place = self.place(id);
        tasks::blocking(move || place.ask(why)).await
    }

    /// Asks all of it to end; what has not soon after is killed.
    ///
    /// # Errors
    /// If systemd does not take that.
    pub async fn stop(&self, id: CommandId) -> io::Result<()> {
        Unit::of(id).stop().await
    }

    /// Kills all of it, and waits until nothing is left. One that is gone is no error.
    ///
    /// # Errors
    /// If it lives on.
    pub async fn kill(&self, id: CommandId) -> io::Result<()> {
        Unit::of(id).kill().await
    }

    /// Calls it off and kills what there is, from where nobody can wait.
    pub fn drop_now(&self, id: CommandId) {
        // Also a unit that only comes now finds nothing to run.
        let _ = self.place(id).call_off();
        Unit::of(id).kill_now();
    }

    /// Whether nothing of its unit is left.
    ///
    /// # Errors
    /// If systemd does not say.
    pub async fn is_gone(&self, id: CommandId) -> io::Result<bool> {
        Unit::of(id).is_gone().await
    }

    /// Forgets what was kept of it; what has not begun does not any more. For a thread that
    /// may wait.
    ///
    /// # Errors
    /// From the file system.
    pub fn clear(&self, id: CommandId) -> io::Result<()> {
        let kept = self.place(id);
        if kept.folder().exists() {
            let _ = kept.call_off();
        }
        let gone = fs::remove_dir_all(kept.folder());
        let text = fs::remove_file(text_of(id));
        [gone, text].into_iter().find(|gone| !is_fine(gone)).unwrap_or(Ok(()))
    }

    /// Those of which something is kept. For a thread that may wait.
    #[must_use]
    pub fn list(&self) -> Vec<CommandId> {
        let Ok(found) = fs::read_dir(&self.folder) else { return Vec::new() };
        found.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    fn place(&self, id: CommandId) -> Place {
        Place::at(&self.folder.join(id.to_string()))
    }
}

fn is_fine(gone: &io::Result<()>) -> bool {
    gone.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Puts all in place. What can be known to fail fails here, with a clear word.
fn prepare(order: &Order, place: &Place) -> Result<(), NotStarted> {
    let job = order.job(order.other()?);
    put(order, &job, place).map_err(NotStarted::Host)
}

fn put(order: &Order, job: &Job, place: &Place) -> io::Result<()> {
    let program = order.program.first().ok_or(io::ErrorKind::InvalidInput)?;
    rustix::fs::access(program, rustix::fs::Access::EXEC_OK)?;
    if let Some(text) = &order.text {
        files::folder(Path::new(SCRIPTS), 0o711)?;
        let path = text_of(order.id);
        files::write_atomically(Path::new(&path), text.as_bytes(), 0o500)?;
        if let Some(user) = &job.user {
            std::os::unix::fs::chown(&path, Some(user.uid), Some(user.gid))?;
        }
    }
    place.order(job)
}

fn text_of(id: CommandId) -> String {
    format!("{SCRIPTS}/{id}")
}

/// What a file has after a place. One that is not there yet has nothing.
fn piece(path: &Path, after: u64, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(after))?;
        file.take(most as u64).read_to_end(&mut bytes)
    });
    if read.is_err() {
        bytes.clear();
    }
    bytes
}

#[cfg(test)]
mod tests;
