//! Secrets in the file's text, made unreadable before a line of it is drawn under an error.
//!
//! The danger here is an error about something else on a secret's line, or before the file can be read as YAML at all. So
//! this goes by text alone: what stands behind the name of a secret is masked, on its line and on deeper ones that go on
//! with it. Positions stay: a mask is as long as what it hides. It masks too much rather than too little.

use super::keys::{Form, KEYS};

/// The same text with every secret's letters as `*`, and each byte where it was.
pub(super) fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // how far the line of a secret is indented that goes on with the next line
    let mut goes_on: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if goes_on.is_some_and(|of| indent > of || line.trim().is_empty()) {
            out.push_str(&stars(line));
            continue;
        }
        goes_on = None;
        match value_at(line) {
            None => out.push_str(line),
            Some(at) => {
                out.push_str(&line[..at]);
                out.push_str(&stars(&line[at..]));
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
fn stars(text: &str) -> String {
    if text.trim().trim_matches(['"', '\'']).strip_prefix("${").is_some_and(|name| name.ends_with('}')) {
        return text.to_owned();
    }
    text.chars().map(|c| if c.is_whitespace() { c.to_string() } else { "*".repeat(c.len_utf8()) }).collect()
}

#[cfg(test)]
mod tests {
    use super::masked;

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
