//! Who of this host's programs is who: `[[workload.identities]]`.

use std::path::Path;

use muster_common::{
    tls::workload::{MAX_NAME, is_workload_name},
    unit_name,
};
use serde::Deserialize;

use super::Error;
use crate::platform::accounts;

/// The section.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Workload {
    identities: Vec<Rule>,
}

/// One identity, and of whom it is: everything that is said must hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rule {
    name: String,
    uid: Option<u32>,
    user: Option<String>,
    gid: Option<u32>,
    group: Option<String>,
    unit: Option<String>,
}

impl Workload {
    /// Names that a caller may have, in the order of the file. `gid` is its first group.
    pub(super) fn names(&self, uid: u32, gid: u32, unit: Option<&str>) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for rule in self.identities.iter().filter(|rule| rule.covers(uid, gid, unit)) {
            if !names.contains(&rule.name) {
                names.push(rule.name.clone());
            }
        }
        names
    }

    /// Whoever wrote a rule that says nothing of the caller would give it to everybody.
    pub(super) fn check(&self, path: &Path) -> Result<(), Error> {
        for (at, rule) in self.identities.iter().enumerate() {
            if let Some(why) = rule.problem() {
                return Err(Error::Workload { path: path.to_owned(), number: at + 1, why });
            }
        }
        Ok(())
    }
}

impl Rule {
    fn covers(&self, uid: u32, gid: u32, unit: Option<&str>) -> bool {
        // A name that the host does not know is nobody's.
        let is_user = |name: &String| accounts::user(name).is_ok_and(|number| number == uid);
        let is_group = |name: &String| accounts::group(name).is_ok_and(|number| number == gid);
        let is_unit = |pattern: &String| unit.is_some_and(|unit| unit_name::matches(pattern, unit));
        // Names last: they may have to be asked for far away.
        self.uid.is_none_or(|wanted| wanted == uid)
            && self.gid.is_none_or(|wanted| wanted == gid)
            && self.unit.as_ref().is_none_or(is_unit)
            && self.user.as_ref().is_none_or(is_user)
            && self.group.as_ref().is_none_or(is_group)
    }

    fn problem(&self) -> Option<String> {
        if !is_workload_name(&self.name) {
            let name = &self.name;
            return Some(format!(
                "has the name {name:?}; a name is letters, digits, '.', '_' and '-', at most {MAX_NAME}"
            ));
        }
        let says_nothing = self.uid.is_none()
            && self.user.is_none()
            && self.gid.is_none()
            && self.group.is_none()
            && self.unit.is_none();
        let empty = |text: &Option<String>| text.as_ref().is_some_and(String::is_empty);
        if says_nothing {
            return Some(
                "says of nobody that it is theirs: give it uid, user, gid, group or unit".to_owned(),
            );
        }
        let is_empty = empty(&self.user) || empty(&self.group) || empty(&self.unit);
        is_empty.then(|| "has an empty user, group or unit".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Workload {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn everything_that_a_rule_says_must_hold() {
        let rules = read(
            "[[identities]]\nname = \"web\"\nuid = 33\nunit = \"nginx.service\"\n\
             [[identities]]\nname = \"any-web\"\nuser = \"33\"\n\
             [[identities]]\nname = \"app\"\nunit = \"app@*.service\"\ngroup = \"root\"\n\
             [[identities]]\nname = \"ghost\"\nuser = \"no-such-user\"\n",
        );
        rules.check(Path::new("locks.toml")).unwrap();
        assert_eq!(rules.names(33, 33, Some("nginx.service")), ["web", "any-web"]);
        assert_eq!(rules.names(33, 33, Some("other.service")), ["any-web"]);
        assert_eq!(rules.names(33, 33, None), ["any-web"], "who has no unit is in none");
        assert_eq!(rules.names(1000, 0, Some("app@1.service")), ["app"]);
        assert_eq!(rules.names(1000, 100, Some("app@1.service")), [""; 0]);
        assert_eq!(rules.names(0, 0, None), [""; 0], "root is nobody by itself");
        assert_eq!(Workload::default().names(0, 0, None), [""; 0]);
    }

    #[test]
    fn a_rule_that_would_be_everybodys_is_refused() {
        let told = |text: &str| read(text).check(Path::new("x")).unwrap_err().to_string();
        assert!(told("[[identities]]\nname = \"web\"\n").contains("says of nobody"));
        assert!(told("[[identities]]\nname = \"a/b\"\nuid = 1\n").contains("has the name"));
        assert!(told("[[identities]]\nname = \"web\"\nunit = \"\"\n").contains("empty"));
        assert!(toml::from_str::<Workload>("[[identities]]\nname = \"web\"\nuids = 3\n").is_err());
    }
}
