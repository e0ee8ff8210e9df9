//! The places of concurrency leases, as they are taken at the moment of a write.

use muster_domain::{
    lease::{InFlight, Lease},
    operation::pace::Room,
};
use muster_store::ReadLeases;

use crate::app::Error;

/// Leases, and what is in flight; that is read only when somebody needs a place.
#[derive(Debug)]
pub(in crate::app) struct Places {
    leases: Vec<Lease>,
    in_flight: Option<Vec<InFlight>>,
}

impl Places {
    pub(in crate::app) fn read(tx: &mut impl ReadLeases) -> Result<Self, Error> {
        Ok(Self { leases: tx.lease_all()?, in_flight: None })
    }

    /// The leases of which commands of a kind, of an operation that names a lease or none,
    /// take a place.
    pub(in crate::app) fn rooms(
        &mut self,
        tx: &mut impl ReadLeases,
        kind: &str,
        lease: Option<&str>,
    ) -> Result<Vec<Room>, Error> {
        let covering: Vec<&Lease> = self.leases.iter().filter(|it| it.covers(kind, lease)).collect();
        if covering.is_empty() {
            return Ok(Vec::new());
        }
        let in_flight = match self.in_flight.take() {
            Some(known) => known,
            None => tx.command_in_flight()?,
        };
        let rooms = covering.into_iter().map(|it| it.room(&in_flight)).collect();
        self.in_flight = Some(in_flight);
        Ok(rooms)
    }

    /// So many more are in flight by this write.
    pub(super) fn take(&mut self, kind: &str, lease: Option<&str>, count: u32) {
        if let Some(in_flight) = &mut self.in_flight {
            let (kind, lease) = (kind.to_owned(), lease.map(str::to_owned));
            in_flight.push(InFlight { kind, lease, count });
        }
    }
}
