//! The alerts of the fleet as pages show them: one reads them, as they change, for all who look.

use std::time::Duration;

use muster_common::error_chain::Chain;
use muster_domain::{
    access::Scope,
    alert::{Alert, State},
};
use tokio::sync::watch;

use crate::app::{App, alerts::Board};

/// Between two looks: what changes in between is seen together.
const LOOK: Duration = Duration::from_secs(1);

/// The newest of them.
#[derive(Debug)]
pub(super) struct Alerts(watch::Sender<Board>);

impl Default for Alerts {
    fn default() -> Self {
        Self(watch::Sender::new(Board::default()))
    }
}

impl Alerts {
    /// How it stands, as far as was looked.
    pub(super) fn now(&self) -> watch::Ref<'_, Board> {
        self.0.borrow()
    }

    /// The same, and news of it.
    pub(super) fn news(&self) -> watch::Receiver<Board> {
        self.0.subscribe()
    }

    /// How many are open, of those that a caller is shown.
    pub(super) fn open(&self, app: &App, scope: &Scope) -> usize {
        self.now()
            .open
            .iter()
            .filter(|alert| alert.state() == State::Open && app.shows_alert(scope, alert))
            .count()
    }

    /// Looks again whenever anything was written, for ever.
    pub(super) async fn follow(&self, app: &App) {
        let mut applied = app.feed.applied();
        loop {
            let known = self.now().mark;
            let is_read = match app.alert_board(known).await {
                Ok(news) => {
                    if let Some(board) = news {
                        self.0.send_replace(board);
                    }
                    true
                }
                Err(error) => {
                    let why = Chain(&error);
                    tracing::debug!(error = %why, "pages show alerts as they were: {why}");
                    false
                }
            };
            tokio::time::sleep(LOOK).await;
            if is_read && applied.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Those that a caller is shown, of both kinds.
pub(super) fn shown<'a>(app: &App, scope: &Scope, board: &'a Board) -> Vec<&'a Alert> {
    board.open.iter().chain(&board.ended).filter(|alert| app.shows_alert(scope, alert)).collect()
}
