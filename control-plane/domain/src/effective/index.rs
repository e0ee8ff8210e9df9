//! Finds, of many selectors, those that can match a node, without trying all of them.
//!
//! A selector is filed under one of its terms that ask for a value (`env=prod`,
//! `role in (web,api)`): under the one that the fewest others ask for, so that what a
//! thousand have in common does not bring them all. What a node has is looked up, and
//! only those filed there are worth trying; a selector without such a term is worth it
//! on every node.

use std::collections::HashMap;

use crate::{
    facts::Known,
    labels::{Labels, Required, Selector, Subject},
};

/// Selectors by what a node must have. They are known by their places in the order in
/// which they came.
#[derive(Debug, Clone, Default)]
pub struct Index {
    labels: HashMap<String, Values>,
    facts: HashMap<&'static str, Values>,
    rest: Vec<usize>,
}

/// Places by value.
type Values = HashMap<String, Vec<usize>>;

impl Index {
    /// Of these selectors.
    #[must_use]
    pub fn of<'a>(selectors: impl Iterator<Item = &'a Selector> + Clone) -> Self {
        let mut asked: HashMap<(&Subject, &str), usize> = HashMap::new();
        for required in selectors.clone().flat_map(Selector::required) {
            for value in required.values {
                *asked.entry((required.subject, value)).or_default() += 1;
            }
        }
        let company = |required: &Required<'_>| -> usize {
            required.values.iter().map(|value| asked[&(required.subject, value.as_str())]).sum()
        };
        let mut index = Self::default();
        for (place, selector) in selectors.enumerate() {
            match selector.required().min_by_key(company) {
                Some(required) => index.file(required, place),
                None => index.rest.push(place),
            }
        }
        index
    }

    fn file(&mut self, required: Required<'_>, place: usize) {
        let values = match required.subject {
            Subject::Label(key) => self.labels.entry(key.clone()).or_default(),
            Subject::Fact(name) => self.facts.entry(name).or_default(),
        };
        for value in required.values {
            values.entry(value.clone()).or_default().push(place);
        }
    }

    /// Places of the selectors that can match a node with these: all that do are among
    /// them, each once, in no order.
    pub fn near<'a>(&'a self, labels: &'a Labels, facts: &'a Known) -> impl Iterator<Item = usize> + 'a {
        let by_label = labels.iter().filter_map(|(key, value)| self.labels.get(key)?.get(value));
        let by_fact = self.facts.iter().filter_map(|(name, values)| values.get(facts.lookup(name)?));
        by_label.chain(by_fact).chain([&self.rest]).flatten().copied()
    }

    /// No node, whatever is said about it, is near to more selectors than so many: it has
    /// one value of each label and fact.
    #[must_use]
    pub fn most(&self) -> usize {
        let largest = |values: &Values| values.values().map(Vec::len).max().unwrap_or(0);
        let filed = self.labels.values().chain(self.facts.values()).map(largest);
        self.rest.len() + filed.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;

    fn near(selectors: &[&str], labels: &[(&str, &str)], os: &str) -> Vec<usize> {
        let selectors: Vec<Selector> =
            selectors.iter().map(|text| Selector::parse(text).expect("a selector")).collect();
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let facts = Facts { os: os.to_owned(), ..Facts::default() }.into();
        let mut near: Vec<usize> = Index::of(selectors.iter()).near(&labels, &facts).collect();
        near.sort_unstable();
        near
    }

    #[test]
    fn only_what_asks_for_a_value_of_the_node_is_tried() {
        let selectors = ["shard=1", "shard=2", "shard in (2,3)", "facts.os=debian", "!canary", "*"];
        assert_eq!(near(&selectors, &[("shard", "2")], ""), [1, 2, 4, 5]);
        assert_eq!(near(&selectors, &[("other", "2")], "debian"), [3, 4, 5]);
        assert_eq!(near(&selectors, &[], ""), [4, 5]);
    }

    #[test]
    fn what_all_have_in_common_does_not_bring_them_all() {
        let selectors: Vec<String> = (0..100).map(|n| format!("env=prod,shard={n}")).collect();
        let selectors: Vec<&str> = selectors.iter().map(String::as_str).collect();
        assert_eq!(near(&selectors, &[("env", "prod"), ("shard", "7")], ""), [7]);
    }

    #[test]
    fn shards_are_never_together_on_a_node() {
        let selectors: Vec<Selector> =
            (0..100).map(|n| Selector::parse(&format!("shard={n}")).expect("a selector")).collect();
        assert_eq!(Index::of(selectors.iter()).most(), 1);
        let (all, canary) = (Selector::all(), Selector::parse("facts.os=debian").expect("a selector"));
        assert_eq!(Index::of(selectors.iter().chain([&all, &canary, &canary])).most(), 4);
    }

    #[test]
    fn a_term_that_takes_away_finds_nothing_and_hides_nothing() {
        assert_eq!(near(&["env!=prod", "env notin (a,b)", "env"], &[("env", "test")], ""), [0, 1, 2]);
    }
}
