//! Secrets in the file's text, made unreadable before a line of it is drawn under an error.
//!
//! The danger here is an error about something else on a secret's line, or before the file can be read as YAML at all. So
//! this goes by text alone: what stands behind the name of a secret is masked, on its line and on deeper ones that go on
//! with it. Positions stay: a mask is as long as what it hides. It masks too much rather than too little.
//!
//! A secret may also stand where it does not belong: as the value of `slack` rather than of its `webhook_url`, of a
//! `token_file`, of a key that there is not, or as a key. So only values of keys that are known to hold no secret are
//! shown, and nothing that looks like an address.

use std::borrow::Cow;

use super::keys::{Form, KEYS};

/// The same text with every secret's letters as `x`, and each byte where it was. No `*`: a masked cron expression would
/// read as another one.
pub(super) fn masked(text: &str) -> String {
    without_named(&without_misplaced(text))
}

/// What a message repeats of a text: nothing of an address.
pub(super) fn without_addresses(words: &str) -> Cow<'_, str> {
    let is_address = |word: &str| {
        word.split_once("://").is_some_and(|(_, rest)| rest.chars().next().is_some_and(char::is_alphanumeric))
    };
    if !words.split_whitespace().any(is_address) {
        return Cow::Borrowed(words);
    }
    Cow::Owned(
        words.split(' ').map(|word| if is_address(word) { "(an address)" } else { word }).collect::<Vec<_>>().join(" "),
    )
}

/// Whether a text may be a mistyped name of a key, and is no secret that stands in place of one: the shortest token has
/// 16 characters.
pub(super) fn is_a_name(text: &str) -> bool {
    let is_plain =
        |also: fn(char) -> bool| text.chars().all(|c| c.is_ascii_alphabetic() || "_-".contains(c) || also(c));
    text.len() < 16 && is_plain(|c| c.is_ascii_digit() || c == '.') || text.len() <= 20 && is_plain(|_| false)
}

/// What becomes of a key's values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    Masked,
    Shown,
    /// Of a key that names a file: whole paths are shown, for anything else may be what should stand in the file.
    Paths,
}

fn values_of(name: &str) -> Values {
    let mut forms = KEYS.iter().filter(|key| key.name == name).map(|key| key.form).peekable();
    let is_known = forms.peek().is_some() || matches!(name, "jobs" | "sources" | "stores");
    let is_masked = |form| {
        matches!(
            form,
            Form::Secret
                | Form::Hidden
                | Form::Door
                | Form::Inner(_)
                | Form::Several(_)
                | Form::Url
                | Form::Template
                | Form::Words
                | Form::Script
                | Form::Variables
                | Form::VariableFiles
        )
    };
    if !is_known || forms.any(is_masked) {
        Values::Masked
    } else if name.ends_with("_file") {
        Values::Paths
    } else {
        Values::Shown
    }
}

/// Masks every word but the names of keys and the values that are known to be harmless.
fn without_misplaced(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut values, mut key_indent) = (Values::Masked, 0);
    // the brackets that are open
    let mut within: Vec<char> = Vec::new();
    for line in text.split_inclusive('\n') {
        let start = line.trim_start();
        let indent = line.len() - start.len();
        if within.is_empty() && indent <= key_indent && !start.is_empty() && !start.starts_with(['-', '#']) {
            // whatever follows, it is no value of the key before
            values = Values::Masked;
        }
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            if first.is_whitespace() || is_mark(first) {
                match first {
                    '{' | '[' => within.push(first),
                    '}' | ']' => drop(within.pop()),
                    _ => {}
                }
                if first == '{' || first == ',' && within.last() == Some(&'{') {
                    values = Values::Masked;
                }
                out.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
            let variable = rest.strip_prefix("${").and_then(|name| name.find('}')).map(|end| end + 3);
            let end = variable.or_else(|| rest.find(|c: char| c.is_whitespace() || is_mark(c))).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            let behind = after.trim_start_matches(['"', '\'']).trim_start_matches(' ');
            let name = word.strip_suffix(':').or_else(|| behind.starts_with(':').then_some(word));
            if let Some(name) = name {
                (values, key_indent) = (values_of(name), indent);
            }
            let is_shown = match name {
                Some(name) => is_a_name(name) || KEYS.iter().any(|key| key.name == name),
                None => {
                    let is_mark = word.chars().all(|c| c.is_ascii_punctuation());
                    let is_plain = values == Values::Shown || values == Values::Paths && word.starts_with('/');
                    variable.is_some() || is_mark || is_plain && !word.contains("://")
                }
            };
            if is_shown { out.push_str(word) } else { out.push_str(&crosses(word)) }
        }
    }
    out
}

fn is_mark(c: char) -> bool {
    matches!(c, '{' | '}' | '[' | ']' | ',' | '"' | '\'')
}

/// Masks what stands behind the name of a secret.
fn without_named(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // how far the line of a secret is indented that goes on with the next line
    let mut goes_on: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if goes_on.is_some_and(|of| indent > of || line.trim().is_empty()) {
            out.push_str(&crosses(line));
            continue;
        }
        goes_on = None;
        match value_at(line) {
            None => out.push_str(line),
            Some(at) => {
                out.push_str(&line[..at]);
                out.push_str(&crosses(&line[at..]));
                goes_on = Some(indent);
            }
        }
    }
    out
}

/// Where the value of the first secret on a line begins. All that follows is masked with it.
fn value_at(line: &str) -> Option<usize> {
    let hidden = KEYS.iter().filter(|key| matches!(key.form, Form::Secret | Form::Hidden)).map(|key| key.name);
    hidden
        .filter_map(|name| {
            line.match_indices(name).find_map(|(at, _)| {
                let before = line[..at].chars().next_back();
                let rest = line[at + name.len()..].trim_start_matches(['"', '\'']).trim_start();
                let is_whole = before.is_none_or(|c| !c.is_alphanumeric() && c != '_');
                (is_whole && rest.starts_with(':')).then(|| line.len() - rest.len() + 1)
            })
        })
        .min()
}

/// A name of a variable stays: it is no secret, and it may be what is wrong.
fn crosses(text: &str) -> String {
    if text.trim().trim_matches(['"', '\'']).strip_prefix("${").is_some_and(|name| name.ends_with('}')) {
        return text.to_owned();
    }
    text.chars().map(|c| if c.is_whitespace() { c.to_string() } else { "x".repeat(c.len_utf8()) }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::masked;
    use crate::config::{Inputs, Need, Overrides, load};

    #[test]
    fn a_secret_that_stands_where_it_does_not_belong_is_told_by_its_place_and_never_repeated() {
        const WHOLE: &str = "stores: {nas: {path: /nas}}\njobs: {upload: {source: /srv}}\n";
        for wrong in [
            "notify: {slack: https://hooks.test/canary-1234567890}",
            "notify:\n  slack: https://hooks.test/canary-1234567890",
            "notify: {slack: [https://hooks.test/canary-1234567890]}",
            "notify:\n  slack:\n    - canary-1234567890",
            "notify: {slack: {\"https://hooks.test/canary-1234567890\"}}",
            "notify: {slack: {canary-1234567890}}",
            "notify: {slack: {on: failed, canary-1234567890}}",
            "notify:\n  slack:\n    on: failed\n    https://hooks.test/canary-1234567890\n",
            "notify: {slack: {on: https://hooks.test/canary-1234567890}}",
            "notify: {ping: https://hc.test/canary-1234567890}",
            "notify: {ping: canary-1234567890}",
            "notify: {jira: {url: https://canary@jira.test, tokn: canary-1234567890, token: \"\"}}",
            "notify: {webhook: {url: https://hook.test, secret_file: canary-1234567890}}",
            "notify: canary-1234567890",
            "web: canary-1234567890",
            "web: [canary-1234567890]",
            "web: {token_file: canary-1234567890}",
            "web: {\"tokn\":\"canary-1234567890\"}",
            "slack_webhook_url: canary-1234567890",
            "slack: https://hooks.test/canary-1234567890",
            "canary-1234567890",
        ] {
            let env = BTreeMap::new();
            let inputs = Inputs {
                need: Need::All,
                file: Some(("b.yaml".into(), format!("{WHOLE}{wrong}\n"))),
                env: &env,
                overrides: Overrides::default(),
                default_state_dir: "/state".into(),
                read_secret: &|_| Err(std::io::ErrorKind::NotFound.into()),
            };
            let errors = load(inputs).expect_err(wrong);
            let brief = errors.brief().join("\n");
            assert!(!errors.to_string().contains("canary"), "{wrong}: {errors}");
            assert!(!brief.contains("canary"), "{wrong}: {brief}");
            assert!(brief.starts_with("b.yaml:"), "{wrong}: {brief}");
        }
    }

    #[test]
    fn what_is_no_secret_stays_to_be_read_under_an_error() {
        let text = "\
stores:
  nas: {path: /mnt/nas, require_mount: nfss}
jobs:
  upload:
    source: [/var/www, var/log]
    schedule: \"0 2 * * *\"
    compression: {zstd: {level: 60}}
web: {listen: 127.0.0.1, token_file: /run/token}
notify:
  slak: {on: [faild, ok], repeat_after: 3}
";
        assert_eq!(masked(text), text);
    }

    #[test]
    fn secrets_are_masked_where_they_stand_and_nothing_moves() {
        let text = "\
notify:
  slack: {webhook_url: canary, on: failed}
  jira:
    token: >-
      canary
      canary
    user: me
    \"token\":
      'canary-ü'
  webhook:
    secret : \"canary
     canary\"
    url: ${WEBHOOK}
    url_file: /a/b
";
        let masked = masked(text);
        assert!(!masked.contains("canary"), "{masked}");
        assert_eq!(masked.len(), text.len());
        for kept in ["user: me", "url: ${WEBHOOK}", "url_file: /a/b", "slack: {webhook_url: "] {
            assert!(masked.contains(kept), "{kept} in {masked}");
        }
    }
}
