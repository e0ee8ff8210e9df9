//! What the head of a mirror's answer says.

use http::{HeaderMap, StatusCode, header};

use super::super::fault::Fault;

/// How many bytes of the answer are before those that were asked for: a server that knows
/// no ranges gives all. Anything but the file itself is refused; above all, to be sent on.
pub(super) fn begins_at(status: StatusCode, headers: &HeaderMap, offset: u64) -> Result<u64, Fault> {
    let no = |why: String| Err(Fault::Network(why));
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(Fault::Missing),
        // Stores of objects say so of what they do not have to who may not list.
        StatusCode::FORBIDDEN => return Err(Fault::Forbidden),
        status if status.is_redirection() => {
            return no(format!("it sends elsewhere ({status}), which is not followed"));
        }
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        status => return no(format!("it answers {status}")),
    }
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return no("it answers in an encoding that was not asked for".to_owned());
    }
    if status == StatusCode::OK {
        return Ok(offset);
    }
    let range = headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let begin = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse::<u64>().ok());
    if offset > 0 && begin == Some(offset) {
        return Ok(0);
    }
    no(format!("it answers with another part ({}) than from {offset} on", range.unwrap_or("unnamed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(status: u16, head: &[(header::HeaderName, &'static str)], offset: u64) -> Result<u64, Fault> {
        let headers = head.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        begins_at(StatusCode::from_u16(status).unwrap(), &headers, offset)
    }

    #[test]
    fn an_answer_is_the_file_or_the_part_that_was_asked_for() {
        let range = |range| [(header::CONTENT_RANGE, range)];
        assert_eq!((begin(200, &[], 0), begin(200, &[], 7)), (Ok(0), Ok(7)));
        assert_eq!(begin(206, &range("bytes 7-9/10"), 7), Ok(0));
        assert_eq!((begin(404, &[], 0), begin(410, &[], 7)), (Err(Fault::Missing), Err(Fault::Missing)));
        assert_eq!(begin(403, &[], 0), Err(Fault::Forbidden));
        for (status, head, offset) in [
            (206, &range("bytes 6-9/10")[..], 7),
            (206, &range("bytes 0-9/10"), 0),
            (206, &[], 7),
            (301, &[(header::LOCATION, "http://elsewhere")], 0),
            (304, &[], 0),
            (500, &[], 0),
            (204, &[], 0),
            (200, &[(header::CONTENT_ENCODING, "gzip")], 0),
        ] {
            assert!(matches!(begin(status, head, offset), Err(Fault::Network(_))), "{status}");
        }
    }
}
