//! `OperationsService`.

use muster_common::ids::OperationId;
use muster_domain::{
    access::Scope,
    command::Command,
    operation::{Counts, Operation},
};
use muster_proto::admin::v1::{
    self as pb, operations_service_server::OperationsService, watch_operation_response::Event,
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use crate::{
    api::{
        caller,
        download::{self, Download},
        status,
        watch::{self, Gone, Out, Watch},
        wire,
    },
    app::{
        App, Error,
        watch::{OperationNews, Place, Told},
    },
};

/// Answers about operations.
pub struct Handler(pub App);

#[tonic::async_trait]
impl OperationsService for Handler {
    async fn start_operation(
        &self,
        request: Request<pb::StartOperationRequest>,
    ) -> Result<Response<pb::StartOperationResponse>, Status> {
        let actor = caller::actor(&request)?;
        let wish = wire::operation::wish_from(request.into_inner())?;
        let (operation, counts) = self.0.start_operation(&actor, wish).await.map_err(status::of_app)?;
        let operation = Some(shown(&self.0, &operation, &counts).await?);
        Ok(Response::new(pb::StartOperationResponse { operation }))
    }

    async fn get_operation(
        &self,
        request: Request<pb::GetOperationRequest>,
    ) -> Result<Response<pb::GetOperationResponse>, Status> {
        let id = wire::id("id", &request.get_ref().id)?;
        let (operation, counts) =
            self.0.operation(&caller::scope(&request)?, id).await.map_err(status::of_app)?;
        let operation = Some(shown(&self.0, &operation, &counts).await?);
        Ok(Response::new(pb::GetOperationResponse { operation }))
    }

    async fn list_operations(
        &self,
        request: Request<pb::ListOperationsRequest>,
    ) -> Result<Response<pb::ListOperationsResponse>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let (page, asked) = wire::page::page("ListOperations", &[], request.page_size, &request.page_token)?;
        let listed = self.0.operations(&scope, page).await.map_err(status::of_app)?;
        let operations = listed.rows.iter().map(|(operation, _)| operation);
        let holds = self.0.holds(operations).await.map_err(status::of_app)?;
        let shown = listed.rows.iter().map(|(operation, counts)| {
            wire::operation::operation(operation, counts, holds.get(&operation.id))
        });
        Ok(Response::new(pb::ListOperationsResponse {
            operations: shown.collect(),
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
    }

    async fn list_commands(
        &self,
        request: Request<pb::ListCommandsRequest>,
    ) -> Result<Response<pb::ListCommandsResponse>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let id = wire::id("operation_id", &request.operation_id)?;
        let (page, asked) = wire::page::page(
            "ListCommands",
            &[&request.operation_id],
            request.page_size,
            &request.page_token,
        )?;
        let listed = self.0.commands(&scope, id, page, request.with_output).await.map_err(status::of_app)?;
        let shown = listed.rows.iter().map(|(command, output)| wire::operation::command(command, output));
        Ok(Response::new(pb::ListCommandsResponse {
            commands: shown.collect(),
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
    }

    async fn read_command_output(
        &self,
        request: Request<pb::ReadCommandOutputRequest>,
    ) -> Result<Response<pb::ReadCommandOutputResponse>, Status> {
        let from = wire::operation::output_from(request.get_ref())?;
        let part = self.0.read_output(&caller::scope(&request)?, from).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ReadCommandOutputResponse {
            data: part.data.into(),
            offset: part.offset,
            next_offset: part.next,
            ended: part.ended,
        }))
    }

    type WatchOperationStream = Watch<pb::WatchOperationResponse>;

    async fn watch_operation(
        &self,
        request: Request<pb::WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let id = wire::id("id", &request.id)?;
        self.0.operation(&scope, id).await.map_err(status::of_app)?;
        let mut place = Place::default();
        if !request.resume_token.is_empty() {
            place.revision = self.0.resume_from(&request.resume_token).await.map_err(status::of_app)?;
        }
        let app = self.0.clone();
        Ok(Response::new(watch::start(&self.0.tasks, move |out| async move {
            let watch = OneWatch { app: &app, scope, id, with_output: request.with_output };
            let _ = follow(watch, place, &out).await;
        })))
    }

    async fn cancel_operation(
        &self,
        request: Request<pb::CancelOperationRequest>,
    ) -> Result<Response<pb::CancelOperationResponse>, Status> {
        let actor = caller::actor(&request)?;
        let request = request.into_inner();
        let id = wire::id("id", &request.id)?;
        let cancelled = self.0.cancel_operation(&actor, id, request.reason, request.force).await;
        let (operation, counts) = cancelled.map_err(status::of_app)?;
        let operation = Some(shown(&self.0, &operation, &counts).await?);
        Ok(Response::new(pb::CancelOperationResponse { operation }))
    }

    async fn retry_operation(
        &self,
        request: Request<pb::RetryOperationRequest>,
    ) -> Result<Response<pb::RetryOperationResponse>, Status> {
        let actor = caller::actor(&request)?;
        let request = request.into_inner();
        let id = wire::id("id", &request.id)?;
        let states = wire::operation::states_from(&request.states)?;
        let made = self.0.retry_operation(&actor, id, states, request.request_id).await;
        let (operation, counts) = made.map_err(status::of_app)?;
        let operation = Some(shown(&self.0, &operation, &counts).await?);
        Ok(Response::new(pb::RetryOperationResponse { operation }))
    }

    async fn preview_operation(
        &self,
        request: Request<pb::PreviewOperationRequest>,
    ) -> Result<Response<pb::PreviewOperationResponse>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let asked = request.operation.ok_or_else(|| status::invalid("operation", "it is missing"))?;
        let bound = muster_common::digest::Sha256::of(&asked.encode_to_vec()).to_string();
        let (page, asked_for) =
            wire::page::page("PreviewOperation", &[&bound], request.page_size, &request.page_token)?;
        let wish = wire::operation::wish_from(asked)?;
        let previewed = self.0.preview_operation(&scope, &wish, page).await;
        let (listed, counts) = previewed.map_err(status::of_app)?;
        Ok(Response::new(pb::PreviewOperationResponse {
            nodes: listed.rows.iter().map(wire::operation::previewed).collect(),
            next_page_token: wire::page::next(asked_for, listed.next.as_deref()),
            counts: Some(wire::operation::preview_counts(&counts)),
        }))
    }

    type DownloadResultStream = Download<pb::DownloadResultResponse>;

    async fn download_result(
        &self,
        request: Request<pb::DownloadResultRequest>,
    ) -> Result<Response<Self::DownloadResultStream>, Status> {
        let (scope, request) = (caller::scope(&request)?, request.into_inner());
        let command = wire::id("command_id", &request.command_id)?;
        let (reader, node) =
            self.0.read_result(&scope, command, request.offset).await.map_err(status::of_app)?;
        let message = |chunk| pb::DownloadResultResponse { chunk };
        let may = move |app: &App| match app.may_still_see(&scope, node) {
            true => Ok(()),
            false => Err(Error::not_found("command", &command)),
        };
        Ok(Response::new(download::stream(&self.0, reader, may, message)))
    }
}

/// An operation with what holds it.
async fn shown(app: &App, operation: &Operation, counts: &Counts) -> Result<pb::Operation, Status> {
    let holds = app.holds([operation]).await.map_err(status::of_app)?;
    Ok(wire::operation::operation(operation, counts, holds.get(&operation.id)))
}

/// What one watcher asked for.
struct OneWatch<'a> {
    app: &'a App,
    scope: Scope,
    id: OperationId,
    with_output: bool,
}

async fn follow(
    watch: OneWatch<'_>,
    mut place: Place,
    out: &Out<pb::WatchOperationResponse>,
) -> Result<(), Gone> {
    let OneWatch { app, scope, id, with_output } = watch;
    let mut applied = app.feed.applied();
    loop {
        let before = app.resume_token(place.revision);
        let (news, told) = match app.operation_news(&scope, id, &mut place).await {
            Ok(news) => news,
            Err(error) => return Err(out.fail(status::of_app(error)).await),
        };
        let last = news.len().saturating_sub(1);
        for (n, news) in news.into_iter().enumerate() {
            // Only the last of a batch may be resumed after: the others come again.
            let resume_token = if n == last { app.resume_token(place.revision) } else { before.clone() };
            let event = Some(match news {
                OperationNews::Operation(operation, counts) => match shown(app, &operation, &counts).await {
                    Ok(operation) => Event::Operation(operation),
                    Err(status) => return Err(out.fail(status).await),
                },
                OperationNews::Command(command) => {
                    if with_output {
                        output(app, &scope, &command, &mut place, &before, out).await?;
                    }
                    if !app.may_still_see(&scope, command.node) {
                        continue;
                    }
                    Event::Command(wire::operation::command(&command, &[]))
                }
            });
            out.send(pb::WatchOperationResponse { event, resume_token }).await?;
        }
        match told {
            Told::Part => continue,
            Told::ToTheEnd => return Ok(()),
            Told::All => {}
        }
        let revision = place.revision;
        tokio::select! {
            () = out.closed() => return Err(Gone),
            open = watch::beyond(&mut applied, revision) => {
                if !open {
                    return Ok(());
                }
            }
        }
    }
}

/// Sends what a command printed since last time, some pieces at a time.
async fn output(
    app: &App,
    scope: &Scope,
    command: &Command,
    place: &mut Place,
    before: &str,
    out: &Out<pb::WatchOperationResponse>,
) -> Result<(), Gone> {
    while app.may_still_see(scope, command.node) {
        let pieces = match app.output_news(command.id, place).await {
            Ok(pieces) => pieces,
            Err(error) => return Err(out.fail(status::of_app(error)).await),
        };
        if pieces.is_empty() {
            return Ok(());
        }
        for piece in pieces {
            let event = Some(Event::Output(wire::operation::output(piece, command.node)));
            out.send(pb::WatchOperationResponse { event, resume_token: before.to_owned() }).await?;
        }
    }
    Ok(())
}
