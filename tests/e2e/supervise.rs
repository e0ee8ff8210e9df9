//! Scripts without a systemd: what watches over one, as a process, and what an agent that
//! cannot make units does.

use muster_node_agent::platform::supervise::{Job, Place};
use muster_proto::{
    admin::v1::Liveness,
    types::v1::{self as types, CommandState, ErrorReason, RunScript},
};
use muster_tests::{
    agent::Agent,
    binaries,
    eventually::{LONG, eventually},
    plane::{Options, Plane},
    process::Process,
};
use rustix::process::{Pid, Signal};

/// What is different about a job.
type Change<'a> = &'a dyn Fn(&mut Job);

#[tokio::test]
async fn what_watches_over_a_script_keeps_its_output_to_the_limit_and_writes_down_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut number = 0;
    let mut watched = |text: &str, change: Change<'_>| {
        number += 1;
        let place = Place::at(&folder.path().join(number.to_string()));
        let mut job = Job {
            command: ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
            environment: [("A".to_owned(), "1".to_owned())].into(),
            folder: "/usr".into(),
            user: None,
            output_limit: 1000,
            time_limit: None,
            survives: false,
            boot_id: String::new(),
        };
        change(&mut job);
        place.reserve().unwrap();
        place.order(&job).unwrap();
        let mut command = std::process::Command::new(binaries::path("muster-node-agent"));
        command.arg("supervise").arg(place.folder());
        (place, Process::start(command, &folder.path().join("log")))
    };
    let (place, mut process) = watched("pwd; echo $A >&2; exit 7", &|_| {});
    assert!(process.ended().await.success());
    let ended = place.ended().unwrap();
    assert_eq!((ended.exit_code, ended.signal, ended.not_started), (Some(7), None, None));
    let text = |stderr| std::fs::read_to_string(place.output(stderr)).unwrap();
    assert_eq!((text(false).as_str(), text(true).as_str()), ("/usr\n", "1\n"));

    let (place, mut process) = watched("head -c 5000000 /dev/zero; kill -9 $$", &|_| {});
    process.ended().await;
    let (ended, kept) = (place.ended().unwrap(), std::fs::metadata(place.output(false)).unwrap().len());
    assert_eq!((ended.signal, kept + ended.dropped[0]), (Some(9), 5_000_000));
    assert!((1000..100_000).contains(&kept), "{kept} bytes were kept");

    // What holds the pipe for ever is not waited for.
    let (place, mut process) = watched("setsid sleep 30 & echo $!", &|_| {});
    process.ended().await;
    assert_eq!(place.ended().unwrap().exit_code, Some(0));
    let sleeper: i32 = std::fs::read_to_string(place.output(false)).unwrap().trim().parse().unwrap();
    let _ = rustix::process::kill_process(Pid::from_raw(sleeper).unwrap(), Signal::KILL);

    let wrong: [(&str, Change<'_>); 2] = [
        ("/nowhere", &|job| job.folder = "/nowhere".into()),
        ("/no/program", &|job| job.command[0] = "/no/program".to_owned()),
    ];
    for (word, change) in wrong {
        let (place, mut process) = watched("echo no", change);
        process.ended().await;
        let ended = place.ended().unwrap();
        assert!(ended.not_started.as_ref().is_some_and(|why| why.contains(word)), "{ended:?}");
        assert_eq!(ended.exit_code, None);
    }

    // Asked to end, it waits for what the script makes of it.
    let text = "trap 'echo bye; exit 3' TERM; echo $$; while :; do sleep 0.05; done";
    let (place, mut process) = watched(text, &|_| {});
    let begun = || {
        let text = std::fs::read_to_string(place.output(false)).ok();
        std::future::ready(text.filter(|text| text.ends_with('\n')))
    };
    let script = eventually("it has begun", LONG, begun).await.trim().parse().unwrap();
    process.signal(Signal::TERM);
    rustix::process::kill_process(Pid::from_raw(script).unwrap(), Signal::TERM).unwrap();
    process.ended().await;
    assert_eq!(place.ended().unwrap().exit_code, Some(3));
}

fn script(text: &str) -> RunScript {
    RunScript { script: text.to_owned(), ..RunScript::default() }
}

#[tokio::test]
async fn where_there_is_no_systemd_what_needs_it_is_refused_and_the_rest_runs() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path(), &Options::default()).await;
    let operator = plane.operator().await;
    let mut agent = Agent::host(
        folder.path(),
        "host",
        "[commands.run-script]\nallow = true\nusers = [\"root\", \"nobody\"]\n",
    );
    agent.connect(&plane.join(1, &[]).await);
    agent.run();
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let outcome = async |script: RunScript| {
        let spec = types::CommandSpec { kind: Some(types::command_spec::Kind::RunScript(script)) };
        let operation = operator.start("*", spec).await;
        operator.ended(&operation, LONG).await.remove(&agent.node).unwrap()
    };
    let limits = Some(types::ScriptLimits { tasks: 5, ..Default::default() });
    for wish in [
        RunScript { limits, ..script("echo no") },
        RunScript { survive_restart: true, ..script("echo no") },
        RunScript { user: "nobody".to_owned(), ..script("echo no") },
    ] {
        let command = outcome(wish).await;
        assert_eq!(
            (command.state(), command.reason()),
            (CommandState::Failed, ErrorReason::UnavailableOnHost)
        );
        assert_eq!(command.stdout.as_ref(), b"");
    }
    let plain = RunScript {
        arguments: vec!["a b".to_owned()],
        working_directory: "/usr".to_owned(),
        user: "root".to_owned(),
        ..script("pwd; echo \"$1\"")
    };
    let command = outcome(plain).await;
    assert_eq!(
        ((command.state(), command.reason()), command.stdout.as_ref()),
        ((CommandState::Succeeded, ErrorReason::Unspecified), &b"/usr\na b\n"[..])
    );
}
