//! `notify`: who is told what, from keys and variables to channels that are right.
//!
//! The danger here is the secret: its text is never repeated in a problem, and `config show` does not show it. A secret
//! stands in its variable (or the file that its `_FILE` names), in its key, or in the file that its `_file` key names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::file::{At, Node};
use super::keys::{self, Scope};
use super::layers::Need;
use super::problem::{Spot, nearest};
use super::settings::{ChannelSettings, JobSettings, ListenerSettings, NotifySettings};
use super::settle::{Entries, Settling, find};
use super::values::{self, Refusal};
use crate::domain::{JobName, Secret};
use crate::notify::http::{Address, AddressError};
use crate::notify::jira::{self, Flavour, SignIn};
use crate::notify::{Email, Ping, Protection, Rules, Slack, Templates, Webhook};
use crate::report::Kind;

/// For one letter, with all that a mail server asks before.
const EMAIL_TIMEOUT: Duration = Duration::from_secs(30);

type Jobs = BTreeMap<JobName, JobSettings>;

/// One channel's part of the file.
struct Part<'n> {
    scope: Scope,
    name: &'static str,
    prefix: String,
    node: Option<&'n At<Node>>,
    entries: Option<&'n Entries>,
}

impl Settling<'_> {
    pub(super) fn notify(&mut self, top: Option<&Entries>, jobs: &Jobs) -> NotifySettings {
        if self.inputs.need == Need::Stores {
            return NotifySettings::default();
        }
        let outer = self.inner(Scope::Notify, "notify", top, "{slack: {webhook_url_file: FILE}, jira: {url: …}}");
        let ca_file = self.one(Scope::Notify, "ca_file", "notify.", outer, values::path);
        let http = self.one(Scope::Notify, "allow_http", "notify.", outer, values::boolean).unwrap_or(false);
        let mut listeners = Vec::new();
        for (name, scope, begins) in [
            ("slack", Scope::Slack, "webhook_url"),
            ("jira", Scope::Jira, "url"),
            ("webhook", Scope::Webhook, "url"),
            ("ping", Scope::Ping, "url"),
            ("email", Scope::Email, "host"),
        ] {
            let node = outer.and_then(|outer| find(outer, name));
            // a channel is there if the file has it, or if its first variable is set
            let variable = keys::find(scope, begins).and_then(|key| key.variable);
            if node.is_none() && !variable.is_some_and(|variable| self.variables.contains_key(variable)) {
                continue;
            }
            let entries = self.inner(scope, name, outer, "its settings, each on its line");
            let part = Part { scope, name, prefix: format!("notify.{name}."), node, entries };
            let channel = match scope {
                Scope::Slack => self.slack(&part, http),
                Scope::Jira => self.jira(&part, http),
                Scope::Webhook => self.webhook(&part, http),
                Scope::Ping => self.ping(&part, http),
                _ => self.email(&part),
            };
            let rules = self.rules(&part, jobs);
            listeners.extend(channel.map(|channel| ListenerSettings { channel, rules }));
        }
        NotifySettings { ca_file, listeners }
    }

    fn value<T>(&mut self, part: &Part<'_>, name: &str, parse: impl Fn(&str) -> Result<T, Refusal>) -> Option<T> {
        self.one(part.scope, name, &part.prefix, part.entries, parse)
    }

    /// Where a problem of a key is shown.
    fn spot(part: &Part<'_>, name: &str) -> Spot {
        let node = part.entries.and_then(|entries| find(entries, name)).or(part.node);
        node.map_or_else(|| Spot::Named(format!("notify.{}", part.name)), |node| Spot::File(node.span.clone()))
    }

    /// A value that has to be there.
    fn needed<T>(&mut self, part: &Part<'_>, name: &str, parse: impl Fn(&str) -> Result<T, Refusal>) -> Option<T> {
        let before = self.problem_count();
        let value = self.value(part, name, parse);
        if value.is_none() && self.problem_count() == before {
            self.missing(part, name);
        }
        value
    }

    fn missing(&mut self, part: &Part<'_>, name: &str) {
        let key = keys::find(part.scope, name).expect("a key of the table");
        let variable = key.variable.map_or_else(String::new, |variable| format!(" (or set {variable})"));
        let what = format!("`{}` has no `{name}`", part.name);
        self.problem(Self::spot(part, name), what, format!("{}{variable}", key.about), None);
    }

    /// A secret: from its variable, its key, or the file that its `_file` key names.
    fn secret(&mut self, part: &Part<'_>, name: &'static str) -> Option<Secret> {
        let key = keys::find(part.scope, name).expect("a key of the table");
        let file_name = format!("{name}_file");
        let in_file = part.entries.and_then(|entries| find(entries, &file_name)).is_some();
        if key.variable.is_some_and(|variable| self.variables.contains_key(variable)) || !in_file {
            return self.value(part, name, values::hidden);
        }
        if part.entries.and_then(|entries| find(entries, name)).is_some() {
            let what = format!("both `{name}` and `{file_name}` are given");
            self.problem(Self::spot(part, &file_name), what, "give one of them", None);
            return None;
        }
        let path = self.value(part, &file_name, values::secret_path)?;
        let spot = Self::spot(part, &file_name);
        match (self.inputs.read_secret)(&path).map(|text| values::hidden(&text)) {
            Ok(Ok(secret)) => Some(secret),
            Ok(Err(refusal)) => {
                self.problem(spot, refusal.what, refusal.allowed, None);
                None
            }
            Err(error) => {
                let what = format!("`{}` could not be read: {error}", path.display());
                self.problem(spot, what, "a file that this user may read", None);
                None
            }
        }
    }

    fn needed_secret(&mut self, part: &Part<'_>, name: &'static str) -> Option<Secret> {
        let before = self.problem_count();
        let secret = self.secret(part, name);
        if secret.is_none() && self.problem_count() == before {
            self.missing(part, name);
        }
        secret
    }

    /// A secret that is an address.
    fn secret_address(&mut self, part: &Part<'_>, name: &'static str, http: bool) -> Option<Address> {
        let secret = self.needed_secret(part, name)?;
        match values::address(secret.reveal(), http) {
            Ok(address) => Some(address),
            Err(refusal) => {
                let what = format!("`{name}`: {}", refusal.what);
                self.problem(Self::spot(part, name), what, refusal.allowed, None);
                None
            }
        }
    }

    fn rules(&mut self, part: &Part<'_>, jobs: &Jobs) -> Rules {
        let defaults = match part.scope {
            Scope::Jira => Rules::of(&[Kind::Failed, Kind::Missed, Kind::Overdue, Kind::Damage]),
            Scope::Webhook | Scope::Ping => Rules::everything(),
            _ => Rules::for_people(),
        };
        let names = self.list(part, "jobs", values::line);
        let known: Vec<&str> = jobs.keys().map(JobName::as_str).collect();
        let mut wanted = BTreeSet::new();
        for name in names {
            match jobs.keys().find(|job| job.as_str() == name) {
                Some(job) => drop(wanted.insert(job.clone())),
                None => {
                    let meant = nearest(&name, known.iter().copied());
                    let allowed = format!("the jobs are: {}", known.join(", "));
                    self.problem(Self::spot(part, "jobs"), format!("there is no job `{name}`"), allowed, meant);
                }
            }
        }
        let jobs = (!wanted.is_empty()).then_some(wanted);
        if part.scope == Scope::Ping {
            return Rules { jobs, ..defaults };
        }
        let on: BTreeSet<Kind> = self.list(part, "on", values::kind).into_iter().collect();
        let mut on = if on.is_empty() { defaults.on } else { on };
        if part.scope == Scope::Jira {
            // a ticket that nobody hears the end of stays open for ever
            on.insert(Kind::Recovered);
        }
        let repeat_after = self.value(part, "repeat_after", values::duration_or_none).unwrap_or(defaults.repeat_after);
        let after = self.value(part, "after_failures", values::count);
        let after_failures = after.and_then(|after| after.get().try_into().ok()).unwrap_or(defaults.after_failures);
        Rules { on, jobs, repeat_after, after_failures }
    }

    fn list<T>(&mut self, part: &Part<'_>, name: &str, parse: impl Fn(&str) -> Result<T, Refusal>) -> Vec<T> {
        self.many(part.scope, name, &part.prefix, part.entries, parse)
    }

    fn templates(&mut self, part: &Part<'_>) -> Templates {
        Templates {
            title: self.value(part, "title", values::template),
            body: self.value(part, "body", values::template),
        }
    }

    fn slack(&mut self, part: &Part<'_>, http: bool) -> Option<ChannelSettings> {
        let address = self.secret_address(part, "webhook_url", http);
        let templates = self.templates(part);
        Some(ChannelSettings::Slack(Slack { address: address?, templates }))
    }

    fn webhook(&mut self, part: &Part<'_>, http: bool) -> Option<ChannelSettings> {
        let address = self.secret_address(part, "url", http);
        let secret = self.secret(part, "secret");
        Some(ChannelSettings::Webhook(Webhook { address: address?, secret }))
    }

    fn ping(&mut self, part: &Part<'_>, http: bool) -> Option<ChannelSettings> {
        let url = self.needed_secret(part, "url")?;
        let refused = match Ping::new(url, http) {
            Ok(ping) => return Some(ChannelSettings::Ping(ping)),
            Err(AddressError::NoUrl) => "`url` is no address",
            Err(AddressError::Plain) => "`url` begins with http://, and everybody on the way could read it",
        };
        self.problem(Self::spot(part, "url"), refused, "an address that begins with https://", None);
        None
    }

    fn jira(&mut self, part: &Part<'_>, http: bool) -> Option<ChannelSettings> {
        let url = self.needed(part, "url", |text| values::address(text, http));
        let project = self.needed(part, "project", values::line);
        let issue_type = self.value(part, "issue_type", values::line).unwrap_or_else(|| "Task".to_owned());
        let user = self.value(part, "user", values::line);
        let token = self.needed_secret(part, "token");
        let api = self.value(part, "api", values::jira_api).flatten();
        let labels = self.list(part, "labels", values::line);
        let priority = self.value(part, "priority", values::line);
        let reopen_within = self.value(part, "reopen_within", values::duration);
        let resolve = self.value(part, "resolve", values::boolean).unwrap_or(false);
        let (url, token) = (url?, token?);
        let flavour = api.unwrap_or_else(|| Flavour::of(&url));
        let sign_in = match user {
            Some(user) => SignIn::Basic { user, token },
            None if flavour == Flavour::Cloud => {
                self.missing(part, "user");
                return None;
            }
            None => SignIn::Bearer(token),
        };
        let settings = jira::Settings::new(url, flavour, sign_in, &project?, &issue_type);
        let reopen_within = reopen_within.unwrap_or(settings.reopen_within);
        Some(ChannelSettings::Jira(Box::new(jira::Settings { labels, priority, reopen_within, resolve, ..settings })))
    }

    fn email(&mut self, part: &Part<'_>) -> Option<ChannelSettings> {
        let mailbox = |text: &str| {
            text.trim().parse().map_err(|_| Refusal {
                what: format!("`{text}` is not an e-mail address"),
                allowed: "ops@example.org, or Operations <ops@example.org>".to_owned(),
                meant: None,
            })
        };
        let host = self.needed(part, "host", values::line);
        let port = self.value(part, "port", values::port);
        let protection = self.value(part, "tls", values::protection).unwrap_or(Protection::StartTls);
        let user = self.value(part, "user", values::line);
        let password = self.secret(part, "password");
        let from = self.needed(part, "from", mailbox);
        let before = self.problem_count();
        let to = self.list(part, "to", mailbox);
        if to.is_empty() && self.problem_count() == before {
            self.missing(part, "to");
        }
        let templates = self.templates(part);
        let host = host?;
        let login = match (user, password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            (user, _) => {
                self.missing(part, if user.is_none() { "user" } else { "password" });
                return None;
            }
        };
        let is_near = Address::parse(&format!("http://{host}"), false).is_ok();
        if login.is_some() && protection == Protection::Off && !is_near {
            let what = "the password would go over an unprotected line";
            self.problem(Self::spot(part, "tls"), what, "`tls: starttls` or `tls: tls`", None);
            return None;
        }
        Some(ChannelSettings::Email(Box::new(Email {
            host,
            port,
            protection,
            login,
            from: from?,
            to: if to.is_empty() { return None } else { to },
            extra_roots: None,
            timeout: EMAIL_TIMEOUT,
            templates,
        })))
    }
}
