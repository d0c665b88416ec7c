//! A JIRA, Cloud or Data Center, as far as tickets of ours can tell: who signs in how, which texts and fields it takes,
//! a search that is behind, transitions in somebody's language.
//!
//! Written from the facts that are known of the real ones, not from our client. The danger in such a model is that it is
//! kinder than the real thing; where in doubt it refuses.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answered, Asked, adf, wiki};

/// `ops@acme.test:cloud-token`, as RFC 4648 has it.
const CLOUD_BASIC: &str = "Basic b3BzQGFjbWUudGVzdDpjbG91ZC10b2tlbg==";
const CENTER_BEARER: &str = "Bearer center-canary";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Cloud,
    Center,
}

/// A status, by its category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    New,
    Doing,
    Done,
}

/// One ticket.
#[derive(Clone, Debug)]
pub struct Issue {
    pub key: String,
    /// Keys it had before it was moved.
    pub keys_before: Vec<String>,
    pub summary: String,
    /// As it is read.
    pub description: String,
    raw_description: Value,
    pub labels: Vec<String>,
    pub priority: Option<String>,
    pub resolution: Option<String>,
    resolved_at: Option<Timestamp>,
    /// As they are read.
    pub comments: Vec<String>,
    raw_comments: Vec<Value>,
    pub is_deleted: bool,
    /// What it was when, the last one now.
    history: Vec<(Timestamp, Status)>,
}

impl Issue {
    pub fn status(&self) -> Status {
        self.history.last().expect("it was made").1
    }

    pub fn is_open(&self) -> bool {
        !self.is_deleted && self.status() != Status::Done
    }

    /// How often `text` stands in it.
    pub fn count_of(&self, text: &str) -> usize {
        self.comments.iter().filter(|comment| comment.contains(text)).count()
            + usize::from(self.description.contains(text))
    }
}

/// The whole JIRA.
#[derive(Clone, Debug)]
pub struct Site {
    pub flavour: Flavour,
    pub issues: Vec<Issue>,
    /// So long the search is behind.
    pub lag: Duration,
    /// Whether the screen has these.
    pub has_labels: bool,
    pub has_priority: bool,
    /// Whether a closed ticket can be opened again.
    pub can_reopen: bool,
    /// Whether closing asks for a resolution.
    pub close_asks: bool,
    /// Whether closing sets a resolution and its date by itself.
    pub sets_resolution: bool,
    /// So many a page.
    pub page: usize,
    /// The token was revoked.
    pub is_locked: bool,
    /// A ticket was made while another with the same label was open.
    pub duplicates: Vec<String>,
    /// What a real JIRA would not have taken.
    pub problems: Vec<String>,
    /// How often each kind of request came.
    pub counts: BTreeMap<&'static str, usize>,
}

type Refusal = Answered;

fn refusal(status: u16, field: &str, words: &str) -> Refusal {
    let errors = if field.is_empty() { json!({}) } else { json!({ field: words }) };
    let messages = if field.is_empty() { json!([words]) } else { json!([]) };
    Answered::json(status, &json!({"errorMessages": messages, "errors": errors}))
}

impl Site {
    pub fn new(flavour: Flavour) -> Self {
        Self {
            flavour,
            issues: Vec::new(),
            lag: Duration::ZERO,
            has_labels: true,
            has_priority: true,
            can_reopen: true,
            close_asks: false,
            sets_resolution: true,
            page: 15,
            is_locked: false,
            duplicates: Vec::new(),
            problems: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    /// The tickets that are open.
    pub fn open(&self) -> Vec<&Issue> {
        self.issues.iter().filter(|issue| issue.is_open()).collect()
    }

    /// A person closes all open tickets, with this resolution.
    pub fn close_all(&mut self, resolution: &str, now: Timestamp) {
        for issue in self.issues.iter_mut().filter(|issue| issue.is_open()) {
            issue.history.push((now, Status::Done));
            (issue.resolution, issue.resolved_at) = (Some(resolution.to_owned()), Some(now));
        }
    }

    /// A person opens this one again.
    pub fn open_again(&mut self, number: usize, now: Timestamp) {
        let issue = &mut self.issues[number];
        issue.history.push((now, Status::Doing));
        (issue.resolution, issue.resolved_at) = (None, None);
    }

    /// A person moves all open tickets to another project.
    pub fn move_all(&mut self) {
        for issue in self.issues.iter_mut().filter(|issue| issue.is_open()) {
            let number = issue.key.rsplit_once('-').map_or("0", |(_, number)| number).to_owned();
            let before = std::mem::replace(&mut issue.key, format!("NEW-{number}"));
            issue.keys_before.push(before);
        }
    }

    pub fn delete_all(&mut self) {
        self.issues.iter_mut().for_each(|issue| issue.is_deleted = true);
    }

    fn problem(&mut self, what: String) {
        self.problems.push(what);
    }

    pub fn answer(&mut self, asked: &Asked, now: Timestamp) -> Answered {
        let wanted = match self.flavour {
            Flavour::Cloud => CLOUD_BASIC,
            Flavour::Center => CENTER_BEARER,
        };
        if self.is_locked || asked.authorization != wanted {
            return refusal(401, "", "Client must be authenticated to access this resource.");
        }
        if asked.method == "POST" && !asked.content_type.starts_with("application/json") {
            self.problem(format!("{} with {}", asked.path, asked.content_type));
            return Answered::empty(415);
        }
        let Some(rest) = asked.path.strip_prefix("/rest/api/") else { return Answered::text(404, "<html>") };
        let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let parts: Vec<&str> = rest.split('/').collect();
        let is_cloud = self.flavour == Flavour::Cloud;
        if version != "2" && !(version == "3" && is_cloud) {
            return Answered::text(404, "<html>no such version</html>");
        }
        let result = match (asked.method.as_str(), parts.as_slice()) {
            (_, ["search"]) if is_cloud => Err(refusal(
                410,
                "",
                "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.",
            )),
            ("POST", ["search"]) => self.search(&asked.json(), now),
            ("POST", ["search", "jql"]) if is_cloud => self.search(&asked.json(), now),
            ("POST", ["issue"]) => self.create(&asked.json(), version, now),
            ("GET", ["issue", key]) => self.view(key, &asked.query),
            ("GET", ["issue", key, "comment"]) => self.view_comments(key, &asked.query),
            ("POST", ["issue", key, "comment"]) => self.comment(key, &asked.json(), version),
            ("GET", ["issue", key, "transitions"]) => self.view_transitions(key, &asked.query),
            ("POST", ["issue", key, "transitions"]) => self.transition(key, &asked.json(), now),
            _ => Err(Answered::text(404, "<html>no such request</html>")),
        };
        result.unwrap_or_else(|refusal| refusal)
    }

    fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    fn find(&self, key: &str) -> Result<usize, Refusal> {
        self.issues
            .iter()
            .position(|issue| !issue.is_deleted && (issue.key == key || issue.keys_before.iter().any(|k| k == key)))
            .ok_or_else(|| refusal(404, "", "Issue does not exist or you do not have permission to see it."))
    }

    /// What a text is to its reader; refused if it is none for this version.
    fn text(&mut self, field: &str, value: &Value, version: &str) -> Result<String, Refusal> {
        let read = match version {
            "3" => adf::read(value),
            _ => value.as_str().ok_or_else(|| format!("no string: {value}")).and_then(wiki::read),
        };
        let length = value.as_str().map_or_else(|| value.to_string().chars().count(), |text| text.chars().count());
        let read = read.and_then(|text| if length > 32_767 { Err("it is too long".to_owned()) } else { Ok(text) });
        read.map_err(|why| {
            self.problem(format!("{field}: {why}"));
            refusal(400, field, "Operation value must be an Atlassian Document (see the Atlassian Document Format)")
        })
    }

    fn create(&mut self, body: &Value, version: &str, now: Timestamp) -> Result<Answered, Refusal> {
        self.count("create");
        let fields = &body["fields"];
        if fields["project"]["key"] != "OPS" {
            return Err(refusal(400, "project", "valid project is required"));
        }
        if fields["issuetype"]["name"] != "Task" && fields["issuetype"]["id"] != "10001" {
            return Err(refusal(400, "issuetype", "The issue type selected is invalid."));
        }
        let summary = fields["summary"].as_str().unwrap_or_default().to_owned();
        if summary.trim().is_empty() || summary.chars().count() > 255 || summary.contains(['\n', '\r']) {
            self.problem(format!("summary: {summary:?}"));
            return Err(refusal(400, "summary", "The summary is invalid because it contains newline characters."));
        }
        for (name, is_there) in [("labels", self.has_labels), ("priority", self.has_priority)] {
            if fields.get(name).is_some() && !is_there {
                let words = format!("Field '{name}' cannot be set. It is not on the appropriate screen, or unknown.");
                return Err(refusal(400, name, &words));
            }
        }
        let known = ["project", "issuetype", "summary", "description", "labels", "priority"];
        if let Some(name) =
            fields.as_object().into_iter().flatten().map(|(name, _)| name).find(|n| !known.contains(&n.as_str()))
        {
            return Err(refusal(400, name, "Field cannot be set. It is not on the appropriate screen, or unknown."));
        }
        let labels: Vec<String> =
            fields["labels"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        if let Some(bad) = labels.iter().find(|l| l.is_empty() || l.len() > 255 || l.contains(char::is_whitespace)) {
            let words = format!("The label '{bad}' contains spaces which is invalid.");
            self.problem(words.clone());
            return Err(refusal(400, "labels", &words));
        }
        let description = self.text("description", &fields["description"], version)?;
        let own = own_label(&labels, &description);
        if let Some(open) = self.issues.iter().find(|i| i.is_open() && own_label(&i.labels, &i.description) == own) {
            self.duplicates.push(format!("at {now} beside {}: {summary}", open.key));
        }
        let key = format!("OPS-{}", self.issues.len() + 1);
        self.issues.push(Issue {
            key: key.clone(),
            keys_before: Vec::new(),
            summary,
            description,
            raw_description: fields["description"].clone(),
            labels,
            priority: fields["priority"]["name"].as_str().map(str::to_owned),
            resolution: None,
            resolved_at: None,
            comments: Vec::new(),
            raw_comments: Vec::new(),
            is_deleted: false,
            history: vec![(now, Status::New)],
        });
        let id = (10_000 + self.issues.len()).to_string();
        Ok(Answered::json(
            201,
            &json!({"id": id, "key": key, "self": format!("https://jira.test/rest/api/2/issue/{id}")}),
        ))
    }

    fn view(&mut self, key: &str, query: &str) -> Result<Answered, Refusal> {
        self.count("view");
        let issue = &self.issues[self.find(key)?];
        let mut value = self.shown(issue, issue.status());
        if query.contains("description") {
            value["fields"]["description"] = issue.raw_description.clone();
        }
        Ok(Answered::json(200, &value))
    }

    fn shown(&self, issue: &Issue, status: Status) -> Value {
        let (name, category) = status_words(status);
        let is_done = status == Status::Done;
        let resolution = issue.resolution.as_ref().filter(|_| is_done).map(|name| json!({"id": "1", "name": name}));
        let at = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S.000+0000").to_string();
        json!({"id": "1", "key": issue.key, "fields": {
            "labels": issue.labels,
            "status": {"id": "3", "name": name, "statusCategory": {"id": 4, "key": category, "name": name}},
            "resolution": resolution,
            "resolutiondate": issue.resolved_at.filter(|_| is_done).map(at),
            "statuscategorychangedate": issue.history.last().map(|(when, _)| at(*when)),
        }})
    }

    fn view_comments(&mut self, key: &str, query: &str) -> Result<Answered, Refusal> {
        self.count("comments");
        let issue = &self.issues[self.find(key)?];
        let mut all: Vec<Value> = issue.raw_comments.iter().map(|body| json!({"id": "1", "body": body})).collect();
        if query.contains("orderBy=-created") {
            all.reverse();
        }
        all.truncate(if query.contains("maxResults=5") { 5 } else { 50 });
        Ok(Answered::json(200, &json!({"startAt": 0, "total": issue.raw_comments.len(), "comments": all})))
    }

    fn comment(&mut self, key: &str, body: &Value, version: &str) -> Result<Answered, Refusal> {
        self.count("comment");
        let at = self.find(key)?;
        let text = self.text("comment", &body["body"], version)?;
        if self.issues[at].comments.contains(&text) {
            self.problem(format!("the same comment twice in {key}: {text}"));
        }
        self.issues[at].comments.push(text);
        self.issues[at].raw_comments.push(body["body"].clone());
        Ok(Answered::json(201, &json!({"id": "10000"})))
    }

    fn ways(&self, issue: &Issue) -> Vec<(&'static str, &'static str, Status)> {
        match issue.status() {
            Status::Done if self.can_reopen => vec![("31", "Wieder öffnen", Status::New)],
            Status::Done => vec![("41", "Archivieren", Status::Done)],
            _ => vec![("11", "In Arbeit nehmen", Status::Doing), ("21", "Abschließen", Status::Done)],
        }
    }

    fn view_transitions(&mut self, key: &str, query: &str) -> Result<Answered, Refusal> {
        self.count("transitions");
        let issue = &self.issues[self.find(key)?];
        let shown: Vec<Value> = self
            .ways(issue)
            .into_iter()
            .map(|(id, name, to)| {
                let (status, category) = status_words(to);
                let mut way = json!({"id": id, "name": name,
                    "to": {"name": status, "statusCategory": {"key": category, "name": status}}});
                if query.contains("transitions.fields") {
                    let required = self.close_asks && to == Status::Done;
                    way["fields"] = json!({"resolution": {"name": "Lösung", "required": required}});
                }
                way
            })
            .collect();
        Ok(Answered::json(200, &json!({"transitions": shown})))
    }

    fn transition(&mut self, key: &str, body: &Value, now: Timestamp) -> Result<Answered, Refusal> {
        self.count("transition");
        let at = self.find(key)?;
        let id = body["transition"]["id"].as_str().unwrap_or_default();
        let way = self.ways(&self.issues[at]).into_iter().find(|(own, ..)| *own == id);
        let Some((_, _, to)) = way else {
            return Err(refusal(
                400,
                "",
                "It seems that you have tried to perform a workflow operation that is not valid.",
            ));
        };
        if to == Status::Done && self.close_asks {
            self.problem(format!("{key} was to be closed without the resolution that is asked for"));
            return Err(refusal(400, "resolution", "Resolution is required."));
        }
        let issue = &mut self.issues[at];
        issue.history.push((now, to));
        let is_resolved = to == Status::Done && self.sets_resolution;
        issue.resolution = is_resolved.then(|| "Fertig".to_owned());
        issue.resolved_at = is_resolved.then_some(now);
        Ok(Answered::empty(204))
    }

    fn search(&mut self, body: &Value, now: Timestamp) -> Result<Answered, Refusal> {
        self.count("search");
        let jql = body["jql"].as_str().unwrap_or_default();
        let Some(label) = quoted_after(jql, "labels = \"") else {
            self.problem(format!("a search without bounds: {jql}"));
            return Err(refusal(400, "", "Unbounded JQL queries are not allowed here."));
        };
        let fields: Vec<&str> = body["fields"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !fields.contains(&"status") {
            self.problem(format!("a search that would be told ids only: {body}"));
        }
        let by_text = jql.contains("description ~ ");
        // as it all was when the index was written
        let then = now.checked_sub(self.lag).expect("a time");
        let mut found: Vec<(Timestamp, Value)> = Vec::new();
        for issue in self.issues.iter().filter(|issue| !issue.is_deleted) {
            let Some((_, status)) = issue.history.iter().rev().find(|(at, _)| *at <= then) else { continue };
            if issue.labels.contains(&label) || by_text && issue.description.contains(&label) {
                found.push((issue.history[0].0, self.shown(issue, *status)));
            }
        }
        found.reverse();
        found.sort_by_key(|(made, _)| std::cmp::Reverse(*made));
        let start = match self.flavour {
            Flavour::Cloud => body["nextPageToken"].as_str().and_then(|token| token.parse().ok()).unwrap_or(0),
            Flavour::Center => body["startAt"].as_u64().unwrap_or(0) as usize,
        };
        let most = self.page.min(body["maxResults"].as_u64().unwrap_or(50) as usize);
        let total = found.len();
        let page: Vec<Value> = found.into_iter().skip(start).take(most).map(|(_, issue)| issue).collect();
        let end = start + page.len();
        let mut answer = json!({"issues": page});
        match self.flavour {
            Flavour::Cloud if end < total => answer["nextPageToken"] = json!(end.to_string()),
            Flavour::Cloud => answer["isLast"] = json!(true),
            Flavour::Center => {
                answer["startAt"] = json!(start);
                answer["total"] = json!(total);
            }
        }
        Ok(Answered::json(200, &answer))
    }
}

fn status_words(status: Status) -> (&'static str, &'static str) {
    match status {
        Status::New => ("Zu erledigen", "new"),
        Status::Doing => ("In Arbeit", "indeterminate"),
        Status::Done => ("Fertig", "done"),
    }
}

fn quoted_after(text: &str, start: &str) -> Option<String> {
    let rest = &text[text.find(start)? + start.len()..];
    rest.split('"').next().filter(|label| !label.is_empty()).map(str::to_owned)
}

/// What a ticket is known by: a label, or else the same in the text.
fn own_label(labels: &[String], description: &str) -> Option<String> {
    let is_own = |word: &&str| word.len() == 19 && word.starts_with("backup-");
    let label = labels.iter().map(String::as_str).find(is_own);
    label.or_else(|| description.split_whitespace().find(is_own)).map(str::to_owned)
}
