//! The host's own rules, in a file that only its administrator writes. No remote
//! side can override them. No file: everything is locked.
//!
//! ```toml
//! profile = "monitor"      # full, monitor, locked or one of this file; none: only what stands here
//! [paths]
//! allow = ["/etc/app"]     # roots under which bundles may write
//! deny = ["/etc/app/keys"] # and where they may not all the same
//! [hooks]
//! allow = false            # whether bundles may run programs
//! [commands]
//! run-script = false       # whether operators may run scripts; or the table below
//! allow = ["reboot"]       # kinds that are denied unless they stand here
//! deny = ["disconnect"]    # kinds that are denied, whatever else is said
//! services = ["app-*.service"] # units on which `service` acts
//! journals = ["*"]         # units whose journals `collect-logs` takes
//! [commands.run-script]
//! allow = true
//! users = ["app"]          # as whom, "*": anybody; without this line: as the agent's own user
//! sha256 = ["9f86d0…"]     # only these scripts, by the hash of their text
//! [extensions]
//! allow = ["acme/log"]     # PUBLISHER/TYPE, these and no others; ["none"]: none
//! block = ["acme/trace"]   # stronger than allow
//! [upgrade]
//! allow = true             # whether the control plane may bring another version of the agent
//! pin = "0.1.0"            # and only this one
//! [limits]
//! memory = "512MiB"        # the most that a script may use
//! [settings]
//! log-level = "debug"      # options of the agent, whatever the control plane gives
//! [[workload.identities]]  # which program is who; everything that is said must hold
//! name = "web"
//! user = "www-data"        # or uid, gid, group
//! unit = "nginx.service"
//! [profiles.web]           # sections as above, under what stands outside
//! ```

mod commands;
mod extensions;
mod limits;
mod load;
mod profile;
mod rules;
mod runs;
mod tell;
mod upgrade;
mod workload;

use std::path::Path;

pub use commands::{KINDS, Text, User};
pub use extensions::{Act, Name};
pub use limits::Caps;
pub use load::{Error, Reader};
use muster_common::unit_name;
use profile::{Ceiling, Sources};
use rules::Rules;
pub use tell::{Rule, Told};

/// How every refusal of a lock file is called, wherever it is told.
pub const DENIED: &str = "denied-by-local-lock";

/// What this host allows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Locks {
    rules: Rules,
    /// Above which nothing goes, whatever the rules say.
    ceiling: Option<Ceiling>,
    sources: Sources,
    /// The file cannot be used: nobody knows what it locks.
    is_unusable: bool,
}

impl Locks {
    /// The rules of a file that cannot be used: everything is locked.
    #[must_use]
    pub fn everything() -> Self {
        Self { is_unusable: true, ..Self::default() }
    }

    /// The allowed root under which a path lies. `None`: it may not be looked at, and not be
    /// written either.
    #[must_use]
    pub fn root_of(&self, path: &Path) -> Option<&Path> {
        self.rules.paths.root_of(path).filter(|_| self.ceiling != Some(Ceiling::Locked))
    }

    /// The same for a path that is to be changed.
    #[must_use]
    pub fn writable_root_of(&self, path: &Path) -> Option<&Path> {
        self.root_of(path).filter(|_| self.ceiling.is_none())
    }

    /// Why a path may not be changed. `None`: it may.
    #[must_use]
    pub fn refuses_writing(&self, path: &Path) -> Option<String> {
        if self.writable_root_of(path).is_some() {
            return None;
        }
        let is_listed = self.rules.paths.root_of(path).is_some();
        let why = self.denied(if is_listed { "profile" } else { self.rules.paths.refusing(path) });
        Some(format!("the lock file of this host allows no writing to {} ({why})", path.display()))
    }

    /// Whether bundles may run programs.
    #[must_use]
    pub const fn allows_hooks(&self) -> bool {
        self.rules.hooks.allow && self.ceiling.is_none()
    }

    /// What is told of hooks that are not allowed.
    #[must_use]
    pub fn hooks_refused(&self) -> String {
        format!("the lock file of this host does not allow hooks ({})", self.denied("hooks.allow"))
    }

    /// Why a script may not run where scripts may. `None`: it may.
    #[must_use]
    pub fn refuses_script(&self, user: &User<'_>, text: &Text<'_>, asked: &Caps) -> Option<String> {
        let refused = self.rules.commands.run_script.refuses(user, text);
        let (rule, what) = refused.or_else(|| self.rules.limits.refuses(asked))?;
        Some(format!("the lock file of this host {what} ({})", self.denied(rule)))
    }

    /// The most that what remote sides start may use.
    #[must_use]
    pub const fn caps(&self) -> Caps {
        self.rules.limits
    }

    /// Whether a kind of command may run.
    #[must_use]
    pub fn allows_command(&self, kind: &str) -> bool {
        self.refuses_command(kind).is_none()
    }

    /// Why a kind of command may not run. `None`: it may.
    #[must_use]
    pub fn refuses_command(&self, kind: &str) -> Option<String> {
        let above = self.ceiling.is_some_and(|ceiling| !ceiling.allows_command(kind));
        let refusing = self.rules.commands.refuses(kind, self.is_unusable);
        let rule = refusing.or_else(|| above.then_some("profile"))?;
        Some(format!("the lock file of this host does not allow {kind} ({})", self.denied(rule)))
    }

    /// Why `service` may not act on a unit. `None`: it may.
    #[must_use]
    pub fn refuses_service(&self, unit: &str) -> Option<String> {
        self.unnamed(&self.rules.commands.services, "commands.services", unit)
    }

    /// Why the journal of a unit may not leave the host. `None`: it may.
    #[must_use]
    pub fn refuses_journal(&self, unit: &str) -> Option<String> {
        self.unnamed(&self.rules.commands.journals, "commands.journals", unit)
    }

    fn unnamed(&self, patterns: &[String], rule: &'static str, unit: &str) -> Option<String> {
        let is_named = patterns.iter().any(|pattern| unit_name::matches(pattern, unit));
        let text =
            || format!("the lock file of this host does not name {unit} in {rule} ({})", self.denied(rule));
        (!is_named).then(text)
    }

    /// Why an extension may not be brought, or taken away. `None`: it may.
    #[must_use]
    pub fn refuses_extension(&self, name: &Name, act: Act) -> Option<String> {
        let above = self.is_unusable || self.ceiling.is_some();
        let rule = if above { Some("profile") } else { self.rules.extensions.refuses(name, act) };
        Some(format!("the lock file of this host does not allow it ({})", self.denied(rule?)))
    }

    /// Why no extension may be taken away, whoever wants that. `None`: any may.
    #[must_use]
    pub fn refuses_removals(&self) -> Option<String> {
        let above = self.is_unusable || self.ceiling.is_some();
        above.then(|| format!("the lock file of this host does not allow it ({})", self.denied("profile")))
    }

    /// Why the control plane may not bring this version of the agent. `None`: it may.
    #[must_use]
    pub fn refuses_upgrade(&self, version: &str) -> Option<String> {
        let above = self.is_unusable || self.ceiling.is_some();
        let rule = if above { Some("profile") } else { self.rules.upgrade.refuses(version) }?;
        let pin = self.rules.upgrade.pin.as_ref().filter(|_| rule == "upgrade.pin");
        let what = pin.map_or_else(
            || "does not allow other versions of the agent".to_owned(),
            |pin| format!("keeps the agent at version {pin}"),
        );
        Some(format!("the lock file of this host {what} ({})", self.denied(rule)))
    }

    /// Why no version that is newer may be brought. `None`: any may.
    #[must_use]
    pub fn refuses_upgrades(&self) -> Option<String> {
        self.refuses_upgrade("")
    }

    /// Names of identities that a program of this host may have. `gid`: its first group.
    #[must_use]
    pub fn workloads(&self, uid: u32, gid: u32, unit: Option<&str>) -> Vec<String> {
        self.rules.workload.names(uid, gid, unit)
    }

    /// The value at which an option of the agent is locked.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.rules.settings.get(key).map(String::as_str)
    }

    /// Whether options that the control plane gives may come into force.
    #[must_use]
    pub fn allows_settings(&self) -> bool {
        !self.is_unusable && self.ceiling != Some(Ceiling::Locked)
    }

    /// The one word for a refusal, with the rule behind it and where that stands.
    fn denied(&self, rule: &str) -> String {
        format!("{DENIED}: {}", self.place(rule))
    }

    fn place(&self, rule: &str) -> String {
        if self.is_unusable {
            return "the file cannot be used".to_owned();
        }
        match self.ceiling {
            Some(ceiling) if rule == "profile" || ceiling.overrules(rule) => {
                self.sources.profile_line(ceiling.as_str())
            }
            _ => self.sources.place(rule),
        }
    }
}

#[cfg(test)]
mod tests;
