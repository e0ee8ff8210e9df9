//! `EventsService`.

mod watch;

use muster_proto::admin::v1::{self as pb, events_service_server::EventsService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, watch::Watch, wire},
    app::{
        App,
        events::{self, Asked},
    },
};

/// Answers about events.
pub struct Handler(pub App);

impl Handler {
    /// What is asked for, with the groups of now; and what binds a token to it.
    fn asked(&self, asked: wire::event::Asked) -> Result<(Asked, Vec<String>), Status> {
        let wire::event::Asked { filter, selector } = asked;
        let mut parts = Vec::from(filter.parts());
        parts.push(selector.clone());
        let chosen = match selector.as_str() {
            "" => None,
            text => Some(self.0.selector_or_all(text).map_err(status::of_app)?),
        };
        Ok((Asked { filter, selector: chosen }, parts))
    }
}

#[tonic::async_trait]
impl EventsService for Handler {
    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let (scope, it) = (caller::scope(&request)?, request.into_inner());
        let (asked, parts) = self.asked(wire::event::asked_of_list(&it)?)?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (page, token) = wire::page::page("ListEvents", &parts, it.page_size, &it.page_token)?;
        let listed = self.0.events(&scope, &page, &asked).await.map_err(status::of_app)?;
        let key = |shown: &pb::Event| {
            let row = listed.rows.iter().find(|row| row.id.to_string() == shown.id);
            row.map(events::key_of).unwrap_or_default()
        };
        let shown = listed.rows.iter().map(wire::event::event);
        let (events, next) = wire::page::fitting(shown, listed.next.clone(), key);
        Ok(Response::new(pb::ListEventsResponse {
            events,
            next_page_token: wire::page::next(token, next.as_deref()),
        }))
    }

    async fn get_event(
        &self,
        request: Request<pb::GetEventRequest>,
    ) -> Result<Response<pb::GetEventResponse>, Status> {
        let id = wire::id("id", &request.get_ref().id)?;
        let found = self.0.event(&caller::scope(&request)?, id).await.map_err(status::of_app)?;
        Ok(Response::new(pb::GetEventResponse { event: Some(wire::event::event(&found)) }))
    }

    type WatchEventsStream = Watch<pb::WatchEventsResponse>;

    async fn watch_events(
        &self,
        request: Request<pb::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let (scope, it) = (caller::scope(&request)?, request.into_inner());
        let (asked, parts) = self.asked(wire::event::asked_of_watch(&it)?)?;
        let bound: Vec<&str> = parts.iter().map(String::as_str).collect();
        let from = match it.resume_token.as_str() {
            "" => self.0.event_start(&asked.filter).await,
            token => self.0.event_resume(&bound, token).await,
        };
        let from = from.map_err(status::of_app)?;
        Ok(Response::new(watch::start(&self.0, scope, asked, parts, from)))
    }
}
