//! A node agent as a process, on a host in a folder.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use muster_common::join::JoinString;

use crate::{binaries, netns::Namespace, process::Process};

/// A host with its agent.
#[derive(Debug)]
pub struct Agent {
    folder: PathBuf,
    program: PathBuf,
    process: Option<Process>,
    /// Network namespace in which all of it runs.
    namespace: Option<String>,
    /// Its node's id, once it is connected.
    pub node: String,
}

/// A lock file that allows everything below the host's `files`.
pub const OPEN: &str = "[hooks]\nallow = true\n[commands]\nrun-script = true\n";

impl Agent {
    /// A host below a folder, in no fleet. `rules`: what its lock file says
    /// besides the folder that may be written.
    #[must_use]
    pub fn host(folder: &Path, name: &str, rules: &str) -> Self {
        let folder = folder.join(name);
        fs::create_dir_all(folder.join("files")).unwrap();
        let program = binaries::path("muster-node-agent");
        let agent = Self { folder, program, process: None, namespace: None, node: String::new() };
        agent.rules(rules);
        let config =
            format!("state-dir = {:?}\nlocks-file = {:?}\n", agent.state(), agent.folder.join("locks.toml"));
        fs::write(agent.config(), config).unwrap();
        agent
    }

    /// A host that is in the fleet, with its agent running.
    pub fn start(folder: &Path, name: &str, join: &JoinString) -> Self {
        let mut agent = Self::host(folder, name, OPEN);
        agent.connect(join);
        agent.run();
        agent
    }

    /// Has all of it run in a network of its own.
    #[must_use]
    pub fn within(self, namespace: &Namespace) -> Self {
        Self { namespace: Some(namespace.name().to_owned()), ..self }
    }

    /// A command on the host. It knows no proxy of whoever runs the tests.
    fn inside(&self, program: &Path) -> Command {
        let mut command = match &self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
        };
        for variable in ["https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"] {
            command.env_remove(variable);
        }
        command
    }

    /// Changes the lock file.
    pub fn rules(&self, rules: &str) {
        self.allow(&[self.files()], rules);
    }

    /// Changes the lock file: what may be written, and what else it says.
    pub fn allow(&self, roots: &[PathBuf], rules: &str) {
        let text = format!("[paths]\nallow = {roots:?}\n{rules}");
        fs::write(self.folder.join("locks.toml"), text).unwrap();
    }

    /// Adds to the configuration file.
    pub fn configure(&self, text: &str) {
        let before = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), before + text).unwrap();
    }

    /// Writes its options anew, as an editor does: in the place of the file of before.
    ///
    /// # Panics
    /// If the disk refuses.
    pub fn settings(&self, lines: &str) {
        let before = fs::read_to_string(self.config()).unwrap();
        let rest = before.split("[settings]\n").next().unwrap_or_default();
        let staged = self.folder.join("node-agent.toml.new");
        fs::write(&staged, format!("{rest}[settings]\n{lines}")).unwrap();
        fs::rename(staged, self.config()).unwrap();
    }

    /// Runs a command of its command line.
    #[must_use]
    pub fn cli(&self, args: &[&str]) -> Output {
        self.cli_with(&[], args)
    }

    /// The same, with something in its environment.
    #[must_use]
    pub fn cli_with(&self, environment: &[(&str, &str)], args: &[&str]) -> Output {
        self.command(args).envs(environment.iter().copied()).output().unwrap()
    }

    /// A command of its command line, to be run.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.inside(&binaries::path("muster-node-agent"));
        command.arg("--config").arg(self.config()).args(args);
        command
    }

    /// Brings the host into the fleet.
    ///
    /// # Panics
    /// If that fails.
    pub fn connect(&mut self, join: &JoinString) {
        let done = self.try_connect(join);
        assert!(done.status.success(), "connect: {}", String::from_utf8_lossy(&done.stderr));
        self.node = String::from_utf8(done.stdout).unwrap().trim().to_owned();
    }

    /// As `connect`, but it may fail.
    #[must_use]
    pub fn try_connect(&self, join: &JoinString) -> Output {
        let name = self.folder.file_name().unwrap().to_str().unwrap();
        self.cli(&["connect", &join.to_string(), "--display-name", name])
    }

    /// Starts the agent.
    pub fn run(&mut self) {
        self.run_with(&[]);
    }

    /// Puts a file of its own on the host for the agent that runs from then on, in
    /// the place of an earlier one, as a package manager does.
    ///
    /// # Panics
    /// If the disk refuses.
    pub fn install(&mut self) -> PathBuf {
        let (place, staged) = (self.folder.join("muster-node-agent"), self.folder.join("installing"));
        fs::copy(binaries::path("muster-node-agent"), &staged).unwrap();
        fs::rename(staged, &place).unwrap();
        self.program.clone_from(&place);
        place
    }

    /// Starts the agent with something in its environment.
    pub fn run_with(&mut self, environment: &[(&str, &str)]) {
        let mut run = self.inside(&self.program);
        run.arg("--config").arg(self.config()).args(["run", "--single-process"]);
        // A lock file may allow `/proc/self/cwd`: the same path on every host of this machine.
        run.envs(environment.iter().copied()).current_dir(self.files());
        self.process = Some(Process::start(run, &self.folder.join("log")));
    }

    /// Starts the half of a split agent that has no rights, as a user who owns nothing but
    /// the host's state. Nobody is there to do what needs any.
    ///
    /// # Panics
    /// If its state cannot be handed over.
    pub fn run_split(&mut self) {
        let nobody = 65534;
        let given = Command::new("chown").arg("-R").arg(nobody.to_string()).arg(self.state()).status();
        assert!(given.is_ok_and(|status| status.success()), "chown");
        let mut run = self.inside(&self.program);
        run.arg("--config").arg(self.config()).arg("run").uid(nobody).gid(nobody);
        self.process = Some(Process::start(run, &self.folder.join("log")));
    }

    /// The running process.
    ///
    /// # Panics
    /// If there is none.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the agent was started")
    }

    /// Memory that the agent holds, in KiB; 0 if it does not run.
    #[must_use]
    pub fn rss_kib(&self) -> u64 {
        self.process.as_ref().map_or(0, Process::rss_kib)
    }

    /// Kills it as a loss of power would.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Where bundles may write.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// A file there.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.files().join(name)
    }

    /// Its content.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.file(name)).ok()
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("node-agent.toml")
    }
}
