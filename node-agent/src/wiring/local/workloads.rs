//! What the socket knows of a caller, as the room of identities wants it.

use crate::{
    local_api::{Caller, Unit},
    workload,
};

/// Who calls.
pub(super) fn who(call: &http::Extensions) -> Option<workload::Caller> {
    let Caller { uid, gid, .. } = *call.get::<Caller>()?;
    let Unit(unit) = call.get::<Unit>()?.clone();
    Some(workload::Caller { uid, gid, unit })
}
