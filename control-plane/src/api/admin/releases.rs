//! `ReleasesService`.

use muster_proto::admin::v1::{self as pb, releases_service_server::ReleasesService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::App,
};

/// Answers about releases of the agent.
pub struct Handler(pub App);

#[tonic::async_trait]
impl ReleasesService for Handler {
    async fn list_releases(
        &self,
        _: Request<pb::ListReleasesRequest>,
    ) -> Result<Response<pb::ListReleasesResponse>, Status> {
        let found = self.0.all_releases().await.map_err(status::of_app)?;
        let releases = found.iter().map(wire::release::release).collect();
        Ok(Response::new(pb::ListReleasesResponse { releases }))
    }

    async fn get_channel(
        &self,
        request: Request<pb::GetChannelRequest>,
    ) -> Result<Response<pb::GetChannelResponse>, Status> {
        let found = self.0.channel(request.into_inner().name).await.map_err(status::of_app)?;
        Ok(Response::new(pb::GetChannelResponse { channel: Some(wire::release::channel(&found)) }))
    }

    async fn list_channels(
        &self,
        _: Request<pb::ListChannelsRequest>,
    ) -> Result<Response<pb::ListChannelsResponse>, Status> {
        let found = self.0.channels().await.map_err(status::of_app)?;
        let channels = found.iter().map(wire::release::channel).collect();
        Ok(Response::new(pb::ListChannelsResponse { channels }))
    }

    async fn set_channel(
        &self,
        request: Request<pb::SetChannelRequest>,
    ) -> Result<Response<pb::SetChannelResponse>, Status> {
        let actor = caller::actor(&request)?;
        let wish = wire::release::wish_from(request.into_inner().channel)?;
        let channel = self.0.set_channel(&actor, wish).await.map_err(status::of_app)?;
        Ok(Response::new(pb::SetChannelResponse { channel: Some(wire::release::channel(&channel)) }))
    }
}
