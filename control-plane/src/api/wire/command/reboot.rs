//! Boots.

use std::time::Duration;

use muster_proto::types::v1 as types;
use tonic::Status;

use crate::api::status::invalid;

/// Longest wait before it, in seconds.
const DELAY_S: u32 = 3600;
/// Longest message to whom is logged in.
const MESSAGE: usize = 1024;

/// Refuses what no host would do.
pub(super) fn check(args: &types::Reboot, time: Duration) -> Result<(), Status> {
    if args.delay_s > DELAY_S {
        let message = format!("it is {} s; it may be {DELAY_S}", args.delay_s);
        return Err(invalid("spec.reboot.delay_s", message));
    }
    if Duration::from_secs(args.delay_s.into()) >= time {
        return Err(invalid("spec.reboot.delay_s", "run_timeout is over before it"));
    }
    if args.message.len() > MESSAGE || args.message.contains(char::is_control) {
        let message = format!("it may have {MESSAGE} bytes and no control characters");
        return Err(invalid("spec.reboot.message", message));
    }
    Ok(())
}
