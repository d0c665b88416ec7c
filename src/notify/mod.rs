//! Telling people: what is told (rules), what waits (outbox), and the channels it goes through.
//!
//! The danger here is that a notifier becomes part of what it reports: it never changes an outcome, never holds one up
//! beyond its deadline, and a message it cannot deliver is kept and tried again. Everything in a message is hostile text.

mod channel;
pub mod http;
pub mod jira;

pub use channel::Delivery;
