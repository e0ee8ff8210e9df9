//! `NodesService`.

use std::time::Duration;

use muster_proto::admin::v1::{self as pb, nodes_service_server::NodesService, watch_nodes_response::Event};
use tonic::{Request, Response, Status};

use crate::{
    api::{
        caller, status,
        watch::{self, Gone, Out, Watch},
        wire,
    },
    app::{
        Actor, App,
        nodes::Edit,
        selectors,
        watch::{NodeNews, NodeWatch},
    },
};

/// A watcher with nothing to hear hears at least this often where it is.
const BOOKMARK_EVERY: Duration = Duration::from_secs(30);

/// Answers about nodes.
pub struct Handler(pub App);

impl Handler {
    fn shown(&self, actor: &Actor, id: muster_common::ids::NodeId) -> Result<pb::Node, Status> {
        self.0.node(&actor.scope, id).map(|view| wire::node::node(&view)).map_err(status::of_app)
    }
}

#[tonic::async_trait]
impl NodesService for Handler {
    async fn list_nodes(
        &self,
        request: Request<pb::ListNodesRequest>,
    ) -> Result<Response<pb::ListNodesResponse>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let selector = self.0.selector_or_all(&request.selector).map_err(status::of_app)?;
        let (page, asked) =
            wire::page::page("ListNodes", &[&request.selector], request.page_size, &request.page_token)?;
        let (listed, total) = self.0.nodes(&scope, &selector, &page).map_err(status::of_app)?;
        let shown = listed.rows.iter().map(wire::node::node);
        let (nodes, next) = wire::page::fitting(shown, listed.next, |node| node.id.clone());
        Ok(Response::new(pb::ListNodesResponse {
            nodes,
            next_page_token: wire::page::next(asked, next.as_deref()),
            total_size: i64::try_from(total).unwrap_or(i64::MAX),
        }))
    }

    async fn get_node(
        &self,
        request: Request<pb::GetNodeRequest>,
    ) -> Result<Response<pb::GetNodeResponse>, Status> {
        let id = wire::id("id", &request.get_ref().id)?;
        let node = self.0.node(&caller::scope(&request)?, id).map_err(status::of_app)?;
        Ok(Response::new(pb::GetNodeResponse { node: Some(wire::node::node(&node)) }))
    }

    async fn explain_item(
        &self,
        request: Request<pb::ExplainItemRequest>,
    ) -> Result<Response<pb::ExplainItemResponse>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let (id, item) = (wire::id("id", &request.id)?, wire::id("item", &request.item)?);
        let found = self.0.explain_item(&scope, id, item).await.map_err(status::of_app)?;
        Ok(Response::new(wire::explain::explanation(&found)))
    }

    async fn update_node(
        &self,
        request: Request<pb::UpdateNodeRequest>,
    ) -> Result<Response<pb::UpdateNodeResponse>, Status> {
        let actor = caller::actor(&request)?;
        let request = request.into_inner();
        let mask = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
        let node = request.node.ok_or_else(|| status::invalid("node", "it is missing"))?;
        let id = wire::id("node.id", &node.id)?;
        let edit = edit_from(node, &mask)?;
        let node = self.0.edit_node(&actor, id, edit).await.map_err(status::of_app)?;
        Ok(Response::new(pb::UpdateNodeResponse { node: Some(wire::node::node(&node)) }))
    }

    async fn delete_node(
        &self,
        request: Request<pb::DeleteNodeRequest>,
    ) -> Result<Response<pb::DeleteNodeResponse>, Status> {
        let actor = caller::actor(&request)?;
        let request = request.into_inner();
        let id = wire::id("id", &request.id)?;
        self.0.remove_node(&actor, id, request.etag, request.reason).await.map_err(status::of_app)?;
        Ok(Response::new(pb::DeleteNodeResponse {}))
    }

    async fn quarantine_node(
        &self,
        request: Request<pb::QuarantineNodeRequest>,
    ) -> Result<Response<pb::QuarantineNodeResponse>, Status> {
        let (actor, request) = (caller::actor(&request)?, request.into_inner());
        let id = wire::id("id", &request.id)?;
        self.0.quarantine_node(&actor, id, request.reason).await.map_err(status::of_app)?;
        Ok(Response::new(pb::QuarantineNodeResponse { node: Some(self.shown(&actor, id)?) }))
    }

    async fn release_quarantine(
        &self,
        request: Request<pb::ReleaseQuarantineRequest>,
    ) -> Result<Response<pb::ReleaseQuarantineResponse>, Status> {
        let (actor, request) = (caller::actor(&request)?, request.into_inner());
        let id = wire::id("id", &request.id)?;
        let keep = match request.keep_instance_id.as_str() {
            "" => None,
            text => Some(wire::id("keep_instance_id", text)?),
        };
        self.0.release_quarantine(&actor, id, keep, request.reason).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ReleaseQuarantineResponse { node: Some(self.shown(&actor, id)?) }))
    }

    async fn accept_restored(
        &self,
        request: Request<pb::AcceptRestoredRequest>,
    ) -> Result<Response<pb::AcceptRestoredResponse>, Status> {
        let (actor, request) = (caller::actor(&request)?, request.into_inner());
        let go = !request.validate_only;
        let done = self.0.accept_restored(&actor, &request.selector, request.reason, go).await;
        let nodes = i64::try_from(done.map_err(status::of_app)?).unwrap_or(i64::MAX);
        Ok(Response::new(pb::AcceptRestoredResponse { nodes }))
    }

    async fn allow_recovery(
        &self,
        request: Request<pb::AllowRecoveryRequest>,
    ) -> Result<Response<pb::AllowRecoveryResponse>, Status> {
        let (actor, request) = (caller::actor(&request)?, request.into_inner());
        let id = wire::id("id", &request.id)?;
        self.0.allow_recovery(&actor, id).await.map_err(status::of_app)?;
        Ok(Response::new(pb::AllowRecoveryResponse { node: Some(self.shown(&actor, id)?) }))
    }

    type WatchNodesStream = Watch<pb::WatchNodesResponse>;

    async fn watch_nodes(
        &self,
        request: Request<pb::WatchNodesRequest>,
    ) -> Result<Response<Self::WatchNodesStream>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let written = selectors::written_or_all(&request.selector).map_err(status::of_app)?;
        let nodes = self.0.node_watch(scope, written).map_err(status::of_app)?;
        let from = match request.resume_token.as_str() {
            "" => None,
            token => Some(self.0.resume_nodes_from(&nodes, token).await.map_err(status::of_app)?),
        };
        let app = self.0.clone();
        Ok(Response::new(watch::start(&self.0.tasks, |out| async move {
            let _ = follow(&app, nodes, from, &out).await;
        })))
    }
}

pub(in crate::api) fn edit_from(node: pb::Node, mask: &[String]) -> Result<Edit, Status> {
    let mut edit = Edit { etag: node.etag, ..Edit::default() };
    if mask.is_empty() {
        edit.display_name = (!node.display_name.is_empty()).then_some(node.display_name);
        edit.labels = (!node.labels.is_empty()).then(|| node.labels.into_iter().collect());
        return Ok(edit);
    }
    for path in mask {
        match path.as_str() {
            "display_name" => edit.display_name = Some(node.display_name.clone()),
            "labels" => edit.labels = Some(node.labels.clone().into_iter().collect()),
            other => {
                return Err(status::invalid(
                    "update_mask",
                    format!("{other:?} cannot be changed; display_name and labels can"),
                ));
            }
        }
    }
    Ok(edit)
}

async fn follow(
    app: &App,
    mut nodes: NodeWatch,
    from: Option<u64>,
    out: &Out<pb::WatchNodesResponse>,
) -> Result<(), Gone> {
    let mut revision = match from {
        Some(revision) => revision,
        None => snapshot(app, &mut nodes, out).await?,
    };
    let mut applied = app.feed.applied();
    loop {
        let (ids, reached) = match app.node_changes(&mut nodes, revision).await {
            Ok(news) => news,
            Err(error) => return Err(out.fail(status::of_app(error)).await),
        };
        for id in ids {
            let Some(news) = app.node_news(&mut nodes, id) else { continue };
            // Until all news of these revisions are sent, a resume starts before them.
            out.send(told(news, app.node_token(&nodes, revision))).await?;
        }
        if let Err(error) = app.may_watch(&nodes) {
            return Err(out.fail(status::of_app(error)).await);
        }
        if reached > revision {
            bookmark(out, app.node_token(&nodes, reached)).await?;
        }
        revision = reached;
        tokio::select! {
            () = out.closed() => return Err(Gone),
            open = watch::beyond(&mut applied, revision) => {
                if !open {
                    return Ok(());
                }
            }
            () = tokio::time::sleep(BOOKMARK_EVERY) => bookmark(out, app.node_token(&nodes, revision)).await?,
        }
    }
}

async fn snapshot(app: &App, nodes: &mut NodeWatch, out: &Out<pb::WatchNodesResponse>) -> Result<u64, Gone> {
    let (ids, revision) = app.nodes_now(nodes);
    for id in ids {
        // One that went meanwhile is told of as news.
        let Some(news @ NodeNews::Upserted(_)) = app.node_news(nodes, id) else { continue };
        // No token: a watch that breaks in here starts again.
        out.send(told(news, String::new())).await?;
    }
    bookmark(out, app.node_token(nodes, revision)).await?;
    Ok(revision)
}

fn told(news: NodeNews, resume_token: String) -> pb::WatchNodesResponse {
    let event = match news {
        NodeNews::Upserted(view) => Event::Upserted(wire::node::node(&view)),
        NodeNews::Removed(id) => Event::RemovedId(id.to_string()),
    };
    pb::WatchNodesResponse { event: Some(event), resume_token }
}

async fn bookmark(out: &Out<pb::WatchNodesResponse>, resume_token: String) -> Result<(), Gone> {
    out.send(pb::WatchNodesResponse { event: Some(Event::Bookmark(pb::Bookmark {})), resume_token }).await
}
