//! What an issuer says, read. No I/O.

use std::time::Duration;

use http::{StatusCode, Uri};
use muster_common::issuer;
use serde::Deserialize;

/// Between two questions, if the issuer does not say.
const INTERVAL: Duration = Duration::from_secs(5);
/// Longest that a code is waited for, whatever it says.
pub const MOST: Duration = Duration::from_secs(3600);
/// Longest code and URL that are shown.
const MAX_CODE: usize = 64;
const MAX_URL: usize = 2048;
/// Longest token: what the control plane takes.
const MAX_TOKEN: usize = 16 * 1024;
/// Longest error of the issuer that is told.
const MAX_ERROR: usize = 200;

/// What a person needs who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// To be typed in.
    pub user_code: String,
    /// There.
    pub url: String,
    /// There with the code in it, if the issuer has such a place.
    pub whole_url: Option<String>,
    /// How long it is good.
    pub good_for: Duration,
    /// Between two questions.
    pub(super) interval: Duration,
    pub(super) device_code: String,
}

/// Where the issuer is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoints {
    pub(super) device: Uri,
    pub(super) token: Uri,
}

/// What it says to the question whether somebody has signed in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Yes: the ID token.
    Token(String),
    Pending,
    SlowDown,
    Denied,
    Expired,
    /// This will never come to anything.
    Unusable(String),
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    #[serde(default)]
    device_authorization_endpoint: String,
    token_endpoint: String,
}

#[derive(Deserialize)]
struct Begun {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Answer {
    id_token: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// The issuer's document about itself. It must be about `issuer` and no other.
pub(super) fn endpoints(body: &[u8], issuer: &str) -> Result<Endpoints, String> {
    let found: Discovered = serde_json::from_slice(body)
        .map_err(|_| "what it says of itself is no document of OpenID Connect")?;
    if found.issuer != issuer {
        return Err("it says that it is another issuer".to_owned());
    }
    if found.device_authorization_endpoint.is_empty() {
        return Err(
            "it does not let people sign in for devices (no device_authorization_endpoint)".to_owned()
        );
    }
    let url = |name: &str, text: &str| issuer::url(text).map_err(|why| format!("its {name}: {why}"));
    Ok(Endpoints {
        device: url("device_authorization_endpoint", &found.device_authorization_endpoint)?,
        token: url("token_endpoint", &found.token_endpoint)?,
    })
}

/// The answer to the wish for a code.
pub(super) fn code(is_ok: bool, body: &[u8]) -> Result<Code, String> {
    if !is_ok {
        return Err(format!("it gives no code: {}", error(body)));
    }
    let begun: Begun = serde_json::from_slice(body).map_err(|_| "what it gives is no code")?;
    let shown = |text: &str, most: usize| {
        !text.is_empty() && text.len() <= most && !text.chars().any(char::is_control)
    };
    if !shown(&begun.user_code, MAX_CODE) {
        return Err("its code cannot be shown".to_owned());
    }
    let is_place = |url: &str| {
        shown(url, MAX_URL) && url.bytes().all(|byte| byte.is_ascii_graphic()) && issuer::url(url).is_ok()
    };
    if !is_place(&begun.verification_uri) {
        return Err("the place where people are to sign in is no https URL".to_owned());
    }
    Ok(Code {
        user_code: begun.user_code,
        url: begun.verification_uri,
        whole_url: begun.verification_uri_complete.filter(|url| is_place(url)),
        good_for: Duration::from_secs(begun.expires_in).min(MOST),
        interval: begun.interval.map_or(INTERVAL, |seconds| Duration::from_secs(seconds.max(1))).min(MOST),
        device_code: begun.device_code,
    })
}

/// Whether an answer says nothing of the code: the issuer is in trouble, wants to be asked less often,
/// or something on the way to it answers in its place. It is asked again, later.
pub(super) fn is_no_word(status: StatusCode, body: &[u8]) -> bool {
    let has_error = || serde_json::from_slice::<Answer>(body).is_ok_and(|answer| answer.error.is_some());
    status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
        || status.is_client_error() && !has_error()
}

/// The answer to the question whether somebody has signed in.
pub(super) fn token(is_ok: bool, body: &[u8]) -> Said {
    let answer: Answer = serde_json::from_slice(body).unwrap_or_default();
    match (is_ok, answer.id_token, answer.error.as_deref()) {
        (true, Some(token), _) if token.len() <= MAX_TOKEN => Said::Token(token),
        (true, Some(_), _) => Said::Unusable(format!("its token is longer than {MAX_TOKEN} bytes")),
        (true, None, _) => {
            Said::Unusable("it gives no ID token: is openid among the scopes of the client?".to_owned())
        }
        (false, _, Some("authorization_pending")) => Said::Pending,
        (false, _, Some("slow_down")) => Said::SlowDown,
        (false, _, Some("access_denied")) => Said::Denied,
        (false, _, Some("expired_token")) => Said::Expired,
        (false, ..) => Said::Unusable(format!("it gives no token: {}", error(body))),
    }
}

/// The issuer's own words, made printable.
fn error(body: &[u8]) -> String {
    let answer: Answer = serde_json::from_slice(body).unwrap_or_default();
    let words: Vec<String> = [answer.error, answer.error_description].into_iter().flatten().collect();
    let printable = |letter: &char| !letter.is_control();
    let told: String = words.join(": ").chars().filter(printable).take(MAX_ERROR).collect();
    if told.is_empty() { "it does not say why".to_owned() } else { told }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://issuer.example";

    fn begun(change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut body = json!({
            "device_code": "d", "user_code": "ABCD-EFGH", "verification_uri": "https://issuer.example/device",
            "verification_uri_complete": "https://issuer.example/device?code=ABCD-EFGH", "expires_in": 600,
        });
        change(&mut body);
        body.to_string().into_bytes()
    }

    #[test]
    fn only_an_error_of_the_issuer_itself_is_its_word() {
        let denied = br#"{"error":"access_denied"}"#;
        for (status, body, is_none) in [
            (StatusCode::BAD_REQUEST, &denied[..], false),
            (StatusCode::UNAUTHORIZED, denied, false),
            (StatusCode::OK, b"no json", false),
            (StatusCode::TOO_MANY_REQUESTS, denied, true),
            (StatusCode::REQUEST_TIMEOUT, denied, true),
            (StatusCode::BAD_GATEWAY, denied, true),
            (StatusCode::FORBIDDEN, b"<html>", true),
            (StatusCode::NOT_FOUND, b"{}", true),
        ] {
            assert_eq!(is_no_word(status, body), is_none, "{status}");
        }
    }

    #[test]
    fn an_issuer_speaks_for_itself_and_over_tls() {
        let document = |issuer: &str, device: &str| {
            let token = "https://t.example/token";
            let body = json!({
                "issuer": issuer, "device_authorization_endpoint": device, "token_endpoint": token,
            });
            endpoints(body.to_string().as_bytes(), ISSUER)
        };
        let device = "https://issuer.example/device";
        let found = document(ISSUER, device).unwrap();
        assert_eq!(found.token.to_string(), "https://t.example/token");
        let plain = "http://issuer.example/device";
        for (issuer, device) in [("https://other.example", device), (ISSUER, ""), (ISSUER, plain)] {
            assert!(document(issuer, device).is_err(), "{issuer} {device}");
        }
        assert!(endpoints(b"<html>", ISSUER).is_err());
    }

    #[test]
    fn a_code_is_text_and_its_place_an_https_url() {
        let good = code(true, &begun(|_| {})).unwrap();
        assert_eq!((good.interval, good.good_for), (INTERVAL, Duration::from_secs(600)));
        assert!(good.whole_url.is_some());
        let slow = code(true, &begun(|body| body["interval"] = json!(0))).unwrap();
        assert_eq!(slow.interval, Duration::from_secs(1), "an issuer is not asked without a pause");
        let long = code(true, &begun(|body| body["expires_in"] = json!(u64::MAX))).unwrap();
        assert_eq!(long.good_for, MOST);
        let odd =
            code(true, &begun(|body| body["verification_uri_complete"] = json!("javascript:x"))).unwrap();
        assert_eq!(odd.whole_url, None);
        for (key, bad) in [
            ("user_code", json!("A\u{1b}[2J")),
            ("user_code", json!("")),
            ("user_code", json!("A".repeat(65))),
            ("verification_uri", json!("http://issuer.example/device")),
            ("verification_uri", json!("https://issuer.example/\n")),
            ("device_code", json!(7)),
        ] {
            assert!(code(true, &begun(|body| body[key] = bad.clone())).is_err(), "{key} {bad}");
        }
        let refused = json!({ "error": "invalid_client", "error_description": "no\u{1b}such" }).to_string();
        let refused = code(false, refused.as_bytes()).unwrap_err();
        assert!(refused.ends_with("invalid_client: nosuch"), "{refused}");
    }

    #[test]
    fn every_answer_about_the_token_is_known() {
        assert_eq!(token(true, br#"{"id_token":"a.b.c"}"#), Said::Token("a.b.c".to_owned()));
        assert!(matches!(token(true, br#"{"access_token":"x"}"#), Said::Unusable(_)));
        let long = json!({ "id_token": "x".repeat(MAX_TOKEN + 1) }).to_string();
        assert!(matches!(token(true, long.as_bytes()), Said::Unusable(_)));
        for (error, said) in [
            ("authorization_pending", Said::Pending),
            ("slow_down", Said::SlowDown),
            ("access_denied", Said::Denied),
            ("expired_token", Said::Expired),
        ] {
            assert_eq!(token(false, json!({ "error": error }).to_string().as_bytes()), said);
        }
        for odd in [&br#"{"error":"invalid_grant"}"#[..], b"", b"<html>"] {
            assert!(matches!(token(false, odd), Said::Unusable(_)));
        }
    }
}
