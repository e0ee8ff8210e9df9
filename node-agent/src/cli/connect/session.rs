//! The first session, of an agent that runs already.

use std::time::Duration;

use muster_common::ids::NodeId;

use tokio::time::timeout;

use crate::{
    cli::exit::{self, Failure},
    state_dir::{CONNECTED, StateDir, Status},
};

/// Between looks.
const LOOK: Duration = Duration::from_millis(100);

/// Less than what is left of the time: the agent knows better why there is no session.
const BEFORE_END: Duration = Duration::from_millis(50);

/// Waits as long until the running agent has a session as this node. It finds the identity
/// by itself, which stays whatever comes of this.
pub(super) async fn first(
    state: &StateDir,
    node: NodeId,
    patience: Duration,
) -> Result<((), String), Failure> {
    let is_of_node = |status: &Status| status.node == Some(node);
    let open = async {
        while !state.status_now().is_some_and(|status| is_of_node(&status) && status.session == CONNECTED) {
            tokio::time::sleep(LOOK).await;
        }
    };
    if timeout(patience.saturating_sub(BEFORE_END), open).await.is_ok() {
        return Ok(((), "the agent has its first session".to_owned()));
    }
    let told = state.status_now().filter(is_of_node).map(|status| status.error);
    let why = told.filter(|error| !error.is_empty()).unwrap_or_else(|| "it has not said why".to_owned());
    let cause = format!(
        "this host is node {node} from now on, and its agent has no session yet, but goes on trying: {why}"
    );
    Err(Failure::told(exit::UNREACHABLE, cause))
}

#[cfg(test)]
mod tests {
    use muster_common::clock::UnixMillis;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_session_of_this_node_counts_and_its_error_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let _runs = state.lock().unwrap().unwrap();
        let node = NodeId::generate();
        let tell = |node, session: &str, error: &str| {
            let (pid, session, error) = (std::process::id(), session.to_owned(), error.to_owned());
            state.set_status(
                Status { pid, node: Some(node), session, error, ..Status::default() },
                UnixMillis(1),
            );
        };
        let wait = || first(&state, node, Duration::from_secs(1));
        tell(NodeId::generate(), CONNECTED, "");
        assert!(format!("{:?}", wait().await.unwrap_err()).contains("has not said why"));
        tell(node, "waiting", "the port is closed");
        let failure = format!("{:?}", wait().await.unwrap_err());
        assert!(failure.contains("the port is closed") && failure.contains("UNREACHABLE"), "{failure}");
        tell(node, CONNECTED, "");
        assert!(wait().await.is_ok());
    }
}
