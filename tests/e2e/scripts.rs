//! Scripts on a host with systemd: as whom, with what limits, and how they end. Each is a
//! unit of its own there.

use muster_common::digest::Sha256;
use muster_proto::{
    admin::v1::{self as pb, Liveness, NodeCommand},
    types::v1::{self as types, CommandState, ErrorReason, RunScript},
};
use muster_tests::{
    binaries::repository,
    eventually::{LONG, eventually},
    host::Host,
    netns::Network,
    operator::Operator,
    plane::Plane,
};

/// A host in a fleet.
struct Lab {
    host: Host,
    operator: Operator,
    plane: Plane,
    _network: Network,
    folder: tempfile::TempDir,
}

/// Any script as the agent's user, or as these.
const RULES: &str = "[commands.run-script]\nallow = true\nusers = [\"root\", \"app\", \"ghost\"]\n";

impl Lab {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let network = Network::create();
        let plane = Plane::in_network(folder.path(), &network).await;
        let mut host = Host::boot(folder.path(), "host", &network).await;
        host.install_agent(RULES);
        host.run("useradd --create-home app && groupadd ops && usermod --append --groups ops app");
        host.connect(&plane.join(1, &[]).await);
        // Only now: a connection that asks nothing for a while is closed.
        let operator = plane.operator().await;
        operator.until_liveness(&host.node, Liveness::Online).await;
        Self { host, operator, plane, _network: network, folder }
    }

    async fn start(&self, script: RunScript, run_timeout: Option<i64>) -> String {
        let request = pb::StartOperationRequest {
            selector: "*".to_owned(),
            spec: Some(types::CommandSpec { kind: Some(types::command_spec::Kind::RunScript(script)) }),
            run_timeout: run_timeout.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
            ..Default::default()
        };
        let started = self.operator.operations.clone().start_operation(request).await.unwrap();
        started.into_inner().operation.unwrap().id
    }

    async fn end(&self, operation: &str) -> NodeCommand {
        self.operator.ended(operation, LONG).await.remove(&self.host.node).unwrap()
    }

    async fn outcome(&self, script: RunScript) -> NodeCommand {
        let operation = self.start(script, None).await;
        self.end(&operation).await
    }

    /// Waits until a running command has said this.
    async fn says(&self, operation: &str, text: &str) {
        eventually(&format!("it says {text:?}"), LONG, || async {
            let commands = self.operator.commands(operation).await;
            String::from_utf8_lossy(&commands[&self.host.node].stdout).contains(text).then_some(())
        })
        .await;
    }

    async fn cancel(&self, operation: &str) {
        let request = pb::CancelOperationRequest { id: operation.to_owned(), ..Default::default() };
        self.operator.operations.clone().cancel_operation(request).await.unwrap();
    }

    /// Processes and units of scripts, and what is kept of them, on the host.
    fn left(&self) -> String {
        self.host.sh("systemctl list-units --all --plain --no-legend 'muster-command-*'; \
             for p in /proc/[0-9]*; do grep -l muster-command $p/cgroup 2>/dev/null && cat $p/cmdline; done; \
             ls /run/muster-scripts /var/lib/muster/node-agent/nodes/*/scripts /var/lib/muster/executor/runs 2>/dev/null || true")
    }

    async fn until_nothing_is_left(&self) {
        eventually("nothing of the scripts is left", LONG, || {
            let left = self.left();
            let names = left.lines().filter(|line| !line.is_empty() && !line.ends_with(':'));
            std::future::ready((names.count() == 0).then_some(()))
        })
        .await;
    }
}

fn script(text: &str) -> RunScript {
    RunScript { script: text.to_owned(), ..RunScript::default() }
}

fn how(command: &NodeCommand) -> (CommandState, ErrorReason) {
    (command.state(), command.reason())
}

fn said(command: &NodeCommand) -> String {
    String::from_utf8_lossy(&command.stdout).into_owned()
}

const SUCCEEDED: (CommandState, ErrorReason) = (CommandState::Succeeded, ErrorReason::Unspecified);

#[tokio::test]
async fn a_script_runs_as_its_user_in_its_folder_with_its_arguments_if_the_lock_file_allows_it() {
    let lab = Lab::new().await;
    let text = "id -un; id -Gn; pwd; echo \"$HOME $USER $GREETING $MUSTER_COMMAND_ID\"; printf '%s|' \"$@\"; \
                head -c 1 \"$0\" >/dev/null && cat /dev/stdin | wc -c";
    let whole = RunScript {
        arguments: ["-x", "two words", ""].map(str::to_owned).to_vec(),
        working_directory: "/home/app".to_owned(),
        user: "app".to_owned(),
        environment: [("GREETING".to_owned(), "hello".to_owned())].into(),
        ..script(text)
    };
    let command = lab.outcome(whole).await;
    assert_eq!(how(&command), SUCCEEDED, "{}", String::from_utf8_lossy(&command.stderr));
    let id = &command.id;
    let expected = format!("app\napp ops\n/home/app\n/home/app app hello {id}\n-x|two words||0\n");
    assert_eq!(said(&command), expected);

    let plain = lab.outcome(script("id -un; pwd; env | cut -d= -f1 | sort | tr '\\n' ' '")).await;
    assert_eq!(said(&plain), "root\n/\nMUSTER_COMMAND_ID PATH PWD ");

    // No variable of an order has its say in a program with more rights than its user.
    lab.host.run("printf 'id -u >> /tmp/asked\\n' > /tmp/rc && chmod 666 /tmp/rc && touch /tmp/asked && chmod 666 /tmp/asked");
    let sly = RunScript {
        user: "app".to_owned(),
        interpreter: vec!["/bin/bash".to_owned()],
        environment: [("BASH_ENV", "/tmp/rc"), ("ENV", "/tmp/rc")]
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .into(),
        ..script("true")
    };
    assert_eq!(how(&lab.outcome(sly).await), SUCCEEDED);
    let uids = lab.host.read("/tmp/asked").unwrap();
    assert!(!uids.is_empty() && uids.lines().all(|uid| uid != "0"), "{uids}");

    let started = (CommandState::Failed, ErrorReason::StartFailed);
    for (folder, user) in [("/nowhere", ""), ("/root", "app")] {
        let bad =
            RunScript { working_directory: folder.to_owned(), user: user.to_owned(), ..script("echo no") };
        let command = lab.outcome(bad).await;
        assert_eq!((how(&command), said(&command).as_str()), (started, ""), "{folder}");
        assert!(command.message.contains(folder), "{}", command.message);
    }
    let no_interpreter = RunScript { interpreter: vec!["/nowhere/sh".to_owned()], ..script("echo no") };
    assert_eq!(how(&lab.outcome(no_interpreter).await), started);

    let ghost = lab.outcome(RunScript { user: "ghost".to_owned(), ..script("echo no") }).await;
    assert_eq!(how(&ghost), (CommandState::Failed, ErrorReason::UserUnknown));
    let nobody = lab.outcome(RunScript { user: "nobody".to_owned(), ..script("echo no") }).await;
    assert_eq!(how(&nobody), (CommandState::Denied, ErrorReason::LocalLock));
    assert!(nobody.message.contains("as user nobody"), "{}", nobody.message);
    let hash = Sha256::of(b"echo listed");
    lab.host.rules(&format!("[commands.run-script]\nallow = true\nsha256 = [\"{hash}\"]\n"));
    assert_eq!(said(&lab.outcome(script("echo listed")).await), "listed\n");
    let unlisted = lab.outcome(script("echo listed; id")).await;
    assert_eq!(how(&unlisted), (CommandState::Denied, ErrorReason::LocalLock));
    assert!(unlisted.message.contains(&Sha256::of(b"echo listed; id").to_string()));
    let interpreter = ["/bin/sh", "-c", "id"].map(str::to_owned).to_vec();
    let environment = [("ENV".to_owned(), "/root/other".to_owned())].into();
    for around in [
        RunScript { interpreter, ..script("echo listed") },
        RunScript { environment, ..script("echo listed") },
    ] {
        assert_eq!(how(&lab.outcome(around).await), (CommandState::Denied, ErrorReason::LocalLock));
    }
    lab.until_nothing_is_left().await;
}

#[tokio::test]
async fn a_script_gets_no_more_than_its_limits_and_nobody_else_pays_for_it() {
    let lab = Lab::new().await;
    let agent = lab.host.agent_pid();
    let limits = |memory_bytes, tasks, cpu_percent| types::ScriptLimits { memory_bytes, tasks, cpu_percent };
    let bystander = lab.start(script("echo here; while [ ! -e /root/gate ]; do sleep 0.1; done"), None).await;
    lab.says(&bystander, "here").await;

    let hog = RunScript {
        limits: Some(limits(32 << 20, 0, 0)),
        ..script("echo begun; tail /dev/zero; sleep 900; echo on")
    };
    let command = lab.outcome(hog).await;
    assert_eq!(how(&command), (CommandState::Failed, ErrorReason::OutOfMemory), "{}", command.message);
    assert_eq!(said(&command), "begun\n", "all of it was ended");
    let modest = RunScript {
        limits: Some(limits(32 << 20, 0, 0)),
        ..script("head -c 8M /dev/zero | tail -c 8M | wc -c")
    };
    assert_eq!(said(&lab.outcome(modest).await), "8388608\n");
    // Output is not memory: files hold it.
    let loud = RunScript { limits: Some(limits(16 << 20, 0, 0)), ..script("head -c 40M /dev/zero") };
    let loud = lab.outcome(loud).await;
    assert_eq!(how(&loud), SUCCEEDED, "{}", loud.message);
    let kept = loud.stdout.iter().filter(|byte| **byte == 0).count() as u64;
    assert_eq!(kept + loud.dropped_output_bytes, 40 << 20);

    let bomb = "bomb() { bomb | bomb & }; echo begun; bomb; while :; do sleep 0.1; done";
    let bomb = lab.start(RunScript { limits: Some(limits(0, 20, 0)), ..script(bomb) }, Some(3)).await;
    lab.says(&bomb, "begun").await;
    assert_eq!(said(&lab.outcome(script("echo meanwhile")).await), "meanwhile\n");
    let ended = lab.end(&bomb).await;
    assert!(ended.state() == CommandState::TimedOut || ended.state() == CommandState::Failed, "{ended:?}");

    let cpu = "cat /sys/fs/cgroup/cpu$(sed -n 's/^[0-9]*:cpu://p' /proc/self/cgroup)/cpu.cfs_quota_us; \
               systemctl show --property=CPUQuotaPerSecUSec muster-command-$MUSTER_COMMAND_ID";
    let cpu = lab.outcome(RunScript { limits: Some(limits(0, 0, 50)), ..script(cpu) }).await;
    assert_eq!(said(&cpu), "50000\nCPUQuotaPerSecUSec=500ms\n");

    lab.host.write("/root/gate", "");
    assert_eq!(how(&lab.end(&bystander).await), SUCCEEDED);
    assert_eq!(lab.host.agent_pid(), agent, "the agent went on");
    lab.until_nothing_is_left().await;
}

#[tokio::test]
async fn a_script_that_will_not_end_is_ended_with_all_that_it_started() {
    let lab = Lab::new().await;
    // It ignores the request, and what it started is in other groups and sessions.
    let stubborn = "trap '' TERM; setsid sh -c \"trap '' TERM; nohup sleep 900 & sleep 901\" & \
                    (sleep 902 &); echo begun; while :; do sleep 903; done";
    let late = lab.start(script(stubborn), Some(2)).await;
    let cancelled = lab.start(script(stubborn), None).await;
    lab.says(&cancelled, "begun").await;
    lab.cancel(&cancelled).await;
    let late = lab.end(&late).await;
    assert_eq!(how(&late), (CommandState::TimedOut, ErrorReason::FinishByPassed));
    assert_eq!(said(&late), "begun\n");
    let cancelled = lab.end(&cancelled).await;
    assert_eq!(how(&cancelled), (CommandState::Cancelled, ErrorReason::CancelledByOperator));
    let sleeps = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null; echo; done | grep -c '^sleep 90' || true";
    assert_eq!(lab.host.sh(sleeps), "0\n", "when it is told to be over, it is");
    // One that ends by itself and leaves something behind, and one that minds the request.
    let leaving = lab.outcome(script("setsid sleep 904 & echo done")).await;
    assert_eq!((how(&leaving), said(&leaving).as_str()), (SUCCEEDED, "done\n"));
    let polite = lab
        .start(script("trap 'echo goodbye; exit 0' TERM; echo begun; while :; do sleep 0.1; done"), None)
        .await;
    lab.says(&polite, "begun").await;
    lab.cancel(&polite).await;
    let polite = lab.end(&polite).await;
    assert_eq!((polite.state(), said(&polite).as_str()), (CommandState::Cancelled, "begun\ngoodbye\n"));
    assert_eq!(lab.host.sh(sleeps), "0\n");
    lab.until_nothing_is_left().await;
}

/// A block of the page on scripts, in this language.
fn from_the_page(language: &str) -> String {
    let page = std::fs::read_to_string(repository().join("docs/scripts.md")).unwrap();
    let block = page.split(&format!("```{language}\n")).nth(1).expect("the page has it");
    block.split("```").next().unwrap().to_owned()
}

#[tokio::test]
async fn what_the_page_on_scripts_shows_runs_under_the_rules_that_it_shows() {
    let lab = Lab::new().await;
    lab.host.rules(&from_the_page("toml"));
    let spec = lab.folder.path().join("script.json");
    std::fs::write(&spec, from_the_page("json")).unwrap();
    let certs = lab.folder.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    let operators = lab.plane.state().join("operators");
    for (from, to) in [("ca.crt", "ca.crt"), ("admin.crt", "operator.crt"), ("admin.key", "operator.key")] {
        std::fs::copy(operators.join(from), certs.join(to)).unwrap();
    }
    let mut start = std::process::Command::new(repository().join("deploy/grpcurl/run-script-spec.sh"));
    start.args(["*", spec.to_str().unwrap()]).env("GRPCURL", repository().join(".tools/bin/grpcurl"));
    start.env("MUSTER_ADDRESS", lab.plane.addresses().operators.to_string()).env("MUSTER_CERTS", certs);
    let started = start.output().unwrap();
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let started: serde_json::Value = serde_json::from_slice(&started.stdout).unwrap();
    let command = lab.end(started.pointer("/operation/id").unwrap().as_str().unwrap()).await;
    assert_eq!(how(&command), SUCCEEDED, "{}", command.message);
    assert_eq!(said(&command), "hello from app in /home/app\none\ntwo words\n");
}

/// Counts in its output, and once in a file, until it is let go.
const COUNTING: &str = "echo $MUSTER_COMMAND_ID >> /root/ran; i=0; \
    while [ ! -e /root/gate ]; do i=$((i+1)); echo $i; sleep 0.02; done; echo over >&2; exit 4";

/// That output is whole: nothing is missing, nothing is twice.
fn assert_counted(command: &NodeCommand) {
    let lines: Vec<u64> = said(command).lines().map(|line| line.parse().unwrap()).collect();
    assert!(!lines.is_empty() && lines.iter().copied().eq(1..=lines.len() as u64), "{lines:?}");
    assert_eq!((command.stderr.as_ref(), command.exit_code), (&b"over\n"[..], 4));
    assert_eq!(how(command), (CommandState::Failed, ErrorReason::ExitStatus));
}

#[tokio::test]
async fn a_script_that_is_to_survive_goes_on_while_the_agent_restarts_or_dies_and_is_told_once() {
    let mut lab = Lab::new().await;
    let survivor = lab.start(RunScript { survive_restart: true, ..script(COUNTING) }, None).await;
    let other = lab.start(script("echo begun; sleep 905"), None).await;
    lab.says(&survivor, "5\n").await;
    lab.says(&other, "begun").await;
    lab.host.run("systemctl restart muster-node-agent");
    let other = lab.end(&other).await;
    assert_eq!(how(&other), (CommandState::Interrupted, ErrorReason::AgentStopped));
    for round in 1..=3 {
        let before = lab.host.agent_pid();
        lab.host.run("systemctl kill --signal=KILL --kill-whom=main muster-node-agent");
        eventually("another agent runs", LONG, || {
            let now = lab.host.agent_pid();
            std::future::ready((now != 0 && now != before).then_some(()))
        })
        .await;
        let count = said(&lab.operator.commands(&survivor).await[&lab.host.node]).lines().count();
        lab.says(&survivor, &format!("\n{}\n", count + 20 * round)).await;
    }
    lab.host.write("/root/gate", "");
    let command = lab.end(&survivor).await;
    assert_counted(&command);
    assert_eq!(lab.host.read("/root/ran").unwrap().lines().count(), 1);
    lab.until_nothing_is_left().await;

    // What ends while there is no agent is told by the next one.
    lab.host.run("rm /root/gate");
    let survivor = lab.start(RunScript { survive_restart: true, ..script(COUNTING) }, None).await;
    lab.says(&survivor, "5\n").await;
    lab.host.run("systemctl stop muster-node-agent; touch /root/gate");
    eventually("the script has ended", LONG, || {
        let ended = lab.host.sh("ls /var/lib/muster/executor/runs/*/ended 2>/dev/null || true");
        std::future::ready((!ended.is_empty()).then_some(()))
    })
    .await;
    lab.host.run("systemctl start muster-node-agent");
    assert_counted(&lab.end(&survivor).await);

    // A loss of power is survived by nothing.
    lab.host.run("rm /root/gate");
    let survivor = lab.start(RunScript { survive_restart: true, ..script(COUNTING) }, None).await;
    lab.says(&survivor, "5\n").await;
    lab.host.power_cut().await;
    let command = lab.end(&survivor).await;
    assert_eq!(how(&command), (CommandState::Interrupted, ErrorReason::AgentStopped));
    assert_eq!(lab.host.read("/root/ran").unwrap().lines().count(), 3, "and nothing ran again");
    lab.until_nothing_is_left().await;
}

#[tokio::test]
async fn an_agent_that_dies_at_any_step_of_a_script_runs_it_once_at_most_and_tells_its_end() {
    let lab = Lab::new().await;
    lab.host.write("/root/gate", "");
    let interrupted = (CommandState::Interrupted, ErrorReason::AgentStopped);
    let ended = (CommandState::Failed, ErrorReason::ExitStatus);
    let text = "echo x >> /root/$MUSTER_COMMAND_ID; echo said; exit 4";
    for (point, expected, runs) in [
        ("agent.command.started", interrupted, 0),
        ("agent.script.ordered", interrupted, 0),
        ("agent.script.launched", ended, 1),
        ("agent.script.ended", ended, 1),
        ("agent.ledger.ended", ended, 1),
    ] {
        lab.host.environment(&[("MUSTER_CRASH_AT", point)]);
        lab.host.run("systemctl restart muster-node-agent");
        lab.host.environment(&[]); // for the process after it
        let (before, dead) = (lab.host.agent_pid(), lab.host.agent_log().matches("status=9/KILL").count());
        let command = lab.outcome(RunScript { survive_restart: true, ..script(text) }).await;
        assert_eq!(how(&command), expected, "{point}: {}", command.message);
        let ran = lab.host.read(&format!("/root/{}", command.id)).unwrap_or_default();
        assert_eq!(ran.lines().count(), runs, "{point}");
        assert_eq!(said(&command), "said\n".repeat(runs), "{point}");
        assert_ne!(lab.host.agent_pid(), before, "{point}: the agent died there ({dead})");
    }
    // It dies after it has asked a script to end: the next one knows why that ended.
    lab.host.environment(&[("MUSTER_CRASH_AT", "agent.script.asked")]);
    lab.host.run("systemctl restart muster-node-agent");
    lab.host.environment(&[]);
    let operation =
        lab.start(RunScript { survive_restart: true, ..script("echo begun; sleep 906") }, Some(2)).await;
    let command = lab.end(&operation).await;
    assert_eq!(how(&command), (CommandState::TimedOut, ErrorReason::FinishByPassed));
    lab.until_nothing_is_left().await;
}
