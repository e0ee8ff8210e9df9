//! All that depends on the operating system. Linux today; what another system
//! needs is written here and nowhere else.

pub mod accounts;
pub mod archive;
pub mod bytes;
pub mod files;
pub mod hardware;
pub mod host;
pub mod journal;
pub mod load;
pub mod notify;
pub mod own_service;
pub mod packages;
pub mod peer;
pub mod place;
pub mod power;
pub mod process;
pub mod runs;
pub mod service_proxy;
pub mod services;
pub mod slots;
pub mod strays;
pub mod supervise;
pub mod systemd;
pub mod tool;
pub mod units;
pub mod usage;
