//! Requests that are too large or do not decode. tonic refuses them before a
//! handler is asked, with codes of its own and without a reason; here they get
//! the reason that everything else has.

use http::Response;
use muster_common::reason::Reason;
use tonic::{Code, Status, body::Body};

use super::refusal;
use crate::{api::status, metrics::Metrics};

/// The answer with its reason. One that has a reason, or needs none, is left alone.
pub(super) fn explained(metrics: &Metrics, answer: Response<Body>) -> Response<Body> {
    // Only a refusal without a message has its status in the head.
    let Some(told) = Status::from_header_map(answer.headers()).filter(|told| told.details().is_empty())
    else {
        return answer;
    };
    match told.code() {
        Code::OutOfRange => {
            metrics.refused(Reason::TooLarge.as_str());
            status::whole_message_too_large(told.message()).into_http()
        }
        // Handlers never answer so without a reason: what is left is decoding.
        Code::Internal => refusal::response(metrics, Reason::MessageInvalid, told.message()),
        _ => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_reason_or_a_body_is_left_alone() {
        let metrics = Metrics::default();
        let told = |answer: Response<Body>| {
            Status::from_header_map(explained(&metrics, answer).headers()).map(|told| told.code())
        };
        assert_eq!(told(Response::new(Body::empty())), None);
        let ours = status::status(Reason::Internal, "the store failed");
        assert_eq!(told(ours.into_http()), Some(Code::Internal));
        let expired = status::status(Reason::ResumeTokenExpired, "too old");
        assert_eq!(told(expired.into_http()), Some(Code::OutOfRange));
        assert_eq!(told(Status::out_of_range("too long").into_http()), Some(Code::ResourceExhausted));
        assert_eq!(told(Status::internal("no message").into_http()), Some(Code::InvalidArgument));
        assert_eq!(told(Status::not_found("no such service").into_http()), Some(Code::NotFound));
    }
}
