//! How operations go about it.

use muster_domain::{
    operation::{
        Plan, Preconditions, Supersede,
        pace::{Hold, Pacing},
    },
    rollout::Share,
};
use muster_proto::admin::v1::{self as pb, pacing::Budget};

use super::timestamp;

/// Of a request.
pub(super) struct Parts {
    pub(super) pacing: Option<pb::Pacing>,
    pub(super) preconditions: Option<pb::Preconditions>,
    pub(super) supersede: Option<pb::Supersede>,
    pub(super) lease: String,
}

pub(super) fn plan_from(parts: Parts) -> Plan {
    Plan {
        pacing: parts.pacing.map(pacing_from).unwrap_or_default(),
        preconditions: parts.preconditions.map(preconditions_from).unwrap_or_default(),
        supersede: parts
            .supersede
            .filter(|it| !it.key.is_empty() || it.stop_running)
            .map(|it| Supersede { key: it.key, stop_running: it.stop_running }),
        lease: (!parts.lease.is_empty()).then_some(parts.lease),
    }
}

fn pacing_from(pacing: pb::Pacing) -> Pacing {
    let some = |number: u32| (number != 0).then_some(number);
    Pacing {
        limit: some(pacing.limit),
        ramp_start: some(pacing.ramp_start),
        max_failures: pacing.budget.map(|budget| match budget {
            Budget::MaxFailures(count) => Share::Count(count),
            Budget::MaxFailurePercent(percent) => Share::Percent(u8::try_from(percent).unwrap_or(u8::MAX)),
        }),
        order_by_label: (!pacing.order_by_label.is_empty()).then_some(pacing.order_by_label),
    }
}

fn preconditions_from(asked: pb::Preconditions) -> Preconditions {
    Preconditions {
        selector: asked.selector,
        agent_version_min: asked.agent_version_min,
        capabilities: asked.capabilities,
    }
}

pub(super) fn pacing(plan: &Plan) -> Option<pb::Pacing> {
    let pacing = &plan.pacing;
    (*pacing != Pacing::default()).then(|| pb::Pacing {
        limit: pacing.limit.unwrap_or(0),
        ramp_start: pacing.ramp_start.unwrap_or(0),
        budget: pacing.max_failures.map(|borne| match borne {
            Share::Count(count) => Budget::MaxFailures(count),
            Share::Percent(percent) => Budget::MaxFailurePercent(percent.into()),
        }),
        order_by_label: pacing.order_by_label.clone().unwrap_or_default(),
    })
}

pub(super) fn preconditions(plan: &Plan) -> Option<pb::Preconditions> {
    let asked = &plan.preconditions;
    (!asked.is_none()).then(|| pb::Preconditions {
        selector: asked.selector.clone(),
        agent_version_min: asked.agent_version_min.clone(),
        capabilities: asked.capabilities.clone(),
    })
}

pub(super) fn supersede(plan: &Plan) -> Option<pb::Supersede> {
    let supersede = plan.supersede.as_ref()?;
    Some(pb::Supersede { key: supersede.key.clone(), stop_running: supersede.stop_running })
}

pub(super) fn hold(hold: &Hold) -> pb::OperationHold {
    let (reason, lease, until) = match hold {
        Hold::NotBefore(at) => (pb::OperationHoldReason::NotBefore, String::new(), Some(*at)),
        Hold::Ramp => (pb::OperationHoldReason::Ramp, String::new(), None),
        Hold::Limit => (pb::OperationHoldReason::Limit, String::new(), None),
        Hold::Lease(name) => (pb::OperationHoldReason::Lease, name.clone(), None),
        Hold::NobodyOnline => (pb::OperationHoldReason::NobodyOnline, String::new(), None),
    };
    pb::OperationHold { reason: reason as i32, lease, until: until.map(timestamp) }
}
