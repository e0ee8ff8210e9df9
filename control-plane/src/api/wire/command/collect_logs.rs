//! Archives of logs.

use muster_common::unit_name;
use muster_proto::types::v1 as types;
use prost::Message as _;
use tonic::Status;

use crate::api::status::invalid;

pub(super) const NAME: &str = "collect-logs";

/// How far back, in seconds.
const SINCE_S: u32 = 30 * 24 * 3600;
/// Most units.
const UNITS: usize = 32;
/// Bytes of text in one archive: at least, if nobody says, at most.
const LEAST: u64 = 64 * 1024;
const DEFAULT: u64 = 8 * 1024 * 1024;
const MOST: u64 = 64 * 1024 * 1024;
/// What an archive is larger than its texts if they cannot be compressed: heads of
/// files and marks.
const AROUND: u64 = 256 * 1024;

/// Refuses what no host would do.
pub(super) fn check(args: &types::CollectLogs) -> Result<(), Status> {
    if args.since_s > SINCE_S {
        let message = format!("it is {} s; it may be {SINCE_S}, which are 30 days", args.since_s);
        return Err(invalid("spec.collect_logs.since_s", message));
    }
    if args.units.len() > UNITS {
        let message = format!("there are {}; there may be {UNITS}", args.units.len());
        return Err(invalid("spec.collect_logs.units", message));
    }
    for (n, unit) in args.units.iter().enumerate() {
        let field = format!("spec.collect_logs.units[{n}]");
        unit_name::check(unit).map_err(|wrong| invalid(field, wrong.to_string()))?;
    }
    if args.max_bytes != 0 && !(LEAST..=MOST).contains(&args.max_bytes) {
        let message = format!("it is {}; it may be from {LEAST} to {MOST}", args.max_bytes);
        return Err(invalid("spec.collect_logs.max_bytes", message));
    }
    Ok(())
}

/// Most bytes of the file that a command may bring. `None`: it brings none.
pub(in crate::api) fn most_bytes(kind: &str, args: &[u8]) -> Option<u64> {
    let args = types::CollectLogs::decode(args).ok().filter(|_| kind == NAME)?;
    let texts = if args.max_bytes == 0 { DEFAULT } else { args.max_bytes };
    Some(texts.min(MOST) + AROUND)
}
