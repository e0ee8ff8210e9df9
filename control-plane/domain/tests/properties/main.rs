//! What must hold whatever happens, tried with many random stories.

mod alert;
mod command;
mod liveness;
mod pace;
mod rollout;
mod roster;
mod selector;
mod token;
