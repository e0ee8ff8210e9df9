//! What may be said when, and what it means. Pure: no I/O, no clock.
//!
//! ```text
//!            Hello                    Refuse / Left
//! Waiting ─────────────▶ Live ────────────────────────▶ (stream ends)
//!    │ anything else       │ second Hello, heartbeat that goes back
//!    ▼                     ▼
//!  Refuse                Refuse
//! ```

use muster_common::{
    build_info::{PROTOCOL_MAX, PROTOCOL_MIN},
    digest::Sha256,
    generation::Generation,
    reason::Reason,
};
use muster_domain::item::{ItemName, ItemState};

use super::frames::{Desired, Hello, Inbound, Need, Refusal};

/// Where a session is.
#[derive(Debug)]
pub enum Machine {
    /// Nothing was said yet.
    Waiting,
    /// Hello was said.
    Live(Live),
}

/// What a live session remembers.
#[derive(Debug)]
pub struct Live {
    beat: u64,
    reported: Sha256,
    offers: Vec<Offer>,
    nonce: u64,
}

/// The last that was sent about an item.
#[derive(Debug, PartialEq, Eq)]
struct Offer {
    item: ItemName,
    generation: Generation,
    /// `None`: a removal.
    sha256: Option<Sha256>,
    /// By a report. The same is not sent again in this session all the same: a
    /// host that said no would be asked, and say no, as fast as the link goes.
    answered: bool,
}

/// What a message means.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The session opens with this protocol.
    Greet(u32),
    /// The node lives; ask for these reports, if any.
    Heard(Need),
    /// A report, or something to ignore: take it as it is.
    Take,
    /// The node ends the session.
    Left,
    /// The session ends.
    Refuse(Refusal),
}

impl Machine {
    /// The meaning of a message.
    pub fn on(&mut self, message: &Inbound) -> Step {
        match (&mut *self, message) {
            (Self::Waiting, Inbound::Hello(hello)) => greet(hello),
            (Self::Waiting, _) => refuse(Reason::HelloMissing, "the first message must be Hello"),
            (Self::Live(_), Inbound::Hello(_)) => refuse(Reason::HelloRepeated, "Hello was said before"),
            (Self::Live(live), Inbound::Heartbeat(beat)) => live.beat(beat.seq, beat.state_hash),
            (Self::Live(live), Inbound::Items(report)) => {
                live.answered(&report.items);
                Step::Take
            }
            (Self::Live(_), Inbound::Goodbye(_)) => Step::Left,
            (
                Self::Live(_),
                Inbound::Facts(_) | Inbound::Command(_) | Inbound::TrustBundle(_) | Inbound::Unknown,
            ) => Step::Take,
        }
    }

    /// The session is open; the node says it runs what has this hash.
    pub fn opened(&mut self, reported: Sha256) {
        *self = Self::Live(Live { beat: 0, reported, offers: Vec::new(), nonce: 0 });
    }

    /// The node says it runs what has this hash.
    pub fn reported(&mut self, hash: Sha256) {
        if let Self::Live(live) = self {
            live.reported = hash;
        }
    }

    /// What of a difference has not been offered yet in this session. `None`: nothing.
    pub fn fresh(&mut self, difference: Desired) -> Option<Desired> {
        match self {
            Self::Waiting => None,
            Self::Live(live) => live.fresh(difference),
        }
    }
}

fn greet(hello: &Hello) -> Step {
    let newest = hello.protocol_max.min(PROTOCOL_MAX);
    if newest < hello.protocol_min.max(PROTOCOL_MIN) {
        let (min, max) = (hello.protocol_min, hello.protocol_max);
        return refuse(
            Reason::ProtocolUnsupported,
            format!("the agent speaks {min} to {max}, the control plane {PROTOCOL_MIN} to {PROTOCOL_MAX}"),
        );
    }
    Step::Greet(newest)
}

fn refuse(reason: Reason, message: impl Into<String>) -> Step {
    Step::Refuse(Refusal::new(reason, message))
}

impl Live {
    fn beat(&mut self, seq: u64, hash: Option<Sha256>) -> Step {
        let last = std::mem::replace(&mut self.beat, seq);
        if seq <= last {
            return refuse(Reason::SequenceOutOfOrder, format!("heartbeat {seq} came after {last}"));
        }
        // A gap, or a state we do not know: something was lost on the way, here or there.
        let lost = seq != last + 1 || hash != Some(self.reported);
        Step::Heard(Need { facts: false, items: lost })
    }

    fn answered(&mut self, items: &[ItemState]) {
        for offer in &mut self.offers {
            offer.answered |= items.iter().any(|state| {
                let tried = state.attempted.as_ref().is_some_and(|it| it.generation >= offer.generation);
                let gone = offer.sha256.is_none() && state.running.is_none();
                state.item == offer.item && (tried || gone)
            });
        }
    }

    fn fresh(&mut self, mut difference: Desired) -> Option<Desired> {
        difference
            .upserts
            .retain(|upsert| self.note(&upsert.item, upsert.version.generation, Some(upsert.version.sha256)));
        difference.removals.retain(|removal| self.note(&removal.item, removal.generation, None));
        if difference.upserts.is_empty() && difference.removals.is_empty() {
            return None;
        }
        self.nonce += 1;
        difference.nonce = self.nonce;
        Some(difference)
    }

    /// Notes an offer; `false` if it was made before or a newer one was.
    fn note(&mut self, item: &ItemName, generation: Generation, sha256: Option<Sha256>) -> bool {
        match self.offers.iter_mut().find(|offer| offer.item == *item) {
            Some(offer) => {
                let (newer, other) = (offer.generation < generation, offer.sha256 != sha256);
                // Until it is answered, the same content at a later place is no news: the node is
                // on its way there already. Afterwards a later place is a new try.
                let news = if offer.answered { newer || other } else { newer && other };
                if news {
                    *offer = Offer { item: item.clone(), generation, sha256, answered: false };
                }
                news
            }
            None => {
                self.offers.push(Offer { item: item.clone(), generation, sha256, answered: false });
                true
            }
        }
    }
}
