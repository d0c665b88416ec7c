//! Times, spans and sizes in the words of the page: the same on every part of it.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::report::duration_words;

/// Whether a character may not be shown as it is: controls, and those that make a text read as another one.
pub(super) fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Text on one line, with what misleads escaped.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if misleads(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

/// A span that is not negative: `3 min 05 s`.
pub(super) fn span(span: SignedDuration) -> String {
    duration_words(Duration::try_from(span).unwrap_or_default())
}

/// `2 h 10 min ago`, `in 5 h 00 min`, `now`.
pub(super) fn distance(at: Timestamp, now: Timestamp) -> String {
    let ago = now.duration_since(at);
    match ago.as_secs() {
        0 => "now".to_owned(),
        1.. => format!("{} ago", span(ago)),
        _ => format!("in {}", span(ago.abs())),
    }
}

/// `Sat 2026-11-21 02:00`.
pub(super) fn moment(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M").to_string()
}

/// `1 file`, `2 files`, `12 345 files`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// `12 345`, with narrow spaces that do not break.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{distance, grouped, one_line};

    #[test]
    fn a_text_stays_on_its_line_and_reads_as_what_it_is() {
        assert_eq!(one_line("a\nb\u{202e}c\u{1b}[2J é \\"), "a\\nb\\u{202e}c\\u{1b}[2J é \\");
    }

    #[test]
    fn distances_and_numbers_are_easy_to_read() {
        let now = "2026-11-21T12:00:00Z".parse().expect("a time");
        for (at, text) in [
            ("2026-11-21T09:50:00Z", "2 h 10 min ago"),
            ("2026-11-21T12:00:00Z", "now"),
            ("2026-11-22T02:00:00Z", "in 14 h 00 min"),
        ] {
            assert_eq!(distance(at.parse().expect("a time"), now), text);
        }
        assert_eq!(["7", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"], [7, 999, 1000, 1_234_567].map(grouped)[..]);
    }
}
