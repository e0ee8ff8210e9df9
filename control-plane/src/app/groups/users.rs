//! What names a group.

use std::collections::{BTreeMap, BTreeSet};

use muster_domain::{access::Scope, assignment::Assignment, group::Group, item::ItemName};
use muster_store::{ReadAssignments as _, ReadRollouts as _, WriteTx};

use crate::app::{App, Error};

/// The first that is stored: `assignment "web"`.
pub(super) fn first(tx: &mut WriteTx<'_>, group: &str) -> Result<Option<String>, Error> {
    if let Some(user) = tx.assignment_all()?.into_iter().find(|it| it.groups().contains(group)) {
        return Ok(Some(format!("assignment {:?}", user.name)));
    }
    let rollout = tx.rollout_open_all()?.into_iter().find(|it| it.plan.groups().contains(group));
    Ok(rollout.map(|rollout| format!("rollout {}", rollout.id)))
}

/// The items of the assignments that name it.
pub(super) fn items(tx: &mut WriteTx<'_>, group: &str) -> Result<BTreeSet<ItemName>, Error> {
    let users = tx.assignment_all()?.into_iter().filter(|it| it.groups().contains(group));
    Ok(users.map(|it| it.target.item()).collect())
}

impl App {
    /// What names each of these groups, as far as the scope sees it.
    pub(super) async fn users_of_groups(
        &self,
        scope: &Scope,
        groups: &[Group],
    ) -> BTreeMap<String, Vec<String>> {
        let names: BTreeSet<String> = groups.iter().map(|group| group.name.clone()).collect();
        let (catalog, open) = (self.catalog.now(), self.rollouts.now());
        let names_one = |named: &BTreeSet<String>| !named.is_disjoint(&names);
        let planned = open.rollouts.iter().filter(|it| names_one(&it.plan.groups()));
        let of_rollouts: BTreeSet<&String> = planned.clone().map(|it| &it.assignment).collect();
        let concerns = |it: &&Assignment| names_one(&it.groups()) || of_rollouts.contains(&it.name);
        let all = catalog.assignments.iter().map(|it| &it.assignment);
        let seen = self.shown(scope, all.filter(concerns).cloned().collect()).await;
        let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut add = |group: String, user: String| users.entry(group).or_default().push(user);
        for (assignment, _) in &seen {
            assignment.groups().into_iter().for_each(|it| add(it, format!("assignment/{}", assignment.name)));
        }
        for rollout in planned.filter(|it| seen.iter().any(|(seen, _)| seen.name == it.assignment)) {
            rollout.plan.groups().into_iter().for_each(|it| add(it, format!("rollout/{}", rollout.id)));
        }
        users
    }
}
