//! The YAML file as a tree that knows where everything stands.
//!
//! Read within narrow bounds (nodes, depth, aliases, size): a configuration is a page or two. `${NAME}` in a value is
//! filled in from the environment, in quotes or not; a name that is not set is an error where it stands; `$${` is `${`.
//! In a command's or hook's `shell` nothing is filled in: a shell does that itself.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::layers::Need;
use super::problem::{Problem, Spot};

/// A configuration of a hundred jobs has some thousand nodes.
const NODES_MAX: usize = 20_000;

/// A value with where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// What YAML can say here.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    /// Numbers are kept as text: each key knows what its number means.
    Scalar {
        /// With the names of the environment filled in.
        value: String,
        /// As it stands in the file. What is filled in may be a secret.
        written: String,
    },
    List(Vec<At<Node>>),
    Map(Vec<(At<String>, At<Node>)>),
}

impl Node {
    /// What it is, for people.
    pub(super) fn words(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Scalar { .. } => "a text or number",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Parses a file. Where only the stores are needed, names in `notify` and `web` that are not set are left as they are.
pub(super) fn parse(text: &str, variables: &BTreeMap<String, String>, need: Need) -> Result<At<Node>, Problem> {
    if let Some(tab) = text
        .lines()
        .scan(0, |at, line| {
            let start = *at;
            *at += line.len() + 1;
            Some((start, line))
        })
        .find_map(|(start, line)| {
            let indent = line.len() - line.trim_start().len();
            line[..indent].find('\t').map(|tab| start + tab)
        })
    {
        return Err(Problem {
            spot: Spot::File(tab..tab + 1),
            what: "a tab at the beginning of a line".to_owned(),
            allowed: "YAML is indented with spaces".to_owned(),
            meant: None,
        });
    }
    let mut options = serde_saphyr::Options::default();
    if let Some(budget) = &mut options.budget {
        budget.max_events = NODES_MAX;
        budget.max_aliases = 100;
        budget.max_anchors = 100;
    }
    options.with_snippet = false;
    options.strict_booleans = true;
    match serde_saphyr::from_str_with_options::<Option<Spanned<Parsed>>>(text, options) {
        Ok(Some(parsed)) => {
            let mut tree = place(parsed, text);
            Filling { variables, need }.fill(&mut tree, &[], false).map(|()| tree)
        }
        Ok(None) => Ok(At { value: Node::Null, span: 0..text.len().min(1) }),
        Err(error) => {
            let span = error.location().map_or(0..0, |location| span_of(&location, text));
            Err(Problem { spot: Spot::File(span), what: plain(&error), allowed: String::new(), meant: None })
        }
    }
}

/// What fills in the names of the environment.
struct Filling<'v> {
    variables: &'v BTreeMap<String, String>,
    need: Need,
}

impl Filling<'_> {
    /// Fills them in in what stands at this path, of keys. The first that is not set is a problem, unless what cannot be
    /// filled in stays: then it is a secret's, or is told where it is read.
    fn fill(&self, node: &mut At<Node>, path: &[&str], may_stay: bool) -> Result<(), Problem> {
        let may_stay = match (path, self.need) {
            // names there are the shell's
            (["jobs", _, "commands", "shell"] | ["jobs", _, "hooks", _, "shell"], _)
            | (["jobs", _, "hooks", "before", "undo", "shell"], _)
            | (["notify"], Need::Stores) => return Ok(()),
            (["web"] | ["jobs", _, "commands" | "hooks"], Need::Stores) => true,
            _ => may_stay,
        };
        match &mut node.value {
            Node::Scalar { value, written } => match filled(written, self.variables) {
                Ok(filled) => *value = filled,
                Err(_) if may_stay => {}
                Err(what) => {
                    let allowed = "set it, write the value itself, or `$${` for `${`".to_owned();
                    return Err(Problem { spot: Spot::File(node.span.clone()), what, allowed, meant: None });
                }
            },
            Node::List(items) => items.iter_mut().try_for_each(|item| self.fill(item, path, may_stay))?,
            Node::Map(entries) => entries
                .iter_mut()
                .try_for_each(|(key, value)| self.fill(value, &[path, &[&key.value]].concat(), may_stay))?,
            Node::Null | Node::Bool(_) => {}
        }
        Ok(())
    }
}

/// A value with its names filled in, or what is wrong with one of them. What they hold is not looked at again.
fn filled(value: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (mut out, mut rest) = (String::with_capacity(value.len()), value);
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        rest = after;
        if before.ends_with('$') {
            out.push('{');
            continue;
        }
        let name = after.split_once('}').filter(|(name, _)| is_name(name));
        let (name, behind) = name.ok_or_else(|| "`${` without a name and `}`".to_owned())?;
        let value = variables.get(name).ok_or_else(|| format!("`{name}` is not set in the environment"))?;
        out.push_str(value);
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

/// The parser's words without its own drawing of the place, which is drawn in our way.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or("it is not YAML").trim();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    // its advice is for programmers, and its place is drawn below
    let first = first.split(", set ").next().unwrap_or(first);
    first.split(" at line ").next().unwrap_or(first).to_owned()
}

fn at<T>(spanned: Spanned<T>, text: &str) -> At<T> {
    At { span: span_of(&spanned.referenced, text), value: spanned.value }
}

fn span_of(location: &serde_saphyr::Location, text: &str) -> Range<usize> {
    let span = location.span();
    let start = match span.byte_offset() {
        Some(offset) => usize::try_from(offset).unwrap_or(0),
        None => {
            let line_start = text
                .split_inclusive('\n')
                .take(location.line().saturating_sub(1) as usize)
                .map(str::len)
                .sum::<usize>();
            line_start + location.column().saturating_sub(1) as usize
        }
    };
    let len = span.byte_len().map_or(1, |len| usize::try_from(len).unwrap_or(1));
    let end = (start + len).min(text.len());
    let start = start.min(end);
    // a map or list is pointed at by its first line
    let line = text.get(start..end).and_then(|part| part.find('\n')).map_or(end, |at| start + at);
    start..line
}

/// The tree as the parser gives it, with its own positions.
enum Parsed {
    Null,
    Bool(bool),
    Scalar(String),
    List(Vec<Spanned<Parsed>>),
    Map(Vec<(Spanned<String>, Spanned<Parsed>)>),
}

/// Turns the parser's positions into ranges of bytes.
fn place(parsed: Spanned<Parsed>, text: &str) -> At<Node> {
    let span = span_of(&parsed.referenced, text);
    let value = match parsed.value {
        Parsed::Null => Node::Null,
        Parsed::Bool(value) => Node::Bool(value),
        Parsed::Scalar(written) => Node::Scalar { value: written.clone(), written },
        Parsed::List(items) => Node::List(items.into_iter().map(|item| place(item, text)).collect()),
        Parsed::Map(entries) => {
            Node::Map(entries.into_iter().map(|(key, value)| (at(key, text), place(value, text))).collect())
        }
    };
    At { value, span }
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Null)
    }

    fn visit_none<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Parsed, D::Error> {
        Parsed::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Parsed, E> {
        Ok(Parsed::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Parsed, E> {
        Ok(Parsed::Scalar(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Parsed, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Parsed>>()? {
            items.push(item);
        }
        Ok(Parsed::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parsed, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value::<Spanned<Parsed>>()?;
            entries.push((key, value));
        }
        Ok(Parsed::Map(entries))
    }
}
