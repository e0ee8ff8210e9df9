//! Revocation lists: any of them can revoke, and of an issuer's the newest says whether
//! they are too old.

use std::{io::Read as _, path::Path};

use rustls::pki_types::{CertificateRevocationListDer, pem::PemObject as _};
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::{prelude::FromDer as _, revocation_list::CertificateRevocationList};

use super::{Asked, Error, Under, Unusable, content, told};
use crate::config;

/// Most bytes of an authority's revocation lists.
const MAX_CRL: u64 = 16 * 1024 * 1024;

impl Asked<'_> {
    /// Holds one section's lists against the certificate, by every way up that there is.
    /// If the section itself lets it in, there must be a fresh list.
    pub(super) fn check_revoked(
        &self,
        section: &config::HostCa,
        above: &[Under<'_>],
        lists: &[CertRevocationList<'static>],
    ) -> Result<(), Error> {
        let refused =
            |found: webpki::Error| Error::Certificate { check: "revocation", why: told(&found).to_owned() };
        let lists: Vec<&CertRevocationList<'_>> = lists.iter().collect();
        // Each alone: of several lists of one issuer only the first is asked for a certificate.
        for (list, under) in lists.iter().flat_map(|list| above.iter().map(move |under| (list, under))) {
            let alone =
                options(std::slice::from_ref(list), UnknownStatusPolicy::Allow, ExpirationPolicy::Ignore);
            match self.verify(&under.roots, Some(alone.map_err(refused)?)) {
                Err(found) if !is_of_another_key(&found) => {
                    // Any: of several paths the error is that of one of them, and without the
                    // list one was good.
                    return Err(refused(found));
                }
                Ok(()) | Err(_) => {}
            }
        }
        let lets_in =
            |under: &&Under<'_>| under.authority.config.name == section.name && under.labels.is_ok();
        let Some(own) = above.iter().find(lets_in) else { return Ok(()) };
        let all = options(&lists, UnknownStatusPolicy::Deny, ExpirationPolicy::Enforce);
        self.verify(&own.roots, Some(all.map_err(refused)?)).map_err(refused)
    }
}

/// A list of another key with an issuer's name, or another path by such a key. Whether the
/// list of its own key is there, too, is another question. Of several errors webpki tells a
/// revocation before any of these.
fn is_of_another_key(error: &webpki::Error) -> bool {
    use webpki::Error as E;
    matches!(
        error,
        E::InvalidCrlSignatureForPublicKey
            | E::InvalidSignatureForPublicKey
            | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
    )
}

/// The whole chain is looked up. An error if there is no list.
fn options<'a>(
    lists: &'a [&'a CertRevocationList<'a>],
    unknown: UnknownStatusPolicy,
    expired: ExpirationPolicy,
) -> Result<RevocationOptions<'a>, webpki::Error> {
    let options = RevocationOptionsBuilder::new(lists).map_err(|_| webpki::Error::UnknownRevocationStatus)?;
    let options = options.with_depth(RevocationCheckDepth::Chain);
    Ok(options.with_status_policy(unknown).with_expiration_policy(expired).build())
}

/// Seconds since 1970. One that nobody can tell is the oldest.
fn made_at(list: &[u8]) -> i64 {
    CertificateRevocationList::from_der(list).map_or(i64::MIN, |(_, list)| list.last_update().timestamp())
}

/// The newest first: that one of an issuer decides whether there is a list that is not too old.
pub(super) fn lists(path: &Path) -> Result<Vec<CertRevocationList<'static>>, Unusable> {
    let unreadable = |why: String| Unusable::Lists { path: path.display().to_string(), why };
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let read =
        file.take(MAX_CRL + 1).read_to_end(&mut text).map_err(|error| unreadable(error.to_string()))?;
    if read as u64 > MAX_CRL {
        return Err(unreadable(format!("it is longer than {MAX_CRL} bytes")));
    }
    let parsed = CertificateRevocationListDer::pem_slice_iter(&text).map(|list| {
        let list = list.map_err(|error| unreadable(error.to_string()))?;
        let parsed = OwnedCertRevocationList::from_der(&list).map_err(|source| content(path, source))?;
        Ok::<_, Unusable>((made_at(&list), parsed))
    });
    let mut lists = parsed.collect::<Result<Vec<_>, _>>()?;
    if lists.is_empty() {
        return Err(unreadable("there is no revocation list in it".to_owned()));
    }
    lists.sort_by_key(|(made_at, _)| std::cmp::Reverse(*made_at));
    Ok(lists.into_iter().map(|(_, list)| list.into()).collect())
}
