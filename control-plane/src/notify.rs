//! Tells servers of others what happened: one POST of JSON, within a time, to the place that was
//! written down for it and to no other. It knows neither what it tells nor when again.

use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use muster_common::{
    clock::UnixMillis,
    issuer::{self, Content},
};
use tokio::{net::TcpStream, time::timeout};

/// For all of it.
const WITHIN: Duration = Duration::from_secs(10);
/// What a webhook knows a delivery of ours by.
const SIGNATURE: &str = "muster-signature";

/// It was not told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing can be there.
    #[error("the URL cannot be used: {0}")]
    Url(&'static str),
    /// Nobody answered.
    #[error(transparent)]
    Issuer(#[from] issuer::Error),
    /// It said no.
    #[error("it answered {0}; redirects are not followed")]
    Status(http::StatusCode),
    /// It did not answer in time.
    #[error("it took longer than {} s", WITHIN.as_secs())]
    Slow,
}

/// Tells a server. `secret`: what it knows by that it is us, and that it is now.
///
/// # Errors
/// If it did not say yes. It may know it all the same.
pub async fn post(url: &str, json: Bytes, secret: Option<&[u8]>, now: UnixMillis) -> Result<(), Error> {
    let url = issuer::url(url).map_err(Error::Url)?;
    let headers = secret.map(|secret| (SIGNATURE, signature(secret, now, &json)));
    let headers = headers.into_iter().collect();
    let content = Content { content_type: "application/json", headers, body: json };
    let told = async {
        let stream = TcpStream::connect(issuer::place(&url)).await.map_err(issuer::Error::from)?;
        issuer::send(stream, &url, None, Some(content)).await
    };
    let answer = timeout(WITHIN, told).await.map_err(|_| Error::Slow)??;
    if answer.status.is_success() { Ok(()) } else { Err(Error::Status(answer.status)) }
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 over the seconds since 1970, a dot and the body.
fn signature(secret: &[u8], now: UnixMillis, body: &[u8]) -> String {
    let seconds = now.0.div_euclid(1000);
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    format!("t={seconds},v1={}", hex::encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_over_time_and_body() {
        let now = UnixMillis(1_700_000_000_999);
        let sign = |secret: &[u8], now, body: &[u8]| signature(secret, now, body);
        let signed = sign(b"0123456789abcdef", now, b"{}");
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(
            signed,
            "t=1700000000,v1=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e"
        );
        assert_ne!(sign(b"0123456789abcdeg", now, b"{}"), signed);
        assert_ne!(sign(b"0123456789abcdef", UnixMillis(1_700_000_001_000), b"{}"), signed);
    }
}
