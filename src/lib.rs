//! `backup`: complete, ordinary, checksummed tarballs of a folder, at the price of the change.
//!
//! The library is the whole program; `main.rs` is a doorway. The house has floors. A room may use rooms on
//! lower floors, never its own floor, never above; `tests/house.rs` checks it and reads this very drawing.
//!
//! ```text
//! 8  cli
//! 7  daemon
//! 6  wiring
//! 5  config  supervise
//! 4  engine  restore  verify  browse  prune  index
//! 3  catalog
//! 2  source  command  store  notify  page
//! 1  archive  retention  schedule  report  observe
//! 0  domain
//! ```
//!
//! What each room is for, and what it never does, stands in `ARCHITECTURE.md`.

pub mod archive;
pub mod browse;
pub mod catalog;
pub mod cli;
pub mod command;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod engine;
pub mod index;
pub mod notify;
pub mod observe;
pub mod page;
pub mod prune;
pub mod report;
pub mod restore;
pub mod retention;
pub mod schedule;
pub mod source;
pub mod store;
pub mod supervise;
pub mod verify;
pub mod wiring;
