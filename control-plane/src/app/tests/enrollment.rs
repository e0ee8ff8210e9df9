//! Labels that hosts ask for when they come.

use muster_common::{join::JoinString, reason::Reason};
use muster_domain::{join_request::Answer, join_token::JoinToken, labels::Labels, page::Page};
use rcgen::KeyPair;

use super::{
    bench::{Bench, alice},
    identity::{audited, csr_of},
};
use crate::app::{
    Error,
    enrollment::{Proof, Request},
    join_tokens::Wish,
};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A token that gives `role=web`, and lets its hosts ask for a rack and for `env=prod`.
async fn token(bench: &Bench, require_approval: bool) -> (JoinToken, JoinString) {
    let wish = Wish {
        labels: labels(&[("role", "web")]),
        max_uses: 2,
        requestable: vec!["rack".to_owned(), "env=prod".to_owned()],
        require_approval,
        ..Wish::default()
    };
    bench.app.create_join_token(&alice(), wish).await.unwrap()
}

fn request(join: &JoinString, key: &KeyPair, wish: &[(&str, &str)]) -> Request {
    Request {
        proof: Proof::Secret(join.secret.clone()),
        csr_der: csr_of(key),
        display_name: String::new(),
        hostname: "host".to_owned(),
        machine_fingerprint: Vec::new(),
        requested_labels: labels(wish),
        remote: [192, 0, 2, 7].into(),
        trace_id: String::new(),
    }
}

fn refused(result: Result<crate::app::enrollment::Grant, Error>) -> (Option<Reason>, String) {
    match result.unwrap_err() {
        Error::Invalid { reason, field, message } => (Some(reason), format!("{field}: {message}")),
        Error::Refused { reason, message } => (Some(reason), message),
        other => (None, other.to_string()),
    }
}

#[tokio::test]
async fn a_host_gets_the_labels_that_it_may_ask_for_and_a_lost_answer_changes_none() {
    let bench = Bench::following().await;
    let (token, join) = token(&bench, false).await;
    let key = KeyPair::generate().unwrap();
    let wish = [("rack", "7"), ("env", "prod")];
    let grant = bench.app.enroll(request(&join, &key, &wish)).await.unwrap();
    let all = labels(&[("role", "web"), ("rack", "7"), ("env", "prod")]);
    assert_eq!(bench.stored(grant.node).await.labels, all);
    let told = audited(&bench, "enrollment.enroll").await.pop().unwrap();
    assert!(told.contains(r#""requested_labels":{"env":"prod","rack":"7"}"#), "{told}");
    let again = bench.app.enroll(request(&join, &key, &[("rack", "8"), ("env", "dev")])).await.unwrap();
    assert_eq!((again.node, bench.stored(grant.node).await.labels), (grant.node, all));
    assert_eq!(bench.app.join_token(token.id).await.unwrap().uses, 1);
}

#[tokio::test]
async fn one_label_that_it_may_not_ask_for_keeps_a_host_out_and_costs_no_use() {
    let bench = Bench::following().await;
    let (token, join) = token(&bench, false).await;
    let key = KeyPair::generate().unwrap();
    for bad in [("env", "dev"), ("site", "berlin"), ("role", "db")] {
        let (reason, told) = refused(bench.app.enroll(request(&join, &key, &[("rack", "7"), bad])).await);
        assert_eq!(reason, Some(Reason::LabelNotRequestable), "{told}");
        assert!(told.contains(&format!("requested_labels[{:?}]", bad.0)), "{told}");
    }
    let (reason, told) = refused(bench.app.enroll(request(&join, &key, &[("rack", "a b")])).await);
    assert_eq!(reason, Some(Reason::InvalidArgument), "{told}");
    assert_eq!(bench.app.join_token(token.id).await.unwrap().uses, 0);
    assert_eq!(audited(&bench, "enrollment.enroll").await, [""; 0]);
    let other = JoinString { secret: "x".repeat(43), ..join };
    let (reason, told) = refused(bench.app.enroll(request(&other, &key, &[("site", "berlin")])).await);
    assert_eq!(reason, Some(Reason::TokenUnknown), "who has no token learns nothing: {told}");
}

#[tokio::test]
async fn the_person_who_approves_sees_the_labels_and_the_node_has_those() {
    let bench = Bench::following().await;
    let (_, join) = token(&bench, true).await;
    let key = KeyPair::generate().unwrap();
    let (reason, _) = refused(bench.app.enroll(request(&join, &key, &[("env", "dev")])).await);
    assert_eq!(reason, Some(Reason::LabelNotRequestable));
    let page = Page { size: 10, after: None };
    let waiting = bench.app.join_requests(page.clone()).await.unwrap().rows;
    assert!(waiting.is_empty(), "nobody is asked about a wish that cannot be granted");
    let (reason, _) = refused(bench.app.enroll(request(&join, &key, &[("rack", "7")])).await);
    assert_eq!(reason, Some(Reason::ApprovalPending));
    let [asks] = <[_; 1]>::try_from(bench.app.join_requests(page).await.unwrap().rows).unwrap();
    assert_eq!(asks.requested_labels, labels(&[("rack", "7")]));
    bench.app.answer_join_request(&alice(), asks.id, Answer::Approve).await.unwrap();
    let grant = bench.app.enroll(request(&join, &key, &[("rack", "8"), ("env", "prod")])).await.unwrap();
    let shown = labels(&[("role", "web"), ("rack", "7")]);
    assert_eq!(bench.stored(grant.node).await.labels, shown, "whatever the host asks for now");
}

#[tokio::test]
async fn a_token_says_which_entry_of_its_list_is_wrong() {
    let bench = Bench::following().await;
    let wish = Wish { requestable: vec!["rack".to_owned(), "a b".to_owned()], ..Wish::default() };
    let error = bench.app.create_join_token(&alice(), wish).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid { field, .. } if field == "requestable_labels[1]"), "{error}");
}
