//! Asks the control plane to call this node by another name.

use muster_common::settings::Service;
use muster_proto::agent::v1::{RenameRequest, node_service_client::NodeServiceClient};

use super::{
    Error, Identity,
    rpc::{connect, within},
};
use crate::dial::Dialer;

/// Gives this node another display name; answers it as the control plane has stored it.
///
/// # Errors
/// If the control plane cannot be reached, or says no.
pub async fn rename(identity: &Identity, display_name: &str, dialer: &Dialer) -> Result<String, Error> {
    let request = RenameRequest { display_name: display_name.to_owned() };
    let channel = connect(identity, Service::Session, dialer).await?;
    within(NodeServiceClient::new(channel).rename(request)).await.map(|renamed| renamed.display_name)
}
