//! All that depends on the operating system. Linux today; what another system
//! needs is written here and nowhere else.

pub mod accounts;
pub mod files;
pub mod hardware;
pub mod host;
pub mod load;
pub mod peer;
pub mod power;
pub mod process;
pub mod service_proxy;
pub mod supervise;
pub mod systemd;
pub mod units;
