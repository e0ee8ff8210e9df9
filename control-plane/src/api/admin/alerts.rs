//! `AlertsService`.

mod watching;

use muster_proto::admin::v1::{self as pb, alerts_service_server::AlertsService};
use tonic::{Request, Response, Status};

use crate::{
    api::{caller, status, watch::Watch, wire},
    app::App,
};

/// Answers about alerts.
pub struct Handler(pub App);

#[tonic::async_trait]
impl AlertsService for Handler {
    type WatchAlertsStream = Watch<pb::WatchAlertsResponse>;

    async fn create_alert_rule(
        &self,
        request: Request<pb::CreateAlertRuleRequest>,
    ) -> Result<Response<pb::CreateAlertRuleResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        let wish = wire::alert::rule_from(it.rule)?;
        let made = self.0.create_alert_rule(&actor, wish).await.map_err(status::of_app)?;
        Ok(Response::new(pb::CreateAlertRuleResponse { rule: Some(wire::alert::rule(&made)) }))
    }

    async fn get_alert_rule(
        &self,
        request: Request<pb::GetAlertRuleRequest>,
    ) -> Result<Response<pb::GetAlertRuleResponse>, Status> {
        let found = self.0.alert_rule(request.into_inner().name).await.map_err(status::of_app)?;
        Ok(Response::new(pb::GetAlertRuleResponse { rule: Some(wire::alert::rule(&found)) }))
    }

    async fn list_alert_rules(
        &self,
        _: Request<pb::ListAlertRulesRequest>,
    ) -> Result<Response<pb::ListAlertRulesResponse>, Status> {
        let rules = self.0.alert_rules().await.map_err(status::of_app)?;
        Ok(Response::new(pb::ListAlertRulesResponse { rules: rules.iter().map(wire::alert::rule).collect() }))
    }

    async fn update_alert_rule(
        &self,
        request: Request<pb::UpdateAlertRuleRequest>,
    ) -> Result<Response<pb::UpdateAlertRuleResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        let wish = wire::alert::rule_from(it.rule)?;
        let updated = self.0.update_alert_rule(&actor, wish).await.map_err(status::of_app)?;
        Ok(Response::new(pb::UpdateAlertRuleResponse { rule: Some(wire::alert::rule(&updated)) }))
    }

    async fn delete_alert_rule(
        &self,
        request: Request<pb::DeleteAlertRuleRequest>,
    ) -> Result<Response<pb::DeleteAlertRuleResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        self.0.delete_alert_rule(&actor, it.name, it.etag).await.map_err(status::of_app)?;
        Ok(Response::new(pb::DeleteAlertRuleResponse {}))
    }

    async fn list_alerts(
        &self,
        request: Request<pb::ListAlertsRequest>,
    ) -> Result<Response<pb::ListAlertsResponse>, Status> {
        let (scope, it) = (caller::scope(&request)?, request.into_inner());
        let which = if it.include_resolved { "all" } else { "open" };
        let (page, asked) = wire::page::page("ListAlerts", &[which], it.page_size, &it.page_token)?;
        let listed = self.0.alerts(&scope, page, it.include_resolved).await.map_err(status::of_app)?;
        let shown = listed.rows.iter().map(wire::alert::alert);
        let (alerts, next) = wire::page::fitting(shown, listed.next, |alert| alert.id.clone());
        let next_page_token = wire::page::next(asked, next.as_deref());
        Ok(Response::new(pb::ListAlertsResponse { alerts, next_page_token }))
    }

    async fn get_alert(
        &self,
        request: Request<pb::GetAlertRequest>,
    ) -> Result<Response<pb::GetAlertResponse>, Status> {
        let id = wire::id("id", &request.get_ref().id)?;
        let found = self.0.alert(&caller::scope(&request)?, id).await.map_err(status::of_app)?;
        Ok(Response::new(pb::GetAlertResponse { alert: Some(wire::alert::alert(&found)) }))
    }

    async fn acknowledge_alert(
        &self,
        request: Request<pb::AcknowledgeAlertRequest>,
    ) -> Result<Response<pb::AcknowledgeAlertResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        let id = wire::id("id", &it.id)?;
        let after = self.0.acknowledge_alert(&actor, id, it.comment).await.map_err(status::of_app)?;
        Ok(Response::new(pb::AcknowledgeAlertResponse { alert: Some(wire::alert::alert(&after)) }))
    }

    async fn test_fire_alert(
        &self,
        request: Request<pb::TestFireAlertRequest>,
    ) -> Result<Response<pb::TestFireAlertResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        let made = self.0.test_fire_alert(&actor, it.rule).await.map_err(status::of_app)?;
        Ok(Response::new(pb::TestFireAlertResponse { alert: Some(wire::alert::alert(&made)) }))
    }

    async fn silence_alerts(
        &self,
        request: Request<pb::SilenceAlertsRequest>,
    ) -> Result<Response<pb::SilenceAlertsResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        let wish = wire::alert::silence_from(it.silence)?;
        let made = self.0.silence_alerts(&actor, wish).await.map_err(status::of_app)?;
        let silence = Some(wire::alert::silence(&made, self.0.clock.now()));
        Ok(Response::new(pb::SilenceAlertsResponse { silence }))
    }

    async fn list_silences(
        &self,
        _: Request<pb::ListSilencesRequest>,
    ) -> Result<Response<pb::ListSilencesResponse>, Status> {
        let (silences, now) = (self.0.silences().await.map_err(status::of_app)?, self.0.clock.now());
        let silences = silences.iter().map(|it| wire::alert::silence(it, now)).collect();
        Ok(Response::new(pb::ListSilencesResponse { silences }))
    }

    async fn expire_silence(
        &self,
        request: Request<pb::ExpireSilenceRequest>,
    ) -> Result<Response<pb::ExpireSilenceResponse>, Status> {
        let actor = caller::actor(&request)?;
        let id = wire::id("id", &request.get_ref().id)?;
        let after = self.0.expire_silence(&actor, id).await.map_err(status::of_app)?;
        let silence = Some(wire::alert::silence(&after, self.0.clock.now()));
        Ok(Response::new(pb::ExpireSilenceResponse { silence }))
    }

    async fn create_alert_receiver(
        &self,
        request: Request<pb::CreateAlertReceiverRequest>,
    ) -> Result<Response<pb::CreateAlertReceiverResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        let wish = wire::alert::receiver_from(it.receiver)?;
        let made = self.0.create_receiver(&actor, wish).await.map_err(status::of_app)?;
        Ok(Response::new(pb::CreateAlertReceiverResponse { receiver: Some(wire::alert::receiver(&made)) }))
    }

    async fn list_alert_receivers(
        &self,
        request: Request<pb::ListAlertReceiversRequest>,
    ) -> Result<Response<pb::ListAlertReceiversResponse>, Status> {
        let all = self.0.receivers(&caller::scope(&request)?).await.map_err(status::of_app)?;
        let receivers = all.iter().map(wire::alert::receiver).collect();
        Ok(Response::new(pb::ListAlertReceiversResponse { receivers }))
    }

    async fn update_alert_receiver(
        &self,
        request: Request<pb::UpdateAlertReceiverRequest>,
    ) -> Result<Response<pb::UpdateAlertReceiverResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        let wish = wire::alert::receiver_from(it.receiver)?;
        let updated = self.0.update_receiver(&actor, wish).await.map_err(status::of_app)?;
        Ok(Response::new(pb::UpdateAlertReceiverResponse { receiver: Some(wire::alert::receiver(&updated)) }))
    }

    async fn delete_alert_receiver(
        &self,
        request: Request<pb::DeleteAlertReceiverRequest>,
    ) -> Result<Response<pb::DeleteAlertReceiverResponse>, Status> {
        let (actor, it) = (caller::actor(&request)?, request.into_inner());
        self.0.delete_receiver(&actor, it.name, it.etag).await.map_err(status::of_app)?;
        Ok(Response::new(pb::DeleteAlertReceiverResponse {}))
    }

    async fn list_dead_letters(
        &self,
        request: Request<pb::ListDeadLettersRequest>,
    ) -> Result<Response<pb::ListDeadLettersResponse>, Status> {
        let it = request.into_inner();
        let (page, asked) = wire::page::page("ListDeadLetters", &[], it.page_size, &it.page_token)?;
        let listed = self.0.dead_letters(page).await.map_err(status::of_app)?;
        let dead_letters = listed.rows.iter().map(wire::alert::dead_letter).collect();
        let next_page_token = wire::page::next(asked, listed.next.as_deref());
        Ok(Response::new(pb::ListDeadLettersResponse { dead_letters, next_page_token }))
    }

    async fn retry_dead_letter(
        &self,
        request: Request<pb::RetryDeadLetterRequest>,
    ) -> Result<Response<pb::RetryDeadLetterResponse>, Status> {
        let actor = caller::actor(&request)?;
        let id = wire::id("id", &request.get_ref().id)?;
        self.0.retry_dead_letter(&actor, id).await.map_err(status::of_app)?;
        Ok(Response::new(pb::RetryDeadLetterResponse {}))
    }

    async fn watch_alerts(
        &self,
        request: Request<pb::WatchAlertsRequest>,
    ) -> Result<Response<Self::WatchAlertsStream>, Status> {
        let (scope, it) = (caller::scope(&request)?, request.into_inner());
        let from = match it.resume_token.as_str() {
            "" => None,
            token => Some(self.0.resume_from(token).await.map_err(status::of_app)?),
        };
        Ok(Response::new(watching::start(&self.0, scope, from)))
    }
}
