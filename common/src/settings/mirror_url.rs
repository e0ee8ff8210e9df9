//! The address of a static mirror of the signed repository, as it is written:
//! `https://mirror.example:8080/muster`.

use std::fmt;

/// Longest address, in bytes.
pub(super) const MAX: usize = 1024;
/// Longest host name there can be.
const MAX_HOST: usize = 253;

/// Where a mirror is. It has neither user nor password: what it has is signed, and public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorUrl {
    tls: bool,
    host: String,
    port: u16,
    /// Begins with a slash, and ends with none.
    path: String,
}

impl MirrorUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong and what is right.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX {
            return Err(format!("it is {} bytes long; it may be {MAX}", text.len()));
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err("it must begin with http:// or https://".to_owned()),
        };
        let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~/%+".contains(c);
        if !path.chars().all(allowed) || path.split('/').any(|word| word == "." || word == "..") {
            return Err(
                "its path may have letters, digits and - . _ ~ % + / only, and no part '..'".to_owned()
            );
        }
        let (host, port) = place_of(place, tls)?;
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { tls, host, port, path })
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub const fn tls(&self) -> bool {
        self.tls
    }

    /// Name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `host:port`, with brackets where it takes them.
    #[must_use]
    pub fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The path of a file of the repository there.
    #[must_use]
    pub fn path(&self, file: &str) -> String {
        // A '+' in a path is one; some servers take it for a space all the same.
        format!("{}/{}", self.path, file.replace('+', "%2B"))
    }
}

fn place_of(place: &str, tls: bool) -> Result<(String, u16), String> {
    let standard = if tls { 443 } else { 80 };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>());
    let port = match port.map(number) {
        None => standard,
        Some(Some(Ok(port))) if port > 0 => port,
        Some(_) => return Err("its port must be a number from 1 to 65535".to_owned()),
    };
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address: std::net::Ipv6Addr =
            address.parse().map_err(|_| "what stands in brackets is no IPv6 address".to_owned())?;
        return Ok((address.to_string(), port));
    }
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() || host.len() > MAX_HOST || !host.chars().all(named) {
        return Err("it must name a host, by name or address, without a user or a password".to_owned());
    }
    Ok((host.to_owned(), port))
}

impl fmt::Display for MirrorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.address(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_path() {
        let read = |text: &str| {
            MirrorUrl::parse(text).map(|url| (url.to_string(), url.path("metadata/1.root.json")))
        };
        let told = |text: &str, path: &str| Ok((text.to_owned(), path.to_owned()));
        assert_eq!(read("http://m.example"), told("http://m.example:80", "/metadata/1.root.json"));
        assert_eq!(read("https://m:8443/a/b/"), told("https://m:8443/a/b", "/a/b/metadata/1.root.json"));
        assert_eq!(
            read("http://[2001:db8::1]:81/x"),
            told("http://[2001:db8::1]:81/x", "/x/metadata/1.root.json")
        );
        assert_eq!(MirrorUrl::parse("http://m").unwrap().path("targets/1.0+b"), "/targets/1.0%2Bb");
        for wrong in [
            "",
            "m",
            "ftp://m",
            "http://",
            "http://u:p@m",
            "http://m:0",
            "http://m:+80",
            "http://m:",
            "http://m/../x",
            "http://m/a?b",
            "http://m/a b",
            "http://m\r\n",
            "http://[m]",
            "http://m:80:80",
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
