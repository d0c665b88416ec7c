//! Slack: one message to an incoming webhook, within the limits of Block Kit.
//!
//! Two dangers. The address is the secret, so no error shows more of it than its host. And names are hostile: what is
//! not our own words goes into `plain_text` objects with emoji off, in which Slack reads no markup, and `& < >` are
//! escaped in them all the same; `mrkdwn` is used for the links, whose addresses come from the configuration and the
//! build server.
//!
//! Delivered means status 200 **and** the body `ok`: Slack, and what stands before it, also says 200 to other things.
//! A webhook's message cannot be edited, and there is no idempotency key: an attempt whose answer is lost is repeated,
//! and people may read it twice. Slack takes about one message a second ([`PACE`]).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::channel::Delivery;
use super::http::{Address, Answer, Http, HttpError, Method, Request};
use super::template::Templates;
use super::words::{Ticket, Words, clip};
use crate::report::{Kind, Message};

/// Time between two messages to one webhook.
pub const PACE: Duration = Duration::from_secs(1);

/// Slack refuses blocks of about 13 200 characters together (`msg_blocks_too_long`); measured in bytes of JSON.
const BLOCKS_BYTES_MAX: usize = 12_500;
/// Of a section's text.
const SECTION_CHARS_MAX: usize = 3000;
/// Of a header.
const HEADER_CHARS_MAX: usize = 150;
/// Of the text that stands in for the blocks in a notification.
const TEXT_CHARS_MAX: usize = 1000;
/// Of one section.
const FIELDS_MAX: usize = 10;

/// Errors of one message, as Slack spells them: no repetition cures them.
const PERMANENT: [&str; 5] =
    ["invalid_payload", "invalid_blocks", "invalid_attachments", "no_text", "msg_blocks_too_long"];

/// Errors of the webhook or its channel: messages wait until somebody has mended them.
const TO_MEND: [&str; 9] = [
    "invalid_token",
    "no_service",
    "no_team",
    "no_active_hooks",
    "team_disabled",
    "user_not_found",
    "action_prohibited",
    "channel_not_found",
    "channel_is_archived",
];

/// Errors that may be over in a while; with those above, all that is shown of an answer.
const PASSING: [&str; 5] = ["rollup_error", "rate_limited", "ratelimited", "internal_error", "fatal_error"];

/// A webhook.
#[derive(Clone, Debug)]
pub struct Slack {
    /// All of it is a secret.
    pub address: Address,
    /// Words of one's own.
    pub templates: Templates,
}

impl Slack {
    /// Tries once. `ticket` is named in the message if there is one.
    pub async fn deliver(&self, http: &Http, message: &Message, ticket: Option<&Ticket>, now: Timestamp) -> Delivery {
        let request = Request::new(Method::Post, self.address.clone()).json(&self.payload(message, ticket));
        read_answer(http.send(request).await, now)
    }

    /// What is posted.
    pub fn payload(&self, message: &Message, ticket: Option<&Ticket>) -> Value {
        let words = Words::of(message);
        let filled = self.templates.fill(message, &words);
        let title = clip(&filled.title, HEADER_CHARS_MAX - 2);
        let note = filled.note.as_deref();
        let mut section_chars = SECTION_CHARS_MAX;
        let blocks = loop {
            let blocks = blocks(&title, &words, filled.body.as_deref(), note, message, ticket, section_chars);
            if blocks.to_string().len() <= BLOCKS_BYTES_MAX || section_chars < 50 {
                break blocks;
            }
            section_chars /= 2;
        };
        let reason = words.trouble.as_deref().and_then(|trouble| trouble.lines().next()).unwrap_or_default();
        let text = if reason.is_empty() { filled.title } else { format!("{}: {reason}", filled.title) };
        // markup is off, so that a name in the fallback is no mention either
        json!({ "text": escaped(&text, TEXT_CHARS_MAX), "mrkdwn": false, "blocks": blocks })
    }
}

fn blocks(
    title: &str,
    words: &Words,
    body: Option<&str>,
    note: Option<&str>,
    message: &Message,
    ticket: Option<&Ticket>,
    section_chars: usize,
) -> Value {
    let plain = |text: &str, max: usize| json!({"type": "plain_text", "text": escaped(text, max), "emoji": false});
    let section = |text: &str| json!({"type": "section", "text": plain(text, section_chars)});
    let mut blocks =
        vec![json!({"type": "header", "text": plain(&format!("{} {title}", mark(message.kind)), HEADER_CHARS_MAX)})];
    match body {
        Some(body) if !body.trim().is_empty() => blocks.push(section(body)),
        Some(_) => {}
        None => {
            blocks.extend(words.trouble.as_deref().map(section));
            for facts in words.facts.chunks(FIELDS_MAX) {
                let field = |(name, value): &(&str, String)| plain(&format!("{name}\n{value}"), section_chars.min(300));
                blocks.push(json!({"type": "section", "fields": facts.iter().map(field).collect::<Vec<_>>()}));
            }
            if !words.doubts.is_empty() {
                blocks.push(section(&words.doubts.join("\n")));
            }
            if let Some(heading) = words.skips_heading() {
                blocks.push(section(&format!("{heading}\n{}", words.skips.join("\n"))));
            }
        }
    }
    let links: Vec<String> = [
        ticket.and_then(|ticket| link(&ticket.url, &ticket.key)),
        message.build_url.as_deref().and_then(|url| link(url, "CI build")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !links.is_empty() {
        let text = json!({"type": "mrkdwn", "text": links.join("  "), "verbatim": true});
        blocks.push(json!({"type": "section", "text": text}));
    }
    let mut context = vec![plain(&words.from, 300)];
    context.extend(note.map(|note| plain(note, 300)));
    blocks.push(json!({"type": "context", "elements": context}));
    Value::Array(blocks)
}

/// What people see first.
fn mark(kind: Kind) -> &'static str {
    match kind {
        Kind::Ok | Kind::Recovered => "\u{2705}",
        Kind::Partial | Kind::Missed | Kind::Overdue => "\u{26a0}\u{fe0f}",
        Kind::Failed | Kind::Damage | Kind::Trouble => "\u{274c}",
        Kind::Test => "\u{1f514}",
    }
}

/// A link that its own text cannot leave; none if the address is no address for people.
fn link(url: &str, text: &str) -> Option<String> {
    let address = Address::parse(url, true).ok()?;
    let url: String = address
        .reveal()
        .chars()
        .map(|c| match c {
            '|' => "%7C".to_owned(),
            '<' => "%3C".to_owned(),
            '>' => "%3E".to_owned(),
            '&' => "&amp;".to_owned(),
            c => c.to_string(),
        })
        .collect();
    let plain = |c: &char| c.is_alphanumeric() || matches!(c, '-' | ' ' | '.');
    (url.len() <= 1000).then(|| format!("<{url}|{}>", text.chars().filter(plain).take(100).collect::<String>()))
}

/// Slack's three escapes, in at most `max` characters of the result; no escape is cut in two.
fn escaped(text: &str, max: usize) -> String {
    let mut out = String::new();
    let mut chars = 0;
    for c in text.chars() {
        let one = match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            // Slack refuses none of these, and shows them as boxes
            c if c.is_control() && c != '\n' => " ".to_owned(),
            c => c.to_string(),
        };
        let len = one.chars().count();
        if chars + len > max.saturating_sub(1) {
            out.push('…');
            return out;
        }
        chars += len;
        out.push_str(&one);
    }
    // an empty text object is refused
    if out.trim().is_empty() { "-".to_owned() } else { out }
}

fn read_answer(answer: Result<Answer, HttpError>, now: Timestamp) -> Delivery {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Delivery::later(error.to_string()),
    };
    let said = answer.body.trim();
    let is_said = |word: &&&str| said == **word || said.starts_with(&format!("{word}:"));
    let (known, to_mend) = (PERMANENT.iter().find(is_said), TO_MEND.iter().find(is_said));
    // the address is the secret, and a page of a proxy may repeat it: only Slack's own words are shown
    let passing = PASSING.iter().find(|word| said == **word);
    let shown = known.or(to_mend).or(passing).copied().unwrap_or("no word that Slack is known to say");
    let why = format!("Slack answered {} ({shown})", answer.status);
    match (answer.status, known) {
        (200, _) if said == "ok" => Delivery::Delivered { answer: "ok".to_owned() },
        (_, Some(_)) => Delivery::Never { why },
        (300..=399, _) => {
            Delivery::once_mended(format!("{why}; redirects are not followed: correct the webhook's address"))
        }
        _ if to_mend.is_some() || matches!(answer.status, 401 | 403 | 404 | 407 | 410) => {
            Delivery::once_mended(format!("{why}: check the webhook, its channel and the proxy"))
        }
        _ if answer.is_for_later() || answer.is_good() => Delivery::Later { why, wait: answer.wait(now) },
        _ => Delivery::Never { why },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::channel::Wait;
    use super::super::words::tests::{HOSTILE, message};
    use super::{Address, Answer, Delivery, Duration, Kind, Slack, Templates, Ticket, Value, read_answer};

    fn slack() -> Slack {
        let address = Address::parse("https://hooks.slack.com/services/T0/B0/canary", false).expect("an address");
        Slack { address, templates: Templates::default() }
    }

    /// Every text object with its type, and whether it lies in a header.
    fn texts(value: &Value) -> Vec<(String, String)> {
        match value {
            Value::Object(map) => {
                let own = match (map.get("type").and_then(Value::as_str), map.get("text").and_then(Value::as_str)) {
                    (Some(kind), Some(text)) => vec![(kind.to_owned(), text.to_owned())],
                    _ => Vec::new(),
                };
                own.into_iter().chain(map.values().flat_map(texts)).collect()
            }
            Value::Array(items) => items.iter().flat_map(texts).collect(),
            _ => Vec::new(),
        }
    }

    /// What Slack documents, checked.
    fn within_limits(payload: &Value) {
        let blocks = payload["blocks"].as_array().expect("blocks");
        assert!((1..=50).contains(&blocks.len()));
        assert!(payload["blocks"].to_string().len() < 13_000, "{}", payload["blocks"].to_string().len());
        assert!(payload["text"].as_str().expect("a fallback").chars().count() <= 1000);
        for block in blocks {
            match block["type"].as_str().expect("a type") {
                "header" => assert!(block["text"]["text"].as_str().expect("text").chars().count() <= 150),
                "section" => {
                    let fields = block["fields"].as_array().map_or(0, Vec::len);
                    assert!(fields <= 10 && (fields > 0) != block["text"].is_object());
                }
                "context" => assert!((1..=10).contains(&block["elements"].as_array().expect("elements").len())),
                other => panic!("{other}"),
            }
        }
        for (kind, text) in texts(&payload["blocks"]) {
            assert!((1..=3000).contains(&text.chars().count()), "{kind}");
            let bare = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
            if kind == "plain_text" {
                assert!(!bare.contains(['&', '<', '>']), "{text}");
            }
        }
    }

    #[test]
    fn names_that_are_markup_arrive_as_text() {
        let payload = slack().payload(&message(Kind::Partial), None);
        within_limits(&payload);
        let texts = texts(&payload["blocks"]);
        let skips = &texts.iter().find(|(_, text)| text.starts_with("Skipped (")).expect("the skips").1;
        let read = skips.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        for name in HOSTILE.iter().filter(|name| !name.contains(['\n', '\u{202e}'])) {
            assert!(read.contains(name), "{name} in {read}");
        }
        for (kind, text) in &texts {
            assert!(kind == "plain_text" || text.starts_with("<https://ci.example/job/7|CI build>"), "{kind}: {text}");
        }
        assert_eq!(payload["mrkdwn"], Value::Bool(false));
    }

    #[test]
    fn a_message_says_what_people_ask_for() {
        let ticket = Ticket { key: "OPS-7".to_owned(), url: "https://acme.example/browse/OPS-7".to_owned() };
        let text = slack().payload(&message(Kind::Partial), Some(&ticket)).to_string();
        for part in ["upload", "web1", "partial", "12 files", "Took", "upload-20261121T020100Z", "Next run", "2 not ok"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.contains("<https://acme.example/browse/OPS-7|OPS-7>"), "{text}");
    }

    #[test]
    fn only_200_and_ok_is_delivered() {
        let now = "2026-11-21T02:00:00Z".parse().expect("a time");
        let read = |status, body: &str| {
            let retry_after = (status == 429).then(|| "7".to_owned());
            read_answer(Ok(Answer { status, retry_after, body: body.to_owned(), is_cut: false }), now)
        };
        assert_eq!(read(200, "ok"), Delivery::Delivered { answer: "ok".to_owned() });
        for (status, body) in [(400, "invalid_payload"), (400, "what is this"), (500, "invalid_blocks: bad")] {
            assert!(matches!(read(status, body), Delivery::Never { .. }), "{status} {body}");
        }
        for (status, body) in [
            (200, "no_service"),
            (403, "action_prohibited"),
            (404, "channel_not_found"),
            (410, "channel_is_archived"),
            (302, ""),
            (407, "<html>who are you"),
        ] {
            assert!(matches!(read(status, body), Delivery::Later { wait: Wait::Mended, .. }), "{status} {body}");
        }
        for (status, body) in [(200, "<html>sign in"), (500, "rollup_error"), (503, ""), (502, "ok")] {
            assert!(matches!(read(status, body), Delivery::Later { wait: Wait::Growing, .. }), "{status} {body}");
        }
        assert!(
            matches!(read(429, "rate_limited"), Delivery::Later { wait: Wait::Asked(asked), .. } if asked == Duration::from_secs(7))
        );
        let page = read(404, "no such page: /services/T0/B0/canary");
        assert!(!format!("{page:?}").contains("canary"), "{page:?}");
    }

    proptest! {
        #[test]
        fn any_message_is_within_the_limits(
            name in ".{0,4096}", why in "\\PC{0,300}", count in 0_usize..30, what in "(?s).{0,5000}", doubts in 0_usize..40,
        ) {
            let mut message = message(Kind::Failed);
            let outcome = message.outcome.as_mut().expect("a run");
            outcome.skips.truncate(1);
            outcome.skips[0].path = Some(name);
            outcome.skips[0].why = why;
            outcome.skips = vec![outcome.skips[0].clone(); count];
            outcome.doubts = vec![what.clone(); doubts];
            message.trouble.as_mut().expect("a trouble").what = what;
            within_limits(&slack().payload(&message, None));
            let templates = Templates { title: Some("{{ what }}".to_owned()), body: Some("{{ text }}".to_owned()) };
            within_limits(&Slack { templates, ..slack() }.payload(&message, None));
        }
    }
}
