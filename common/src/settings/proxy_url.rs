//! The address of an HTTP proxy as it is written: `http://user:password@host:port`.
//! What it says of anything never holds the password.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use zeroize::Zeroizing;

/// Longest address, in bytes.
pub(super) const MAX: usize = 1024;
/// Longest host name there can be.
const MAX_HOST: usize = 253;
/// Where none is said: that of the scheme.
const PORT: u16 = 80;
/// How it begins.
const SCHEME: &str = "http://";

/// Where a proxy is, and who we are there. `Display` and `Debug` hide the password; a user
/// without one may be a token, and is hidden, too.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    host: String,
    port: u16,
    credentials: Option<Credentials>,
}

#[derive(Clone, PartialEq, Eq)]
struct Credentials {
    /// As written: for people.
    shown: String,
    /// `user:password`, decoded.
    pair: Zeroizing<String>,
}

impl ProxyUrl {
    /// Reads an address. `http://` may be left out, as may the port: 80.
    ///
    /// # Errors
    /// What is wrong and what is right. Nothing of the address is in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX {
            return Err(format!("it is {} bytes long; it may be {MAX}", text.len()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\<>^`{|}".contains(&byte)) {
            return Err("it has a character that must be written as % and two hexadecimal digits".to_owned());
        }
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => {
                return Err("it must begin with http://: other kinds of proxies are not spoken to; \
                            what goes through one is TLS to the control plane all the same"
                    .to_owned());
            }
            None => text,
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !matches!(path, "" | "/") {
            return Err("it has something after the port; a / in a password is written as %2F".to_owned());
        }
        let (user, place) = authority.rsplit_once('@').map_or((None, authority), |(a, b)| (Some(a), b));
        let (host, port) = place_of(place)?;
        let credentials = user.map(Credentials::parse).transpose()?;
        Ok(Self { host, port, credentials })
    }

    /// Name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `user:password`, decoded, if it has them.
    #[must_use]
    pub fn credentials(&self) -> Option<&str> {
        self.credentials.as_ref().map(|it| it.pair.as_str())
    }

    /// Whether whoever reads it can use the proxy.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        self.credentials.is_some()
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        if let Some(it) = &self.credentials {
            write!(f, "{}***@", it.shown)?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Credentials {
    fn parse(written: &str) -> Result<Self, String> {
        let (user, password) = written.split_once(':').map_or((written, None), |(a, b)| (a, Some(b)));
        let decoded = decode(user)?;
        if decoded.contains(':') {
            return Err("its user name has a colon, which basic authentication cannot say".to_owned());
        }
        let pair = Zeroizing::new(format!("{}:{}", *decoded, *decode(password.unwrap_or_default())?));
        let shown = password.map_or_else(String::new, |_| format!("{user}:"));
        Ok(Self { shown, pair })
    }
}

fn place_of(place: &str) -> Result<(String, u16), String> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("its address has no closing bracket")?;
            host.parse::<Ipv6Addr>().map_err(|_| "what it has in brackets is not an IPv6 address")?;
            (host, port)
        }
        None => {
            let (host, port) = place.split_at(place.find(':').unwrap_or(place.len()));
            if port.matches(':').count() > 1 {
                return Err("an IPv6 address stands in brackets: http://[2001:db8::1]:3128".to_owned());
            }
            if !is_host(host) {
                return Err("it must name a host: http://proxy.example:3128".to_owned());
            }
            (host, port)
        }
    };
    let number = match port {
        "" => Some(PORT),
        _ => port.strip_prefix(':').and_then(|port| port.parse().ok()).filter(|port| *port > 0),
    };
    Ok((host.to_ascii_lowercase(), number.ok_or("its port must be a number from 1 to 65535")?))
}

/// Whether this can be a host's name or IPv4 address.
pub(super) fn is_host(text: &str) -> bool {
    let part = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !part.is_empty() && part.len() <= 63 && part.bytes().all(plain)
    };
    // What ends in a number is an address or nothing: `10.0.0`, `10.0.0.256`.
    let ends_in_number = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= MAX_HOST
        && text.split('.').all(part)
        && (!ends_in_number || text.parse::<Ipv4Addr>().is_ok())
}

/// Text with `%xx`, decoded.
fn decode(text: &str) -> Result<Zeroizing<String>, String> {
    let wrong = || "after a % in it there must be two hexadecimal digits; a % itself is %25".to_owned();
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>().ok_or_else(wrong)?;
        bytes.push(hex::decode(digits).ok().and_then(|byte| byte.first().copied()).ok_or_else(wrong)?);
        rest = after;
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "its user name or password is not UTF-8")?;
    if text.chars().any(char::is_control) {
        return Err("its user name or password has a control character".to_owned());
    }
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_told_without_its_password() {
        for (written, told, pair) in [
            ("http://proxy.example:3128", "http://proxy.example:3128", None),
            ("HTTP://Proxy.Example", "http://proxy.example:80", None),
            ("proxy_1:3128", "http://proxy_1:3128", None),
            ("http://10.0.0.1:8080/", "http://10.0.0.1:8080", None),
            ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128", None),
            ("http://[::1]", "http://[::1]:80", None),
            ("http://u:pw@p:1", "http://u:***@p:1", Some("u:pw")),
            ("http://u:p%40%3a%2F%25@p:1", "http://u:***@p:1", Some("u:p@:/%")),
            ("http://d%5Cu:p:w@p:1", "http://d%5Cu:***@p:1", Some("d\\u:p:w")),
            ("http://u:p@w@p:1", "http://u:***@p:1", Some("u:p@w")),
            ("http://u:@p:1", "http://u:***@p:1", Some("u:")),
            ("http://token@p:1", "http://***@p:1", Some("token:")),
            ("http://:pw@p:1", "http://:***@p:1", Some(":pw")),
            ("http://%C3%BC:%C3%A4@p:1", "http://%C3%BC:***@p:1", Some("ü:ä")),
        ] {
            let url = ProxyUrl::parse(written).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!((url.to_string().as_str(), url.credentials()), (told, pair), "{written}");
            assert_eq!(format!("{url:?}"), told);
        }
        assert_eq!(ProxyUrl::parse("[::1]:7").unwrap().host(), "::1");
    }

    #[test]
    fn what_is_no_address_is_refused_without_saying_a_word_of_it() {
        for written in [
            "",
            "http://",
            "https://hunter2:hunter2@p:1",
            "socks5://hunter2@p:1",
            "http://hunter2:hunter2@",
            "http://u:hunter2@p:0",
            "http://u:hunter2@p:65536",
            "http://u:hunter2@p:x",
            "http://u:hunter2@p:",
            "http://u:hunter2/x@p:1",
            "http://u:hunter2@p:1/path",
            "http://u:hunter2@p:1?x",
            "http://u:hunter2%@p:1",
            "http://u:hunter2%4@p:1",
            "http://u:hunter2%+4@p:1",
            "http://u:hunter2%0d%0a@p:1",
            "http://u:hunter2%ff@p:1",
            "http://u%3a:hunter2@p:1",
            "http://u:hunter2@::1",
            "http://u:hunter2@[::1",
            "http://u:hunter2@[hunter2]:1",
            "http://u:hunter2@[::1]1",
            "http://u:hunter2@10.0.0.256:1",
            "http://u:hunter2@p..q:1",
            "http://u:hunter2 @p:1",
            "http://u:hunter2\"@p:1",
            "http://u:hunter2\u{e4}@p:1",
        ] {
            let error = ProxyUrl::parse(written).expect_err(written);
            assert!(!error.contains("hunter2"), "{written}: {error}");
        }
        assert!(ProxyUrl::parse(&format!("http://{}:1", "a".repeat(64))).is_err());
        assert!(ProxyUrl::parse(&format!("http://u:{}@p:1", "a".repeat(MAX))).is_err());
    }
}
