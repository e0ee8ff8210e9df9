//! Units of systemd.

use muster_common::unit_name;
use muster_proto::types::v1::{self as types, ServiceAction};
use tonic::Status;

use crate::api::status::invalid;

/// Refuses what no host would do.
pub(super) fn check(args: &types::Service) -> Result<(), Status> {
    let action = ServiceAction::try_from(args.action).unwrap_or_default();
    if action == ServiceAction::Unspecified {
        return Err(invalid("spec.service.action", "it must be START, STOP, RESTART or STATUS"));
    }
    unit_name::check(&args.unit).map_err(|wrong| invalid("spec.service.unit", wrong.to_string()))?;
    if action != ServiceAction::Status && unit_name::ends_host(&args.unit) {
        let message = format!("{} takes the host down; for that there is reboot", args.unit);
        return Err(invalid("spec.service.unit", message));
    }
    Ok(())
}
