//! The page for people, and its one way to make HTML.
//!
//! The danger here is text that becomes markup. [`Html`] is only made by [`el`] and [`leaf`], whose tags and attribute
//! names are literals, and from text, which is escaped on the way: there is no function that takes markup as a string. What
//! misleads the eye (control characters, overrides of the direction) is written out as an escape, as on the terminal.
//!
//! No scripts, nothing from elsewhere, one style sheet that the policy names by its hash.

mod calendar;
mod chart;
mod door;
mod folder;
mod frame;
mod front;
mod job;
mod outcome;
mod pieces;

pub use door::{answer, sign_in};
pub use folder::folder;
pub use frame::{content_security_policy, security_headers};
pub use front::front;

use super::words::misleads;

/// Markup that is right by construction: balanced, and every text in it escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Html(String);

/// An element with what is in it.
fn el(tag: &'static str, attributes: &[(&'static str, &str)], inner: impl Into<Html>) -> Html {
    let Html(mut text) = leaf(tag, attributes);
    text.push_str(&inner.into().0);
    text.push_str("</");
    text.push_str(tag);
    text.push('>');
    Html(text)
}

/// An element that has no end tag (`input`, `meta`, `link`).
fn leaf(tag: &'static str, attributes: &[(&'static str, &str)]) -> Html {
    let mut text = format!("<{tag}");
    for (name, value) in attributes {
        text.push(' ');
        text.push_str(name);
        text.push_str("=\"");
        escape(value, &mut text);
        text.push('"');
    }
    text.push('>');
    Html(text)
}

impl From<&str> for Html {
    fn from(text: &str) -> Self {
        let mut escaped = String::with_capacity(text.len());
        escape(text, &mut escaped);
        Self(escaped)
    }
}

impl From<String> for Html {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<Vec<Self>> for Html {
    fn from(parts: Vec<Self>) -> Self {
        Self(parts.into_iter().map(|part| part.0).collect())
    }
}

impl<const N: usize> From<[Self; N]> for Html {
    fn from(parts: [Self; N]) -> Self {
        Vec::from(parts).into()
    }
}

impl From<Option<Self>> for Html {
    fn from(part: Option<Self>) -> Self {
        part.unwrap_or_default()
    }
}

/// The one place where text becomes part of markup.
fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            '\'' => into.push_str("&#39;"),
            '\n' => into.push('\n'),
            c if misleads(c) => into.extend(c.escape_default()),
            c => into.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Html, el};

    #[test]
    fn markup_in_a_text_is_shown_and_means_nothing() {
        let Html(text) = el("p", &[("title", "\"><b>")], "<b>'&\u{1b}\u{202e}x");
        assert_eq!(text, "<p title=\"&quot;&gt;&lt;b&gt;\">&lt;b&gt;&#39;&amp;\\u{1b}\\u{202e}x</p>");
    }

    proptest! {
        #[test]
        fn no_text_gets_out_of_its_element(value in ".*", inner in ".*") {
            let Html(text) = el("p", &[("title", &value)], inner.as_str());
            prop_assert_eq!(text.matches('<').count(), 2);
            prop_assert_eq!(text.matches('>').count(), 2);
            prop_assert_eq!(text.matches('"').count(), 2);
            prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
        }
    }
}
