//! Concurrency leases.

use muster_proto::admin::v1 as pb;
use tonic::Status;

use super::{command::kinds, timestamp};
use crate::{
    api::status::{invalid, of_app},
    app::leases::{View, Wish},
};

pub(in crate::api) fn lease(view: &View) -> pb::ConcurrencyLease {
    let lease = &view.lease;
    pb::ConcurrencyLease {
        name: lease.name.clone(),
        limit: lease.limit,
        kinds: lease.kinds.clone(),
        description: lease.description.clone(),
        create_time: Some(timestamp(lease.created_at)),
        update_time: Some(timestamp(lease.updated_at)),
        updated_by: lease.updated_by.clone(),
        etag: muster_domain::node::etag(lease.revision),
        taken: view.taken,
    }
}

pub(in crate::api) fn wish_from(lease: Option<pb::ConcurrencyLease>) -> Result<Wish, Status> {
    let lease = lease.ok_or_else(|| invalid("lease", "it is missing"))?;
    let mut wished = lease.kinds;
    wished.sort_unstable();
    wished.dedup();
    muster_domain::lease::check(&lease.name, lease.limit, &wished, &lease.description, kinds())
        .map_err(|violation| of_app(violation.into()))?;
    Ok(Wish {
        name: lease.name,
        limit: lease.limit,
        kinds: wished,
        description: lease.description,
        etag: lease.etag,
    })
}
