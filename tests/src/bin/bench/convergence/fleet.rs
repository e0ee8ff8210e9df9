//! A control plane with its nodes, and what tells them apart.

use std::{collections::BTreeSet, path::Path};

use anyhow::Context as _;
use muster_common::{clock::Clock, join::JoinString};
use muster_proto::{
    admin::v1::{self as pb, assignment::Target},
    types::v1::BundleContent,
};
use muster_tests::{
    operator::{Operator, file},
    plane::{Options, Plane},
    swarm::{self, Identity},
};

/// Between heartbeats: what is configured where nothing is.
const HEARTBEAT: std::time::Duration = std::time::Duration::from_secs(15);
/// Hosts that a token lets in.
const USES: i32 = 100_000;
/// Bytes of a bundle besides its first words.
const FILL: usize = 990;

/// All of it. Dropped: ended.
pub(super) struct Fleet {
    pub(super) plane: Plane,
    pub(super) operator: Operator,
    pub(super) identities: Vec<Identity>,
    joins: Vec<JoinString>,
    /// States of which there is a bundle.
    bundles: usize,
    _folder: tempfile::TempDir,
}

impl Fleet {
    /// Without nodes yet. Those that come are dealt to so many shards for each of these
    /// numbers: node `n` has the label `of-10=3` if `n % 10` is 3.
    pub(super) async fn start(states: &[usize]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = Options { log: "warn".to_owned(), heartbeat: HEARTBEAT, ..Options::default() };
        let mut plane = Plane::init(folder.path(), &options);
        // Many states are made by one operator at a stretch.
        ["writes", "writes-burst"].iter().for_each(|key| plane.configure(key, "100000"));
        plane.serve(&[]).await;
        let operator = plane.operator().await;
        let joins = tokens(&operator, states).await?;
        Ok(Self { plane, operator, identities: Vec::new(), joins, bundles: 0, _folder: folder })
    }

    /// Lets hosts in until there are so many.
    pub(super) async fn grow(&mut self, size: usize) -> anyhow::Result<()> {
        println!("enrolling {} hosts", size.saturating_sub(self.identities.len()));
        let more = swarm::enroll_dealt(&self.joins, self.identities.len()..size).await?;
        self.identities.extend(more);
        Ok(())
    }

    /// Starts the control plane anew: what it needed before is not counted.
    pub(super) async fn restart(&mut self) {
        self.plane.kill();
        self.plane.serve(&[]).await;
        self.operator = self.plane.operator().await;
    }

    /// Gives every shard of so many a bundle of its own.
    pub(super) async fn set_states(&mut self, states: usize) -> anyhow::Result<()> {
        for state in self.bundles..states {
            let name = format!("state-{state}");
            self.operator.bundle(&name, content(&name, &name)).await;
        }
        self.bundles = self.bundles.max(states);
        for state in 0..states {
            let (name, selector) = (format!("state-{state}"), format!("of-{states}={state}"));
            self.create(&name, &selector, &name).await?;
        }
        Ok(())
    }

    /// Gives all nodes a bundle on top.
    pub(super) async fn set_top(&self) -> anyhow::Result<()> {
        self.new_top().await;
        self.create("top", "*", "top").await
    }

    /// Another version of what all nodes get on top; nobody gets it yet.
    pub(super) async fn new_top(&self) {
        self.operator.bundle("top", content("top", &Clock::System.now().0.to_string())).await;
    }

    /// The change: all nodes are to have the newest version.
    pub(super) async fn change(&self) -> anyhow::Result<()> {
        let request = pb::UpdateAssignmentRequest {
            assignment: Some(assignment("top", "*", "top")),
            validate_only: false,
        };
        self.operator.assignments.clone().update_assignment(request).await?;
        Ok(())
    }

    /// Takes all assignments away.
    pub(super) async fn clear(&self, states: usize) -> anyhow::Result<()> {
        let names = (0..states).map(|state| format!("state-{state}"));
        for name in names.chain(["top".to_owned()]) {
            let request = pb::DeleteAssignmentRequest { name, etag: String::new() };
            self.operator.assignments.clone().delete_assignment(request).await?;
        }
        Ok(())
    }

    async fn create(&self, name: &str, selector: &str, bundle: &str) -> anyhow::Result<()> {
        let assignment = Some(assignment(name, selector, bundle));
        let request = pb::CreateAssignmentRequest { assignment, validate_only: false };
        self.operator.assignments.clone().create_assignment(request).await?;
        Ok(())
    }

    /// Bytes of the database and its log.
    pub(super) fn store_bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.plane.state()).into_iter().flatten().flatten();
        let is_store = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("muster.db");
        let sizes = files.filter(|file| is_store(&file.file_name())).filter_map(|file| file.metadata().ok());
        sizes.map(|metadata| metadata.len()).sum()
    }
}

/// A token for each shard of the largest number: its hosts get their labels with it.
async fn tokens(operator: &Operator, states: &[usize]) -> anyhow::Result<Vec<JoinString>> {
    // A host's place among the tokens says its shard of every number only if that divides this.
    let tokens = states.iter().copied().collect::<BTreeSet<_>>().into_iter().reduce(least_common_multiple);
    let mut joins = Vec::new();
    for token in 0..tokens.context("no states")? {
        let label = |states: &usize| (format!("of-{states}"), (token % states).to_string());
        let labels = states.iter().map(label).collect();
        let request = pb::CreateJoinTokenRequest { max_uses: USES, labels, ..Default::default() };
        let made = operator.join_tokens.clone().create_join_token(request).await?.into_inner();
        joins.push(made.join_string.parse()?);
    }
    Ok(joins)
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    let (mut divisor, mut rest) = (a, b);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    a / divisor.max(1) * b
}

fn content(name: &str, first: &str) -> BundleContent {
    let text = format!("{first}{}", "x".repeat(FILL));
    BundleContent { files: vec![file(&Path::new("/etc/bench").join(name), &text)], ..Default::default() }
}

fn assignment(name: &str, selector: &str, bundle: &str) -> pb::Assignment {
    pb::Assignment {
        name: name.to_owned(),
        selector: selector.to_owned(),
        target: Some(Target::Bundle(pb::BundleTarget { name: bundle.to_owned(), version: 0 })),
        ..Default::default()
    }
}
