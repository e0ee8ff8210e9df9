//! The stable reasons behind every refusal; the same words as
//! `muster.types.v1.ErrorReason`, which is their documentation. A test holds
//! the two lists together.

use std::fmt;

macro_rules! reasons {
    ($($name:ident = $text:literal,)*) => {
        /// Why something was refused or failed. Never changes its meaning.
        #[allow(missing_docs)] // documented in errors.proto
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($name,)* }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its one written form: `TOKEN_EXPIRED`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The reason written so. `None` if this build does not know it.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    InvalidArgument = "INVALID_ARGUMENT",
    SelectorInvalid = "SELECTOR_INVALID",
    NotFound = "NOT_FOUND",
    AlreadyExists = "ALREADY_EXISTS",
    EtagMismatch = "ETAG_MISMATCH",
    RequestIdReused = "REQUEST_ID_REUSED",
    InUse = "IN_USE",
    Conflict = "CONFLICT",
    PageTokenInvalid = "PAGE_TOKEN_INVALID",
    ResumeTokenExpired = "RESUME_TOKEN_EXPIRED",
    SettingUnknown = "SETTING_UNKNOWN",
    SettingInvalid = "SETTING_INVALID",
    TooLarge = "TOO_LARGE",
    StateConflict = "STATE_CONFLICT",
    AuthorityUnusable = "AUTHORITY_UNUSABLE",
    AuthorityNotReady = "AUTHORITY_NOT_READY",
    LastAdmin = "LAST_ADMIN",
    QuotaExceeded = "QUOTA_EXCEEDED",
    DigestMismatch = "DIGEST_MISMATCH",
    Unauthenticated = "UNAUTHENTICATED",
    WrongKindOfCaller = "WRONG_KIND_OF_CALLER",
    PermissionDenied = "PERMISSION_DENIED",
    CertificateExpired = "CERTIFICATE_EXPIRED",
    CertificateRevoked = "CERTIFICATE_REVOKED",
    WrongTrustDomain = "WRONG_TRUST_DOMAIN",
    RateLimited = "RATE_LIMITED",
    Overloaded = "OVERLOADED",
    ShuttingDown = "SHUTTING_DOWN",
    Internal = "INTERNAL",
    TokenUnknown = "TOKEN_UNKNOWN",
    TokenExpired = "TOKEN_EXPIRED",
    TokenUsedUp = "TOKEN_USED_UP",
    TokenRevoked = "TOKEN_REVOKED",
    TokenWrongNetwork = "TOKEN_WRONG_NETWORK",
    CsrInvalid = "CSR_INVALID",
    CsrNamesForbidden = "CSR_NAMES_FORBIDDEN",
    EnrollmentDisabled = "ENROLLMENT_DISABLED",
    CaPinMismatch = "CA_PIN_MISMATCH",
    NodeRemoved = "NODE_REMOVED",
    RecoveryDisabled = "RECOVERY_DISABLED",
    RecoveryTooLate = "RECOVERY_TOO_LATE",
    RecoveryLimit = "RECOVERY_LIMIT",
    ProofInvalid = "PROOF_INVALID",
    Quarantined = "QUARANTINED",
    ApprovalPending = "APPROVAL_PENDING",
    ApprovalDenied = "APPROVAL_DENIED",
    OidcTokenInvalid = "OIDC_TOKEN_INVALID",
    OidcIssuerUnknown = "OIDC_ISSUER_UNKNOWN",
    OidcUnavailable = "OIDC_UNAVAILABLE",
    HelloMissing = "HELLO_MISSING",
    HelloRepeated = "HELLO_REPEATED",
    FrameTooLarge = "FRAME_TOO_LARGE",
    SequenceOutOfOrder = "SEQUENCE_OUT_OF_ORDER",
    ProtocolUnsupported = "PROTOCOL_UNSUPPORTED",
    Fenced = "FENCED",
    MessageInvalid = "MESSAGE_INVALID",
    SlowReader = "SLOW_READER",
    HostCertificateInvalid = "HOST_CERTIFICATE_INVALID",
    HostCertificateUsed = "HOST_CERTIFICATE_USED",
    HostCaUnavailable = "HOST_CA_UNAVAILABLE",
    PayloadCorrupt = "PAYLOAD_CORRUPT",
    PayloadInvalid = "PAYLOAD_INVALID",
    PathNotAllowed = "PATH_NOT_ALLOWED",
    ValidateFailed = "VALIDATE_FAILED",
    OnChangeFailed = "ON_CHANGE_FAILED",
    ProbeFailed = "PROBE_FAILED",
    DiskFull = "DISK_FULL",
    WriteFailed = "WRITE_FAILED",
    ItemKindUnknown = "ITEM_KIND_UNKNOWN",
    RollbackFailed = "ROLLBACK_FAILED",
    GenerationConflict = "GENERATION_CONFLICT",
    HookDenied = "HOOK_DENIED",
    PathTaken = "PATH_TAKEN",
    CutOff = "CUT_OFF",
    NotConfirmed = "NOT_CONFIRMED",
    ProtectedUnreadable = "PROTECTED_UNREADABLE",
    FetchFailed = "FETCH_FAILED",
    LocalLock = "LOCAL_LOCK",
    CommandKindUnknown = "COMMAND_KIND_UNKNOWN",
    CommandArgsInvalid = "COMMAND_ARGS_INVALID",
    DeliverByPassed = "DELIVER_BY_PASSED",
    FinishByPassed = "FINISH_BY_PASSED",
    StartFailed = "START_FAILED",
    ExitStatus = "EXIT_STATUS",
    AgentStopped = "AGENT_STOPPED",
    LedgerWentBack = "LEDGER_WENT_BACK",
    StoreRestored = "STORE_RESTORED",
    NodeGone = "NODE_GONE",
    CancelledByOperator = "CANCELLED_BY_OPERATOR",
    AgentBusy = "AGENT_BUSY",
    OutOfMemory = "OUT_OF_MEMORY",
    UserUnknown = "USER_UNKNOWN",
    UnavailableOnHost = "UNAVAILABLE_ON_HOST",
    UnitNotFound = "UNIT_NOT_FOUND",
    NotRebooted = "NOT_REBOOTED",
    UnitNotAllowed = "UNIT_NOT_ALLOWED",
    ErrorBudgetSpent = "ERROR_BUDGET_SPENT",
    PreconditionFailed = "PRECONDITION_FAILED",
    Superseded = "SUPERSEDED",
    SettingHostOnly = "SETTING_HOST_ONLY",
    NotInAFleet = "NOT_IN_A_FLEET",
    LogLevelFixed = "LOG_LEVEL_FIXED",
    WorkloadDisabled = "WORKLOAD_DISABLED",
    WorkloadDenied = "WORKLOAD_DENIED",
    WorkloadUnavailable = "WORKLOAD_UNAVAILABLE",
    WorkloadTokenInvalid = "WORKLOAD_TOKEN_INVALID",
    ExtensionContentInvalid = "EXTENSION_CONTENT_INVALID",
    ExtensionPackageInvalid = "EXTENSION_PACKAGE_INVALID",
    ExtensionDenied = "EXTENSION_DENIED",
    ExtensionVerbFailed = "EXTENSION_VERB_FAILED",
    ExtensionVerbTimedOut = "EXTENSION_VERB_TIMED_OUT",
    ExtensionStatusMissing = "EXTENSION_STATUS_MISSING",
    ExtensionUnhealthy = "EXTENSION_UNHEALTHY",
    ExtensionLimitsUnenforced = "EXTENSION_LIMITS_UNENFORCED",
    ExtensionRemovedHere = "EXTENSION_REMOVED_HERE",
    ReleaseContentInvalid = "RELEASE_CONTENT_INVALID",
    UpgradeDenied = "UPGRADE_DENIED",
    UpgradeUnavailable = "UPGRADE_UNAVAILABLE",
    UpgradeBusy = "UPGRADE_BUSY",
    UpgradeFailed = "UPGRADE_FAILED",
    VersionInvalid = "VERSION_INVALID",
    VersionDidNotStart = "VERSION_DID_NOT_START",
    VersionNotConnected = "VERSION_NOT_CONNECTED",
    VersionNotAvailable = "VERSION_NOT_AVAILABLE",
    PackageManagerFailed = "PACKAGE_MANAGER_FAILED",
    RenameDisabled = "RENAME_DISABLED",
    RepositoryInvalid = "REPOSITORY_INVALID",
    RepositoryStale = "REPOSITORY_STALE",
    TargetMissing = "TARGET_MISSING",
    PackageNotPublished = "PACKAGE_NOT_PUBLISHED",
    ItemUnhealthy = "ITEM_UNHEALTHY",
    NoTrustRoot = "NO_TRUST_ROOT",
    ArtifactUntrusted = "ARTIFACT_UNTRUSTED",
    ArtifactRolledBack = "ARTIFACT_ROLLED_BACK",
    ArtifactExpired = "ARTIFACT_EXPIRED",
    ArtifactUnknown = "ARTIFACT_UNKNOWN",
    LabelNotRequestable = "LABEL_NOT_REQUESTABLE",
    StoreUnreachable = "STORE_UNREACHABLE",
    StoreOutcomeUnknown = "STORE_OUTCOME_UNKNOWN",
}

impl Reason {
    /// Whether a host says by it what its own administrator wants: a lock file, or a removal on the
    /// host itself. That is no failure of what was asked for.
    #[must_use]
    pub const fn is_hosts_will(self) -> bool {
        matches!(
            self,
            Self::PathNotAllowed
                | Self::HookDenied
                | Self::LocalLock
                | Self::ExtensionDenied
                | Self::ExtensionRemovedHere
                | Self::UpgradeDenied
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("unknown reason {text:?}")))
    }
}
