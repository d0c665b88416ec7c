//! A receiver on loopback that checks what Slack and JIRA check: for tests of what is sent to them, and of what happens
//! when they misbehave.
//!
//! It speaks HTTP by hand (`door`), because a server library takes care that the client always gets an answer, and here
//! it must not: a connection that ends after a ticket was made is what these tests are about. Its clock is set by the
//! test. What a real server would refuse is refused, and noted besides in `problems`: a test that ends with a problem
//! has failed, even if the client got over it.

#![allow(dead_code, clippy::allow_attributes, reason = "each test uses its own part of the receiver")]

pub mod adf;
pub mod door;
pub mod jira;
pub mod slack;
pub mod wiki;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Notify;

/// What goes wrong with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status, and nothing is done.
    Refuse(u16),
    /// 429 with this header, and nothing is done.
    Limit(&'static str, String),
    /// To elsewhere, and nothing is done.
    Redirect,
    /// A page to sign in with, status 200, and nothing is done.
    Page,
    /// The connection ends before anything is done.
    Reset,
    /// It is done, and the connection ends.
    DoneThenReset,
    /// It is done, and there is this status.
    DoneThen(u16),
    /// It is done, and there is no answer, ever.
    DoneThenSilent,
    /// It is done, and then the client dies ([`Receiver::client_dies`]).
    DoneThenClientDies,
}

/// One request, as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: String,
    pub authorization: String,
    pub content_type: String,
    pub body: String,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Answered {
    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, headers: vec![("Content-Type", "application/json".into())], body: body.to_string() }
    }

    pub fn text(status: u16, body: &str) -> Self {
        Self { status, headers: vec![("Content-Type", "text/html".into())], body: body.to_owned() }
    }

    pub fn empty(status: u16) -> Self {
        Self::text(status, "")
    }
}

/// All that is behind the door.
pub struct World {
    pub now: Timestamp,
    pub jira: jira::Site,
    pub slack: slack::Hook,
    /// For the next requests, one each; none lets one pass.
    pub faults: VecDeque<Option<Fault>>,
    /// All requests that arrived.
    pub asked: Vec<Asked>,
}

impl World {
    fn answer(&mut self, asked: &Asked) -> Answered {
        if asked.path.starts_with("/services/") { self.slack.answer(asked) } else { self.jira.answer(asked, self.now) }
    }
}

/// The receiver. Ends with the runtime of its test.
pub struct Receiver {
    /// `http://127.0.0.1:…`, or https.
    pub url: String,
    world: Arc<Mutex<World>>,
    dies: Arc<Notify>,
}

impl Receiver {
    pub async fn start(jira: jira::Site, now: Timestamp) -> Self {
        Self::open(jira, now, None).await
    }

    /// Behind TLS, with this certificate.
    pub async fn start_tls(jira: jira::Site, now: Timestamp, tls: tokio_rustls::TlsAcceptor) -> Self {
        Self::open(jira, now, Some(tls)).await
    }

    async fn open(jira: jira::Site, now: Timestamp, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let world = World { now, jira, slack: slack::Hook::default(), faults: VecDeque::new(), asked: Vec::new() };
        let (world, dies) = (Arc::new(Mutex::new(world)), Arc::new(Notify::new()));
        let address = door::open(Arc::clone(&world), Arc::clone(&dies), tls.clone()).await;
        let scheme = if tls.is_some() { "https" } else { "http" };
        Self { url: format!("{scheme}://{address}"), world, dies }
    }

    /// Looks at the world, or changes it. No request is answered meanwhile.
    pub fn with<R>(&self, look: impl FnOnce(&mut World) -> R) -> R {
        look(&mut self.world.lock().expect("no request has panicked"))
    }

    /// Returns when the client is to die.
    pub async fn client_dies(&self) {
        self.dies.notified().await;
    }
}
