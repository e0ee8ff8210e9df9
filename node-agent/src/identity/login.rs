//! A person signs in for this host: with a code that they enter elsewhere, at an issuer that
//! the control plane names (RFC 8628). What comes of it is an ID token, by which the host
//! enrolls as with any other token of that issuer.
//!
//! Promises: only a control plane whose root has the pin says where people sign in; the
//! issuer is asked by the rules of the host's proxies, never more often than it wants, and
//! nothing of what it says is shown that a terminal would take for more than text.
//!
//! Never: judges the token. That is for the control plane.

mod device;
mod said;

use std::time::Duration;

use muster_common::issuer;
use muster_proto::agent::v1::{self as pb, enrollment_service_client::EnrollmentServiceClient};

use super::{Error, Join, enroll::connect, rpc};
use crate::dial;
pub use said::{Code, MOST};

/// Where people can sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// What the control plane calls the issuer.
    pub name: String,
    /// Its URL.
    pub issuer: String,
    client_id: String,
    scopes: Vec<String>,
}

/// Nobody has signed in.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Who was to sign in said no.
    #[error("{issuer} says that the sign-in was refused")]
    Denied {
        /// Where.
        issuer: String,
    },
    /// Nobody did in time.
    #[error("nobody signed in at {issuer} while the code was good")]
    Expired {
        /// Where.
        issuer: String,
    },
    /// No connection.
    #[error("cannot reach the issuer {issuer}")]
    Dial {
        /// Which.
        issuer: String,
        /// Why.
        #[source]
        source: dial::Error,
    },
    /// It does not speak as it should.
    #[error("the issuer {issuer} does not answer")]
    Mute {
        /// Which.
        issuer: String,
        /// Why.
        #[source]
        source: issuer::Error,
    },
    /// It took too long.
    #[error("the issuer {issuer} did not answer within {} s", .within.as_secs())]
    Slow {
        /// Which.
        issuer: String,
        /// The limit.
        within: Duration,
    },
    /// What it says is of no use.
    #[error("people cannot sign in at {issuer}: {why}")]
    Unusable {
        /// Which.
        issuer: String,
        /// What is wrong.
        why: String,
    },
}

/// Where people can sign in, as the control plane says.
///
/// # Errors
/// As an enrollment would fail there.
pub async fn logins(join: &Join) -> Result<Vec<Login>, Error> {
    let channel = connect(join).await?;
    let request = pb::BeginEnrollmentRequest {};
    let answer = rpc::within(EnrollmentServiceClient::new(channel).begin_enrollment(request)).await?;
    let login = |it: pb::DeviceLogin| Login {
        name: it.name,
        issuer: it.issuer,
        client_id: it.client_id,
        scopes: it.scopes,
    };
    Ok(answer.device_logins.into_iter().map(login).collect())
}

/// Has a person sign in; `show` hears of the code that they are to enter. The ID token.
///
/// # Errors
/// Told apart by what is to be done about it.
pub async fn sign_in(login: &Login, join: &Join, show: impl FnOnce(&Code)) -> Result<String, Failed> {
    device::Device::discover(login, &join.dialer).await?.sign_in(show).await
}
