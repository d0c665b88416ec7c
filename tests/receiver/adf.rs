//! Whether a document is one that JIRA Cloud takes, and what its reader sees.

use serde_json::Value;

/// What is read, a line a line; or what is wrong with it.
pub fn read(document: &Value) -> Result<String, String> {
    if document["type"] != "doc" || document["version"] != 1 {
        return Err(format!("it is no document of version 1: {document}"));
    }
    let mut text = String::new();
    for block in content(document)? {
        self::block(block, &mut text)?;
    }
    if text.trim().is_empty() { Err("there is nothing in it".to_owned()) } else { Ok(text) }
}

fn content(node: &Value) -> Result<&Vec<Value>, String> {
    let all = node["content"].as_array().ok_or_else(|| format!("a node without content: {node}"))?;
    if all.is_empty() { Err(format!("a node with empty content: {node}")) } else { Ok(all) }
}

fn block(node: &Value, text: &mut String) -> Result<(), String> {
    match node["type"].as_str() {
        Some("paragraph") => {
            for inline in content(node)? {
                self::inline(inline, text)?;
            }
            text.push('\n');
        }
        Some("bulletList") => {
            for item in content(node)? {
                if item["type"] != "listItem" {
                    return Err(format!("no list item: {item}"));
                }
                for inner in content(item)? {
                    block(inner, text)?;
                }
            }
        }
        _ => return Err(format!("an unknown node: {node}")),
    }
    Ok(())
}

fn inline(node: &Value, text: &mut String) -> Result<(), String> {
    match node["type"].as_str() {
        Some("hardBreak") => text.push('\n'),
        Some("text") => {
            let words = node["text"].as_str().unwrap_or_default();
            if words.is_empty() {
                return Err("an empty text node".to_owned());
            }
            if words.chars().any(char::is_control) {
                return Err(format!("control characters in {words:?}"));
            }
            if node.get("marks").is_some() {
                return Err(format!("marks, which we never send: {node}"));
            }
            text.push_str(words);
        }
        _ => return Err(format!("an unknown node: {node}")),
    }
    Ok(())
}
