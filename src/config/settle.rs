//! From layers to settings: everything is checked, everything wrong is told at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::file::{self, At, Node};
use super::keys::{self, Key, Scope};
use super::layers::{Inputs, Need, Overrides, Said, environment, say};
use super::mask::is_a_name;
use super::problem::{ConfigErrors, Problem, Spot, Text, draw, nearest};
use super::settings::{
    JobSettings, LEASE_TERM, NotifySettings, Origin, Row, Settings, StoreSettings, UNNAMED_STORE, VerifySettings,
    WebSettings,
};
use super::values::{self, Refusal};
use crate::domain::{JobName, Level};
use crate::engine::Reuse;
use crate::retention::Policy;
use crate::schedule::{Plan, Retry, Schedule};
use crate::source::Excludes;
use crate::store::{Permissions, RequireMount};

/// Makes settings from file and environment, or from the environment alone.
///
/// # Errors
/// Everything that is wrong, drawn.
pub fn load(inputs: Inputs<'_>) -> Result<Settings, ConfigErrors> {
    let mut problems = Vec::new();
    let variables = environment(&inputs, &mut problems);
    let text =
        inputs.file.as_ref().map_or_else(Text::default, |(path, text)| Text { path: path.clone(), text: text.clone() });
    let tree = match &inputs.file {
        None => None,
        Some(_) => match file::parse(&text.text, inputs.env, inputs.need) {
            Ok(tree) => Some(tree),
            Err(problem) => {
                problems.push(problem);
                return Err(draw(problems, &text));
            }
        },
    };
    let mut settling = Settling { inputs: &inputs, variables, text: &text, problems, rows: Vec::new() };
    let settings = match &tree {
        Some(tree) => settling.by_file(tree),
        None => settling.by_environment(),
    };
    settling.finish(settings)
}

/// Settings of one job that the command line alone describes.
///
/// # Errors
/// What is wrong with it.
pub fn from_flags(
    sources: &[PathBuf],
    to: &Path,
    job: Option<&str>,
    overrides: Overrides,
    default_state_dir: PathBuf,
    zone: Option<&str>,
) -> Result<Settings, ConfigErrors> {
    let env: BTreeMap<String, String> = zone.map(|zone| ("TZ".to_owned(), zone.to_owned())).into_iter().collect();
    let read = |_: &Path| Err(std::io::ErrorKind::Unsupported.into());
    let inputs = Inputs { need: Need::All, file: None, env: &env, overrides, default_state_dir, read_secret: &read };
    let text = Text::default();
    let mut settling =
        Settling { inputs: &inputs, variables: BTreeMap::new(), text: &text, problems: Vec::new(), rows: Vec::new() };
    let flag = |name: &str| Spot::Named(format!("flag {name}"));
    let store = StoreSettings::local(to.components().collect());
    let name = settling.job_name(job.map(|name| (name, flag("--job"))), sources);
    let sources: Vec<(PathBuf, Spot)> =
        sources.iter().map(|path| (path.components().collect(), flag("--source"))).collect();
    settling.check_sources(&sources);
    let settings = name.map(|name| {
        let zone = settling.zone(None);
        let state_dir = settling.state_dir(None);
        let sources = sources.into_iter().map(|(path, _)| path).collect();
        let mut job = settling.job(&name, None, &zone, Some(sources));
        job.store = store.name.clone();
        Settings {
            timezone: zone,
            state_dir,
            grace: None,
            web: WebSettings::default(),
            instance: None,
            notify: NotifySettings::default(),
            stores: BTreeMap::from([(store.name.clone(), store)]),
            jobs: BTreeMap::from([(name, job)]),
            rows: Vec::new(),
        }
    });
    settling.finish(settings)
}

pub(super) struct Settling<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) variables: BTreeMap<String, String>,
    text: &'a Text,
    problems: Vec<Problem>,
    rows: Vec<Row>,
}

/// How long a removed snapshot can be taken back, unless something else is said.
const TRASH_FOR: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// The entries of a map, by key.
pub(super) type Entries = [(At<String>, At<Node>)];

impl Settling<'_> {
    fn finish(self, settings: Option<Settings>) -> Result<Settings, ConfigErrors> {
        match settings {
            Some(settings) if self.problems.is_empty() => Ok(Settings { rows: self.rows, ..settings }),
            _ => Err(draw(self.problems, self.text)),
        }
    }

    pub(super) fn problem(
        &mut self,
        spot: Spot,
        what: impl Into<String>,
        allowed: impl Into<String>,
        meant: Option<String>,
    ) {
        self.problems.push(Problem { spot, what: what.into(), allowed: allowed.into(), meant });
    }

    pub(super) fn problem_count(&self) -> usize {
        self.problems.len()
    }

    /// Notes a value for `config show`.
    pub(super) fn note_row(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The line of the file, from 1, of a byte of it.
    pub(super) fn line_at(&self, at: usize) -> usize {
        self.text.text[..at.min(self.text.text.len())].matches('\n').count() + 1
    }

    fn by_file(&mut self, tree: &At<Node>) -> Option<Settings> {
        let Node::Map(top) = &tree.value else {
            let allowed = "a map with `stores` and `jobs`; config/backup.yaml is an example";
            self.problem(Spot::File(tree.span.clone()), "this is not a configuration", allowed, None);
            return None;
        };
        let names = keys::of(Scope::Top).map(|key| key.name).chain(["stores", "jobs"]).collect::<Vec<_>>();
        self.unknown(top, &names, "the configuration");
        let zone = self.zone(find(top, "timezone"));
        let state_dir = self.state_dir(find(top, "state_dir"));
        let grace = self.one(Scope::Top, "grace", "", Some(top.as_slice()), values::duration);
        let web = self.web(Some(top.as_slice()));
        let instance = self.one(Scope::Top, "instance", "", Some(top.as_slice()), values::line);
        let store_nodes = self.section(tree, top, "stores");
        let job_nodes = self.section(tree, top, "jobs");
        self.variables_for_one(Scope::Store, store_nodes.len(), "store");
        self.variables_for_one(Scope::Job, job_nodes.len(), "job");
        self.variables_for_one(Scope::Retry, job_nodes.len(), "job");
        self.variables_for_one(Scope::Verify, job_nodes.len(), "job");
        if self.variables.contains_key("BACKUP_JOB") {
            let spot = Spot::Named("environment variable BACKUP_JOB".to_owned());
            self.problem(spot, "there is a file, which names its jobs itself", "unset it", None);
        }
        let mut stores = BTreeMap::new();
        for (name, node) in &store_nodes {
            if let Some(entries) = self.entries(name, node, Scope::Store, "a store") {
                let store = self.store(&name.value, Some((node, entries)));
                self.check_apart(store.as_ref(), &state_dir, find(entries, "path"));
                stores.extend(store.map(|store| (name.value.clone(), store)));
            }
        }
        let mut jobs = BTreeMap::new();
        for (name, node) in &job_nodes {
            let Some(entries) = self.entries(name, node, Scope::Job, "a job") else { continue };
            let Ok(job_name) = name.value.parse::<JobName>() else { continue };
            let mut job = self.job(&job_name, Some((node, entries)), &zone, None);
            self.choose_store(&mut job, find(entries, "store"), &store_nodes, name);
            jobs.insert(job_name, job);
        }
        let notify = self.notify(Some(top.as_slice()), &jobs);
        Some(Settings { timezone: zone, state_dir, grace, web, instance, notify, stores, jobs, rows: Vec::new() })
    }

    fn by_environment(&mut self) -> Option<Settings> {
        let zone = self.zone(None);
        let state_dir = self.state_dir(None);
        let grace = self.one(Scope::Top, "grace", "", None, values::duration);
        let web = self.web(None);
        let store = self.store(UNNAMED_STORE, None);
        self.check_apart(store.as_ref(), &state_dir, None);
        let name = self.variables.get("BACKUP_JOB").cloned();
        let spot = Spot::Named("environment variable BACKUP_JOB".to_owned());
        let sources: Vec<PathBuf> = self
            .variables
            .get("BACKUP_SOURCES")
            .map(|text| text.split([':', '\n']).map(str::trim).filter(|p| !p.is_empty()).map(PathBuf::from).collect())
            .unwrap_or_default();
        let name = self.job_name(name.as_deref().map(|name| (name, spot)), &sources)?;
        let mut job = self.job(&name, None, &zone, None);
        UNNAMED_STORE.clone_into(&mut job.store);
        let stores = BTreeMap::from([(UNNAMED_STORE.to_owned(), store?)]);
        let jobs = BTreeMap::from([(name, job)]);
        let instance = self.one(Scope::Top, "instance", "", None, values::line);
        let notify = self.notify(None, &jobs);
        Some(Settings { timezone: zone, state_dir, grace, web, instance, notify, stores, jobs, rows: Vec::new() })
    }

    /// The given name, or one made from the source's folder.
    fn job_name(&mut self, given: Option<(&str, Spot)>, sources: &[PathBuf]) -> Option<JobName> {
        use std::os::unix::ffi::OsStrExt;
        const ALLOWED: &str = "1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit";
        match given {
            Some((text, spot)) => match text.parse() {
                Ok(name) => Some(name),
                Err(_) => {
                    self.problem(spot, format!("`{text}` is not a job's name"), ALLOWED, None);
                    None
                }
            },
            None => {
                let made = sources.first().and_then(|path| JobName::from_folder(path.file_name()?.as_bytes()));
                if made.is_none() {
                    let spot = Spot::Named("the job's name".to_owned());
                    let what = "none can be made from the name of the folder";
                    self.problem(spot, what, "give one with --job NAME or BACKUP_JOB", None);
                }
                made
            }
        }
    }

    /// `stores` or `jobs`: a map of maps.
    fn section(&mut self, tree: &At<Node>, top: &Entries, name: &str) -> Vec<(At<String>, At<Node>)> {
        let Some(node) = find(top, name) else {
            let allowed = format!("a section `{name}:` with at least one entry; config/backup.yaml is an example");
            self.problem(Spot::File(tree.span.clone()), format!("there are no {name}"), allowed, None);
            return Vec::new();
        };
        match &node.value {
            Node::Map(entries) if !entries.is_empty() => entries.clone(),
            _ => {
                let what = format!("`{name}` takes a map of names, and this is {}", node.value.words());
                self.problem(Spot::File(node.span.clone()), what, "a name, a colon, and its settings below it", None);
                Vec::new()
            }
        }
    }

    /// The settings of one store or job, its name and its keys checked.
    fn entries<'n>(&mut self, name: &At<String>, node: &'n At<Node>, scope: Scope, what: &str) -> Option<&'n Entries> {
        if name.value.parse::<JobName>().is_err() {
            let allowed = "1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit";
            self.problem(Spot::File(name.span.clone()), format!("`{}` is not a name", name.value), allowed, None);
            return None;
        }
        let Node::Map(entries) = &node.value else {
            let wrong = format!("`{}` takes a map of settings, and this is {}", name.value, node.value.words());
            self.problem(
                Spot::File(node.span.clone()),
                wrong,
                format!("the settings of {what}, each on its line"),
                None,
            );
            return None;
        };
        let mut known: Vec<&str> = keys::of(scope).map(|key| key.name).collect();
        if scope == Scope::Job {
            known.push("sources");
        }
        self.unknown(entries, &known, what);
        Some(entries)
    }

    pub(super) fn unknown(&mut self, entries: &Entries, known: &[&str], of: &str) {
        for (key, _) in entries {
            if !known.contains(&key.value.as_str()) {
                let meant = nearest(&key.value, known.iter().copied());
                let allowed = format!("{of} has: {}", known.join(", "));
                // a secret may stand in the place of a key
                let name = if is_a_name(&key.value) { format!("`{}`", key.value) } else { "this".to_owned() };
                self.problem(Spot::File(key.span.clone()), format!("{name} is not a key of {of}"), allowed, meant);
            }
        }
    }

    /// A variable speaks of one store or one job; with several it would be a guess.
    fn variables_for_one(&mut self, scope: Scope, count: usize, word: &str) {
        if count <= 1 {
            return;
        }
        let set: Vec<&str> =
            keys::of(scope).filter_map(|key| key.variable).filter(|name| self.variables.contains_key(*name)).collect();
        for name in set {
            let spot = Spot::Named(format!("environment variable {name}"));
            let what = format!("it speaks of one {word}, and the file has {count}");
            self.problem(spot, what, "set it in the file, at the one that is meant", None);
        }
    }

    /// Flag, environment, file, in this order; the winner is noted for `config show`.
    fn said(&mut self, key: &'static Key, prefix: &str, node: Option<&At<Node>>) -> Option<Said> {
        let text = &self.text.text;
        let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let said = say(key, &self.inputs.overrides, &self.variables, node, &line_of, &mut self.problems)?;
        let value = match key.form {
            keys::Form::Secret | keys::Form::Hidden => "(secret)".to_owned(),
            _ => said.texts.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(", "),
        };
        self.rows.push(Row { key: format!("{prefix}{}", key.name), value, origin: said.origin.clone() });
        Some(said)
    }

    /// One value of a key; a problem if it is wrong.
    pub(super) fn one<T>(
        &mut self,
        scope: Scope,
        name: &str,
        prefix: &str,
        entries: Option<&Entries>,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Option<T> {
        let key = keys::find(scope, name).expect("asked for by a name of the table");
        let said = self.said(key, prefix, entries.and_then(|entries| find(entries, name)))?;
        self.parse_all(&said, parse).pop()
    }

    fn parse_all<T>(&mut self, said: &Said, parse: impl Fn(&str) -> Result<T, Refusal>) -> Vec<T> {
        let mut values = Vec::new();
        for (text, spot) in &said.texts {
            match parse(text) {
                Ok(value) => values.push(value),
                Err(refusal) => self.problem(spot.clone(), refusal.what, refusal.allowed, refusal.meant),
            }
        }
        values
    }

    fn zone(&mut self, node: Option<&At<Node>>) -> TimeZone {
        let key = keys::find(Scope::Top, "timezone").expect("a key of the table");
        if let Some(said) = self.said(key, "", node) {
            return self.parse_all(&said, values::zone).pop().unwrap_or(TimeZone::UTC);
        }
        let Some(text) = self.inputs.env.get("TZ").filter(|text| !text.is_empty()).cloned() else {
            return TimeZone::UTC;
        };
        self.rows.push(Row {
            key: "timezone".to_owned(),
            value: text.clone(),
            origin: Origin::Environment("TZ".to_owned()),
        });
        let spot = Spot::Named("environment variable TZ".to_owned());
        let said = Said { texts: vec![(text, spot)], origin: Origin::Default };
        self.parse_all(&said, values::zone).pop().unwrap_or(TimeZone::UTC)
    }

    fn state_dir(&mut self, node: Option<&At<Node>>) -> PathBuf {
        let key = keys::find(Scope::Top, "state_dir").expect("a key of the table");
        let said = self.said(key, "", node);
        let given = said.and_then(|said| self.parse_all(&said, values::path).pop());
        given.unwrap_or_else(|| {
            let path = self.inputs.default_state_dir.clone();
            let value = path.display().to_string();
            self.rows.push(Row { key: "state_dir".to_owned(), value, origin: Origin::Default });
            path
        })
    }

    /// What lies in the folder of state may be lost, and a purge of the package means to lose it: no place for a store.
    fn check_apart(&mut self, store: Option<&StoreSettings>, state_dir: &Path, at: Option<&At<Node>>) {
        if store.is_some_and(|store| store.path.starts_with(state_dir)) {
            let spot = at.map_or_else(
                || Spot::Named("environment variable BACKUP_ARCHIVE".to_owned()),
                |node| Spot::File(node.span.clone()),
            );
            let what = format!("the store lies in `state_dir` ({}), which may be lost", state_dir.display());
            self.problem(spot, what, "a folder outside it; or set `state_dir` (BACKUP_STATE_DIR) to another one", None);
        }
    }

    fn store(&mut self, name: &str, at: Option<(&At<Node>, &Entries)>) -> Option<StoreSettings> {
        let prefix = format!("stores.{name}.");
        let entries = at.map(|(_, entries)| entries);
        let before = self.problems.len();
        let path = self.one(Scope::Store, "path", &prefix, entries, values::path);
        if path.is_none() && self.problems.len() == before {
            let spot =
                at.map_or_else(|| Spot::Named("BACKUP_ARCHIVE".to_owned()), |(node, _)| Spot::File(node.span.clone()));
            self.problem(spot, "the store has no `path`", "the folder that is the store, such as /mnt/backup", None);
        }
        let require_mount = self.one(Scope::Store, "require_mount", &prefix, entries, values::mount);
        let default = Permissions::default();
        let file_mode = self.one(Scope::Store, "file_mode", &prefix, entries, |text| values::mode(text, 0o600));
        let dir_mode = self.one(Scope::Store, "dir_mode", &prefix, entries, |text| values::mode(text, 0o700));
        let lease_term = self.one(Scope::Store, "lease_term", &prefix, entries, values::duration);
        Some(StoreSettings {
            name: name.to_owned(),
            path: path?,
            require_mount: require_mount.unwrap_or(RequireMount::No),
            permissions: Permissions {
                file_mode: file_mode.unwrap_or(default.file_mode),
                dir_mode: dir_mode.unwrap_or(default.dir_mode),
            },
            lease_term: lease_term.unwrap_or(LEASE_TERM),
        })
    }

    fn job(
        &mut self,
        name: &JobName,
        at: Option<(&At<Node>, &Entries)>,
        zone: &TimeZone,
        given_sources: Option<Vec<PathBuf>>,
    ) -> JobSettings {
        let prefix = format!("jobs.{name}.");
        let entries = at.map(|(_, entries)| entries);
        let sources = given_sources.unwrap_or_else(|| self.sources(&prefix, at));
        let before = self.problems.len();
        let commands = self.commands(&prefix, entries, &sources);
        let hooks = self.hooks(&prefix, entries);
        if self.inputs.need == Need::Stores {
            // nothing is started, so what stands in a variable of the service's own is not missed
            self.problems.truncate(before);
        }
        let exclude = self.many(Scope::Job, "exclude", &prefix, entries, |text| {
            Excludes::new(&[text.to_owned()]).map(|_| text.to_owned()).map_err(|error| Refusal {
                what: format!("`{text}` is not a pattern: {}", error.source),
                allowed: "a glob: *.tmp, cache/**, /only/at/the/root, build/".to_owned(),
                meant: None,
            })
        });
        let schedules = self.many(Scope::Job, "schedule", &prefix, entries, |text| schedule(text, zone));
        let job = Scope::Job;
        JobSettings {
            name: name.clone(),
            sources,
            commands,
            hooks,
            exclude,
            exclude_caches: self.one(job, "exclude_caches", &prefix, entries, values::boolean).unwrap_or(false),
            exclude_if_present: self.one(job, "exclude_if_present", &prefix, entries, values::file_name),
            one_file_system: self.one(job, "one_file_system", &prefix, entries, values::boolean).unwrap_or(true),
            max_file_size: self.one(job, "max_file_size", &prefix, entries, values::size),
            allow_empty: self.one(job, "allow_empty", &prefix, entries, values::boolean).unwrap_or(false),
            store: String::new(),
            schedules,
            catch_up: self.catch_up(&prefix, entries),
            jitter: self.one(job, "jitter", &prefix, entries, values::duration_or_none).unwrap_or_default(),
            retry: self.retry(&prefix, entries),
            codec: self.one(job, "compression", &prefix, entries, values::codec).unwrap_or_default(),
            reuse: self.reuse(&prefix, entries),
            max_shrink_percent: self.one(job, "max_shrink", &prefix, entries, values::percent).unwrap_or(50),
            progress_timeout: self
                .one(job, "progress_timeout", &prefix, entries, values::duration)
                .unwrap_or(std::time::Duration::from_secs(300)),
            threads: self.one(job, "threads", &prefix, entries, values::count),
            retention: self.retention(&prefix, entries),
            trash_for: self.one(job, "trash_for", &prefix, entries, values::duration).unwrap_or(TRASH_FOR),
            verify: self.verify(&prefix, entries, zone),
        }
    }

    fn catch_up(&mut self, prefix: &str, entries: Option<&Entries>) -> Option<std::time::Duration> {
        let is_wanted = self.one(Scope::Job, "catch_up", prefix, entries, values::boolean).unwrap_or(true);
        let within = self.one(Scope::Job, "catch_up_within", prefix, entries, values::duration);
        is_wanted.then(|| within.unwrap_or(Plan::CATCH_UP_WITHIN))
    }

    fn retry(&mut self, prefix: &str, entries: Option<&Entries>) -> Retry {
        let prefix = format!("{prefix}retry.");
        let inner = self.inner(Scope::Retry, "retry", entries, "{times: 3, after: 10m}");
        let default = Retry::default();
        Retry {
            times: self.one(Scope::Retry, "times", &prefix, inner, values::times).unwrap_or(default.times),
            after: self.one(Scope::Retry, "after", &prefix, inner, values::duration).unwrap_or(default.after),
        }
    }

    fn reuse(&mut self, prefix: &str, entries: Option<&Entries>) -> Reuse {
        let (job, default) = (Scope::Job, Reuse::default());
        let max_volumes = self.one(job, "max_volumes", prefix, entries, values::count);
        let (ctime, inode) = self
            .one(job, "change_detection", prefix, entries, values::detection)
            .unwrap_or((default.ctime, default.inode));
        Reuse {
            full: self.one(job, "mode", prefix, entries, values::run_mode).unwrap_or(default.full),
            fresh_every: self
                .one(job, "fresh_every", prefix, entries, values::duration_or_never)
                .unwrap_or(default.fresh_every),
            max_volumes: max_volumes.and_then(|max| max.try_into().ok()).unwrap_or(default.max_volumes),
            volume_size: self.one(job, "volume_size", prefix, entries, values::size),
            ctime,
            inode,
        }
    }

    fn retention(&mut self, prefix: &str, entries: Option<&Entries>) -> Policy {
        let prefix = format!("{prefix}retention.");
        let hint = "rules: {last: 7, daily: 14, weekly: 8}";
        let rules = self.inner(Scope::Retention, "retention", entries, hint);
        let default = Policy::default();
        let mut number = |name: &'static str, default: u32| {
            self.one(Scope::Retention, name, &prefix, rules, values::number).unwrap_or(default)
        };
        let policy = Policy {
            last: number("last", 0),
            hourly: number("hourly", 0),
            daily: number("daily", 0),
            weekly: number("weekly", 0),
            monthly: number("monthly", 0),
            yearly: number("yearly", 0),
            within: None,
            floor: number("floor", default.floor),
            max_removals: number("max_removals", default.max_removals),
        };
        Policy { within: self.one(Scope::Retention, "within", &prefix, rules, values::duration), ..policy }
    }

    /// A map of settings within a map; nothing where it is left empty.
    pub(super) fn inner<'n>(
        &mut self,
        scope: Scope,
        name: &str,
        entries: Option<&'n Entries>,
        hint: &str,
    ) -> Option<&'n Entries> {
        let node = entries.and_then(|entries| find(entries, name))?;
        let inner = match &node.value {
            Node::Map(inner) => inner.as_slice(),
            Node::Null => return None,
            other => {
                let what = format!("`{name}` takes a map, and this is {}", other.words());
                self.problem(Spot::File(node.span.clone()), what, hint, None);
                return None;
            }
        };
        let names: Vec<&str> = keys::of(scope).map(|key| key.name).collect();
        self.unknown(inner, &names, &format!("`{name}`"));
        Some(inner)
    }

    /// What the daemon proves by itself: nothing without a schedule.
    fn verify(&mut self, prefix: &str, entries: Option<&Entries>, zone: &TimeZone) -> Option<VerifySettings> {
        let prefix = format!("{prefix}verify.");
        let node = entries.and_then(|entries| find(entries, "verify"));
        let inner = self.inner(Scope::Verify, "verify", entries, "{schedule: \"0 5 * * 0\", level: deep}");
        let schedules = self.many(Scope::Verify, "schedule", &prefix, inner, |text| schedule(text, zone));
        let level = self.one(Scope::Verify, "level", &prefix, inner, values::level).unwrap_or(Level::Stored);
        let sample = self.one(Scope::Verify, "sample", &prefix, inner, values::share);
        let scratch = self.one(Scope::Verify, "scratch", &prefix, inner, values::path);
        let spot =
            || node.map_or_else(|| Spot::Named("the job's verify".to_owned()), |node| Spot::File(node.span.clone()));
        if sample.is_some() && matches!(level, Level::Quick | Level::Drill) {
            let what = format!("a sample of the level {}", level.word());
            self.problem(spot(), what, "`sample` goes with stored and deep", None);
        }
        if scratch.is_some() && level != Level::Drill {
            let what = format!("`scratch` with the level {}", level.word());
            self.problem(spot(), what, "only a drill restores something: `level: drill`", None);
        }
        if schedules.is_empty() && inner.is_some_and(|inner| find(inner, "schedule").is_none()) {
            self.problem(spot(), "`verify` has no `schedule`", "when, such as `0 5 * * 0`: Sundays at five", None);
        }
        (!schedules.is_empty()).then_some(VerifySettings { schedules, level, sample, scratch })
    }

    /// The HTTP door. The token stands in the file, or in a file of its own.
    fn web(&mut self, top: Option<&Entries>) -> WebSettings {
        let inner = self.inner(Scope::Web, "web", top, "{listen: 127.0.0.1:9180, token_file: /run/secrets/backup_web}");
        let default = WebSettings::default();
        let listen = self.one(Scope::Web, "listen", "web.", inner, values::listen).unwrap_or(default.listen);
        if self.inputs.need == Need::Stores {
            return WebSettings { listen, token: None };
        }
        let token = self.one(Scope::Web, "token", "web.", inner, values::token);
        let file = self.one(Scope::Web, "token_file", "web.", inner, values::secret_path);
        let spot = inner.and_then(|inner| find(inner, "token_file")).map(|node| Spot::File(node.span.clone()));
        let spot = spot.unwrap_or_else(|| Spot::Named("web.token_file".to_owned()));
        let token = match (token, file) {
            (Some(_), Some(_)) => {
                self.problem(spot, "both `token` and `token_file` are given", "give one of them", None);
                None
            }
            (None, Some(path)) => match (self.inputs.read_secret)(&path) {
                Ok(text) => values::token(&text)
                    .map_err(|refusal| self.problem(spot, refusal.what, refusal.allowed, refusal.meant))
                    .ok(),
                Err(error) => {
                    let what = format!("`{}` could not be read: {error}", path.display());
                    self.problem(spot, what, "a file that this user may read", None);
                    None
                }
            },
            (token, None) => token,
        };
        WebSettings { listen, token }
    }

    pub(super) fn many<T>(
        &mut self,
        scope: Scope,
        name: &str,
        prefix: &str,
        entries: Option<&Entries>,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Vec<T> {
        let key = keys::find(scope, name).expect("asked for by a name of the table");
        let said = self.said(key, prefix, entries.and_then(|entries| find(entries, name)));
        said.map(|said| self.parse_all(&said, parse)).unwrap_or_default()
    }

    fn sources(&mut self, prefix: &str, at: Option<(&At<Node>, &Entries)>) -> Vec<PathBuf> {
        let key = keys::find(Scope::Job, "source").expect("a key of the table");
        let entries = at.map(|(_, entries)| entries);
        let (one, several) =
            (entries.and_then(|entries| find(entries, "source")), entries.and_then(|entries| find(entries, "sources")));
        if let (Some(_), Some(several)) = (one, several) {
            let spot = Spot::File(several.span.clone());
            self.problem(spot, "both `source` and `sources` are given", "put all folders into one of them", None);
        }
        let before = self.problems.len();
        let said = self.said(key, prefix, one.or(several));
        let texts = said.map(|said| said.texts).unwrap_or_default();
        let mut found = Vec::new();
        for (text, spot) in texts {
            match values::path(&text) {
                Ok(path) => found.push((path, spot)),
                Err(refusal) => self.problem(spot, refusal.what, refusal.allowed, refusal.meant),
            }
        }
        let commands = entries.and_then(|entries| find(entries, "commands"));
        let has_commands = commands.is_some_and(|node| !matches!(&node.value, Node::Null) && !is_empty_list(node));
        if found.is_empty() && self.problems.len() == before && !has_commands {
            let spot =
                at.map_or_else(|| Spot::Named("BACKUP_SOURCES".to_owned()), |(node, _)| Spot::File(node.span.clone()));
            let allowed = "the folder to snapshot, such as /var/www/upload; or `commands`";
            self.problem(spot, "the job has no `source`", allowed, None);
        }
        self.check_sources(&found);
        found.into_iter().map(|(path, _)| path).collect()
    }

    /// Sources that lie in each other would be stored twice.
    fn check_sources(&mut self, sources: &[(PathBuf, Spot)]) {
        for (index, (path, spot)) in sources.iter().enumerate() {
            if let Some((other, _)) =
                sources[..index].iter().find(|(other, _)| path.starts_with(other) || other.starts_with(path))
            {
                let what = format!("`{}` and `{}` lie in each other", path.display(), other.display());
                self.problem(spot.clone(), what, "give the outer one only, or exclude what is not wanted of it", None);
            }
        }
    }

    fn choose_store(
        &mut self,
        job: &mut JobSettings,
        node: Option<&At<Node>>,
        stores: &[(At<String>, At<Node>)],
        job_name: &At<String>,
    ) {
        let names: Vec<&str> = stores.iter().map(|(name, _)| name.value.as_str()).collect();
        let key = keys::find(Scope::Job, "store").expect("a key of the table");
        let said = self.said(key, &format!("jobs.{}.", job.name), node);
        match (said.and_then(|said| said.texts.into_iter().next()), names.as_slice()) {
            (Some((text, _)), names) if names.contains(&text.as_str()) => job.store = text,
            (Some((text, spot)), names) => {
                let meant = nearest(&text, names.iter().copied());
                let allowed = format!("the stores are: {}", names.join(", "));
                self.problem(spot, format!("there is no store `{text}`"), allowed, meant);
            }
            (None, [only]) => (*only).clone_into(&mut job.store),
            (None, names) => {
                let allowed = format!("say `store:` with one of: {}", names.join(", "));
                self.problem(
                    Spot::File(job_name.span.clone()),
                    "the job has no `store`, and there are several",
                    allowed,
                    None,
                );
            }
        }
    }
}

fn is_empty_list(node: &At<Node>) -> bool {
    matches!(&node.value, Node::List(items) if items.is_empty())
}

fn schedule(text: &str, zone: &TimeZone) -> Result<Schedule, Refusal> {
    Schedule::parse(text, zone.clone()).map_err(|error| Refusal {
        what: error.to_string(),
        allowed: "minute, hour, day of month, month, day of week: `0 2 * * *` is every day at two; or @daily, @hourly"
            .to_owned(),
        meant: None,
    })
}

/// The value of a key; `source` may be spelt either way by its caller.
pub(super) fn find<'n>(entries: &'n Entries, name: &str) -> Option<&'n At<Node>> {
    entries.iter().find(|(key, _)| key.value == name).map(|(_, value)| value)
}
