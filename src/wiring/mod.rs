//! From settings to live things: stores, clock, order, child, state.
//!
//! The one room that knows the machine: its environment, its name, its random numbers, where state lies. It decides
//! nothing about a run; it connects what others made.

mod child;
mod environment;
mod notifiers;
mod order;
mod patience;
mod process;
mod state;

pub use child::{CHILD_VERB, run_child};
pub use environment::{
    Environment, LoadError, Loaded, allow_many_open_files, base_environment, claim, machine_name, own_path, pid,
    random_run, random_store, tool,
};
pub use notifiers::{Notifiers, Sender, desk};
pub use order::{JobPlan, hooks_of, open_store, order_for, store_order, watch_signals, watch_signals_twice};
pub use patience::{News, open_watched, watch_calls};
pub use process::{Call, Init, hear_calls, is_first_process, leave_no_core};
pub use state::{DaemonLife, State, StateError, StateLock, Unlocked};
