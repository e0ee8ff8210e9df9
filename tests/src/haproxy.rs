//! A real haproxy in front of control planes, as Debian packages it and `make tools` unpacks
//! it, with the configuration of `deploy/haproxy`: only names, ports and the number of control
//! planes are the test's. It ends with its owner.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::{
    binaries,
    eventually::{LONG, eventually},
    plane::Addresses,
    process::Process,
};

/// A running balancer. Dropped: killed, and every way through it is cut.
#[derive(Debug)]
pub struct Haproxy {
    /// Where nodes find a control plane.
    pub agents: SocketAddr,
    /// Where hosts without an identity do.
    pub enrollment: SocketAddr,
    /// Where operators do.
    pub operators: SocketAddr,
    socket: PathBuf,
    process: Process,
}

/// One control plane as the balancer sees it, for nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// It gets new connections.
    pub is_up: bool,
    /// Connections that are open to it.
    pub connections: u64,
}

impl Haproxy {
    /// In front of these control planes, the first of which is plane-1.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(folder: &Path, planes: &[Addresses]) -> Self {
        let folder = folder.join("haproxy");
        fs::create_dir_all(&folder).unwrap();
        let [agents, enrollment, operators] = free_ports();
        let (conf, socket) = (folder.join("haproxy.cfg"), folder.join("socket"));
        let shipped = fs::read_to_string(binaries::repository().join("deploy/haproxy/haproxy.cfg")).unwrap();
        fs::write(&conf, fitted(&shipped, &socket, &[agents, enrollment, operators], planes)).unwrap();
        let unpacked = binaries::repository().join(".tools/balancer");
        let program = unpacked.join("usr/sbin/haproxy");
        assert!(program.exists(), "{} is missing: run make tools", program.display());
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(&conf).env("LD_LIBRARY_PATH", libraries(&unpacked));
        let mut process = Process::start(command, &folder.join("log"));
        eventually("the balancer listens", LONG, || {
            assert!(process.is_running(), "the balancer ended: {}", process.log());
            async move { tokio::net::TcpStream::connect(agents).await.ok() }
        })
        .await;
        Self { agents, enrollment, operators, socket, process }
    }

    /// What it sees of a control plane, from 0.
    ///
    /// # Panics
    /// If it does not say.
    pub async fn sees(&self, plane: usize) -> Seen {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(b"show stat\n").await.unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).await.unwrap();
        let start = format!("agents,plane-{},", plane + 1);
        let line = told.lines().find(|line| line.starts_with(&start));
        let cells: Vec<&str> = line.expect("it knows the control plane").split(',').collect();
        let column = |name: &str| {
            let head = told.lines().next().unwrap().trim_start_matches("# ");
            cells[head.split(',').position(|it| it == name).expect("a column of haproxy's")]
        };
        Seen { is_up: column("status").starts_with("UP"), connections: column("scur").parse().unwrap() }
    }

    /// Waits until a control plane gets new connections, or none any more.
    pub async fn until(&self, plane: usize, is_up: bool) {
        eventually("the balancer sees how a control plane is", LONG, || async {
            (self.sees(plane).await.is_up == is_up).then_some(())
        })
        .await;
    }

    /// The running process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// The shipped configuration with what is the test's.
fn fitted(shipped: &str, socket: &Path, ports: &[SocketAddr; 3], planes: &[Addresses]) -> String {
    let (mut text, mut section) = (String::new(), "");
    for line in shipped.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !line.starts_with([' ', '#']) {
            section = words.first().copied().unwrap_or(section);
        }
        match words.as_slice() {
            ["bind", port, rest @ ..] => {
                let at = ports[place(port.trim_start_matches(':'))];
                text += &format!("    bind {at} {}\n", rest.join(" "));
            }
            ["server", "plane-1", to, ..] => {
                let at = place(to.rsplit(':').next().unwrap());
                for (n, plane) in planes.iter().enumerate() {
                    let address = [plane.agents, plane.enrollment, plane.operators][at];
                    let console = plane.console.port();
                    text += &format!("    server plane-{} {address} port {console}\n", n + 1);
                }
            }
            ["server", ..] => {}
            // Two descriptors for each, and a process may have 20,000 of them.
            ["maxconn", _] if section != "global" => text += "    maxconn 9700\n",
            ["maxconn", _] => text += &format!("    maxconn 9800\n    stats socket {}\n", socket.display()),
            _ => text += &format!("{line}\n"),
        }
    }
    assert!(
        text.contains("stats socket") && text.contains("server plane-1 "),
        "another form of file: {text}"
    );
    text
}

/// Which of nodes, enrollment and operators a port of the shipped configuration is for.
fn place(port: &str) -> usize {
    ["8443", "8444", "8445"].iter().position(|known| *known == port).expect("a port of ours")
}

/// Three that nobody uses now.
fn free_ports() -> [SocketAddr; 3] {
    // All at once, so that they are three.
    let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap())
}

fn libraries(unpacked: &Path) -> PathBuf {
    let lib = unpacked.join("usr/lib");
    let mut found = fs::read_dir(&lib).into_iter().flatten().flatten().map(|entry| entry.path());
    found.find(|path| path.to_string_lossy().ends_with("-linux-gnu")).unwrap_or(lib)
}
