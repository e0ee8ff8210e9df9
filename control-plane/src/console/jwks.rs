//! The keys with which tokens of programs are checked.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use muster_common::digest::Sha256;

use super::{Published, text};

/// Where they are.
pub(super) const PATH: &str = "/.well-known/jwks.json";

/// Who has them already is told so, and nothing more.
pub(super) fn answer<B>(request: &Request<B>, published: &Published) -> Response<Full<Bytes>> {
    let Some(issuers) = &published.workloads else {
        return text(StatusCode::NOT_FOUND, "no identities for programs are issued here\n".to_owned());
    };
    let jwks = issuers.bundle().jwks.clone();
    let tag = format!("\"{}\"", Sha256::of(jwks.as_bytes()));
    let is_known = request.headers().get_all(header::IF_NONE_MATCH).iter().any(|known| known == tag.as_str());
    let mut response =
        if is_known { text(StatusCode::NOT_MODIFIED, String::new()) } else { text(StatusCode::OK, jwks) };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    let fresh = format!("public, max-age={}", published.fresh_for.as_secs());
    for (name, value) in [(header::ETAG, tag), (header::CACHE_CONTROL, fresh)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use muster_common::clock::Clock;
    use muster_domain::workload::Issuers as Standings;

    use super::*;
    use crate::ca::workload::{Issuers, make};

    #[test]
    fn keys_are_kept_by_others_for_a_while_and_not_sent_twice() {
        let (folder, domain) = (tempfile::tempdir().unwrap(), "fleet.example".parse().unwrap());
        let day = Duration::from_secs(24 * 3600);
        let first = Standings::first(make(folder.path(), &domain, 1, day, Clock::System.now()).unwrap());
        let issuers = Arc::new(Issuers::open(folder.path(), first).unwrap());
        let published = Published { workloads: Some(issuers), fresh_for: Duration::from_secs(300) };
        let told = answer(&Request::new(()), &published);
        assert_eq!(told.status(), StatusCode::OK);
        assert_eq!(told.headers()[header::CACHE_CONTROL], "public, max-age=300");
        let tag = told.headers()[header::ETAG].clone();
        let again = Request::builder().header(header::IF_NONE_MATCH, &tag).body(()).unwrap();
        assert_eq!(answer(&again, &published).status(), StatusCode::NOT_MODIFIED);
        let other = Request::builder().header(header::IF_NONE_MATCH, "\"x\"").body(()).unwrap();
        assert_eq!(answer(&other, &published).status(), StatusCode::OK);
    }
}
