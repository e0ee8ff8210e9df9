//! Join tokens.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use muster_common::{digest::Sha256, ids::JoinTokenId, join::JoinString};
use muster_domain::{
    audit::Note,
    join_token::{JoinToken, Terms, check_description},
    labels::{Labels, check_labels},
    page::{Listed, Page},
    requestable::Requestable,
};
use muster_store::{ReadJoinTokens as _, WriteJoinTokens as _};
use serde_json::json;

use super::{Actor, App, Error};

/// What someone who makes a token asks for.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// For people.
    pub description: String,
    /// For its nodes.
    pub labels: Labels,
    /// 0: one.
    pub max_uses: i32,
    /// `None`: the default.
    pub ttl: Option<Duration>,
    /// Networks.
    pub allowed: Vec<String>,
    /// A person says yes to each host.
    pub require_approval: bool,
    /// Labels that its hosts may ask for.
    pub requestable: Vec<String>,
}

impl App {
    /// Makes a token. The join string is shown this one time.
    ///
    /// # Errors
    /// If the wish cannot be.
    pub async fn create_join_token(
        &self,
        actor: &Actor,
        wish: Wish,
    ) -> Result<(JoinToken, JoinString), Error> {
        let now = self.clock.now();
        check_description(&wish.description)?;
        check_labels(&wish.labels).map_err(|error| Error::invalid("labels", error.to_string()))?;
        let terms = Terms::check(now, wish.max_uses, wish.ttl, &wish.allowed)?;
        let requestable = Requestable::read("requestable_labels", &wish.requestable)?;
        let secret = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let token = JoinToken {
            id: JoinTokenId::generate(),
            description: wish.description,
            secret_sha256: Sha256::of(secret.as_bytes()).as_bytes().to_vec(),
            labels: wish.labels,
            max_uses: terms.max_uses,
            uses: 0,
            created_at: now,
            expires_at: terms.expires_at,
            revoked_at: None,
            allowed: terms.allowed,
            require_approval: wish.require_approval,
            requestable,
        };
        let row = token.clone();
        self.commit(actor.stamp("join-tokens.create", now), move |tx| {
            tx.join_token_insert(&row)?;
            tx.audit(Note {
                subject: format!("join-token/{}", row.id),
                after: json!({
                    "labels": row.labels, "max_uses": row.max_uses, "expires_at_ms": row.expires_at,
                    "require_approval": row.require_approval, "requestable_labels": row.requestable.written(),
                })
                .to_string(),
                ..Note::default()
            })?;
            Ok(())
        })
        .await?;
        let addresses = self.fixed.enrollment_addresses.clone();
        Ok((token, JoinString { addresses, ca_pin: self.ca.pin(), secret }))
    }

    /// One token.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn join_token(&self, id: JoinTokenId) -> Result<JoinToken, Error> {
        let found: Option<JoinToken> =
            self.store.read(move |tx| tx.join_token_get(id).map_err(Error::from)).await?;
        found.ok_or_else(|| Error::not_found("join token", &id))
    }

    /// A page of tokens.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn join_tokens(&self, page: Page) -> Result<Listed<JoinToken>, Error> {
        self.store.read(move |tx| tx.join_token_list(&page).map_err(Error::from)).await
    }

    /// Ends a token.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn revoke_join_token(&self, actor: &Actor, id: JoinTokenId) -> Result<JoinToken, Error> {
        let now = self.clock.now();
        self.commit(actor.stamp("join-tokens.revoke", now), move |tx| {
            let token = tx.join_token_get(id)?.ok_or_else(|| Error::not_found("join token", &id))?;
            if token.revoked_at.is_none() {
                tx.join_token_revoke(id, now)?;
                tx.audit(Note { subject: format!("join-token/{id}"), ..Note::default() })?;
            }
            Ok(())
        })
        .await?;
        self.join_token(id).await
    }
}
