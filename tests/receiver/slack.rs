//! An incoming webhook of Slack: its limits, and its `ok`.

use serde_json::Value;

use super::{Answered, Asked};

/// The secret part of the address.
pub const PATH: &str = "/services/T000/B000/canary";

/// One webhook and what was posted to it.
#[derive(Default)]
pub struct Hook {
    /// What was taken.
    pub posts: Vec<Value>,
    /// What was refused, and why.
    pub problems: Vec<String>,
}

impl Hook {
    pub fn answer(&mut self, asked: &Asked) -> Answered {
        if asked.path != PATH {
            return Answered::text(404, "no_service");
        }
        let problem = if asked.method != "POST" || !asked.content_type.starts_with("application/json") {
            Some(("invalid_payload", "not JSON by POST".to_owned()))
        } else {
            problem(&asked.json())
        };
        match problem {
            None => {
                self.posts.push(asked.json());
                Answered::text(200, "ok")
            }
            Some((word, why)) => {
                self.problems.push(format!("{word}: {why}: {}", asked.body));
                Answered::text(400, word)
            }
        }
    }
}

fn problem(post: &Value) -> Option<(&'static str, String)> {
    if !post.is_object() {
        return Some(("invalid_payload", "no object".into()));
    }
    match post["text"].as_str() {
        None | Some("") => return Some(("no_text", "no text besides the blocks".into())),
        Some(text) if text.chars().count() > 40_000 => return Some(("msg_too_long", "the text".into())),
        Some(text) => {
            if let Some(why) = unescaped(text) {
                return Some(("invalid_payload", why));
            }
        }
    }
    for name in ["channel", "username", "icon_emoji", "icon_url"] {
        if post.get(name).is_some() {
            return Some(("invalid_payload", format!("`{name}` has no effect with an app's webhook")));
        }
    }
    let blocks = post["blocks"].as_array()?;
    if blocks.len() > 50 {
        return Some(("invalid_blocks", format!("{} blocks", blocks.len())));
    }
    if post["blocks"].to_string().len() > 13_200 {
        return Some(("msg_blocks_too_long", format!("{} bytes", post["blocks"].to_string().len())));
    }
    blocks.iter().find_map(block).map(|why| ("invalid_blocks", why))
}

fn block(block: &Value) -> Option<String> {
    match block["type"].as_str() {
        Some("header") if block["text"]["type"] != "plain_text" => Some("a header of markup".into()),
        Some("header") => words(&block["text"], 150),
        Some("divider") => None,
        Some("section") => {
            let fields = block["fields"].as_array();
            if block.get("text").is_none() && fields.is_none_or(Vec::is_empty) {
                return Some("an empty section".into());
            }
            if fields.is_some_and(|fields| fields.len() > 10) {
                return Some("too many fields".into());
            }
            let text = block.get("text").and_then(|text| words(text, 3000));
            text.or_else(|| fields.into_iter().flatten().find_map(|field| words(field, 2000)))
        }
        Some("context") => {
            let elements = block["elements"].as_array().cloned().unwrap_or_default();
            if elements.is_empty() || elements.len() > 10 {
                return Some(format!("{} elements", elements.len()));
            }
            elements.iter().find_map(|element| words(element, 3000))
        }
        _ => Some(format!("an unknown block: {block}")),
    }
}

fn words(object: &Value, chars_max: usize) -> Option<String> {
    let text = object["text"].as_str().unwrap_or_default();
    match object["type"].as_str() {
        _ if text.is_empty() => Some("an empty text".into()),
        _ if text.chars().count() > chars_max => Some(format!("more than {chars_max} characters")),
        Some("plain_text") => None,
        Some("mrkdwn") => unescaped(text),
        _ => Some(format!("no text object: {object}")),
    }
}

/// `& < >` that are not escaped, apart from links.
fn unescaped(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>']) {
        let after = &rest[at..];
        let skip = if let Some(entity) = ["&amp;", "&lt;", "&gt;"].iter().find(|entity| after.starts_with(**entity)) {
            entity.len()
        } else if after.starts_with("<http://") || after.starts_with("<https://") {
            after.find('>')? + 1
        } else {
            return Some(format!("not escaped: {text:?}"));
        };
        rest = &after[skip..];
    }
    None
}
