//! Real proxies, each in a network namespace: tinyproxy and squid as Debian packages them,
//! which `make tools` unpacks. Each ends with its owner.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::{
    binaries,
    eventually::{LONG, eventually},
    netns::Namespace,
    process::Process,
};

/// Who may use a proxy that asks.
pub const USER: &str = "u";
/// Password of tinyproxy's user, which has few characters to choose from.
pub const SIMPLE: &str = "hunter2-simple";
/// Password of squid's user, with all that an address must escape; and so escaped.
pub const HARD: &str = "hunter2:p%/@ss";
/// As it stands in an address.
pub const HARD_ESCAPED: &str = "hunter2%3Ap%25%2F%40ss";
/// Its hash, as `openssl passwd -apr1` makes it.
const HARD_HASH: &str = "$apr1$musterXX$JsQ0ZcLqZULWFmQQumazq.";
const PORT: u16 = 3128;

/// A proxy. Dropped: killed.
#[derive(Debug)]
pub struct Proxy {
    folder: PathBuf,
    namespace: String,
    address: Ipv4Addr,
    program: &'static str,
    process: Option<Process>,
}

impl Proxy {
    /// tinyproxy, which opens ways to these ports only; `asks`: to those who log in.
    pub async fn tinyproxy(folder: &Path, namespace: &Namespace, ports: &[u16], asks: bool) -> Self {
        let proxy = Self::place(folder, namespace, "usr/bin/tinyproxy");
        let login = if asks { format!("BasicAuth {USER} {SIMPLE}\n") } else { String::new() };
        let ports: String = ports.iter().map(|port| format!("ConnectPort {port}\n")).collect();
        let conf = format!(
            "Port {PORT}\nListen {}\nTimeout 600\nMaxClients 50\nLogFile {:?}\nLogLevel Connect\n{login}{ports}",
            proxy.address,
            proxy.access_log(),
        );
        proxy.begin(&conf).await
    }

    /// squid, which opens ways to those who log in.
    pub async fn squid(folder: &Path, namespace: &Namespace) -> Self {
        let proxy = Self::place(folder, namespace, "usr/sbin/squid");
        let (passwords, unpacked) = (proxy.folder.join("passwords"), unpacked());
        fs::write(&passwords, format!("{USER}:{HARD_HASH}\n")).unwrap();
        let (lib, share) = (unpacked.join("usr/lib/squid"), unpacked.join("usr/share/squid"));
        let (lib, share, folder) = (lib.display(), share.display(), proxy.folder.display());
        let conf = format!(
            "http_port {address}:{PORT}\n\
             auth_param basic program {lib}/basic_ncsa_auth {passwords}\nauth_param basic children 1\n\
             acl known proxy_auth REQUIRED\nhttp_access allow CONNECT known\nhttp_access deny all\n\
             access_log stdio:{access}\ncache_log {folder}/cache.log\ncoredump_dir {folder}\n\
             cache deny all\ncache_mem 8 MB\nmax_filedescriptors 1024\npid_filename none\nhosts_file none\n\
             netdb_filename none\npinger_enable off\nvisible_hostname proxy.test\ncache_effective_user nobody\n\
             unlinkd_program {lib}/unlinkd\nlogfile_daemon {lib}/log_file_daemon\ndiskd_program {lib}/diskd\n\
             pinger_program {lib}/pinger\nmime_table {share}/mime.conf\nicon_directory {share}/icons\n\
             error_directory {share}/errors/templates\n",
            address = proxy.address,
            passwords = passwords.display(),
            access = proxy.access_log().display(),
        );
        proxy.begin(&conf).await
    }

    fn place(folder: &Path, namespace: &Namespace, program: &'static str) -> Self {
        let name = program.rsplit('/').next().unwrap_or(program);
        let own = folder.join(format!("{name}-{}", namespace.name()));
        fs::create_dir_all(&own).unwrap();
        // squid becomes nobody before it opens its logs.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
        let (address, namespace) = (namespace.address(), namespace.name().to_owned());
        Self { folder: own, namespace, address, program, process: None }
    }

    async fn begin(mut self, conf: &str) -> Self {
        fs::write(self.folder.join("conf"), conf).unwrap();
        self.start().await;
        self
    }

    /// Starts it, or starts it again.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(&mut self) {
        let program = unpacked().join(self.program);
        assert!(program.exists(), "{} is missing: run make tools", program.display());
        let mut command = std::process::Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command.args(if self.program.ends_with("squid") { ["-N", "-f"] } else { ["-d", "-c"] });
        command.arg(self.folder.join("conf")).env("LD_LIBRARY_PATH", libraries());
        let mut process = Process::start(command, &self.folder.join("out"));
        let address = SocketAddrV4::new(self.address, PORT);
        eventually("the proxy listens", LONG, || {
            assert!(process.is_running(), "the proxy ended: {}", process.log());
            async move { tokio::net::TcpStream::connect(address).await.ok() }
        })
        .await;
        self.process = Some(process);
    }

    /// Kills it, and with it every way through it.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Its address, with what stands before the host: `user:password@`, or nothing.
    #[must_use]
    pub fn url(&self, login: &str) -> String {
        format!("http://{login}{}:{PORT}", self.address)
    }

    /// How many ways it was asked for, and opened or not.
    #[must_use]
    pub fn asked(&self) -> usize {
        let log = fs::read_to_string(self.access_log()).unwrap_or_default();
        log.lines().filter(|line| line.contains("CONNECT ")).count()
    }

    fn access_log(&self) -> PathBuf {
        self.folder.join("access.log")
    }
}

fn unpacked() -> PathBuf {
    binaries::repository().join(".tools/proxies")
}

/// Where their libraries are that the machine may lack.
fn libraries() -> PathBuf {
    let lib = unpacked().join("usr/lib");
    let mut found = fs::read_dir(&lib).into_iter().flatten().flatten().map(|entry| entry.path());
    found.find(|path| path.to_string_lossy().ends_with("-linux-gnu")).unwrap_or(lib)
}
