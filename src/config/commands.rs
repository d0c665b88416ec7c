//! `commands` and `hooks`: what is started, from lists of maps to specs that can be started.
//!
//! The danger here is a secret: values of variables are not shown, nor what is filled in in arguments, and the files that
//! hold secrets are not read before their command is started. The other is a name that takes the place of something else
//! in the snapshot.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::file::{At, Node};
use super::keys::{self, Scope};
use super::problem::Spot;
use super::settings::{Origin, Row};
use super::settle::{Entries, Settling, find};
use super::values;
use crate::command::{HOOK_DEADLINE, Hooks, Spec, Step};
use crate::domain::EntryPath;
use crate::engine::CommandSource;
use crate::source::Naming;

/// What a job starts has at most so many parts of one kind; more is a mistake.
const LIST_MAX: usize = 100;

impl Settling<'_> {
    /// The commands of a job whose sources are these.
    pub(super) fn commands(
        &mut self,
        prefix: &str,
        entries: Option<&Entries>,
        sources: &[PathBuf],
    ) -> Vec<CommandSource> {
        let Some(node) = entries.and_then(|entries| find(entries, "commands")) else { return Vec::new() };
        let mut commands: Vec<(CommandSource, Spot)> = Vec::new();
        let hint = "a list: [{name: dumps/shop.sql, run: [mariadb-dump, shop]}]";
        for (item, number) in self.items(node, "commands", hint).iter().zip(1..) {
            let Some(entries) = self.map_of(item, Scope::Command, "a command") else { continue };
            let prefix = format!("{prefix}commands.{number}.");
            let at = find(entries, "name").unwrap_or(item);
            let name = self.one(Scope::Command, "name", &prefix, Some(entries), values::entry_name);
            if name.is_none() && find(entries, "name").is_none() {
                let allowed = "the path of its file in the snapshot, such as dumps/shop.sql";
                self.problem(Spot::File(item.span.clone()), "the command has no `name`", allowed, None);
            }
            let spec = self.spec(item, Scope::Command, &prefix, entries, None);
            if let (Some(name), Some(spec)) = (name, spec) {
                commands.push((CommandSource { name, spec }, Spot::File(at.span.clone())));
            }
        }
        self.check_names(&commands, sources);
        commands.into_iter().map(|(command, _)| command).collect()
    }

    /// What is run around a run of the job.
    pub(super) fn hooks(&mut self, prefix: &str, entries: Option<&Entries>) -> Hooks {
        let hint = "{before: [{run: [program], undo: {run: [program]}}], after: [], on_failure: [], always: []}";
        let inner = self.inner(Scope::Hooks, "hooks", entries, hint);
        let prefix = format!("{prefix}hooks.");
        let mut before = Vec::new();
        for (prefix, item) in self.hook_items(inner, "before", &prefix) {
            let Some(entries) = self.map_of(item, Scope::Step, "a hook") else { continue };
            let run = self.spec(item, Scope::Step, &prefix, entries, Some(HOOK_DEADLINE));
            let undo = find(entries, "undo").and_then(|node| {
                let entries = self.map_of(node, Scope::Hook, "`undo`")?;
                self.spec(node, Scope::Hook, &format!("{prefix}undo."), entries, Some(HOOK_DEADLINE))
            });
            before.extend(run.map(|run| Step { run, undo }));
        }
        let [after, on_failure, always] = ["after", "on_failure", "always"].map(|kind| {
            let mut found = Vec::new();
            for (prefix, item) in self.hook_items(inner, kind, &prefix) {
                let Some(entries) = self.map_of(item, Scope::Hook, "a hook") else { continue };
                found.extend(self.spec(item, Scope::Hook, &prefix, entries, Some(HOOK_DEADLINE)));
            }
            found
        });
        Hooks { before, after, on_failure, always }
    }

    /// The hooks of one kind, each with where it stands.
    fn hook_items<'n>(&mut self, inner: Option<&'n Entries>, kind: &str, prefix: &str) -> Vec<(String, &'n At<Node>)> {
        let Some(node) = inner.and_then(|inner| find(inner, kind)) else { return Vec::new() };
        let items = self.items(node, kind, "a list: [{run: [program, argument]}]").iter();
        items.zip(1..).map(|(item, number)| (format!("{prefix}{kind}.{number}."), item)).collect()
    }

    /// Files that commands give lie in no source and in no other, and nothing lies in them.
    fn check_names(&mut self, commands: &[(CommandSource, Spot)], sources: &[PathBuf]) {
        let naming = Naming::of(sources.len(), commands.len());
        let mut taken: Vec<(EntryPath, String)> =
            sources.iter().map(|path| (naming.prefix(path), format!("the source {}", path.display()))).collect();
        for (command, spot) in commands {
            let path = EntryPath::parse(command.name.as_bytes()).expect("it was checked");
            if let Some((_, other)) = taken.iter().find(|(other, _)| path.is_within(other) || other.is_within(&path)) {
                let what = format!("`{}` lies in the place of {other}, or one in the other", command.name);
                let allowed =
                    "a path that nothing else has: sources stand at their full paths without the leading slash";
                self.problem(spot.clone(), what, allowed, None);
            }
            taken.push((path, format!("the command of `{}`", command.name)));
        }
    }

    /// A list of maps.
    fn items<'n>(&mut self, node: &'n At<Node>, name: &str, hint: &str) -> &'n [At<Node>] {
        match &node.value {
            Node::List(items) if items.len() <= LIST_MAX => items,
            Node::Null => &[],
            Node::List(_) => {
                self.problem(Spot::File(node.span.clone()), format!("`{name}` has more than {LIST_MAX}"), hint, None);
                &[]
            }
            other => {
                let what = format!("`{name}` takes a list, and this is {}", other.words());
                self.problem(Spot::File(node.span.clone()), what, hint, None);
                &[]
            }
        }
    }

    fn map_of<'n>(&mut self, node: &'n At<Node>, scope: Scope, what: &str) -> Option<&'n Entries> {
        let Node::Map(entries) = &node.value else {
            let wrong = format!("{what} is a map, and this is {}", node.value.words());
            self.problem(Spot::File(node.span.clone()), wrong, "{run: [program, argument]}", None);
            return None;
        };
        let names: Vec<&str> = keys::of(scope).map(|key| key.name).collect();
        self.unknown(entries, &names, what);
        Some(entries)
    }

    /// What is started: `run` or `shell`, with its deadline and its environment.
    fn spec(
        &mut self,
        node: &At<Node>,
        scope: Scope,
        prefix: &str,
        entries: &Entries,
        deadline: Option<Duration>,
    ) -> Option<Spec> {
        let before = self.problem_count();
        let own = self.one(scope, "deadline", prefix, Some(entries), values::duration);
        let argv = self.words(find(entries, "run"), prefix);
        let shell = self.one(scope, "shell", prefix, Some(entries), values::script);
        let argv = match (argv, shell) {
            (Some(_), Some(_)) => {
                let spot = find(entries, "shell").map_or_else(|| node.span.clone(), |node| node.span.clone());
                self.problem(Spot::File(spot), "both `run` and `shell` are given", "give one of them", None);
                return None;
            }
            (Some(argv), None) => argv,
            (None, Some(script)) => vec!["/bin/sh".to_owned(), "-c".to_owned(), script],
            (None, None) => {
                if self.problem_count() == before {
                    let allowed = "`run: [program, argument]`, or `shell: \"a | b\"` where a shell is needed";
                    self.problem(Spot::File(node.span.clone()), "it has neither `run` nor `shell`", allowed, None);
                }
                return None;
            }
        };
        let text = |text: &str| Ok(text.to_owned());
        let environment = self.variables_of(find(entries, "environment"), "environment", prefix, &text);
        let files = find(entries, "environment_files");
        let environment_files = self.variables_of(files, "environment_files", prefix, &values::secret_path);
        if let Some(twice) = environment.keys().find(|name| environment_files.contains_key(*name)) {
            let spot = files.map_or_else(|| node.span.clone(), |node| node.span.clone());
            let what = format!("the variable {twice} is in `environment` and in `environment_files`");
            self.problem(Spot::File(spot), what, "give it once", None);
        }
        (self.problem_count() == before).then(|| Spec {
            argv,
            deadline: own.or(deadline),
            environment,
            environment_files,
        })
    }

    /// A program and its arguments.
    fn words(&mut self, node: Option<&At<Node>>, prefix: &str) -> Option<Vec<String>> {
        const ALLOWED: &str = "a list: [program, argument, argument]; no shell reads it";
        let node = node?;
        let mut refuse = |at: &At<Node>, what: String| self.problem(Spot::File(at.span.clone()), what, ALLOWED, None);
        let Node::List(items) = &node.value else {
            refuse(node, format!("`run` takes a list of texts, and this is {}", node.value.words()));
            return None;
        };
        let (mut argv, mut shown) = (Vec::new(), Vec::new());
        for item in items {
            match &item.value {
                Node::Scalar { value, written } if !value.contains('\0') => {
                    argv.push(value.clone());
                    shown.push(written.clone());
                }
                // YAML has words for them, and a program may have an argument that is one
                Node::Bool(value) => {
                    argv.push(value.to_string());
                    shown.push(value.to_string());
                }
                other => refuse(item, format!("`run` takes a list of texts, and this is {}", other.words())),
            }
        }
        if argv.first().is_none_or(String::is_empty) {
            refuse(node, "`run` names no program".to_owned());
            return None;
        }
        let row = Row { key: format!("{prefix}run"), value: shown.join(" "), origin: self.line_of(node) };
        self.note_row(row);
        (argv.len() == items.len()).then_some(argv)
    }

    /// Variables with their values, which are not shown.
    fn variables_of<T>(
        &mut self,
        node: Option<&At<Node>>,
        name: &str,
        prefix: &str,
        parse: &dyn Fn(&str) -> Result<T, values::Refusal>,
    ) -> BTreeMap<String, T> {
        let mut found = BTreeMap::new();
        let Some(node) = node else { return found };
        let entries = match &node.value {
            Node::Map(entries) => entries.as_slice(),
            Node::Null => &[],
            other => {
                let what = format!("`{name}` takes a map of variables, and this is {}", other.words());
                self.problem(Spot::File(node.span.clone()), what, "{NAME: value}", None);
                &[]
            }
        };
        for (variable, value) in entries {
            let text = match &value.value {
                Node::Scalar { value, .. } => value.clone(),
                Node::Bool(value) => value.to_string(),
                other => {
                    let what = format!("a variable takes one text, and this is {}", other.words());
                    self.problem(Spot::File(value.span.clone()), what, "{NAME: value}", None);
                    continue;
                }
            };
            if !values::is_variable(&variable.value) || text.contains('\0') {
                let allowed = "letters, digits and `_`, not beginning with a digit, nor with BACKUP_";
                self.problem(Spot::File(variable.span.clone()), "this is no name of a variable", allowed, None);
                continue;
            }
            match parse(&text) {
                Ok(value) => drop(found.insert(variable.value.clone(), value)),
                Err(refusal) => self.problem(Spot::File(value.span.clone()), refusal.what, refusal.allowed, None),
            }
        }
        if !found.is_empty() {
            let value = found.keys().cloned().collect::<Vec<_>>().join(", ");
            let row = Row { key: format!("{prefix}{name}"), value, origin: self.line_of(node) };
            self.note_row(row);
        }
        found
    }

    fn line_of(&self, node: &At<Node>) -> Origin {
        Origin::File(self.line_at(node.span.start))
    }
}
