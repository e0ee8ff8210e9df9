//! The other end of the socket: for the command line.

mod from;
mod workload;

use std::{path::PathBuf, time::Duration};

use hyper_util::rt::TokioIo;
use muster_common::reason::Reason;
use muster_proto::local::v1::{self as pb, agent_service_client::AgentServiceClient};
use tokio::net::UnixStream;
use tonic::{
    Code,
    transport::{Channel, Endpoint, Uri},
};
use tonic_types::StatusExt as _;

use super::status::{Log, Status};
use crate::state::Pause;
pub use workload::{Jwt, X509};

/// For a whole answer.
const WITHIN: Duration = Duration::from_secs(10);
/// Largest answer: a status with as many items and commands as an agent has.
const ANSWER: usize = 16 * 1024 * 1024;

/// The agent gave no answer, or said no.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("no agent listens at {}", .0.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or "))]
    NoAgent(Vec<PathBuf>),
    /// It said no.
    #[error("{message}")]
    Refused {
        /// Why. `None`: another one than this program knows.
        reason: Option<Reason>,
        /// For people.
        message: String,
    },
    /// It has not said anything in time.
    #[error("the agent did not answer within {} s", .0.as_secs())]
    Slow(Duration),
    /// What it said makes no sense.
    #[error("the agent's answer cannot be used")]
    Answer,
}

/// A connection to the agent of this host.
#[derive(Debug, Clone)]
pub struct Client {
    agent: AgentServiceClient<Channel>,
    channel: Channel,
}

impl Client {
    /// Connects to the first of these sockets at which somebody listens.
    ///
    /// # Errors
    /// If nobody does.
    pub async fn connect(sockets: &[PathBuf]) -> Result<Self, Error> {
        for socket in sockets {
            let Ok(stream) = UnixStream::connect(socket).await else { continue };
            let mut stream = Some(TokioIo::new(stream));
            // Once: this channel does not open another one when it breaks.
            let connector = tower::service_fn(move |_: Uri| {
                let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
                std::future::ready(stream.take().ok_or_else(gone))
            });
            let endpoint = Endpoint::from_static("http://local").timeout(WITHIN);
            if let Ok(channel) = endpoint.connect_with_connector(connector).await {
                let agent = AgentServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER);
                return Ok(Self { agent, channel });
            }
        }
        Err(Error::NoAgent(sockets.to_vec()))
    }

    /// How the agent stands.
    ///
    /// # Errors
    /// If it does not say.
    pub async fn status(&mut self) -> Result<Status, Error> {
        let answer =
            self.agent.get_status(pb::GetStatusRequest {}).await.map_err(|status| refused(&status))?;
        answer.into_inner().status.and_then(from::status).ok_or(Error::Answer)
    }

    /// Changes and commands rest from now on.
    ///
    /// # Errors
    /// If the agent says no.
    pub async fn pause(&mut self, reason: String, lasts: Option<Duration>) -> Result<Pause, Error> {
        let duration = lasts.map(prost_types::Duration::try_from).transpose().map_err(|_| Error::Answer)?;
        let answer = self
            .agent
            .pause(pb::PauseRequest { reason, duration })
            .await
            .map_err(|status| refused(&status))?;
        answer.into_inner().pause.and_then(from::pause).ok_or(Error::Answer)
    }

    /// Ends a pause; answers whether there was one.
    ///
    /// # Errors
    /// If the agent says no.
    pub async fn resume(&mut self) -> Result<bool, Error> {
        let answer = self.agent.resume(pb::ResumeRequest {}).await.map_err(|status| refused(&status))?;
        Ok(answer.into_inner().was_paused)
    }

    /// Takes an extension off this host. It is ordered when this returns.
    ///
    /// # Errors
    /// If the agent says no, or has none of that name.
    pub async fn remove_extension(&mut self, name: String) -> Result<(), Error> {
        let asked = self.agent.remove_extension(pb::RemoveExtensionRequest { name }).await;
        asked.map(drop).map_err(|status| refused(&status))
    }

    /// Logs as much as this. Empty: what the options say.
    ///
    /// # Errors
    /// If the agent says no.
    pub async fn log_at(&mut self, level: String, lasts: Option<Duration>) -> Result<Log, Error> {
        let duration = lasts.map(prost_types::Duration::try_from).transpose().map_err(|_| Error::Answer)?;
        let request = pb::SetLogLevelRequest { level, duration };
        let answer = self.agent.set_log_level(request).await.map_err(|status| refused(&status))?;
        answer.into_inner().log.map(from::log).ok_or(Error::Answer)
    }
}

fn refused(status: &tonic::Status) -> Error {
    let reason = status.get_details_error_info().and_then(|info| Reason::parse(&info.reason));
    let message = match status.code() {
        Code::Unavailable if reason.is_none() => "the agent ended before it answered".to_owned(),
        _ => status.message().to_owned(),
    };
    Error::Refused { reason, message }
}
