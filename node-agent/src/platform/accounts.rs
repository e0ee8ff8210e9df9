//! Users and groups of this host, by name or number.

use std::io;

use nix::unistd::{Group, Uid, User};
use serde::{Deserialize, Serialize};

/// A user of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its first group.
    pub gid: u32,
    /// Its home folder.
    pub home: String,
}

/// A user of this host, by name or number. `None`: there is none.
///
/// # Errors
/// If this host cannot say so.
pub fn account(name: &str) -> io::Result<Option<Account>> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    let account = |user: User| Account {
        name: user.name,
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        home: user.dir.to_string_lossy().into_owned(),
    };
    Ok(found.map_err(io::Error::from)?.map(account))
}

/// The number of a user. A number is taken as it is, whether it has a name or not.
///
/// # Errors
/// If this host has no user of that name, or cannot say so.
pub fn user(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let found = User::from_name(name).map_err(io::Error::from)?;
    found.map(|user| user.uid.as_raw()).ok_or_else(|| missing("user", name))
}

/// The number of a group, likewise.
///
/// # Errors
/// If this host has no group of that name, or cannot say so.
pub fn group(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let found = Group::from_name(name).map_err(io::Error::from)?;
    found.map(|group| group.gid.as_raw()).ok_or_else(|| missing("group", name))
}

/// The user and the group that this process works as.
#[must_use]
pub fn me() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

fn missing(kind: &str, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("this host has no {kind} {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_and_numbers_are_taken() {
        assert_eq!((user("root").unwrap(), group("root").unwrap()), (0, 0));
        assert_eq!((user("4711").unwrap(), group("0").unwrap()), (4711, 0));
        let message = user("no-such-user").unwrap_err().to_string();
        assert!(message.contains("no user \"no-such-user\""), "{message}");
        assert!(group("no-such-group").is_err());
    }

    #[test]
    fn an_account_is_known_by_name_and_number_or_not_at_all() {
        let root = account("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid, root.name.as_str()), (0, 0, "root"));
        assert_eq!(account("0").unwrap(), Some(root));
        assert_eq!(account("no-such-user").unwrap(), None);
        assert_eq!(account("4000000001").unwrap(), None);
    }
}
