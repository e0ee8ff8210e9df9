//! What an order to run a script may say. A host checks the same again: it may be older,
//! and it need not trust the control plane.

use muster_common::reason::Reason;
use muster_proto::types::v1 as types;
use prost::Message as _;
use tonic::Status;

use crate::{
    api::status::{invalid, of_app},
    app::Error,
};

/// Largest script.
const SCRIPT: usize = 64 * 1024;
/// The same with interpreter and all: a message to a host holds it.
const WHOLE: usize = SCRIPT + 8 * 1024;
/// Most words of an interpreter, arguments, and variables.
const WORDS: usize = 64;
/// Longest name of a user.
const USER: usize = 64;
/// Least memory in which a script and what watches over it can start.
const MEMORY: u64 = 16 * 1024 * 1024;
/// Most tasks and most percent of a core that a limit can say.
const TASKS: u32 = 1_000_000;
const PERCENT: u32 = 100_000;

pub(super) fn check(args: &types::RunScript) -> Result<(), Status> {
    check_size(args)?;
    let has_nul = |text: &String| text.contains('\0');
    if args.script.is_empty() {
        return Err(invalid("spec.run_script.script", "it is empty"));
    }
    if args.interpreter.first().is_some_and(|program| !program.starts_with('/')) {
        return Err(invalid("spec.run_script.interpreter", "its first word must be an absolute path"));
    }
    if args.interpreter.iter().any(has_nul) {
        return Err(invalid("spec.run_script.interpreter", "a word has a NUL in it"));
    }
    if args.arguments.iter().any(has_nul) {
        return Err(invalid("spec.run_script.arguments", "an argument has a NUL in it"));
    }
    let is_name = |key: &String| !key.is_empty() && !key.contains(['=', '\0']);
    if !args.environment.keys().all(is_name) || args.environment.values().any(has_nul) {
        let message = "a name is empty or has '=' in it, or a name or value has a NUL in it";
        return Err(invalid("spec.run_script.environment", message));
    }
    let folder = &args.working_directory;
    if !folder.is_empty() && (!folder.starts_with('/') || has_nul(folder)) {
        return Err(invalid("spec.run_script.working_directory", "it must be an absolute path"));
    }
    if !args.user.is_empty() && !is_user(&args.user) {
        let message = "it must be the name or the number of a user: at most 64 bytes, none of them a space, ':' or '/', the first not '-'";
        return Err(invalid("spec.run_script.user", message));
    }
    args.limits.as_ref().map_or(Ok(()), check_limits)
}

fn check_size(args: &types::RunScript) -> Result<(), Status> {
    let environment: usize = args.environment.iter().map(|(key, value)| key.len() + value.len()).sum();
    let words = args.interpreter.len().max(args.environment.len()).max(args.arguments.len());
    if args.script.len() + environment <= SCRIPT && words <= WORDS && args.encoded_len() <= WHOLE {
        return Ok(());
    }
    Err(of_app(Error::Invalid {
        reason: Reason::TooLarge,
        field: "spec.run_script".to_owned(),
        message: format!(
            "at most {SCRIPT} bytes of script and environment, at most {WORDS} words, arguments or variables, \
             at most {WHOLE} bytes in all"
        ),
    }))
}

fn is_user(name: &str) -> bool {
    name.len() <= USER
        && !name.starts_with('-')
        && !name.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, ':' | '/'))
}

fn check_limits(limits: &types::ScriptLimits) -> Result<(), Status> {
    if limits.memory_bytes != 0 && limits.memory_bytes < MEMORY {
        let message = format!("it must be 0, for no limit, or at least {MEMORY}");
        return Err(invalid("spec.run_script.limits.memory_bytes", message));
    }
    if limits.tasks > TASKS {
        let message = format!("it must be 0, for no limit, or at most {TASKS}");
        return Err(invalid("spec.run_script.limits.tasks", message));
    }
    if limits.cpu_percent > PERCENT {
        let message = format!("it must be 0, for no limit, or at most {PERCENT}");
        return Err(invalid("spec.run_script.limits.cpu_percent", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use muster_common::reason::Reason;
    use tonic_types::StatusExt as _;

    use super::*;

    fn script() -> types::RunScript {
        types::RunScript { script: "true".to_owned(), ..Default::default() }
    }

    fn refused(args: &types::RunScript) -> Option<String> {
        let status = check(args).err()?;
        status.get_error_details().error_info().map(|info| info.reason.clone())
    }

    fn field(args: &types::RunScript) -> Option<String> {
        let status = check(args).err()?;
        let details = status.get_error_details();
        details.bad_request().map(|bad| bad.field_violations[0].field.clone())
    }

    #[test]
    fn what_is_wrong_with_a_script_is_told_by_its_field() {
        let limits = |limits| types::RunScript { limits: Some(limits), ..script() };
        let cases = [
            ("script", types::RunScript::default()),
            ("interpreter", types::RunScript { interpreter: vec!["sh".to_owned()], ..script() }),
            ("interpreter", types::RunScript { interpreter: vec!["/a\0".to_owned()], ..script() }),
            ("arguments", types::RunScript { arguments: vec!["\0".to_owned()], ..script() }),
            (
                "environment",
                types::RunScript {
                    environment: [("A".to_owned(), "\0".to_owned())].into_iter().collect(),
                    ..script()
                },
            ),
            ("working_directory", types::RunScript { working_directory: "tmp".to_owned(), ..script() }),
            ("user", types::RunScript { user: "-u".to_owned(), ..script() }),
            ("user", types::RunScript { user: "a b".to_owned(), ..script() }),
            ("user", types::RunScript { user: "u".repeat(65), ..script() }),
            ("limits.memory_bytes", limits(types::ScriptLimits { memory_bytes: 1, ..Default::default() })),
            ("limits.tasks", limits(types::ScriptLimits { tasks: u32::MAX, ..Default::default() })),
            (
                "limits.cpu_percent",
                limits(types::ScriptLimits { cpu_percent: u32::MAX, ..Default::default() }),
            ),
        ];
        for (name, args) in cases {
            assert_eq!(field(&args), Some(format!("spec.run_script.{name}")), "{args:?}");
        }
        let whole = types::RunScript {
            arguments: vec!["-x".to_owned(); WORDS],
            working_directory: "/srv".to_owned(),
            user: "app".to_owned(),
            limits: Some(types::ScriptLimits { memory_bytes: MEMORY, tasks: 1, cpu_percent: 250 }),
            survive_restart: true,
            ..script()
        };
        assert_eq!(field(&whole), None);
        let arguments = vec![String::new(); WORDS + 1];
        assert_eq!(refused(&types::RunScript { arguments, ..script() }), Some("TOO_LARGE".to_owned()));
    }

    #[test]
    fn no_part_of_a_script_can_make_its_order_too_large_for_a_host() {
        let large = Some(Reason::TooLarge.as_str().to_owned());
        let long = "x".repeat(SCRIPT);
        assert_eq!(refused(&types::RunScript { script: long.clone(), ..script() }), None);
        assert_eq!(refused(&types::RunScript { script: long.clone() + "x", ..script() }), large);
        let interpreter = vec!["/bin/sh".to_owned(), long.clone(), long];
        assert_eq!(refused(&types::RunScript { interpreter, ..script() }), large);
    }

    #[test]
    fn the_same_environment_in_another_order_has_the_same_bytes() {
        let variable = |key: &str| {
            let environment = [(key.to_owned(), "1".to_owned())].into_iter().collect();
            types::RunScript { environment, ..Default::default() }.encode_to_vec()
        };
        let keys = ["A", "B", "C", "D", "E", "F", "G", "H"];
        let there: Vec<u8> = keys.iter().flat_map(|key| variable(key)).collect();
        let back: Vec<u8> = keys.iter().rev().flat_map(|key| variable(key)).collect();
        let again = |bytes: &[u8]| types::RunScript::decode(bytes).unwrap().encode_to_vec();
        assert_eq!(again(&there), again(&back));
    }
}
