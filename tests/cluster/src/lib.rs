//! A PostgreSQL server of a test's own, made from the programs that are installed:
//! `initdb` in a temporary folder, reached by a socket there and, if asked, by TCP.
//!
//! A script is its keeper. It runs as a user who may run a server (root may not),
//! does what it is told on its standard input, and when that ends, because the test
//! did in whatever way, it stops the server and removes the folder.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on should end")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Who runs a server that root may not run.
const NOBODY: u32 = 65534;
/// Of every server; its settings make nothing durable, which no test here is about.
const SETTINGS: &str = "fsync = off\nfull_page_writes = off\nmax_connections = 300\n\
                        shared_buffers = 32MB\nmax_wal_size = 256MB\n";

/// In which the system counts a process's time, in a second.
const TICKS: u64 = 100;

/// A running server; it ends with this value.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    host: IpAddr,
    port: u16,
    keeper: Mutex<Keeper>,
}

#[derive(Debug)]
struct Keeper {
    process: Child,
    /// None: it was told to end.
    tell: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
}

impl Cluster {
    /// The server that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(""))
    }

    /// A server of its own, with these lines at the end of its configuration.
    #[must_use]
    pub fn start(settings: &str) -> Self {
        let cluster = Self::make(settings, None, None);
        cluster.tell("start");
        cluster
    }

    /// The same with TLS for `name`: a certificate and its key, as PEM.
    #[must_use]
    pub fn with_tls(certificate: &str, key: &str) -> Self {
        let settings = "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n\
                        listen_addresses = '127.0.0.1'\n";
        let cluster = Self::make(settings, Some((certificate, key)), None);
        cluster.tell("start");
        cluster
    }

    /// A server in a network namespace that has this address, without TLS: all of that
    /// network of /24 may enter.
    #[must_use]
    pub fn in_namespace(name: &str, address: Ipv4Addr) -> Self {
        let cluster = Self::make(&format!("listen_addresses = '{address}'\n"), None, Some((name, address)));
        cluster.tell("start");
        cluster
    }

    /// A server, and a standby that has whatever it has committed.
    #[must_use]
    pub fn pair() -> (Self, Self) {
        let primary = Self::start("wal_level = replica\nmax_wal_senders = 4\n");
        let standby = Self::following(&primary);
        primary.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        primary.sql("postgres", "SELECT pg_reload_conf()");
        (primary, standby)
    }

    fn following(primary: &Self) -> Self {
        let (folder, is_root) = folder();
        let port = free_port();
        let mut keeper = Keeper::start(&folder, is_root, None);
        keeper.tell(&format!("follow {} {}", primary.folder.display(), primary.port));
        // The last word counts: before it stands what was copied.
        let own = format!("port = {port}\nunix_socket_directories = '{}'\n", folder.display());
        let file = folder.join("data/postgresql.auto.conf");
        let copied = fs::read_to_string(&file).unwrap();
        fs::write(&file, copied + &own).unwrap();
        let cluster = Self { folder, host: Ipv4Addr::LOCALHOST.into(), port, keeper: Mutex::new(keeper) };
        cluster.tell("start");
        cluster
    }

    /// The standby takes writes from now on.
    pub fn promote(&self) {
        self.tell("promote");
    }

    /// The URL of a database that is on either of two servers, by their sockets.
    #[must_use]
    pub fn url_of_either(&self, other: &Self, database: &str) -> String {
        let socket = |cluster: &Self| {
            let folder = cluster.folder.display().to_string().replace('/', "%2F");
            format!("{folder}:{}", cluster.port)
        };
        let database = database.rsplit('/').next().unwrap_or(database);
        format!("postgres://postgres@{},{}/{database}", socket(self), socket(other))
    }

    fn make(settings: &str, tls: Option<(&str, &str)>, place: Option<(&str, Ipv4Addr)>) -> Self {
        let (folder, is_root) = folder();
        let port = free_port();
        let mut keeper = Keeper::start(&folder, is_root, place.map(|(name, _)| name));
        keeper.tell("make");
        let data = folder.join("data");
        if let Some((_, address)) = place {
            let mut rules = fs::File::options().append(true).open(data.join("pg_hba.conf")).unwrap();
            writeln!(rules, "host all all {address}/24 trust").unwrap();
        }
        if let Some((certificate, key)) = tls {
            for (name, text) in [("server.crt", certificate), ("server.key", key)] {
                let path = data.join(name);
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
                if is_root {
                    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
                }
            }
        }
        let file = data.join("postgresql.auto.conf");
        let listen = if tls.is_some() { "" } else { "listen_addresses = ''\n" };
        let socket = format!("unix_socket_directories = '{}'\nport = {port}\n", folder.display());
        fs::write(file, format!("{SETTINGS}{listen}{socket}{settings}")).unwrap();
        let host = place.map_or(Ipv4Addr::LOCALHOST, |(_, address)| address).into();
        Self { folder, host, port, keeper: Mutex::new(keeper) }
    }

    /// Makes an empty database; the URL of a store in it.
    #[must_use]
    pub fn database(&self) -> String {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let name = format!("store_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of a database, by the socket.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}:{}/{database}", self.port)
    }

    /// Where it listens, if it listens on TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    /// The URL of a database by TCP.
    #[must_use]
    pub fn tcp_url(&self, host: &str, database: &str) -> String {
        format!("postgres://postgres@{host}:{}/{database}", self.port)
    }

    /// Runs statements in a database, named or by its URL; answers what `psql` prints of it.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let database = database.rsplit('/').next().unwrap_or(database);
        let done = Command::new(programs().join("psql"))
            .args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database])
            .args(["-p", &self.port.to_string(), "-c", sql, "-h"])
            .arg(&self.folder)
            .output()
            .unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// Kills the server as a loss of power would.
    pub fn kill(&self) {
        self.tell("kill");
    }

    /// Starts it again.
    pub fn start_again(&self) {
        self.tell("start");
    }

    /// Processor time of all its processes since it was started, of those that have ended, too.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let told = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
        let first = told.lines().next().unwrap_or_default();
        let ticks = processes().filter_map(|stat| ticks_of(&stat, first)).sum::<u64>();
        Duration::from_millis(ticks * 1000 / TICKS)
    }

    fn tell(&self, word: &str) {
        self.keeper.lock().unwrap_or_else(std::sync::PoisonError::into_inner).tell(word);
    }
}

impl Keeper {
    fn start(folder: &Path, is_root: bool, namespace: Option<&str>) -> Self {
        let mut command = if is_root {
            let mut command = Command::new(if namespace.is_some() { "ip" } else { "setpriv" });
            if let Some(name) = namespace {
                command.args(["netns", "exec", name, "setpriv"]);
            }
            let user = NOBODY.to_string();
            command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        command.arg("-c").arg(include_str!("keeper.sh")).arg("keeper").arg(programs()).arg(folder);
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
        // A group of its own: what ends the test from the terminal leaves it time to clear up.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("setpriv and sh are installed");
        let (tell, said) = (process.stdin.take(), process.stdout.take().unwrap());
        Self { process, tell, said: BufReader::new(said) }
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.tell.as_mut().unwrap(), "{word}").unwrap();
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "done", "the server did not {word}; it says why above");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        drop(keeper.tell.take());
        let _ = keeper.process.wait();
    }
}

/// A folder of whoever runs the server, and whether that is another user than this one.
fn folder() -> (PathBuf, bool) {
    let folder = tempfile::Builder::new().prefix("muster-pg-").tempdir().unwrap().keep();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root {
        chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    (folder, is_root)
}

/// Folder of the newest server that is installed.
///
/// # Panics
/// If there is none: what needs it is not passed over.
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let newest =
            versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists());
        newest.max().expect("these tests need a PostgreSQL server: apt install postgresql")
    })
}

/// What the system says of each process.
fn processes() -> impl Iterator<Item = String> {
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    folders.filter_map(|folder| fs::read_to_string(folder.path().join("stat")).ok())
}

/// Time that a process has used, if it is this one or a child of it. A parent has its own, and that of
/// children that have ended.
fn ticks_of(stat: &str, parent: &str) -> Option<u64> {
    // The name of a program may have anything in it; it ends at the last bracket.
    let (head, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let used =
        |range: std::ops::Range<usize>| fields.get(range)?.iter().map(|it| it.parse::<u64>().ok()).sum();
    match (head.split_whitespace().next()? == parent, *fields.get(1)? == parent) {
        (true, _) => used(11..15),
        (_, true) => used(11..13),
        _ => None,
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
