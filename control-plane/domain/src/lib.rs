//! Muster's values and decisions. No I/O, no clock, no randomness: time and
//! dice come in as arguments, so everything here can be tested by trying.

pub mod access;
pub mod artifact;
pub mod assignment;
pub mod audit;
pub mod authority;
pub mod blob;
pub mod bundle;
pub mod certificate;
pub mod command;
pub mod condition;
pub mod effective;
pub mod enrolled_with;
pub mod extension;
pub mod facts;
pub mod group;
pub mod history;
pub mod item;
pub mod join_request;
pub mod join_token;
pub mod labels;
pub mod lease;
pub mod liveness;
pub mod node;
pub mod operation;
pub mod page;
pub mod release;
pub mod requestable;
pub mod revocation;
pub mod rollout;
pub mod schedule;
pub mod secret;
pub mod settings;
pub mod sighting;
pub mod violation;
pub mod workload;
