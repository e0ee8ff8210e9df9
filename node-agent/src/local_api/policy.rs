//! Who on this host may call what: one row per method. A method without a row is refused.

use super::caller::Caller;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Every user of the host: what is told has no secrets, and nothing changes.
    Anyone,
    /// Root, and the user the agent runs as.
    Owner,
}

/// The whole policy.
#[rustfmt::skip] // one row per method, to be read as a table
const TABLE: &[(&str, Who)] = &[
    ("/muster.local.v1.AgentService/GetStatus", Who::Anyone),
    ("/muster.local.v1.AgentService/WatchStatus", Who::Anyone),
    ("/muster.local.v1.AgentService/GetFacts", Who::Anyone),
    ("/muster.local.v1.AgentService/GetSettings", Who::Anyone),
    ("/muster.local.v1.AgentService/ExplainItem", Who::Owner),
    ("/muster.local.v1.AgentService/Pause", Who::Owner),
    ("/muster.local.v1.AgentService/Resume", Who::Owner),
    ("/muster.local.v1.AgentService/SetLogLevel", Who::Owner),
    ("/muster.local.v1.AgentService/RemoveExtension", Who::Owner),

    // Whom it gives what, the lock file says.
    ("/SpiffeWorkloadAPI/FetchX509SVID", Who::Anyone),
    ("/SpiffeWorkloadAPI/FetchX509Bundles", Who::Anyone),
    ("/SpiffeWorkloadAPI/FetchJWTSVID", Who::Anyone),
    ("/SpiffeWorkloadAPI/FetchJWTBundles", Who::Anyone),
    ("/SpiffeWorkloadAPI/ValidateJWTSVID", Who::Anyone),

    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Who::Anyone),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Who::Anyone),
];

/// The one place that says whether a caller may call a method, by its full name with the
/// leading slash.
///
/// # Errors
/// Why not, for the caller.
pub(super) fn judge(method: &str, caller: &Caller) -> Result<(), String> {
    match TABLE.iter().find(|(name, _)| *name == method).map(|(_, who)| *who) {
        Some(Who::Anyone) => Ok(()),
        Some(Who::Owner) if caller.is_owner => Ok(()),
        Some(Who::Owner) => {
            Err(format!("uid {} may not call {method}: it is for root and for the agent's user", caller.uid))
        }
        None => Err(format!("{method} is no method of this socket")),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    const fn caller(uid: u32, is_owner: bool) -> Caller {
        Caller { uid, gid: 100, pid: 1, is_owner }
    }

    #[test]
    fn every_method_has_a_row_and_every_row_a_method() {
        let set = prost_types::FileDescriptorSet::decode(muster_proto::DESCRIPTORS).unwrap();
        let local = set.file.iter().filter(|file| file.package() == "muster.local.v1");
        let mut declared: Vec<String> = Vec::new();
        for file in local {
            for service in &file.service {
                let names = service.method.iter().map(|m| m.name());
                declared.extend(names.map(|m| format!("/{}.{}/{m}", file.package(), service.name())));
            }
        }
        assert!(declared.len() >= 8, "{declared:?}");
        for name in &declared {
            assert!(TABLE.iter().any(|(row, _)| row == name), "{name} has no row");
        }
        for (row, _) in TABLE.iter().filter(|(row, _)| row.starts_with("/muster.local.")) {
            assert!(declared.iter().any(|name| name == row), "{row} is no method");
        }
    }

    #[test]
    fn what_changes_something_or_shows_output_is_for_the_owner_alone() {
        let may = |method: &str, is_owner| {
            judge(&format!("/muster.local.v1.AgentService/{method}"), &caller(1000, is_owner)).is_ok()
        };
        for method in ["ExplainItem", "Pause", "Resume", "SetLogLevel", "RemoveExtension"] {
            assert!(may(method, true) && !may(method, false), "{method}");
        }
        for method in ["GetStatus", "WatchStatus", "GetFacts", "GetSettings"] {
            assert!(may(method, false), "{method}");
        }
    }

    #[test]
    fn a_method_without_a_row_is_refused_to_root_too() {
        assert!(judge("/muster.local.v1.AgentService/Format", &caller(0, true)).is_err());
        assert!(judge("", &caller(0, true)).is_err());
    }
}
