//! Some nodes with sessions, and what one does with them here.

use std::collections::BTreeMap;

use muster_common::ids::{NodeId, OperationId};
use muster_domain::{
    command::{Command, State},
    operation::{Counts, Plan, pace::Hold},
    page::Page,
};
use muster_store::WriteNodes as _;

use crate::{
    app::{
        operations::Wish,
        tests::bench::{Bench, alice, hello, ledger, node, said, whole, wish},
    },
    session::{
        frames::Hello,
        hub::Handle,
        ports::{Closed, Inbox as _},
    },
};

pub(super) struct Lab {
    pub(super) bench: Bench,
    sessions: BTreeMap<NodeId, Handle>,
}

/// An agent whose facts are known.
pub(super) fn speaks(capabilities: &[&str]) -> Hello {
    Hello {
        capabilities: capabilities.iter().map(|it| (*it).to_owned()).collect(),
        agent_version: "1.2.0".to_owned(),
        facts_sha256: vec![1],
        ..hello(ledger(1, 1))
    }
}

impl Lab {
    pub(super) async fn empty() -> Self {
        Self { bench: Bench::following().await, sessions: BTreeMap::new() }
    }

    /// Nodes 1 to `count`, all here.
    pub(super) async fn new(count: u128) -> Self {
        let mut lab = Self::empty().await;
        for number in 1..=count {
            lab.node(number, &[]).await;
        }
        lab
    }

    /// A node with labels, which is here.
    pub(super) async fn node(&mut self, number: u128, labels: &[(&str, &str)]) -> NodeId {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let node = muster_domain::node::Node { labels, facts_sha256: [1][..].into(), ..node(number) };
        let id = node.id;
        self.bench.write(move |tx| Ok(tx.node_insert(&node)?)).await;
        self.bench.app.follow().await.unwrap();
        self.come(id);
        id
    }

    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.sessions.keys().copied().collect()
    }

    pub(super) fn come(&mut self, node: NodeId) {
        self.come_as(node, &speaks(&["run-script"]));
    }

    pub(super) fn come_as(&mut self, node: NodeId, hello: &Hello) {
        let (session, _) = self.bench.hello(node, hello).unwrap();
        self.sessions.insert(node, session);
    }

    pub(super) fn session(&self, node: NodeId) -> &Handle {
        &self.sessions[&node]
    }

    pub(super) fn leave(&self, node: NodeId) {
        self.bench.app.closed(&self.sessions[&node], &Closed::Lost);
    }

    /// The same after a kill of the control plane: all come back.
    pub(super) async fn killed(self) -> Self {
        let bench = self.bench.killed().await;
        bench.follow();
        let mut lab = Self { bench, sessions: BTreeMap::new() };
        for node in self.sessions.into_keys() {
            lab.come(node);
        }
        lab
    }

    pub(super) fn wish(&self, plan: Plan) -> Wish {
        Wish { plan, ..wish("*") }
    }

    pub(super) async fn start(&self, plan: Plan) -> OperationId {
        self.begin(self.wish(plan)).await
    }

    pub(super) async fn begin(&self, wish: Wish) -> OperationId {
        self.bench.app.start_operation(&alice(), wish).await.unwrap().0.id
    }

    /// All that workers would do now.
    pub(super) async fn go(&self) {
        self.bench.app.record().await.unwrap();
        self.bench.app.follow().await.unwrap();
        self.bench.app.hand_out().await.unwrap();
    }

    pub(super) async fn commands(&self, operation: OperationId) -> Vec<Command> {
        let page = Page { size: 100, after: None };
        let rows = self.bench.app.commands(&whole(), operation, page, false).await.unwrap().rows;
        rows.into_iter().map(|(command, _)| command).collect()
    }

    pub(super) async fn counts(&self, operation: OperationId) -> Counts {
        self.bench.app.operation(&whole(), operation).await.unwrap().1
    }

    pub(super) async fn ended(&self, operation: OperationId) -> bool {
        self.bench.app.operation(&whole(), operation).await.unwrap().0.ended_at.is_some()
    }

    pub(super) async fn hold(&self, operation: OperationId) -> Option<Hold> {
        let (operation, _) = self.bench.app.operation(&whole(), operation).await.unwrap();
        self.bench.app.holds([&operation]).await.unwrap().remove(&operation.id)
    }

    /// The nodes of the commands in flight, in order.
    pub(super) async fn in_flight(&self, operation: OperationId) -> Vec<NodeId> {
        let flying = |it: &Command| matches!(it.state, State::Delivered | State::Running);
        self.commands(operation).await.into_iter().filter(flying).map(|it| it.node).collect()
    }

    /// The first command in flight ends so.
    pub(super) async fn end_one(&self, operation: OperationId, state: State) {
        let flying = |it: &Command| matches!(it.state, State::Delivered | State::Running);
        let command = self.commands(operation).await.into_iter().find(flying).expect("one is in flight");
        let session = &self.sessions[&command.node];
        self.bench.app.command(session, said(&command, command.report_seq + 1, state)).unwrap();
        self.bench.app.record().await.unwrap();
    }
}
