//! What the reader of wiki markup sees, as JIRA Data Center shows it; written from its notation guide, not from our
//! escaping. Only bullets are expected to be markup: anything else is a name that got out.

/// What is read, a line a line; or what is markup in it.
pub fn read(wiki: &str) -> Result<String, String> {
    let mut text = String::new();
    for line in wiki.lines() {
        let line = line.strip_prefix("* ").unwrap_or(line);
        for start in ["h1.", "h2.", "h3.", "h4.", "h5.", "h6.", "bq."] {
            if line.starts_with(start) {
                return Err(format!("a heading or a quotation: {line:?}"));
            }
        }
        text.push_str(&self::line(line)?);
        text.push('\n');
    }
    Ok(text)
}

fn line(line: &str) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                let next = after.chars().next().ok_or_else(|| format!("a backslash at the end: {line:?}"))?;
                if next == '\\' {
                    return Err(format!("two backslashes break the line: {line:?}"));
                }
                if !next.is_ascii_punctuation() {
                    text.push('\\');
                }
                text.push(next);
                rest = &after[next.len_utf8()..];
                continue;
            }
            '&' => {
                let end = after.find(';').ok_or_else(|| format!("an entity without an end: {line:?}"))?;
                text.push(entity(&after[..end]).ok_or_else(|| format!("an unknown entity: {line:?}"))?);
                rest = &after[end + 1..];
                continue;
            }
            // the effects, links, pictures, macros, tables, lists and citations of the notation guide
            '{' | '}' | '[' | ']' | '*' | '_' | '-' | '+' | '^' | '~' | '!' | '|' | '#' => {
                return Err(format!("`{c}` is markup: {line:?}"));
            }
            '?' if after.starts_with('?') => return Err(format!("a citation: {line:?}")),
            ':' if after.starts_with(['D', 'P', 'p', ')', '(']) => return Err(format!("a face: {line:?}")),
            ';' if after.starts_with(')') => return Err(format!("a face: {line:?}")),
            '(' if ["y)", "n)", "i)", "/)", "x)", "!)", "+)", "-)", "?)", "on)", "off)", "*)", "flag)"]
                .iter()
                .any(|face| after.starts_with(face)) =>
            {
                return Err(format!("a picture: {line:?}"));
            }
            _ => text.push(c),
        }
        rest = after;
    }
    Ok(text)
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        _ => char::from_u32(name.strip_prefix('#')?.parse().ok()?),
    }
}
