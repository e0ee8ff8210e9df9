//! What both processes of Muster share. A file enters with two users, not one.

pub mod backoff;
pub mod build_info;
pub mod clock;
pub mod crash;
pub mod cut;
pub mod digest;
pub mod drain;
pub mod error_chain;
pub mod generation;
pub mod ids;
pub mod issuer;
pub mod join;
pub mod proof;
pub mod reason;
pub mod sealing;
pub mod settings;
pub mod tasks;
pub mod telemetry;
pub mod text_diff;
pub mod tls;
pub mod trace;
pub mod tuf;
pub mod unit_name;
