//! How much of the host what remote sides start may use.

use serde::{Deserialize, Deserializer, de::Error as _};

/// Below this nothing could start.
const MIN_MEMORY: u64 = 16 * 1024 * 1024;
const MAX_PERCENT: u32 = 100_000;

/// The section `[limits]`, and what an order asks for. `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Caps {
    /// Bytes of memory, without swap.
    #[serde(deserialize_with = "bytes")]
    pub memory: Option<u64>,
    /// Percent of one core.
    #[serde(deserialize_with = "percent")]
    pub cpu: Option<u32>,
    /// Processes and threads.
    #[serde(deserialize_with = "count")]
    pub tasks: Option<u32>,
}

impl Caps {
    /// Whether any is set.
    #[must_use]
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// The rule by which an order asks for too much, and what it says.
    pub(super) fn refuses(&self, asked: &Self) -> Option<(&'static str, String)> {
        let too_much = |key, cap: Option<u64>, asked: Option<u64>, what: &str| {
            let (cap, asked) = cap.zip(asked).filter(|(cap, asked)| asked > cap)?;
            Some((key, format!("gives at most {cap} {what}, and {asked} were asked for")))
        };
        too_much("limits.memory", self.memory, asked.memory, "bytes of memory")
            .or_else(|| {
                too_much("limits.cpu", self.cpu.map(u64::from), asked.cpu.map(u64::from), "% of a core")
            })
            .or_else(|| {
                let (cap, asked) = (self.tasks.map(u64::from), asked.tasks.map(u64::from));
                too_much("limits.tasks", cap, asked, "tasks")
            })
    }

    /// What is to hold: the lower of both.
    #[must_use]
    pub fn with(&self, asked: &Self) -> Self {
        fn lower<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            one.into_iter().chain(other).min()
        }
        Self {
            memory: lower(self.memory, asked.memory),
            cpu: lower(self.cpu, asked.cpu),
            tasks: lower(self.tasks, asked.tasks),
        }
    }
}

/// `"512MiB"`.
fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "KiB" => Some(1_u64 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = unit.zip(digits.parse::<u64>().ok()).and_then(|(unit, number)| number.checked_mul(unit));
    match bytes {
        Some(bytes) if bytes >= MIN_MEMORY => Ok(Some(bytes)),
        Some(_) => Err(D::Error::custom(format!("{text:?} is too little: at least 16MiB"))),
        None => Err(D::Error::custom(format!("{text:?} is not a size such as 512MiB or 2GiB"))),
    }
}

/// `"50%"`, of one core.
fn percent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let percent = text.strip_suffix('%').and_then(|digits| digits.parse().ok());
    let fits = percent.filter(|percent| (1..=MAX_PERCENT).contains(percent));
    let wrong = || D::Error::custom(format!("{text:?} is not a part of one core such as 50% or 200%"));
    fits.map(Some).ok_or_else(wrong)
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let count = u32::deserialize(deserializer)?;
    if count == 0 {
        return Err(D::Error::custom("with 0 tasks nothing could start: at least 1"));
    }
    Ok(Some(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_with_their_units_and_nothing_else() {
        let caps: Caps = toml::from_str("memory = \"512MiB\"\ncpu = \"50%\"\ntasks = 20\n").unwrap();
        assert_eq!(caps, Caps { memory: Some(512 << 20), cpu: Some(50), tasks: Some(20) });
        for bad in [
            "memory = \"512\"",
            "memory = \"512MB\"",
            "memory = 512",
            "memory = \"1MiB\"",
            "memory = \"99999999999GiB\"",
            "cpu = \"50\"",
            "cpu = \"0%\"",
            "cpu = 50",
            "tasks = 0",
            "tasks = -1",
            "io = 1",
        ] {
            assert!(toml::from_str::<Caps>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn more_than_the_host_gives_is_refused_and_the_lower_holds() {
        let caps = Caps { memory: Some(512 << 20), cpu: Some(50), tasks: None };
        let asked = |memory, cpu| Caps { memory, cpu, tasks: Some(9) };
        assert_eq!(caps.refuses(&Caps::default()), None);
        assert_eq!(caps.refuses(&asked(Some(512 << 20), Some(50))), None);
        assert_eq!(caps.refuses(&asked(Some((512 << 20) + 1), None)).unwrap().0, "limits.memory");
        let (rule, text) = caps.refuses(&asked(None, Some(51))).unwrap();
        assert!(rule == "limits.cpu" && text.contains("50 % of a core") && text.contains("51"), "{text}");
        assert_eq!(Caps { tasks: Some(8), ..caps }.refuses(&asked(None, None)).unwrap().0, "limits.tasks");
        let held = caps.with(&asked(Some(16 << 20), None));
        assert_eq!(held, Caps { memory: Some(16 << 20), cpu: Some(50), tasks: Some(9) });
    }
}
