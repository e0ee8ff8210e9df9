//! "At most so many at once", for all operations together.

use muster_common::clock::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::{
    group::is_description,
    item::is_resource_name,
    operation::pace::{MAX_LIMIT, Room},
    violation::Violation,
};

/// Most kinds of commands that a lease lists.
const MAX_KINDS: usize = 16;

/// Places that commands take while they are in flight, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Name.
    pub name: String,
    /// Places.
    pub limit: u32,
    /// Commands of these kinds always take one.
    pub kinds: Vec<String>,
    /// For people.
    pub description: String,
    /// First write.
    pub created_at: UnixMillis,
    /// Last write.
    pub updated_at: UnixMillis,
    /// By whom.
    pub updated_by: String,
    /// Revision of the last write; the etag.
    pub revision: u64,
}

/// Commands in flight that take the same places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// `run-script`.
    pub kind: String,
    /// The lease that their operation names.
    pub lease: Option<String>,
    /// How many.
    pub count: u32,
}

/// Refuses what no lease can be. `known` are the kinds that there are.
///
/// # Errors
/// The first field that cannot be so.
pub fn check(
    name: &str,
    limit: u32,
    kinds: &[String],
    description: &str,
    known: &[String],
) -> Result<(), Violation> {
    if !is_resource_name(name) {
        let message = format!("{name:?} does not match [a-z0-9]([-a-z0-9]{{0,61}}[a-z0-9])?");
        return Err(Violation::invalid("lease.name", message));
    }
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Violation::invalid("lease.limit", format!("it must be from 1 to {MAX_LIMIT}")));
    }
    if kinds.len() > MAX_KINDS {
        return Err(Violation::invalid("lease.kinds", format!("at most {MAX_KINDS}")));
    }
    if let Some(unknown) = kinds.iter().find(|kind| !known.contains(kind)) {
        let message = format!("{unknown:?} is no kind of command; there are {}", known.join(", "));
        return Err(Violation::invalid("lease.kinds", message));
    }
    if !is_description(description) {
        let message = "at most 1024 bytes, without control characters";
        return Err(Violation::invalid("lease.description", message));
    }
    Ok(())
}

impl Lease {
    /// Whether commands of a kind, of an operation that names a lease or none, take a place.
    #[must_use]
    pub fn covers(&self, kind: &str, lease: Option<&str>) -> bool {
        lease == Some(self.name.as_str()) || self.kinds.iter().any(|listed| listed == kind)
    }

    /// Its places with those in flight; each command takes one, whatever it takes it for.
    #[must_use]
    pub fn room(&self, in_flight: &[InFlight]) -> Room {
        let takers = in_flight.iter().filter(|it| self.covers(&it.kind, it.lease.as_deref()));
        Room { lease: self.name.clone(), limit: self.limit, taken: takers.map(|it| it.count).sum() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_takes_one_place_whether_it_is_for_its_kind_or_for_its_operation() {
        let lease = Lease {
            name: "reboots".to_owned(),
            limit: 2,
            kinds: vec!["reboot".to_owned()],
            description: String::new(),
            created_at: UnixMillis(0),
            updated_at: UnixMillis(0),
            updated_by: String::new(),
            revision: 1,
        };
        let flight = |kind: &str, lease: Option<&str>, count| InFlight {
            kind: kind.to_owned(),
            lease: lease.map(str::to_owned),
            count,
        };
        let all = [
            flight("reboot", None, 1),
            flight("reboot", Some("reboots"), 2),
            flight("run-script", Some("reboots"), 4),
            flight("run-script", Some("other"), 8),
            flight("run-script", None, 16),
        ];
        assert_eq!(lease.room(&all), Room { lease: "reboots".to_owned(), limit: 2, taken: 7 });
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        let known = ["run-script".to_owned()];
        let field = |name: &str, limit, kinds: &[String], text: &str| {
            check(name, limit, kinds, text, &known).err().map(|it| it.field)
        };
        assert_eq!(field("reboots", 1, &known, ""), None);
        assert_eq!(field("Reboots", 1, &known, "").as_deref(), Some("lease.name"));
        assert_eq!(field("reboots", 0, &known, "").as_deref(), Some("lease.limit"));
        assert_eq!(field("reboots", 1, &["run-scripts".to_owned()], "").as_deref(), Some("lease.kinds"));
        assert_eq!(field("reboots", 1, &[], "\u{1b}").as_deref(), Some("lease.description"));
    }
}
