//! Who may call what: one row per method. A method without a row is refused.

use muster_domain::access::{Permission, Role};

use super::DoorName;

/// What is asked of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Where it is served.
    pub door: DoorName,
    /// Who.
    pub who: Who,
    /// How often.
    pub rate: Rate,
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A node, for itself.
    Node,
    /// A host without an identity.
    Anyone,
    /// An operator or service whose role has this.
    Operator(Permission),
}

/// Calls are counted per caller in classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rate {
    /// Reads.
    Read,
    /// Reads that stay open: counted while they are, too.
    Watch,
    /// Writes.
    Write,
    /// Sessions and certificates of one node.
    Session,
    /// Enrollment, per address.
    Enroll,
}

const fn node(rate: Rate) -> Rule {
    Rule { door: DoorName::Agents, who: Who::Node, rate }
}

const fn stranger() -> Rule {
    Rule { door: DoorName::Enrollment, who: Who::Anyone, rate: Rate::Enroll }
}

const fn read(permission: Permission) -> Rule {
    Rule { door: DoorName::Operators, who: Who::Operator(permission), rate: Rate::Read }
}

const fn watch(permission: Permission) -> Rule {
    Rule { door: DoorName::Operators, who: Who::Operator(permission), rate: Rate::Watch }
}

const fn write(permission: Permission) -> Rule {
    Rule { door: DoorName::Operators, who: Who::Operator(permission), rate: Rate::Write }
}

use Permission::{Audit, Command, Deploy, EditNodes, Enroll, Known, Read, Secure};

/// The whole policy.
#[rustfmt::skip] // one row per method, to be read as a table
const TABLE: &[(&str, Rule)] = &[
    ("/muster.agent.v1.SessionService/Session", node(Rate::Session)),
    ("/muster.agent.v1.IdentityService/RenewCertificate", node(Rate::Session)),
    ("/muster.agent.v1.IdentityService/Leave", node(Rate::Session)),

    ("/muster.agent.v1.EnrollmentService/Enroll", stranger()),
    ("/muster.agent.v1.EnrollmentService/BeginRecovery", stranger()),
    ("/muster.agent.v1.EnrollmentService/Recover", stranger()),

    ("/muster.admin.v1.NodesService/ListNodes", read(Read)),
    ("/muster.admin.v1.NodesService/GetNode", read(Read)),
    ("/muster.admin.v1.NodesService/WatchNodes", watch(Read)),
    ("/muster.admin.v1.NodesService/UpdateNode", write(EditNodes)),
    ("/muster.admin.v1.NodesService/DeleteNode", write(EditNodes)),
    ("/muster.admin.v1.NodesService/QuarantineNode", write(Secure)),
    ("/muster.admin.v1.NodesService/ReleaseQuarantine", write(Secure)),
    ("/muster.admin.v1.NodesService/AllowRecovery", write(Secure)),

    ("/muster.admin.v1.JoinTokensService/CreateJoinToken", write(Enroll)),
    ("/muster.admin.v1.JoinTokensService/GetJoinToken", read(Enroll)),
    ("/muster.admin.v1.JoinTokensService/ListJoinTokens", read(Enroll)),
    ("/muster.admin.v1.JoinTokensService/RevokeJoinToken", write(Enroll)),

    ("/muster.admin.v1.BundlesService/CreateBundle", write(Deploy)),
    ("/muster.admin.v1.BundlesService/GetBundle", read(Read)),
    ("/muster.admin.v1.BundlesService/ListBundles", read(Read)),
    ("/muster.admin.v1.BundlesService/DeleteBundle", write(Deploy)),

    ("/muster.admin.v1.SettingsService/GetSettingsSchema", read(Read)),
    ("/muster.admin.v1.SettingsService/PutSettingsProfile", write(Deploy)),
    ("/muster.admin.v1.SettingsService/GetSettingsProfile", read(Read)),
    ("/muster.admin.v1.SettingsService/ListSettingsProfiles", read(Read)),
    ("/muster.admin.v1.SettingsService/DeleteSettingsProfile", write(Deploy)),

    ("/muster.admin.v1.AssignmentsService/CreateAssignment", write(Deploy)),
    ("/muster.admin.v1.AssignmentsService/GetAssignment", read(Read)),
    ("/muster.admin.v1.AssignmentsService/ListAssignments", read(Read)),
    ("/muster.admin.v1.AssignmentsService/UpdateAssignment", write(Deploy)),
    ("/muster.admin.v1.AssignmentsService/DeleteAssignment", write(Deploy)),

    ("/muster.admin.v1.OperationsService/StartOperation", write(Command)),
    ("/muster.admin.v1.OperationsService/GetOperation", read(Read)),
    ("/muster.admin.v1.OperationsService/ListOperations", read(Read)),
    ("/muster.admin.v1.OperationsService/ListCommands", read(Read)),
    ("/muster.admin.v1.OperationsService/WatchOperation", watch(Read)),
    ("/muster.admin.v1.OperationsService/CancelOperation", write(Command)),

    ("/muster.admin.v1.IdentityService/GetAuthority", read(Read)),
    ("/muster.admin.v1.IdentityService/PrepareAuthority", write(Secure)),
    ("/muster.admin.v1.IdentityService/ActivateAuthority", write(Secure)),
    ("/muster.admin.v1.IdentityService/RollbackAuthority", write(Secure)),
    ("/muster.admin.v1.IdentityService/RetireAuthority", write(Secure)),
    ("/muster.admin.v1.IdentityService/Revoke", write(Secure)),
    ("/muster.admin.v1.IdentityService/DeleteRevocation", write(Secure)),
    ("/muster.admin.v1.IdentityService/ListRevocations", read(Read)),

    ("/muster.admin.v1.AuditService/ListAuditEntries", read(Audit)),
    ("/muster.admin.v1.AuditService/ListCheckpoints", read(Audit)),
    ("/muster.admin.v1.AuditService/WatchAuditEntries", read(Audit)),
    ("/muster.admin.v1.AuditService/ExportAuditEntries", read(Audit)),

    ("/muster.admin.v1.SystemService/GetSystem", read(Read)),
    ("/muster.admin.v1.SystemService/GetCaller", read(Known)),

    ("/grpc.health.v1.Health/Check", read(Known)),
    ("/grpc.health.v1.Health/List", read(Known)),
    ("/grpc.health.v1.Health/Watch", watch(Known)),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", watch(Known)),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", watch(Known)),
];

impl Rate {
    /// The limit's name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read | Self::Watch => "reads",
            Self::Write => "writes",
            Self::Session => "sessions",
            Self::Enroll => "enrollments",
        }
    }
}

/// The rule of a method, by its full name with the leading slash.
#[must_use]
pub fn rule(method: &str) -> Option<Rule> {
    TABLE.iter().find(|(name, _)| *name == method).map(|(_, rule)| *rule)
}

/// Full names of the methods that a role may call.
#[must_use]
pub fn methods_of(role: Role) -> Vec<String> {
    let may = |rule: &Rule| matches!(rule.who, Who::Operator(permission) if role.allows(permission));
    TABLE.iter().filter(|(_, rule)| may(rule)).map(|(name, _)| name[1..].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn declared() -> Vec<String> {
        let set = prost_types::FileDescriptorSet::decode(muster_proto::DESCRIPTORS).unwrap();
        let mut names = Vec::new();
        for file in set.file.iter().filter(|file| file.package().starts_with("muster.")) {
            for service in &file.service {
                let methods = service.method.iter();
                names.extend(methods.map(|m| format!("/{}.{}/{}", file.package(), service.name(), m.name())));
            }
        }
        names
    }

    #[test]
    fn every_method_has_a_rule() {
        for name in declared() {
            assert!(rule(&name).is_some(), "{name} has no row");
        }
    }

    #[test]
    fn every_rule_has_a_method() {
        let declared = declared();
        for (name, _) in TABLE.iter().filter(|(name, _)| name.starts_with("/muster.")) {
            assert!(declared.iter().any(|method| method == name), "{name} is no method");
        }
    }

    #[test]
    fn reading_roles_write_nothing() {
        for (name, rule) in TABLE.iter().filter(|(_, rule)| rule.rate == Rate::Write) {
            let Who::Operator(permission) = rule.who else { continue };
            assert!(!Role::Viewer.allows(permission), "{name}");
            let secures = permission == Permission::Secure;
            assert_eq!(Role::SecurityAdmin.allows(permission), secures, "{name}");
        }
    }
}
