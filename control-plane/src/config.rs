//! The configuration of the control plane: one TOML file. Plain data, a leaf:
//! every room takes its own section by value.

mod addresses;
mod artifacts;
mod audit;
mod authority;
mod blobs;
mod doors;
mod enrollment;
mod fleet_console;
mod listen;
mod log;
mod retention;
mod secrets;
mod session;
mod store;
mod template;
mod traces;
mod workload;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_common::tls::spiffe::TrustDomain;
use serde::Deserialize;

pub use addresses::Addresses;
pub use artifacts::Artifacts;
pub use audit::Audit;
pub use authority::Authority;
pub use blobs::{Blobs, Place};
pub use doors::{Door, Doors, Rates};
pub use enrollment::{DeviceLogin, Enrollment, HostCa, Oidc, Values, requestable};
pub use fleet_console::FleetConsole;
pub use listen::{Listen, Public};
pub use log::Log;
pub use retention::Retention;
pub use secrets::Secrets;
pub use session::Session;
pub use store::Store;
pub use template::render;
pub use traces::Traces;
pub use workload::Workload;

/// Most output kept of one command: a client of gRPC takes messages of 4 MiB, unless told otherwise.
const MAX_OUTPUT: u64 = 3 * 1024 * 1024;
/// Most output kept of one operation: a store that has so much is not a small one any more.
const MAX_OPERATION_OUTPUT: u64 = 64 * 1024 * 1024 * 1024;

/// The whole file. The text that `init` writes explains every key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Under which all names stand. Since 0.1.
    pub trust_domain: TrustDomain,
    /// Where everything is kept. Since 0.1.
    pub state_dir: PathBuf,
    /// Name of this process among others on one store. Since 0.1.
    #[serde(default = "default_replica")]
    pub replica: String,
    /// Where what is known is kept. Since 0.1.
    #[serde(default)]
    pub store: Store,
    /// Ports. Since 0.1.
    #[serde(default)]
    pub listen: Listen,
    /// How others reach those ports. Since 0.1.
    #[serde(default)]
    pub public: Public,
    /// Lives of certificates. Since 0.1.
    #[serde(default)]
    pub identity: Identity,
    /// Rhythm of nodes. Since 0.1.
    #[serde(default)]
    pub session: Session,
    /// How hosts come. Since 0.1.
    #[serde(default)]
    pub enrollment: Enrollment,
    /// Bounds of the ports. Since 0.1.
    #[serde(default)]
    pub doors: Doors,
    /// What is kept, and how long. Since 0.1.
    #[serde(default)]
    pub retention: Retention,
    /// An authority of your own. Since 0.1.
    #[serde(default)]
    pub authority: Authority,
    /// How often the audit is signed. Since 0.1.
    #[serde(default)]
    pub audit: Audit,
    /// Bytes that are known by their digest. Since 0.1.
    #[serde(default)]
    pub blobs: Blobs,
    /// With what trust in the signed repository begins. Since 0.1.
    #[serde(default)]
    pub artifacts: Artifacts,
    /// Where the keys of protected contents are. Since 0.1.
    #[serde(default)]
    pub secrets: Secrets,
    /// Identities for programs on hosts. Since 0.1.
    #[serde(default)]
    pub workload: Workload,
    /// Pages about the fleet. Since 0.1.
    #[serde(default)]
    pub fleet_console: FleetConsole,
    /// Where traces go. Since 0.1.
    #[serde(default)]
    pub traces: Traces,
    /// What is logged. Since 0.1.
    #[serde(default)]
    pub log: Log,
    /// Time for finishing work at the end. Since 0.1.
    #[serde(default = "default_drain", with = "humantime_serde")]
    pub drain_within: Duration,
}

fn default_replica() -> String {
    "a".to_owned()
}

fn default_drain() -> Duration {
    Duration::from_secs(20)
}

/// Lives of certificates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Identity {
    /// Of a node; renewed at half of it.
    #[serde(with = "humantime_serde")]
    pub node_certificate_ttl: Duration,
    /// Of an operator.
    #[serde(with = "humantime_serde")]
    pub operator_certificate_ttl: Duration,
    /// Of the control plane itself; renewed at half of it.
    #[serde(with = "humantime_serde")]
    pub server_certificate_ttl: Duration,
    /// Renewals that the control plane asks for after a change of its authority
    /// come spread over this time.
    #[serde(with = "humantime_serde")]
    pub renew_spread: Duration,
    /// How long after the end of its certificate a node may come back by proof of its key.
    pub recover_within: RecoverWithin,
    /// How often it may before a person must say yes.
    pub recover_limit: u32,
}

/// A length of time, or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RecoverWithin(Option<Duration>);

impl RecoverWithin {
    /// `None`: any absence.
    #[must_use]
    pub const fn limit(self) -> Option<Duration> {
        self.0
    }
}

impl TryFrom<String> for RecoverWithin {
    type Error = humantime::DurationError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "unlimited" {
            return Ok(Self(None));
        }
        humantime::parse_duration(&text).map(|within| Self(Some(within)))
    }
}

impl std::fmt::Display for RecoverWithin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => f.write_str("unlimited"),
            Some(within) => humantime::format_duration(within).fmt(f),
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        let days = |n: u64| Duration::from_secs(n * 24 * 3600);
        Self {
            node_certificate_ttl: days(7),
            operator_certificate_ttl: days(90),
            server_certificate_ttl: days(30),
            renew_spread: Duration::from_secs(3600),
            recover_within: RecoverWithin(Some(days(90))),
            recover_limit: 3,
        }
    }
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not TOML, or has keys that do not exist.
    #[error("{} is not a valid configuration", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Values that cannot be.
    #[error("{} cannot be used:\n  {}", path.display(), problems.join("\n  "))]
    Invalid {
        /// Which.
        path: PathBuf,
        /// All of them.
        problems: Vec<String>,
    },
}

impl Config {
    /// Reads and checks a file; all problems are told at once.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let config: Self = toml::from_str(&text)
            .map_err(|source| Error::Parse { path: path.to_owned(), source: Box::new(source) })?;
        let problems = config.problems();
        if problems.is_empty() { Ok(config) } else { Err(Error::Invalid { path: path.to_owned(), problems }) }
    }

    /// For a new installation: every default.
    #[must_use]
    pub fn new(trust_domain: TrustDomain, state_dir: PathBuf) -> Self {
        Self {
            trust_domain,
            state_dir,
            replica: default_replica(),
            store: Store::default(),
            listen: Listen::default(),
            public: Public::default(),
            identity: Identity::default(),
            session: Session::default(),
            enrollment: Enrollment::default(),
            doors: Doors::default(),
            retention: Retention::default(),
            audit: Audit::default(),
            authority: Authority::default(),
            blobs: Blobs::default(),
            artifacts: Artifacts::default(),
            secrets: Secrets::default(),
            workload: Workload::default(),
            fleet_console: FleetConsole::default(),
            traces: Traces::default(),
            log: Log::default(),
            drain_within: default_drain(),
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut range = |key: &str, value: Duration, least: Duration, most: Duration| {
            if !(least..=most).contains(&value) {
                let format = humantime::format_duration;
                problems.push(format!(
                    "{key} is {}; it must be from {} to {}",
                    format(value),
                    format(least),
                    format(most)
                ));
            }
        };
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
        let session = &self.session;
        range("session.heartbeat-interval", session.heartbeat_interval, second / 5, day);
        range(
            "session.heartbeat-jitter",
            session.heartbeat_jitter,
            Duration::ZERO,
            session.heartbeat_interval / 2,
        );
        range("session.reconnect-min", session.reconnect_min, second / 20, second * 60);
        range("session.reconnect-max", session.reconnect_max, session.reconnect_min, second * 3600);
        range("identity.renew-spread", self.identity.renew_spread, Duration::ZERO, day * 7);
        range("identity.node-certificate-ttl", self.identity.node_certificate_ttl, second * 10, day * 365);
        range(
            "identity.operator-certificate-ttl",
            self.identity.operator_certificate_ttl,
            second * 10,
            day * 365,
        );
        range(
            "identity.server-certificate-ttl",
            self.identity.server_certificate_ttl,
            second * 10,
            day * 365,
        );
        range("audit.checkpoint-every", self.audit.checkpoint_every, second, day);
        problems.extend(self.audit.problem());
        if !muster_common::tls::spiffe::is_principal_name(&self.replica) {
            problems
                .push(format!("replica is {:?}; it must be letters, digits, '.', '_', '-'", self.replica));
        }
        if self.public.server_names.is_empty() && self.public.server_ips.is_empty() {
            problems.push("public.server-names and public.server-ips are both empty".to_owned());
        }
        if session.output_limit > MAX_OUTPUT {
            problems.push(format!(
                "session.output-limit is {}; it must be at most {MAX_OUTPUT}: one message holds it",
                session.output_limit
            ));
        }
        if session.operation_output_limit > MAX_OPERATION_OUTPUT {
            problems.push(format!(
                "session.operation-output-limit is {}; it must be at most {MAX_OPERATION_OUTPUT}",
                session.operation_output_limit
            ));
        }
        problems.extend(self.store.problems());
        problems.extend(self.doors.problems());
        problems.extend(self.retention.problems());
        problems.extend(self.enrollment.problems());
        problems.extend(self.authority.problems());
        problems.extend(self.blobs.problems());
        problems.extend(self.workload.problems());
        problems.extend(self.fleet_console.problems());
        problems.extend(self.traces.problems());
        problems
    }

    /// Folder of the certificate authority.
    #[must_use]
    pub fn ca_dir(&self) -> PathBuf {
        self.state_dir.join("ca")
    }

    /// File of the keys of protected contents.
    #[must_use]
    pub fn secrets_path(&self) -> PathBuf {
        match &self.secrets.key_file {
            path if path.as_os_str().is_empty() => self.state_dir.join("secrets.key"),
            path => path.clone(),
        }
    }

    /// URL of the store.
    #[must_use]
    pub fn store_url(&self) -> String {
        match self.store.url.as_str() {
            "" => format!("sqlite:{}", self.state_dir.join("muster.db").display()),
            url => url.to_owned(),
        }
    }

    /// Where agents find the ports, given what was bound.
    #[must_use]
    pub fn told(&self, explicit: &[String], bound: SocketAddr) -> Vec<String> {
        if !explicit.is_empty() {
            return explicit.to_vec();
        }
        let host = match bound.ip() {
            ip if !ip.is_unspecified() => ip.to_string(),
            _ => match (self.public.server_names.first(), self.public.server_ips.first()) {
                (Some(name), _) => name.clone(),
                (None, Some(ip)) => ip.to_string(),
                (None, None) => "localhost".to_owned(),
            },
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        vec![format!("{host}:{}", bound.port())]
    }
}

#[cfg(test)]
mod tests;
