//! The one conversation with the control plane: opened by the agent, opened
//! again with backoff when it breaks, resumed by saying what is on the host.
//!
//! `worker` drives it, `machine` decides what a message means, `outbox` decides
//! what is to be told. The host itself is behind the port [`Host`], the way to
//! the control plane behind [`transport::Transport`]: many sessions can run in
//! one process, which is how big fleets are tried out.

mod fit;
pub mod frames;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod machine;
mod outbox;
mod ports;
pub mod transport;
pub mod wire;
mod worker;

pub use ports::{Changes, Host, Order};
pub use worker::{Options, Status, Stop, Why, Worker};
