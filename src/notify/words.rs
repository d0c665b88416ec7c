//! A message in our own words, before a channel gives them its form.
//!
//! Everything here may hold names that somebody else chose. What would end a line, move a cursor or turn text around is
//! escaped already; what a channel takes for markup is not, because each has its own: the channel escapes that.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::{ByteCount, Shown, Verdict};
use crate::report::{Kind, Message, Subject, duration_words, tell};

/// So many skipped entries are named in a message; all of them stand in the manifest.
pub const SKIPS_NAMED: usize = 10;

/// No name is longer in a message: the rest of it is in the manifest.
const NAME_CHARS_MAX: usize = 200;

/// A ticket that is about the same trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// For example `OPS-12`.
    pub key: String,
    /// Where people read it.
    pub url: String,
}

/// What there is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// One line.
    pub title: String,
    /// Short values with their names, each one line.
    pub facts: Vec<(&'static str, String)>,
    /// What failed, why, and what to do; may have several lines.
    pub trouble: Option<String>,
    /// What makes a run partial besides skipped entries; one line each.
    pub doubts: Vec<String>,
    /// The first skipped entries, one line each.
    pub skips: Vec<String>,
    /// How many more there are.
    pub skips_more: u64,
    /// Where from: the program, the installation.
    pub from: String,
}

impl Words {
    /// Of a message.
    pub fn of(message: &Message) -> Self {
        let (skips, skips_more) = skips(message);
        let trouble = message.trouble();
        let doubts = message.outcome.iter().flat_map(|outcome| &outcome.doubts).map(|doubt| one_line(doubt)).collect();
        Self {
            title: title(message),
            facts: facts(message),
            trouble: trouble.map(|trouble| tell(trouble).lines().map(line_plain).collect::<Vec<_>>().join("\n")),
            doubts,
            skips,
            skips_more,
            from: format!("{}, installation {}", one_line(&message.tool), one_line(&message.instance)),
        }
    }

    /// All of it below the title, as plain text.
    pub fn body(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        if let Some(trouble) = &self.trouble {
            lines.extend([trouble.clone(), String::new()]);
        }
        lines.extend(self.facts.iter().map(|(name, value)| format!("{:<12} {value}", format!("{name}:"))));
        if !self.doubts.is_empty() {
            lines.push(String::new());
            lines.extend(self.doubts.iter().map(|doubt| format!("but: {doubt}")));
        }
        if let Some(heading) = self.skips_heading() {
            lines.extend([String::new(), heading]);
            lines.extend(self.skips.iter().map(|skip| format!("  {skip}")));
        }
        lines.extend([String::new(), self.from.clone()]);
        lines.join("\n")
    }

    /// The line above the skipped entries; none if there are none.
    pub fn skips_heading(&self) -> Option<String> {
        let all = self.skips.len() as u64 + self.skips_more;
        match (all, self.skips_more) {
            (0, _) => None,
            (all, 0) => Some(format!("Skipped ({all}):")),
            (all, _) => Some(format!("Skipped ({all}, the first of them):")),
        }
    }
}

fn store_name(message: &Message) -> String {
    one_line(message.store.as_deref().unwrap_or_default())
}

/// Which job where, and how it stands with it.
fn title(message: &Message) -> String {
    let what = message.job.as_ref().map_or("backup", |job| job.as_str());
    let subject = format!("{what} on {}", one_line(&message.host.0));
    let skipped = message.outcome.as_ref().map_or(0, |outcome| outcome.skipped);
    match message.kind {
        Kind::Ok => format!("{subject}: ok"),
        Kind::Partial if skipped == 1 => format!("{subject}: partial, 1 entry skipped"),
        Kind::Partial if skipped > 0 => format!("{subject}: partial, {skipped} entries skipped"),
        Kind::Partial => format!("{subject}: partial"),
        Kind::Failed if message.in_a_row > 1 => format!("{subject}: failed, {} in a row", message.in_a_row),
        Kind::Failed => format!("{subject}: failed"),
        Kind::Missed => format!("{subject}: a run was missed"),
        Kind::Overdue => format!("{subject}: no good snapshot for too long"),
        Kind::Damage => format!("{subject}: damage in a stored snapshot"),
        Kind::Recovered => match message.subject {
            None => format!("{subject}: well again"),
            Some(Subject::Config) => format!("{subject}: well again, the configuration is taken"),
            Some(Subject::State) => format!("{subject}: well again, state is kept"),
            Some(Subject::Store) => format!("{subject}: well again, the store {} can be used", store_name(message)),
            Some(Subject::Verify) => format!("{subject}: well again, snapshots can be verified"),
            Some(Subject::Retention) => format!("{subject}: well again, retention does its work"),
            Some(Subject::Damage) => format!("{subject}: well again, the damage that was found is gone"),
        },
        Kind::Trouble if message.subject == Some(Subject::Store) => {
            format!("{subject}: trouble with the store {}", store_name(message))
        }
        Kind::Trouble if message.subject == Some(Subject::Retention) => {
            format!("{subject}: retention does not do its work")
        }
        Kind::Trouble => format!("{subject}: trouble with the program itself"),
        Kind::Test => format!("TEST: {subject}: nothing has happened, this is a test"),
    }
}

fn facts(message: &Message) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Host", one_line(&message.host.0))];
    let mut add = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    add("Job", message.job.as_ref().map(ToString::to_string));
    add("Store", message.store.as_deref().map(one_line));
    if let Some(outcome) = &message.outcome {
        let totals = &outcome.totals;
        add("Outcome", Some(outcome.verdict.word().to_owned()));
        if outcome.verdict == Verdict::Ok || outcome.verdict == Verdict::Partial {
            add("Read", Some(format!("{} in {} files", totals.read_bytes, totals.files)));
            add("Stored", Some(totals.stored_bytes.to_string()));
            add("Reused", (totals.reused_bytes.0 > 0).then(|| totals.reused_bytes.to_string()));
            add("Size", Some(size(totals.content_bytes.0, message.size_before)));
        }
        add("Skipped", (outcome.skipped > 0).then(|| outcome.skipped.to_string()));
        add("Took", Some(duration_words(Duration::from_millis(outcome.took_ms))));
    }
    let outcome_snapshot = message.outcome.as_ref().and_then(|outcome| outcome.snapshot.as_ref());
    add("Snapshot", message.snapshot.as_ref().or(outcome_snapshot).map(ToString::to_string));
    add("Happened", Some(time(message.at)));
    add("Next run", message.next_run.map(time));
    add("Last good", message.last_success.map(time));
    add("In a row", (message.in_a_row > 0).then(|| format!("{} not ok", message.in_a_row)));
    add("Held back", (message.held_back > 0).then(|| format!("{} messages like this", message.held_back)));
    add("Build", message.build_url.as_deref().map(one_line));
    facts
}

/// Of the content, with its change against the last good run before.
fn size(now: u64, before: Option<u64>) -> String {
    let text = ByteCount(now).to_string();
    match before {
        None => text,
        Some(before) if before == now => format!("{text} (as before)"),
        Some(before) if before < now => format!("{text} (+{})", ByteCount(now - before)),
        Some(before) => format!("{text} (-{})", ByteCount(before - now)),
    }
}

fn skips(message: &Message) -> (Vec<String>, u64) {
    let Some(outcome) = &message.outcome else { return (Vec::new(), 0) };
    let named: Vec<String> = outcome
        .skips
        .iter()
        .take(SKIPS_NAMED)
        .map(|skip| {
            let path = skip.to_skip().map_or_else(|| "a name that is no path".to_owned(), |skip| skip.path.to_string());
            format!("{}: {} ({})", clip(&path, NAME_CHARS_MAX), skip.cause.words(), one_line(&skip.why))
        })
        .collect();
    let more = outcome.skipped.saturating_sub(named.len() as u64);
    (named, more)
}

/// In UTC, to the minute: receivers live in several zones.
pub fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Without anything that ends a line, moves a cursor or turns text around.
pub fn one_line(text: &str) -> String {
    clip(&line_plain(text), 4 * NAME_CHARS_MAX)
}

fn line_plain(text: &str) -> String {
    // what `Shown` does, but a backslash in our own words stays one
    text.split('\\').map(|part| Shown(part.as_bytes()).to_string()).collect::<Vec<_>>().join("\\")
}

/// At most `chars_max` characters; what is cut is marked.
pub fn clip(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Message, Words, clip};
    use crate::domain::{Host, SkipCause, StopReason, Totals, Trouble, Verdict};
    use crate::report::{Kind, RunRecord, SkipRecord};

    /// Names that are markup somewhere, or worse.
    pub const HOSTILE: [&str; 9] = [
        "<!channel>",
        "*bold* _it_ ~no~ `code`",
        "</x>&lt;b&gt;",
        ":bomb: \u{1f4a3}",
        "two\nlines",
        "\u{202e}gpj.exe",
        "<https:/evil.example|click>",
        "@here #general",
        "{{ 7 * 7 }} h1. {code}",
    ];

    /// A message with something in every field.
    pub fn message(kind: Kind) -> Message {
        let job: crate::domain::JobName = "upload".parse().expect("a job");
        let at = "2026-11-21T02:01:00Z".parse().expect("a time");
        let skips: Vec<SkipRecord> = HOSTILE
            .iter()
            .map(|name| SkipRecord {
                path: Some((*name).to_owned()),
                path_hex: None,
                cause: SkipCause::Unreadable,
                why: "Permission denied".to_owned(),
            })
            .collect();
        let failed = matches!(kind, Kind::Failed | Kind::Missed | Kind::Overdue | Kind::Damage | Kind::Trouble);
        let trouble = Trouble {
            what: "could not store volume 1".to_owned(),
            causes: vec!["no room <left>".to_owned()],
            advice: "free some".to_owned(),
        };
        let snapshot = crate::domain::SnapshotName::new(&job, at);
        Message {
            id: "ab".repeat(16),
            kind,
            at,
            instance: "web1".to_owned(),
            host: Host("web1".to_owned()),
            job: Some(job.clone()),
            store: Some("nas".to_owned()),
            outcome: Some(Box::new(RunRecord {
                kind: "run".to_owned(),
                format: 1,
                verdict: if failed { Verdict::Failed } else { Verdict::Partial },
                job,
                run: crate::domain::RunId::from_random([3; 16]),
                host: Host("web1".to_owned()),
                store: "/mnt/backup".to_owned(),
                sources: vec!["/var/www/upload".to_owned()],
                started: at,
                finished: at,
                took_ms: 60_000,
                snapshot: (!failed).then(|| snapshot.clone()),
                record: None,
                totals: Totals { files: 12, ..Totals::default() },
                skipped: skips.len() as u64 + 3,
                skips,
                doubts: vec!["the source shrank".to_owned()],
                notices: Vec::new(),
                reason: failed.then_some(StopReason::Store),
                failure: failed.then(|| trouble.clone()),
            })),
            size_before: Some(100),
            next_run: Some(at),
            last_success: Some(at),
            in_a_row: 2,
            subject: None,
            particular: None,
            held_back: 4,
            build_url: Some("https://ci.example/job/7".to_owned()),
            snapshot: (!failed).then_some(snapshot),
            trouble: failed.then_some(trouble),
            tool: "backup 0.1.0".to_owned(),
        }
    }

    #[test]
    fn no_name_adds_a_line_or_turns_text_around() {
        let words = Words::of(&message(Kind::Partial));
        assert_eq!(words.skips.len(), HOSTILE.len());
        assert_eq!(words.skips_more, 3);
        for line in words.skips.iter().chain(words.facts.iter().map(|(_, value)| value)) {
            assert!(!line.contains(['\n', '\r', '\u{202e}']), "{line:?}");
        }
        assert!(words.skips[4].starts_with("two\\nlines: could not be read"), "{}", words.skips[4]);
    }

    #[test]
    fn a_failed_run_says_what_why_and_what_to_do() {
        let body = Words::of(&message(Kind::Failed)).body();
        assert!(body.starts_with("could not store volume 1\n  because no room <left>\n  do: free some\n"), "{body}");
        for part in ["Host:        web1", "Skipped (12, the first of them):", "Next run:    2026-11-21 02:01 UTC"] {
            assert!(body.contains(part), "{part} in {body}");
        }
    }

    #[test]
    fn what_is_cut_is_marked_and_characters_stay_whole() {
        assert_eq!((clip("äöü", 3), clip("äöüß", 3)), ("äöü".to_owned(), "äö…".to_owned()));
    }
}
