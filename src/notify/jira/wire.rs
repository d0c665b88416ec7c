//! Requests to JIRA, and what an answer that is no success means for the message.
//!
//! The danger is in the lost answer: a request that was carried out and looks as if it was not. So every fault says
//! whether the request may have been carried out. All 5xx may: a gateway that gave up waiting says 504 while the JIRA
//! behind it goes on.
//!
//! * 401 and 403 are for later, not for ever: tokens run out and are renewed, and the ticket is wanted then. But later
//!   by an hour, for JIRA locks out whoever tries too often.
//! * Nothing that the address or the headers hold stands in a fault's words.

use jiff::Timestamp;
use serde_json::Value;

use super::super::channel::{Delivery, Wait};
use super::super::http::{Answer, Http, Method, Request};
use super::issue::Complaint;
use super::settings::{Settings, SignIn};
use crate::domain::Secret;

/// Why a request is no success.
#[derive(Debug)]
pub(super) struct Fault {
    /// What that means for the message.
    pub delivery: Delivery,
    /// Whether JIRA may have done what was asked all the same.
    pub is_unsure: bool,
    /// The status, if there was an answer.
    pub status: Option<u16>,
    /// What it complains of.
    pub complaint: Complaint,
}

impl Fault {
    /// Nothing was done, and the message waits.
    pub(super) fn later(why: String, wait: Wait) -> Self {
        let complaint = Complaint::default();
        Self { delivery: Delivery::Later { why, wait }, is_unsure: false, status: None, complaint }
    }

    /// The words.
    pub(super) fn why(&self) -> &str {
        match &self.delivery {
            Delivery::Delivered { answer } => answer,
            Delivery::Later { why, .. } | Delivery::Never { why } => why,
        }
    }
}

/// One JIRA, at one time.
pub(super) struct Wire<'a> {
    pub http: &'a Http,
    pub settings: &'a Settings,
    pub now: Timestamp,
}

impl Wire<'_> {
    pub(super) async fn get(&self, parts: &[&str], query: &[(&str, &str)]) -> Result<Answer, Fault> {
        self.ask(Method::Get, self.settings.flavour.version(), parts, query, None).await
    }

    pub(super) async fn post(&self, parts: &[&str], body: &Value) -> Result<Answer, Fault> {
        self.post_to(self.settings.flavour.version(), parts, body).await
    }

    /// To `/rest/api/{version}`.
    pub(super) async fn post_to(&self, version: &str, parts: &[&str], body: &Value) -> Result<Answer, Fault> {
        self.ask(Method::Post, version, parts, &[], Some(body)).await
    }

    async fn ask(
        &self,
        method: Method,
        version: &str,
        parts: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, Fault> {
        let mut address = self.settings.url.join(&["rest", "api", version]).join(parts);
        if !query.is_empty() {
            address = address.query(query);
        }
        let mut request = Request::new(method, address)
            .header("Accept", Secret::new("application/json"))
            .header("Authorization", authorization(&self.settings.sign_in));
        if let Some(body) = body {
            request = request.json(body);
        }
        match self.http.send(request).await {
            Ok(answer) if answer.is_good() => Ok(answer),
            Ok(answer) => Err(refusal(&answer, self.now)),
            Err(error) => {
                Err(Fault { is_unsure: error.may_have_arrived(), ..Fault::later(error.to_string(), Wait::Growing) })
            }
        }
    }
}

/// A success whose text is not what was expected; a page to sign in with, for example.
pub(super) fn not_json(answer: &Answer) -> Fault {
    let why = format!("JIRA answered {} with something that is not its own: is the address right?", answer.status);
    Fault { is_unsure: true, status: Some(answer.status), ..Fault::later(why, Wait::Growing) }
}

/// What an answer that is no success means.
fn refusal(answer: &Answer, now: Timestamp) -> Fault {
    let status = answer.status;
    let complaint = Complaint::read(&answer.body);
    let said = complaint.words().map(|words| format!(" ({words})")).unwrap_or_default();
    let (why, wait) = match status {
        300..=399 => {
            (format!("JIRA leads elsewhere ({status}): the address in the configuration is not its root"), Wait::Mended)
        }
        401 => (format!("JIRA does not accept the user or the token (401){said}: renew the token"), Wait::Mended),
        403 => {
            (format!("JIRA does not allow it (403){said}: check what the user may do in this project"), Wait::Mended)
        }
        404 => (
            format!("JIRA does not know this (404){said}: check its address and whether the user may see it"),
            Wait::Growing,
        ),
        410 => (
            format!("JIRA has no such request any more (410){said}: is it Cloud where Data Center is configured?"),
            Wait::Mended,
        ),
        408 | 425 | 429 | 500.. => (format!("JIRA answered {status}{said}"), answer.wait(now)),
        _ => {
            let said = complaint.words().unwrap_or_else(|| "without saying why".to_owned());
            let delivery = Delivery::Never { why: format!("JIRA refused it ({status}): {said}") };
            return Fault { delivery, is_unsure: false, status: Some(status), complaint };
        }
    };
    let is_unsure = matches!(status, 408 | 500..);
    Fault { delivery: Delivery::Later { why, wait }, is_unsure, status: Some(status), complaint }
}

fn authorization(sign_in: &SignIn) -> Secret {
    Secret::new(&match sign_in {
        SignIn::Basic { user, token } => format!("Basic {}", base64(format!("{user}:{}", token.reveal()).as_bytes())),
        SignIn::Bearer(token) => format!("Bearer {}", token.reveal()),
    })
}

/// RFC 4648, section 4. A few lines, and not a crate, for the one header that wants it.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let all = chunk.iter().enumerate().fold(0u32, |all, (at, byte)| all | u32::from(*byte) << (16 - 8 * at));
        for place in 0..4 {
            let letter = LETTERS[(all >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{base64, refusal};
    use crate::notify::http::Answer;
    use crate::notify::{Delivery, Wait};

    fn answer(status: u16, retry_after: Option<&str>, body: &str) -> Answer {
        Answer { status, retry_after: retry_after.map(str::to_owned), body: body.to_owned(), is_cut: false }
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text.as_bytes()), coded);
        }
    }

    #[test]
    fn only_what_jira_has_understood_and_will_not_have_is_for_ever() {
        let now = "2026-11-21T02:00:00Z".parse().expect("a time");
        for status in [301, 302, 401, 403, 404, 408, 410, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(refusal(&answer(status, None, ""), now).delivery, Delivery::Later { .. }), "{status}");
        }
        let fault = refusal(&answer(400, None, r#"{"errors":{"customfield_1":"is required"}}"#), now);
        assert_eq!(fault.delivery, Delivery::Never { why: "JIRA refused it (400): customfield_1: is required".into() });
    }

    #[test]
    fn a_limit_says_for_how_long() {
        let now = "2026-11-21T02:00:00Z".parse().expect("a time");
        for text in ["90", "Sat, 21 Nov 2026 02:01:30 GMT"] {
            let Delivery::Later { wait, .. } = refusal(&answer(429, Some(text), ""), now).delivery else {
                panic!("it is for later");
            };
            assert_eq!(wait, Wait::Asked(Duration::from_secs(90)), "{text}");
        }
    }

    #[test]
    fn what_a_gateway_says_leaves_open_whether_it_was_done() {
        let now = "2026-11-21T02:00:00Z".parse().expect("a time");
        for (status, is_unsure) in [(400, false), (429, false), (401, false), (302, false), (500, true), (504, true)] {
            assert_eq!(refusal(&answer(status, None, ""), now).is_unsure, is_unsure, "{status}");
        }
    }
}
