//! Hosts that are barred in the middle of it all: one for each control plane, which speaks with no
//! other one. The first is barred by its own, each other one by the one before.

use std::sync::Arc;

use muster_proto::admin::v1 as pb;
use muster_tests::{history::What, netns::Namespace};

use super::{
    afar::Afar,
    client::Client,
    lab::{Lab, until_online},
    seats::Seat,
};

/// A host whose node is barred.
pub(crate) struct Outcast {
    pub(crate) host: Afar,
    pub(crate) node: String,
}

impl Outcast {
    /// The one that speaks with this control plane.
    pub(crate) async fn start(seat: &Seat, crowd: &Namespace, number: usize) -> Self {
        let join = seat.plane.join(1, &[("outcast", &number.to_string())]).await;
        let host = Afar::start_at(crowd, seat.agents().into(), join).await;
        let operator = seat.plane.operator().await;
        let node = until_online(&operator, &format!("outcast={number}"), 1).await.remove(0);
        Self { host, node }
    }
}

impl Lab {
    /// Lets the outcasts in no more, once.
    pub(crate) async fn bar_the_outcasts(&self) {
        let bar = |number: usize| async move {
            let node = self.outcasts[number].node.clone();
            let tls = Arc::new(self.plane().operator_tls());
            let by = number.saturating_sub(1);
            let mut client = Client::of_one(by, self.seats[by].operators(), tls);
            let request = pb::RevokeRequest { subject: format!("node/{node}"), reason: "lost".to_owned() };
            client
                .insist(|operator| {
                    let request = request.clone();
                    async move { operator.identity.clone().revoke(request).await }
                })
                .await;
            self.recorder.saw(What::Barred { plane: by, node });
        };
        let all = || async {
            futures_util::future::join_all((0..self.outcasts.len()).map(bar)).await;
        };
        self.barred.get_or_init(all).await;
    }
}
