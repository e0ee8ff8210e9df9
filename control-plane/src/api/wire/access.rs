//! Bindings, and what they say.

use muster_domain::access::{Binding, Verdict};
use muster_proto::admin::v1 as pb;
use tonic::Status;

use super::timestamp;
use crate::{
    api::status::invalid,
    app::bindings::{Explained, Wish},
};

pub(in crate::api) fn binding(row: &Binding) -> pb::Binding {
    pb::Binding {
        name: row.name.clone(),
        principal: row.principal.to_string(),
        role: row.role.as_str().to_owned(),
        selector: row.selector.clone(),
        create_time: Some(timestamp(row.created_at)),
        created_by: row.created_by.clone(),
    }
}

pub(in crate::api) fn wish_from(wish: Option<pb::Binding>) -> Result<Wish, Status> {
    let wish = wish.ok_or_else(|| invalid("binding", "it is missing"))?;
    Ok(Wish { name: wish.name, principal: wish.principal, role: wish.role, selector: wish.selector })
}

pub(in crate::api) fn explained(found: &Explained) -> pb::ExplainAccessResponse {
    let verdict = |(row, verdict): &(Binding, Verdict)| pb::BindingVerdict {
        binding: Some(binding(row)),
        allows: *verdict == Verdict::Allows,
        why: words(*verdict).to_owned(),
    };
    pb::ExplainAccessResponse {
        allowed: found.allowed,
        why: found.why.clone(),
        bindings: found.verdicts.iter().map(verdict).collect(),
    }
}

const fn words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allows => "it allows the call",
        Verdict::OtherPrincipal => "it is for other principals",
        Verdict::RoleDoesNot => "its role does not allow the method",
        Verdict::NotOnAll => "the method asks for a binding on every node (\"*\")",
        Verdict::NodeOutside => "its selector does not match the node",
        Verdict::Unreadable => "its selector cannot be read; it gives nothing",
    }
}
