//! What stands in a ticket: a message as lines and lists, before it is put into JIRA's own formats.
//!
//! Everything in a message is hostile text: file names, host names, the words of errors. Here it loses what no reader
//! sees (control characters, characters that turn the direction of writing, line feeds); what JIRA would read as markup
//! is the business of `adf` and `wiki`, which see nothing but this. Every line begins with a word of ours.

use std::time::Duration;

use super::super::words::{clip, time};
use super::label::Label;
use crate::domain::SkipCause;
use crate::report::{Kind, Message, RunRecord, SkipRecord, duration_words};

/// JIRA takes no longer summary.
pub(super) const SUMMARY_CHARS_MAX: usize = 255;

/// No single text of a message takes more of a ticket.
const VALUE_CHARS_MAX: usize = 1000;

/// So many entries are named; all of them stand in the manifest.
const NAMED_MAX: usize = 20;

/// A piece of a ticket. Its texts are never empty and have no line feeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Lines of one paragraph.
    Lines(Vec<String>),
    /// A list with bullets.
    List(Vec<String>),
}

/// The first line of a ticket.
pub(super) fn summary(message: &Message) -> String {
    let about = match (&message.job, &message.store) {
        (Some(job), Some(store)) => format!("Backup of {job} to {}", plain(store)),
        (Some(job), None) => format!("Backup of {job}"),
        (None, _) => "Backup".to_owned(),
    };
    let text = format!("{about} on {}: {}", plain(&message.host.0), word(message.kind));
    clip(&text, SUMMARY_CHARS_MAX)
}

/// The text of a new ticket. `before` is the key of an older one.
pub(super) fn description(message: &Message, label: &Label, before: Option<&str>) -> Vec<Block> {
    let mut blocks = body(message);
    if let Some(key) = before {
        blocks.push(Block::Lines(vec![format!("The ticket before this one: {}", plain(key))]));
    }
    blocks.push(footer(message, label));
    blocks
}

/// A comment. `more` is said behind the message.
pub(super) fn comment(message: &Message, label: &Label, more: Option<&str>) -> Vec<Block> {
    let mut blocks = body(message);
    if let Some(more) = more {
        blocks.push(Block::Lines(vec![plain(more)]));
    }
    blocks.push(footer(message, label));
    blocks
}

/// The same, with less in it: no list longer than `entries`, no line longer than `chars`. The last block, by which the
/// ticket is found again, stays whole.
pub(super) fn shortened(blocks: &[Block], entries: usize, chars: usize) -> Vec<Block> {
    let (last, first) = blocks.split_last().expect("the footer is always there");
    let lines = |lines: &[String]| lines.iter().take(entries).map(|line| clip(line, chars)).collect::<Vec<_>>();
    let mut shorter: Vec<Block> = first
        .iter()
        .map(|block| match block {
            Block::Lines(all) => Block::Lines(lines(all)),
            Block::List(all) => Block::List(lines(all)),
        })
        .collect();
    shorter.push(Block::Lines(vec!["Shortened to what a ticket holds.".to_owned()]));
    shorter.push(last.clone());
    shorter
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Ok => "ok",
        Kind::Partial => "not complete",
        Kind::Failed => "failed",
        Kind::Missed => "missed",
        Kind::Overdue => "overdue",
        Kind::Damage => "damage in a snapshot",
        Kind::Recovered => "well again",
        Kind::Trouble => "trouble",
        Kind::Test => "test, nothing has happened",
    }
}

fn opening(kind: Kind) -> &'static str {
    match kind {
        Kind::Ok => "The run was ok.",
        Kind::Partial => "There is a snapshot, but not everything is in it.",
        Kind::Failed => "The run failed; there is no new snapshot.",
        Kind::Missed => "A run was due and did not start.",
        Kind::Overdue => "There has been no good snapshot for longer than there should be.",
        Kind::Damage => "A stored snapshot is not what it was.",
        Kind::Recovered => "All is well again.",
        Kind::Trouble => "The backup program has a problem.",
        Kind::Test => "This is a test. Nothing has happened; close this ticket as you like.",
    }
}

fn body(message: &Message) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = vec![opening(message.kind).to_owned()];
    if let Some(trouble) = message.trouble() {
        lines.push(format!("What: {}", plain(&trouble.what)));
        lines.extend(trouble.causes.iter().take(NAMED_MAX).map(|cause| format!("Because: {}", plain(cause))));
        if !trouble.advice.trim().is_empty() {
            lines.push(format!("Do: {}", plain(&trouble.advice)));
        }
    }
    blocks.push(Block::Lines(lines));
    blocks.push(Block::List(facts(message)));
    if let Some(run) = &message.outcome {
        blocks.extend(run_blocks(run));
    }
    blocks
}

fn facts(message: &Message) -> Vec<String> {
    let mut facts = vec![format!("When: {}", time(message.at)), format!("Host: {}", plain(&message.host.0))];
    facts.extend(message.job.iter().map(|job| format!("Job: {job}")));
    facts.extend(message.store.iter().map(|store| format!("Store: {}", plain(store))));
    facts.extend(message.snapshot.iter().map(|snapshot| format!("Snapshot: {snapshot}")));
    if message.in_a_row > 1 {
        facts.push(format!("In a row: {} runs were not ok", message.in_a_row));
    }
    if message.held_back > 0 {
        facts.push(format!("Held back: {} messages like this since the last one", message.held_back));
    }
    facts.extend(message.last_success.iter().map(|at| format!("Last good run: {}", time(*at))));
    facts.extend(message.next_run.iter().map(|at| format!("Next run: {}", time(*at))));
    facts.extend(message.build_url.iter().map(|url| format!("Build: {}", plain(url))));
    facts
}

fn run_blocks(run: &RunRecord) -> Vec<Block> {
    let took = duration_words(Duration::from_millis(run.took_ms));
    let mut lines = vec![format!("The run {} began {} and took {took}.", run.run, time(run.started))];
    lines.extend(run.doubts.iter().take(NAMED_MAX).map(|doubt| format!("Doubt: {}", plain(doubt))));
    let mut blocks = Vec::new();
    if run.skipped > 0 {
        lines.push(format!("Not in the snapshot as they should be: {} entries. The first of them:", run.skipped));
    }
    blocks.push(Block::Lines(lines));
    let named: Vec<String> = run.skips.iter().take(NAMED_MAX).map(skip).collect();
    if !named.is_empty() {
        blocks.push(Block::List(named));
    }
    blocks
}

fn skip(skip: &SkipRecord) -> String {
    let name = match (&skip.path, &skip.path_hex) {
        (Some(path), _) => plain(path),
        (None, Some(hex)) => format!("a name that is no text, in hexadecimal {}", plain(hex)),
        (None, None) => "an entry without a name".to_owned(),
    };
    let cause: SkipCause = skip.cause;
    format!("It {}: {name} ({})", cause.words(), plain(&skip.why))
}

/// By which the ticket and the message are found again. Nothing shortens it.
fn footer(message: &Message, label: &Label) -> Block {
    Block::Lines(vec![
        format!("Label {label} (please leave this line as it is)"),
        format!("Message {} from {}", plain(&message.id), plain(&message.tool)),
    ])
}

/// `text` on one line, with everything visible that is in it, and not too long.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars().take(VALUE_CHARS_MAX + 1) {
        if is_unseen(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    if plain.trim().is_empty() { "(blank)".to_owned() } else { clip(&plain, VALUE_CHARS_MAX) }
}

/// Control characters, those that turn the direction of writing or have no width, and what is no character at all.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}' | '\u{e0000}'..='\u{e0fff}')
        || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::label::Label;
    use super::super::tests::message;
    use super::{Block, SUMMARY_CHARS_MAX, comment, description, plain, shortened, summary};
    use crate::domain::{Host, Trouble};
    use crate::report::Kind;

    fn lines(blocks: &[Block]) -> Vec<String> {
        blocks
            .iter()
            .flat_map(|block| match block {
                Block::Lines(lines) | Block::List(lines) => lines.clone(),
            })
            .collect()
    }

    #[test]
    fn a_ticket_says_what_happened_and_how_it_is_found_again() {
        let message = message(Kind::Failed);
        assert_eq!(summary(&message), "Backup of upload to nas on web1: failed");
        let text = lines(&description(&message, &Label::of(&message), Some("OPS-3"))).join("\n");
        for part in [
            "The run failed; there is no new snapshot.",
            "What: could not store volume 1",
            "Because: no room left",
            "Do: free some room",
            "Job: upload",
            "The ticket before this one: OPS-3",
            &message.id,
            Label::of(&message).as_str(),
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn the_ticket_of_a_failed_run_says_why_it_failed() {
        let mut message = crate::notify::words::tests::message(Kind::Failed);
        message.trouble = None;
        let failure =
            Trouble { what: "the share is gone".into(), causes: vec!["no mount".into()], advice: "mount it".into() };
        message.outcome.as_mut().expect("a run").failure = Some(failure);
        let text = lines(&description(&message, &Label::of(&message), None)).join("\n");
        for part in ["What: the share is gone", "Because: no mount", "Do: mount it"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn what_is_shortened_keeps_the_lines_by_which_it_is_found() {
        let message = message(Kind::Failed);
        let blocks = comment(&message, &Label::of(&message), None);
        assert_eq!(shortened(&blocks, 1, 10).last(), blocks.last());
        assert!(lines(&shortened(&blocks, 1, 10)).len() < lines(&blocks).len());
    }

    #[test]
    fn what_nobody_sees_is_shown() {
        assert_eq!(plain("a\nb\u{202e}c\u{0}"), "a\\nb\\u{202e}c\\u{0}");
        assert_eq!(plain(" \t"), " \\t");
        assert_eq!(plain("  "), "(blank)");
        assert_eq!(plain(&"x".repeat(5000)).chars().count(), 1000);
    }

    proptest! {
        #[test]
        fn whatever_is_told_no_line_is_empty_or_broken(what in "\\PC{0,80}|[\\x00-\\x7f]{0,40}", host in "[\\s\\S]{0,300}") {
            let mut message = message(Kind::Failed);
            message.trouble = Some(Trouble { what, causes: vec![String::new()], advice: "\n".into() });
            message.host = Host(host);
            let title = summary(&message);
            prop_assert!(title.chars().count() <= SUMMARY_CHARS_MAX && !title.contains(['\n', '\r']));
            for line in lines(&description(&message, &Label::of(&message), None)) {
                prop_assert!(!line.trim().is_empty() && !line.chars().any(char::is_control), "{:?}", line);
            }
        }
    }
}
