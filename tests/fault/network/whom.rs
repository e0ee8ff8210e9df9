//! Who has trouble: in which namespaces it is, and on the way to whom.

use muster_tests::{faults::With, netns::Namespace};

use super::{lab::Lab, seats::Seat};

/// Who has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// One host.
    Host(usize),
    /// The swarm.
    Crowd,
    /// All hosts, at every control plane.
    Hosts,
    /// All operators.
    Operators,
    /// Every control plane and the database.
    Database,
    /// One control plane and all hosts.
    HostsOf(usize),
    /// One control plane and the database.
    DatabaseOf(usize),
    /// One control plane and both.
    AllOf(usize),
}

impl Whom {
    /// In whose namespaces it is, and with whom there.
    pub(crate) fn at(self, lab: &Lab) -> Vec<(&Namespace, Vec<With>)> {
        let hosts = |seat: &Seat| With::Port(seat.agents().port());
        let database = || {
            let (_, place) = lab.database.as_ref().expect("it is one of a server");
            With::Address(place.address())
        };
        let every = |with: &dyn Fn(&Seat) -> With| {
            lab.seats.iter().map(|seat| (&seat.place, vec![with(seat)])).collect()
        };
        let one = |plane: usize| &lab.seats[plane];
        match self {
            Self::Host(number) => vec![(&lab.hosts[number].place, vec![With::Everybody])],
            Self::Crowd => vec![(&lab.crowd, vec![With::Everybody])],
            Self::Hosts => every(&hosts),
            Self::Operators => every(&|seat| With::Port(seat.operators().port())),
            Self::Database => every(&|_| database()),
            Self::HostsOf(plane) => vec![(&one(plane).place, vec![hosts(one(plane))])],
            Self::DatabaseOf(plane) => vec![(&one(plane).place, vec![database()])],
            Self::AllOf(plane) => vec![(&one(plane).place, vec![hosts(one(plane)), database()])],
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Host(_) => "one host",
            Self::Crowd => "the swarm",
            Self::Hosts => "all hosts",
            Self::Operators => "all operators",
            Self::Database => "the database",
            Self::HostsOf(_) => "one control plane and hosts",
            Self::DatabaseOf(_) => "one control plane and the database",
            Self::AllOf(_) => "one control plane, hosts and the database",
        }
    }
}
