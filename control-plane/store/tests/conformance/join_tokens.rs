use std::time::Duration;

use muster_common::ids::JoinTokenId;
use muster_domain::join_token::JoinToken;
use muster_store::{ReadJoinTokens as _, WriteJoinTokens as _};

use crate::{
    harness::{Database, NOW, pages, read, write},
    samples::join_token,
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
