//! Settings that are right: what the rest of the program works with.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::keys::{self, Scope};
use crate::archive::Codec;
use crate::command::Hooks;
use crate::domain::{ByteCount, Host, JobName, Level, Percent, Secret};
use crate::engine::{CommandSource, Reuse};
use crate::notify::{Email, Ping, Rules, Slack, Webhook, jira};
use crate::retention::Policy;
use crate::schedule::{Plan, Retry, Schedule};
use crate::store::{Permissions, RequireMount};

/// Everything that was configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of all schedules.
    pub timezone: TimeZone,
    /// Where state lies.
    pub state_dir: PathBuf,
    /// How long a running job may go on after SIGTERM; none: it is asked to stop at once.
    pub grace: Option<Duration>,
    /// The daemon's HTTP door.
    pub web: WebSettings,
    /// What this installation is called; none: as the machine.
    pub instance: Option<String>,
    /// Who is told.
    pub notify: NotifySettings,
    /// By name.
    pub stores: BTreeMap<String, StoreSettings>,
    /// By name.
    pub jobs: BTreeMap<JobName, JobSettings>,
    /// Every value and where it came from, in order.
    pub(super) rows: Vec<Row>,
}

/// The daemon's HTTP door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSettings {
    /// Where it answers; none: nowhere.
    pub listen: Option<SocketAddr>,
    /// Who says it may start runs and read what is in snapshots.
    pub token: Option<Secret>,
}

impl WebSettings {
    /// Where it answers unless something else is said.
    pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);
}

impl Default for WebSettings {
    fn default() -> Self {
        Self { listen: Some(Self::LISTEN), token: None }
    }
}

/// Who is told what.
#[derive(Clone, Debug, Default)]
pub struct NotifySettings {
    /// Certificates that are trusted besides the built-in ones, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Each channel once.
    pub listeners: Vec<ListenerSettings>,
}

/// One channel and what it is told.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Where to.
    pub channel: ChannelSettings,
    /// What.
    pub rules: Rules,
}

/// A channel that is not live yet.
#[derive(Clone, Debug)]
pub enum ChannelSettings {
    /// Slack.
    Slack(Slack),
    /// JIRA.
    Jira(Box<jira::Settings>),
    /// JSON for programs.
    Webhook(Webhook),
    /// A dead man's switch.
    Ping(Ping),
    /// E-mail.
    Email(Box<Email>),
}

impl ChannelSettings {
    /// As in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::Jira(_) => "jira",
            Self::Webhook(_) => "webhook",
            Self::Ping(_) => "ping",
            Self::Email(_) => "email",
        }
    }
}

/// What the daemon proves by itself.
#[derive(Clone, Debug)]
pub struct VerifySettings {
    /// When.
    pub schedules: Vec<Schedule>,
    /// How deep.
    pub level: Level,
    /// Which share of the frames.
    pub sample: Option<Percent>,
}

/// A store.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Its name in the configuration.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// What it must be mounted as.
    pub require_mount: RequireMount,
    /// Of what is created in it.
    pub permissions: Permissions,
    /// After how long a silence a lease may be taken over.
    pub lease_term: Duration,
}

/// The name of a store that no configuration names.
pub(super) const UNNAMED_STORE: &str = "store";

/// How long a lease lives without a word.
pub(super) const LEASE_TERM: Duration = Duration::from_secs(15 * 60);

impl StoreSettings {
    /// A folder that is in no configuration, with every default.
    pub fn local(path: PathBuf) -> Self {
        Self {
            name: UNNAMED_STORE.to_owned(),
            path,
            require_mount: RequireMount::No,
            permissions: Permissions::default(),
            lease_term: LEASE_TERM,
        }
    }
}

/// A job.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// Its name.
    pub name: JobName,
    /// Absolute; none lies in another.
    pub sources: Vec<PathBuf>,
    /// Commands whose output is stored besides, each under a path of its own.
    pub commands: Vec<CommandSource>,
    /// What is run around a run.
    pub hooks: Hooks,
    /// Patterns that compile.
    pub exclude: Vec<String>,
    /// Leave out the content of cache folders.
    pub exclude_caches: bool,
    /// Leave out the content of folders that hold this file.
    pub exclude_if_present: Option<String>,
    /// Do not enter other file systems.
    pub one_file_system: bool,
    /// Leave out larger files.
    pub max_file_size: Option<ByteCount>,
    /// Whether an empty source is well.
    pub allow_empty: bool,
    /// A store that is there.
    pub store: String,
    /// In the configured zone.
    pub schedules: Vec<Schedule>,
    /// How late missed runs are still made up for, by one; none: never.
    pub catch_up: Option<Duration>,
    /// By how much a start is put off at the most.
    pub jitter: Duration,
    /// Further attempts after a failure.
    pub retry: Retry,
    /// How frames are compressed.
    pub codec: Codec,
    /// What is built on the snapshot before.
    pub reuse: Reuse,
    /// By how much entries or content may fall.
    pub max_shrink_percent: u8,
    /// How long nothing may move.
    pub progress_timeout: Duration,
    /// Workers.
    pub threads: Option<NonZeroUsize>,
    /// Which snapshots stay.
    pub retention: Policy,
    /// How long a removed one can be taken back.
    pub trash_for: Duration,
    /// What the daemon proves by itself; none: nothing.
    pub verify: Option<VerifySettings>,
}

impl JobSettings {
    /// What the job wants of time, on this host.
    pub fn plan(&self, host: &Host) -> Plan {
        Plan {
            seed: format!("{}/{}", host.0, self.name),
            schedules: self.schedules.clone(),
            catch_up: self.catch_up,
            jitter: self.jitter,
            retry: self.retry,
        }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag(&'static str),
    /// A variable.
    Environment(String),
    /// A line of the file.
    File(usize),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(line) => write!(f, "file, line {line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One value, for `config show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// For example `jobs.upload.compression`.
    pub key: String,
    /// As it was understood.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Every value and where it came from, defaults included.
pub fn show(settings: &Settings) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut scope = |scope: Scope, prefix: &str| {
        for key in keys::of(scope) {
            let name = format!("{prefix}{}", key.name);
            match settings.rows.iter().find(|row| row.key == name) {
                Some(row) => rows.push(row.clone()),
                None if key.default.is_empty() => {}
                None => rows.push(Row { key: name, value: key.default.to_owned(), origin: Origin::Default }),
            }
        }
    };
    scope(Scope::Top, "");
    scope(Scope::Web, "web.");
    scope(Scope::Notify, "notify.");
    for listener in &settings.notify.listeners {
        let of = match &listener.channel {
            ChannelSettings::Slack(_) => Scope::Slack,
            ChannelSettings::Jira(_) => Scope::Jira,
            ChannelSettings::Webhook(_) => Scope::Webhook,
            ChannelSettings::Ping(_) => Scope::Ping,
            ChannelSettings::Email(_) => Scope::Email,
        };
        scope(of, &format!("notify.{}.", listener.channel.name()));
    }
    settings.stores.keys().for_each(|store| scope(Scope::Store, &format!("stores.{store}.")));
    for job in settings.jobs.keys() {
        scope(Scope::Job, &format!("jobs.{job}."));
        let commands = settings.jobs.get(job).map_or(0, |job| job.commands.len());
        (1..=commands).for_each(|number| scope(Scope::Command, &format!("jobs.{job}.commands.{number}.")));
        if let Some(hooks) = settings.jobs.get(job).map(|job| &job.hooks) {
            let prefix = format!("jobs.{job}.hooks.");
            for number in 1..=hooks.before.len() {
                scope(Scope::Step, &format!("{prefix}before.{number}."));
                if hooks.before[number - 1].undo.is_some() {
                    scope(Scope::Hook, &format!("{prefix}before.{number}.undo."));
                }
            }
            for (kind, all) in [("after", &hooks.after), ("on_failure", &hooks.on_failure), ("always", &hooks.always)] {
                (1..=all.len()).for_each(|number| scope(Scope::Hook, &format!("{prefix}{kind}.{number}.")));
            }
        }
        scope(Scope::Retry, &format!("jobs.{job}.retry."));
        scope(Scope::Retention, &format!("jobs.{job}.retention."));
        if settings.jobs.get(job).is_some_and(|job| job.verify.is_some()) {
            scope(Scope::Verify, &format!("jobs.{job}.verify."));
        }
    }
    rows
}
