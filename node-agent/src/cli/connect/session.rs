//! The first session, of an agent that runs already.

use std::time::Duration;

use crate::{
    cli::{Context, exit::Failure},
    state_dir::CONNECTED,
};

/// Between looks.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until the running agent has a session. It finds the identity by itself.
pub(super) async fn first(context: &Context) -> Result<((), String), Failure> {
    while context.state.status().is_none_or(|status| status.session != CONNECTED) {
        tokio::time::sleep(LOOK).await;
    }
    Ok(((), "the agent has its first session".to_owned()))
}
