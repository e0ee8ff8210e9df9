//! The words that several rooms of the agent share. Values only: no I/O.

mod commands;
mod facts;
mod items;
mod keeper;
mod line;
mod pause;
mod pulse;
mod server_time;
mod settings;
mod traces;

pub use commands::{Chunk, CommandState, Report, Ticket};
pub use facts::{Address, Condition, Disk, Facts, Filling, Load, Measured};
pub use items::{Cause, Drift, Health, ItemError, ItemState, ItemVersion, Offer, Outcome, Progress, Removal};
pub use keeper::{Keeper, Kept, Wish};
pub use line::{Ask, Line};
pub use pause::{Pause, Pauses};
pub use pulse::Pulse;
pub use server_time::ServerTime;
pub use settings::{EffectiveSetting, Origin};
pub use traces::{ItemStory, Span, Stories, Story, place_of_run, told_by_times};
