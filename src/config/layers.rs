//! Flags, environment and file as layers: who says what about a key.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::file::{At, Node};
use super::keys::{self, Form, Key};
use super::problem::{Problem, Spot, nearest};
use super::settings::Origin;
use crate::command::HOOK_VARIABLES;

/// What the command line says. Texts are checked like any other.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `--exclude`, in place of the configured ones.
    pub exclude: Vec<String>,
    /// `--compression`.
    pub compression: Option<String>,
    /// `--allow-empty`.
    pub allow_empty: Option<bool>,
    /// `--threads`.
    pub threads: Option<String>,
    /// `--progress-timeout`.
    pub progress_timeout: Option<String>,
    /// `--max-shrink`.
    pub max_shrink: Option<String>,
    /// `--fresh`.
    pub fresh: bool,
    /// `--volume-size`.
    pub volume_size: Option<String>,
}

impl Overrides {
    /// What the command line says of a key, and by which flag.
    fn get(&self, key: &Key) -> Option<(&'static str, Vec<String>)> {
        let one = |flag, text: &Option<String>| text.clone().map(|text| (flag, vec![text]));
        match key.name {
            "state_dir" => {
                let path = self.state_dir.as_ref()?;
                let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                Some(("--state-dir", vec![absolute.to_string_lossy().into_owned()]))
            }
            "exclude" if !self.exclude.is_empty() => Some(("--exclude", self.exclude.clone())),
            "compression" => one("--compression", &self.compression),
            "allow_empty" => self.allow_empty.map(|value| ("--allow-empty", vec![value.to_string()])),
            "threads" => one("--threads", &self.threads),
            "progress_timeout" => one("--progress-timeout", &self.progress_timeout),
            "mode" if self.fresh => Some(("--fresh", vec!["full".to_owned()])),
            "volume_size" => one("--volume-size", &self.volume_size),
            "max_shrink" => one("--max-shrink", &self.max_shrink),
            _ => None,
        }
    }
}

/// How much of a configuration a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// All of it.
    All,
    /// Stores and jobs, and where the daemon listens. `notify` and the token of `web` are left out: whoever restores on the
    /// worst day may not be allowed to read those secrets, or they are gone with the machine.
    Stores,
}

/// Everything that settings are made from.
pub struct Inputs<'a> {
    /// How much of it is wanted.
    pub need: Need,
    /// The file's path and text, if there is one.
    pub file: Option<(PathBuf, String)>,
    /// The environment.
    pub env: &'a BTreeMap<String, String>,
    /// The command line.
    pub overrides: Overrides,
    /// Where state lies for this user.
    pub default_state_dir: PathBuf,
    /// Reads the file that a `_FILE` variable names.
    pub read_secret: &'a dyn Fn(&Path) -> io::Result<String>,
}

/// Whether the environment alone makes a job.
pub fn makes_a_job(env: &BTreeMap<String, String>) -> bool {
    ["BACKUP_SOURCES", "BACKUP_ARCHIVE", "BACKUP_SOURCES_FILE", "BACKUP_ARCHIVE_FILE"]
        .iter()
        .any(|name| env.contains_key(*name))
}

/// What one layer says of a key.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) texts: Vec<(String, Spot)>,
    pub(super) origin: Origin,
}

/// The environment's `BACKUP_*`, with `_FILE` read.
pub(super) fn environment(inputs: &Inputs<'_>, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let known: Vec<&str> = keys::environment_names().map(|(name, _)| name).collect();
    let mut values = BTreeMap::new();
    // a hook that calls this program was told of the run that it belongs to: that is no configuration
    let is_hook = inputs.env.contains_key(HOOK_VARIABLES[1]);
    // names that are not ours alone are left empty by many a compose file
    let is_ours = |name: &str| name.starts_with("BACKUP_");
    let is_meant = |name: &str, value: &str| {
        is_ours(name)
            || !value.trim().is_empty()
                && (known.contains(&name) || name.strip_suffix("_FILE").is_some_and(|base| known.contains(&base)))
    };
    let told = |name: &str| is_hook && HOOK_VARIABLES.contains(&name);
    for (name, value) in inputs.env.iter().filter(|(name, value)| !told(name) && is_meant(name, value)) {
        let mut problem = |what: String, allowed: &str, meant| {
            let spot = Spot::Named(format!("environment variable {name}"));
            problems.push(Problem { spot, what, allowed: allowed.to_owned(), meant });
        };
        if known.contains(&name.as_str()) {
            values.insert(name.clone(), value.clone());
            continue;
        }
        match name.strip_suffix("_FILE").filter(|base| known.contains(base)) {
            Some(base) if inputs.env.get(base).is_some_and(|value| is_meant(base, value)) => {
                problem(format!("{base} is set as well"), "set one of the two", None);
            }
            Some(base) if inputs.need == Need::Stores && keys::is_of_telling(base) => {}
            Some(base) => match (inputs.read_secret)(Path::new(value)) {
                Ok(text) => {
                    values.insert(base.to_owned(), text.trim().to_owned());
                }
                Err(error) => {
                    // what is no whole path may be the secret itself
                    let named = if value.starts_with('/') { format!("`{value}`") } else { "what it names".to_owned() };
                    problem(format!("{named} could not be read: {error}"), "a file that this user may read", None)
                }
            },
            None => problem(
                "no such variable is known".to_owned(),
                "unset it; the variables are listed in README",
                nearest(name, known.iter().copied()),
            ),
        }
    }
    values
}

/// Flag, then environment, then file.
pub(super) fn say(
    key: &'static Key,
    overrides: &Overrides,
    environment: &BTreeMap<String, String>,
    node: Option<&At<Node>>,
    line_of: &dyn Fn(usize) -> usize,
    problems: &mut Vec<Problem>,
) -> Option<Said> {
    if let Some((flag, texts)) = overrides.get(key) {
        let texts = texts.into_iter().map(|text| (text, Spot::Named(format!("flag {flag}")))).collect();
        return Some(Said { texts, origin: Origin::Flag(flag) });
    }
    if let Some(name) = key.variable
        && let Some(value) = environment.get(name)
    {
        let spot = Spot::Named(format!("environment variable {name}"));
        let is_list = matches!(key.form, Form::Paths | Form::Patterns);
        let separators: &[char] = match key.form {
            _ if is_list => &[':', '\n'],
            Form::Names | Form::Kinds => &[',', '\n'],
            _ => &['\n'],
        };
        let texts: Vec<(String, Spot)> = match key.form {
            Form::Paths | Form::Patterns | Form::Schedules | Form::Names | Form::Kinds => value
                .split(separators)
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(|text| (text.to_owned(), spot.clone()))
                .collect(),
            _ => vec![(value.trim().to_owned(), spot)],
        };
        return Some(Said { texts, origin: Origin::Environment(name.to_owned()) });
    }
    let node = node?;
    let texts = texts_of(key, node, problems)?;
    Some(Said { texts, origin: Origin::File(line_of(node.span.start)) })
}

/// The texts of a node; a problem if it has not the shape that the key takes.
fn texts_of(key: &Key, node: &At<Node>, problems: &mut Vec<Problem>) -> Option<Vec<(String, Spot)>> {
    let spot = |span: &Range<usize>| Spot::File(span.clone());
    let takes_list = matches!(key.form, Form::Paths | Form::Patterns | Form::Schedules | Form::Names | Form::Kinds);
    let mut wrong = |node: &At<Node>, expected: &str| {
        problems.push(Problem {
            spot: Spot::File(node.span.clone()),
            what: format!("`{}` takes {expected}, and this is {}", key.name, node.value.words()),
            allowed: key.about.to_owned(),
            meant: None,
        });
    };
    match &node.value {
        Node::Scalar { value, .. } if key.form != Form::Bool => Some(vec![(value.clone(), spot(&node.span))]),
        Node::Bool(value) if matches!(key.form, Form::Bool | Form::Mount | Form::Listen) => {
            Some(vec![(value.to_string(), spot(&node.span))])
        }
        Node::List(items) if takes_list => {
            let mut texts = Vec::new();
            for item in items {
                match &item.value {
                    Node::Scalar { value, .. } => texts.push((value.clone(), spot(&item.span))),
                    _ => wrong(item, "a list of texts"),
                }
            }
            Some(texts)
        }
        Node::Map(entries) if key.form == Form::Codec => codec_of(entries, node, problems),
        _ => {
            let expected = match (takes_list, key.form) {
                (true, _) => "a text or a list of texts",
                (false, Form::Bool) => "true or false",
                (false, _) => "one text or number",
            };
            wrong(node, expected);
            None
        }
    }
}

/// `{zstd: {level: 6}}` as `zstd:6`.
fn codec_of(
    entries: &[(At<String>, At<Node>)],
    node: &At<Node>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<(String, Spot)>> {
    const SHAPE: &str = "zstd, gzip, none, or with a level: {zstd: {level: 6}}";
    let mut refuse = |span: &Range<usize>, what: &str, meant: Option<String>| {
        let spot = Spot::File(span.clone());
        problems.push(Problem { spot, what: what.to_owned(), allowed: SHAPE.to_owned(), meant });
        None
    };
    let [(name, inner)] = entries else { return refuse(&node.span, "one compression is expected", None) };
    match &inner.value {
        Node::Null => Some(vec![(name.value.clone(), Spot::File(name.span.clone()))]),
        Node::Map(inner_entries) => match inner_entries.as_slice() {
            [] => Some(vec![(name.value.clone(), Spot::File(name.span.clone()))]),
            [(key, At { value: Node::Scalar { value: level, .. }, span })] if key.value == "level" => {
                Some(vec![(format!("{}:{level}", name.value), Spot::File(span.clone()))])
            }
            [(key, _), ..] => {
                let meant = nearest(&key.value, ["level"].into_iter());
                refuse(&key.span, &format!("`{}` is not a setting of a compression", key.value), meant)
            }
        },
        _ => refuse(&inner.span, "a map with `level` is expected", None),
    }
}
