//! Who may do what, and on which nodes.
//!
//! A binding gives a role to principals, on the nodes that its selector matches.
//! What a caller may do is the union of its bindings, permission by permission.

mod binding;
mod rights;
mod scope;

pub use binding::{Binding, InvalidPattern, Pattern, is_binding_name};
pub use rights::{Rights, Verdict, is_last_admin, judge};
pub use scope::{Reach, Scope};

/// What an operator is trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Reads the fleet.
    Viewer,
    /// Commands and labels.
    Operator,
    /// Desired state.
    Deployer,
    /// Join tokens.
    Enroller,
    /// Identity and audit.
    SecurityAdmin,
    /// Everything.
    Admin,
}

/// What roles are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// To be a known operator at all.
    Known,
    /// To read the fleet.
    Read,
    /// To edit and remove nodes.
    EditNodes,
    /// To start and cancel operations.
    Command,
    /// To change desired state.
    Deploy,
    /// To make and end join tokens.
    Enroll,
    /// To read the audit.
    Audit,
    /// To change the authority, to revoke, to lock up and to release.
    Secure,
}

/// What a method asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// A role that has this.
    pub permission: Permission,
    /// By a binding on every node: the method is about no node, or about all of them.
    pub fleet: bool,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Known,
        Self::Read,
        Self::EditNodes,
        Self::Command,
        Self::Deploy,
        Self::Enroll,
        Self::Audit,
        Self::Secure,
    ];
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 6] =
        [Self::Viewer, Self::Operator, Self::Deployer, Self::Enroller, Self::SecurityAdmin, Self::Admin];

    /// Whether the role has the permission.
    #[must_use]
    pub const fn allows(self, permission: Permission) -> bool {
        match permission {
            Permission::Known | Permission::Read => true,
            Permission::EditNodes | Permission::Command => matches!(self, Self::Operator | Self::Admin),
            Permission::Deploy => matches!(self, Self::Deployer | Self::Admin),
            Permission::Enroll => matches!(self, Self::Enroller | Self::Admin),
            Permission::Audit | Permission::Secure => matches!(self, Self::SecurityAdmin | Self::Admin),
        }
    }

    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Deployer => "deployer",
            Self::Enroller => "enroller",
            Self::SecurityAdmin => "security-admin",
            Self::Admin => "admin",
        }
    }

    /// The role written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// A person or program with a certificate for the operators' API. What it may do
/// is in bindings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `operator/alice` or `service/ci`.
    pub principal: String,
    /// Serial of its newest certificate.
    pub serial: String,
    /// Slot of the authority that issued it.
    pub issuer: u32,
    /// End of that certificate.
    pub not_after: muster_common::clock::UnixMillis,
    /// When it was made.
    pub created_at: muster_common::clock::UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written out, so that a slip in `allows` needs a second one here.
    #[test]
    fn each_role_may_what_its_row_says() {
        use Permission::{Audit, Command, Deploy, EditNodes, Enroll, Known, Read, Secure};
        assert_eq!(Permission::ALL, [Known, Read, EditNodes, Command, Deploy, Enroll, Audit, Secure]);
        for (role, may) in [
            (Role::Viewer, "KR------"),
            (Role::Operator, "KRNC----"),
            (Role::Deployer, "KR--D---"),
            (Role::Enroller, "KR---E--"),
            (Role::SecurityAdmin, "KR----AS"),
            (Role::Admin, "KRNCDEAS"),
        ] {
            for (permission, mark) in Permission::ALL.into_iter().zip(may.chars()) {
                assert_eq!(role.allows(permission), mark != '-', "{role:?} {permission:?}");
            }
        }
    }

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("Admin"), None);
        assert_eq!(Role::parse(""), None);
    }
}
