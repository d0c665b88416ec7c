//! Starting other programs: dumps whose output becomes a file of a snapshot, and hooks.
//!
//! The danger is a program that outlives whoever wanted it: a dump that holds its transaction open for days, a pipeline of
//! which one half hangs. So each runs in a process group of its own under a guardian, which is this program once more: it
//! ends the group (SIGTERM, then SIGKILL) when it is asked to, when nobody is at the other end of its line any more, and
//! when that end has been silent for too long. No shell is started unless the argument vector names one.
//!
//! The other danger is the secret: it reaches the program in its environment and nothing else, and what the program says on
//! its standard error is repeated without it, and escaped.
//!
//! This room does not know what a snapshot is, and decides nothing: what a failure means for the run is its caller's.

mod error;
mod guardian;
mod hooks;
mod program;
mod run;
mod said;

pub use error::{CommandError, Ending};
pub use guardian::{GUARD_VERB, guard};
pub use hooks::{HOOK_DEADLINE, HOOK_VARIABLES, HookRunner, Hooks, Step};
pub use program::find_program;
pub use run::{Heard, Launch, Output, Spec};
