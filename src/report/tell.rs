//! Failures and durations in words, the same on the terminal, in a ticket and in a log.

use std::time::Duration;

use crate::domain::Trouble;

/// A failure as people read it: what, because, do.
pub fn tell(trouble: &Trouble) -> String {
    let mut text = trouble.what.clone();
    for cause in &trouble.causes {
        text.push_str("\n  because ");
        text.push_str(cause);
    }
    if !trouble.advice.is_empty() {
        text.push_str("\n  do: ");
        text.push_str(&trouble.advice);
    }
    text
}

/// `1 entry`, `2 entries`: a count with its noun, which is given in the singular.
pub fn counted(count: u64, one: &str) -> String {
    match (count, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {one}s"),
    }
}

/// `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`, `5 d 3 h`.
pub fn duration_words(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{secs} s"),
        60..3600 => format!("{} min {:02} s", secs / 60, secs % 60),
        3600..86_400 => format!("{} h {:02} min", secs / 3600, secs / 60 % 60),
        _ => format!("{} d {} h", secs / 86_400, secs / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Trouble, counted, duration_words, tell};

    #[test]
    fn what_is_counted_agrees_with_its_number() {
        let told = [(0, "entry"), (1, "entry"), (2, "entry"), (1, "volume"), (30, "volume")];
        assert_eq!(
            told.map(|(n, one)| counted(n, one)),
            ["0 entries", "1 entry", "2 entries", "1 volume", "30 volumes"]
        );
    }

    #[test]
    fn a_failure_is_told_as_what_because_do() {
        let trouble = Trouble {
            what: "could not store volume 1".into(),
            causes: vec!["no room left".into(), "No space left on device (os error 28)".into()],
            advice: "free some room".into(),
        };
        assert_eq!(
            tell(&trouble),
            "could not store volume 1\n  because no room left\n  because No space left on device (os error 28)\n  do: free some room"
        );
    }

    #[test]
    fn durations_are_short_and_unambiguous() {
        for (ms, text) in [
            (0, "0.0 s"),
            (432, "0.4 s"),
            (59_900, "59 s"),
            (185_000, "3 min 05 s"),
            (7_800_000, "2 h 10 min"),
            (442_800_000, "5 d 3 h"),
        ] {
            assert_eq!(duration_words(Duration::from_millis(ms)), text);
        }
    }
}
