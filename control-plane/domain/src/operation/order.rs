//! In which order the nodes of an operation get their commands.

use muster_common::ids::NodeId;

/// A label's value as it is sorted: numbers first, then words, then nothing.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Number(u64),
    Word(String),
    Missing,
}

impl Place {
    fn of(value: Option<String>) -> Self {
        match value {
            Some(value) => match value.parse() {
                // "+7" would parse, too.
                Ok(number) if value.bytes().all(|b| b.is_ascii_digit()) => Self::Number(number),
                _ => Self::Word(value),
            },
            None => Self::Missing,
        }
    }
}

/// Nodes by the value of a label, numbers as numbers; those without it last. Equal
/// ones by id.
#[must_use]
pub fn by_label(nodes: Vec<(NodeId, Option<String>)>) -> Vec<NodeId> {
    let mut placed: Vec<(Place, NodeId)> =
        nodes.into_iter().map(|(id, value)| (Place::of(value), id)).collect();
    placed.sort_unstable();
    placed.into_iter().map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_as_numbers_and_those_without_the_label_last() {
        let values = [None, Some("b"), Some("10"), Some("9"), Some("a10"), Some("+7"), Some("9"), Some("")];
        let nodes = values.iter().zip(0..).map(|(value, n)| (NodeId::from_u128(n), value.map(str::to_owned)));
        let order = by_label(nodes.collect());
        let expected = [3, 6, 2, 7, 5, 4, 1, 0].map(NodeId::from_u128);
        assert_eq!(order, expected);
    }
}
