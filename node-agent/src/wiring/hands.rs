//! Which half of the agent does what needs the rights of the host's administrator.

use std::path::Path;

use crate::{
    platform::runs,
    verbs::{Hands, Runs},
};

/// Who makes units of systemd for scripts. `None`: nobody here can. `folder`: where they
/// have their places if this process makes them.
pub(super) fn runs(hands: &Hands, program: Option<&Path>, folder: &Path) -> Option<Runs> {
    match hands {
        Hands::Here => runs::Runs::of_this_host(program?, folder).map(Runs::Here),
        Hands::Executor(client) => Some(Runs::Executor(client.clone())),
    }
}
