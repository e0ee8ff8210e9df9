//! A control plane as a process.

mod place;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use muster_common::{
    join::JoinString,
    tls::{self, pem},
};
use muster_proto::admin::v1 as pb;
use rustls::ClientConfig;

use crate::{
    binaries,
    eventually::{LONG, eventually},
    netns::Network,
    operator::Operator,
    process::Process,
    swarm,
};

/// Its trust domain.
pub const TRUST_DOMAIN: &str = "fleet.test";

/// How it is configured where it matters to a test.
#[derive(Debug, Clone)]
pub struct Options {
    /// Between heartbeats.
    pub heartbeat: Duration,
    /// First and longest wait of agents before they try a broken session again.
    pub reconnect: (Duration, Duration),
    /// Life of nodes' certificates.
    pub certificate_ttl: Duration,
    /// What is logged.
    pub log: String,
    /// Chain and key of an authority that is not its own.
    pub authority: Option<(PathBuf, PathBuf)>,
    /// Address of this machine that it listens on and is reached by.
    pub listen: IpAddr,
    /// Database of a server that keeps its store; none: a file does.
    pub store_url: Option<String>,
    /// Network namespace in which all of it runs; its address is `listen`.
    pub namespace: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(500),
            reconnect: (Duration::from_millis(50), Duration::from_secs(1)),
            certificate_ttl: Duration::from_secs(7 * 24 * 3600),
            log: "info".to_owned(),
            authority: None,
            listen: IpAddr::from([127, 0, 0, 1]),
            store_url: None,
            namespace: None,
        }
    }
}

/// A control plane in a folder.
#[derive(Debug)]
pub struct Plane {
    folder: PathBuf,
    namespace: Option<String>,
    program: PathBuf,
    process: Option<Process>,
    addresses: Addresses,
}

/// Where it listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// For nodes.
    pub agents: SocketAddr,
    /// For hosts without an identity.
    pub enrollment: SocketAddr,
    /// For operators.
    pub operators: SocketAddr,
    /// For probes.
    pub console: SocketAddr,
    /// For browsers, if there is a fleet console.
    pub fleet_console: Option<SocketAddr>,
}

impl Plane {
    /// Makes and starts one below a folder.
    pub async fn start(folder: &Path, options: &Options) -> Self {
        let mut plane = Self::init(folder, options);
        plane.serve(&[]).await;
        plane
    }

    /// Makes and starts one that hosts of a network reach.
    pub async fn in_network(folder: &Path, network: &Network) -> Self {
        Self::start(folder, &Options { listen: network.gateway().into(), ..Options::default() }).await
    }

    /// Makes one and does not start it.
    #[must_use]
    pub fn init(folder: &Path, options: &Options) -> Self {
        let folder = folder.join("plane");
        fs::create_dir_all(&folder).unwrap();
        let config = folder.join("control-plane.toml");
        let program = binaries::path("muster-control-plane");
        let mut init = inside(options.namespace.as_deref(), &program);
        init.args(["init", "--trust-domain", TRUST_DOMAIN, "--state-dir"]).arg(folder.join("state"));
        init.arg("--config").arg(&config);
        for port in ["agents", "enrollment", "operators", "console"] {
            init.arg(format!("--listen-{port}")).arg(SocketAddr::new(options.listen, 0).to_string());
        }
        if !options.listen.is_loopback() {
            init.arg("--server-ip").arg(options.listen.to_string());
        }
        if let Some((chain, key)) = &options.authority {
            init.arg("--ca-chain").arg(chain).arg("--ca-key").arg(key);
        }
        if let Some(url) = &options.store_url {
            init.arg("--store-url").arg(url);
        }
        let made = init.output().unwrap();
        assert!(made.status.success(), "init: {}", String::from_utf8_lossy(&made.stderr));
        let millis = |duration: Duration| format!("\"{}ms\"", duration.as_millis());
        let text = fs::read_to_string(&config).unwrap();
        let text = set(&text, "heartbeat-interval", &millis(options.heartbeat));
        let text = set(&text, "heartbeat-jitter", &millis(options.heartbeat / 10));
        let text = set(&text, "reconnect-min", &millis(options.reconnect.0));
        let text = set(&text, "reconnect-max", &millis(options.reconnect.1));
        let text = set(&text, "node-certificate-ttl", &millis(options.certificate_ttl));
        fs::write(&config, set(&text, "filter", &format!("{:?}", options.log))).unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let addresses = Addresses {
            agents: nowhere,
            enrollment: nowhere,
            operators: nowhere,
            console: nowhere,
            fleet_console: None,
        };
        Self { folder, namespace: options.namespace.clone(), program, process: None, addresses }
    }

    /// Another replica of one that was started, not started itself: the same keys, another name,
    /// its own ports.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        let folder = self.folder.with_file_name(name);
        let state = folder.join("state");
        copy_state(&self.state(), &state);
        let of = |path: &Path| path.display().to_string();
        let text = fs::read_to_string(self.config()).unwrap().replace(&of(&self.folder), &of(&folder));
        let mut text = set(&text, "replica", &format!("{name:?}"));
        for port in ["agents", "enrollment", "operators", "console"] {
            text = set(&text, port, "\"127.0.0.1:0\"");
        }
        fs::write(folder.join("control-plane.toml"), text).unwrap();
        let (namespace, program) = (self.namespace.clone(), self.program.clone());
        Self { folder, namespace, program, process: None, addresses: self.addresses }
    }

    /// Puts another program in its place, for the next start.
    pub fn install(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// Serves; the first time on ports that the system chooses, then on the same.
    pub async fn serve(&mut self, environment: &[(&str, &str)]) {
        let told = self.folder.join("state/addresses.json");
        let _ = fs::remove_file(&told);
        self.process = Some(self.spawn(environment));
        let process = self.process.as_mut().unwrap();
        let addresses = eventually("the control plane says where it listens", LONG, || {
            assert!(process.is_running(), "the control plane ended: {}", process.log());
            std::future::ready(read_addresses(&told))
        });
        self.addresses = addresses.await;
        self.keep_ports();
        self.ready_within(LONG).await;
    }

    /// Starts the process, which may end before it serves.
    pub fn launch(&mut self, environment: &[(&str, &str)]) {
        self.process = Some(self.spawn(environment));
    }

    /// Starts a process and waits for nothing.
    #[must_use]
    pub fn spawn(&self, environment: &[(&str, &str)]) -> Process {
        let mut serve = inside(self.namespace.as_deref(), &self.program);
        serve.arg("serve").arg("--config").arg(self.config());
        serve.envs(environment.iter().copied());
        Process::start(serve, &self.folder.join("log"))
    }

    /// Sets a key of its configuration, for the next start.
    pub fn configure(&self, key: &str, value: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), set(&text, key, value)).unwrap();
    }

    /// Sets a key of one section of its configuration, for the next start.
    ///
    /// # Panics
    /// If there is no such section, or no such key in it.
    pub fn configure_in(&self, section: &str, key: &str, value: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        let head = format!("[{section}]\n");
        let (before, rest) = text.split_once(&head).expect("the section is there");
        let end = rest.find("\n[").map_or(rest.len(), |end| end + 1);
        let (inside, after) = rest.split_at(end);
        fs::write(self.config(), format!("{before}{head}{}{after}", set(inside, key, value))).unwrap();
    }

    /// Later processes listen where this one does, so that nodes find them.
    fn keep_ports(&self) {
        let mut text = fs::read_to_string(self.config()).unwrap();
        let ports = [
            ("agents", self.addresses.agents),
            ("enrollment", self.addresses.enrollment),
            ("operators", self.addresses.operators),
            ("console", self.addresses.console),
        ];
        for (port, address) in ports {
            text = set(&text, port, &format!("\"{address}\""));
        }
        fs::write(self.config(), text).unwrap();
    }

    /// Waits until it is ready, however many nodes it has to read. Where it listens is known from
    /// an earlier start.
    pub async fn ready_within(&self, limit: Duration) {
        let address = self.addresses.console;
        eventually("the control plane is ready", limit, || async move {
            http_get(address, "/readyz").await.filter(|answer| answer.starts_with("HTTP/1.1 200"))
        })
        .await;
    }

    /// The running process.
    ///
    /// # Panics
    /// If there is none.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the control plane was started")
    }

    /// Kills it as a loss of power would.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("control-plane.toml")
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Runs a command of its command line; answers standard output.
    ///
    /// # Panics
    /// If the command fails.
    #[must_use]
    pub fn cli(&self, args: &[&str]) -> String {
        let done = self.try_cli(args);
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// As `cli`, but it may fail.
    #[must_use]
    pub fn try_cli(&self, args: &[&str]) -> Output {
        let mut command = inside(self.namespace.as_deref(), &self.program);
        command.args(args).arg("--config").arg(self.config()).output().unwrap()
    }

    /// TLS of the first operator.
    ///
    /// # Panics
    /// If its files do not fit.
    #[must_use]
    pub fn operator_tls(&self) -> ClientConfig {
        self.tls_of(&self.state().join("operators"), "admin")
    }

    /// TLS of whoever has these files.
    ///
    /// # Panics
    /// If they do not fit.
    #[must_use]
    pub fn tls_of(&self, folder: &Path, name: &str) -> ClientConfig {
        let chain = pem::certificates(&folder.join(format!("{name}.crt"))).unwrap();
        let key = pem::private_key(&folder.join(format!("{name}.key"))).unwrap();
        tls::client_config(tls::Identity { chain, key }, self.roots(), TRUST_DOMAIN.parse().unwrap()).unwrap()
    }

    /// TLS of someone with this name in a certificate under the roots of this control plane.
    ///
    /// # Panics
    /// If its authority cannot be used.
    #[must_use]
    pub fn tls_named(&self, uri: &str) -> ClientConfig {
        self.tls_with(swarm::server_identity(&self.state().join("ca/1"), uri).unwrap())
    }

    /// TLS of someone with this identity, who trusts this control plane.
    ///
    /// # Panics
    /// If the identity does not fit itself.
    #[must_use]
    pub fn tls_with(&self, identity: tls::Identity) -> ClientConfig {
        tls::client_config(identity, self.roots(), TRUST_DOMAIN.parse().unwrap()).unwrap()
    }

    /// TLS of someone who trusts this control plane and shows no certificate.
    ///
    /// # Panics
    /// If its roots do not fit.
    #[must_use]
    pub fn nobody_tls(&self) -> ClientConfig {
        tls::recovery_client_config(self.roots(), TRUST_DOMAIN.parse().unwrap()).unwrap()
    }

    fn roots(&self) -> rustls::RootCertStore {
        tls::roots(&pem::certificates(&self.state().join("operators/ca.crt")).unwrap()).unwrap()
    }

    /// One of its numbers, with its labels; 0 while there is none.
    ///
    /// # Panics
    /// If it does not say its numbers.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = http_get(self.addresses.console, "/metrics").await.expect("it says its numbers");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// The first operator, connected.
    pub async fn operator(&self) -> Operator {
        Box::pin(Operator::connect(self.addresses.operators, self.operator_tls())).await
    }

    /// A join string for `uses` hosts, which get these labels.
    pub async fn join(&self, uses: i32, labels: &[(&str, &str)]) -> JoinString {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let request = pb::CreateJoinTokenRequest { max_uses: uses, labels, ..Default::default() };
        let made = self.operator().await.join_tokens.create_join_token(request).await.unwrap().into_inner();
        made.join_string.parse().unwrap()
    }
}

/// A command of the control plane's program, in this network namespace.
fn inside(namespace: Option<&str>, program: &Path) -> Command {
    match namespace {
        None => Command::new(program),
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace]).arg(program);
            command
        }
    }
}

/// An HTTP/1.1 GET without ceremony.
pub async fn http_get(address: SocketAddr, path: &str) -> Option<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// What all replicas have in common of a state directory: keys, those of the authority on a
/// volume that all share.
fn copy_state(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        if name == "ca" {
            std::os::unix::fs::symlink(entry.path(), &target).unwrap();
        } else if entry.file_type().unwrap().is_dir() {
            copy_state(&entry.path(), &target);
        } else if name != "serve.lock" && name != "addresses.json" {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Sets a key of a TOML text, wherever it stands.
fn set(text: &str, key: &str, value: &str) -> String {
    let line = |line: &str| match line.split_once(" = ") {
        Some((found, _)) if found == key => format!("{key} = {value}"),
        _ => line.to_owned(),
    };
    let lines: Vec<String> = text.lines().map(line).collect();
    assert!(lines.iter().any(|line| *line == format!("{key} = {value}")), "the configuration has no {key}");
    lines.join("\n") + "\n"
}

fn read_addresses(path: &Path) -> Option<Addresses> {
    let json: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let address = |name: &str| json.get(name)?.as_str()?.parse().ok();
    Some(Addresses {
        agents: address("agents")?,
        enrollment: address("enrollment")?,
        operators: address("operators")?,
        console: address("console")?,
        fleet_console: address("fleet_console"),
    })
}
