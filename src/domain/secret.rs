//! A value that must not be seen: a token, a webhook's address, a password.
//!
//! It has no `Display`, its `Debug` says nothing, and it is not serialised: whoever needs the text says `reveal`, which
//! one search finds. It is never put into a log, an argument, a child's environment, a record, a page or an error.

use std::fmt;

/// Text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`. What a file adds at its end (line feeds, blanks) is taken off.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The text, for the one call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_says_nothing_of_itself() {
        let secret = Secret::new("xoxb-canary\n");
        assert_eq!(secret.reveal(), "xoxb-canary");
        assert!(!format!("{secret:?}").contains("canary"));
    }
}
