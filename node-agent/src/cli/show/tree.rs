//! Properties with names: nested for programs, one a line for people.

use serde_json::{Map, Value};

#[derive(Debug, Default)]
pub(in crate::cli) struct Tree(Map<String, Value>);

impl Tree {
    pub(in crate::cli) fn put(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    pub(in crate::cli) fn json(self) -> Value {
        Value::Object(self.0)
    }

    /// Each property by its whole name, with its value as people read it.
    pub(super) fn lines(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        for (name, value) in &self.0 {
            flatten(name, value, &mut lines);
        }
        lines
    }

    /// Those whose whole names are wanted.
    pub(super) fn only(self, wanted: impl Fn(&str) -> bool) -> Self {
        let kept = |(name, value): (String, Value)| Some((name.clone(), keep(&name, value, &wanted)?));
        Self(self.0.into_iter().filter_map(kept).collect())
    }
}

/// A property that has parts, and its parts. An option in force is one; so is a group
/// without any.
fn parts(value: &Value) -> Option<&Map<String, Value>> {
    let object = value.as_object()?;
    (!object.is_empty() && !object.contains_key("origin")).then_some(object)
}

fn flatten(name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match parts(value) {
        Some(parts) => {
            for (part, value) in parts {
                flatten(&format!("{name}.{part}"), value, lines);
            }
        }
        None => lines.push((name.to_owned(), text(value))),
    }
}

fn keep(name: &str, value: Value, wanted: &impl Fn(&str) -> bool) -> Option<Value> {
    if parts(&value).is_none() {
        return wanted(name).then_some(value);
    }
    let Value::Object(object) = value else { return None };
    let kept = object.into_iter().filter_map(|(part, value)| {
        let kept = keep(&format!("{name}.{part}"), value, wanted)?;
        Some((part, kept))
    });
    let kept: Map<String, Value> = kept.collect();
    (!kept.is_empty()).then_some(Value::Object(kept))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(none) if none.is_empty() => String::new(),
        Value::Object(option) => {
            let part = |name: &str| option.get(name).map(text).unwrap_or_default();
            format!("{} ({})", part("value"), part("origin"))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.put("session", json!("connected"));
        tree.put("items", json!({ "bundle/a": { "running": "1", "attempted": null } }));
        tree.put("services", json!({}));
        tree.put("settings", json!({ "a.b": { "value": "1", "origin": "default" } }));
        tree
    }

    #[test]
    fn a_person_reads_one_property_a_line() {
        let lines = tree().lines();
        let lines: Vec<String> = lines.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "items.bundle/a.attempted=",
            "items.bundle/a.running=1",
            "services=",
            "session=connected",
            "settings.a.b=1 (default)",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_not_wanted_is_left_out_at_any_depth() {
        let only = tree().only(|name| name == "items.bundle/a.running").json();
        assert_eq!(only, json!({ "items": { "bundle/a": { "running": "1" } } }));
        assert_eq!(tree().only(|_| false).json(), json!({}));
    }
}
