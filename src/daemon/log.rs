//! The log: one line an event, for people or as JSON, written by one thread.
//!
//! The danger here is a reader who stops reading: the pipe fills, the writer waits, and with it everything that logs. So
//! lines go through a bounded queue to a thread that may wait as long as it likes; what does not fit is dropped, counted,
//! and told as soon as there is room. Texts come from file names and servers, so control characters are escaped and a
//! line stays a line. No secret comes here: what is logged are values that have none.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::domain::{Clock, SystemClock};

/// Lines that wait for a slow reader: some seconds of the busiest run, some megabytes at the most.
const LINES_MAX: usize = 4096;

/// A text in a line is cut here: the outcome has the whole.
const TEXT_BYTES_MAX: usize = 4096;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// As it should be.
    Info,
    /// Somebody should know.
    Warning,
    /// Something failed.
    Error,
}

impl Weight {
    fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Writes lines. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct Log {
    format: LogFormat,
    lines: Sender<String>,
    dropped: Arc<AtomicU64>,
    ended: Receiver<()>,
}

impl Log {
    /// Writes to `out` from a thread of its own.
    pub fn new(format: LogFormat, mut out: impl Write + Send + 'static) -> Self {
        let (lines, waiting) = bounded::<String>(LINES_MAX);
        let (end, ended) = bounded::<()>(0);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        std::thread::spawn(move || {
            let _ends_with_the_thread = end;
            for line in waiting {
                // nobody is left to tell of an error in the log
                let _ = out.write_all(line.as_bytes());
                let count = lost.swap(0, Ordering::Relaxed);
                if count > 0 {
                    let text = "lines of the log were dropped, because nobody read them in time";
                    let now = SystemClock::new().now();
                    let line = draw(format, now, Weight::Warning, "log-dropped", text, &[("lines", count.into())]);
                    let _ = out.write_all(line.as_bytes());
                }
                let _ = out.flush();
            }
        });
        Self { format, lines, dropped, ended }
    }

    /// Logs an event: its name (for machines, always the same), a sentence for people, and values.
    pub fn tell(&self, now: Timestamp, weight: Weight, event: &'static str, text: &str, values: &[(&str, Value)]) {
        let line = draw(self.format, now, weight, event, text, values);
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets go of it, and waits until all is written, but not for longer than `patience`.
    pub fn finish(self, patience: Duration) {
        let Self { lines, ended, .. } = self;
        drop(lines);
        let _ = ended.recv_timeout(patience);
    }
}

fn draw(
    format: LogFormat,
    now: Timestamp,
    weight: Weight,
    event: &str,
    text: &str,
    values: &[(&str, Value)],
) -> String {
    let time = now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    match format {
        LogFormat::Json => {
            let mut object = Map::new();
            object.insert("time".into(), time.into());
            object.insert("level".into(), weight.word().into());
            object.insert("event".into(), event.into());
            object.insert("text".into(), plain(text, true).into());
            for (name, value) in values {
                let value = match value {
                    Value::String(text) => plain(text, true).into(),
                    other => other.clone(),
                };
                object.entry(*name).or_insert(value);
            }
            format!("{}\n", Value::Object(object))
        }
        LogFormat::Text => {
            let mut line = format!("{time} {:<7} {event}: {}", weight.word(), one_line(text));
            for (name, value) in values {
                let value = match value {
                    Value::String(text) => one_line(text),
                    other => other.to_string(),
                };
                let quoted = value.contains([' ', '"', '=']) || value.is_empty();
                let value = if quoted { format!("{value:?}") } else { value };
                let _ = write!(line, " {name}={value}");
            }
            line.push('\n');
            line
        }
    }
}

fn one_line(text: &str) -> String {
    plain(text, false)
}

/// Text without anything that ends a line, moves a cursor or reads backwards; cut where it is too long. JSON has its own
/// way to write a line feed, and whoever reads it shall get lines.
fn plain(text: &str, keeps_lines: bool) -> String {
    let misleads = |c: char| {
        c.is_control() && !(keeps_lines && c == '\n')
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut line = String::with_capacity(text.len().min(TEXT_BYTES_MAX));
    for c in text.chars() {
        if line.len() >= TEXT_BYTES_MAX {
            line.push('…');
            break;
        }
        if misleads(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
    use jiff::Timestamp;

    use super::{LINES_MAX, Log, LogFormat, Weight, draw};

    fn at() -> Timestamp {
        "2026-11-21T02:00:00Z".parse().expect("a time")
    }

    #[test]
    fn a_name_with_a_line_feed_or_an_escape_stays_on_its_line_in_both_forms() {
        let evil = "a\nERROR all is lost\u{1b}[2J\u{202e}";
        for format in [LogFormat::Json, LogFormat::Text] {
            let line = draw(format, at(), Weight::Info, "skipped", evil, &[("path", evil.into())]);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(!line.trim_end().contains(['\u{1b}', '\u{202e}']), "{line}");
        }
    }

    #[test]
    fn lines_of_a_value_are_lines_again_for_whoever_reads_the_json() {
        let line =
            draw(LogFormat::Json, at(), Weight::Error, "trouble", "one\ntwo", &[("causes", "a\nb\u{1b}".into())]);
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&read["text"], &read["causes"]), (&"one\ntwo".into(), &"a\nb\\u{1b}".into()));
    }

    #[test]
    fn an_event_cannot_be_renamed_by_its_values() {
        let line = draw(LogFormat::Json, at(), Weight::Error, "run-ended", "x", &[("event", "other".into())]);
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&read["event"], &read["level"]), (&"run-ended".into(), &"error".into()));
    }

    /// Takes a line only when it is let.
    struct Slow {
        let_go: Receiver<()>,
        taken: Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.let_go.recv();
            let _ = self.taken.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_sleeps_holds_nobody_up_and_learns_how_much_it_missed() {
        let (open, let_go) = bounded::<()>(0);
        let (taken, lines) = unbounded();
        let log = Log::new(LogFormat::Json, Slow { let_go, taken });
        for number in 0..LINES_MAX + 500 {
            log.tell(at(), Weight::Info, "test", "line", &[("number", number.into())]);
        }
        drop(open);
        log.finish(Duration::from_secs(60));
        let lines: Vec<String> = lines.iter().collect();
        let told: u64 = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?["lines"].as_u64())
            .sum();
        let written = lines.iter().filter(|line| line.contains("\"number\"")).count() as u64;
        assert_eq!(told + written, (LINES_MAX + 500) as u64);
        assert!(told >= 499, "{told}");
    }
}
