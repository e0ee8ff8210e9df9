//! Has the facts of the host read again.

use super::{Options, Voice};
use crate::state::{CommandState, Report};

pub(super) fn run(options: &Options, voice: &Voice) -> Report {
    options.refresh_facts.notify_one();
    voice.report(CommandState::Succeeded)
}
