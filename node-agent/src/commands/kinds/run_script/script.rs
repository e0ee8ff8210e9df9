//! What an order to run a script says. The control plane has checked the same, if it is a
//! newer one; this host does not rely on that.

use std::{collections::BTreeMap, path::PathBuf};

use muster_proto::types::v1 as types;

const MAX_SCRIPT: usize = 64 * 1024;
const MAX_WORDS: usize = 64;
const MAX_USER: usize = 64;
const MIN_MEMORY: u64 = 16 * 1024 * 1024;
const MAX_TASKS: u32 = 1_000_000;
const MAX_PERCENT: u32 = 100_000;

/// A script that can be run.
#[derive(Debug, PartialEq)]
pub(in crate::commands) struct Script {
    pub(super) text: String,
    pub(super) interpreter: Vec<String>,
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) folder: PathBuf,
    /// Empty: the agent's own.
    pub(super) user: String,
    pub(super) limits: types::ScriptLimits,
    pub(super) survives: bool,
}

impl Script {
    pub(in crate::commands) fn check(args: types::RunScript) -> Result<Self, String> {
        check_script(&args)?;
        check_words(&args)?;
        check_user(&args.user)?;
        let limits = args.limits.unwrap_or_default();
        check_limits(&limits)?;
        let folder = if args.working_directory.is_empty() { "/" } else { args.working_directory.as_str() };
        if !folder.starts_with('/') {
            return Err(format!("the working directory {folder:?} is not an absolute path"));
        }
        let interpreter =
            if args.interpreter.is_empty() { vec!["/bin/sh".to_owned()] } else { args.interpreter };
        if !interpreter[0].starts_with('/') {
            return Err(format!("the interpreter {:?} is not an absolute path", interpreter[0]));
        }
        Ok(Self {
            folder: PathBuf::from(folder),
            text: args.script,
            interpreter,
            arguments: args.arguments,
            environment: args.environment.into_iter().collect(),
            user: args.user,
            limits,
            survives: args.survive_restart,
        })
    }

    /// Whether it asks for what only a unit of its own has.
    pub(super) fn wants_unit(&self) -> bool {
        self.survives || self.limits != types::ScriptLimits::default()
    }
}

fn check_script(args: &types::RunScript) -> Result<(), String> {
    let bytes = args.script.len();
    if bytes == 0 || bytes > MAX_SCRIPT {
        return Err(format!("the script has {bytes} bytes; it must have 1 to {MAX_SCRIPT}"));
    }
    Ok(())
}

fn check_words(args: &types::RunScript) -> Result<(), String> {
    if args.interpreter.len().max(args.environment.len()).max(args.arguments.len()) > MAX_WORDS {
        return Err(format!("interpreter, arguments and environment must have at most {MAX_WORDS} entries"));
    }
    let has_nul = |text: &String| text.contains('\0');
    let is_bad = |(name, value): (&String, &String)| {
        name.is_empty() || name.contains('=') || has_nul(name) || has_nul(value)
    };
    if args.interpreter.iter().chain(&args.arguments).chain([&args.working_directory]).any(has_nul)
        || args.environment.iter().any(is_bad)
    {
        return Err("interpreter, arguments, folder and environment must be free of NUL, names also of '='"
            .to_owned());
    }
    Ok(())
}

fn check_user(user: &str) -> Result<(), String> {
    let is_foreign = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ':' | '/');
    if user.len() > MAX_USER || user.starts_with('-') || user.contains(is_foreign) {
        return Err(format!("the user {user:?} is neither a name nor a number"));
    }
    Ok(())
}

fn check_limits(limits: &types::ScriptLimits) -> Result<(), String> {
    if limits.memory_bytes != 0 && limits.memory_bytes < MIN_MEMORY {
        return Err(format!("the limit of memory must be at least {MIN_MEMORY} bytes"));
    }
    if limits.tasks > MAX_TASKS || limits.cpu_percent > MAX_PERCENT {
        return Err(format!("the limits must be at most {MAX_TASKS} tasks and {MAX_PERCENT} percent"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> types::RunScript {
        types::RunScript { script: "true".to_owned(), ..types::RunScript::default() }
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let script = Script::check(args()).unwrap();
        assert_eq!(script.interpreter, ["/bin/sh"]);
        assert_eq!((script.folder.to_str(), script.user.as_str()), (Some("/"), ""));
        assert!(!script.wants_unit());
        let limits = types::ScriptLimits { cpu_percent: 50, ..Default::default() };
        assert!(Script::check(types::RunScript { limits: Some(limits), ..args() }).unwrap().wants_unit());
        assert!(Script::check(types::RunScript { survive_restart: true, ..args() }).unwrap().wants_unit());
    }

    #[test]
    fn what_cannot_be_is_refused_whatever_the_control_plane_let_through() {
        let limits = |memory_bytes, tasks, cpu_percent| types::RunScript {
            limits: Some(types::ScriptLimits { memory_bytes, tasks, cpu_percent }),
            ..args()
        };
        for bad in [
            types::RunScript::default(),
            types::RunScript { script: "x".repeat(MAX_SCRIPT + 1), ..args() },
            types::RunScript { interpreter: vec!["sh".to_owned()], ..args() },
            types::RunScript { arguments: vec!["a\0".to_owned()], ..args() },
            types::RunScript { arguments: vec![String::new(); MAX_WORDS + 1], ..args() },
            types::RunScript { working_directory: "tmp".to_owned(), ..args() },
            types::RunScript { working_directory: "/a\0".to_owned(), ..args() },
            types::RunScript { environment: [("A=".to_owned(), String::new())].into(), ..args() },
            types::RunScript { user: "-u".to_owned(), ..args() },
            types::RunScript { user: "a/b".to_owned(), ..args() },
            limits(MIN_MEMORY - 1, 0, 0),
            limits(0, MAX_TASKS + 1, 0),
            limits(0, 0, MAX_PERCENT + 1),
        ] {
            assert!(Script::check(bad.clone()).is_err(), "{bad:?}");
        }
        assert!(Script::check(limits(MIN_MEMORY, MAX_TASKS, MAX_PERCENT)).is_ok());
    }
}
