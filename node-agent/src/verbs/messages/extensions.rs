//! What is wanted about an extension.

use std::{collections::BTreeMap, io, time::Duration};

use muster_common::{digest::Sha256, ids::CommandId, trace};

use crate::{
    depot::{self, Launch},
    platform::units::Limits,
    verbs::{frame::invalid, runs::id},
};

/// What is done. Each may be repeated, but for a launch, which its id keeps from being one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ExtensionAct {
    /// Nothing; no request has it.
    Unspecified = 0,
    /// Unpacks a package that was admitted, and answers its manifest.
    Unpack = 1,
    /// Writes the settings that its programs find.
    Configure = 2,
    /// Starts a program of it as a unit of its own.
    Launch = 3,
    /// How that stands.
    Look = 4,
    /// Ends all of it, and forgets it.
    End = 5,
    /// What the last verb wrote about itself.
    Status = 6,
    /// Takes away all packages but those that are named.
    Keep = 7,
    /// Takes away all of it.
    Clear = 8,
    /// Calls a launch off that has not begun, or has not even come yet.
    CallOff = 9,
    /// The runs of extensions of which something is kept.
    List = 10,
}

/// About one extension.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Extension {
    /// What.
    #[prost(enumeration = "ExtensionAct", tag = "1")]
    pub act: i32,
    /// With which packages: of `Keep` those that stay, of `Clear` and `Keep` the first has only
    /// a name, of all others there is one.
    #[prost(message, repeated, tag = "2")]
    pub packages: Vec<ExtensionPackage>,
    /// Of a run, a UUID.
    #[prost(string, tag = "3")]
    pub id: String,
    /// Which program.
    #[prost(string, tag = "4")]
    pub verb: String,
    /// The version before.
    #[prost(string, tag = "5")]
    pub from_version: String,
    /// The agent's own way out, as variables.
    #[prost(btree_map = "string, string", tag = "6")]
    pub proxy: BTreeMap<String, String>,
    /// Limits in place of the package's: bytes; 0: as the package says.
    #[prost(uint64, tag = "7")]
    pub memory: u64,
    /// Percent of one core; 0: as the package says.
    #[prost(uint32, tag = "8")]
    pub cpu: u32,
    /// Processes and threads; 0: as the package says.
    #[prost(uint32, tag = "9")]
    pub tasks: u32,
    /// Public, JSON.
    #[prost(bytes = "vec", tag = "10")]
    pub settings: Vec<u8>,
    /// Protected, JSON.
    #[prost(bytes = "vec", tag = "11")]
    pub protected: Vec<u8>,
    /// What is known of its standard output, in bytes.
    #[prost(uint64, tag = "12")]
    pub stdout: u64,
    /// Of its standard error.
    #[prost(uint64, tag = "13")]
    pub stderr: u64,
    /// Where a program is in a trace; empty: nobody collects.
    #[prost(string, tag = "14")]
    pub place: String,
}

/// One package.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExtensionPackage {
    /// Of the extension on this host.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Who made it.
    #[prost(string, tag = "2")]
    pub publisher: String,
    /// What it is.
    #[prost(string, tag = "3")]
    pub kind: String,
    /// Which version.
    #[prost(string, tag = "4")]
    pub version: String,
    /// Of its file.
    #[prost(bytes = "vec", tag = "5")]
    pub sha256: Vec<u8>,
}

/// Variables that say which way leads out. No other may come with a request: what a program
/// of root finds in its environment is not for the daemon to say.
const PROXY: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"];

impl Extension {
    /// This about one package.
    #[must_use]
    pub fn of(act: ExtensionAct, package: &depot::Package) -> Self {
        Self { act: act.into(), packages: vec![package.into()], ..Self::default() }
    }

    /// This about an extension by its name, with packages behind it.
    #[must_use]
    pub fn named(act: ExtensionAct, name: &str, packages: &[depot::Package]) -> Self {
        let first = ExtensionPackage { name: name.to_owned(), ..ExtensionPackage::default() };
        let packages = std::iter::once(first).chain(packages.iter().map(ExtensionPackage::from)).collect();
        Self { act: act.into(), packages, ..Self::default() }
    }

    /// This about a run.
    #[must_use]
    pub fn run(act: ExtensionAct, id: CommandId) -> Self {
        Self { act: act.into(), id: id.to_string(), ..Self::default() }
    }

    /// A launch.
    #[must_use]
    pub fn launch(launch: &Launch) -> Self {
        Self {
            id: launch.id.to_string(),
            verb: launch.verb.as_str().to_owned(),
            from_version: launch.from_version.clone(),
            proxy: launch.proxy.clone(),
            memory: launch.limits.memory.unwrap_or(0),
            cpu: launch.limits.cpu.unwrap_or(0),
            tasks: launch.limits.tasks.unwrap_or(0),
            place: launch.place.map(|place| place.to_string()).unwrap_or_default(),
            ..Self::of(ExtensionAct::Launch, &launch.package)
        }
    }

    /// The one package that it is about.
    ///
    /// # Errors
    /// If there is not exactly one, or it is none.
    pub fn package(&self) -> io::Result<depot::Package> {
        match self.packages.as_slice() {
            [one] => one.try_into(),
            _ => Err(invalid("this is about one package".to_owned())),
        }
    }

    /// The launch that was asked for.
    ///
    /// # Errors
    /// If it is none.
    pub fn as_launch(&self) -> io::Result<Launch> {
        let verb = depot::Verb::parse(&self.verb);
        let verb = verb.ok_or_else(|| invalid(format!("{:?} is no verb", self.verb)))?;
        let is_plain = |text: &str| text.len() <= 4096 && !text.contains('\0');
        if self.proxy.iter().any(|(name, value)| !PROXY.contains(&name.as_str()) || !is_plain(value)) {
            return Err(invalid("only the way out may come as variables".to_owned()));
        }
        if !self.from_version.is_empty() && !depot::is_version(&self.from_version) {
            return Err(invalid(format!("{:?} is no version", self.from_version)));
        }
        let place = match self.place.as_str() {
            "" => None,
            text => {
                Some(text.parse::<trace::Context>().map_err(|error| invalid(format!("{text:?}: {error}")))?)
            }
        };
        let some = |number: u32| (number > 0).then_some(number);
        let limits = Limits {
            memory: (self.memory > 0).then_some(self.memory),
            cpu: some(self.cpu),
            tasks: some(self.tasks),
            time: None::<Duration>,
        };
        Ok(Launch {
            id: id(&self.id)?,
            package: self.package()?,
            verb,
            from_version: self.from_version.clone(),
            proxy: self.proxy.clone(),
            limits,
            place,
        })
    }
}

impl From<&depot::Package> for ExtensionPackage {
    fn from(package: &depot::Package) -> Self {
        Self {
            name: package.name.clone(),
            publisher: package.publisher.clone(),
            kind: package.kind.clone(),
            version: package.version.clone(),
            sha256: package.sha256.as_bytes().to_vec(),
        }
    }
}

impl TryFrom<&ExtensionPackage> for depot::Package {
    type Error = io::Error;

    fn try_from(package: &ExtensionPackage) -> io::Result<Self> {
        let sha256 = Sha256::from_slice(&package.sha256);
        let package = Self {
            name: package.name.clone(),
            publisher: package.publisher.clone(),
            kind: package.kind.clone(),
            version: package.version.clone(),
            sha256: sha256.ok_or_else(|| invalid("a package without a digest".to_owned()))?,
        };
        package.check()?;
        Ok(package)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch() -> Launch {
        let package = depot::Package {
            name: "log".to_owned(),
            publisher: "acme".to_owned(),
            kind: "log".to_owned(),
            version: "1".to_owned(),
            sha256: Sha256::of(b"x"),
        };
        Launch {
            id: CommandId::generate(),
            package,
            verb: depot::Verb::Enable,
            from_version: "0.9".to_owned(),
            proxy: [("HTTPS_PROXY".to_owned(), "http://p:1".to_owned())].into(),
            limits: Limits { tasks: Some(3), ..Limits::default() },
            place: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok(),
        }
    }

    #[test]
    fn a_launch_comes_over_and_brings_no_environment_of_its_own() {
        let launch = launch();
        assert_eq!(Extension::launch(&launch).as_launch().unwrap(), launch);
        let other =
            Launch { proxy: [("LD_PRELOAD".to_owned(), "/tmp/x".to_owned())].into(), ..launch.clone() };
        assert!(Extension::launch(&other).as_launch().is_err());
        let other = Launch { from_version: "../x".to_owned(), ..launch.clone() };
        assert!(Extension::launch(&other).as_launch().is_err());
        let mut said = Extension::launch(&launch);
        said.verb = "reboot".to_owned();
        assert!(said.as_launch().is_err());
        let named = Extension { place: "$(reboot)".to_owned(), ..Extension::launch(&launch) };
        assert!(named.as_launch().is_err());
        said.packages.clear();
        assert!(said.package().is_err());
    }
}
