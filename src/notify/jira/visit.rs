//! One visit to JIRA with one message: look, judge, do.
//!
//! The danger is the order. What may be done without our learning of it is written down first and asked for second; and
//! what was written down is crossed out only when an answer says so.

use serde_json::{Value, json};

use super::super::channel::{Delivery, Wait};
use super::find::{Found, by_key, by_label, is_in_comments, json_of};
use super::issue::{Transition, created_key, transitions, way_to};
use super::judge::{Deed, judge, unsettled};
use super::label::{self, Label};
use super::memory::{JiraMemory, Known, Pending};
use super::settings::Flavour;
use super::text::{self, Block};
use super::wire::{Fault, Wire, not_json};
use super::{adf, wiki};
use crate::report::{Kind, Message};

/// No longer description, in bytes. JIRA takes 32,767 characters, and we want to read it back in one answer.
const DESCRIPTION_BYTES_MAX: usize = 30_000;

/// No longer comment, in bytes, so that five of them can be read back in one answer.
const COMMENT_BYTES_MAX: usize = 9_000;

/// Fields that a ticket can do without, because a project's screens may not have them.
const OPTIONAL: [&str; 2] = ["labels", "priority"];

type Keep<'a> = &'a (dyn Fn(&JiraMemory) + Send + Sync);

pub(super) struct Visit<'a> {
    wire: Wire<'a>,
    message: &'a Message,
    label: Label,
    memory: &'a mut JiraMemory,
    keep: Keep<'a>,
}

impl<'a> Visit<'a> {
    pub(super) fn new(wire: Wire<'a>, message: &'a Message, memory: &'a mut JiraMemory, keep: Keep<'a>) -> Self {
        Self { wire, message, label: Label::of(message), memory, keep }
    }

    pub(super) async fn deliver(mut self) -> Delivery {
        let before = self.memory.clone();
        let delivery = match self.visit().await {
            Ok(answer) => Delivery::Delivered { answer },
            Err(fault) => fault.delivery,
        };
        self.memory.tickets.retain(|_, known| *known != Known::default());
        if *self.memory != before {
            (self.keep)(self.memory);
        }
        delivery
    }

    fn known(&mut self) -> &mut Known {
        self.memory.tickets.entry(self.label.clone()).or_default()
    }

    fn save(&self) {
        (self.keep)(self.memory);
    }

    async fn visit(&mut self) -> Result<String, Fault> {
        if self.message.kind == Kind::Ok {
            return Ok("a run that was ok needs no ticket".to_owned());
        }
        self.mind_the_clock();
        let id = self.message.id.clone();
        if self.message.kind != Kind::Recovered && self.known().has_told(&id) {
            let key = self.known().key.clone().unwrap_or_else(|| "the ticket".to_owned());
            return Ok(format!("{key} has it already"));
        }
        let found = self.look().await?;
        let unsettled = match self.memory.tickets.get(&self.label) {
            Some(known) => unsettled(self.message.kind, self.memory, known, self.wire.now),
            None => None,
        };
        let closed_by_us = self.known().closed_by_us;
        let issue = found.as_ref().map(|found| &found.issue);
        let deed = judge(self.message.kind, issue, unsettled, closed_by_us, self.wire.settings, self.wire.now);
        // a closed ticket is not ours to keep while a newer one may be there unseen
        if let Some(issue) = issue.filter(|issue| issue.is_open() || unsettled.is_none()) {
            self.known().adopt(&issue.key, issue.is_open());
        }
        if unsettled.is_none() {
            self.known().pending = None;
        }
        match (deed, found) {
            (Deed::Nothing(why), _) => Ok(why),
            (Deed::Wait(pause), _) => {
                if let Some(pending) = &mut self.known().pending {
                    pending.looks += 1;
                }
                let why = "a ticket may exist that the search does not show yet; it is looked for again".to_owned();
                Err(Fault::later(why, Wait::Asked(pause)))
            }
            (Deed::Comment, Some(found)) => {
                let is_new = self.comment(&found, None).await?;
                Ok(format!("{} {}", found.issue.key, if is_new { "commented" } else { "has it already" }))
            }
            (Deed::Recover, Some(found)) => self.recover(&found).await,
            (Deed::Reopen, Some(found)) => self.reopen(&found).await,
            (Deed::Create(before), _) => self.create(before.as_deref()).await,
            (Deed::Comment | Deed::Recover | Deed::Reopen, None) => unreachable!("judged of a ticket that is there"),
        }
    }

    /// Times that lie in the future were written before the clock was set back: they begin anew.
    fn mind_the_clock(&mut self) {
        let now = self.wire.now;
        if let Some(begun) = &mut self.memory.begun {
            *begun = now.min(*begun);
        }
        if let Some(pending) = &mut self.known().pending {
            pending.since = now.min(pending.since);
        }
    }

    /// The ticket as it is now; by its key if we know it and there can be no newer one.
    async fn look(&mut self) -> Result<Option<Found>, Fault> {
        if let (Some(key), None) = (self.known().key.clone(), &self.known().pending) {
            if let Some(found) = by_key(&self.wire, &key).await? {
                return Ok(Some(found));
            }
            // deleted, or moved to where we see it by its label only; or nothing is found here just now
            let found = by_label(&self.wire, &self.label).await?;
            self.known().forget();
            return Ok(found);
        }
        by_label(&self.wire, &self.label).await
    }

    /// Writes the message into the ticket, unless it stands there. That is asked each time: an answer may have been
    /// lost, or the memory. True if it was written now.
    async fn comment(&mut self, found: &Found, more: Option<&str>) -> Result<bool, Fault> {
        let id = self.message.id.clone();
        let key = &found.issue.key;
        if self.known().has_told(&id) || found.text.contains(&id) || is_in_comments(&self.wire, key, &id).await? {
            self.known().note_told(&id);
            return Ok(false);
        }
        let body = json!({"body": self.rendered(&text::comment(self.message, &self.label, more), COMMENT_BYTES_MAX)});
        let answer = self.wire.post(&["issue", key, "comment"], &body).await?;
        // a page to sign in with is a success as well, by its status
        if !json_of(&answer).is_some_and(|value| value["id"].is_string()) {
            return Err(not_json(&answer));
        }
        self.known().note_told(&id);
        Ok(true)
    }

    async fn recover(&mut self, found: &Found) -> Result<String, Fault> {
        let key = &found.issue.key;
        let (mut way, mut more) = (None, None);
        if self.wire.settings.resolve {
            let ways = self.ways(key).await?;
            match way_to(&ways, &["done"]) {
                Some(to) if to.asks_for.is_empty() => way = Some(to.clone()),
                Some(to) => {
                    more = Some(format!("Please close it: {} asks for {}.", to.name, to.asks_for.join(", ")));
                }
                None => {
                    more = Some("Please close it: no transition leads from here to a status that is done.".to_owned())
                }
            }
        }
        self.comment(found, more.as_deref()).await?;
        let Some(way) = way else { return Ok(format!("{key} told that all is well")) };
        match self.take(key, &way).await {
            Ok(()) => {
                self.known().closed_by_us = Some(self.wire.now);
                Ok(format!("{key} closed"))
            }
            Err(fault) if is_refusal(&fault) => {
                Ok(format!("{key} told that all is well, but not closed: {}", fault.why()))
            }
            Err(fault) => Err(fault),
        }
    }

    async fn reopen(&mut self, found: &Found) -> Result<String, Fault> {
        let key = found.issue.key.clone();
        let ways = self.ways(&key).await?;
        let Some(way) = way_to(&ways, &["new", "indeterminate"]).filter(|way| way.asks_for.is_empty()) else {
            return self.create(Some(&key)).await;
        };
        match self.take(&key, way).await {
            Ok(()) => {}
            Err(fault) if is_refusal(&fault) => return self.create(Some(&key)).await,
            Err(fault) => return Err(fault),
        }
        self.known().closed_by_us = None;
        self.comment(found, None).await?;
        Ok(format!("{key} reopened"))
    }

    async fn ways(&self, key: &str) -> Result<Vec<Transition>, Fault> {
        let parts = ["issue", key, "transitions"];
        let mut answer = self.wire.get(&parts, &[("expand", "transitions.fields")]).await?;
        if answer.is_cut {
            // every user of the company among the allowed values, perhaps
            answer = self.wire.get(&parts, &[]).await?;
        }
        Ok(transitions(&json_of(&answer).ok_or_else(|| not_json(&answer))?))
    }

    async fn take(&self, key: &str, way: &Transition) -> Result<(), Fault> {
        let body = json!({"transition": {"id": way.id}});
        let answer = self.wire.post(&["issue", key, "transitions"], &body).await?;
        if answer.status == 204 { Ok(()) } else { Err(not_json(&answer)) }
    }

    /// Makes a ticket. That it was asked for is written down first.
    async fn create(&mut self, before: Option<&str>) -> Result<String, Fault> {
        let (id, since) = (self.message.id.clone(), self.wire.now);
        self.known().pending = Some(Pending { message: id.clone(), since, looks: 0 });
        self.save();
        let mut fields = self.fields(before);
        loop {
            let fault = match self.wire.post(&["issue"], &json!({"fields": fields})).await {
                Ok(answer) => match json_of(&answer).as_ref().and_then(created_key) {
                    Some(key) => {
                        self.known().pending = None;
                        self.known().adopt(&key, true);
                        self.known().note_told(&id);
                        return Ok(format!("{key} created"));
                    }
                    None => not_json(&answer),
                },
                Err(fault) => fault,
            };
            // each round takes at least one field away, and there are two
            if !without_refused(&mut fields, &fault) {
                if !fault.is_unsure {
                    self.known().pending = None;
                }
                return Err(fault);
            }
        }
    }

    fn fields(&self, before: Option<&str>) -> Value {
        let settings = self.wire.settings;
        let is_number = settings.issue_type.bytes().all(|b| b.is_ascii_digit());
        let own = [label::STATIC.to_owned(), self.label.to_string()];
        let mut labels: Vec<String> =
            own.into_iter().chain(settings.labels.iter().filter_map(|l| label::tidy(l))).collect();
        labels.dedup();
        let description = text::description(self.message, &self.label, before);
        let mut fields = json!({
            "project": {"key": settings.project},
            "issuetype": {(if is_number { "id" } else { "name" }): settings.issue_type},
            "summary": text::summary(self.message),
            "description": self.rendered(&description, DESCRIPTION_BYTES_MAX),
            "labels": labels,
        });
        if let Some(priority) = &settings.priority {
            fields["priority"] = json!({"name": priority});
        }
        fields
    }

    /// In the flavour's own format, with as much as fits.
    fn rendered(&self, blocks: &[Block], bytes_max: usize) -> Value {
        let render = |blocks: &[Block]| match self.wire.settings.flavour {
            Flavour::Cloud => adf::document(blocks),
            Flavour::DataCenter => Value::String(wiki::document(blocks)),
        };
        let whole = render(blocks);
        let shorter = [(20, 200), (10, 100), (5, 50)];
        let all = shorter.iter().map(|(entries, chars)| render(&text::shortened(blocks, *entries, *chars)));
        let mut document = whole;
        for shorter in all {
            if document.to_string().len() <= bytes_max {
                break;
            }
            document = shorter;
        }
        document
    }
}

/// JIRA has understood and will not: nothing will be otherwise the next time.
fn is_refusal(fault: &Fault) -> bool {
    matches!(fault.status, Some(400 | 403 | 404 | 409 | 422))
}

/// Takes the optional fields away that were complained of; false if there are none.
fn without_refused(fields: &mut Value, fault: &Fault) -> bool {
    if fault.status != Some(400) {
        return false;
    }
    let Some(fields) = fields.as_object_mut() else { return false };
    let refused: Vec<&str> =
        OPTIONAL.into_iter().filter(|name| fault.complaint.fields.iter().any(|(field, _)| field == name)).collect();
    refused.iter().filter(|name| fields.remove(**name).is_some()).count() > 0
}
