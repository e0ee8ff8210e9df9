//! `SystemService`.

use muster_common::build_info;
use muster_domain::liveness::State;
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
        _: Request<pb::GetSystemRequest>,
    ) -> Result<Response<pb::GetSystemResponse>, Status> {
        let system = self.0.system().await.map_err(status::of_app)?;
        let fixed = &self.0.fixed;
        let count = |wanted: State| {
            let found =
                system.nodes.iter().find(|(state, _)| *state == wanted).map_or(0, |(_, count)| *count);
            i64::try_from(found).unwrap_or(i64::MAX)
        };
        Ok(Response::new(pb::GetSystemResponse {
            version: build_info::VERSION.to_owned(),
            trust_domain: fixed.trust_domain.to_string(),
            replica: fixed.replica.clone(),
            epoch: fixed.epoch,
            revision: system.revision,
            start_time: Some(wire::timestamp(fixed.started)),
            server_time: Some(wire::timestamp(self.0.clock.now())),
            nodes: Some(pb::NodeCounts {
                total: i64::try_from(self.0.fleet.len()).unwrap_or(i64::MAX),
                online: count(State::Online),
                late: count(State::Late),
                offline: count(State::Offline),
                unknown: count(State::Unknown),
                never_seen: count(State::NeverSeen),
                expired: count(State::Expired),
                quarantined: count(State::Quarantined),
            }),
            sessions: i64::try_from(system.sessions).unwrap_or(i64::MAX),
            store: "sqlite".to_owned(),
        }))
    }

    async fn get_caller(
        &self,
        request: Request<pb::GetCallerRequest>,
    ) -> Result<Response<pb::GetCallerResponse>, Status> {
        let principal = caller::actor(&request)?.principal;
        let role = self.0.access.role(&principal, &caller::peer(&request)?.serial).ok();
        Ok(Response::new(pb::GetCallerResponse {
            principal,
            role: role.map(|role| role.as_str().to_owned()).unwrap_or_default(),
            methods: role.map(|role| (self.0.fixed.methods_of)(role)).unwrap_or_default(),
        }))
    }
}
