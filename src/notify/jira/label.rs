//! What a ticket is known by: one label for each trouble that can be told from others.
//!
//! The danger here is two troubles with one label (then one hides the other) or one with two (then there are two
//! tickets). So the label is made of the instance, the job, the store and the subject, and of nothing that changes from run to run.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::Digest;
use crate::report::{Kind, Message, Subject};

/// The label that all tickets of this program have.
pub(super) const STATIC: &str = "backup";

/// JIRA takes no label that is longer.
const LABEL_CHARS_MAX: usize = 255;

/// `backup-` and 12 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Label(String);

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Label {
    /// The label of what `message` is about. A test has one of its own: it must not touch a real ticket.
    pub fn of(message: &Message) -> Self {
        let job = message.job.as_ref().map_or("", |job| job.as_str());
        let store = message.store.as_deref().unwrap_or_default();
        let kind = if message.kind == Kind::Test { "test" } else { "" };
        let subject = message.subject.map(Subject::word);
        // lengths in front, so that no two sets of parts give the same text
        let text: String = [&message.instance, job, store, kind]
            .into_iter()
            .chain(subject)
            .map(|part| format!("{}:{part};", part.len()))
            .collect();
        let digest = Digest::of(text.as_bytes()).to_string();
        Self(format!("{STATIC}-{}", &digest[..12]))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it has of its own: the 12 digits.
    pub(super) fn digits(&self) -> &str {
        self.0.rsplit('-').next().unwrap_or(&self.0)
    }
}

/// A label as JIRA takes it: no blanks, not too long; none if nothing is left.
pub(super) fn tidy(text: &str) -> Option<String> {
    let parts: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|p| !p.is_empty()).collect();
    let label: String = parts.join("-").chars().take(LABEL_CHARS_MAX).collect();
    (!label.is_empty()).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::super::tests::message;
    use super::{Label, tidy};
    use crate::report::Kind;

    #[test]
    fn a_label_is_of_the_instance_the_job_and_the_store_and_of_nothing_else() {
        let one = message(Kind::Failed);
        let mut later = message(Kind::Missed);
        later.id = "b".repeat(32);
        later.in_a_row = 7;
        assert_eq!(Label::of(&one), Label::of(&later));
        assert_eq!(Label::of(&one).as_str().len(), "backup-".len() + 12);
        for change in [
            |m: &mut _| other_instance(m),
            |m: &mut _| other_job(m),
            |m: &mut _| other_store(m),
            |m: &mut _| moved(m),
            |m: &mut _| subject(m),
        ] {
            let mut other = message(Kind::Failed);
            change(&mut other);
            assert_ne!(Label::of(&one), Label::of(&other));
        }
        assert_ne!(Label::of(&one), Label::of(&message(Kind::Test)), "a test touches no real ticket");
    }

    fn other_instance(message: &mut crate::report::Message) {
        message.instance = "other".to_owned();
    }

    fn other_job(message: &mut crate::report::Message) {
        message.job = Some("other".parse().expect("a job"));
    }

    fn other_store(message: &mut crate::report::Message) {
        message.store = None;
    }

    fn subject(message: &mut crate::report::Message) {
        message.subject = Some(crate::report::Subject::Verify);
    }

    /// The same letters, cut elsewhere.
    fn moved(message: &mut crate::report::Message) {
        message.instance.push_str("up");
        message.job = Some("load".parse().expect("a job"));
    }

    #[test]
    fn a_label_has_no_blanks() {
        assert_eq!(tidy(" night  shift\t1 ").as_deref(), Some("night-shift-1"));
        assert_eq!(tidy(" \n"), None);
        assert_eq!(tidy(&"x".repeat(300)).map(|label| label.len()), Some(255));
    }
}
