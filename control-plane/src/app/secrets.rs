//! Protected contents: set apart from what is sent, encrypted before they are stored,
//! and sealed to one node's key when it is told of the bundle. In between nobody has them.

use std::sync::Arc;

use bytes::Bytes;
use muster_common::{
    ids::SecretId,
    reason::Reason,
    sealing::{self, Address, Contents, Sealed},
};
use muster_domain::{
    audit::Note,
    bundle,
    secret::{Secret, SecretUse},
};
use muster_store::{ReadSecrets as _, WriteSecrets as _, WriteTx};
use serde_json::json;
use zeroize::Zeroizing;

use super::{App, Error, catalog::Wanted, fleet::Entry};
use crate::vault::{Unreadable, Vault};

/// A content as someone sent it: what is protected is not among what everybody may read.
pub struct Draft {
    /// Files whose content is protected.
    pub protected: Vec<Protected>,
    /// The bytes to store, when the contents have these ids, in the order of `protected`.
    pub encode: Encode,
    /// Bytes of all contents that are not protected.
    pub open_bytes: usize,
}

/// The bytes of a content whose protected contents have these ids.
pub type Encode = Arc<dyn Fn(&[SecretId]) -> Bytes + Send + Sync>;

/// One file with a protected content.
pub struct Protected {
    /// Of the request, for what is wrong with it.
    pub field: String,
    /// On the host.
    pub path: String,
    /// What it is to have.
    pub value: Value,
}

/// The content of a protected file.
pub enum Value {
    /// This.
    Given(Zeroizing<Vec<u8>>),
    /// One that a version of the same bundle has.
    Kept(SecretId),
}

/// The same, encrypted: what a write works with.
pub(super) struct Prepared {
    draft: Draft,
    /// In the order of the draft: what was given, under a new id.
    fresh: Vec<Option<Secret>>,
}

/// What a version's protected files have.
pub(super) struct Chosen {
    /// Of the whole version, its protected contents not among them.
    pub(super) payload: Bytes,
    uses: Vec<SecretUse>,
    /// Those that are not in the store yet.
    fresh: Vec<Secret>,
}

impl Prepared {
    pub(super) fn new(vault: &Vault, draft: Draft) -> Result<Self, Error> {
        let encrypt = |one: &Protected| match &one.value {
            Value::Given(content) => vault.encrypt(SecretId::generate(), content).map(Some),
            Value::Kept(_) => Ok(None),
        };
        let fresh = draft.protected.iter().map(encrypt).collect::<Result<_, _>>();
        let fresh = fresh.map_err(|error| Error::refused(Reason::ProtectedUnreadable, error.to_string()))?;
        Ok(Self { draft, fresh })
    }

    /// Gives every protected file the id of its content. A content that the newest version
    /// has at the same path keeps its id: the same bundle sent again is the same version.
    pub(super) fn choose(
        &self,
        tx: &mut WriteTx<'_>,
        vault: &Vault,
        name: &str,
        newest: Option<u64>,
    ) -> Result<Chosen, Error> {
        let (held, known) = match newest {
            Some(version) => (tx.secret_uses(name, version)?, tx.secret_of_bundle(name, version)?),
            None => (Vec::new(), Vec::new()),
        };
        let (mut ids, mut fresh, mut bytes) = (Vec::new(), Vec::new(), self.draft.open_bytes);
        for (one, made) in self.draft.protected.iter().zip(&self.fresh) {
            let before = held.iter().find(|used| used.path == one.path).map(|used| used.id);
            let before = known.iter().find(|secret| Some(secret.id) == before);
            let id = match &one.value {
                Value::Kept(id) => {
                    let kept = tx.secret_in_bundles(*id, name)?.ok_or_else(|| unknown(one, *id, name))?;
                    bytes += Vault::size(&kept);
                    *id
                }
                Value::Given(content) => {
                    bytes += content.len();
                    match before.filter(|before| is_same(vault, before, content)) {
                        Some(same) => same.id,
                        None => made.as_ref().map_or_else(SecretId::generate, |made| {
                            fresh.push(made.clone());
                            made.id
                        }),
                    }
                }
            };
            ids.push(id);
        }
        bundle::check_bytes(bytes)?; // with what is kept, which the request does not have
        let uses = self.draft.protected.iter().zip(&ids);
        let uses = uses.map(|(one, id)| SecretUse { id: *id, path: one.path.clone() }).collect();
        Ok(Chosen { payload: (self.draft.encode)(&ids), uses, fresh })
    }
}

impl Chosen {
    /// How many files of the version are protected.
    pub(super) const fn count(&self) -> usize {
        self.uses.len()
    }

    /// Writes them down for a version that is there already.
    pub(super) fn put(&self, tx: &mut WriteTx<'_>, name: &str, version: u64) -> Result<(), Error> {
        for secret in &self.fresh {
            tx.secret_put(secret)?;
        }
        for used in &self.uses {
            tx.secret_use(name, version, used)?;
        }
        Ok(())
    }
}

pub(super) fn is_same(vault: &Vault, held: &Secret, content: &[u8]) -> bool {
    vault.decrypt(held).is_ok_and(|held| held.as_slice() == content)
}

fn unknown(one: &Protected, id: SecretId, name: &str) -> Error {
    let message = format!("no version of bundle {name:?} has a protected content {id}");
    Error::invalid(format!("{}.protected_id", one.field), message)
}

impl App {
    /// Whether the protected contents of an item can be sealed for a node at all.
    pub(super) fn can_seal(&self, wanted: &Wanted) -> bool {
        wanted.secrets.iter().all(|secret| self.vault.can_read(secret))
    }

    /// The protected contents of an item, for one node alone. `None`: it has none.
    pub(super) fn sealed(&self, entry: &Entry, wanted: &Wanted) -> Result<Option<Sealed>, SealError> {
        if wanted.secrets.is_empty() {
            return Ok(None);
        }
        let read = |secret: &Secret| Ok::<_, Unreadable>((secret.id, self.vault.decrypt(secret)?));
        let contents = wanted.secrets.iter().map(read).collect::<Result<Contents, _>>()?;
        let (node, item, sha256) = (entry.node.id, wanted.item.to_string(), wanted.version.sha256);
        let key = entry.live.as_ref().map_or(&[][..], |live| &live.sealing_key);
        Ok(Some(sealing::seal(key, Address { node, item: &item, sha256 }, &contents)?))
    }

    /// Encrypts with the newest key what another one has encrypted, and says so. What cannot
    /// be read is left as it is: its key may come back.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn renew_secrets(&self) -> Result<(), Error> {
        if self.vault.key_ids().next().is_none() {
            return Ok(());
        }
        let active = self.vault.active().to_owned();
        let old = self.store.read(move |tx| tx.secret_under_other_keys(&active).map_err(Error::from)).await?;
        let mut renewed = Vec::new();
        for secret in &old {
            match self.vault.decrypt(secret).and_then(|content| self.vault.encrypt(secret.id, &content)) {
                Ok(secret) => renewed.push(secret),
                Err(error) => tracing::error!(%error, "{error}: no node gets it"),
            }
        }
        if renewed.is_empty() {
            return Ok(());
        }
        let count = renewed.len();
        let note = Note {
            subject: "secrets".to_owned(),
            after: json!({ "encrypted": count, "key": self.vault.active() }).to_string(),
            ..Note::default()
        };
        let write = move |tx: &mut WriteTx<'_>| {
            renewed.iter().try_for_each(|secret| tx.secret_put(secret))?;
            tx.audit(note.clone())?;
            Ok::<_, Error>(())
        };
        self.store.write(self.own_stamp("secrets.encrypt"), write).await?;
        tracing::info!(count, "{count} protected contents were encrypted with the newest key");
        Ok(())
    }
}

/// A node does not get its protected contents.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Key(#[from] sealing::Error),
}
