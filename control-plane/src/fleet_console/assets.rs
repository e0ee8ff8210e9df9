//! The style, the script and the icon: all that pages load.

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::header;

use super::{answer::Problem, visit::Stranger};

/// Name, kind, content.
const ALL: [(&str, &str, &str); 3] = [
    ("console.css", "text/css; charset=utf-8", include_str!("assets/console.css")),
    ("console.js", "text/javascript; charset=utf-8", include_str!("assets/console.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Seconds for which a browser need not ask again: another release comes soon enough.
const FRESH: &str = "private, max-age=300";

/// One of them. They are no secret.
pub(super) async fn asset(_: Stranger, Path(name): Path<String>) -> Result<Response, Problem> {
    let found = ALL.into_iter().find(|(known, _, _)| *known == name);
    let (_, kind, content) = found.ok_or_else(|| Problem::no_such("file", &name))?;
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, FRESH)], content).into_response())
}
