//! What those that were lost have in common, and nobody else has.

use std::{collections::BTreeMap, net::IpAddr};

use crate::labels::Labels;

/// What is known of one node.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What operators say about it.
    pub labels: &'a Labels,
    /// Where it spoke from last.
    pub from: Option<IpAddr>,
    /// Which replica has its session, or had it; one of several.
    pub replica: Option<&'a str>,
}

/// Something that nodes have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Common {
    /// The replica that had their sessions.
    Replica(String),
    /// A label: its key and value.
    Label(String, String),
    /// The network that they spoke from: /24, or /48 of IPv6.
    Network(String),
    /// They were all nodes, but for one in ten.
    Everybody,
}

/// What they were lost by, and how many have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// What.
    pub common: Common,
    /// Of the lost.
    pub lost: usize,
    /// Of those who are there.
    pub there: usize,
}

/// What nearly all of those that were lost have, and how many of those who are there have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// Those whose marks were looked at.
    looked_at: usize,
    there: usize,
    /// With how many of the lost, and of those who are there.
    each: BTreeMap<Common, (usize, usize)>,
}

/// In a hundred of the lost so many have it.
const NEARLY_ALL: usize = 90;
/// Of a hundred that have it so many are lost: else it is not that by which they were lost.
const MOSTLY_LOST: usize = 80;

impl Candidates {
    /// What nearly all of these have.
    pub fn of<'a>(lost: impl IntoIterator<Item = Seen<'a>>) -> Self {
        let (mut count, mut each) = (0, BTreeMap::<Common, usize>::new());
        for seen in lost {
            count += 1;
            for common in all(seen) {
                *each.entry(common).or_default() += 1;
            }
        }
        each.retain(|_, with| *with * 100 >= count * NEARLY_ALL);
        let each = each.into_iter().map(|(common, with)| (common, (with, 0))).collect();
        Self { looked_at: count, there: 0, each }
    }

    /// A node that is still there.
    pub fn there(&mut self, seen: Seen<'_>) {
        self.there += 1;
        for (common, (_, with)) in &mut self.each {
            *with += usize::from(has(seen, common));
        }
    }

    /// What they were lost by, so many in all: of all that fits, what fewest of those who are
    /// there have.
    #[must_use]
    pub fn cause(self, count: usize) -> Option<Common> {
        self.named(count).map(|named| named.common)
    }

    /// How many are still there.
    #[must_use]
    pub const fn others(&self) -> usize {
        self.there
    }

    /// The cause, and how many have it.
    #[must_use]
    pub fn named(self, count: usize) -> Option<Named> {
        let of = |lost: usize, there: usize, hundredths: usize| lost * 100 >= (lost + there) * hundredths;
        if of(count, self.there, NEARLY_ALL) {
            let all = Named { common: Common::Everybody, lost: count, there: self.there };
            return (count > 0).then_some(all);
        }
        let looked_at = self.looked_at.max(1);
        let fitting = self
            .each
            .into_iter()
            .filter(|(_, (lost, there))| of(lost * count / looked_at, *there, MOSTLY_LOST));
        let narrow = fitting.min_by_key(|(_, (lost, there))| (*there, looked_at - lost));
        narrow.map(|(common, (lost, there))| Named { common, lost, there })
    }
}

fn all(seen: Seen<'_>) -> impl Iterator<Item = Common> {
    let labels = seen.labels.iter().map(|(key, value)| Common::Label(key.to_owned(), value.to_owned()));
    let replica = seen.replica.map(|name| Common::Replica(name.to_owned()));
    let network = seen.from.map(|address| Common::Network(network(address)));
    labels.chain(replica).chain(network)
}

fn has(seen: Seen<'_>, common: &Common) -> bool {
    match common {
        Common::Replica(name) => seen.replica == Some(name),
        Common::Label(key, value) => seen.labels.get(key) == Some(value),
        Common::Network(found) => seen.from.is_some_and(|address| network(address) == *found),
        Common::Everybody => true,
    }
}

fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `site`, `env`, the last but one number of the address, and the replica of so many nodes.
    type Group = (usize, &'static str, &'static str, u8, &'static str);

    fn cause(lost: &[Group], there: &[Group]) -> Option<Common> {
        let nodes = |groups: &[Group]| -> Vec<(Labels, IpAddr, &'static str)> {
            let of = |(count, site, env, net, replica): &Group| {
                let labels = Labels::from([("site", *site), ("env", *env)]);
                let node = (labels, IpAddr::from([10, 0, *net, 7]), *replica);
                std::iter::repeat_n(node, *count)
            };
            groups.iter().flat_map(of).collect()
        };
        let (lost, there) = (nodes(lost), nodes(there));
        let mut found = Candidates::of(lost.iter().map(seen));
        there.iter().for_each(|node| found.there(seen(node)));
        found.cause(lost.len())
    }

    fn seen<'a>((labels, from, replica): &'a (Labels, IpAddr, &'static str)) -> Seen<'a> {
        Seen { labels, from: Some(*from), replica: Some(replica) }
    }

    fn label(key: &str, value: &str) -> Option<Common> {
        Some(Common::Label(key.to_owned(), value.to_owned()))
    }

    #[test]
    fn the_site_that_was_cut_is_named_and_not_what_others_have_too() {
        // Two replicas have them all, and half of those who are there are in production as well.
        let lost = [(50, "fra", "prod", 1, "a"), (50, "fra", "prod", 2, "b")];
        let there = [(100, "ams", "prod", 3, "a"), (100, "ams", "test", 3, "b")];
        assert_eq!(cause(&lost, &there), label("site", "fra"));
        let stragglers = [(8, "ams", "prod", 3, "a")];
        assert_eq!(cause(&[&lost[..], &stragglers].concat(), &there), label("site", "fra"), "nine in ten");
        let many = [(20, "ams", "prod", 3, "a")];
        assert_eq!(cause(&[&lost[..], &many].concat(), &there), None);
    }

    #[test]
    fn a_replica_or_a_network_is_named_where_no_label_tells_them_apart() {
        let there = [(100, "fra", "prod", 3, "b")];
        let of = |net, replica| (60, "fra", "prod", net, replica);
        assert_eq!(cause(&[of(3, "a")], &there), Some(Common::Replica("a".to_owned())));
        assert_eq!(cause(&[of(9, "b")], &there), Some(Common::Network("10.0.9.0/24".to_owned())));
        assert_eq!(cause(&[of(3, "b")], &there), None, "nothing tells them apart");
    }

    #[test]
    fn a_label_of_whom_many_are_still_there_is_no_cause() {
        let lost = [(60, "fra", "prod", 1, "a")];
        let there = |still| [(still, "fra", "prod", 1, "a"), (100, "ams", "prod", 2, "a")];
        assert_eq!(cause(&lost, &there(15)), label("site", "fra"));
        assert_eq!(cause(&lost, &there(16)), None);
    }

    #[test]
    fn where_hardly_anybody_is_left_it_is_everybody() {
        let lost = [(90, "fra", "prod", 1, "a")];
        assert_eq!(cause(&lost, &[(10, "ams", "prod", 2, "a")]), Some(Common::Everybody));
        assert_eq!(cause(&lost, &[(11, "ams", "prod", 2, "a")]), label("site", "fra"));
        assert_eq!(cause(&[], &[]), None);
    }

    #[test]
    fn what_a_part_of_very_many_has_stands_for_all() {
        let (lost, there) = (Labels::from([("site", "fra")]), Labels::from([("site", "ams")]));
        let seen = |labels| Seen { labels, from: None, replica: None };
        let mut found = Candidates::of([seen(&lost)]);
        (0..20).for_each(|_| found.there(seen(&there)));
        assert_eq!(found.clone().cause(100), label("site", "fra"));
        assert_eq!(found.cause(180), Some(Common::Everybody));
    }

    #[test]
    fn networks_are_what_one_place_has() {
        for (address, is) in [
            ("10.1.2.3", "10.1.2.0/24"),
            ("::ffff:10.1.2.3", "10.1.2.0/24"),
            ("2001:db8:7:8::9", "2001:db8:7::/48"),
        ] {
            assert_eq!(network(address.parse().unwrap()), is);
        }
    }
}
