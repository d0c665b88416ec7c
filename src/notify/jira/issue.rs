//! What JIRA says, as far as it matters: tickets, transitions, complaints. Read as a stranger's text.
//!
//! The danger here is to go by names: those of statuses and transitions are translated and anybody's to choose. What
//! counts is the *category* of a status, which is `new`, `indeterminate` or `done` in every language.

use jiff::Timestamp;
use serde_json::Value;

/// A ticket as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issue {
    /// `OPS-12`; another than was asked for if it was moved.
    pub key: String,
    /// Open or closed.
    pub state: State,
    /// Its labels.
    pub labels: Vec<String>,
}

/// Whether somebody still has to do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The category of its status is not `done`.
    Open,
    /// It is.
    Closed {
        /// The resolution's name.
        resolution: Option<String>,
        /// When it was closed, as far as JIRA says.
        at: Option<Timestamp>,
    },
}

impl Issue {
    /// The fields that [`Issue::read`] looks at.
    pub(super) const FIELDS: &str = "status,resolution,resolutiondate,statuscategorychangedate,updated,labels";

    /// None if it is no issue.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let key = value["key"].as_str().filter(|key| is_key(key))?.to_owned();
        let fields = &value["fields"];
        let category = fields["status"]["statusCategory"]["key"].as_str()?;
        let state = if category == "done" {
            let times = ["resolutiondate", "statuscategorychangedate", "updated"];
            let at = times.iter().find_map(|name| time(fields[name].as_str()?));
            State::Closed { resolution: fields["resolution"]["name"].as_str().map(str::to_owned), at }
        } else {
            State::Open
        };
        let labels = fields["labels"].as_array().into_iter().flatten();
        Some(Self { key, state, labels: labels.filter_map(Value::as_str).map(str::to_owned).collect() })
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }
}

/// A way from one status to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    /// What it is asked for by.
    pub id: String,
    /// In somebody's language; for people only.
    pub name: String,
    /// The category of the status it leads to.
    pub category: String,
    /// Names of fields that must be filled in and are not by themselves.
    pub asks_for: Vec<String>,
}

/// All transitions in the answer.
pub(super) fn transitions(value: &Value) -> Vec<Transition> {
    value["transitions"].as_array().into_iter().flatten().filter_map(transition).collect()
}

fn transition(value: &Value) -> Option<Transition> {
    let asks =
        |field: &Value| field["required"].as_bool() == Some(true) && field["hasDefaultValue"].as_bool() != Some(true);
    let fields = value["fields"].as_object().into_iter().flatten();
    Some(Transition {
        id: value["id"].as_str()?.to_owned(),
        name: value["name"].as_str().unwrap_or_default().to_owned(),
        category: value["to"]["statusCategory"]["key"].as_str()?.to_owned(),
        asks_for: fields
            .filter(|(_, field)| asks(field))
            .map(|(id, field)| field["name"].as_str().unwrap_or(id).to_owned())
            .collect(),
    })
}

/// The first transition to one of `categories`, in their order; such as ask for nothing come first.
pub(super) fn way_to<'a>(all: &'a [Transition], categories: &[&str]) -> Option<&'a Transition> {
    let rank = |way: &Transition| {
        let place = categories.iter().position(|category| *category == way.category)?;
        Some((!way.asks_for.is_empty(), place))
    };
    all.iter().filter_map(|way| Some((rank(way)?, way))).min_by_key(|(rank, _)| *rank).map(|(_, way)| way)
}

/// `OPS-12`. Keys become parts of addresses and of texts elsewhere.
fn is_key(text: &str) -> bool {
    let Some((project, number)) = text.rsplit_once('-') else { return false };
    !project.is_empty()
        && project.len() <= 64
        && project.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && (1..=18).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// The key in the answer to a create.
pub(super) fn created_key(value: &Value) -> Option<String> {
    value["key"].as_str().filter(|key| is_key(key)).map(str::to_owned)
}

/// What a refusal complains of: fields by their names with the words for each, and words about no field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    pub fields: Vec<(String, String)>,
    pub others: Vec<String>,
}

impl Complaint {
    pub(super) fn read(body: &str) -> Self {
        let value: Value = serde_json::from_str(body).unwrap_or_default();
        let words = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let fields = value["errors"].as_object().into_iter().flatten();
        Self {
            fields: fields.map(|(name, why)| (name.clone(), words(why))).collect(),
            others: value["errorMessages"].as_array().into_iter().flatten().map(words).collect(),
        }
    }

    /// On one line; none if it says nothing.
    pub(super) fn words(&self) -> Option<String> {
        let fields = self.fields.iter().map(|(name, why)| format!("{name}: {why}"));
        let all: Vec<String> = self.others.iter().cloned().chain(fields).collect();
        (!all.is_empty()).then(|| super::text::plain(&all.join("; ")))
    }
}

/// `2026-11-21T02:00:00.000+0000`, as JIRA writes times.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Complaint, Issue, State, created_key, time, transitions, way_to};

    #[test]
    fn a_ticket_is_closed_when_the_category_says_so_in_whatever_language() {
        let issue = |category: &str, name: &str| {
            let status = json!({"name": name, "statusCategory": {"key": category}});
            let fields = json!({"status": status, "resolution": {"name": "Erledigt"}, "resolutiondate": null,
                "statuscategorychangedate": "2026-11-21T03:00:00.000+0100", "labels": ["backup"]});
            Issue::read(&json!({"key": "OPS-12", "fields": fields})).expect("an issue")
        };
        assert!(issue("indeterminate", "Done").is_open());
        let at = "2026-11-21T02:00:00Z".parse().ok();
        assert_eq!(issue("done", "Offen").state, State::Closed { resolution: Some("Erledigt".into()), at });
    }

    #[test]
    fn what_is_no_issue_and_what_is_no_key_is_none() {
        assert_eq!(Issue::read(&json!("<html>")), None);
        for key in ["", "OPS", "OPS-", "-1", "../x-1", "OPS-1/2", "O PS-1", "OPS-1x"] {
            assert_eq!(created_key(&json!({"key": key})), None, "{key}");
        }
        assert_eq!(created_key(&json!({"key": "A_2-7"})).as_deref(), Some("A_2-7"));
    }

    #[test]
    fn times_are_read_as_jira_writes_them() {
        let at = "2026-11-21T02:00:00.5Z".parse().ok();
        for text in ["2026-11-21T02:00:00.500+0000", "2026-11-21T03:00:00.500+01:00", "2026-11-20T21:00:00.500-0500"] {
            assert_eq!(time(text), at, "{text}");
        }
        assert_eq!(time("yesterday"), None);
    }

    #[test]
    fn the_way_is_chosen_by_category_and_rather_one_that_asks_for_nothing() {
        let way = |id: &str, category: &str, required: bool| {
            json!({"id": id, "name": "Fertig", "to": {"statusCategory": {"key": category}},
                "fields": {"resolution": {"name": "Lösung", "required": required}}})
        };
        let all = transitions(&json!({"transitions": [
            way("1", "indeterminate", false), way("2", "done", true), way("3", "done", false), way("4", "new", true),
        ]}));
        assert_eq!(way_to(&all, &["done"]).map(|way| way.id.as_str()), Some("3"));
        assert_eq!(way_to(&all, &["new", "indeterminate"]).map(|way| way.id.as_str()), Some("1"));
        assert_eq!(way_to(&all[1..2], &["done"]).map(|way| way.asks_for.clone()), Some(vec!["Lösung".to_owned()]));
        assert_eq!(way_to(&all[..1], &["done"]), None);
    }

    #[test]
    fn a_complaint_names_its_fields() {
        let complaint = Complaint::read(r#"{"errorMessages":["No\nwell"],"errors":{"labels":"not on the screen"}}"#);
        assert_eq!(complaint.words().as_deref(), Some("No\\nwell; labels: not on the screen"));
        assert_eq!(Complaint::read("<html>").words(), None);
    }
}
