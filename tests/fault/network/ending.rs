//! When there is no trouble any more: waits until all is well, then asks everybody what
//! happened.

use super::{
    hosts,
    lab::{Home, Lab},
    orders::{REQUEST, told},
    values,
    writers::{Parties, Writers},
};
use muster_common::clock::{Clock, UnixMillis};
use muster_proto::admin::v1::{self as pb, Liveness};
use muster_tests::{
    eventually::{LONG, eventually},
    history::{Entry, What, check::i10_elsewhere},
    operator::Operator,
};

/// Waits until every node is heard again; then each real host runs what it should.
pub(crate) async fn settle(lab: &Lab, writers: &Writers) {
    let healed = Clock::System.now();
    let mut operators = Vec::new();
    for seat in &lab.seats {
        operators.push(seat.plane.operator().await);
    }
    let homes = lab.hosts.iter().map(|home| async {
        live(lab, &operators, &home.agent.node, healed).await;
        lab.recorder.saw(What::Live { node: home.agent.node.clone() });
        in_sync(lab, writers, &operators[0], home).await;
    });
    futures_util::future::join_all(homes).await;
    for node in &lab.nodes {
        live(lab, &operators, node, healed).await;
    }
    if lab.seats.len() > 1 {
        // Who was parted from the database last must know of the bars a little later.
        eventually("the bars are tried at another control plane", LONG, || {
            std::future::ready((i10_elsewhere(&lab.recorder.history()).looked_at > 0).then_some(()))
        })
        .await;
    }
}

/// Waits until a node is online, and heard since then by the control plane that has it, which alone
/// knows when.
async fn live(lab: &Lab, operators: &[Operator], node: &str, since: UnixMillis) {
    let is_heard = |node: &pb::Node| {
        let Some(connection) = &node.connection else { return false };
        // It is told to the second.
        let heard = connection.last_heard.map_or(0, |at| at.seconds * 1000);
        connection.liveness() == Liveness::Online && heard > since.0
    };
    let begun = lab.recorder.now();
    eventually("a node is heard again", LONG, || async {
        for operator in operators {
            if operator.node(node).await.is_some_and(|node| is_heard(&node)) {
                return Some(());
            }
        }
        None
    })
    .await;
    let took = lab.recorder.now() - begun;
    if took > super::lab::HEARTBEAT * 5 {
        eprintln!("network: {node} was heard again after {took:?}");
    }
}

async fn in_sync(lab: &Lab, writers: &Writers, operator: &Operator, home: &Home) {
    let item = format!("bundle/{}", home.name());
    let is = |node: &pb::Node| node.items.iter().any(|found| found.item == item && found.in_sync);
    operator.until("a host runs what it should", &home.agent.node, is).await;
    let content = hosts::running(&home.agent).unwrap_or(u64::MAX);
    lab.recorder.saw(What::InSync {
        node: home.agent.node.clone(),
        key: values::assignment_key(&home.name()),
        value: writers.shared.version(&home.name(), content),
    });
}

/// Records what is there in the end.
pub(crate) async fn tell(lab: &Lab, parties: &Parties) {
    let operator = lab.plane().operator().await;
    commands(lab, &operator).await;
    hosts::counted(&lab.ran()).into_iter().for_each(|ran| lab.recorder.saw(What::Ran(ran)));
    for home in &lab.hosts {
        for content in hosts::applied(&home.folder) {
            lab.recorder.saw(What::Applied {
                node: home.agent.node.clone(),
                key: values::assignment_key(&home.name()),
                value: parties.writers.shared.version(&home.name(), content),
            });
        }
    }
    // Before the audit is read: whatever is read is in it then.
    parties.writers.read_all().await;
    let entries: Vec<Entry> = audit(&operator).await.into_iter().map(values::entry).collect();
    let nodes = entries.iter().filter(|entry| lab.staying().any(|id| entry.key == values::node_key(id)));
    let names = nodes.filter_map(|entry| Some((entry.key.clone(), entry.value.clone()?))).collect();
    parties.watchers.until(entries.last().map_or(0, |entry| entry.place), &names).await;
    entries.into_iter().for_each(|entry| lab.recorder.saw(What::Entry(entry)));
    let verified = lab.plane().try_cli(&["audit", "verify"]);
    let said = String::from_utf8_lossy(&verified.stdout) + String::from_utf8_lossy(&verified.stderr);
    lab.recorder.saw(What::Chains { hold: verified.status.success(), said: said.into_owned() });
}

/// All orders that were given, and how they ended.
async fn commands(lab: &Lab, operator: &Operator) {
    let mut page_token = String::new();
    loop {
        let request = pb::ListOperationsRequest { page_size: 1000, page_token };
        let page = operator.operations.clone().list_operations(request).await.expect("the list").into_inner();
        for found in page.operations.into_iter().filter(|found| found.request_id.starts_with(REQUEST)) {
            let commands = usize::try_from(found.counts.unwrap_or_default().total).unwrap_or(0);
            let (request, operation) = (found.request_id, found.id.clone());
            lab.recorder.saw(What::Made { request, operation, commands });
            for (_, command) in operator.ended(&found.id, LONG * 2).await {
                lab.recorder.saw(What::Command(told(command)));
            }
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return;
        }
    }
}

/// The whole audit, the oldest entry first.
async fn audit(operator: &Operator) -> Vec<pb::AuditEntry> {
    let (mut entries, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListAuditEntriesRequest { page_size: 1000, page_token, ..Default::default() };
        let page = operator.audit.clone().list_audit_entries(request).await.expect("the list").into_inner();
        entries.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            entries.reverse();
            return entries;
        }
    }
}
