//! Commands that need a host of their own: units of systemd, journals, boots.

use muster_proto::{
    admin::v1::Liveness,
    types::v1::{
        self as types, CommandState, ErrorReason, ServiceAction, command_result, command_spec::Kind,
    },
};
use muster_tests::{host::Host, netns::Network, operator::Operator, plane::Plane};

use crate::kinds::{download, result, run, spec, unpacked};

const RULES: &str = "[commands]\nallow = [\"reboot\"]\n\
                     services = [\"app.service\", \"broken.service\", \"none.service\", \"muster-*\"]\n\
                     journals = [\"app.service\"]\n";

async fn host(folder: &std::path::Path, network: &Network) -> (Plane, Operator, Host) {
    let plane = Plane::in_network(folder, network).await;
    let operator = plane.operator().await;
    let mut host = Host::boot(folder, "host", network).await;
    host.install_agent(RULES);
    host.connect(&plane.join(1, &[]).await);
    operator.until_liveness(&host.node, Liveness::Online).await;
    (plane, operator, host)
}

async fn act(
    operator: &Operator,
    host: &Host,
    action: ServiceAction,
    unit: &str,
) -> (CommandState, ErrorReason, types::ServiceResult) {
    let service = types::Service { action: action.into(), unit: unit.to_owned() };
    let command = run(operator, &host.node, spec(Kind::Service(service))).await;
    let found = match result(&command) {
        Some(command_result::Kind::Service(found)) => found,
        _ => types::ServiceResult::default(),
    };
    (command.state(), command.reason(), found)
}

#[tokio::test]
async fn units_are_started_stopped_and_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::create();
    let (_plane, operator, host) = host(folder.path(), &network).await;
    host.write("/etc/systemd/system/app.service", "[Service]\nExecStart=sleep infinity\n");
    host.write("/etc/systemd/system/broken.service", "[Service]\nType=oneshot\nExecStart=sh -c 'exit 5'\n");
    host.run("systemctl daemon-reload");
    use ServiceAction::{Restart, Start, Status, Stop};
    let said = |unit: &types::ServiceResult| (unit.active_state.clone(), unit.sub_state.clone());
    let is = |active: &str, sub: &str| (active.to_owned(), sub.to_owned());

    let (state, _, unit) = act(&operator, &host, Start, "app.service").await;
    assert_eq!((state, said(&unit)), (CommandState::Succeeded, is("active", "running")));
    let pid = host.sh("systemctl show --property MainPID --value app.service");
    assert_eq!(unit.main_pid.to_string(), pid.trim());
    let now_ms: i64 = host.sh("date +%s%3N").trim().parse().unwrap();
    assert!((0..60_000).contains(&(now_ms - unit.since_ms)), "{} {now_ms}", unit.since_ms);
    let (state, _, again) = act(&operator, &host, Restart, "app.service").await;
    assert!(state == CommandState::Succeeded && again.main_pid != unit.main_pid && again.main_pid != 0);
    let (state, _, unit) = act(&operator, &host, Status, "app.service").await;
    assert_eq!((state, unit.main_pid), (CommandState::Succeeded, again.main_pid));
    let (state, _, unit) = act(&operator, &host, Stop, "app.service").await;
    assert_eq!((state, said(&unit)), (CommandState::Succeeded, is("inactive", "dead")));

    let (state, reason, unit) = act(&operator, &host, Start, "broken.service").await;
    assert_eq!((state, reason), (CommandState::Failed, ErrorReason::ExitStatus));
    assert_eq!(
        (said(&unit), unit.exit_status, unit.unit_result.as_str()),
        (is("failed", "failed"), 5, "exit-code")
    );
    let (state, _, unit) = act(&operator, &host, Status, "broken.service").await;
    assert_eq!(
        (state, unit.exit_status),
        (CommandState::Succeeded, 5),
        "to be looked at it need not be well"
    );
    let (state, reason, _) = act(&operator, &host, Start, "none.service").await;
    assert_eq!((state, reason), (CommandState::Failed, ErrorReason::UnitNotFound));

    // The agent itself, also by another name; a unit that is not named.
    let own = "muster-node-agent.service";
    host.run(&format!("ln -s /usr/lib/systemd/system/{own} /etc/systemd/system/muster-alias.service"));
    host.run("systemctl daemon-reload");
    let pid = host.agent_pid();
    for unit in [own, "muster-alias.service"] {
        let (state, reason, _) = act(&operator, &host, Stop, unit).await;
        assert_eq!((state, reason), (CommandState::Failed, ErrorReason::UnitNotAllowed), "{unit}");
    }
    let (state, _, unit) = act(&operator, &host, Status, own).await;
    assert_eq!((state, unit.main_pid, host.agent_pid()), (CommandState::Succeeded, pid, pid));
    let (state, reason, _) = act(&operator, &host, Stop, "systemd-journald.service").await;
    assert_eq!((state, reason), (CommandState::Denied, ErrorReason::LocalLock));
}

#[tokio::test]
async fn a_unit_that_does_not_come_up_in_time_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::create();
    let (_plane, operator, host) = host(folder.path(), &network).await;
    host.write("/etc/systemd/system/app.service", "[Service]\nType=oneshot\nExecStart=sleep infinity\n");
    host.run("systemctl daemon-reload");
    let service = types::Service { action: ServiceAction::Start.into(), unit: "app.service".to_owned() };
    let request = muster_proto::admin::v1::StartOperationRequest {
        selector: "*".to_owned(),
        spec: Some(spec(Kind::Service(service))),
        run_timeout: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
        ..Default::default()
    };
    let started = operator.operations.clone().start_operation(request).await.unwrap().into_inner();
    let id = started.operation.unwrap().id;
    let ended = operator.ended(&id, muster_tests::eventually::LONG).await;
    assert_eq!(ended[&host.node].state(), CommandState::TimedOut);
    assert_eq!(host.sh("systemctl list-jobs --no-legend").trim(), "", "systemd works on it no more");
}

#[tokio::test]
async fn a_host_boots_once_and_its_new_boot_is_the_proof() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::create();
    let (_plane, operator, host) = host(folder.path(), &network).await;
    let before = host.boot_id();
    let reboot = types::Reboot { delay_s: 1, message: "a new kernel".to_owned() };
    let command = run(&operator, &host.node, spec(Kind::Reboot(reboot))).await;
    assert_eq!(command.state(), CommandState::Succeeded, "{}", command.message);
    host.until_up(&before).await;
    let now = host.boot_id();
    let told = types::RebootResult { old_boot_id: before, new_boot_id: now.clone() };
    assert_eq!(result(&command), Some(command_result::Kind::Reboot(told)));
    // What comes after it runs in the same boot: the order was not carried out again.
    let (state, _, _) = act(&operator, &host, ServiceAction::Status, "muster-node-agent.service").await;
    assert_eq!((state, host.boot_id()), (CommandState::Succeeded, now));
}

#[tokio::test]
async fn journals_of_named_units_are_collected_without_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::create();
    let (_plane, operator, host) = host(folder.path(), &network).await;
    let say = "ExecStart=sh -c 'echo it works; echo DB_PASSWORD=hunter2; echo GET https://u:hunter2@db/x'";
    host.write("/etc/systemd/system/app.service", &format!("[Service]\nType=oneshot\n{say}\n"));
    host.run("systemctl daemon-reload && systemctl start app.service && journalctl --sync");
    let args = types::CollectLogs { units: vec!["app.service".to_owned()], ..Default::default() };
    let command = run(&operator, &host.node, spec(Kind::CollectLogs(args))).await;
    assert_eq!(command.state(), CommandState::Succeeded, "{}", command.message);
    let files = unpacked(&download(&operator, &command.id, 0).await.unwrap());
    let of =
        |name: &str| files.iter().find(|(other, _)| other == name).map(|(_, text)| text.as_str()).unwrap();
    let app = of("journal/app.service.log");
    assert!(app.contains("it works") && app.contains("DB_PASSWORD=[redacted]"), "{app}");
    assert!(app.contains("https://[redacted]@db/x"), "{app}");
    assert!(of("journal/muster-node-agent.service.log").contains(&host.node));
    assert!(!files.iter().any(|(_, text)| text.contains("hunter2")));
}
