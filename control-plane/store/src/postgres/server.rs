//! Which server, and how to reach it: what its URL says.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use muster_common::tls::pem;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::Cause;

/// How long to wait for one address of a server.
const CONNECT: Duration = Duration::from_secs(5);
/// A server that says nothing for so long is asked whether it is there, as often as this.
const QUIET: Duration = Duration::from_secs(5);
/// Until sent bytes must be acknowledged, or the connection is given up.
const UNHEARD: Duration = Duration::from_secs(15);

/// A database of a PostgreSQL server, or of several of which one takes writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    config: Config,
    /// Authorities of the server; none: those of the system.
    roots: Option<PathBuf>,
}

impl Server {
    /// Reads a URL; why it cannot be, as a sentence.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", word)) => mode = Some(word),
                Some(("sslrootcert", path)) => roots = Some(PathBuf::from(path)),
                _ => rest.push(pair),
            }
        }
        let rest = if rest.is_empty() { String::new() } else { format!("?{}", rest.join("&")) };
        // What the client says of it may repeat a part of the URL.
        let mut config: Config =
            format!("{base}{rest}").parse().map_err(|_| "it does not parse".to_owned())?;
        if config.get_password().is_some() {
            return Err("a password does not stand in a URL: store.password-file names its file".to_owned());
        }
        if config.get_user().is_none() || config.get_dbname().is_none() || config.get_hosts().is_empty() {
            return Err("it must name a user, a host and a database".to_owned());
        }
        config.ssl_mode(tls_of(&config, mode)?);
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_application_name().is_none() {
            config.application_name("muster-control-plane");
        }
        config.tcp_user_timeout(UNHEARD);
        config.keepalives_idle(QUIET).keepalives_interval(QUIET).keepalives_retries(2);
        Ok(Self { config, roots })
    }

    pub(crate) fn set_password(&mut self, password: &str) {
        self.config.password(password);
    }

    /// One address is tried after the other.
    pub(crate) fn connects_within(&self) -> Duration {
        let each = self.config.get_connect_timeout().copied().unwrap_or(CONNECT);
        let addresses = u32::try_from(self.config.get_hosts().len()).unwrap_or(u32::MAX);
        each.saturating_mul(addresses).saturating_add(CONNECT)
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// How TLS to it begins; who it is, is checked by the name it was reached under.
    pub(crate) fn tls(&self) -> Result<MakeRustlsConnect, Cause> {
        let mut roots = RootCertStore::empty();
        if self.config.get_ssl_mode() == SslMode::Require {
            match &self.roots {
                Some(path) => {
                    let found = pem::certificates(path).map_err(|error| Arc::new(error) as Cause)?;
                    for certificate in found {
                        roots.add(certificate).map_err(|error| Arc::new(error) as Cause)?;
                    }
                }
                None => {
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                }
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Arc::new(error) as Cause)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, database) = (self.config.get_user(), self.config.get_dbname());
        write!(f, "postgres://{}@", user.unwrap_or_default())?;
        let ports = self.config.get_ports();
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let port = ports.get(index).or_else(|| ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}:{port}")?,
                Host::Unix(folder) => write!(f, "{comma}{}:{port}", folder.display())?,
            }
        }
        write!(f, "/{}", database.unwrap_or_default())
    }
}

/// Between verified TLS and none there is nothing: what is not verified protects from nobody.
fn tls_of(config: &Config, mode: Option<&str>) -> Result<SslMode, String> {
    let is_local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
    match mode {
        Some("disable") => Ok(SslMode::Disable),
        None if is_local => Ok(SslMode::Disable),
        None | Some("verify-full") => Ok(SslMode::Require),
        Some(_) => Err("sslmode is verify-full, as it is when it is left out, or disable".to_owned()),
    }
}
