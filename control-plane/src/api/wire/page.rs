//! Pages of lists.

use muster_common::digest::Sha256;
use muster_domain::page::{self, Page};
use prost::Message;
use tonic::Status;

use crate::{
    api::status::{invalid, of_app},
    app::Error,
};

/// Of a page: half of what a client takes in one message, if nobody tells it otherwise.
const BYTES: usize = 2 * 1024 * 1024;

/// The page a request asks for; `parts` are what else it asks.
pub(in crate::api) fn page(
    method: &str,
    parts: &[&str],
    size: i32,
    token: &str,
) -> Result<(Page, Sha256), Status> {
    let size = page::size(size).map_err(|error| invalid("page_size", error.to_string()))?;
    let fingerprint = page::fingerprint(method, parts);
    let page = Page::resume(size, token, fingerprint).map_err(|error| {
        of_app(Error::Invalid {
            reason: muster_common::reason::Reason::PageTokenInvalid,
            field: "page_token".to_owned(),
            message: error.to_string(),
        })
    })?;
    Ok((page, fingerprint))
}

/// As many messages as fit into one that every client takes; the rest is the
/// next page. `key` is what the next page comes after.
pub(in crate::api) fn fitting<M: Message>(
    messages: impl Iterator<Item = M>,
    next: Option<String>,
    key: impl Fn(&M) -> String,
) -> (Vec<M>, Option<String>) {
    let (mut fit, mut bytes) = (Vec::new(), 0);
    for message in messages {
        bytes += message.encoded_len();
        if bytes > BYTES && !fit.is_empty() {
            let last = fit.last().map(key);
            return (fit, last);
        }
        fit.push(message);
    }
    (fit, next)
}

/// The token of the next page; empty at the end.
pub(in crate::api) fn next(fingerprint: Sha256, next: Option<&str>) -> String {
    next.map(|after| page::encode_token(fingerprint, after)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_where_a_message_would_become_too_large() {
        let large = |n: usize| "x".repeat(BYTES / 2 - 100) + &n.to_string();
        let key = |text: &String| text[text.len() - 1..].to_owned();
        let more = || Some("more".to_owned());
        let (page, next) = fitting((0..5).map(large), more(), key);
        assert_eq!((page.len(), next.as_deref()), (2, Some("1")));
        let (page, next) = fitting((0..2).map(large), more(), key);
        assert_eq!((page.len(), next.as_deref()), (2, Some("more")));
        let (page, next) = fitting(std::iter::once("x".repeat(BYTES * 2)), None, key);
        assert_eq!((page.len(), next), (1, None), "one always fits");
    }
}
