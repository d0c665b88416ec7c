//! The last words of a command: the end of its standard error, kept within a bound and told without harm.

use crate::domain::{Secret, Shown};

/// So much of the end is kept.
const KEPT_BYTES: usize = 4 << 10;

/// So many lines of it are told, each up to so many characters.
const LINES_TOLD: usize = 6;
const LINE_CHARS: usize = 300;

/// A line of a secret that is shorter may be anybody's, such as `}`.
const LINE_OF_SECRET_MIN: usize = 8;

/// The end of what was written.
#[derive(Debug, Default)]
pub(super) struct LastWords {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl LastWords {
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > KEPT_BYTES {
            self.bytes.drain(..self.bytes.len() - KEPT_BYTES);
            self.is_cut = true;
        }
    }

    /// In one line, escaped like the name of a file, and without any of the secrets.
    pub(super) fn told(&self, secrets: &[Secret]) -> String {
        let mut bytes = self.bytes.clone();
        // what was cut begins in the middle of a line, and perhaps of a secret
        if self.is_cut {
            let begin = bytes.iter().position(is_end).map_or(bytes.len(), |at| at + 1);
            bytes.drain(..begin);
        }
        for secret in secrets.iter().map(|secret| secret.reveal().as_bytes()) {
            bytes = without(&bytes, secret);
            // of one with several lines perhaps only the end is here
            for line in secret.split(is_end).filter(|line| line.len() >= LINE_OF_SECRET_MIN) {
                bytes = without(&bytes, line);
            }
        }
        let lines: Vec<&[u8]> = bytes.split(is_end).filter(|line| !line.trim_ascii().is_empty()).collect();
        let told = lines[lines.len().saturating_sub(LINES_TOLD)..].iter().map(|line| {
            let text = Shown(line.trim_ascii_end()).to_string();
            match text.char_indices().nth(LINE_CHARS) {
                Some((at, _)) => format!("{}…", &text[..at]),
                None => text,
            }
        });
        told.collect::<Vec<_>>().join(" | ")
    }
}

/// Of a line; progress that is drawn over itself ends in carriage returns.
fn is_end(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn without(bytes: &[u8], secret: &[u8]) -> Vec<u8> {
    if secret.is_empty() {
        return bytes.to_vec();
    }
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(secret) {
            out.extend_from_slice(b"(secret)");
            at += secret.len();
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{KEPT_BYTES, LastWords};
    use crate::domain::Secret;

    #[test]
    fn last_words_are_the_last_lines_escaped_and_without_secrets() {
        let mut words = LastWords::default();
        assert_eq!(words.told(&[]), "");
        words.hear(b"Warning: using a password is insecure: hunter2\n\n");
        words.hear(b"\x1b[2Jgot \xff packets\r\n");
        let told = words.told(&[Secret::new("hunter2"), Secret::new("")]);
        assert_eq!(told, r"Warning: using a password is insecure: (secret) | \u{1b}[2Jgot \xff packets");
    }

    #[test]
    fn a_secret_of_several_lines_whose_beginning_was_cut_is_not_told() {
        let secret = format!("-----BEGIN KEY-----\n{}\nthe last line\n}}\n", "A".repeat(2 * KEPT_BYTES));
        let mut words = LastWords::default();
        words.hear(format!("{secret}}} at the end").as_bytes());
        assert_eq!(words.told(&[Secret::new(&secret)]), "(secret) | } | } at the end");
    }

    #[test]
    fn of_endless_words_the_end_is_kept_without_half_a_line() {
        let mut words = LastWords::default();
        for number in 0..100_000 {
            words.hear(format!("line {number}\n").as_bytes());
            assert!(words.bytes.len() <= KEPT_BYTES);
        }
        assert!(words.told(&[]).ends_with("line 99998 | line 99999"));
        let mut words = LastWords::default();
        words.hear(&[b'x'; 3 * KEPT_BYTES]);
        assert_eq!(words.told(&[]), "", "half of a secret is none that could be found");
    }
}
