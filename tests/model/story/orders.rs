//! What operators ask for in a story.

use std::time::Duration;

use muster_common::ids::OperationId;
use muster_control_plane::app::operations::Wish;
use muster_domain::operation::Plan;
use muster_proto::types::v1 as types;
use prost::Message as _;
use rand::RngExt as _;

use super::Story;
use crate::deeds::Deed;

impl Story {
    pub(super) fn order(&mut self, of: Option<usize>) {
        let deed = Deed {
            pieces: self.dice.random_range(0..4),
            takes: Duration::from_secs([0, 0, 20, 3000][self.dice.random_range(0..4)]),
            code: self.dice.random_range(0..2),
        };
        let script = types::RunScript { script: deed.text(), ..Default::default() };
        let later = [0, 0, 20, 100][self.dice.random_range(0..4)];
        let wish = Wish {
            selector: of.map_or_else(|| "*".to_owned(), |host| format!("host={host}")),
            kind: "run-script",
            args: script.encode_to_vec().into(),
            request_id: format!("request-{}", self.requests.len()),
            not_before: (later > 0).then(|| self.plane.clock.now() + Duration::from_secs(later)),
            deliver_within: [None, Some(Duration::from_secs(300)), Some(Duration::from_secs(7200))]
                [self.dice.random_range(0..3)],
            run_timeout: [None, Some(Duration::from_secs(60))][self.dice.random_range(0..2)],
            lane: String::new(),
            output_limit: None,
            schedule: String::new(),
            plan: Plan::default(),
            validate_only: false,
        };
        if let Some(id) = self.plane.order(wish.clone()) {
            self.requests.push(wish);
            self.began(id, deed);
        }
    }

    fn began(&mut self, id: OperationId, deed: Deed) {
        if !self.truth.operations.contains(&id) {
            self.truth.operations.push(id);
        }
        self.truth.deeds.insert(id, deed);
    }

    pub(super) fn repeat(&mut self) {
        let Some(wish) = self.requests.last().cloned() else { return };
        let deed = Deed::parse(&wish.args);
        if let Some(id) = self.plane.order(wish) {
            self.began(id, deed);
        }
    }

    pub(super) fn cancel(&mut self) {
        let count = self.truth.operations.len();
        if count > 0 {
            let id = self.truth.operations[self.dice.random_range(0..count)];
            self.plane.cancel(id);
        }
    }
}
