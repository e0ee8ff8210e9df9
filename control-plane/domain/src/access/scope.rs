//! The nodes that a caller may touch.

use std::{fmt, str::FromStr, sync::Arc};

use super::Permission;
use crate::{
    facts::Known,
    labels::{Labels, Selector, SelectorError},
    node::Node,
};

/// Nodes that at least one of some selectors matches. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach(Arc<[Selector]>);

/// What a call may touch: it comes from the door, and every use-case that meets
/// nodes asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Who calls.
    pub principal: String,
    /// What the method asks for.
    pub permission: Permission,
    /// The nodes on which the caller has it.
    pub reach: Reach,
}

impl Reach {
    /// No node.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::from([]))
    }

    /// Every node.
    #[must_use]
    pub fn all() -> Self {
        Self(Arc::from([Selector::all()]))
    }

    /// Every node that one of these matches.
    #[must_use]
    pub fn of(selectors: impl IntoIterator<Item = Selector>) -> Self {
        let mut selectors: Vec<Selector> = selectors.into_iter().collect();
        if selectors.iter().any(Selector::is_all) {
            return Self::all();
        }
        selectors.sort_by_cached_key(ToString::to_string);
        selectors.dedup();
        Self(selectors.into())
    }

    /// Whether it is every node, whatever is said about them.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.iter().any(Selector::is_all)
    }

    /// Whether no binding is behind it.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a node with these is one of them.
    #[must_use]
    pub fn matches(&self, labels: &Labels, facts: &Known) -> bool {
        self.0.iter().any(|selector| selector.matches(labels, facts))
    }

    /// It is every node that at least one of these matches.
    pub fn selectors(&self) -> impl Iterator<Item = &Selector> {
        self.0.iter()
    }

    /// Whether all nodes of the other one are surely among these, now and later:
    /// each of its selectors is one of these. Another text for the same nodes is
    /// not seen through.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.is_all() || other.0.iter().all(|selector| self.0.contains(selector))
    }
}

impl Scope {
    /// Of someone who may touch every node: a node about itself, the control plane.
    #[must_use]
    pub fn whole(principal: impl Into<String>, permission: Permission) -> Self {
        Self { principal: principal.into(), permission, reach: Reach::all() }
    }

    /// Whether a node is in it.
    #[must_use]
    pub fn sees(&self, node: &Node) -> bool {
        self.reach.matches(&node.labels, &node.facts)
    }

    /// Whether every node is in it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.reach.is_all()
    }
}

/// Between the selectors of a reach; stands in no selector.
const OR: char = '|';

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, selector) in self.0.iter().enumerate() {
            if n > 0 {
                write!(f, " {OR} ")?;
            }
            selector.fmt(f)?;
        }
        Ok(())
    }
}

impl FromStr for Reach {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let selectors: Result<Vec<Selector>, _> = text.split(OR).map(Selector::parse).collect();
        Ok(Self::of(selectors?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(text: &str) -> Reach {
        text.parse().unwrap()
    }

    #[test]
    fn a_reach_is_read_as_it_is_written() {
        let two =
            Reach::of([Selector::parse("env=test").unwrap(), Selector::parse("env in (dev,ci),!x").unwrap()]);
        assert_eq!(two.to_string().parse(), Ok(two));
        assert_eq!(Reach::all().to_string(), "*");
        assert_eq!(reach("env=test | *"), Reach::all());
        assert!("".parse::<Reach>().is_err(), "nothing is not written");
    }

    #[test]
    fn a_reach_matches_what_one_of_its_selectors_matches() {
        let labels = |env: &str| Labels::from([("env".to_owned(), env.to_owned())]);
        let two = reach("env=dev | env=test");
        for (env, is) in [("dev", true), ("test", true), ("prod", false)] {
            assert_eq!(two.matches(&labels(env), &Known::default()), is, "{env}");
        }
        assert!(!Reach::none().matches(&labels("dev"), &Known::default()));
        assert!(Reach::all().matches(&Labels::new(), &Known::default()));
    }

    #[test]
    fn a_reach_covers_its_own_parts_and_everything_covers_nothing_more() {
        let two = reach("env=dev | env=test");
        assert!(two.covers(&reach("env=test")) && two.covers(&two) && Reach::all().covers(&two));
        assert!(!reach("env=test").covers(&two) && !two.covers(&Reach::all()));
    }
}
