//! `SettingsService`.

use muster_common::settings::SCHEMA;
use muster_proto::admin::v1::{self as pb, settings_service_server::SettingsService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, wire},
    app::App,
};

/// Answers about settings.
pub struct Handler(pub App);

#[tonic::async_trait]
impl SettingsService for Handler {
    async fn get_settings_schema(
        &self,
        _: Request<pb::GetSettingsSchemaRequest>,
    ) -> Result<Response<pb::GetSettingsSchemaResponse>, Status> {
        let settings = SCHEMA.iter().map(wire::settings::schema).collect();
        Ok(Response::new(pb::GetSettingsSchemaResponse { settings }))
    }

    async fn put_settings_profile(
        &self,
        request: Request<pb::PutSettingsProfileRequest>,
    ) -> Result<Response<pb::PutSettingsProfileResponse>, Status> {
        let actor = caller::actor(&request)?;
        let wish = wire::settings::wish_from(request.into_inner())?;
        let profile = self.0.put_profile(&actor, wish).await.map_err(status::of_app)?;
        Ok(Response::new(pb::PutSettingsProfileResponse { profile: Some(wire::settings::profile(&profile)) }))
    }

    async fn get_settings_profile(
        &self,
        request: Request<pb::GetSettingsProfileRequest>,
    ) -> Result<Response<pb::GetSettingsProfileResponse>, Status> {
        let request = request.into_inner();
        let profile = self.0.profile(request.name, request.version).await.map_err(status::of_app)?;
        Ok(Response::new(pb::GetSettingsProfileResponse { profile: Some(wire::settings::profile(&profile)) }))
    }

    async fn list_settings_profiles(
        &self,
        request: Request<pb::ListSettingsProfilesRequest>,
    ) -> Result<Response<pb::ListSettingsProfilesResponse>, Status> {
        let request = request.into_inner();
        let filter = [request.name.as_str()];
        let (page, asked) =
            wire::page::page("ListSettingsProfiles", &filter, request.page_size, &request.page_token)?;
        let name = (!request.name.is_empty()).then_some(request.name);
        let listed = self.0.profiles(page, name).await.map_err(status::of_app)?;
        Ok(Response::new(pb::ListSettingsProfilesResponse {
            profiles: listed.rows.iter().map(wire::settings::profile).collect(),
            next_page_token: wire::page::next(asked, listed.next.as_deref()),
        }))
    }

    async fn delete_settings_profile(
        &self,
        request: Request<pb::DeleteSettingsProfileRequest>,
    ) -> Result<Response<pb::DeleteSettingsProfileResponse>, Status> {
        let actor = caller::actor(&request)?;
        let request = request.into_inner();
        self.0.delete_profile(&actor, request.name, request.version).await.map_err(status::of_app)?;
        Ok(Response::new(pb::DeleteSettingsProfileResponse {}))
    }
}
