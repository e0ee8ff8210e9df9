//! `RolloutsService`.

use std::time::Duration;

use muster_common::ids::RolloutId;
use muster_domain::{
    access::Scope,
    rollout::{Rollout, Wish},
};
use muster_proto::admin::v1::{self as pb, rollouts_service_server::RolloutsService};
use tonic::{Request, Response, Status};

use crate::{
    api::{
        caller, status,
        watch::{self, Gone, Out, Watch},
        wire,
    },
    app::{Actor, App, rollouts::RolloutWatch},
};

/// Between looks at what was seen of a rollout that is watched.
const LOOK: Duration = Duration::from_millis(500);

/// Answers about rollouts.
pub struct Handler(pub App);

impl Handler {
    async fn ask(
        &self,
        actor: &Actor,
        id: &str,
        wish: Wish,
        reason: String,
    ) -> Result<Option<pb::Rollout>, Status> {
        let id = wire::id::<RolloutId>("id", id)?;
        let rollout = self.0.ask_rollout(actor, id, wish, reason).await.map_err(status::of_app)?;
        Ok(self.shown(rollout).await)
    }

    async fn shown(&self, rollout: Rollout) -> Option<pb::Rollout> {
        Some(wire::rollout::rollout(&self.0.seen(rollout).await))
    }
}

#[tonic::async_trait]
impl RolloutsService for Handler {
    async fn create_rollout(
        &self,
        request: Request<pb::CreateRolloutRequest>,
    ) -> Result<Response<pb::CreateRolloutResponse>, Status> {
        let actor = caller::actor(&request)?;
        let wish = wire::rollout::wish_from(request.into_inner())?;
        let validate_only = wish.validate_only;
        let made = self.0.create_rollout(&actor, wish).await.map_err(status::of_app)?;
        let preview = match validate_only {
            true => Some(self.0.preview_rollout(&actor.scope, &made).await.map_err(status::of_app)?),
            false => None,
        };
        let preview = preview.as_ref().map(wire::preview::preview);
        Ok(Response::new(pb::CreateRolloutResponse { rollout: self.shown(made).await, preview }))
    }

    async fn get_rollout(
        &self,
        request: Request<pb::GetRolloutRequest>,
    ) -> Result<Response<pb::GetRolloutResponse>, Status> {
        let id = wire::id("id", &request.get_ref().id)?;
        let seen = self.0.rollout(&caller::scope(&request)?, id).await.map_err(status::of_app)?;
        Ok(Response::new(pb::GetRolloutResponse { rollout: Some(wire::rollout::rollout(&seen)) }))
    }

    async fn list_rollouts(
        &self,
        request: Request<pb::ListRolloutsRequest>,
    ) -> Result<Response<pb::ListRolloutsResponse>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let parts = [request.assignment.as_str()];
        let (page, asked) = wire::page::page("ListRollouts", &parts, request.page_size, &request.page_token)?;
        let assignment = Some(request.assignment).filter(|name| !name.is_empty());
        let listed = self.0.rollouts(&scope, page, assignment).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ListRolloutsResponse {
            rollouts: listed.rows.iter().map(wire::rollout::rollout).collect(),
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
    }

    async fn list_rollout_nodes(
        &self,
        request: Request<pb::ListRolloutNodesRequest>,
    ) -> Result<Response<pb::ListRolloutNodesResponse>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let id = wire::id("id", &request.id)?;
        let parts = [request.id.as_str()];
        let (page, asked) =
            wire::page::page("ListRolloutNodes", &parts, request.page_size, &request.page_token)?;
        let all = self.0.rollout_nodes(&scope, id).await.map_err(status::of_app)?;
        let from = page.after.as_ref().map_or(0, |after| {
            // One that has left meanwhile: from the start again, rather than leaving others out.
            all.iter().position(|it| it.node.to_string() == *after).map_or(0, |at| at + 1)
        });
        let size = page.size as usize;
        let nodes: Vec<pb::RolloutNode> = all.iter().skip(from).take(size).map(wire::rollout::node).collect();
        let next = nodes.last().filter(|_| from + size < all.len()).map(|last| last.node_id.clone());
        Ok(Response::new(pb::ListRolloutNodesResponse {
            nodes,
            next_page_token: wire::page::next(asked, next.as_deref()),
        }))
    }

    type WatchRolloutStream = Watch<pb::WatchRolloutResponse>;

    async fn watch_rollout(
        &self,
        request: Request<pb::WatchRolloutRequest>,
    ) -> Result<Response<Self::WatchRolloutStream>, Status> {
        let scope = caller::scope(&request)?;
        let id = wire::id("id", &request.get_ref().id)?;
        let rollout = self.0.watch_rollout(&scope, id).await.map_err(status::of_app)?;
        Ok(Response::new(watch::start(&self.0.tasks, move |out| async move {
            let _ = follow(rollout, &scope, &out).await;
        })))
    }

    async fn pause_rollout(
        &self,
        request: Request<pb::PauseRolloutRequest>,
    ) -> Result<Response<pb::PauseRolloutResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        let rollout = self.ask(&actor, &it.id, Wish::Pause, it.reason).await?;
        Ok(Response::new(pb::PauseRolloutResponse { rollout }))
    }

    async fn resume_rollout(
        &self,
        request: Request<pb::ResumeRolloutRequest>,
    ) -> Result<Response<pb::ResumeRolloutResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        let rollout = self.ask(&actor, &it.id, Wish::Resume, it.reason).await?;
        Ok(Response::new(pb::ResumeRolloutResponse { rollout }))
    }

    async fn approve_rollout(
        &self,
        request: Request<pb::ApproveRolloutRequest>,
    ) -> Result<Response<pb::ApproveRolloutResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        let rollout = self.ask(&actor, &it.id, Wish::Approve(it.step), it.reason).await?;
        Ok(Response::new(pb::ApproveRolloutResponse { rollout }))
    }

    async fn abort_rollout(
        &self,
        request: Request<pb::AbortRolloutRequest>,
    ) -> Result<Response<pb::AbortRolloutResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        let rollout = self.ask(&actor, &it.id, Wish::Abort, it.reason).await?;
        Ok(Response::new(pb::AbortRolloutResponse { rollout }))
    }

    async fn roll_back_rollout(
        &self,
        request: Request<pb::RollBackRolloutRequest>,
    ) -> Result<Response<pb::RollBackRolloutResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        let rollout = self.ask(&actor, &it.id, Wish::RollBack, it.reason).await?;
        Ok(Response::new(pb::RollBackRolloutResponse { rollout }))
    }

    async fn set_rollout_brake(
        &self,
        request: Request<pb::SetRolloutBrakeRequest>,
    ) -> Result<Response<pb::SetRolloutBrakeResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        let brake = self.0.set_rollout_brake(&actor, it.pulled, it.reason).await.map_err(status::of_app)?;
        Ok(Response::new(pb::SetRolloutBrakeResponse { brake: brake.as_ref().map(wire::rollout::brake) }))
    }

    async fn get_rollout_brake(
        &self,
        _: Request<pb::GetRolloutBrakeRequest>,
    ) -> Result<Response<pb::GetRolloutBrakeResponse>, Status> {
        let brake = self.0.rollout_brake();
        Ok(Response::new(pb::GetRolloutBrakeResponse { brake: brake.as_ref().map(wire::rollout::brake) }))
    }
}

/// Sends the rollout whenever it is another one than before, until it is over.
async fn follow(
    mut rollout: RolloutWatch,
    scope: &Scope,
    out: &Out<pb::WatchRolloutResponse>,
) -> Result<(), Gone> {
    let mut last = None;
    loop {
        let seen = match rollout.follow(scope).await {
            Ok(seen) => seen,
            Err(error) => return Err(out.fail(status::of_app(error)).await),
        };
        if let Some(seen) = seen {
            let next = Some(wire::rollout::rollout(&seen));
            if next != last {
                out.send(pb::WatchRolloutResponse { rollout: next.clone() }).await?;
                last = next;
            }
            if seen.rollout.phase.is_over() {
                return Ok(());
            }
        }
        tokio::select! {
            () = out.closed() => return Err(Gone),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
