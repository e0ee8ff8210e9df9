//! Tokens of OpenID Connect: whether one was made by an issuer that is trusted,
//! for us, now, and says what it must.
//!
//! Promises: the key decides about the algorithm, never the token; nothing of a
//! token counts before its signature does, but which issuer to ask; an issuer is
//! asked for keys seldom, within a time and a size, and where it was configured,
//! nowhere else.
//!
//! Never: a store, a clock of its own.

mod fetch;
mod jwt;
mod keys;

use muster_common::{
    clock::{Clock, UnixMillis},
    digest::Sha256,
    tasks::Tasks,
};
use muster_domain::{labels::Labels, requestable::Requestable};

use crate::config;
use keys::Keys;

/// A token that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Of the issuer, in the configuration.
    pub issuer: String,
    /// For the node.
    pub labels: Labels,
    /// Labels that the host may ask for.
    pub requestable: Requestable,
    /// What is remembered, so that it lets nobody else in.
    pub id: Sha256,
    /// Until when.
    pub until: UnixMillis,
}

/// Why a token lets nobody in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// One of the checks says no.
    #[error("{check}: {why}")]
    Token {
        /// `aud`.
        check: &'static str,
        /// For people; nothing of the token's own words.
        why: String,
    },
    /// Nobody configured it.
    #[error("no issuer of this name is configured")]
    Issuer,
    /// Its keys cannot be had.
    #[error("the keys of issuer {issuer} cannot be had now")]
    Unavailable {
        /// In the configuration.
        issuer: String,
    },
}

impl Error {
    fn token(check: &'static str, why: impl Into<String>) -> Self {
        Self::Token { check, why: why.into() }
    }
}

/// Keys of an issuer.
#[derive(Debug, Clone)]
pub struct KeySet(keys::Set);

/// All issuers that are trusted.
pub struct Issuers(Vec<Issuer>);

struct Issuer {
    config: config::Oidc,
    keys: Keys,
    requestable: Requestable,
}

impl Issuers {
    /// As configured. Nothing is fetched yet.
    ///
    /// # Errors
    /// If roots cannot be read.
    pub fn new(configured: &[config::Oidc]) -> Result<Self, muster_common::tls::pem::Error> {
        let issuer = |config: &config::Oidc| {
            let requestable = config::requestable(&config.requestable_labels);
            Ok(Issuer { keys: Keys::new(config)?, config: config.clone(), requestable })
        };
        configured.iter().map(issuer).collect::<Result<_, _>>().map(Self)
    }

    /// The keys by which a token is to be judged.
    ///
    /// # Errors
    /// If it is none, or its issuer cannot be asked.
    pub async fn keys(&self, token: &str, clock: &Clock, tasks: &Tasks) -> Result<KeySet, Error> {
        let read = jwt::read(token)?;
        let issuer = self.of(&read)?;
        let keys = issuer.keys.with(&read.key_id, clock, tasks).await;
        keys.map(KeySet).ok_or_else(|| Error::Unavailable { issuer: issuer.config.name.clone() })
    }

    /// Judges a token by keys that were had for it.
    ///
    /// # Errors
    /// Why it lets nobody in.
    pub fn judge(&self, token: &str, keys: &KeySet, now: UnixMillis) -> Result<Passed, Error> {
        let read = jwt::read(token)?;
        let issuer = self.of(&read)?;
        let claims = read.verified(&keys.0)?;
        let until = jwt::check(&claims, &issuer.config, now)?;
        let labels = jwt::labels(&claims, &issuer.config)?;
        let id = jwt::id(&claims, token);
        let requestable = issuer.requestable.clone();
        Ok(Passed { issuer: issuer.config.name.clone(), labels, requestable, id, until })
    }

    /// Issuers at which people can sign in for a host: name, URL, and how.
    pub fn device_logins(&self) -> impl Iterator<Item = (&str, &str, &config::DeviceLogin)> {
        self.0.iter().filter_map(|Issuer { config, .. }| {
            Some((config.name.as_str(), config.issuer.as_str(), config.device_login.as_ref()?))
        })
    }

    fn of(&self, read: &jwt::Read<'_>) -> Result<&Issuer, Error> {
        self.0.iter().find(|issuer| issuer.config.issuer == read.issuer).ok_or(Error::Issuer)
    }
}

#[cfg(test)]
mod tests;
