//! Faults of a network, in the kernel: nftables in a namespace of the test's own lose
//! packets, drop them or answer them with a reset. All of it is gone with the namespace.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::{Ipv4Addr, SocketAddrV4},
    process::Stdio,
};

use crate::netns::Namespace;

/// What becomes of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// So many of a hundred are lost, each by chance.
    Lost(u8),
    /// All are lost without a word.
    Dropped,
    /// All are lost, and whoever sends one by TCP is told that the connection is no more.
    Reset,
}

/// Of which direction, as seen from the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What comes and what goes.
    Both,
    /// What comes.
    In,
    /// What goes.
    Out,
}

/// Of which connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// All.
    Everybody,
    /// Those to a port of the namespace.
    Port(u16),
    /// Those with this address.
    Address(Ipv4Addr),
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What becomes of packets.
    pub fate: Fate,
    /// Of which direction.
    pub way: Way,
    /// Of which connections.
    pub with: With,
}

impl Fault {
    fn rules(self) -> String {
        let fate = match self.fate {
            Fate::Lost(percent) => format!("numgen random mod 100 < {percent} drop"),
            Fate::Dropped => "drop".to_owned(),
            Fate::Reset => "meta l4proto tcp reject with tcp reset".to_owned(),
        };
        let mut rules = String::new();
        for (way, ours, theirs) in [("in", "dport", "saddr"), ("out", "sport", "daddr")] {
            let here = match (self.way, way) {
                (Way::Both, _) | (Way::In, "in") | (Way::Out, "out") => way,
                _ => continue,
            };
            let with = match self.with {
                With::Everybody => String::new(),
                With::Port(port) => format!("tcp {ours} {port} "),
                With::Address(address) => format!("ip {theirs} {address} "),
            };
            let _ = writeln!(rules, "add rule inet faults {here} {with}{fate}");
        }
        rules
    }
}

impl Namespace {
    /// Begins a fault, in the place of the one that there is.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn suffer(&self, fault: Fault) {
        self.suffer_all(&[fault]);
    }

    /// The same with several at once.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn suffer_all(&self, faults: &[Fault]) {
        self.mend();
        let rules: String = faults.iter().map(|fault| fault.rules()).collect();
        self.nft(&format!(
            "add table inet faults\n\
             add chain inet faults in {{ type filter hook input priority 0; }}\n\
             add chain inet faults out {{ type filter hook output priority 0; }}\n\
             add rule inet faults in iif lo accept\nadd rule inet faults out oif lo accept\n{rules}"
        ));
    }

    /// Ends the fault, if there is one.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn mend(&self) {
        self.nft("add table inet faults\ndelete table inet faults\n");
    }

    /// Leads new connections from it to an address to another one.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn divert(&self, from: SocketAddrV4, to: SocketAddrV4) {
        self.nft(&format!(
            "add table ip ways\nadd chain ip ways out {{ type nat hook output priority -100; }}\n\
             add rule ip ways out ip daddr {} tcp dport {} dnat to {to}\n",
            from.ip(),
            from.port()
        ));
    }

    fn nft(&self, script: &str) {
        let mut command = self.command("nft");
        command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut nft = command.spawn().expect("there is an ip");
        nft.stdin.take().expect("it was asked for").write_all(script.as_bytes()).expect("nft reads");
        let done = nft.wait_with_output().expect("nft ends");
        assert!(done.status.success(), "nft: {}\n{script}", String::from_utf8_lossy(&done.stderr));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_meets_the_connections_and_the_direction_that_it_is_of() {
        let of = |fate, way, with| Fault { fate, way, with }.rules();
        assert_eq!(
            of(Fate::Lost(15), Way::Both, With::Everybody),
            "add rule inet faults in numgen random mod 100 < 15 drop\n\
             add rule inet faults out numgen random mod 100 < 15 drop\n"
        );
        assert_eq!(
            of(Fate::Dropped, Way::Out, With::Port(8443)),
            "add rule inet faults out tcp sport 8443 drop\n"
        );
        assert_eq!(
            of(Fate::Reset, Way::In, With::Address(Ipv4Addr::new(198, 18, 0, 3))),
            "add rule inet faults in ip saddr 198.18.0.3 meta l4proto tcp reject with tcp reset\n"
        );
    }
}
