//! File, environment and flags → settings that are right.
//!
//! One table of keys (`keys`) is the truth: the file, the environment, the schema, the documentation and `config
//! show` all come from it. Everything that is wrong is found at once and told with file, line and caret, what is
//! allowed, and the nearest thing that would be right.
//!
//! Precedence, the only one: flag, then environment, then file, then default.
//!
//! This room reads no file and no environment: it is handed their content. What it gives out needs no more checks.

mod commands;
mod file;
mod keys;
mod layers;
mod mask;
mod notifying;
mod problem;
mod schema;
mod settings;
mod settle;
mod values;

pub use keys::{Key, Scope, environment_names};
pub use layers::{Inputs, Need, Overrides, makes_a_job};
pub use problem::ConfigErrors;
pub use schema::schema;
pub use settings::{
    ChannelSettings, JobSettings, ListenerSettings, NotifySettings, Origin, Row, Settings, StoreSettings,
    VerifySettings, WebSettings, show,
};
pub use settle::{from_flags, load};
pub use values::{duration_of, mount_of};
