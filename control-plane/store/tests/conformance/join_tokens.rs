use std::time::Duration;

use muster_common::{
    digest::Sha256,
    ids::{JoinRequestId, JoinTokenId},
};
use muster_domain::{
    join_request::{JoinRequest, State},
    join_token::JoinToken,
};
use muster_store::{
    ReadJoinRequests as _, ReadJoinTokens as _, ReadSpentTokens as _, WriteJoinRequests as _,
    WriteJoinTokens as _, WriteSpentTokens as _,
};

use crate::{
    harness::{Database, NOW, pages, read, report, write},
    samples::{join_request, join_token},
};

pub(crate) fn tokens_come_back(database: &impl Database) {
    let store = database.open();
    for number in [2, 1, 3] {
        write(&store, move |tx| tx.join_token_insert(&join_token(number, 5)));
    }
    let (id, secret) = (join_token(2, 5).id, join_token(2, 5).secret_sha256);
    assert_eq!(read(&store, move |tx| tx.join_token_get(id)), Some(join_token(2, 5)));
    assert_eq!(read(&store, move |tx| tx.join_token_by_secret(&secret)), Some(join_token(2, 5)));
    assert_eq!(read(&store, |tx| tx.join_token_by_secret(b"nothing")), None);
    let listed = pages(2, |page| read(&store, move |tx| tx.join_token_list(&page)));
    assert_eq!(listed, [1, 2, 3].map(|number| join_token(number, 5)));
}

pub(crate) fn tokens_end_once(database: &impl Database) {
    let store = database.open();
    write(&store, |tx| tx.join_token_insert(&join_token(1, 2)));
    let id = JoinTokenId::from_u128(1);
    let used: Vec<bool> = (0..3).map(|_| write(&store, move |tx| tx.join_token_use_once(id)).value).collect();
    assert_eq!(used, [true, true, false]);
    assert!(write(&store, move |tx| tx.join_token_revoke(id, NOW)).value);
    assert!(!write(&store, move |tx| tx.join_token_revoke(id, NOW + Duration::from_secs(1))).value);
    let expected = JoinToken { uses: 2, revoked_at: Some(NOW), ..join_token(1, 2) };
    assert_eq!(read(&store, move |tx| tx.join_token_get(id)), Some(expected));
    assert!(!write(&store, |tx| tx.join_token_use_once(JoinTokenId::from_u128(9))).value);
}

pub(crate) fn requests_come_back_and_are_decided(database: &impl Database) {
    let store = database.open();
    for number in [1, 2] {
        write(&store, move |tx| tx.join_token_insert(&join_token(number, 5)));
    }
    for number in [3, 1, 2] {
        write(&store, move |tx| tx.join_request_insert(&join_request(number, 1)));
    }
    let (token, key) = (JoinTokenId::from_u128(1), join_request(2, 1).key_sha256);
    let found = read(&store, move |tx| tx.join_request_by_key(token, &key));
    assert_eq!(found, Some(join_request(2, 1)));
    let key = join_request(2, 1).key_sha256;
    assert_eq!(read(&store, move |tx| tx.join_request_by_key(JoinTokenId::from_u128(2), &key)), None);
    let listed = pages(2, |page| read(&store, move |tx| tx.join_request_list(NOW, &page)));
    assert_eq!(listed, [1, 2, 3].map(|number| join_request(number, 1)));
    let waiting = |token| read(&store, move |tx| tx.join_requests_waiting(token, NOW));
    assert_eq!((waiting(token), waiting(JoinTokenId::from_u128(2))), ((3, 3), (3, 0)));
    let id = JoinRequestId::from_u128(2);
    write(&store, move |tx| tx.join_request_decide(id, State::Approved, NOW, "operator/alice"));
    let expected = JoinRequest {
        state: State::Approved,
        decided_at: Some(NOW),
        decided_by: "operator/alice".into(),
        ..join_request(2, 1)
    };
    assert_eq!(read(&store, move |tx| tx.join_request_get(id)), Some(expected));
    assert_eq!(waiting(token), (2, 2), "who was answered waits no more");
    write(&store, move |tx| tx.join_token_revoke(token, NOW));
    assert_eq!(waiting(JoinTokenId::from_u128(2)), (0, 0), "nor does who cannot come any more");
}

pub(crate) fn requests_go_with_their_end(database: &impl Database) {
    let store = database.open();
    write(&store, |tx| tx.join_token_insert(&join_token(1, 5)));
    for number in 1..=5 {
        write(&store, move |tx| tx.join_request_insert(&join_request(number, 1)));
    }
    report(&store, |tx| tx.join_request_delete(JoinRequestId::from_u128(5)));
    let over = join_request(1, 1).expires_at;
    let listed = pages(9, |page| read(&store, move |tx| tx.join_request_list(over, &page)));
    assert_eq!(listed, [], "what has run out is not shown");
    assert_eq!(report(&store, |tx| tx.join_request_prune(NOW, 3)).value, 0);
    let gone: Vec<u64> =
        (0..3).map(|_| report(&store, move |tx| tx.join_request_prune(over, 3)).value).collect();
    assert_eq!(gone, [3, 1, 0]);
    assert_eq!(pages(9, |page| read(&store, move |tx| tx.join_request_list(NOW, &page))), []);
}

pub(crate) fn a_token_is_spent_once_until_it_has_run_out(database: &impl Database) {
    let store = database.open();
    let id = Sha256::of(b"token");
    let end = NOW + Duration::from_secs(60);
    let spend = || report(&store, move |tx| tx.spent_token_insert(&id, end)).value;
    assert!(!read(&store, move |tx| tx.spent_token_is_known(&id)));
    assert_eq!([spend(), spend()], [true, false]);
    assert!(read(&store, move |tx| tx.spent_token_is_known(&id)));
    assert_eq!(report(&store, |tx| tx.spent_token_prune(NOW, 10)).value, 0);
    assert_eq!(report(&store, move |tx| tx.spent_token_prune(end, 10)).value, 1);
    assert!(spend());
}
