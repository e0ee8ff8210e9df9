//! Bindings: who has which role on which nodes.

use muster_common::reason::Reason;
use muster_domain::{
    access::{Asked, Binding, Pattern, Rights, Role, Verdict, is_binding_name, is_last_admin, judge},
    audit::Note,
    page::{Listed, Page},
};
use muster_store::{ReadAccess as _, WriteAccess as _};
use serde_json::json;

use super::{Actor, App, Error};

/// What someone wants to bind.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Name.
    pub name: String,
    /// `service/ci-*`.
    pub principal: String,
    /// `viewer`.
    pub role: String,
    /// As written.
    pub selector: String,
}

/// Why a principal may, or may not.
#[derive(Debug, Clone)]
pub struct Explained {
    /// Whether it may.
    pub allowed: bool,
    /// In words.
    pub why: String,
    /// What each of its bindings says.
    pub verdicts: Vec<(Binding, Verdict)>,
}

impl App {
    /// Makes a binding, or answers the equal one that is there.
    ///
    /// # Errors
    /// If it cannot be, or its name is taken.
    pub async fn create_binding(&self, actor: &Actor, wish: Wish) -> Result<Binding, Error> {
        let now = self.clock.now();
        let binding = checked(wish, actor, now)?;
        self.commit(actor.stamp("bindings.create", now), move |tx| {
            match tx.binding_get(&binding.name)? {
                Some(before) if is_equal(&before, &binding) => return Ok(before),
                Some(_) => {
                    let message = format!("binding {:?} exists with other content", binding.name);
                    return Err(Error::refused(Reason::AlreadyExists, message));
                }
                None => {}
            }
            tx.binding_put(&binding)?;
            let subject = format!("binding/{}", binding.name);
            tx.audit(Note { subject, after: shown(&binding), ..Note::default() })?;
            Ok(binding.clone())
        })
        .await
    }

    /// A page of bindings.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn bindings(&self, page: Page) -> Result<Listed<Binding>, Error> {
        self.store.read(move |tx| tx.binding_list(&page).map_err(Error::from)).await
    }

    /// Takes a role away.
    ///
    /// # Errors
    /// If it does not exist, or nobody would be admin on every node.
    pub async fn delete_binding(&self, actor: &Actor, name: String) -> Result<(), Error> {
        self.commit(actor.stamp("bindings.delete", self.clock.now()), move |tx| {
            let before = tx.binding_get(&name)?.ok_or_else(|| Error::not_found("binding", &name))?;
            let principals: Vec<String> =
                tx.caller_all()?.into_iter().map(|caller| caller.principal).collect();
            if is_last_admin(&before, &tx.binding_all()?, &principals) {
                let message = format!("without binding {name:?} nobody would be admin on every node");
                return Err(Error::refused(Reason::LastAdmin, message));
            }
            tx.binding_delete(&name)?;
            let subject = format!("binding/{name}");
            tx.audit(Note { subject, before: shown(&before), ..Note::default() })?;
            Ok(())
        })
        .await
    }

    /// Whether a principal may call a method, on a node if one is named, and why.
    ///
    /// # Errors
    /// If there is no such method or node.
    pub fn explain_access(
        &self,
        actor: &Actor,
        principal: &str,
        method: &str,
        node: Option<muster_common::ids::NodeId>,
    ) -> Result<Explained, Error> {
        let name = method.trim_start_matches('/');
        let asked = (self.fixed.methods)().into_iter().find(|(known, _)| *known == name);
        let (_, asked) = asked.ok_or_else(|| {
            Error::invalid("method", format!("{method:?} is no method of the operators' API"))
        })?;
        let node = node.map(|id| self.node(&actor.scope, id)).transpose()?.map(|view| view.node);
        let known = self.access.rights(principal);
        let revoked = principal_revoked(self, principal);
        let bindings = known.as_ref().map(|rights| rights.bindings.clone()).unwrap_or_default();
        let about = node.as_ref().map(|node| (&node.labels, &node.facts));
        let verdicts: Vec<(Binding, Verdict)> = bindings
            .into_iter()
            .map(|binding| {
                let verdict = judge(&binding, principal, asked, about);
                (binding, verdict)
            })
            .collect();
        let by = verdicts.iter().find(|(_, verdict)| *verdict == Verdict::Allows);
        let (allowed, why) = match (known.is_some(), revoked, by) {
            (false, ..) => (false, format!("{principal:?} has no certificate here")),
            (true, true, _) => (false, format!("{principal} is revoked")),
            (true, false, Some((binding, _))) => (true, format!("binding {:?} allows it", binding.name)),
            (true, false, None) if verdicts.is_empty() => (false, format!("{principal} has no binding")),
            (true, false, None) => (false, format!("no binding of {principal} allows it")),
        };
        Ok(Explained { allowed, why, verdicts })
    }

    /// Full names of the methods that these rights allow, on some nodes or all.
    #[must_use]
    pub fn methods_of(&self, rights: &Rights) -> Vec<String> {
        let may = |asked: Asked| rights.reach(asked).is_some();
        let methods = (self.fixed.methods)().into_iter();
        methods.filter(|(_, asked)| may(*asked)).map(|(name, _)| name.to_owned()).collect()
    }
}

fn principal_revoked(app: &App, principal: &str) -> bool {
    use muster_domain::revocation::Subject;
    let subject = principal.parse::<Subject>();
    subject.is_ok_and(|subject| app.revocations.all().iter().any(|found| found.subject == subject))
}

fn checked(wish: Wish, actor: &Actor, now: muster_common::clock::UnixMillis) -> Result<Binding, Error> {
    if !is_binding_name(&wish.name) {
        let message = format!("{:?} is not 1 to 160 letters, digits and ._@/-", wish.name);
        return Err(Error::invalid("binding.name", message));
    }
    let principal: Pattern =
        wish.principal.parse().map_err(|error: muster_domain::access::InvalidPattern| {
            Error::invalid("binding.principal", error.to_string())
        })?;
    let role = Role::parse(&wish.role).ok_or_else(|| {
        let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
        Error::invalid("binding.role", format!("there are {}", roles.join(", ")))
    })?;
    // In its one form, so that equal scopes are seen to be equal.
    let selector = super::selectors::plain("selector", &wish.selector)?.to_string();
    Ok(Binding {
        name: wish.name,
        principal,
        role,
        selector,
        created_at: now,
        created_by: actor.principal.clone(),
    })
}

fn is_equal(a: &Binding, b: &Binding) -> bool {
    a.principal == b.principal && a.role == b.role && a.selector == b.selector
}

/// As the audit has it.
pub(crate) fn shown(binding: &Binding) -> String {
    json!({
        "principal": binding.principal.to_string(),
        "role": binding.role.as_str(),
        "selector": binding.selector,
    })
    .to_string()
}
