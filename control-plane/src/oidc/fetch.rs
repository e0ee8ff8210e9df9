//! Where an issuer's keys are, and how they come: one GET, within a time and a
//! size, to the place that was configured and to no other.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_common::{
    issuer::{self, MAX},
    tls::pem,
};
use rustls::RootCertStore;
use tokio::{net::TcpStream, time::timeout};

/// For all of it.
const WITHIN: Duration = Duration::from_secs(10);

/// No keys came.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read it")]
    Io(#[from] io::Error),
    #[error("the file is larger than {MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Issuer(#[from] issuer::Error),
    #[error("it answered {0}; redirects are not followed")]
    Status(http::StatusCode),
    #[error("it took longer than {} s", WITHIN.as_secs())]
    Slow,
    #[error("it is no set of keys")]
    Json(#[from] serde_json::Error),
}

/// Where keys are.
pub(super) enum Place {
    File(PathBuf),
    Url { url: http::Uri, roots: Option<RootCertStore> },
}

impl Place {
    pub(super) fn new(jwks: &str, ca_file: Option<&Path>) -> Result<Self, pem::Error> {
        let roots = ca_file.map(|file| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(pem::certificates(file)?);
            Ok(roots)
        });
        // The configuration has looked at the URL; what is none is a file.
        match jwks.parse::<http::Uri>() {
            Ok(url) if !jwks.starts_with('/') => Ok(Self::Url { url, roots: roots.transpose()? }),
            _ => Ok(Self::File(PathBuf::from(jwks))),
        }
    }

    pub(super) async fn fetch(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::File(path) => read(path).await,
            Self::Url { url, roots } => {
                timeout(WITHIN, get(url, roots.as_ref())).await.map_err(|_| Error::Slow)?
            }
        }
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, Error> {
    use tokio::io::AsyncReadExt as _;
    let mut bytes = Vec::new();
    let file = tokio::fs::File::open(path).await?;
    let limit = u64::try_from(MAX).unwrap_or(u64::MAX) + 1;
    file.take(limit).read_to_end(&mut bytes).await?;
    if bytes.len() > MAX { Err(Error::TooLarge) } else { Ok(bytes) }
}

async fn get(url: &http::Uri, roots: Option<&RootCertStore>) -> Result<Vec<u8>, Error> {
    let stream = TcpStream::connect(issuer::place(url)).await.map_err(issuer::Error::from)?;
    let answer = issuer::ask(stream, url, roots, None).await?;
    if answer.status != http::StatusCode::OK {
        return Err(Error::Status(answer.status));
    }
    Ok(answer.body.to_vec())
}
