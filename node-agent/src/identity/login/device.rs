//! The conversation with the issuer: what it offers, a code, and the question again and
//! again whether somebody has entered it.

use std::time::Duration;

use http::Uri;
use muster_common::{
    clock::{Clock, Instant},
    issuer::{self, Answer},
    settings::Service,
};
use tokio::time::timeout;

use super::{
    Failed, Login,
    said::{self, Code, Endpoints, Said},
};
use crate::dial::Dialer;

/// For one question, with the connection.
const WITHIN: Duration = Duration::from_secs(20);
/// What `slow_down` adds to the pause, by the standard.
const SLOWER: Duration = Duration::from_secs(5);
/// Longest pause that failures of the network come to.
const LONGEST: Duration = Duration::from_secs(60);
/// What is asked for, in the words of the standard.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// An issuer, and the way to it.
pub(super) struct Device<'a> {
    login: &'a Login,
    dialer: &'a Dialer,
    endpoints: Endpoints,
}

impl<'a> Device<'a> {
    /// Asks the issuer what it offers.
    pub(super) async fn discover(login: &'a Login, dialer: &'a Dialer) -> Result<Self, Failed> {
        let place = format!("{}/.well-known/openid-configuration", login.issuer.trim_end_matches('/'));
        let url = issuer::url(&place).map_err(|why| unusable(login, why))?;
        let answer = ask(login, dialer, &url, None).await?;
        if !answer.status.is_success() {
            return Err(unusable(login, format!("{url} answers {}", answer.status)));
        }
        let endpoints = said::endpoints(&answer.body, &login.issuer).map_err(|why| unusable(login, why))?;
        Ok(Self { login, dialer, endpoints })
    }

    pub(super) async fn sign_in(self, show: impl FnOnce(&Code)) -> Result<String, Failed> {
        let scopes = self.login.scopes.join(" ");
        let wish = form(&[("client_id", &self.login.client_id), ("scope", &scopes)]);
        let answer = self.ask(&self.endpoints.device, wish).await?;
        let code = said::code(answer.status.is_success(), &answer.body);
        let code = code.map_err(|why| unusable(self.login, why))?;
        show(&code);
        self.wait(&code).await
    }

    async fn wait(&self, code: &Code) -> Result<String, Failed> {
        let end = Clock::System.monotonic() + code.good_for;
        let mut pace = Pace { pause: code.interval };
        let issuer = || self.login.issuer.clone();
        loop {
            if !pace.rest(end).await {
                return Err(Failed::Expired { issuer: issuer() });
            }
            match self.question(code).await {
                Some(Said::Token(token)) => return Ok(token),
                Some(Said::Pending) => {}
                Some(Said::SlowDown) => pace.slower(),
                None => pace.back_off(),
                Some(Said::Denied) => return Err(Failed::Denied { issuer: issuer() }),
                Some(Said::Expired) => return Err(Failed::Expired { issuer: issuer() }),
                Some(Said::Unusable(why)) => return Err(unusable(self.login, why)),
            }
        }
    }

    /// `None`: no answer, which passes as a rule, and somebody is about to sign in.
    async fn question(&self, code: &Code) -> Option<Said> {
        let question = form(&[
            ("grant_type", GRANT),
            ("device_code", &code.device_code),
            ("client_id", &self.login.client_id),
        ]);
        match self.ask(&self.endpoints.token, question).await {
            Ok(answer) if said::is_no_word(answer.status, &answer.body) => None,
            Ok(answer) => Some(said::token(answer.status.is_success(), &answer.body)),
            Err(error) => {
                tracing::debug!(%error, "the issuer did not answer");
                None
            }
        }
    }

    async fn ask(&self, url: &Uri, form: String) -> Result<Answer, Failed> {
        ask(self.login, self.dialer, url, Some(form)).await
    }
}

/// How often it is asked.
struct Pace {
    pause: Duration,
}

impl Pace {
    /// Waits for the next question; `false`: it would come after the end.
    async fn rest(&self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Clock::System.monotonic());
        tokio::time::sleep(self.pause.min(left)).await;
        self.pause < left
    }

    fn slower(&mut self) {
        self.pause = self.pause.saturating_add(SLOWER);
    }

    fn back_off(&mut self) {
        self.pause = self.pause.max((self.pause * 2).min(LONGEST));
    }
}

async fn ask(login: &Login, dialer: &Dialer, url: &Uri, form: Option<String>) -> Result<Answer, Failed> {
    let issuer = || login.issuer.clone();
    let (host, port) = issuer::place(url);
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let asking = async {
        let stream = dialer.stream(Service::Enrollment, &address).await;
        let stream = stream.map_err(|source| Failed::Dial { issuer: issuer(), source })?;
        issuer::ask(stream, url, None, form).await.map_err(|source| Failed::Mute { issuer: issuer(), source })
    };
    let slow = |_| Failed::Slow { issuer: issuer(), within: WITHIN };
    timeout(WITHIN, asking).await.map_err(slow)?
}

fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn unusable(login: &Login, why: impl Into<String>) -> Failed {
    Failed::Unusable { issuer: login.issuer.clone(), why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_told_to_slow_down_does_and_nobody_asks_after_the_end() {
        let mut pace = Pace { pause: Duration::from_secs(5) };
        pace.slower();
        assert_eq!(pace.pause, Duration::from_secs(10));
        for _ in 0..9 {
            pace.back_off();
        }
        assert_eq!(pace.pause, LONGEST);
        let mut slow = Pace { pause: LONGEST * 2 };
        slow.back_off();
        assert_eq!(slow.pause, LONGEST * 2, "what the issuer asked for stays");
        assert!(!slow.rest(Clock::System.monotonic() + LONGEST).await);
    }

    #[test]
    fn what_is_asked_is_written_as_a_form() {
        assert_eq!(form(&[("scope", "openid a&b"), ("client_id", "x")]), "scope=openid+a%26b&client_id=x");
    }
}
