//! Who may call what: one row per method. A method without a row is refused.

use muster_domain::access::{Asked, Permission};

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
    /// An operator or service that some binding gives this.
    Operator(Asked),
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
    /// What a node brings, or measures: as seldom as sessions, but counted apart from them, and while it
    /// comes.
    Bring,
    /// Identities for the programs of one node: counted apart, so that they keep no session out.
    Issue,
    /// New names that nodes give themselves: each is written down for ever.
    Rename,
    /// Enrollment, per address.
    Enroll,
}

const fn node(rate: Rate) -> Rule {
    Rule { door: DoorName::Agents, who: Who::Node, rate }
}

const fn stranger() -> Rule {
    Rule { door: DoorName::Enrollment, who: Who::Anyone, rate: Rate::Enroll }
}

const fn operator(permission: Permission, fleet: bool, rate: Rate) -> Rule {
    Rule { door: DoorName::Operators, who: Who::Operator(Asked { permission, fleet }), rate }
}

const fn read(permission: Permission) -> Rule {
    operator(permission, false, Rate::Read)
}

const fn watch(permission: Permission) -> Rule {
    operator(permission, false, Rate::Watch)
}

const fn write(permission: Permission) -> Rule {
    operator(permission, false, Rate::Write)
}

/// A read of what is about no node, or about all of them.
const fn fleet_read(permission: Permission) -> Rule {
    operator(permission, true, Rate::Read)
}

/// A watch of what is about no node, or about all of them.
const fn fleet_watch(permission: Permission) -> Rule {
    operator(permission, true, Rate::Watch)
}

/// A write of what is about no node, or about all of them.
const fn fleet_write(permission: Permission) -> Rule {
    operator(permission, true, Rate::Write)
}

use Permission::{Audit, Command, Deploy, EditNodes, Enroll, Known, Read, Secure};

/// The whole policy. What stands as `fleet_…` asks for a binding on every node;
/// of the rest a caller sees and touches the nodes of its scope only.
#[rustfmt::skip] // one row per method, to be read as a table
const TABLE: &[(&str, Rule)] = &[
    ("/muster.agent.v1.SessionService/Session", node(Rate::Session)),
    ("/muster.agent.v1.IdentityService/RenewCertificate", node(Rate::Session)),
    ("/muster.agent.v1.IdentityService/Leave", node(Rate::Session)),
    // Not counted as sessions: whoever renames in a loop must still be able to come back.
    ("/muster.agent.v1.NodeService/Rename", node(Rate::Rename)),
    // Not counted as sessions: who fetches much must still be able to come back.
    ("/muster.agent.v1.BlobService/DownloadBlob", node(Rate::Watch)),
    ("/muster.agent.v1.ArtifactService/DownloadArtifact", node(Rate::Watch)),
    ("/muster.agent.v1.BlobService/UploadResult", node(Rate::Bring)),
    ("/muster.agent.v1.DiagnosticsService/Echo", node(Rate::Read)),
    ("/muster.agent.v1.DiagnosticsService/Hold", node(Rate::Watch)),
    ("/muster.agent.v1.DiagnosticsService/Measure", node(Rate::Bring)),

    ("/muster.agent.v1.WorkloadIdentityService/IssueX509Svids", node(Rate::Issue)),
    ("/muster.agent.v1.WorkloadIdentityService/IssueJwtSvids", node(Rate::Issue)),
    ("/muster.agent.v1.WorkloadIdentityService/GetWorkloadBundles", node(Rate::Issue)),

    ("/muster.agent.v1.EnrollmentService/BeginEnrollment", stranger()),
    ("/muster.agent.v1.EnrollmentService/Enroll", stranger()),
    ("/muster.agent.v1.EnrollmentService/BeginRecovery", stranger()),
    ("/muster.agent.v1.EnrollmentService/Recover", stranger()),

    ("/muster.admin.v1.NodesService/ListNodes", read(Read)),
    ("/muster.admin.v1.NodesService/GetNode", read(Read)),
    ("/muster.admin.v1.NodesService/ExplainItem", read(Read)),
    ("/muster.admin.v1.NodesService/WatchNodes", watch(Read)),
    ("/muster.admin.v1.NodesService/UpdateNode", write(EditNodes)),
    ("/muster.admin.v1.NodesService/DeleteNode", write(EditNodes)),
    ("/muster.admin.v1.NodesService/QuarantineNode", write(Secure)),
    ("/muster.admin.v1.NodesService/ReleaseQuarantine", write(Secure)),
    ("/muster.admin.v1.NodesService/AcceptRestored", write(Secure)),
    ("/muster.admin.v1.NodesService/AllowRecovery", write(Secure)),

    ("/muster.admin.v1.JoinTokensService/CreateJoinToken", fleet_write(Enroll)),
    ("/muster.admin.v1.JoinTokensService/GetJoinToken", fleet_read(Enroll)),
    ("/muster.admin.v1.JoinTokensService/ListJoinTokens", fleet_read(Enroll)),
    ("/muster.admin.v1.JoinTokensService/RevokeJoinToken", fleet_write(Enroll)),
    ("/muster.admin.v1.JoinTokensService/ListJoinRequests", fleet_read(Enroll)),
    ("/muster.admin.v1.JoinTokensService/ApproveJoinRequest", fleet_write(Enroll)),
    ("/muster.admin.v1.JoinTokensService/DenyJoinRequest", fleet_write(Enroll)),

    ("/muster.admin.v1.BundlesService/CreateBundle", fleet_write(Deploy)),
    ("/muster.admin.v1.BundlesService/GetBundle", read(Read)),
    ("/muster.admin.v1.BundlesService/ListBundles", read(Read)),
    ("/muster.admin.v1.BundlesService/DeleteBundle", fleet_write(Deploy)),

    ("/muster.admin.v1.BlobsService/UploadBlob", fleet_write(Deploy)),
    ("/muster.admin.v1.BlobsService/GetUpload", fleet_read(Deploy)),
    ("/muster.admin.v1.BlobsService/DownloadBlob", watch(Read)),
    ("/muster.admin.v1.BlobsService/GetBlob", read(Read)),
    ("/muster.admin.v1.BlobsService/ListBlobs", read(Read)),
    ("/muster.admin.v1.BlobsService/DeleteBlob", fleet_write(Deploy)),

    ("/muster.admin.v1.ArtifactsService/PublishRepository", fleet_write(Deploy)),
    ("/muster.admin.v1.ArtifactsService/GetRepository", read(Read)),
    ("/muster.admin.v1.ArtifactsService/ListTargets", read(Read)),

    ("/muster.admin.v1.ExtensionsService/ListPackages", read(Read)),
    ("/muster.admin.v1.ExtensionsService/CreateExtension", fleet_write(Deploy)),
    ("/muster.admin.v1.ExtensionsService/GetExtension", read(Read)),
    ("/muster.admin.v1.ExtensionsService/ListExtensions", read(Read)),
    ("/muster.admin.v1.ExtensionsService/DeleteExtension", fleet_write(Deploy)),

    ("/muster.admin.v1.ReleasesService/ListReleases", read(Read)),
    ("/muster.admin.v1.ReleasesService/GetChannel", read(Read)),
    ("/muster.admin.v1.ReleasesService/ListChannels", read(Read)),
    ("/muster.admin.v1.ReleasesService/SetChannel", fleet_write(Deploy)),

    ("/muster.admin.v1.SettingsService/GetSettingsSchema", read(Read)),
    ("/muster.admin.v1.SettingsService/PutSettingsProfile", fleet_write(Deploy)),
    ("/muster.admin.v1.SettingsService/GetSettingsProfile", read(Read)),
    ("/muster.admin.v1.SettingsService/ListSettingsProfiles", read(Read)),
    ("/muster.admin.v1.SettingsService/DeleteSettingsProfile", fleet_write(Deploy)),

    ("/muster.admin.v1.AssignmentsService/CreateAssignment", write(Deploy)),
    ("/muster.admin.v1.AssignmentsService/GetAssignment", read(Read)),
    ("/muster.admin.v1.AssignmentsService/ListAssignments", read(Read)),
    ("/muster.admin.v1.AssignmentsService/UpdateAssignment", write(Deploy)),
    ("/muster.admin.v1.AssignmentsService/DeleteAssignment", write(Deploy)),
    ("/muster.admin.v1.AssignmentsService/PreviewAssignment", read(Deploy)),

    ("/muster.admin.v1.GroupsService/CreateGroup", fleet_write(Deploy)),
    ("/muster.admin.v1.GroupsService/GetGroup", read(Read)),
    ("/muster.admin.v1.GroupsService/ListGroups", read(Read)),
    ("/muster.admin.v1.GroupsService/UpdateGroup", fleet_write(Deploy)),
    ("/muster.admin.v1.GroupsService/DeleteGroup", fleet_write(Deploy)),

    ("/muster.admin.v1.RolloutsService/CreateRollout", write(Deploy)),
    ("/muster.admin.v1.RolloutsService/GetRollout", read(Read)),
    ("/muster.admin.v1.RolloutsService/ListRollouts", read(Read)),
    ("/muster.admin.v1.RolloutsService/ListRolloutNodes", read(Read)),
    ("/muster.admin.v1.RolloutsService/WatchRollout", watch(Read)),
    ("/muster.admin.v1.RolloutsService/PauseRollout", write(Deploy)),
    ("/muster.admin.v1.RolloutsService/ResumeRollout", write(Deploy)),
    ("/muster.admin.v1.RolloutsService/ApproveRollout", write(Deploy)),
    ("/muster.admin.v1.RolloutsService/AbortRollout", write(Deploy)),
    ("/muster.admin.v1.RolloutsService/RollBackRollout", write(Deploy)),
    ("/muster.admin.v1.RolloutsService/SetRolloutBrake", fleet_write(Deploy)),
    ("/muster.admin.v1.RolloutsService/GetRolloutBrake", read(Read)),

    ("/muster.admin.v1.OperationsService/StartOperation", write(Command)),
    ("/muster.admin.v1.OperationsService/GetOperation", read(Read)),
    ("/muster.admin.v1.OperationsService/ListOperations", read(Read)),
    ("/muster.admin.v1.OperationsService/ListCommands", read(Read)),
    ("/muster.admin.v1.OperationsService/ReadCommandOutput", read(Read)),
    ("/muster.admin.v1.OperationsService/WatchOperation", watch(Read)),
    ("/muster.admin.v1.OperationsService/CancelOperation", write(Command)),
    ("/muster.admin.v1.OperationsService/RetryOperation", write(Command)),
    ("/muster.admin.v1.OperationsService/PreviewOperation", read(Command)),

    ("/muster.admin.v1.ConcurrencyLeasesService/CreateConcurrencyLease", fleet_write(Command)),
    ("/muster.admin.v1.ConcurrencyLeasesService/GetConcurrencyLease", read(Read)),
    ("/muster.admin.v1.ConcurrencyLeasesService/ListConcurrencyLeases", read(Read)),
    ("/muster.admin.v1.ConcurrencyLeasesService/UpdateConcurrencyLease", fleet_write(Command)),
    ("/muster.admin.v1.ConcurrencyLeasesService/DeleteConcurrencyLease", fleet_write(Command)),

    ("/muster.admin.v1.SchedulesService/CreateSchedule", write(Command)),
    ("/muster.admin.v1.SchedulesService/GetSchedule", read(Read)),
    ("/muster.admin.v1.SchedulesService/ListSchedules", read(Read)),
    ("/muster.admin.v1.SchedulesService/UpdateSchedule", write(Command)),
    ("/muster.admin.v1.SchedulesService/DeleteSchedule", write(Command)),
    ("/muster.admin.v1.OperationsService/DownloadResult", watch(Read)),

    ("/muster.admin.v1.AlertsService/CreateAlertRule", fleet_write(Command)),
    ("/muster.admin.v1.AlertsService/GetAlertRule", read(Read)),
    ("/muster.admin.v1.AlertsService/ListAlertRules", read(Read)),
    ("/muster.admin.v1.AlertsService/UpdateAlertRule", fleet_write(Command)),
    ("/muster.admin.v1.AlertsService/DeleteAlertRule", fleet_write(Command)),
    ("/muster.admin.v1.AlertsService/ListAlerts", read(Read)),
    ("/muster.admin.v1.AlertsService/GetAlert", read(Read)),
    ("/muster.admin.v1.AlertsService/WatchAlerts", watch(Read)),
    ("/muster.admin.v1.AlertsService/AcknowledgeAlert", write(Command)),
    ("/muster.admin.v1.AlertsService/TestFireAlert", fleet_write(Command)),
    ("/muster.admin.v1.AlertsService/SilenceAlerts", fleet_write(Command)),
    ("/muster.admin.v1.AlertsService/ListSilences", read(Read)),
    ("/muster.admin.v1.AlertsService/ExpireSilence", fleet_write(Command)),
    ("/muster.admin.v1.AlertsService/CreateAlertReceiver", fleet_write(Secure)),
    ("/muster.admin.v1.AlertsService/ListAlertReceivers", fleet_read(Read)),
    ("/muster.admin.v1.AlertsService/UpdateAlertReceiver", fleet_write(Secure)),
    ("/muster.admin.v1.AlertsService/DeleteAlertReceiver", fleet_write(Secure)),
    ("/muster.admin.v1.AlertsService/ListDeadLetters", fleet_read(Read)),
    ("/muster.admin.v1.AlertsService/RetryDeadLetter", fleet_write(Command)),

    ("/muster.admin.v1.EventsService/ListEvents", read(Read)),
    ("/muster.admin.v1.EventsService/GetEvent", read(Read)),
    ("/muster.admin.v1.EventsService/WatchEvents", watch(Read)),

    ("/muster.admin.v1.IdentityService/GetAuthority", fleet_read(Read)),
    ("/muster.admin.v1.IdentityService/PrepareAuthority", fleet_write(Secure)),
    ("/muster.admin.v1.IdentityService/ActivateAuthority", fleet_write(Secure)),
    ("/muster.admin.v1.IdentityService/RollbackAuthority", fleet_write(Secure)),
    ("/muster.admin.v1.IdentityService/RetireAuthority", fleet_write(Secure)),
    ("/muster.admin.v1.IdentityService/Revoke", fleet_write(Secure)),
    ("/muster.admin.v1.IdentityService/DeleteRevocation", fleet_write(Secure)),
    ("/muster.admin.v1.IdentityService/ListRevocations", fleet_read(Read)),

    ("/muster.admin.v1.WorkloadsService/GetWorkloadIssuers", read(Read)),
    ("/muster.admin.v1.WorkloadsService/RotateWorkloadIssuer", fleet_write(Secure)),

    ("/muster.admin.v1.AccessService/CreateBinding", fleet_write(Secure)),
    ("/muster.admin.v1.AccessService/ListBindings", fleet_read(Secure)),
    ("/muster.admin.v1.AccessService/DeleteBinding", fleet_write(Secure)),
    ("/muster.admin.v1.AccessService/ExplainAccess", fleet_read(Secure)),

    ("/muster.admin.v1.AuditService/ListAuditEntries", fleet_read(Audit)),
    ("/muster.admin.v1.AuditService/ListCheckpoints", fleet_read(Audit)),
    ("/muster.admin.v1.AuditService/WatchAuditEntries", fleet_watch(Audit)),
    ("/muster.admin.v1.AuditService/ExportAuditEntries", fleet_watch(Audit)),

    ("/muster.admin.v1.SystemService/GetSystem", read(Read)),
    ("/muster.admin.v1.SystemService/GetCaller", read(Known)),
    ("/muster.admin.v1.SystemService/SetTraceSampling", fleet_write(Secure)),

    ("/grpc.health.v1.Health/Check", read(Known)),
    ("/grpc.health.v1.Health/List", read(Known)),
    ("/grpc.health.v1.Health/Watch", watch(Known)),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", watch(Known)),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", watch(Known)),
];

impl Rate {
    /// Whether calls are counted while they are open, too.
    #[must_use]
    pub const fn stays_open(self) -> bool {
        matches!(self, Self::Watch | Self::Bring)
    }

    /// The limit's name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read | Self::Watch => "reads",
            Self::Write => "writes",
            Self::Session | Self::Bring => "sessions",
            Self::Issue => "workloads",
            Self::Rename => "renames",
            Self::Enroll => "enrollments",
        }
    }
}

/// The rule of a method, by its full name with the leading slash.
#[must_use]
pub fn rule(method: &str) -> Option<Rule> {
    TABLE.iter().find(|(name, _)| *name == method).map(|(_, rule)| *rule)
}

/// Full names of the operators' methods, and what they ask for.
#[must_use]
pub fn methods() -> Vec<(&'static str, Asked)> {
    let asked = |(name, rule): &(&'static str, Rule)| match rule.who {
        Who::Operator(asked) => Some((&name[1..], asked)),
        Who::Node | Who::Anyone => None,
    };
    TABLE.iter().filter_map(asked).collect()
}

#[cfg(test)]
mod tests;
