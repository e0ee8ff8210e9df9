//! All ways to end: one row each, in the order of their numbers.

/// One way to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Code {
    /// The exit status. At most 125: what is above belongs to shells.
    pub(in crate::cli) number: u8,
    /// Never changes its meaning.
    pub(in crate::cli) name: &'static str,
    /// What it means, whatever the cause.
    pub(in crate::cli) meaning: &'static str,
    /// What to do.
    pub(in crate::cli) remedy: &'static str,
    /// Codes of `azcmagent` that say the same, for scripts that move from there.
    pub(in crate::cli) arc: &'static str,
}

macro_rules! codes {
    ($($constant:ident: $number:literal $name:literal $meaning:literal $remedy:literal $arc:literal;)*) => {
        $(
            #[doc = $meaning]
            pub(in crate::cli) const $constant: Code =
                Code { number: $number, name: $name, meaning: $meaning, remedy: $remedy, arc: $arc };
        )*

        /// All of them, in the order of their numbers.
        pub(in crate::cli) const ALL: &[Code] = &[$($constant,)*];
    };
}

codes! {
    INTERNAL: 1 "INTERNAL"
        "Something that should not be"
        "see the log; report it if it repeats"
        "AZCM0001, AZCM0002";
    COMMAND_LINE: 2 "COMMAND_LINE_INVALID"
        "The command line is wrong"
        "`--help` after the command says what it takes"
        "AZCM0016, AZCM0023";
    CONFIG: 10 "CONFIG_INVALID"
        "The configuration file cannot be used"
        "correct the configuration file"
        "AZCM0019, AZCM0070";
    STATE: 11 "STATE_UNUSABLE"
        "The state directory cannot be used"
        "run as the agent's user, and look at the state directory"
        "AZCM0018, AZCM0069";
    BUSY: 12 "ALREADY_RUNNING"
        "Another agent runs with this state directory"
        "another agent runs with this state directory; stop it first"
        "";
    NOT_CONNECTED: 13 "NOT_CONNECTED"
        "The host is in no fleet"
        "bring the host into a fleet with `connect`"
        "AZCM0065, AZCM0066";
    CONNECTED: 14 "ALREADY_CONNECTED"
        "The host is in a fleet already"
        "take the host out of its fleet with `disconnect` first"
        "AZCM0067";
    JOIN: 15 "JOIN_STRING_INVALID"
        "The join string or token that was given cannot be used"
        "copy the join string whole, or ask for a new one"
        "AZCM0012";
    PIN: 16 "CA_PIN_MISMATCH"
        "The control plane has another root than the one that is pinned"
        "ask for a new join string; if you did not expect this, somebody may stand between"
        "";
    UNREACHABLE: 17 "UNREACHABLE"
        "The control plane does not answer"
        "see that the address is right and its port open; `check` looks at each step"
        "AZCM0026, AZCM0061";
    REFUSED: 18 "REFUSED"
        "The control plane says no"
        "docs/errors has a page for the reason that was given"
        "AZCM0041, AZCM0042, AZCM0043, AZCM0062, AZCM0063";
    PROPERTY: 19 "PROPERTY_UNKNOWN"
        "There is no such property"
        "`show` without a name lists all properties"
        "";
    PENDING: 20 "APPROVAL_PENDING"
        "Nobody has approved this host yet"
        "have somebody approve this host, then run the same command again"
        "";
    HOST_CERTIFICATE: 21 "HOST_CERTIFICATE_UNUSABLE"
        "The certificate or key that the host wants in by cannot be used"
        "see that both files can be read and belong together"
        "AZCM0083";
    ITEM: 22 "ITEM_UNKNOWN"
        "This host has never heard of the item"
        "`explain` without a name tells of all items"
        "";
    CHECK: 23 "CHECK_FAILED"
        "Something that the agent needs does not work"
        "each line that failed names its remedy; begin with the first"
        "AZCM0026";
    TIME_LIMIT: 24 "TIME_LIMIT"
        "It was not done within the time limit"
        "run the same command again, it goes on where it was; `--time-limit` gives it longer"
        "";
    OUTPUT: 25 "OUTPUT_UNUSABLE"
        "The file that was to be written cannot be, or is there already"
        "name another file with `-o`, or move what is there"
        "AZCM0005";
    LOGIN_DENIED: 26 "LOGIN_DENIED"
        "Who was to sign in for this host said no"
        "run the same command again, and sign in as somebody who may let hosts in"
        "AZCM0042";
    LOGIN_EXPIRED: 27 "LOGIN_EXPIRED"
        "Nobody signed in while the code was good"
        "run the same command again for another code"
        "AZCM0042";
    LOGIN_UNAVAILABLE: 28 "LOGIN_UNAVAILABLE"
        "People cannot sign in for this host: no issuer is named, or it does not answer as it must"
        "the cause says what is missing; a join string needs no issuer"
        "AZCM0042";
    NO_IDENTITY: 29 "NO_IDENTITY"
        "The agent gives this user no identity of this name"
        "see `[[workload.identities]]` in the lock file: docs/workload-identity.md"
        "";
    PROXY_UNREACHABLE: 30 "PROXY_UNREACHABLE"
        "The proxy brings no connection"
        "see that the proxy runs and that its address is right; `proxy show` tells who names it"
        "AZCM0026";
    PROXY_REFUSED: 31 "PROXY_REFUSED"
        "The proxy does not let this host through"
        "have the proxy allow CONNECT to the control plane's host and ports"
        "AZCM0026";
    PROXY_AUTHENTICATION: 32 "PROXY_AUTHENTICATION"
        "The proxy wants a user and a password, or others"
        "correct user and password in the proxy's address; `proxy show` tells who names it"
        "AZCM0026";
    PROXY_INVALID: 33 "PROXY_INVALID"
        "The address of the proxy, or the list of what goes past it, cannot be used"
        "write it as http://USER:PASSWORD@HOST:PORT, special characters as % and two digits"
        "AZCM0023";
    ROOT: 34 "ROOT_NEEDED"
        "Only root may do this"
        "run it as root"
        "AZCM0018";
    LOCKS: 35 "LOCKS_INVALID"
        "The lock file cannot be used"
        "correct it: until then everything is locked; docs/locks.md has its words"
        "";
    SETTING: 36 "SETTING_INVALID"
        "There is no such setting, or it cannot have this value"
        "`config info` tells of each what it can be"
        "AZCM0023";
    NO_HISTORY: 37 "NOTHING_TO_UNDO"
        "There is no change that could be taken back"
        "`config history` shows what was changed; set the value yourself"
        "";
    NOT_WRITABLE: 38 "FILE_NOT_WRITABLE"
        "This user may not write the configuration file or its history"
        "run it as root"
        "AZCM0018, AZCM0069";
    NOT_RUNNING: 40 "NOT_RUNNING"
        "No agent runs on this host"
        "start it: `systemctl start muster-node-agent`; its log says why it ended"
        "";
    CUT_OFF: 41 "CUT_OFF"
        "The agent runs, and has no session with its control plane"
        "the error says why; the agent tries again by itself"
        "";
    DEGRADED: 42 "DEGRADED"
        "The agent has a session, and something needs a look"
        "`status` lists each problem, `explain` tells where an item stands"
        "";
    PAUSED: 43 "PAUSED"
        "Changes and commands rest on this host"
        "`resume` ends the pause, if it is no longer needed"
        "";
    AGENT_REFUSED: 44 "AGENT_REFUSED"
        "The running agent says no"
        "run the command as root or as the agent's user, and read what the agent said"
        "";
    EXTENSION: 45 "EXTENSION_UNKNOWN"
        "This host has no extension of that name"
        "`extension list` tells which there are"
        "";
    NOT_REMOVED: 46 "EXTENSION_NOT_REMOVED"
        "An extension could not be removed"
        "read the error: its files do not go; delete what it names and run the command again"
        "";
    UPGRADE_REFUSED: 47 "UPGRADE_REFUSED"
        "The version was not installed; the one before runs on, and nothing has changed"
        "read the cause: the release, the disk or the package repository needs a look"
        "";
    UPGRADE_ROLLED_BACK: 48 "UPGRADE_ROLLED_BACK"
        "The new version was tried and did not work; the one before runs again"
        "read the cause and what the new version said; /var/lib/muster/upgrade/failed.log has more of it"
        "";
    UPGRADE_FAILED: 49 "UPGRADE_FAILED"
        "The new version did not work, and the one before does not come up either"
        "look at `systemctl status muster-node-agent` and the disk: systemd goes on starting it"
        "";
    NO_SOCKET: 50 "NO_SOCKET"
        "The executor was not started by its socket"
        "systemd starts the executor: enable muster-executor.socket"
        "";
    USER: 51 "USER_MISSING"
        "The daemon's user is not there"
        "make the user muster: systemd-sysusers does, from /usr/lib/sysusers.d/muster.conf"
        "";
    RUNS_AS_ROOT: 52 "RUNS_AS_ROOT"
        "Root runs the half that is to have no rights"
        "start muster-node-agent.service, or do everything in one process with --single-process"
        "";
    UPGRADE_BUSY: 53 "UPGRADE_BUSY"
        "The agent is being upgraded to another version already"
        "`upgrade --status` tells how far it is; it comes to an end by itself"
        "";
    UPGRADE_UNAVAILABLE: 54 "UPGRADE_UNAVAILABLE"
        "The agent of this host cannot be upgraded from here"
        "install it from a package, or in slots below /opt/muster, on a host with systemd"
        "";
}
