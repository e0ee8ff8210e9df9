//! Tokens that are still young: who asks again and again gets the same one.

use std::collections::BTreeMap;

use muster_common::clock::UnixMillis;

use super::jwt::Keys;

/// Tokens that are kept.
const MOST: usize = 1024;

/// For one name and one set of audiences.
pub(super) type Key = (String, Vec<String>);

/// A token.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) token: String,
    /// Name of the key that signed it.
    pub(super) key: String,
    pub(super) expires_at: UnixMillis,
    /// Half of its life: from then on it is only for when no other can be had.
    pub(super) fresh_until: UnixMillis,
}

/// All of them.
#[derive(Default)]
pub(super) struct Tokens(BTreeMap<Key, Token>);

impl Tokens {
    /// One that is not old.
    pub(super) fn fresh(&self, key: &Key, now: UnixMillis) -> Option<Token> {
        self.0.get(key).filter(|token| now < token.fresh_until).cloned()
    }

    /// One that holds.
    pub(super) fn valid(&self, key: &Key, now: UnixMillis) -> Option<Token> {
        self.0.get(key).filter(|token| now < token.expires_at).cloned()
    }

    /// Keeps one; the one that ends first makes room.
    pub(super) fn put(&mut self, key: Key, token: Token, now: UnixMillis) {
        self.0.retain(|_, kept| now < kept.expires_at);
        if self.0.len() >= MOST
            && let Some(first) =
                self.0.iter().min_by_key(|(_, kept)| kept.expires_at).map(|(key, _)| key.clone())
        {
            self.0.remove(&first);
        }
        self.0.insert(key, token);
    }

    /// Whether there is one that holds.
    pub(super) fn holds_any(&self, now: UnixMillis) -> bool {
        self.0.values().any(|token| now < token.expires_at)
    }

    /// Forgets those that nobody trusts by these keys.
    pub(super) fn retain_trusted(&mut self, keys: &Keys) {
        self.0.retain(|_, token| keys.knows(&token.key));
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_while_it_is_young_and_kept_while_it_holds() {
        let mut tokens = Tokens::default();
        let key = |n: usize| ("web".to_owned(), vec![n.to_string()]);
        let token = |at: i64| Token {
            token: String::new(),
            key: "k".to_owned(),
            expires_at: UnixMillis(at + 10),
            fresh_until: UnixMillis(at + 5),
        };
        tokens.put(key(0), token(0), UnixMillis(0));
        assert!(
            tokens.fresh(&key(0), UnixMillis(4)).is_some() && tokens.fresh(&key(0), UnixMillis(5)).is_none()
        );
        assert!(
            tokens.valid(&key(0), UnixMillis(9)).is_some() && tokens.valid(&key(0), UnixMillis(10)).is_none()
        );
        assert!(tokens.valid(&key(1), UnixMillis(0)).is_none());
        for n in 1..=MOST {
            tokens.put(key(n), token(2), UnixMillis(2));
        }
        assert_eq!(tokens.0.len(), MOST);
        assert!(tokens.valid(&key(0), UnixMillis(2)).is_none(), "the one that ended first made room");
        assert!(tokens.holds_any(UnixMillis(11)) && !tokens.holds_any(UnixMillis(12)));
    }

    #[test]
    fn a_token_is_forgotten_with_the_key_that_signed_it() {
        let keys = Keys::read(
            r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"new","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
                "y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}]}"#,
        );
        let mut tokens = Tokens::default();
        let key = |name: &str| (name.to_owned(), vec!["db".to_owned()]);
        let (expires_at, fresh_until) = (UnixMillis(10), UnixMillis(5));
        for signer in ["old", "new"] {
            let token = Token { token: String::new(), key: signer.to_owned(), expires_at, fresh_until };
            tokens.put(key(signer), token, UnixMillis(0));
        }
        tokens.retain_trusted(&keys.unwrap());
        assert!(tokens.valid(&key("old"), UnixMillis(0)).is_none());
        assert!(tokens.valid(&key("new"), UnixMillis(0)).is_some());
    }
}
