//! `muster.local.v1.AgentService`: reads the wire, asks the host, writes the wire.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _};
use muster_common::{error_chain::Chain, reason::Reason, settings, tasks};
use muster_proto::local::v1::{
    self as pb,
    agent_service_server::{AgentService, AgentServiceServer},
};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use super::{Caller, Host, Refused, refusal, status::Status as AgentStatus, wire};
use crate::state::Pause;

/// Longest reason of a pause, in bytes.
const REASON: usize = 256;
/// Longest pause.
const PAUSE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Longest time at another log level.
const LOUD: Duration = Duration::from_secs(7 * 24 * 3600);

/// For the status to show what was asked.
const SHOWN: Duration = Duration::from_secs(2);

/// The service, which takes messages of at most so many bytes.
pub(super) fn server(host: Arc<dyn Host>, message: usize) -> AgentServiceServer<impl AgentService> {
    AgentServiceServer::new(Agent(host)).max_decoding_message_size(message)
}

struct Agent(Arc<dyn Host>);

impl Agent {
    /// Asks the host what it has to look up on the disk, or to write there.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Host) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Status> {
        let host = Arc::clone(&self.0);
        tasks::blocking(move || work(host.as_ref())).await.map_err(|refused| said(&refused))
    }

    /// Waits until the status shows what was asked: who asks for it next sees that.
    async fn until(&self, is: impl FnMut(&Arc<AgentStatus>) -> bool) {
        let mut status = self.0.status();
        let _ = tokio::time::timeout(SHOWN, status.wait_for(is)).await; // it is done all the same
    }

    fn told(&self, status: &AgentStatus, caller: &Caller) -> pb::AgentStatus {
        let status = if caller.is_owner { status.clone() } else { status.for_all() };
        wire::status(status, self.0.now())
    }
}

fn said(refused: &Refused) -> Status {
    match refused {
        Refused::NotInAFleet => refusal::status(Reason::NotInAFleet, refused.to_string()),
        Refused::Locked(_) => refusal::status(Reason::ExtensionDenied, refused.to_string()),
        Refused::LogLevelFixed => refusal::status(Reason::LogLevelFixed, refused.to_string()),
        Refused::Disk(_) => {
            let error = Chain(refused).to_string();
            tracing::warn!(error, "a call on the local socket failed: {error}");
            refusal::status(Reason::Internal, error)
        }
    }
}

/// Who called: put beside every request by the door.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().copied();
    caller.ok_or_else(|| refusal::status(Reason::Internal, "the caller is not known"))
}

#[tonic::async_trait]
impl AgentService for Agent {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        let status = self.told(&self.0.status().borrow(), &caller(&request)?);
        Ok(Response::new(pb::GetStatusResponse { status: Some(status) }))
    }

    type WatchStatusStream = Pin<Box<dyn Stream<Item = Result<pb::WatchStatusResponse, Status>> + Send>>;

    async fn watch_status(
        &self,
        request: Request<pb::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let (caller, host) = (caller(&request)?, Self(Arc::clone(&self.0)));
        let told = move |status: Arc<AgentStatus>| {
            Ok(pb::WatchStatusResponse { status: Some(host.told(&status, &caller)) })
        };
        Ok(Response::new(Box::pin(WatchStream::new(self.0.status()).map(told))))
    }

    async fn get_facts(
        &self,
        _: Request<pb::GetFactsRequest>,
    ) -> Result<Response<pb::GetFactsResponse>, Status> {
        let mut facts = (*self.0.facts().map_err(|refused| said(&refused))?).clone();
        facts.settings = self.0.settings();
        Ok(Response::new(pb::GetFactsResponse { facts: Some(wire::facts(facts)) }))
    }

    async fn get_settings(
        &self,
        _: Request<pb::GetSettingsRequest>,
    ) -> Result<Response<pb::GetSettingsResponse>, Status> {
        let settings = self.0.settings().into_iter().map(wire::setting).collect();
        Ok(Response::new(pb::GetSettingsResponse { settings }))
    }

    async fn explain_item(
        &self,
        request: Request<pb::ExplainItemRequest>,
    ) -> Result<Response<pb::ExplainItemResponse>, Status> {
        let wanted = request.into_inner().item;
        let all = self.ask(|host| host.explain()).await?.into_iter();
        let items: Vec<_> = all.filter(|it| wanted.is_empty() || it.item == wanted).collect();
        if items.is_empty() && !wanted.is_empty() {
            let message = format!("this host has never heard of {wanted:?}");
            return Err(refusal::status(Reason::NotFound, message));
        }
        let items = items.into_iter().map(wire::explanation).collect();
        Ok(Response::new(pb::ExplainItemResponse { items }))
    }

    async fn pause(&self, request: Request<pb::PauseRequest>) -> Result<Response<pb::PauseResponse>, Status> {
        let Caller { uid, pid, .. } = caller(&request)?;
        let request = request.into_inner();
        let reason = reason(request.reason)?;
        let since = self.0.now();
        let until = lasts(request.duration, PAUSE)?.map(|lasts| since + lasts);
        let pause = Pause { reason, since, until, uid };
        let asked = pause.clone();
        self.ask(move |host| host.pause(asked)).await?;
        self.until(|status| status.pause.as_ref() == Some(&pause)).await;
        let told = &pause.reason;
        tracing::warn!(uid, pid, reason = told, "uid {uid} paused changes and commands: {told}");
        Ok(Response::new(pb::PauseResponse { pause: Some(wire::pause(pause)) }))
    }

    async fn resume(
        &self,
        request: Request<pb::ResumeRequest>,
    ) -> Result<Response<pb::ResumeResponse>, Status> {
        let Caller { uid, pid, .. } = caller(&request)?;
        let was_paused = self.ask(|host| host.resume()).await?;
        self.until(|status| status.pause.is_none()).await;
        if was_paused {
            tracing::warn!(uid, pid, "uid {uid} ended the pause");
        }
        Ok(Response::new(pb::ResumeResponse { was_paused }))
    }

    async fn set_log_level(
        &self,
        request: Request<pb::SetLogLevelRequest>,
    ) -> Result<Response<pb::SetLogLevelResponse>, Status> {
        let Caller { uid, pid, .. } = caller(&request)?;
        let request = request.into_inner();
        let level = Some(request.level).filter(|level| !level.is_empty());
        if let Some(level) = &level {
            settings::check("log-level", level)
                .map_err(|invalid| refusal::invalid("level", &invalid.to_string()))?;
        }
        let until = lasts(request.duration, LOUD)?.map(|lasts| self.0.now() + lasts);
        let log = self.0.log_at(level, until).map_err(|refused| said(&refused))?;
        tracing::warn!(uid, pid, level = log.level, "uid {uid} set the log level to {}", log.level);
        Ok(Response::new(pb::SetLogLevelResponse { log: Some(wire::log(log)) }))
    }

    async fn remove_extension(
        &self,
        request: Request<pb::RemoveExtensionRequest>,
    ) -> Result<Response<pb::RemoveExtensionResponse>, Status> {
        let Caller { uid, pid, .. } = caller(&request)?;
        let name = request.into_inner().name;
        if !self.0.remove_extension(&name).map_err(|refused| said(&refused))? {
            let message = format!("this host has no extension {name:?}");
            return Err(refusal::status(Reason::NotFound, message));
        }
        tracing::warn!(uid, pid, name, "uid {uid} takes extension {name} off this host");
        Ok(Response::new(pb::RemoveExtensionResponse {}))
    }
}

/// What people read in the control plane and in logs.
fn reason(text: String) -> Result<String, Status> {
    if text.trim().is_empty() || text.len() > REASON || text.chars().any(char::is_control) {
        return Err(refusal::invalid(
            "reason",
            "it has 1 to 256 bytes, in one line without control characters",
        ));
    }
    Ok(text)
}

/// A time from now. `None`: without an end.
fn lasts(duration: Option<prost_types::Duration>, most: Duration) -> Result<Option<Duration>, Status> {
    let Some(asked) = duration else { return Ok(None) };
    // By hand: the conversion of the crate takes i64::MIN for a bug of ours.
    let (seconds, nanos) = (u64::try_from(asked.seconds).ok(), u32::try_from(asked.nanos).ok());
    let lasts = seconds.zip(nanos.filter(|nanos| *nanos < 1_000_000_000));
    let lasts = lasts.map(|(seconds, nanos)| Duration::new(seconds, nanos));
    let lasts = lasts.filter(|lasts| !lasts.is_zero() && *lasts <= most);
    let limits = format!("it is more than 0 s and at most {} s", most.as_secs());
    lasts.map(Some).ok_or_else(|| refusal::invalid("duration", &limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_for_people() {
        assert!(reason("a restore is under way".to_owned()).is_ok());
        for text in ["", "  ", "a\nb", "a\u{1b}[31m", &"x".repeat(257)] {
            assert!(reason(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_time_is_within_its_bounds() {
        let of = |seconds, nanos| lasts(Some(prost_types::Duration { seconds, nanos }), PAUSE);
        assert_eq!(of(5, 0).unwrap(), Some(Duration::from_secs(5)));
        assert_eq!(lasts(None, PAUSE).unwrap(), None);
        for (seconds, nanos) in
            [(0, 0), (-1, 0), (i64::MAX, 0), (i64::MIN, -1), (1, i32::MAX), (1, -1), (30 * 24 * 3600, 1)]
        {
            assert!(of(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
    }
}
