//! What must hold of a node when its command is handed out.

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    labels::{Groups, Written},
    node::Node,
    violation::Violation,
};

/// Most capabilities that can be asked for.
const MAX_CAPABILITIES: usize = 16;
/// Longest name of one.
const MAX_CAPABILITY: usize = 64;

/// What must hold of a node; empty parts ask for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Preconditions {
    /// As written; it may name groups.
    pub selector: String,
    /// At least this version of the agent.
    pub agent_version_min: String,
    /// All of these, as agents tell them.
    pub capabilities: Vec<String>,
}

/// What its session tells of a node.
#[derive(Debug, Clone, Copy)]
pub struct Spoken<'a> {
    /// The version of its agent.
    pub agent_version: &'a str,
    /// Item and command kinds that its agent knows.
    pub capabilities: &'a [String],
}

impl Preconditions {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what cannot be. Groups are looked for when it is asked whether they hold.
    ///
    /// # Errors
    /// The first field that cannot be so.
    pub fn check(&self) -> Result<(), Violation> {
        Written::parse_or_all(&self.selector)
            .map_err(|error| Violation::selector("preconditions.selector", error.to_string()))?;
        if !self.agent_version_min.is_empty()
            && let Err(error) = Version::parse(&self.agent_version_min)
        {
            let message = format!("{:?} is not a version such as 1.4.0: {error}", self.agent_version_min);
            return Err(Violation::invalid("preconditions.agent_version_min", message));
        }
        let is_name = |name: &String| {
            (1..=MAX_CAPABILITY).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
        };
        if self.capabilities.len() > MAX_CAPABILITIES || !self.capabilities.iter().all(is_name) {
            let message = format!(
                "at most {MAX_CAPABILITIES} names of 1 to {MAX_CAPABILITY} characters, such as \"run-script\""
            );
            return Err(Violation::invalid("preconditions.capabilities", message));
        }
        Ok(())
    }

    /// What does not hold of a node, in words; None: all holds. `spoken` is missing of a
    /// node without a session: of that nothing is asked.
    #[must_use]
    pub fn unmet(&self, node: &Node, spoken: Option<Spoken<'_>>, groups: &Groups) -> Option<String> {
        if let Some(unmet) = self.unmet_selector(node, groups) {
            return Some(unmet);
        }
        let spoken = spoken?;
        let needed = Version::parse(&self.agent_version_min).ok();
        let has = Version::parse(spoken.agent_version).ok();
        if needed.is_some() && has < needed {
            let (min, has) = (&self.agent_version_min, spoken.agent_version);
            return Some(format!("agent_version_min: the node has {has:?}, which is older than {min}"));
        }
        let lacks = |needed: &&String| !spoken.capabilities.contains(needed);
        self.capabilities
            .iter()
            .find(lacks)
            .map(|lacking| format!("capabilities: the node's agent does not know {lacking:?}"))
    }

    fn unmet_selector(&self, node: &Node, groups: &Groups) -> Option<String> {
        // It was parsed before it was stored.
        let written = Written::parse_or_all(&self.selector).unwrap_or_else(|_| Written::all());
        match written.resolve(groups) {
            Ok(selector) if selector.matches(&node.labels, &node.facts) => None,
            Ok(_) => Some(format!("selector: the node does not match {:?}", self.selector)),
            Err(error) => Some(format!("selector: {error}")),
        }
    }
}
