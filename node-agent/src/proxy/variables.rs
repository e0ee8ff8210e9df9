//! The proxy as programs find it in their environment.

use std::{collections::BTreeMap, fmt::Write as _};

use muster_common::settings::ProxyUrl;

use super::Rules;

impl Rules {
    /// `HTTPS_PROXY` and `https_proxy`, with name and password, if a proxy is named that can
    /// be used. It is a secret: for the environment of a program, and nothing else.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<String, String> {
        let url = self.proxy.as_ref().and_then(|(proxy, _)| proxy.as_ref().as_ref().ok());
        let Some(url) = url.map(whole) else { return BTreeMap::new() };
        ["HTTPS_PROXY", "https_proxy"].map(|name| (name.to_owned(), url.clone())).into()
    }
}

fn whole(url: &ProxyUrl) -> String {
    let host = if url.host().contains(':') { format!("[{}]", url.host()) } else { url.host().to_owned() };
    let login = url.credentials().map_or_else(String::new, |pair| {
        let (user, password) = pair.split_once(':').unwrap_or((pair, ""));
        format!("{}:{}@", encoded(user), encoded(password))
    });
    format!("http://{login}{host}:{}", url.port())
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut done, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            done.push(char::from(byte));
        } else {
            let _ = write!(done, "%{byte:02X}"); // to a text it never fails
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_reads_back_as_the_same_one() {
        for text in ["http://proxy:3128", "http://u:p%40%3A1@10.0.0.1:8080", "http://[2001:db8::1]:3128"] {
            let url = ProxyUrl::parse(text).unwrap();
            let all = Rules::given(url.clone()).variables();
            assert_eq!(all.len(), 2);
            assert_eq!(ProxyUrl::parse(&all["HTTPS_PROXY"]).unwrap(), url, "{all:?}");
        }
        assert!(Rules::default().variables().is_empty());
    }
}
