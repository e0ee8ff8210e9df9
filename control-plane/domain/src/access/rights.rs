//! What a caller may, out of all bindings.

use super::{Asked, Binding, Permission, Reach, Role};
use crate::{
    facts::Known,
    labels::{Labels, Selector},
};

/// What one caller may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Those that are the caller's, by name.
    pub bindings: Vec<Binding>,
    /// In the order of `Permission::ALL`.
    reach: [Reach; Permission::ALL.len()],
}

/// What a binding says to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It allows it.
    Allows,
    /// It is for others.
    OtherPrincipal,
    /// Its role does not have the permission.
    RoleDoesNot,
    /// The method asks for a binding on every node, and this one is on some.
    NotOnAll,
    /// The node is none of its nodes.
    NodeOutside,
    /// Its selector does not parse; it gives nothing.
    Unreadable,
}

impl Rights {
    /// Of one principal. A binding whose selector does not parse gives nothing.
    #[must_use]
    pub fn of(principal: &str, all: &[Binding]) -> Self {
        let bindings: Vec<Binding> =
            all.iter().filter(|it| it.principal.matches(principal)).cloned().collect();
        let parsed: Vec<(Role, Selector)> = bindings
            .iter()
            .filter_map(|binding| Some((binding.role, Selector::parse(&binding.selector).ok()?)))
            .collect();
        let reach = Permission::ALL.map(|permission| {
            let allowing = parsed.iter().filter(|(role, _)| role.allows(permission));
            Reach::of(allowing.map(|(_, selector)| selector.clone()))
        });
        Self { bindings, reach }
    }

    /// The nodes on which the caller has what is asked. `None`: it may not.
    #[must_use]
    pub fn reach(&self, asked: Asked) -> Option<Reach> {
        let reach = &self.reach[asked.permission as usize];
        let may = if asked.fleet { reach.is_all() } else { !reach.is_none() };
        may.then(|| reach.clone())
    }

    /// What the caller would be allowed on a node by other labels, and is not now.
    #[must_use]
    pub fn gains(&self, before: &Labels, after: &Labels, facts: &Known) -> Option<Permission> {
        let gains = |reach: &Reach| reach.matches(after, facts) && !reach.matches(before, facts);
        Permission::ALL.into_iter().find(|permission| gains(&self.reach[*permission as usize]))
    }

    /// The strongest of its roles, wherever it holds.
    #[must_use]
    pub fn strongest(&self) -> Option<Role> {
        let permissions = |role: &Role| Permission::ALL.into_iter().filter(|it| role.allows(*it)).count();
        self.bindings.iter().map(|binding| binding.role).max_by_key(permissions)
    }
}

/// What a binding says to a principal that calls a method, about a node if one is named.
#[must_use]
pub fn judge(binding: &Binding, principal: &str, asked: Asked, node: Option<(&Labels, &Known)>) -> Verdict {
    if !binding.principal.matches(principal) {
        return Verdict::OtherPrincipal;
    }
    if !binding.role.allows(asked.permission) {
        return Verdict::RoleDoesNot;
    }
    match (Selector::parse(&binding.selector), node) {
        (Err(_), _) => Verdict::Unreadable,
        (Ok(selector), _) if asked.fleet && !selector.is_all() => Verdict::NotOnAll,
        (Ok(selector), Some((labels, facts))) if !selector.matches(labels, facts) => Verdict::NodeOutside,
        (Ok(_), _) => Verdict::Allows,
    }
}

/// Whether, without this binding, none of these principals would be admin on every node.
#[must_use]
pub fn is_last_admin(binding: &Binding, all: &[Binding], principals: &[String]) -> bool {
    let gives = |it: &Binding| {
        let on_all = Selector::parse(&it.selector).is_ok_and(|selector| selector.is_all());
        it.role == Role::Admin && on_all && principals.iter().any(|principal| it.principal.matches(principal))
    };
    gives(binding) && !all.iter().any(|other| other.name != binding.name && gives(other))
}

#[cfg(test)]
mod tests {
    use muster_common::clock::UnixMillis;

    use super::*;

    fn binding(name: &str, principal: &str, role: Role, selector: &str) -> Binding {
        Binding {
            name: name.to_owned(),
            principal: principal.parse().unwrap(),
            role,
            selector: selector.to_owned(),
            created_at: UnixMillis(0),
            created_by: String::new(),
        }
    }

    fn on_some(permission: Permission) -> Asked {
        Asked { permission, fleet: false }
    }

    #[test]
    fn rights_are_the_union_of_bindings_permission_by_permission() {
        let all = [
            binding("a", "operator/*", Role::Viewer, "*"),
            binding("b", "operator/alice", Role::Operator, "env=dev"),
            binding("c", "operator/alice", Role::Operator, "env=test"),
            binding("d", "service/ci", Role::Admin, "*"),
        ];
        let rights = Rights::of("operator/alice", &all);
        assert_eq!(rights.bindings.len(), 3);
        assert_eq!(rights.reach(on_some(Permission::Read)), Some(Reach::all()));
        let commands = rights.reach(on_some(Permission::Command)).unwrap();
        assert_eq!(commands.to_string(), "env=dev | env=test");
        assert_eq!(rights.reach(Asked { permission: Permission::Command, fleet: true }), None);
        assert_eq!(rights.reach(on_some(Permission::Deploy)), None);
        assert_eq!(rights.strongest(), Some(Role::Operator));
        let nobody = Rights::of("service/nobody", &all);
        assert_eq!((nobody.reach(on_some(Permission::Known)), nobody.strongest()), (None, None));
    }

    #[test]
    fn a_binding_that_cannot_be_read_gives_nothing() {
        let all = [binding("a", "operator/a", Role::Admin, "of a later release?")];
        let rights = Rights::of("operator/a", &all);
        assert!(Permission::ALL.into_iter().all(|it| rights.reach(on_some(it)).is_none()));
        assert_eq!(judge(&all[0], "operator/a", on_some(Permission::Read), None), Verdict::Unreadable);
    }

    #[test]
    fn each_binding_says_why_it_does_not_allow() {
        let dev = binding("a", "operator/a", Role::Operator, "env=dev");
        let (some, fleet) =
            (on_some(Permission::Command), Asked { permission: Permission::Command, fleet: true });
        let labels = |env: &str| Labels::from([("env".to_owned(), env.to_owned())]);
        let (dev_node, prod_node, facts) = (labels("dev"), labels("prod"), Known::default());
        assert_eq!(judge(&dev, "operator/b", some, None), Verdict::OtherPrincipal);
        assert_eq!(judge(&dev, "operator/a", on_some(Permission::Deploy), None), Verdict::RoleDoesNot);
        assert_eq!(judge(&dev, "operator/a", fleet, None), Verdict::NotOnAll);
        assert_eq!(judge(&dev, "operator/a", some, Some((&prod_node, &facts))), Verdict::NodeOutside);
        assert_eq!(judge(&dev, "operator/a", some, Some((&dev_node, &facts))), Verdict::Allows);
    }

    #[test]
    fn the_last_admin_is_the_one_whom_somebody_can_be() {
        let known = ["operator/a".to_owned()];
        let one = binding("one", "operator/a", Role::Admin, "*");
        let some = binding("some", "operator/a", Role::Admin, "env=dev");
        let ghost = binding("ghost", "service/nobody", Role::Admin, "*");
        let second = binding("second", "operator/*", Role::Admin, "*");
        let with = |others: &[&Binding]| others.iter().map(|it| (*it).clone()).collect::<Vec<_>>();
        assert!(is_last_admin(&one, &with(&[&one, &some, &ghost]), &known));
        assert!(!is_last_admin(&one, &with(&[&one, &second]), &known));
        assert!(!is_last_admin(&some, &with(&[&one, &some]), &known));
    }
}
