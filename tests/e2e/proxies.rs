//! Hosts that reach their control plane through real proxies, and by no other way.

use std::{fs, path::Path, process::Output};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use muster_common::reason::Reason;
use muster_proto::{
    admin::v1::{self as pb, Liveness},
    types::v1::{self as types, CommandState, FileBlob, command_spec::Kind},
};
use muster_tests::{
    agent::{Agent, OPEN},
    blobs::{bytes, sha256},
    eventually::{LONG, eventually},
    host::Host,
    netns::{Namespace, Network},
    operator::{Operator, file, reason, script},
    plane::{Options, Plane},
    proxy::{HARD, HARD_ESCAPED, Proxy, SIMPLE, USER},
};

use crate::kinds::{download, run, spec, unpacked};

/// Of files that are fetched apart from the session.
const SIZE: usize = 200_000;

async fn plane(folder: &Path, network: &Network) -> (Plane, Operator) {
    let options = Options { listen: network.gateway().into(), log: "debug".to_owned(), ..Options::default() };
    let plane = Plane::start(folder, &options).await;
    let operator = plane.operator().await;
    (plane, operator)
}

/// A host whose network has no way to the control plane.
fn shut_in(folder: &Path, namespace: &Namespace, network: &Network) -> Agent {
    namespace.close(network.gateway());
    let agent = Agent::host(folder, "host", OPEN).within(namespace);
    agent.configure("log-format = \"json\"\n");
    agent
}

fn said(done: &Output) -> (Option<i32>, String) {
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

fn show(agent: &Agent, property: &str) -> String {
    String::from_utf8_lossy(&agent.cli(&["show", property]).stdout).trim().to_owned()
}

async fn until_shown(agent: &Agent, property: &str, part: &str) {
    eventually(&format!("{property} has {part:?}"), LONG, || {
        std::future::ready(show(agent, property).contains(part).then_some(()))
    })
    .await;
}

/// Nothing that anybody can read has a password in it, in whatever form.
fn has_no_password(what: &str, text: &str) {
    let pairs =
        [HARD, SIMPLE, "wrong-hunter2"].map(|password| BASE64_STANDARD.encode(format!("{USER}:{password}")));
    for secret in ["hunter2".to_owned()].iter().chain(&pairs) {
        assert!(!text.contains(secret.as_str()), "{what} has {secret}");
    }
}

/// A new file of a bundle comes to the host.
async fn fetches(operator: &Operator, agent: &Agent, seed: u8) {
    let (content, path) = (bytes(SIZE, seed), agent.file(&format!("big-{seed}")));
    operator.upload(&content).await;
    let blob = FileBlob { sha256: sha256(&content).into(), size_bytes: content.len() as u64 };
    let file = types::BundleFile { blob: Some(blob), ..file(&path, "") };
    let name = format!("app-{seed}");
    operator.bundle(&name, types::BundleContent { files: vec![file], ..Default::default() }).await;
    operator.assign(&name, "*", &name).await;
    eventually("the file is there", LONG, || {
        std::future::ready(fs::read(&path).is_ok_and(|found| found == content).then_some(()))
    })
    .await;
}

#[tokio::test]
async fn a_host_lives_its_whole_life_through_a_proxy_that_asks_and_its_password_is_nowhere() {
    let (folder, network) = (tempfile::tempdir().unwrap(), Network::create());
    let (plane, operator) = plane(folder.path(), &network).await;
    let (outside, inside) = (network.join(), network.join());
    let squid = Proxy::squid(folder.path(), &outside).await;
    let mut agent = shut_in(folder.path(), &inside, &network);
    let join = plane.join(1, &[]).await;

    let (code, error) = said(&agent.try_connect(&join));
    assert_eq!(code, Some(17), "there is no way past the proxy: {error}");
    for (login, code, part) in [
        ("", 32, "wants a user name and a password (407)"),
        ("u:wrong-hunter2@", 32, "does not accept this user name and password (407)"),
        ("u:hunter2%zz@", 10, "two hexadecimal digits"),
    ] {
        agent.settings(&format!("proxy.url = {:?}\n", squid.url(login)));
        let (found, error) = said(&agent.try_connect(&join));
        assert!(found == Some(code) && error.contains(part), "{login}: {found:?} {error}");
        has_no_password("connect", &error);
    }
    agent.settings("");
    let given = agent.cli(&["connect", &join.to_string(), "--proxy", &squid.url("u:wrong-hunter2@")]);
    let (code, error) = said(&given);
    assert!(code == Some(32) && error.contains("does not accept"), "{code:?} {error}");
    let login = format!("{USER}:{HARD_ESCAPED}@");
    agent.settings(&format!("proxy.url = {:?}\n", squid.url(&login)));
    agent.connect(&join);
    agent.run();
    operator.until_liveness(&agent.node, Liveness::Online).await;
    let node = operator.until("its facts are told", &agent.node, |node| node.facts.is_some()).await;
    let told = format!("{} (setting, configuration file)", squid.url("u:***@"));
    for service in ["session", "enrollment", "artifacts"] {
        assert_eq!(show(&agent, &format!("proxy.{service}")), told);
    }
    let settings = &node.facts.as_ref().expect("its facts").settings;
    let url = settings.iter().find(|it| it.key == "proxy.url").expect("the option");
    assert_eq!(
        (url.value.as_str(), url.origin()),
        (&*squid.url("u:***@"), types::SettingOrigin::Configuration)
    );

    fetches(&operator, &agent, 1).await;
    let done = run(&operator, &agent.node, spec(Kind::RotateIdentity(types::RotateIdentity {}))).await;
    assert_eq!(done.state(), CommandState::Succeeded, "{}", done.message);
    let logs = run(&operator, &agent.node, spec(Kind::CollectLogs(types::CollectLogs::default()))).await;
    assert_eq!(logs.state(), CommandState::Succeeded, "{}", logs.message);
    for (name, text) in unpacked(&download(&operator, &logs.id, 0).await.unwrap()) {
        has_no_password(&name, &text);
    }
    for args in [&["show", "--json"][..], &["show"], &["proxy", "show", "--json"], &["explain", "--json"]] {
        let done = agent.cli(args);
        has_no_password(
            &args.join(" "),
            &format!("{}{:?}", String::from_utf8_lossy(&done.stdout), said(&done)),
        );
    }
    has_no_password("the node", &format!("{:?}", operator.node(&agent.node).await));
    let left = agent.cli(&["disconnect"]);
    assert!(left.status.success(), "{:?}", said(&left));
    agent.process().stop().await;
    // It writes a way down when that has ended: to enroll, the session, files, the certificate.
    eventually("squid has seen it all", LONG, || std::future::ready((squid.asked() >= 4).then_some(())))
        .await;
    has_no_password("the agent's log", &agent.log());
    has_no_password("the control plane's log", &fs::read_to_string(folder.path().join("plane/log")).unwrap());
    has_no_password("contact.json", &fs::read_to_string(agent.state().join("contact.json")).unwrap());

    // The way of a host is not the control plane's to say.
    let values = [("proxy.url".to_owned(), "http://p:1".to_owned())].into();
    let profile = Some(pb::SettingsProfile { name: "way".to_owned(), values, ..Default::default() });
    let put = pb::PutSettingsProfileRequest { profile, ..Default::default() };
    let refused = operator.settings.clone().put_settings_profile(put).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::SettingHostOnly), "{refused:?}");
}

#[tokio::test]
async fn a_running_agent_takes_another_way_at_once_and_loses_nothing() {
    let (folder, network) = (tempfile::tempdir().unwrap(), Network::create());
    let (plane, operator) = plane(folder.path(), &network).await;
    let (outside, other, inside) = (network.join(), network.join(), network.join());
    let ports = [plane.addresses().agents.port(), plane.addresses().enrollment.port()];
    let first = Proxy::tinyproxy(folder.path(), &outside, &ports, false).await;
    let mut second = Proxy::tinyproxy(folder.path(), &other, &ports, true).await;
    let mut agent = shut_in(folder.path(), &inside, &network);
    let variables = [("HTTPS_PROXY", first.url("")), ("NO_PROXY", "other.example".to_owned())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let join = plane.join(1, &[]).await.to_string();
    let done = agent.cli_with(&variables, &["connect", &join]);
    assert!(done.status.success(), "{:?}", said(&done));
    agent.node = String::from_utf8(done.stdout).unwrap().trim().to_owned();
    agent.run_with(&variables);
    let process = agent.process().id();
    let session = async |not: &str| {
        let other = |node: &pb::Node| {
            let now = node.connection.as_ref().filter(|it| it.liveness() == Liveness::Online);
            now.is_some_and(|it| !it.session_id.is_empty() && it.session_id != not)
        };
        let node = operator.until("another session is open", &agent.node, other).await;
        node.connection.unwrap().session_id
    };
    let at_first = session("").await;
    until_shown(&agent, "proxy.session", "(HTTPS_PROXY, environment)").await;

    // On, while a script runs: the option wins over the environment.
    let slow = operator.start("*", script("sleep 4; echo done")).await;
    eventually("the script runs", LONG, || async {
        let state = operator.commands(&slow).await.remove(&agent.node)?.state();
        (state == CommandState::Running).then_some(())
    })
    .await;
    let right = format!("proxy.url = {:?}\n", second.url(&format!("{USER}:{SIMPLE}@")));
    let before = first.asked();
    agent.settings(&right);
    until_shown(&agent, "proxy.session", "(setting, configuration file)").await;
    let by_second = session(&at_first).await;
    let ended = operator.ended(&slow, LONG).await.remove(&agent.node).unwrap();
    assert_eq!(ended.state(), CommandState::Succeeded, "{}", ended.message);
    fetches(&operator, &agent, 1).await;
    assert!(first.asked() == before && second.asked() >= 2, "all goes through the second");

    // A file that cannot be used changes nothing.
    agent.settings("proxy.url = \"https://u:hunter2@p\"\n");
    eventually("the agent says so", LONG, || {
        std::future::ready(agent.log().contains("the options stay as they are").then_some(()))
    })
    .await;
    assert!(show(&agent, "configuration-error").contains("must begin with http://"));
    assert_eq!(session("").await, by_second);

    // A wrong password, and the right one again.
    agent.settings(&format!("proxy.url = {:?}\n", second.url("u:wrong-hunter2@")));
    // tinyproxy says 401 where others say 407.
    until_shown(&agent, "session-error", "does not accept this user name and password (401)").await;
    agent.settings(&right);
    let again = session(&by_second).await;

    // The proxy dies and comes back.
    second.kill();
    until_shown(&agent, "session-error", "cannot reach the proxy").await;
    second.start().await;
    let back = session(&again).await;

    // Off for one service, once there is a way without; then for a network; then at all.
    inside.open(network.gateway());
    agent.settings(&format!("{right}proxy.bypass = \"Session\"\n"));
    until_shown(&agent, "proxy.session", "none (proxy.bypass has Session)").await;
    let direct = session(&back).await;
    let before = second.asked();
    fetches(&operator, &agent, 2).await;
    assert!(second.asked() > before, "files still go through it");
    let network_of = format!("{}/24", network.gateway());
    agent.settings(&format!("{right}proxy.bypass = {network_of:?}\n"));
    until_shown(&agent, "proxy.artifacts", &format!("none (proxy.bypass has {network_of})")).await;
    let before = second.asked();
    fetches(&operator, &agent, 3).await;
    assert_eq!(second.asked(), before);
    assert_eq!(session("").await, direct, "its own way is the same, for another reason");
    agent.settings(&format!("proxy.bypass = {:?}\n", network.gateway().to_string()));
    until_shown(&agent, "proxy.enrollment", "none (proxy.bypass has").await;
    assert_eq!(agent.process().id(), process, "it was never restarted");
    has_no_password("the agent's log", &agent.log());
}

#[tokio::test]
async fn a_proxy_that_lets_nobody_through_is_told_from_one_that_is_not_there() {
    let (folder, network) = (tempfile::tempdir().unwrap(), Network::create());
    let (plane, _operator) = plane(folder.path(), &network).await;
    let (outside, inside) = (network.join(), network.join());
    let mut closed = Proxy::tinyproxy(folder.path(), &outside, &[1], false).await;
    let agent = shut_in(folder.path(), &inside, &network);
    agent.settings(&format!("proxy.url = {:?}\n", closed.url("")));
    let join = plane.join(1, &[]).await;
    let (code, error) = said(&agent.try_connect(&join));
    assert!(code == Some(31) && error.contains("refuses") && error.contains("403"), "{code:?} {error}");
    closed.kill();
    let (code, error) = said(&agent.try_connect(&join));
    assert!(code == Some(30) && error.contains("cannot reach the proxy"), "{code:?} {error}");
    let wrong = agent.cli_with(&[("HTTPS_PROXY", "socks5://u:hunter2@p")], &["show", "proxy.session"]);
    assert!(String::from_utf8_lossy(&wrong.stdout).contains("setting, configuration file"));
    agent.settings("");
    let done = agent.cli_with(&[("HTTPS_PROXY", "socks5://u:hunter2@p")], &["connect", &join.to_string()]);
    let (code, error) = said(&done);
    assert!(code == Some(33) && error.contains("is named by HTTPS_PROXY"), "{code:?} {error}");
    has_no_password("connect", &error);
}

/// The lines of the drill, as the document has them.
fn drill() -> Vec<String> {
    let page = include_str!("../../docs/proxy.md");
    let part = page.split("## From HTTPS_PROXY to proxy.url\n").nth(1).expect("the drill");
    let part = part.split("\n## ").next().unwrap_or_default();
    let blocks = part.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_service_moves_from_its_environment_to_the_option_by_the_drill_of_the_document() {
    let (folder, network) = (tempfile::tempdir().unwrap(), Network::create());
    let (plane, operator) = plane(folder.path(), &network).await;
    let outside = network.join();
    let ports = [plane.addresses().agents.port(), plane.addresses().enrollment.port()];
    let proxy = Proxy::tinyproxy(folder.path(), &outside, &ports, true).await;
    let mut host = Host::boot(folder.path(), "host", &network).await;
    host.namespace().close(network.gateway());
    host.install_agent("");
    let url = proxy.url(&format!("{USER}:{SIMPLE}@"));
    let agent = "/usr/bin/muster-node-agent";

    let refused = host.exec(&["setpriv", "--reuid=65534", "--clear-groups", agent, "proxy", "add", &url]);
    assert_eq!(refused.status.code(), Some(34), "{}", String::from_utf8_lossy(&refused.stderr));
    for wrong in
        [&["proxy", "add", "https://u:hunter2@p"][..], &["proxy", "add", &url, "--bypass", "Session"]]
    {
        let done = host.exec(&[&[agent], wrong].concat());
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(33), "{error}");
        has_no_password("proxy add", &error);
    }
    // `connect` finds the proxy of the service, too.
    host.run(&format!("echo '{url}' | {agent} proxy add - --bypass 10.0.0.0/8,intern.example"));
    host.connect(&plane.join(1, &[]).await);
    operator.until_liveness(&host.node, Liveness::Online).await;
    let everybody = host.sh("setpriv --reuid=65534 --clear-groups systemctl show muster-node-agent; \
                             setpriv --reuid=65534 --clear-groups cat /etc/systemd/system/muster-node-agent.service.d/* 2>&1 || true");
    has_no_password("what every user can ask systemd", &everybody);

    let steps = drill();
    assert!(steps.len() >= 5, "{steps:?}");
    for line in steps {
        let line = line.replace("http://USER:PASSWORD@proxy.example:3128", &url);
        host.run(&line);
    }
    operator.until_liveness(&host.node, Liveness::Online).await;
    let shown = host.sh(&format!("{agent} proxy show"));
    assert!(shown.contains("(setting, configuration file)") && !shown.contains("HTTPS_PROXY"), "{shown}");
    let pid = host.agent_pid();
    let environment = fs::read(host.path(&format!("/proc/{pid}/environ"))).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("PROXY"), "nothing is left of it");
    has_no_password("proxy show", &shown);
    // The file that `config set` makes is one that the agent can read, too.
    host.run(&format!(
        "rm /etc/muster/node-agent.toml && {agent} config set 'proxy.url={url}' && systemctl restart muster-node-agent"
    ));
    host.run(&format!(
        "timeout 30 sh -c 'until [ \"$({agent} show session)\" = connected ]; do sleep 1; done'"
    ));
    has_no_password(
        "the journal",
        &host.sh("journalctl --no-pager --output export --unit muster-node-agent"),
    );
}
