//! `SystemService`.

use muster_common::build_info;
use muster_domain::{access::Rights, liveness::State};
use muster_proto::admin::v1::{self as pb, system_service_server::SystemService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::App,
};

/// Answers about the control plane itself.
pub struct Handler(pub App);

#[tonic::async_trait]
impl SystemService for Handler {
    async fn get_system(
        &self,
        request: Request<pb::GetSystemRequest>,
    ) -> Result<Response<pb::GetSystemResponse>, Status> {
        let system = self.0.system(&caller::scope(&request)?).await.map_err(status::of_app)?;
        let fixed = &self.0.fixed;
        let count = |wanted: State| {
            let found =
                system.nodes.iter().find(|(state, _)| *state == wanted).map_or(0, |(_, count)| *count);
            i64::try_from(found).unwrap_or(i64::MAX)
        };
        let total: usize = system.nodes.iter().map(|(_, count)| count).sum();
        Ok(Response::new(pb::GetSystemResponse {
            version: build_info::version().to_owned(),
            trust_domain: fixed.trust_domain.to_string(),
            replica: fixed.replica.clone(),
            epoch: fixed.history.epoch,
            revision: system.revision,
            start_time: Some(wire::timestamp(fixed.started)),
            server_time: Some(wire::timestamp(self.0.clock.now())),
            nodes: Some(pb::NodeCounts {
                total: i64::try_from(total).unwrap_or(i64::MAX),
                online: count(State::Online),
                late: count(State::Late),
                offline: count(State::Offline),
                unknown: count(State::Unknown),
                never_seen: count(State::NeverSeen),
                expired: count(State::Expired),
                quarantined: count(State::Quarantined),
            }),
            sessions: i64::try_from(system.sessions).unwrap_or(i64::MAX),
            store: if self.0.store.is_shared() { "postgres" } else { "sqlite" }.to_owned(),
            traces: Some(sampling(&self.0)),
            replicas: self.0.replicas.all().into_iter().map(wire::replica::replica).collect(),
        }))
    }

    async fn get_caller(
        &self,
        request: Request<pb::GetCallerRequest>,
    ) -> Result<Response<pb::GetCallerResponse>, Status> {
        let principal = caller::actor(&request)?.principal;
        let rights = self.0.access.rights(&principal).unwrap_or_else(|| Rights::of(&principal, &[]));
        let role = rights.strongest().map(|role| role.as_str().to_owned());
        Ok(Response::new(pb::GetCallerResponse {
            role: role.unwrap_or_default(),
            methods: self.0.methods_of(&rights),
            bindings: rights.bindings.iter().map(wire::access::binding).collect(),
            principal,
        }))
    }

    async fn set_trace_sampling(
        &self,
        request: Request<pb::SetTraceSamplingRequest>,
    ) -> Result<Response<pb::SetTraceSamplingResponse>, Status> {
        let (actor, ratio) = (caller::actor(&request)?, request.get_ref().ratio);
        self.0.set_trace_sampling(&actor, ratio).await.map_err(status::of_app)?;
        Ok(Response::new(pb::SetTraceSamplingResponse { traces: Some(sampling(&self.0)) }))
    }
}

fn sampling(app: &App) -> pb::TraceSampling {
    let traces = &app.traces;
    pb::TraceSampling { exported: traces.is_on(), ratio: traces.ratio(), is_set: traces.set().is_some() }
}
