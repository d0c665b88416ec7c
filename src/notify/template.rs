//! Words of one's own: titles and bodies made from a template over a documented set of fields.
//!
//! A template is the operator's, what it fills in is not: its result is plain text, which each channel escapes as it
//! escapes our own. It can do little harm: no files, no includes, a bound on its steps and on its length. A template
//! that fails never costs the message: the built-in words are sent with a line that says so.
//!
//! The fields are those of [`sample`]; `backup notify test` and `config check` render it, so that a field that does not
//! exist is found before the first night.

use std::io;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use super::words::Words;
use crate::domain::{Host, StopReason, Totals, Trouble, Verdict};
use crate::report::{Kind, Message, RunRecord};

/// Steps of the engine for one text; our longest example takes some hundred.
const FUEL: u64 = 50_000;

/// Longer than any channel takes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// A title and a body that somebody wrote; what is not there is built in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Templates {
    /// One line.
    pub title: Option<String>,
    /// The rest.
    pub body: Option<String>,
}

/// What a template made of a message, or the built-in words in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// One line.
    pub title: String,
    /// The text of one's own; none: the built-in form is used, which has more than text.
    pub body: Option<String>,
    /// That a template failed, and how.
    pub note: Option<String>,
}

impl Templates {
    /// Fills in a message. Never fails; see [`Filled::note`].
    pub fn fill(&self, message: &Message, words: &Words) -> Filled {
        let mut note = None;
        let mut fill = |template: &Option<String>| {
            let filled = render(template.as_deref()?, message, words);
            filled.map_err(|why| note = Some(format!("the configured template failed: {why}"))).ok()
        };
        let title = fill(&self.title).map(|text| super::words::one_line(text.trim())).filter(|text| !text.is_empty());
        let body = fill(&self.body);
        Filled { title: title.unwrap_or_else(|| words.title.clone()), body, note }
    }
}

/// Whether a template can be used, tried on a message with something in every field.
///
/// # Errors
/// What is wrong with it, in one line.
pub fn check(template: &str) -> Result<(), String> {
    let message = sample();
    render(template, &message, &Words::of(&message)).map(|_| ())
}

fn render(template: &str, message: &Message, words: &Words) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(50);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let said = |error: minijinja::Error| {
        let line = error.line().map_or_else(String::new, |line| format!("line {line}: "));
        let detail = error.detail().map_or_else(String::new, |detail| format!(" ({detail})"));
        super::words::one_line(&format!("{line}{}{detail}", error.kind()))
    };
    let template = environment.template_from_str(template).map_err(said)?;
    let mut text = Bounded(Vec::new());
    template.render_captured_to(fields(message, words), &mut text).map_err(said)?;
    Ok(String::from_utf8_lossy(&text.0).into_owned())
}

/// What a template can name. README lists them.
fn fields(message: &Message, words: &Words) -> minijinja::Value {
    let outcome = message.outcome.as_deref();
    let totals = outcome.map(|outcome| outcome.totals).unwrap_or_default();
    let trouble = message.trouble();
    let kind = serde_json::to_value(message.kind).ok();
    context! {
        kind => kind.as_ref().and_then(|kind| kind.as_str()),
        title => words.title.clone(),
        text => words.body(),
        instance => message.instance.clone(),
        host => message.host.0.clone(),
        job => message.job.as_ref().map(|job| job.as_str()),
        subject => message.subject.map(crate::report::Subject::word),
        store => message.store.clone(),
        at => super::words::time(message.at),
        verdict => outcome.map(|outcome| outcome.verdict.word()),
        snapshot => message.snapshot.as_ref().map(|name| name.as_str()),
        took_s => outcome.map(|outcome| outcome.took_ms / 1000),
        files => totals.files,
        read => totals.read_bytes.to_string(),
        stored => totals.stored_bytes.to_string(),
        reused => totals.reused_bytes.to_string(),
        read_bytes => totals.read_bytes.0,
        content_bytes => totals.content_bytes.0,
        stored_bytes => totals.stored_bytes.0,
        reused_bytes => totals.reused_bytes.0,
        size_before => message.size_before,
        skipped => outcome.map_or(0, |outcome| outcome.skipped),
        skips => words.skips.clone(),
        doubts => words.doubts.clone(),
        what => trouble.map(|trouble| trouble.what.as_str()),
        causes => trouble.map(|trouble| trouble.causes.clone()).unwrap_or_default(),
        advice => trouble.map(|trouble| trouble.advice.as_str()),
        next_run => message.next_run.map(super::words::time),
        last_success => message.last_success.map(super::words::time),
        in_a_row => message.in_a_row,
        held_back => message.held_back,
        build_url => message.build_url.clone(),
        tool => message.tool.clone(),
    }
}

/// Stops a template that writes without end.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > TEXT_BYTES_MAX {
            return Err(io::Error::other(format!("its text is longer than {TEXT_BYTES_MAX} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A message to try a template on, with something in every field.
fn sample() -> Message {
    let job: crate::domain::JobName = "sample".parse().expect("a job's name");
    let (at, host) = (jiff::Timestamp::UNIX_EPOCH, Host("host".to_owned()));
    let words = || "sample".to_owned();
    let trouble = Trouble { what: words(), causes: vec![words()], advice: words() };
    let snapshot = crate::domain::SnapshotName::new(&job, at);
    Message {
        id: "0".repeat(32),
        kind: Kind::Failed,
        at,
        instance: words(),
        host: host.clone(),
        job: Some(job.clone()),
        store: Some(words()),
        outcome: Some(Box::new(RunRecord {
            kind: "run".to_owned(),
            format: 1,
            verdict: Verdict::Failed,
            job,
            run: crate::domain::RunId::from_random([0; 16]),
            host,
            store: words(),
            sources: vec![words()],
            started: at,
            finished: at,
            took_ms: 1000,
            snapshot: Some(snapshot.clone()),
            record: None,
            totals: Totals::default(),
            skipped: 0,
            skips: Vec::new(),
            doubts: vec![words()],
            notices: Vec::new(),
            reason: Some(StopReason::Program),
            failure: Some(trouble.clone()),
        })),
        size_before: Some(1),
        next_run: Some(at),
        last_success: Some(at),
        in_a_row: 1,
        subject: None,
        particular: None,
        held_back: 1,
        build_url: Some(words()),
        snapshot: Some(snapshot),
        trouble: Some(trouble),
        tool: words(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::tests::message;
    use super::{Kind, Templates, Words, check};

    fn filled(title: &str, body: &str) -> super::Filled {
        let message = message(Kind::Failed);
        let templates = Templates { title: Some(title.to_owned()), body: Some(body.to_owned()) };
        templates.fill(&message, &Words::of(&message))
    }

    #[test]
    fn a_template_names_fields_and_nothing_it_fills_in_is_read_as_a_template() {
        let filled = filled("{{ job }}: {{ kind }}\n", "{% for skip in skips %}{{ skip }}|{% endfor %}");
        assert_eq!(filled.title, "upload: failed");
        let body = filled.body.expect("it was filled in");
        assert!(body.contains("{{ 7 * 7 }}") && body.contains("<!channel>"), "{body}");
        assert_eq!(filled.note, None);
    }

    #[test]
    fn a_template_that_fails_falls_back_to_the_built_in_words_and_says_so() {
        for wrong in [
            "{{ no_such_field }}",
            "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}",
            "{{ job | no_such_filter }}",
            "{% include 'etc' %}",
            "{{ 1 / 0 }}",
            "{% for a in range(9000) %}0123456789abcdef{% endfor %}",
        ] {
            let filled = filled(wrong, wrong);
            assert_eq!(filled.title, "upload on web1: failed, 2 in a row", "{wrong}");
            assert_eq!(filled.body, None, "{wrong}");
            assert!(filled.note.is_some_and(|note| note.starts_with("the configured template failed: ")), "{wrong}");
        }
    }

    #[test]
    fn the_check_finds_what_would_fail_in_the_night() {
        assert_eq!(check("{{ job }} {% if build_url %}{{ build_url }}{% endif %}"), Ok(()));
        assert!(check("{{ jbo }}").is_err());
        assert!(check("{% if %}").is_err_and(|why| why.starts_with("line 1: ")));
    }
}
