//! The summary of a run: what a person reads in the morning, or at 3 a.m.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::tell::{counted, duration_words, tell};
use crate::domain::{Outcome, Verdict};

/// How many skipped entries a summary names; the rest is one command away.
const SKIPS_SHOWN: usize = 10;

/// What the summary says of the time to come.
#[derive(Clone, Debug, Default)]
pub struct Next {
    /// When the next run is due, in the job's zone.
    pub due: Option<jiff::Timestamp>,
    /// The job's zone.
    pub zone: Option<TimeZone>,
    /// The folder of the store, for the restore command.
    pub store_path: String,
}

/// Several lines without a last line feed.
pub fn summary(outcome: &Outcome, next: &Next) -> String {
    let mut lines = vec![headline(outcome)];
    let totals = &outcome.totals;
    let took = Duration::from_millis(outcome.took_ms);
    if let Some(snapshot) = &outcome.snapshot {
        let mut kinds = vec![counted(totals.files, "file"), counted(totals.folders, "folder")];
        for (count, one) in
            [(totals.symlinks, "symlink"), (totals.hard_links, "hard link"), (totals.special, "special file")]
        {
            if count > 0 {
                kinds.push(counted(count, one));
            }
        }
        let (kinds, took_words) = (kinds.join(", "), duration_words(took));
        if totals.reused_bytes.0 > 0 {
            // what did not change is looked at, not read
            lines.push(format!("  looked at {kinds} in {took_words}, and read {} of them", totals.read_bytes));
        } else {
            lines.push(format!("  read      {kinds} in {took_words}, {}", rate(totals.read_bytes.0, took)));
        }
        let (stored, content) = (totals.stored_bytes.0, totals.content_bytes.0);
        let mut share = if content > 0 { format!(" for {} of content", totals.content_bytes) } else { String::new() };
        // of a few small files the headers are the most
        if (1..=content).contains(&stored) {
            share.push_str(&format!(" ({:.0} %)", 100.0 * stored as f64 / content as f64));
        }
        lines.push(format!("  stored    {}{share}", totals.stored_bytes));
        if totals.reused_bytes.0 > 0 {
            lines.push(format!("  reused    {} of earlier volumes", totals.reused_bytes));
        }
        let mut left_out = Vec::new();
        for (count, word) in [
            (totals.excluded, "excluded"),
            (totals.sockets, "sockets"),
            (totals.mounts, "folders of other file systems, not entered"),
        ] {
            if count > 0 {
                left_out.push(format!("{count} {word}"));
            }
        }
        if !left_out.is_empty() {
            lines.push(format!("  left out  {}", left_out.join(", ")));
        }
        lines.push(format!("  lies in   {}/{}/{snapshot}", next.store_path, outcome.job));
        lines.push(format!("  restore   see RESTORE.txt there: plain tar is enough; check it with `backup verify {snapshot} --store {}`", next.store_path));
    }
    if !outcome.skips.is_empty() {
        lines.push(format!("  skipped   {}:", counted(outcome.skips.count(), "entry")));
        for skip in outcome.skips.listed().iter().take(SKIPS_SHOWN) {
            lines.push(format!("              {} {}: {}", skip.path, skip.cause.words(), skip.why));
        }
        let more = outcome.skips.count().saturating_sub(SKIPS_SHOWN as u64);
        if more > 0 {
            let see = outcome
                .snapshot
                .as_ref()
                .map_or_else(String::new, |name| format!("; `backup show {name} --skipped` names them all"));
            lines.push(format!("              and {more} more{see}"));
        }
    }
    lines.extend(outcome.doubts.iter().map(|doubt| format!("  doubt     {doubt}")));
    lines.extend(outcome.notices.iter().map(|notice| format!("  note      {notice}")));
    if let Some((_, trouble)) = &outcome.failure {
        lines.extend(tell(trouble).lines().map(|line| format!("  {line}")));
    }
    if let Some(due) = next.due {
        let zone = next.zone.clone().unwrap_or(TimeZone::UTC);
        lines.push(format!("  next run  {}", due.to_zoned(zone).strftime("%A %Y-%m-%d %H:%M %Z")));
    }
    lines.join("\n")
}

fn headline(outcome: &Outcome) -> String {
    let job = &outcome.job;
    match (outcome.verdict(), &outcome.snapshot) {
        (Verdict::Ok, Some(name)) => format!("ok: {name} is complete"),
        (Verdict::Partial, Some(name)) => {
            format!("PARTIAL: {name} was made, but not everything is in it as it should be")
        }
        (Verdict::Skipped, _) => format!("skipped: another run of {job} is at work"),
        (verdict, _) => format!("{}: job {job} made no snapshot", verdict.word().to_uppercase()),
    }
}

fn rate(bytes: u64, took: Duration) -> String {
    let per_second = bytes as f64 / took.as_secs_f64().max(0.001);
    format!("{}/s", crate::domain::ByteCount(per_second as u64))
}
