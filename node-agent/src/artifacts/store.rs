//! The store, in this process or in the executor.

use std::fs::File;

use muster_common::{tasks, tuf::About};

use super::{Admitted, Error, Place, Wanted};
use crate::{admission::Metadata, verbs::messages::Artifact};

/// What the daemon asks of it. Each waits on a thread that may.
#[derive(Debug, Clone)]
pub(super) struct Store(pub(super) Place);

impl Store {
    pub(super) async fn believe(&self, metadata: Metadata) -> Result<(), Error> {
        let place = self.0.clone();
        tasks::blocking(move || match place {
            Place::Here(store) => Ok(store.believe(&metadata).map(drop)?),
            Place::There(client) => Ok(client.believe(&metadata)?),
        })
        .await
    }

    pub(super) async fn admit(&self, wanted: &Wanted, content: File) -> Result<Admitted, Error> {
        let (place, wanted) = (self.0.clone(), wanted.clone());
        tasks::blocking(move || match place {
            Place::Here(store) => Ok(store.admit(&wanted, content)?),
            Place::There(client) => {
                let about = client.admit(artifact(&wanted), &content)?;
                Ok(admitted(&wanted, &about))
            }
        })
        .await
    }

    pub(super) async fn admitted(&self, wanted: &Wanted) -> Result<Option<Admitted>, Error> {
        let (place, wanted) = (self.0.clone(), wanted.clone());
        tasks::blocking(move || match place {
            Place::Here(store) => store.admitted(&wanted).map_err(|error| Error::of_host(&error)),
            Place::There(client) => {
                let about = client.admitted(artifact(&wanted))?;
                Ok(about.map(|about| admitted(&wanted, &about)))
            }
        })
        .await
    }
}

fn artifact(wanted: &Wanted) -> Artifact {
    let Wanted { target, size, sha256 } = wanted;
    Artifact { target: target.clone(), size: *size, sha256: sha256.as_bytes().to_vec() }
}

fn admitted(wanted: &Wanted, about: &str) -> Admitted {
    let about: Option<About> = serde_json::from_str(about).ok();
    Admitted { sha256: wanted.sha256, size: wanted.size, about }
}
