//! Labels, and selectors over labels and facts.

use std::collections::BTreeMap;

/// What operators say about a node.
pub type Labels = BTreeMap<String, String>;
