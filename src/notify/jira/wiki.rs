//! Texts for JIRA Data Center: wiki markup, one string.
//!
//! The danger is that names are markup: `{noformat}`, `!picture!`, `[~everybody]`, `h1.`, `(x)` and a dozen more. So
//! every character that means something anywhere in the notation has a backslash before it. The backslash itself cannot
//! be written that way (two of them break the line), nor can `&` (it begins an entity): these two become entities.
//! `{noformat}` around everything was refused: a name with `{noformat}` in it gets out of that.

use super::text::Block;

/// What a backslash takes the meaning from.
const SPECIAL: &str = "{}[]()*_-+^~?!|#";

/// The whole text.
pub(super) fn document(blocks: &[Block]) -> String {
    let parts: Vec<String> = blocks
        .iter()
        .map(|block| match block {
            Block::Lines(lines) => joined(lines, ""),
            Block::List(entries) => joined(entries, "* "),
        })
        .filter(|part| !part.is_empty())
        .collect();
    parts.join("\n\n")
}

fn joined(lines: &[String], bullet: &str) -> String {
    let lines: Vec<String> =
        lines.iter().filter(|line| !line.is_empty()).map(|line| format!("{bullet}{}", escaped(line))).collect();
    lines.join("\n")
}

/// `text`, so that it is shown as it is. Lines begin with words of ours, so what means something at their beginning
/// only (`h1.`, `bq.`) needs no care.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push_str("&#92;"),
            '&' => out.push_str("&amp;"),
            // faces: `:D` and `:P`; those with brackets are broken by the bracket
            ':' if chars.peek().is_some_and(|next| matches!(next, 'D' | 'P' | 'p')) => out.push_str("&#58;"),
            _ if SPECIAL.contains(c) => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::text::Block;
    use super::{document, escaped};

    #[test]
    fn every_sign_of_the_notation_is_taken_for_itself() {
        for (name, wiki) in [
            ("{noformat}", "\\{noformat\\}"),
            ("!http://x/y.png!", "\\!http://x/y.png\\!"),
            ("[~all|x]", "\\[\\~all\\|x\\]"),
            ("*a* _b_ -c- +d+ ^e^ ??f??", "\\*a\\* \\_b\\_ \\-c\\- \\+d\\+ \\^e\\^ \\?\\?f\\?\\?"),
            ("a\\b\\\\", "a&#92;b&#92;&#92;"),
            ("\\*", "&#92;\\*"),
            ("&#42;&lt;", "&amp;\\#42;&amp;lt;"),
            ("(x) :) :D 10:30", "\\(x\\) :\\) &#58;D 10:30"),
            ("# one", "\\# one"),
        ] {
            assert_eq!(escaped(name), wiki);
        }
    }

    #[test]
    fn lines_and_lists_have_a_blank_line_between() {
        let blocks = [
            Block::Lines(vec!["one".into(), "two".into()]),
            Block::Lines(Vec::new()),
            Block::List(vec!["a".into(), "b*".into()]),
        ];
        assert_eq!(document(&blocks), "one\ntwo\n\n* a\n* b\\*");
    }
}
