//! What hooks find, and what hooks do that nobody would want.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::*;

/// Longest wait for what takes a second or a few.
const LONG: Duration = Duration::from_secs(30);

fn hook(script: &str, timeout_s: u32) -> types::Hook {
    types::Hook { timeout_s, ..sh(script).unwrap() }
}

/// What becomes of a bundle with this probe, in bounded time.
async fn probed(lab: &Lab, probe: types::Hook) -> ItemState {
    let mut applier = lab.open().await;
    let content = types::BundleContent { probe: Some(probe), ..lab.bundle(&[("a", "x")]) };
    let applied = tokio::time::timeout(LONG, applier.apply(offer(1, &content)));
    applied.await.expect("a hook keeps nobody waiting for ever")
}

fn process(lab: &Lab) -> Pid {
    let number = fs::read_to_string(lab.file("pid")).unwrap();
    Pid::from_raw(number.trim().parse().unwrap()).unwrap()
}

fn why(state: &ItemState) -> &str {
    assert_eq!(verdict(state), (Outcome::RolledBack, Some(Reason::ProbeFailed), Some(Cause::Content)));
    &state.error.as_ref().unwrap().message
}

#[tokio::test]
async fn a_hook_has_its_folder_and_its_environment_and_nothing_of_the_agents() {
    let lab = Lab::new();
    let script = "pwd; echo \"$COLOUR|$QUOTES|$MUSTER_ITEM|$PATH|$(env | sed 's/=.*//' | sort | tr '\\n' ' ')\"; exit 1";
    let environment = [("COLOUR", "red and\nblue"), ("QUOTES", "'\"$HOME`id`"), ("PATH", "/usr/bin:/bin")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let working_directory = lab.root().to_str().unwrap().to_owned();
    let probe = types::Hook { working_directory, environment: environment.into(), ..hook(script, 10) };
    let state = probed(&lab, probe).await;
    let said = String::from_utf8(state.error.unwrap().output).unwrap();
    let expected = format!(
        "{}\nred and\nblue|'\"$HOME`id`|bundle/app|/usr/bin:/bin|COLOUR MUSTER_ITEM MUSTER_VERSION PATH PWD QUOTES",
        lab.root().display()
    );
    // A shell adds variables of its own, and the second line of a value looks like a name.
    let said = said.replace("_ ", "").replace("SHLVL ", "").replace("OLDPWD ", "").replace(" blue", "");
    assert!(said.starts_with(&expected), "{said}");
}

#[tokio::test]
async fn an_environment_or_folder_that_cannot_be_is_told() {
    let lab = Lab::new();
    let mut applier = lab.open().await;
    let of = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    let cases = [
        types::Hook { environment: of("MUSTER_ITEM", "x"), ..hook("true", 1) },
        types::Hook { environment: of("1A", "x"), ..hook("true", 1) },
        types::Hook { environment: of("A-B", "x"), ..hook("true", 1) },
        types::Hook { environment: of("A", "\0"), ..hook("true", 1) },
        types::Hook { working_directory: "tmp".to_owned(), ..hook("true", 1) },
    ];
    for (number, probe) in (1..).zip(cases) {
        let content = types::BundleContent { probe: Some(probe), ..lab.bundle(&[("a", "x")]) };
        assert_eq!(verdict(&applier.apply(offer(number, &content)).await).1, Some(Reason::PayloadInvalid));
    }
    drop(applier);
    let nowhere = types::Hook { working_directory: "/nowhere".to_owned(), ..hook("true", 1) };
    let lab = Lab::new();
    assert!(why(&probed(&lab, nowhere).await).contains("its working directory /nowhere is not there"));
}

#[tokio::test]
async fn a_hook_that_hangs_and_will_not_listen_is_killed_with_all_it_started() {
    let lab = Lab::new();
    let script =
        format!("trap '' TERM; sleep 600 & echo $! > {}; wait; sleep 600", lab.file("pid").display());
    let state = probed(&lab, hook(&script, 1)).await;
    assert!(why(&state).ends_with("did not end within 1 s"));
    let gone = async {
        while test_kill_process(process(&lab)).is_ok() && !is_zombie(process(&lab)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, gone).await.expect("what it started has ended, too");
}

fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

#[tokio::test]
async fn a_daemon_that_keeps_the_pipes_of_its_hook_open_keeps_nobody_waiting() {
    let lab = Lab::new();
    // Out of the group: what a service does that is started so.
    let script = format!("setsid sleep 600 & echo $! > {}; echo started", lab.file("pid").display());
    let state = probed(&lab, hook(&script, 600)).await;
    assert_eq!(state.outcome, Outcome::Applied, "{:?}", state.error);
    assert!(test_kill_process(process(&lab)).is_ok(), "a service lives on");
    kill_process(process(&lab), Signal::KILL).unwrap();
}

#[tokio::test]
async fn of_a_hundred_mebibytes_the_end_is_kept() {
    let lab = Lab::new();
    let script = "head -c 104857600 /dev/zero | tr '\\0' x; echo; echo the end; exit 3";
    let state = probed(&lab, hook(script, 600)).await;
    assert!(why(&state).ends_with("ended with exit status: 3"));
    let output = &state.error.as_ref().unwrap().output;
    assert!(output.len() == 4096 && output.ends_with(b"x\nthe end\n"));
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_is_told_as_that() {
    let lab = Lab::new();
    let program = lab.folder.path().join("program");
    fs::write(&program, "#!/nonexistent/interpreter\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let argv = vec![program.to_str().unwrap().to_owned()];
    let state = probed(&lab, types::Hook { argv: argv.clone(), ..hook("", 5) }).await;
    assert!(why(&state).contains("cannot execute or find"), "{}", why(&state));
    let told = probed(&Lab::new(), hook("exit 126", 5)).await;
    assert!(why(&told).contains("exit status: 126: a shell says so"), "{}", why(&told));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    let state = probed(&Lab::new(), types::Hook { argv, ..hook("", 5) }).await;
    assert!(why(&state).contains("could not be started"), "{}", why(&state));
}
