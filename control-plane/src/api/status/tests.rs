use std::sync::Arc;

use muster_store::Error;

use super::*;

fn told(error: &Error) -> (Code, String, bool) {
    let status = of_store(error);
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    (status.code(), reason, details.retry_info().is_some())
}

#[test]
fn what_passes_can_be_tried_again_and_a_bad_page_is_the_callers() {
    let cause = || Arc::new(std::io::Error::other("x")) as muster_store::Cause;
    for error in [Error::Busy, Error::Locked(cause()), Error::DiskFull(cause())] {
        assert_eq!(told(&error), (Code::Unavailable, "OVERLOADED".to_owned(), true), "{error}");
    }
    assert_eq!(told(&Error::Closed), (Code::Unavailable, "SHUTTING_DOWN".to_owned(), true));
    let unreachable = (Code::Unavailable, "STORE_UNREACHABLE".to_owned(), true);
    assert_eq!(told(&Error::Unreachable(cause())), unreachable);
    let unknown = (Code::Unknown, "STORE_OUTCOME_UNKNOWN".to_owned(), false);
    assert_eq!(told(&Error::OutcomeUnknown(cause())), unknown, "nobody repeats it without looking");
    let page = Error::PageKey("x".to_owned());
    assert_eq!(told(&page), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".to_owned(), false));
    assert_eq!(told(&Error::Io(cause())), (Code::Internal, "INTERNAL".to_owned(), false));
}

#[test]
fn who_is_to_come_later_is_told_when() {
    let after = std::time::Duration::from_millis(1234);
    let status = of_app(app::Error::Later { reason: Reason::Overloaded, message: "full".to_owned(), after });
    let details = status.get_error_details();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "full"));
    assert_eq!(details.error_info().unwrap().reason, "OVERLOADED");
    assert_eq!(details.retry_info().unwrap().retry_delay, Some(after));
}

#[test]
fn a_full_disk_for_blobs_can_be_tried_again_and_a_wrong_digest_is_the_callers() {
    let told = |error: blobs::Error| {
        let status = of_app(app::Error::Blobs(error));
        let details = status.get_error_details();
        (status.code(), details.error_info().map(|info| info.reason.clone()).unwrap_or_default())
    };
    let full = blobs::Error::DiskFull(Box::new(std::io::Error::other("x")));
    assert_eq!(told(full), (Code::Unavailable, "OVERLOADED".to_owned()));
    assert_eq!(told(blobs::Error::Busy), (Code::Unavailable, "OVERLOADED".to_owned()));
    let (wanted, found) = (muster_common::digest::Sha256::of(b"a"), muster_common::digest::Sha256::of(b"b"));
    let digest = blobs::Error::Digest { wanted, found };
    assert_eq!(told(digest), (Code::InvalidArgument, "DIGEST_MISMATCH".to_owned()));
    assert_eq!(told(blobs::Error::Missing(wanted)), (Code::Internal, "INTERNAL".to_owned()));
}

fn read(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn named(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::Unavailable => "UNAVAILABLE",
        Code::Unknown => "UNKNOWN",
        Code::Internal => "INTERNAL",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        other => panic!("{other:?} is none of ours"),
    }
}

/// The first code that a section of the page names.
fn documented(page: &str, reason: Reason) -> Option<&str> {
    let section = page.split("\n## ").find(|section| section.lines().next() == Some(reason.as_str()));
    let section = section.unwrap_or_else(|| panic!("{reason} has no section"));
    section.split_once("Code")?.1.trim_start().strip_prefix('`')?.split('`').next()
}

#[test]
fn every_reason_has_the_code_that_its_page_says() {
    let page = read("docs/errors/README.md");
    let (of_calls, of_hosts) = page.split_once("\n# Items on the host").unwrap();
    for reason in Reason::ALL.iter().copied() {
        let by_hosts = of_hosts.contains(&format!("\n## {reason}\n"));
        let text = if by_hosts { of_hosts } else { of_calls };
        let expected = (!by_hosts && reason != Reason::CaPinMismatch).then(|| named(code(reason)));
        assert_eq!(documented(text, reason), expected, "{reason}");
    }
}

#[test]
fn every_reason_has_the_code_that_the_protocol_says() {
    let mut seen = 0;
    for file in [
        "nodes",
        "join_tokens",
        "bundles",
        "blobs",
        "settings",
        "assignments",
        "operations",
        "audit",
        "system",
    ]
    .map(|name| format!("proto/muster/admin/v1/{name}.proto"))
    .into_iter()
    .chain(
        ["blobs", "enrollment", "identity", "session"]
            .map(|name| format!("proto/muster/agent/v1/{name}.proto")),
    ) {
        let text: String = read(&file).lines().map(|line| line.trim().trim_start_matches("//")).collect();
        for reason in Reason::ALL.iter().copied() {
            for told in codes_beside(&text, reason) {
                assert_eq!(told, named(code(reason)), "{reason} in {file}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 20, "only {seen} were found: is CODE (REASON, REASON) still how they are written?");
}

/// Codes before brackets that name a reason: `CODE (REASON, REASON)`.
fn codes_beside(text: &str, reason: Reason) -> Vec<&str> {
    let brackets = text.match_indices(" (").filter_map(|(at, _)| {
        let list = text[at + 2..].split_once(')')?.0;
        let code = text[..at].rsplit(|c: char| !c.is_ascii_uppercase() && c != '_').next()?;
        (!code.is_empty()).then_some((code, list))
    });
    let here = brackets.filter(|(_, list)| list.split(',').any(|word| word.trim() == reason.as_str()));
    here.map(|(code, _)| code).collect()
}
