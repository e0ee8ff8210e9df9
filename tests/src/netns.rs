//! Networks of a test's own on this machine: a bridge with an address for the test's
//! control plane, and network namespaces that reach it. Needs root. Each is gone with its
//! owner.

use std::{
    fs::File,
    net::Ipv4Addr,
    process::{Command, Output},
    sync::atomic::{AtomicU8, Ordering},
    thread::{self, JoinHandle},
};

use nix::sched::{CloneFlags, setns};

/// Networks that there can be at once: the /24 of 198.18.0.0/15, which no other network has.
const NETWORKS: u32 = 512;

/// A bridge. Dropped: removed; drop what joined it first.
#[derive(Debug)]
pub struct Network {
    /// Which of the networks; its name carries it, so that the system gives it only once.
    index: u32,
    joined: AtomicU8,
}

impl Network {
    /// Makes one that nobody on this machine has.
    ///
    /// # Panics
    /// If this user may not, or all are taken.
    #[must_use]
    pub fn create() -> Self {
        let first = std::process::id();
        let mut said = String::new();
        for index in (0..NETWORKS).map(|step| (first + step) % NETWORKS) {
            // An address of its own: without one it takes that of whoever joins with a lower one, and
            // those that know it by the former cannot reach it for half a minute.
            let [_, _, second, third] = index.to_be_bytes();
            let hardware = format!("02:00:c6:{second:02x}:{third:02x}:01");
            let made = try_ip(&["link", "add", &bridge(index), "address", &hardware, "type", "bridge"]);
            if made.status.success() {
                let network = Self { index, joined: AtomicU8::new(0) };
                ip(&["address", "add", &format!("{}/24", network.gateway()), "dev", &bridge(index)]);
                ip(&["link", "set", &bridge(index), "up"]);
                return network;
            }
            said = String::from_utf8_lossy(&made.stderr).into_owned();
        }
        panic!("this test must run as root, with leave to make networks: {said}");
    }

    /// The address of this machine in it.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.address(1)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        let [_, _, second, third] = self.index.to_be_bytes();
        Ipv4Addr::new(198, 18 + second, third, last)
    }

    /// Makes a network namespace in it, with a network device `host0` and its own loopback.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn join(&self) -> Namespace {
        let number = self.joined.fetch_add(1, Ordering::Relaxed) + 2;
        let name = format!("muster-{}-{number}", self.index);
        let outer = format!("muster{}v{number}", self.index);
        ip(&["netns", "add", &name]);
        let namespace = Namespace { name, outer, address: self.address(number) };
        let (name, outer) = (namespace.name.as_str(), namespace.outer.as_str());
        ip(&["link", "add", outer, "type", "veth", "peer", "name", "host0", "netns", name]);
        ip(&["link", "set", outer, "master", &bridge(self.index), "up"]);
        let address = format!("{}/24", namespace.address);
        ip(&["-n", name, "address", "add", &address, "dev", "host0"]);
        ip(&["-n", name, "link", "set", "lo", "up"]);
        ip(&["-n", name, "link", "set", "host0", "up"]);
        ip(&["-n", name, "route", "add", "default", "via", &self.gateway().to_string()]);
        namespace
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = try_ip(&["link", "del", &bridge(self.index)]);
    }
}

/// A network namespace. Dropped: removed, and its way out at once.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    outer: String,
    address: Ipv4Addr,
}

impl Namespace {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A command that runs in it.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs something of this process in it, on a thread of its own. What that begins is
    /// in it, too.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn inside<T: Send + 'static>(&self, run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let place = File::open(format!("/run/netns/{}", self.name)).expect("the namespace is there");
        thread::spawn(move || {
            setns(place, CloneFlags::CLONE_NEWNET).expect("this test must run as root");
            run()
        })
    }

    /// Closes the way to an address, and every way out of its own network: what is sent
    /// there is refused at once.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn close(&self, address: Ipv4Addr) {
        ip(&["-n", &self.name, "route", "flush", "exact", "default"]);
        ip(&["-n", &self.name, "route", "add", "prohibit", &format!("{address}/32")]);
    }

    /// Opens the way to an address again.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn open(&self, address: Ipv4Addr) {
        ip(&["-n", &self.name, "route", "del", "prohibit", &format!("{address}/32")]);
    }

    /// Cuts it off: what is sent either way is lost without a word.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn cut(&self) {
        ip(&["link", "set", &self.outer, "nomaster"]);
    }

    /// Ends the cut.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn heal(&self, network: &Network) {
        ip(&["link", "set", &self.outer, "master", &bridge(network.index)]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The pair goes first: a namespace lives on for as long as a process has it.
        let _ = try_ip(&["link", "del", &self.outer]);
        let _ = try_ip(&["netns", "del", &self.name]);
    }
}

fn bridge(index: u32) -> String {
    format!("muster{index}")
}

fn try_ip(args: &[&str]) -> Output {
    Command::new("ip").args(args).output().expect("there is an ip")
}

fn ip(args: &[&str]) {
    let done = try_ip(args);
    assert!(done.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}
