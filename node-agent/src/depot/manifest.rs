//! What a package says of itself: `manifest.toml`. Read with limits, refused as a whole.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::platform::units::Limits;

/// Longest file.
pub(super) const LONGEST: usize = 64 * 1024;
const MOST_WORDS: usize = 64;
const LONGEST_WORD: usize = 4096;
const LONGEST_PART: usize = 64;
/// Of a verb, in seconds.
const TIMEOUT: std::ops::RangeInclusive<u64> = 1..=3600;
const USUAL_TIMEOUT_S: u64 = 60;
const USUAL_INTERVAL_S: u64 = 30;
const USUAL_WITHIN_S: u64 = 60;
const USUAL_RESTARTS: u32 = 5;
/// Below this nothing could start.
const LEAST_MEMORY: u64 = 16 * 1024 * 1024;

/// What can be asked of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Puts in place what the package needs on the host, once.
    Install,
    /// Begins, with the settings of now; again whenever they change.
    Enable,
    /// Takes over from another version, in place of `install`.
    Update,
    /// Ends, and leaves in place what was installed.
    Disable,
    /// Takes away what was installed.
    Uninstall,
    /// Says by its exit status whether it is well.
    Health,
    /// The program that runs while the extension is enabled.
    Run,
}

/// A whole manifest, checked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Manifest {
    /// Who made it.
    pub publisher: String,
    /// What it is.
    pub kind: String,
    /// Which version of it.
    pub version: String,
    /// For which system and processor; `any` is every processor.
    pub os: String,
    /// See `os`.
    pub arch: String,
    /// Programs get the agent's own proxy in their environment.
    pub wants_proxy: bool,
    /// A verb that ends well must have written a status that says so.
    pub reports_status: bool,
    /// What programs may use, where nobody says less.
    pub limits: Limits,
    /// It is not to run where its limits cannot be held.
    pub requires_limits: bool,
    /// What there is to do.
    pub verbs: BTreeMap<Verb, Program>,
    /// Between two looks at its health.
    pub health_interval: Duration,
    /// It must be healthy so soon after it was enabled.
    pub health_within: Duration,
    /// Of the program that runs.
    pub restart: Restart,
    /// The package is laid out as Azure's VM extensions are.
    pub is_handler: bool,
}

/// What is run for a verb.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Program {
    /// The first is a file of the package, or an absolute path.
    pub argv: Vec<String>,
    /// For the whole of it.
    pub timeout: Duration,
}

/// What becomes of a program that ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub struct Restart {
    /// Also where it ended well.
    pub always: bool,
    /// So often in a row; then it is given up until its settings or its version change.
    pub most: u32,
}

/// A manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the manifest of the package cannot be used: {0}")]
pub struct Unusable(pub String);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    publisher: String,
    r#type: String,
    version: String,
    #[serde(default = "linux")]
    os: String,
    #[serde(default = "any")]
    arch: String,
    #[serde(default)]
    proxy: Proxy,
    #[serde(default)]
    reports_status: bool,
    #[serde(default)]
    limits: FileLimits,
    #[serde(default)]
    verbs: BTreeMap<Verb, FileProgram>,
    run: Option<FileRun>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Proxy {
    #[default]
    None,
    Agent,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct FileLimits {
    memory_bytes: Option<u64>,
    cpu_percent: Option<u32>,
    tasks: Option<u32>,
    required: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileProgram {
    argv: Vec<String>,
    timeout_s: Option<u64>,
    interval_s: Option<u64>,
    within_s: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileRun {
    argv: Vec<String>,
    #[serde(default)]
    restart: FileRestart,
    most_restarts: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FileRestart {
    Always,
    #[default]
    OnFailure,
    Never,
}

fn linux() -> String {
    "linux".to_owned()
}

fn any() -> String {
    "any".to_owned()
}

impl Verb {
    /// Its one written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Enable => "enable",
            Self::Update => "update",
            Self::Disable => "disable",
            Self::Uninstall => "uninstall",
            Self::Health => "health",
            Self::Run => "run",
        }
    }

    /// The verb written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::Install,
            Self::Enable,
            Self::Update,
            Self::Disable,
            Self::Uninstall,
            Self::Health,
            Self::Run,
        ];
        all.into_iter().find(|verb| verb.as_str() == text)
    }

    /// It takes something away: that is allowed whatever the lock file says.
    #[must_use]
    pub const fn leads_out(self) -> bool {
        matches!(self, Self::Disable | Self::Uninstall)
    }
}

impl Manifest {
    /// Reads one.
    ///
    /// # Errors
    /// If anything in it cannot be meant.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        if text.len() > LONGEST {
            return Err(Unusable(format!("it has {} bytes; {LONGEST} are the most", text.len())));
        }
        let file: File = toml::from_str(text).map_err(|error| Unusable(error.message().to_owned()))?;
        for (what, part) in [("publisher", &file.publisher), ("type", &file.r#type)] {
            if !is_part(part) {
                return Err(Unusable(format!("{what} {part:?} is no name")));
            }
        }
        if !is_version(&file.version) {
            return Err(Unusable(format!("version {:?} is none", file.version)));
        }
        let [health_interval, health_within] = health(&file.verbs)?;
        let mut verbs = BTreeMap::new();
        for (verb, program) in file.verbs {
            if verb == Verb::Run {
                return Err(Unusable("what runs stands in [run], not among the verbs".to_owned()));
            }
            let timeout = program.timeout_s.unwrap_or(USUAL_TIMEOUT_S);
            if !TIMEOUT.contains(&timeout) {
                return Err(Unusable(format!("timeout-s of {} is not from 1 to 3600", verb.as_str())));
            }
            let timeout = Duration::from_secs(timeout);
            verbs.insert(verb, Program { argv: checked(program.argv, verb)?, timeout });
        }
        let mut restart = Restart { always: false, most: 0 };
        if let Some(run) = file.run {
            restart = run.restart();
            let argv = checked(run.argv, Verb::Run)?;
            verbs.insert(Verb::Run, Program { argv, timeout: Duration::MAX });
        }
        Ok(Self {
            limits: file.limits.checked()?,
            requires_limits: file.limits.required,
            publisher: file.publisher,
            kind: file.r#type,
            version: file.version,
            os: file.os,
            arch: file.arch,
            wants_proxy: matches!(file.proxy, Proxy::Agent),
            reports_status: file.reports_status,
            verbs,
            health_interval,
            health_within,
            restart,
            is_handler: false,
        })
    }

    /// Whether there is anything to do for a verb.
    #[must_use]
    pub fn has(&self, verb: Verb) -> bool {
        self.verbs.contains_key(&verb)
    }

    /// What keeps it from running on this kind of host. `None`: nothing.
    #[must_use]
    pub fn misfits(&self, os: &str, arch: &str) -> Option<String> {
        let fits = self.os == os && (self.arch == "any" || self.arch == arch);
        (!fits).then(|| format!("the package is for {} {}, this host is {os} {arch}", self.os, self.arch))
    }
}

impl FileRun {
    fn restart(&self) -> Restart {
        let most = self.most_restarts.unwrap_or(USUAL_RESTARTS);
        match self.restart {
            FileRestart::Always => Restart { always: true, most },
            FileRestart::OnFailure => Restart { always: false, most },
            FileRestart::Never => Restart { always: false, most: 0 },
        }
    }
}

impl FileLimits {
    fn checked(&self) -> Result<Limits, Unusable> {
        if self.memory_bytes.is_some_and(|bytes| bytes < LEAST_MEMORY) {
            return Err(Unusable(format!("limits.memory-bytes is below {LEAST_MEMORY}")));
        }
        if self.cpu_percent == Some(0) || self.tasks == Some(0) {
            return Err(Unusable("with a limit of 0 nothing could start".to_owned()));
        }
        let (memory, cpu, tasks) = (self.memory_bytes, self.cpu_percent, self.tasks);
        Ok(Limits { memory, cpu, tasks, time: None })
    }
}

/// Between two looks at it, and how soon it must be there.
fn health(verbs: &BTreeMap<Verb, FileProgram>) -> Result<[Duration; 2], Unusable> {
    let others = verbs.iter().filter(|(verb, _)| **verb != Verb::Health);
    if others.into_iter().any(|(_, program)| program.interval_s.or(program.within_s).is_some()) {
        return Err(Unusable("only health has an interval-s and a within-s".to_owned()));
    }
    let health = verbs.get(&Verb::Health);
    let interval = health.and_then(|health| health.interval_s).unwrap_or(USUAL_INTERVAL_S);
    let within = health.and_then(|health| health.within_s).unwrap_or(USUAL_WITHIN_S);
    if !TIMEOUT.contains(&interval) || !TIMEOUT.contains(&within) {
        return Err(Unusable("interval-s and within-s of health are from 1 to 3600".to_owned()));
    }
    Ok([Duration::from_secs(interval), Duration::from_secs(within)])
}

/// A program of the package without a way out of it, or one of the host.
fn checked(argv: Vec<String>, verb: Verb) -> Result<Vec<String>, Unusable> {
    let wrong = |why: &str| Unusable(format!("argv of {} {why}", verb.as_str()));
    let program = argv.first().ok_or_else(|| wrong("is empty"))?;
    if argv.len() > MOST_WORDS || argv.iter().any(|word| word.len() > LONGEST_WORD) {
        return Err(wrong("is too long"));
    }
    if argv.iter().any(|word| word.contains('\0')) {
        return Err(wrong("has a zero byte"));
    }
    if program.is_empty() || program.split('/').any(|part| part == "..") {
        return Err(wrong("names no program of the package"));
    }
    Ok(argv)
}

/// Of a publisher or a type.
fn is_part(text: &str) -> bool {
    is_word(text, b"._-")
}

/// Of a version: it names a folder.
#[must_use]
pub fn is_version(text: &str) -> bool {
    is_word(text, b".+-")
}

fn is_word(text: &str, others: &[u8]) -> bool {
    (1..=LONGEST_PART).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
        && text.as_bytes()[0].is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "publisher = \"acme\"\ntype = \"log\"\nversion = \"1.2.3\"\nproxy = \"agent\"\n\
        reports-status = true\n[limits]\nmemory-bytes = 67108864\ntasks = 9\nrequired = true\n\
        [verbs.install]\nargv = [\"bin/install\", \"-v\"]\ntimeout-s = 5\n\
        [verbs.health]\nargv = [\"/bin/true\"]\ninterval-s = 2\n\
        [run]\nargv = [\"bin/log\"]\nrestart = \"always\"\nmost-restarts = 2\n";

    #[test]
    fn a_whole_manifest_says_all_that_it_says() {
        let manifest = Manifest::parse(WHOLE).unwrap();
        assert_eq!((manifest.publisher.as_str(), manifest.kind.as_str()), ("acme", "log"));
        assert_eq!(manifest.verbs[&Verb::Install].timeout, Duration::from_secs(5));
        assert_eq!(manifest.health_interval, Duration::from_secs(2));
        assert_eq!(manifest.restart, Restart { always: true, most: 2 });
        assert!(manifest.wants_proxy && manifest.reports_status && manifest.requires_limits);
        assert_eq!((manifest.limits.memory, manifest.limits.tasks), (Some(64 << 20), Some(9)));
        assert!(manifest.has(Verb::Run) && !manifest.has(Verb::Update));
        assert_eq!(manifest.misfits("linux", "riscv64"), None);
        assert!(manifest.misfits("windows", "x86_64").is_some());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let head = "publisher = \"acme\"\ntype = \"log\"\nversion = \"1\"\n";
        let bad = [
            "",
            "publisher = \"acme\"\ntype = \"log\"\nversion = \"../1\"\n",
            "publisher = \"ac/me\"\ntype = \"log\"\nversion = \"1\"\n",
            &format!("{head}unknown = 1\n"),
            &format!("{head}[verbs.reboot]\nargv = [\"a\"]\n"),
            &format!("{head}[verbs.run]\nargv = [\"a\"]\n"),
            &format!("{head}[verbs.install]\nargv = []\n"),
            &format!("{head}[verbs.install]\nargv = [\"../a\"]\n"),
            &format!("{head}[verbs.install]\nargv = [\"a\"]\ntimeout-s = 0\n"),
            &format!("{head}[verbs.install]\nargv = [\"a\"]\ninterval-s = 1\n"),
            &format!("{head}[limits]\nmemory-bytes = 1\n"),
            &format!("{head}[limits]\ntasks = 0\n"),
            &format!("{head}#{}", "x".repeat(LONGEST)),
        ];
        for text in bad {
            assert!(Manifest::parse(text).is_err(), "{text}");
        }
        assert!(Manifest::parse(head).is_ok());
    }
}
