//! Tokens in the hands of callers, and the audit's chain.

use muster_common::{clock::UnixMillis, digest::Sha256};
use muster_domain::{audit, page};
use proptest::{prelude::*, sample};

proptest! {
    #[test]
    fn page_tokens_come_back_whole_or_not_at_all(after in ".{0,80}", noise in "[A-Za-z0-9_-]{0,60}") {
        let fingerprint = page::fingerprint("ListNodes", &["env=prod"]);
        let token = page::encode_token(fingerprint, &after);
        prop_assert_eq!(page::decode_token(&token, fingerprint), Ok(after));
        prop_assert!(page::decode_token(&noise, fingerprint).is_err());
    }

    #[test]
    fn resume_tokens_come_back_whole(epoch: u64, revision: u64) {
        let token = page::ResumeToken { epoch, revision };
        prop_assert_eq!(token.to_string().parse(), Ok(token));
    }

    #[test]
    fn a_broken_audit_chain_never_verifies(length in 2u64..12, at: sample::Index, kind in 0..3u8) {
        let mut chain = audit_chain(length);
        prop_assert!(audit::verify(&chain).is_ok());
        // The last entry may be cut off unseen: its absence is for the head of
        // the chain to tell, which is kept apart.
        let at = at.index(chain.len() - 1);
        match kind {
            0 => chain[at].note.after.push('x'),
            1 => drop(chain.remove(at)),
            _ => chain.swap(at, at + 1),
        }
        prop_assert_eq!(audit::verify(&chain).is_ok(), kind == 1 && at == 0, "a piece from its start is a piece");
    }
}

fn audit_chain(length: u64) -> Vec<audit::Entry> {
    let mut previous: Sha256 = audit::START;
    let entry = |seq| {
        let stamp = audit::Stamp {
            actor: "operator/alice".into(),
            action: "nodes.update".into(),
            at: UnixMillis(5),
            remote_address: "192.0.2.1".into(),
            trace_id: String::new(),
        };
        let note = audit::Note { subject: format!("node/{seq}"), ..audit::Note::default() };
        let hash = audit::seal("a", seq, &stamp, &note, previous);
        let entry = audit::Entry { replica: "a".into(), seq, stamp, note, previous, hash };
        previous = hash;
        entry
    };
    (1..=length).map(entry).collect()
}
