//! The way to the control plane: which proxy a connection goes through and why, and
//! how a connection is opened through one. The option `proxy.url` wins over the
//! environment, the environment over nothing. TLS begins behind the proxy: it sees where
//! a connection goes and how much it carries, and never what. No password is in anything
//! that is told or logged here.

pub mod answer;
mod environment;
mod http_connect;
mod variables;

use std::{fmt, io, sync::Arc, time::Duration};

pub use environment::{Environment, misread};
pub use http_connect::open;
use muster_common::settings::{Bypass, ProxyUrl, Service};

use crate::state::Origin;

/// For a connection to the proxy and its answer together.
pub const WITHIN: Duration = Duration::from_secs(20);

/// Which connection goes which way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    proxy: Option<(Arc<Result<ProxyUrl, String>>, Source)>,
    bypass: Bypass,
    /// Of the environment; for the environment's proxy only.
    no_proxy: Bypass,
}

/// Who names the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    CommandLine,
    Setting(Origin),
    Environment { variable: &'static str, of: &'static str },
}

/// The way of one connection, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Which.
    pub way: Way,
    why: String,
}

/// How a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Without a proxy.
    Direct,
    /// Through this one.
    Through(Arc<Result<ProxyUrl, String>>),
}

/// No connection through a proxy. All are faults of the network, and pass.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers where the proxy should be.
    #[error("cannot reach the proxy {proxy}: see that it runs, and that its address is right")]
    Unreachable {
        /// Which.
        proxy: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("the proxy {proxy} brought no connection to {target} within {} s", WITHIN.as_secs())]
    Slow {
        /// Which.
        proxy: String,
        /// Where to.
        target: String,
    },
    /// It ended the connection before it answered.
    #[error("the proxy {proxy} ended the connection without an answer: see that an HTTP proxy is there")]
    Ended {
        /// Which.
        proxy: String,
        /// Why, if that is known.
        #[source]
        source: Option<io::Error>,
    },
    /// It wants a name and a password, or others.
    #[error("the proxy {proxy} {}", Login(*.given, *.status))]
    Authentication {
        /// Which.
        proxy: String,
        /// Whether it got one.
        given: bool,
        /// Of HTTP.
        status: u16,
    },
    /// It does not let us through, or cannot.
    #[error("the proxy {proxy} refuses {target}: {status}{}: see its rules and its log", Phrase(.phrase))]
    Refused {
        /// Which.
        proxy: String,
        /// Where to.
        target: String,
        /// Of HTTP.
        status: u16,
        /// What it says, made printable.
        phrase: String,
    },
    /// What answers there is something else.
    #[error("{proxy} is no HTTP proxy: {why}")]
    NoProxy {
        /// Which.
        proxy: String,
        /// What it did.
        why: answer::Garbage,
    },
    /// It is not known where the proxy is.
    #[error("the proxy that {who} cannot be used: {why}")]
    Unusable {
        /// Who names it.
        who: String,
        /// What is wrong with its address.
        why: String,
    },
}

/// The words behind the proxy's address.
struct Login(bool, u16);

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(given, status) = self;
        if *given {
            write!(f, "does not accept this user name and password ({status}): correct them")
        } else {
            write!(
                f,
                "wants a user name and a password ({status}): write them as http://USER:PASSWORD@HOST:PORT"
            )
        }
    }
}

/// ` (…)`, or nothing.
struct Phrase<'a>(&'a str);

impl fmt::Display for Phrase<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

impl Rules {
    /// By the options in force, as written, and the environment.
    #[must_use]
    pub fn new((url, origin): (&str, Origin), bypass: &str, environment: Environment) -> Self {
        let bypass = Bypass::parse(bypass).unwrap_or_default(); // it was checked where it was read
        if !url.is_empty() {
            let proxy = Some((Arc::new(ProxyUrl::parse(url)), Source::Setting(origin)));
            return Self { proxy, bypass, no_proxy: Bypass::default() };
        }
        let Environment { proxy, no_proxy, of } = environment;
        let proxy = proxy.map(|(variable, url)| (Arc::new(url), Source::Environment { variable, of }));
        Self { proxy, bypass, no_proxy }
    }

    /// This proxy for everything.
    #[must_use]
    pub fn given(url: ProxyUrl) -> Self {
        Self { proxy: Some((Arc::new(Ok(url)), Source::CommandLine)), ..Self::default() }
    }

    /// Whether somebody names a proxy.
    #[must_use]
    pub const fn has_proxy(&self) -> bool {
        self.proxy.is_some()
    }

    /// Whether every connection goes the same way by these, whoever says so.
    #[must_use]
    pub fn lead_like(&self, other: &Self) -> bool {
        let proxy = |it: &Self| it.proxy.as_ref().map(|(proxy, _)| Arc::clone(proxy));
        proxy(self) == proxy(other) && self.bypass == other.bypass && self.no_proxy == other.no_proxy
    }

    /// The way of a connection for a service to `host:port`.
    #[must_use]
    pub fn route(&self, service: Service, address: &str) -> Route {
        let direct = |why: String| Route { way: Way::Direct, why };
        let Some((proxy, source)) = &self.proxy else { return direct(String::new()) };
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Some(entry) = self.bypass.find(service, host) {
            return direct(format!("proxy.bypass has {entry}"));
        }
        if let Some(entry) = self.no_proxy.find(service, host) {
            return direct(format!("NO_PROXY has {entry}"));
        }
        Route { way: Way::Through(Arc::clone(proxy)), why: source.to_string() }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("--proxy"),
            Self::Setting(origin) => write!(f, "setting, {origin}"),
            Self::Environment { variable, of } => write!(f, "{variable}, {of}"),
        }
    }
}

/// As people read it: `http://u:***@p:3128 (setting, configuration file)`, `none (proxy.bypass has Session)`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Direct if self.why.is_empty() => f.write_str("none"),
            Way::Direct => write!(f, "none ({})", self.why),
            Way::Through(proxy) => match &**proxy {
                Ok(url) => write!(f, "{url} ({})", self.why),
                Err(why) => write!(f, "unusable ({}): {why}", self.why),
            },
        }
    }
}

impl Route {
    /// The proxy, if there is one.
    ///
    /// # Errors
    /// If nobody can say where it is: then nothing goes out past it either.
    pub fn proxy(&self) -> Result<Option<&ProxyUrl>, Error> {
        match &self.way {
            Way::Direct => Ok(None),
            Way::Through(proxy) => match &**proxy {
                Ok(url) => Ok(Some(url)),
                Err(why) => {
                    Err(Error::Unusable { who: format!("is named by {}", self.why), why: why.clone() })
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;
