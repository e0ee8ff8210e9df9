//! Pages of lists.

use muster_common::digest::Sha256;
use muster_domain::page::{self, Page};
use tonic::Status;

use crate::{
    api::status::{invalid, of_app},
    app::Error,
};

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

/// The token of the next page; empty at the end.
pub(in crate::api) fn next(fingerprint: Sha256, next: Option<&str>) -> String {
    next.map(|after| page::encode_token(fingerprint, after)).unwrap_or_default()
}
