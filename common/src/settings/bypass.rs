//! What goes past a proxy: services of the control plane, hosts, networks.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::proxy_url::is_host;

/// Longest list, in bytes.
pub(super) const MAX: usize = 1024;

/// What an agent opens connections for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The session, and calls about the certificate.
    Session,
    /// To enroll, and to come back.
    Enrollment,
    /// Large files, in both directions.
    Artifacts,
}

/// What is not sent through a proxy, as written and as meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bypass(Vec<(String, Exception)>);

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exception {
    /// `*`.
    Everything,
    /// A service, wherever it is.
    Service(Service),
    /// A host and all whose names end in its name. In lower case.
    Host(String),
    /// An address or a network, of hosts that are known by their address.
    Network(IpNet),
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Session, Self::Enrollment, Self::Artifacts];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "Session",
            Self::Enrollment => "Enrollment",
            Self::Artifacts => "Artifacts",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Bypass {
    /// Reads a list with commas. Empty: nothing goes past the proxy.
    ///
    /// # Errors
    /// The entry that cannot be, and what can.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX {
            return Err(format!("it is {} bytes long; it may be {MAX}", text.len()));
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let entries = text.split(',').map(|entry| Ok((entry.trim().to_owned(), entry.trim().parse()?)));
        entries.collect::<Result<_, _>>().map(Self)
    }

    /// Of entries that were read elsewhere.
    #[must_use]
    pub const fn of(entries: Vec<(String, Exception)>) -> Self {
        Self(entries)
    }

    /// The first entry, as written, by which a service on a host goes past the proxy.
    #[must_use]
    pub fn find(&self, service: Service, host: &str) -> Option<&str> {
        self.0.iter().find(|(_, entry)| entry.covers(service, host)).map(|(written, _)| written.as_str())
    }

    /// The first entry, as written, that names a service.
    #[must_use]
    pub fn first_service(&self) -> Option<&str> {
        let is_service = |entry: &Exception| matches!(entry, Exception::Service(_));
        self.0.iter().find(|(_, entry)| is_service(entry)).map(|(written, _)| written.as_str())
    }
}

impl Exception {
    fn covers(&self, service: Service, host: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Service(own) => *own == service,
            Self::Host(own) => {
                let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
                let above = host.strip_suffix(own.as_str());
                above.is_some_and(|rest| rest.is_empty() || rest.ends_with('.')) && !is_address(&host)
            }
            Self::Network(network) => host.parse().is_ok_and(|address: IpAddr| network.contains(&address)),
        }
    }
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

impl FromStr for Exception {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Everything);
        }
        if let Some(service) = Service::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(text)) {
            return Ok(Self::Service(service));
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network));
        }
        let name = text.strip_prefix('.').unwrap_or(text);
        let name = name.strip_suffix('.').unwrap_or(name);
        if is_host(name) {
            return Ok(Self::Host(name.to_ascii_lowercase()));
        }
        let text: String = text.chars().take(64).collect();
        Err(format!(
            "{text:?} is none of the services Session, Enrollment and Artifacts, nor a host, an address, a network \
             such as 10.0.0.0/8, or *; entries stand between commas"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(list: &str, service: Service, host: &str) -> bool {
        Bypass::parse(list).unwrap().find(service, host).is_some()
    }

    #[test]
    fn an_entry_covers_what_it_names_and_nothing_beside() {
        use Service::{Artifacts, Enrollment, Session};
        for (list, service, host, covered) in [
            ("", Session, "a.example", false),
            (" ", Session, "a.example", false),
            ("*", Artifacts, "10.0.0.1", true),
            ("Session", Session, "a.example", true),
            ("session", Session, "10.0.0.1", true),
            ("Session", Enrollment, "a.example", false),
            ("Session, Artifacts", Artifacts, "a.example", true),
            ("example.com", Session, "example.com", true),
            ("example.com", Session, "EXAMPLE.com.", true),
            ("example.com", Session, "www.example.com", true),
            ("example.com", Session, "nonexample.com", false),
            ("example.com", Session, "example.com.evil", false),
            (".example.com", Session, "example.com", true),
            (".example.com", Session, "a.b.example.com", true),
            ("www.example.com", Session, "example.com", false),
            ("localhost", Session, "localhost", true),
            ("10.1.2.3", Session, "10.1.2.3", true),
            ("10.1.2.3", Session, "10.1.2.30", false),
            ("10.0.0.0/8", Session, "10.255.0.1", true),
            ("10.9.9.9/8", Session, "10.255.0.1", true),
            ("10.0.0.0/8", Session, "11.0.0.1", false),
            ("10.0.0.0/8", Session, "10.example", false),
            ("0.0.0.0/0", Session, "11.0.0.1", true),
            ("0.0.0.0/0", Session, "2001:db8::1", false),
            ("2001:db8::/32", Session, "2001:db8:1::9", true),
            ("2001:db8::/32", Session, "2001:db9::9", false),
            ("[2001:db8::1]", Session, "2001:0db8:0:0::1", true),
            ("a.example,10.0.0.0/8 , b.example", Session, "b.example", true),
        ] {
            assert_eq!(finds(list, service, host), covered, "{list:?} {service} {host}");
        }
        let list = Bypass::parse("a.example, .B.example").unwrap();
        assert_eq!(list.find(Session, "x.b.example"), Some(".B.example"));
        assert_eq!(list.first_service(), None);
    }

    #[test]
    fn an_entry_that_cannot_be_is_told() {
        for list in
            ["a.example,", ",", "a b", "http://a", "a.example:443", "10.0.0.0/33", "10.0.0.256", "*.a", "ä"]
        {
            let error = Bypass::parse(list).expect_err(list);
            assert!(error.contains("Session") && error.contains("10.0.0.0/8"), "{error}");
        }
        assert!(Bypass::parse(&"a,".repeat(600)).is_err());
    }
}
