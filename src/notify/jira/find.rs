//! Finding a ticket: by its key, or by its label where the key is not known.
//!
//! The danger is that the search tells what was true some time ago. So nothing is concluded from it but keys: every
//! ticket it names is looked at by its key, which is always true. JIRA also gives a moved ticket by its old key, and
//! then says the new one.

use serde_json::{Value, json};

use super::super::channel::Wait;
use super::super::http::Answer;
use super::issue::Issue;
use super::label::Label;
use super::settings::Flavour;
use super::wire::{Fault, Wire, not_json};

/// So many tickets a page. Small, because no answer longer than 64 KiB is read.
const PAGE_ISSUES: usize = 15;

/// So many pages; one trouble has few tickets.
const PAGES_MAX: usize = 3;

/// So many of those found are looked at.
const LOOKED_AT_MAX: usize = 5;

/// A ticket as it is now, and the text of the answer that told so, with its description.
pub(super) struct Found {
    pub issue: Issue,
    pub text: String,
}

/// The ticket with this key; none if there is none, or none that we may see.
pub(super) async fn by_key(wire: &Wire<'_>, key: &str) -> Result<Option<Found>, Fault> {
    let with_description = format!("{},description", Issue::FIELDS);
    let mut text = String::new();
    for fields in [with_description.as_str(), Issue::FIELDS] {
        let answer = match wire.get(&["issue", key], &[("fields", fields)]).await {
            Ok(answer) => answer,
            // in JIRA's own words; a proxy's 404 says nothing about the ticket
            Err(fault) if fault.status == Some(404) && !fault.complaint.others.is_empty() => return Ok(None),
            Err(fault) => return Err(fault),
        };
        text.push_str(&answer.body);
        if answer.is_cut {
            // somebody has written a book into it
            continue;
        }
        return match json_of(&answer).and_then(|value| Issue::read(&value)) {
            Some(issue) => Ok(Some(Found { issue, text })),
            None => Err(not_json(&answer)),
        };
    }
    Err(Fault::later(format!("{key} is too long to be read"), Wait::Growing))
}

/// The ticket with this label: one that is open, else the newest.
pub(super) async fn by_label(wire: &Wire<'_>, label: &Label) -> Result<Option<Found>, Fault> {
    let mut candidates = named(wire, label).await?;
    // stable: the newest stay first
    candidates.sort_by_key(|issue| !issue.is_open());
    let mut closed = None;
    for candidate in candidates.iter().take(LOOKED_AT_MAX) {
        let Some(found) = by_key(wire, &candidate.key).await? else { continue };
        // the screens may have no labels; then it stands in the description, where the hyphen may be escaped
        if !found.issue.labels.iter().any(|own| own == label.as_str()) && !found.text.contains(label.digits()) {
            continue;
        }
        if found.issue.is_open() {
            return Ok(Some(found));
        }
        closed = closed.or(Some(found));
    }
    Ok(closed)
}

/// All that the search names, newest first.
async fn named(wire: &Wire<'_>, label: &Label) -> Result<Vec<Issue>, Fault> {
    // not held to a project: a ticket that was moved is still the ticket
    let jql = format!("labels = \"{label}\" OR description ~ \"\\\"{label}\\\"\" ORDER BY created DESC");
    match pages(wire, wire.settings.flavour, &jql).await {
        // the other kind of JIRA than was thought; the same sign-in may do
        Err(fault) if fault.status == Some(410) => {
            let other = match wire.settings.flavour {
                Flavour::Cloud => Flavour::DataCenter,
                Flavour::DataCenter => Flavour::Cloud,
            };
            pages(wire, other, &jql).await.map_err(|_| fault)
        }
        result => result,
    }
}

async fn pages(wire: &Wire<'_>, flavour: Flavour, jql: &str) -> Result<Vec<Issue>, Fault> {
    let fields: Vec<&str> = Issue::FIELDS.split(',').collect();
    let (mut found, mut token, mut seen): (Vec<Issue>, Option<String>, usize) = (Vec::new(), None, 0);
    for _ in 0..PAGES_MAX {
        let mut body = json!({"jql": jql, "fields": fields, "maxResults": PAGE_ISSUES});
        let parts: &[&str] = match flavour {
            Flavour::Cloud => {
                if let Some(token) = &token {
                    body["nextPageToken"] = json!(token);
                }
                &["search", "jql"]
            }
            Flavour::DataCenter => {
                body["startAt"] = json!(seen);
                &["search"]
            }
        };
        let answer = wire.post_to(flavour.version(), parts, &body).await?;
        let value = json_of(&answer).ok_or_else(|| not_json(&answer))?;
        let issues = value["issues"].as_array().ok_or_else(|| not_json(&answer))?;
        seen += issues.len();
        found.extend(issues.iter().filter_map(Issue::read));
        token = value["nextPageToken"].as_str().map(str::to_owned);
        let more = match flavour {
            Flavour::Cloud => token.is_some(),
            Flavour::DataCenter => value["total"].as_u64().is_some_and(|total| total > seen as u64),
        };
        if !more || issues.is_empty() || found.iter().any(Issue::is_open) {
            break;
        }
    }
    Ok(found)
}

/// Whether the newest comments of `key` hold this text.
pub(super) async fn is_in_comments(wire: &Wire<'_>, key: &str, text: &str) -> Result<bool, Fault> {
    let newest = [("orderBy", "-created"), ("maxResults", "5")];
    let answer = wire.get(&["issue", key, "comment"], &newest).await?;
    if answer.body.contains(text) {
        return Ok(true);
    }
    // only JIRA's own list says that it is not there
    let is_list = json_of(&answer).is_some_and(|value| value["comments"].is_array());
    if is_list || answer.is_cut { Ok(false) } else { Err(not_json(&answer)) }
}

pub(super) fn json_of(answer: &Answer) -> Option<Value> {
    if answer.is_cut { None } else { serde_json::from_str(&answer.body).ok() }
}
