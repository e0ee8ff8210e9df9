//! `--login`: a person signs in for this host, on whatever they have with a browser.

use muster_common::error_chain::Chain;
use serde_json::json;

use crate::{
    cli::{
        exit::{self, Failure, of_proxy},
        output::{Output, Tone},
    },
    dial,
    identity::{self, Join, Login, LoginCode, LoginFailed},
};

#[derive(Debug, clap::Args)]
pub(super) struct SignIn {
    /// Sign in with a browser, here or on another device, instead of a join string: a page
    /// and a code for it are shown. The control plane names the issuer of OpenID Connect.
    #[arg(long, alias = "use-device-code", requires_all = ["address", "ca_pin"], conflicts_with_all = ["join", "join_file", "oidc_token_file", "host_certificate"])]
    pub(super) login: bool,
    /// At which issuer, if the control plane names several: the name that it calls it by.
    #[arg(long, value_name = "NAME", requires = "login")]
    issuer: Option<String>,
}

/// The stage: answers the token.
pub(super) async fn sign_in(args: &SignIn, out: Output, join: &Join) -> Result<(String, String), Failure> {
    let logins = identity::logins(join).await?;
    let login = chosen(&logins, args.issuer.as_deref())?;
    let token =
        identity::sign_in(login, join, |code| show(out, code)).await.map_err(|error| failed(&error))?;
    Ok((token, format!("signed in at {}", login.name)))
}

fn chosen<'a>(logins: &'a [Login], name: Option<&str>) -> Result<&'a Login, Failure> {
    let names = || logins.iter().map(|login| login.name.as_str()).collect::<Vec<_>>().join(", ");
    let wrong = |cause: String| Err(Failure::told(exit::LOGIN_UNAVAILABLE, cause));
    match (logins, name) {
        ([], _) => {
            wrong("the control plane names no issuer at which people can sign in for a host".to_owned())
        }
        ([login], None) => Ok(login),
        (_, None) => {
            wrong(format!("the control plane names several issuers; say which with --issuer: {}", names()))
        }
        (_, Some(name)) => match logins.iter().find(|login| login.name == name) {
            Some(login) => Ok(login),
            None => wrong(format!("the control plane names no issuer {name:?}; it names {}", names())),
        },
    }
}

/// Beside the answer, which has the end alone: a program that shows it to somebody gets a
/// line of JSON.
fn show(out: Output, code: &LoginCode) {
    if out.is_json() {
        let event = json!({
            "schema": "login/1", "url": code.url, "whole-url": code.whole_url, "code": code.user_code,
            "good-for-s": code.good_for.as_secs(),
        });
        return out.note(&event);
    }
    let lasts = humantime::format_duration(code.good_for);
    let word = out.paint_note(Tone::Strong, &code.user_code);
    out.note(&format!("  to let this host in, open {} and enter the code {word} within {lasts}", code.url));
    if let Some(url) = &code.whole_url {
        out.note(&format!("  or open {url}, and see that it shows the same code"));
    }
}

fn failed(error: &LoginFailed) -> Failure {
    let code = match error {
        LoginFailed::Denied { .. } => exit::LOGIN_DENIED,
        LoginFailed::Expired { .. } => exit::LOGIN_EXPIRED,
        LoginFailed::Dial { source: dial::Error::Proxy { source, .. }, .. } => of_proxy(source),
        LoginFailed::Dial { .. }
        | LoginFailed::Mute { .. }
        | LoginFailed::Slow { .. }
        | LoginFailed::Unusable { .. } => exit::LOGIN_UNAVAILABLE,
    };
    Failure::told(code, Chain(error).to_string())
}
