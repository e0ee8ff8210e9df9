//! Identities of the program that asks, as any other client of the Workload API has them.

use std::time::Duration;

use muster_common::tls::pem;
use muster_proto::spiffe::{self as pb, spiffe_workload_api_client::SpiffeWorkloadApiClient as Api};
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use tonic::{Request, metadata::MetadataValue};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::{Client, Error, WITHIN, refused};

/// Every call carries it: nobody is tricked into one.
const HEADER: &str = "workload.spiffe.io";
/// For the agent to have what it is asked for: it may have to ask the control plane.
const PATIENCE: Duration = Duration::from_secs(30);

/// An identity as certificate and key, in PEM.
#[derive(Debug)]
pub struct X509 {
    /// `spiffe://…`.
    pub id: String,
    /// What the lock file calls it.
    pub name: String,
    /// Leaf first.
    pub chain_pem: String,
    /// Of the leaf.
    pub key_pem: Zeroizing<String>,
    /// Whom to trust.
    pub bundle_pem: String,
    /// End of the leaf, Unix seconds.
    pub expires_at: i64,
}

/// A token.
#[derive(Debug)]
pub struct Jwt {
    /// `spiffe://…`.
    pub id: String,
    /// What the lock file calls the identity.
    pub name: String,
    /// JWS in compact form.
    pub token: String,
}

impl Client {
    /// All identities of who asks, as certificates.
    ///
    /// # Errors
    /// If the agent says no, or has none in time.
    pub async fn x509(&self) -> Result<Vec<X509>, Error> {
        let mut api = Api::new(self.channel.clone());
        let asking = async {
            let answer = api.fetch_x509svid(asked(pb::X509svidRequest {})).await?;
            answer.into_inner().message().await
        };
        let first = timeout(PATIENCE, asking).await.map_err(|_| Error::Slow(PATIENCE))?;
        let first = first.map_err(|status| refused(&status))?.ok_or(Error::Answer)?;
        first.svids.into_iter().map(|svid| x509(svid).ok_or(Error::Answer)).collect()
    }

    /// Tokens of all identities of who asks, for these audiences.
    ///
    /// # Errors
    /// If the agent says no, or has none in time.
    pub async fn jwt(&self, audience: Vec<String>) -> Result<Vec<Jwt>, Error> {
        let mut api = Api::new(self.channel.clone());
        let request = asked(pb::JwtsvidRequest { audience, spiffe_id: String::new() });
        let answer = timeout(WITHIN, api.fetch_jwtsvid(request)).await.map_err(|_| Error::Slow(WITHIN))?;
        let answer = answer.map_err(|status| refused(&status))?.into_inner();
        let jwt = |svid: pb::Jwtsvid| Jwt { id: svid.spiffe_id, name: svid.hint, token: svid.svid };
        Ok(answer.svids.into_iter().map(jwt).collect())
    }
}

fn asked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(HEADER, MetadataValue::from_static("true"));
    request
}

fn x509(svid: pb::X509svid) -> Option<X509> {
    let chain = certificates(&svid.x509_svid)?;
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    Some(X509 {
        expires_at: leaf.validity().not_after.timestamp(),
        id: svid.spiffe_id,
        name: svid.hint,
        chain_pem: pem::encode_certificates(&chain),
        key_pem: Zeroizing::new(pem::encode("PRIVATE KEY", &svid.x509_svid_key)),
        bundle_pem: pem::encode_certificates(&certificates(&svid.bundle)?),
    })
}

/// Certificates that stand one after the other.
fn certificates(mut ders: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let mut found = Vec::new();
    while !ders.is_empty() {
        let (rest, _) = X509Certificate::from_der(ders).ok()?;
        let one = ders.get(..ders.len() - rest.len())?;
        found.push(CertificateDer::from(one.to_vec()));
        ders = rest;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_stand_one_after_the_other_are_told_apart() {
        let made = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.self_signed(&key).unwrap().der().clone()
        };
        let (one, two) = (made("a.example"), made("b.example"));
        let both = [one.as_ref(), two.as_ref()].concat();
        assert_eq!(certificates(&both).unwrap(), [one, two]);
        assert_eq!(certificates(&both[..both.len() - 1]), None);
        assert_eq!(certificates(b"x"), None);
        assert_eq!(certificates(b"").unwrap(), []);
    }
}
