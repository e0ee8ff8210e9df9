//! Facts as memory keeps them: there may be a million nodes.

use std::{collections::HashSet, fmt, sync::Arc};

use super::{
    Address, Disk, Facts,
    packed::{Packer, Unpacker},
};
use crate::settings::EffectiveSetting;

/// What a host says about itself, packed. What many hosts have in common is there once.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Known {
    kind: Arc<Kind>,
    /// What it has for itself, see `own`. Nobody asks for more of it than the name but who
    /// looks at this host.
    own: Box<[u8]>,
}

/// What a host has in common with others.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Kind {
    os: String,
    os_version: String,
    kernel: String,
    architecture: String,
    cpu_model: String,
    cpu_count: u32,
    agent_version: String,
    timezone: String,
    settings: Vec<EffectiveSetting>,
}

/// The kinds of hosts there are, each once.
#[derive(Debug, Default)]
pub struct Kinds {
    kinds: HashSet<Arc<Kind>>,
    /// How many there were when those that no host has any more were last thrown away.
    kept: usize,
}

/// The fact by which hosts of one kind are told apart.
pub(crate) const HOSTNAME: &str = "hostname";
/// Kinds that are kept without a look at who has them.
const FEW: usize = 1024;

impl Known {
    /// The facts a selector can ask for, as `facts.NAME`: one word each.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<&str> {
        match name {
            HOSTNAME => self.hostname(),
            _ => self.kind.lookup(name),
        }
    }

    /// What it has in common with others.
    pub(crate) const fn kind(&self) -> &Arc<Kind> {
        &self.kind
    }

    /// `None`: not known.
    fn hostname(&self) -> Option<&str> {
        Unpacker::of(&self.own).plain().filter(|name| !name.is_empty())
    }

    /// Release of its agent; empty: not known.
    #[must_use]
    pub fn agent_version(&self) -> &str {
        &self.kind.agent_version
    }

    /// IANA time zone; empty: not known.
    #[must_use]
    pub fn timezone(&self) -> &str {
        &self.kind.timezone
    }

    /// The agent's options in force.
    #[must_use]
    pub fn settings(&self) -> &[EffectiveSetting] {
        &self.kind.settings
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Facts {
        let mut own = Unpacker::of(&self.own);
        let hostname = own.plain().unwrap_or_default().to_owned();
        let memory_bytes = own.number();
        let disks = (0..own.number()).map(|_| Disk {
            mount_point: own.word(),
            file_system: own.word(),
            size_bytes: own.number(),
        });
        let disks = disks.collect();
        let addresses = (0..own.number()).map(|_| Address { interface: own.word(), address: own.word() });
        let addresses = addresses.collect();
        let kind = Kind::clone(&self.kind);
        Facts {
            hostname,
            os: kind.os,
            os_version: kind.os_version,
            kernel: kind.kernel,
            architecture: kind.architecture,
            cpu_model: kind.cpu_model,
            cpu_count: kind.cpu_count,
            memory_bytes,
            disks,
            addresses,
            machine_id: own.word(),
            boot_id: own.word(),
            agent_version: kind.agent_version,
            timezone: kind.timezone,
            settings: kind.settings,
        }
    }
}

impl From<Facts> for Known {
    fn from(facts: Facts) -> Self {
        let own = own(&facts);
        let kind = Kind {
            os: facts.os,
            os_version: facts.os_version,
            kernel: facts.kernel,
            architecture: facts.architecture,
            cpu_model: facts.cpu_model,
            cpu_count: facts.cpu_count,
            agent_version: facts.agent_version,
            timezone: facts.timezone,
            settings: facts.settings,
        };
        Self { kind: Arc::new(kind), own }
    }
}

/// What a host has for itself: name, memory, disks, addresses, machine id, boot id.
fn own(facts: &Facts) -> Box<[u8]> {
    let mut own = Packer::default();
    own.plain(&facts.hostname);
    own.number(facts.memory_bytes);
    own.number(facts.disks.len() as u64);
    for disk in &facts.disks {
        own.word(&disk.mount_point);
        own.word(&disk.file_system);
        own.number(disk.size_bytes);
    }
    own.number(facts.addresses.len() as u64);
    for address in &facts.addresses {
        own.word(&address.interface);
        own.word(&address.address);
    }
    own.word(&facts.machine_id);
    own.word(&facts.boot_id);
    own.done()
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all().fmt(f)
    }
}

impl Kind {
    /// As `Known::lookup`, but for the name: that is what each host has for itself.
    pub(crate) fn lookup(&self, name: &str) -> Option<&str> {
        let value = match name {
            "os" => &self.os,
            "os-version" => &self.os_version,
            "kernel" => &self.kernel,
            "architecture" => &self.architecture,
            "agent-version" => &self.agent_version,
            "timezone" => &self.timezone,
            _ => return None,
        };
        (!value.is_empty()).then_some(value)
    }
}

impl Default for Known {
    fn default() -> Self {
        Facts::default().into()
    }
}

impl Kinds {
    /// The same facts; what was seen of other hosts already is shared with them.
    #[must_use]
    pub fn shared(&mut self, facts: Known) -> Known {
        if let Some(kind) = self.kinds.get(&facts.kind) {
            return Known { kind: Arc::clone(kind), ..facts };
        }
        if self.kinds.len() >= FEW.max(self.kept * 2) {
            self.kinds.retain(|kind| Arc::strong_count(kind) > 1);
            self.kept = self.kinds.len();
        }
        self.kinds.insert(Arc::clone(&facts.kind));
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(number: usize) -> Facts {
        Facts {
            hostname: format!("host-{number}"),
            os: "debian".to_owned(),
            kernel: format!("6.{}", number % 2),
            cpu_count: 4,
            memory_bytes: u64::MAX,
            disks: vec![Disk { mount_point: "/\"".into(), file_system: "ext4".into(), size_bytes: 7 }],
            addresses: vec![Address { interface: "eth0".into(), address: format!("10.0.0.{number}") }],
            machine_id: "m".to_owned(),
            timezone: "Europe/Berlin".to_owned(),
            settings: vec![EffectiveSetting {
                key: "log-level".to_owned(),
                value: "warn".to_owned(),
                origin: None,
                desired: None,
            }],
            ..Facts::default()
        }
    }

    #[test]
    fn nothing_is_lost_by_packing() {
        for facts in [facts(1), Facts::default()] {
            let known = Known::from(facts.clone());
            assert_eq!(known.all(), facts);
            for name in Facts::SELECTABLE {
                assert_eq!(known.lookup(name), facts.lookup(name), "{name}");
            }
            assert_eq!(known.lookup("cpu-model"), None);
        }
    }

    #[test]
    fn hosts_of_one_kind_share_it_and_kinds_of_no_host_go() {
        let mut kinds = Kinds::default();
        let known: Vec<Known> = (0..4).map(|n| kinds.shared(facts(n).into())).collect();
        assert!(Arc::ptr_eq(&known[0].kind, &known[2].kind));
        assert!(!Arc::ptr_eq(&known[0].kind, &known[1].kind));
        for number in 0..3 * FEW {
            drop(kinds.shared(Facts { os: number.to_string(), ..Facts::default() }.into()));
        }
        assert!(kinds.kinds.len() <= FEW + 1, "{}", kinds.kinds.len());
        assert!(Arc::ptr_eq(&kinds.shared(facts(8).into()).kind, &known[0].kind));
    }
}
