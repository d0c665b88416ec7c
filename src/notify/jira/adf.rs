//! Texts for JIRA Cloud: the Atlassian Document Format, a tree in JSON.
//!
//! Text in it is text and nothing else, whatever it looks like. The danger is a node that JIRA refuses, for then the
//! whole ticket is refused: an empty text node is one, and so is a list without entries.

use serde_json::{Value, json};

use super::text::Block;

/// The document.
pub(super) fn document(blocks: &[Block]) -> Value {
    let content: Vec<Value> = blocks.iter().filter_map(block).collect();
    json!({"type": "doc", "version": 1, "content": content})
}

fn block(block: &Block) -> Option<Value> {
    match block {
        Block::Lines(lines) => paragraph(lines),
        Block::List(entries) => {
            let items: Vec<Value> = entries
                .iter()
                .filter_map(|entry| paragraph(std::slice::from_ref(entry)))
                .map(|paragraph| json!({"type": "listItem", "content": [paragraph]}))
                .collect();
            (!items.is_empty()).then(|| json!({"type": "bulletList", "content": items}))
        }
    }
}

/// Lines with breaks between them; none if there is nothing in any of them.
fn paragraph(lines: &[String]) -> Option<Value> {
    let mut nodes = Vec::new();
    for line in lines.iter().filter(|line| !line.is_empty()) {
        if !nodes.is_empty() {
            nodes.push(json!({"type": "hardBreak"}));
        }
        nodes.push(json!({"type": "text", "text": line}));
    }
    (!nodes.is_empty()).then(|| json!({"type": "paragraph", "content": nodes}))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::text::Block;
    use super::document;

    #[test]
    fn lines_and_lists_are_paragraphs_and_bullets_and_nothing_is_empty() {
        let blocks = [
            Block::Lines(vec!["one".into(), String::new(), "*two*".into()]),
            Block::Lines(vec![String::new()]),
            Block::List(vec!["<b>".into(), String::new()]),
            Block::List(Vec::new()),
        ];
        let text = |text: &str| json!({"type": "text", "text": text});
        assert_eq!(
            document(&blocks),
            json!({"type": "doc", "version": 1, "content": [
                {"type": "paragraph", "content": [text("one"), {"type": "hardBreak"}, text("*two*")]},
                {"type": "bulletList", "content": [
                    {"type": "listItem", "content": [{"type": "paragraph", "content": [text("<b>")]}]},
                ]},
            ]})
        );
    }
}
