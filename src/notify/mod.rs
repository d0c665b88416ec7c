//! Telling people: what is told (rules), what waits (outbox), and the channels it goes through.
//!
//! The danger here is that a notifier becomes part of what it reports: it never changes an outcome, never holds one up
//! beyond its deadline, and a message it cannot deliver is kept and tried again. Everything in a message is hostile text.

mod channel;
mod desk;
mod email;
pub mod http;
pub mod jira;
mod outbox;
mod ping;
mod rules;
mod slack;
mod template;
mod webhook;
mod words;

pub use channel::{Delivery, Wait};
pub use desk::{Beginnings, Channel, Desk, Listener, Pass};
pub use email::{Email, Protection};
pub use outbox::{Letter, LetterId, Lost, Outbox, OutboxLock, wait_after};
pub use ping::Ping;
pub use rules::{Memory, REPEAT_AFTER, Rules, Ruling};
pub use slack::Slack;
pub use template::{Filled, Templates, check as check_template};
pub use webhook::Webhook;
pub use words::{Ticket, Words};
