//! What must hold when all is over: everything acknowledged is there, nothing ran
//! twice, and every host runs what was last said.

use std::path::Path;

use muster_proto::{
    admin::v1::{self as pb, NodeCommand},
    types::v1::CommandState,
};
use muster_tests::{
    agent::Agent,
    eventually::{LONG, eventually},
    operator::{Operator, reported},
};

use crate::{
    kill9::Lab,
    load::{Acknowledged, bundle_of},
    tree,
};

/// What was looked at.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) renames: usize,
    pub(crate) commands: usize,
    pub(crate) interrupted: usize,
}

/// Compares all that was acknowledged with what is there.
pub(crate) async fn check(lab: &Lab, acknowledged: &Acknowledged) -> Checked {
    let operator = lab.plane.operator().await;
    let mut checked = Checked::default();
    for (node, names) in &acknowledged.names {
        let found = operator.node(node).await.expect("the node is there").display_name;
        assert_eq!(Some(&found), names.last(), "the last acknowledged name of {node}");
        assert_eq!(renames(&operator, node).await, *names, "the audit has every acknowledged rename once");
        checked.renames += names.len();
    }
    for ((name, version), bundle) in &acknowledged.bundles {
        let found = eventually("an acknowledged bundle is there", LONG, || async {
            let request = pb::GetBundleRequest { name: name.clone(), version: *version };
            operator.bundles.clone().get_bundle(request).await.ok()?.into_inner().bundle
        });
        assert_eq!(found.await.sha256.as_ref(), bundle.sha256.as_slice(), "{name} {version}");
    }
    for operation in &acknowledged.operations {
        for (_, command) in operator.ended(operation, LONG * 2).await {
            checked.commands += 1;
            checked.interrupted += usize::from(command.state() == CommandState::Interrupted);
            check_command(&command, &lab.ran());
        }
    }
    for agent in &lab.agents {
        converged(&operator, agent, acknowledged).await;
    }
    enrolled_once(&operator, lab).await;
    assert!(lab.plane.cli(&["audit", "verify"]).contains("every entry fits"), "the audit's chain holds");
    checked
}

/// Names that a node was given by the load, as the audit has them, the first first.
async fn renames(operator: &Operator, node: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListAuditEntriesRequest {
            page_size: 1000,
            page_token,
            subject: format!("node/{node}"),
            ..Default::default()
        };
        let page = operator.audit.clone().list_audit_entries(request).await.unwrap().into_inner();
        for entry in page.entries.iter().filter(|entry| entry.action == "nodes.update" && !entry.denied) {
            let after: serde_json::Value = serde_json::from_str(&entry.after).unwrap();
            let name = after["display_name"].as_str().expect("it says the name");
            names.extend(name.starts_with("name-").then(|| name.to_owned()));
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            names.reverse();
            return names;
        }
    }
}

/// The host has, byte for byte, what the last acknowledged assignment names.
async fn converged(operator: &Operator, agent: &Agent, acknowledged: &Acknowledged) {
    let name = bundle_of(&agent.node);
    let version = acknowledged.assignments.get(&name).expect("an assignment was acknowledged");
    let request = pb::GetAssignmentRequest { name: name.clone() };
    let found = operator.assignments.clone().get_assignment(request).await.unwrap().into_inner().assignment;
    let target = pb::BundleTarget { name: name.clone(), version: *version };
    assert_eq!(
        found.unwrap().target,
        Some(pb::assignment::Target::Bundle(target)),
        "the last acknowledged assignment"
    );
    let bundle = &acknowledged.bundles[&(name.clone(), *version)];
    let item = format!("bundle/{name}");
    let runs = |node: &pb::Node| {
        let in_sync = node.items.iter().any(|found| found.item == item && found.in_sync);
        let running = reported(node, &item).and_then(|state| state.running.as_ref());
        in_sync && running.is_some_and(|running| running.sha256.as_ref() == bundle.sha256)
    };
    operator.until("the host runs what was last assigned", &agent.node, runs).await;
    // What lay beside the files is cleared away after it was told that they are in place.
    eventually("every path is as this version says, and nothing else is there", LONG, || {
        std::future::ready((tree::look(&agent.files()) == Some(tree::expected(bundle.n))).then_some(()))
    })
    .await;
}

/// Each host is one node, also when the answer to its enrollment was lost.
async fn enrolled_once(operator: &Operator, lab: &Lab) {
    let mut expected: Vec<&str> =
        lab.agents.iter().chain(&lab.enrolled).map(|agent| agent.node.as_str()).collect();
    expected.sort_unstable();
    let mut found = operator.select("").await;
    found.sort_unstable();
    assert_eq!(found, expected, "one node for each host");
}

fn check_command(command: &NodeCommand, ran: &Path) {
    let times = std::fs::read_to_string(ran.join(&command.id)).unwrap_or_default().lines().count();
    assert!(times <= 1, "command {} ran {times} times", command.id);
    match command.state() {
        CommandState::Succeeded => {
            assert_eq!(times, 1, "command {} succeeded", command.id);
            assert_eq!(command.stdout.as_ref(), b"begun\ndone\n", "the output of {} is whole", command.id);
        }
        CommandState::Interrupted => {}
        other => panic!("command {} is {other:?}: {}", command.id, command.message),
    }
}
