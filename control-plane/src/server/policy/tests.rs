use muster_domain::access::Role;
use prost::Message as _;

use super::*;

/// Who may call what, written out a second time. Of the roles viewer, operator,
/// deployer, enroller, security-admin, admin those that may; `*`: only with a
/// binding on every node.
#[rustfmt::skip] // one row per method, to be read as a table
const EXPECTED: &[(&str, &str)] = &[
    ("NodesService/ListNodes",                 "VODESA"),
    ("NodesService/ExplainItem",               "VODESA"),
    ("NodesService/GetNode",                   "VODESA"),
    ("NodesService/WatchNodes",                "VODESA"),
    ("NodesService/UpdateNode",                "-O---A"),
    ("NodesService/DeleteNode",                "-O---A"),
    ("NodesService/QuarantineNode",            "----SA"),
    ("NodesService/ReleaseQuarantine",         "----SA"),
    ("NodesService/AcceptRestored",            "----SA"),
    ("NodesService/AllowRecovery",             "----SA"),
    ("JoinTokensService/CreateJoinToken",      "---E-A *"),
    ("JoinTokensService/GetJoinToken",         "---E-A *"),
    ("JoinTokensService/ListJoinTokens",       "---E-A *"),
    ("JoinTokensService/RevokeJoinToken",      "---E-A *"),
    ("JoinTokensService/ListJoinRequests",     "---E-A *"),
    ("JoinTokensService/ApproveJoinRequest",   "---E-A *"),
    ("JoinTokensService/DenyJoinRequest",      "---E-A *"),
    ("BundlesService/CreateBundle",            "--D--A *"),
    ("BundlesService/GetBundle",               "VODESA"),
    ("BundlesService/ListBundles",             "VODESA"),
    ("BundlesService/DeleteBundle",            "--D--A *"),
    ("BlobsService/UploadBlob",                "--D--A *"),
    ("BlobsService/GetUpload",                 "--D--A *"),
    ("BlobsService/DownloadBlob",              "VODESA"),
    ("BlobsService/GetBlob",                   "VODESA"),
    ("BlobsService/ListBlobs",                 "VODESA"),
    ("BlobsService/DeleteBlob",                "--D--A *"),
    ("ArtifactsService/PublishRepository",     "--D--A *"),
    ("ArtifactsService/GetRepository",         "VODESA"),
    ("ArtifactsService/ListTargets",           "VODESA"),
    ("ExtensionsService/ListPackages",         "VODESA"),
    ("ExtensionsService/CreateExtension",      "--D--A *"),
    ("ExtensionsService/GetExtension",         "VODESA"),
    ("ExtensionsService/ListExtensions",       "VODESA"),
    ("ExtensionsService/DeleteExtension",      "--D--A *"),
    ("ReleasesService/ListReleases",           "VODESA"),
    ("ReleasesService/GetChannel",             "VODESA"),
    ("ReleasesService/ListChannels",           "VODESA"),
    ("ReleasesService/SetChannel",             "--D--A *"),
    ("SettingsService/GetSettingsSchema",      "VODESA"),
    ("SettingsService/PutSettingsProfile",     "--D--A *"),
    ("SettingsService/GetSettingsProfile",     "VODESA"),
    ("SettingsService/ListSettingsProfiles",   "VODESA"),
    ("SettingsService/DeleteSettingsProfile",  "--D--A *"),
    ("AssignmentsService/CreateAssignment",    "--D--A"),
    ("AssignmentsService/GetAssignment",       "VODESA"),
    ("AssignmentsService/ListAssignments",     "VODESA"),
    ("AssignmentsService/UpdateAssignment",    "--D--A"),
    ("AssignmentsService/DeleteAssignment",    "--D--A"),
    ("AssignmentsService/PreviewAssignment",   "--D--A"),
    ("GroupsService/CreateGroup",              "--D--A *"),
    ("GroupsService/GetGroup",                 "VODESA"),
    ("GroupsService/ListGroups",               "VODESA"),
    ("GroupsService/UpdateGroup",              "--D--A *"),
    ("GroupsService/DeleteGroup",              "--D--A *"),
    ("RolloutsService/CreateRollout",          "--D--A"),
    ("RolloutsService/GetRollout",             "VODESA"),
    ("RolloutsService/ListRollouts",           "VODESA"),
    ("RolloutsService/ListRolloutNodes",       "VODESA"),
    ("RolloutsService/WatchRollout",           "VODESA"),
    ("RolloutsService/PauseRollout",           "--D--A"),
    ("RolloutsService/ResumeRollout",          "--D--A"),
    ("RolloutsService/ApproveRollout",         "--D--A"),
    ("RolloutsService/AbortRollout",           "--D--A"),
    ("RolloutsService/RollBackRollout",        "--D--A"),
    ("RolloutsService/SetRolloutBrake",        "--D--A *"),
    ("RolloutsService/GetRolloutBrake",        "VODESA"),
    ("OperationsService/StartOperation",       "-O---A"),
    ("OperationsService/GetOperation",         "VODESA"),
    ("OperationsService/ListOperations",       "VODESA"),
    ("OperationsService/ListCommands",         "VODESA"),
    ("OperationsService/ReadCommandOutput",    "VODESA"),
    ("OperationsService/WatchOperation",       "VODESA"),
    ("OperationsService/CancelOperation",      "-O---A"),
    ("SchedulesService/CreateSchedule",        "-O---A"),
    ("SchedulesService/GetSchedule",           "VODESA"),
    ("SchedulesService/ListSchedules",         "VODESA"),
    ("SchedulesService/UpdateSchedule",        "-O---A"),
    ("SchedulesService/DeleteSchedule",        "-O---A"),
    ("OperationsService/RetryOperation",       "-O---A"),
    ("OperationsService/PreviewOperation",     "-O---A"),
    ("ConcurrencyLeasesService/CreateConcurrencyLease", "-O---A *"),
    ("ConcurrencyLeasesService/GetConcurrencyLease",    "VODESA"),
    ("ConcurrencyLeasesService/ListConcurrencyLeases",  "VODESA"),
    ("ConcurrencyLeasesService/UpdateConcurrencyLease", "-O---A *"),
    ("ConcurrencyLeasesService/DeleteConcurrencyLease", "-O---A *"),
    ("OperationsService/DownloadResult",       "VODESA"),
    ("AlertsService/CreateAlertRule",           "-O---A *"),
    ("AlertsService/GetAlertRule",              "VODESA"),
    ("AlertsService/ListAlertRules",            "VODESA"),
    ("AlertsService/UpdateAlertRule",           "-O---A *"),
    ("AlertsService/DeleteAlertRule",           "-O---A *"),
    ("AlertsService/ListAlerts",                "VODESA"),
    ("AlertsService/GetAlert",                  "VODESA"),
    ("AlertsService/WatchAlerts",               "VODESA"),
    ("AlertsService/AcknowledgeAlert",          "-O---A"),
    ("AlertsService/TestFireAlert",             "-O---A *"),
    ("AlertsService/SilenceAlerts",             "-O---A *"),
    ("AlertsService/ListSilences",              "VODESA"),
    ("AlertsService/ExpireSilence",             "-O---A *"),
    ("AlertsService/CreateAlertReceiver",       "----SA *"),
    ("AlertsService/ListAlertReceivers",        "VODESA *"),
    ("AlertsService/UpdateAlertReceiver",       "----SA *"),
    ("AlertsService/DeleteAlertReceiver",       "----SA *"),
    ("AlertsService/ListDeadLetters",           "VODESA *"),
    ("AlertsService/RetryDeadLetter",           "-O---A *"),
    ("EventsService/ListEvents",                "VODESA"),
    ("EventsService/GetEvent",                  "VODESA"),
    ("EventsService/WatchEvents",               "VODESA"),
    ("IdentityService/GetAuthority",           "VODESA *"),
    ("IdentityService/PrepareAuthority",       "----SA *"),
    ("IdentityService/ActivateAuthority",      "----SA *"),
    ("IdentityService/RollbackAuthority",      "----SA *"),
    ("IdentityService/RetireAuthority",        "----SA *"),
    ("IdentityService/Revoke",                 "----SA *"),
    ("IdentityService/DeleteRevocation",       "----SA *"),
    ("IdentityService/ListRevocations",        "VODESA *"),
    ("WorkloadsService/GetWorkloadIssuers",    "VODESA"),
    ("WorkloadsService/RotateWorkloadIssuer",  "----SA *"),
    ("AccessService/CreateBinding",            "----SA *"),
    ("AccessService/ListBindings",             "----SA *"),
    ("AccessService/DeleteBinding",            "----SA *"),
    ("AccessService/ExplainAccess",            "----SA *"),
    ("AuditService/ListAuditEntries",          "----SA *"),
    ("AuditService/ListCheckpoints",           "----SA *"),
    ("AuditService/WatchAuditEntries",         "----SA *"),
    ("AuditService/ExportAuditEntries",        "----SA *"),
    ("SystemService/GetSystem",                "VODESA"),
    ("SystemService/GetCaller",                "VODESA"),
    ("SystemService/SetTraceSampling",         "----SA *"),
];

fn declared() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(muster_proto::DESCRIPTORS).unwrap();
    let mut names = Vec::new();
    // What an agent serves on its own host is never served here.
    let ours = |package: &str| package.starts_with("muster.") && !package.starts_with("muster.local.");
    for file in set.file.iter().filter(|file| ours(file.package())) {
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
fn each_role_may_call_what_the_written_table_says_and_nothing_else() {
    let methods: Vec<String> =
        declared().into_iter().filter(|name| name.starts_with("/muster.admin.v1.")).collect();
    assert_eq!(methods.len(), EXPECTED.len(), "each method of operators has a row here");
    for name in methods {
        let short = name.strip_prefix("/muster.admin.v1.").unwrap();
        let (_, row) = EXPECTED.iter().find(|(method, _)| *method == short).expect(short);
        let rule = rule(&name).unwrap();
        let Who::Operator(asked) = rule.who else { panic!("{name} is for operators") };
        assert_eq!(rule.door, DoorName::Operators, "{name}");
        assert_eq!(asked.fleet, row.ends_with(" *"), "{name} on every node");
        for (role, mark) in Role::ALL.into_iter().zip(row.chars()) {
            assert_eq!(role.allows(asked.permission), mark != '-', "{name} as {role:?}");
        }
    }
}

#[test]
fn what_nodes_and_strangers_call_is_on_their_own_doors() {
    for name in declared().into_iter().filter(|name| name.starts_with("/muster.agent.v1.")) {
        let rule = rule(&name).unwrap();
        assert_ne!(rule.door, DoorName::Operators, "{name}");
        assert!(matches!(rule.who, Who::Node | Who::Anyone), "{name}");
    }
}

#[test]
fn reading_roles_write_nothing() {
    for (name, rule) in TABLE.iter().filter(|(_, rule)| rule.rate == Rate::Write) {
        let Who::Operator(asked) = rule.who else { continue };
        assert!(!Role::Viewer.allows(asked.permission), "{name}");
        let secures = asked.permission == Permission::Secure;
        assert_eq!(Role::SecurityAdmin.allows(asked.permission), secures, "{name}");
    }
}
