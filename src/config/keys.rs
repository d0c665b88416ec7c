//! The keys: names, what they take, what they mean. The one place to add one.

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// At the top of the file.
    Top,
    /// In a store.
    Store,
    /// In a job.
    Job,
    /// In one of a job's `commands`.
    Command,
    /// In a job's `hooks`.
    Hooks,
    /// In one of `hooks.before`.
    Step,
    /// In one of the other hooks, and in `undo`.
    Hook,
    /// In a job's `retention`.
    Retention,
    /// In a job's `retry`.
    Retry,
    /// In a job's `verify`.
    Verify,
    /// In `web`.
    Web,
    /// In `notify`.
    Notify,
    /// In `notify.slack`.
    Slack,
    /// In `notify.jira`.
    Jira,
    /// In `notify.webhook`.
    Webhook,
    /// In `notify.ping`.
    Ping,
    /// In `notify.email`.
    Email,
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An absolute path.
    Path,
    /// One or several absolute paths.
    Paths,
    /// An IANA time zone.
    Zone,
    /// One or several patterns.
    Patterns,
    /// A file name.
    FileName,
    /// true or false.
    Bool,
    /// A number of bytes.
    Size,
    /// A length of time.
    Duration,
    /// A length of time, or none: 0s.
    DurationOrNone,
    /// A length of time, or never.
    DurationOrNever,
    /// linked or full.
    RunMode,
    /// What is compared besides size and mtime.
    Detection,
    /// 0% to 100%.
    Percent,
    /// A whole number from 1.
    Count,
    /// A whole number from 0.
    Number,
    /// A map of its own, with the keys of [`Scope::Retention`].
    Rules,
    /// Octal permissions.
    Mode,
    /// no, any, nfs, cifs.
    Mount,
    /// zstd, gzip or none, with a level.
    Codec,
    /// One or several cron expressions.
    Schedules,
    /// The name of a store.
    StoreName,
    /// A map of its own, with the keys of [`Scope::Retry`].
    Attempts,
    /// 0 to 100.
    Times,
    /// A map of its own, with the keys of [`Scope::Verify`].
    Proofs,
    /// A map of its own, with the keys of [`Scope::Web`].
    Door,
    /// quick, stored, deep or drill.
    Level,
    /// 1% to 100%.
    Share,
    /// An address with its port, or no.
    Listen,
    /// A token that is shown to nobody, not guessed, and at least 16 characters long.
    Secret,
    /// Any text that is shown to nobody.
    Hidden,
    /// Any text of one line.
    Text,
    /// An address that begins with https://.
    Url,
    /// One or several kinds of messages.
    Kinds,
    /// One or several names.
    Names,
    /// A template for a message.
    Template,
    /// A port.
    Port,
    /// starttls, tls or none.
    Protection,
    /// auto, cloud or datacenter.
    JiraApi,
    /// A map of its own, with the keys of this scope.
    Inner(Scope),
    /// A list of such maps.
    Several(Scope),
    /// The path of a file in a snapshot.
    EntryName,
    /// A program and its arguments.
    Words,
    /// What a shell reads.
    Script,
    /// Variables with their values.
    Variables,
    /// Variables with the files that hold their values.
    VariableFiles,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it stands.
    pub scope: Scope,
    /// In the file.
    pub name: &'static str,
    /// In the environment; each also with `_FILE`.
    pub variable: Option<&'static str>,
    pub(super) form: Form,
    /// In words, for `config show`; empty if there is none.
    pub default: &'static str,
    /// One or two sentences for people.
    pub about: &'static str,
}

const fn key(
    scope: Scope,
    name: &'static str,
    variable: Option<&'static str>,
    form: Form,
    default: &'static str,
    about: &'static str,
) -> Key {
    Key { scope, name, variable, form, default, about }
}

/// All keys, in the order in which they are shown.
pub(super) const KEYS: &[Key] = &[
    key(
        Scope::Top,
        "timezone",
        None,
        Form::Zone,
        "UTC",
        "The IANA time zone of all schedules; default: $TZ, else UTC.",
    ),
    key(
        Scope::Top,
        "state_dir",
        Some("BACKUP_STATE_DIR"),
        Form::Path,
        "/var/lib/backup",
        "Where this machine remembers which store was where, and outcomes that have not reached a store. May be lost.",
    ),
    key(
        Scope::Top,
        "grace",
        Some("BACKUP_GRACE"),
        Form::Duration,
        "",
        "How long the daemon lets a running job go on after SIGTERM; default: it is asked to stop at once. Either way it then has six seconds to clean up.",
    ),
    key(
        Scope::Top,
        "web",
        None,
        Form::Door,
        "",
        "The daemon's page, health, metrics and API. {listen: 127.0.0.1:9180, token_file: FILE}.",
    ),
    key(
        Scope::Web,
        "listen",
        Some("BACKUP_WEB_LISTEN"),
        Form::Listen,
        "127.0.0.1:9180",
        "The address and port to answer at, or `no`. Health, metrics and state are answered to anybody who reaches it.",
    ),
    key(
        Scope::Web,
        "token",
        Some("BACKUP_WEB_TOKEN"),
        Form::Secret,
        "",
        "Who says it may start runs, and read and download what is in snapshots; without it nobody may. Better in a file: token_file.",
    ),
    key(Scope::Web, "token_file", None, Form::Path, "", "The file that holds the token."),
    key(
        Scope::Top,
        "instance",
        Some("BACKUP_INSTANCE"),
        Form::Text,
        "",
        "What this installation is called in messages and tickets; default: the name of the machine.",
    ),
    key(Scope::Top, "notify", None, Form::Inner(Scope::Notify), "", "Who is told: slack, jira, webhook, ping, email."),
    key(
        Scope::Store,
        "path",
        Some("BACKUP_ARCHIVE"),
        Form::Path,
        "",
        "The folder that is the store, or on the share that is mounted there. `backup init` makes it one.",
    ),
    key(
        Scope::Store,
        "require_mount",
        Some("BACKUP_REQUIRE_MOUNT"),
        Form::Mount,
        "no",
        "Refuse the store unless it lies on such a mount: nfs, cifs, any (not the machine's own disk), or no.",
    ),
    key(Scope::Store, "file_mode", Some("BACKUP_FILE_MODE"), Form::Mode, "0600", "Permissions of files in the store."),
    key(Scope::Store, "dir_mode", Some("BACKUP_DIR_MODE"), Form::Mode, "0700", "Permissions of folders in the store."),
    key(
        Scope::Store,
        "lease_term",
        Some("BACKUP_LEASE_TERM"),
        Form::Duration,
        "15m",
        "After how long a silence of a run another may take its lease over.",
    ),
    key(
        Scope::Job,
        "source",
        Some("BACKUP_SOURCES"),
        Form::Paths,
        "",
        "The folder to snapshot, or a list of folders. One: names in the tar are relative to it. Several: their full paths without the leading slash.",
    ),
    key(
        Scope::Job,
        "commands",
        None,
        Form::Several(Scope::Command),
        "",
        "Commands whose standard output is stored, each as one file: a list of {name: dumps/shop.sql, run: [mariadb-dump, shop]}. With them names of sources are full paths.",
    ),
    key(
        Scope::Command,
        "name",
        None,
        Form::EntryName,
        "",
        "The path of its file in the snapshot; no source lies there, nor another command's file.",
    ),
    key(Scope::Command, "run", None, Form::Words, "", "The program and its arguments, as a list; no shell reads it."),
    key(Scope::Command, "shell", None, Form::Script, "", "In place of `run`: what /bin/sh -c is to run."),
    key(
        Scope::Command,
        "deadline",
        None,
        Form::Duration,
        "",
        "How long it may be at work before it is ended; default: as long as it is never silent for `progress_timeout`.",
    ),
    key(
        Scope::Command,
        "environment",
        None,
        Form::Variables,
        "",
        "Variables besides PATH, HOME, USER, LOGNAME, LANG, LC_ALL, TZ and TMPDIR, which it has as we have them.",
    ),
    key(
        Scope::Command,
        "environment_files",
        None,
        Form::VariableFiles,
        "",
        "Variables whose values stand in files, such as secrets. A line feed at the end is left out.",
    ),
    key(
        Scope::Job,
        "hooks",
        None,
        Form::Inner(Scope::Hooks),
        "",
        "What is run around each run: {before: [{run: [program, argument], undo: {run: [program]}}], after: [], on_failure: [], always: []}.",
    ),
    key(
        Scope::Hooks,
        "before",
        None,
        Form::Several(Scope::Step),
        "",
        "Before anything of the source is read; one that fails fails the run. What is begun is undone, whatever happens.",
    ),
    key(Scope::Hooks, "after", None, Form::Several(Scope::Hook), "", "After a run that made a snapshot."),
    key(Scope::Hooks, "on_failure", None, Form::Several(Scope::Hook), "", "After a run that did not end ok."),
    key(Scope::Hooks, "always", None, Form::Several(Scope::Hook), "", "After every run."),
    key(Scope::Step, "run", None, Form::Words, "", "The program and its arguments, as a list; no shell reads it."),
    key(Scope::Step, "shell", None, Form::Script, "", "In place of `run`: what /bin/sh -c is to run."),
    key(Scope::Step, "deadline", None, Form::Duration, "5m", "How long it may be at work before it is ended."),
    key(
        Scope::Step,
        "environment",
        None,
        Form::Variables,
        "",
        "Variables besides the base and what it is told of the run.",
    ),
    key(Scope::Step, "environment_files", None, Form::VariableFiles, "", "Variables whose values stand in files."),
    key(
        Scope::Step,
        "undo",
        None,
        Form::Inner(Scope::Hook),
        "",
        "What takes it back: run once it was begun, in reverse order, whatever came of the step and of the run.",
    ),
    key(Scope::Hook, "run", None, Form::Words, "", "The program and its arguments, as a list; no shell reads it."),
    key(Scope::Hook, "shell", None, Form::Script, "", "In place of `run`: what /bin/sh -c is to run."),
    key(Scope::Hook, "deadline", None, Form::Duration, "5m", "How long it may be at work before it is ended."),
    key(
        Scope::Hook,
        "environment",
        None,
        Form::Variables,
        "",
        "Variables besides the base and what it is told of the run.",
    ),
    key(Scope::Hook, "environment_files", None, Form::VariableFiles, "", "Variables whose values stand in files."),
    key(
        Scope::Job,
        "exclude",
        Some("BACKUP_EXCLUDE"),
        Form::Patterns,
        "",
        "Patterns of what is left out, relative to the source. Without a slash they match at any depth; with one at the end only folders.",
    ),
    key(
        Scope::Job,
        "exclude_caches",
        Some("BACKUP_EXCLUDE_CACHES"),
        Form::Bool,
        "false",
        "Leave out what is in folders tagged with a CACHEDIR.TAG.",
    ),
    key(
        Scope::Job,
        "exclude_if_present",
        Some("BACKUP_EXCLUDE_IF_PRESENT"),
        Form::FileName,
        "",
        "Leave out what is in folders that hold a file of this name.",
    ),
    key(
        Scope::Job,
        "one_file_system",
        Some("BACKUP_ONE_FILE_SYSTEM"),
        Form::Bool,
        "true",
        "Do not enter other file systems that are mounted below the source.",
    ),
    key(Scope::Job, "max_file_size", Some("BACKUP_MAX_FILE_SIZE"), Form::Size, "", "Leave out larger files."),
    key(
        Scope::Job,
        "allow_empty",
        Some("BACKUP_ALLOW_EMPTY"),
        Form::Bool,
        "false",
        "Take an empty source for well. Otherwise the run fails: an empty source is most often a disk that is not mounted.",
    ),
    key(Scope::Job, "store", None, Form::StoreName, "", "The store; may be left out if there is only one."),
    key(
        Scope::Job,
        "schedule",
        Some("BACKUP_CRON_EXPRESSION"),
        Form::Schedules,
        "",
        "When it is due: a cron expression of five fields, @daily and its like, or a list of them.",
    ),
    key(
        Scope::Job,
        "catch_up",
        Some("BACKUP_CATCH_UP"),
        Form::Bool,
        "true",
        "After runs that were missed (the machine was down or asleep) the daemon makes one run for all of them.",
    ),
    key(
        Scope::Job,
        "catch_up_within",
        Some("BACKUP_CATCH_UP_WITHIN"),
        Form::Duration,
        "24h",
        "How long after the last missed run it is still made up for.",
    ),
    key(
        Scope::Job,
        "jitter",
        Some("BACKUP_JITTER"),
        Form::DurationOrNone,
        "0s",
        "By how much a start is put off at the most, so that many machines do not start at once. The same for a run after every restart; never beyond the next run.",
    ),
    key(
        Scope::Job,
        "retry",
        None,
        Form::Attempts,
        "",
        "Further attempts after a run that failed, each pause twice as long, none beyond the next run: {times: 3, after: 10m}.",
    ),
    key(Scope::Retry, "times", Some("BACKUP_RETRY_TIMES"), Form::Times, "0", "How many for each run that was due."),
    key(
        Scope::Retry,
        "after",
        Some("BACKUP_RETRY_AFTER"),
        Form::Duration,
        "10m",
        "How long after the first failure; twice as long after each further one.",
    ),
    key(
        Scope::Job,
        "compression",
        Some("BACKUP_COMPRESSION"),
        Form::Codec,
        "zstd:3",
        "zstd, gzip (opens on anything) or none; with a level: {zstd: {level: 6}} or zstd:6.",
    ),
    key(
        Scope::Job,
        "mode",
        Some("BACKUP_MODE"),
        Form::RunMode,
        "linked",
        "linked: what did not change stays in the volumes of earlier snapshots, which are hard-linked. full: every run reads and stores everything.",
    ),
    key(
        Scope::Job,
        "fresh_every",
        Some("BACKUP_FRESH_EVERY"),
        Form::DurationOrNever,
        "30d",
        "Read and store everything anew once the oldest volume in use has this age. It bounds what a missed change or a bad block can spoil, and how long deleted files stay in the store.",
    ),
    key(
        Scope::Job,
        "max_volumes",
        Some("BACKUP_MAX_VOLUMES"),
        Form::Count,
        "30",
        "The volumes of so many runs one snapshot has at the most; those of the smallest are folded into a new one.",
    ),
    key(
        Scope::Job,
        "volume_size",
        Some("BACKUP_VOLUME_SIZE"),
        Form::Size,
        "",
        "Begin another volume when one has reached this size. What an interrupted run had finished by then is adopted by the next.",
    ),
    key(
        Scope::Job,
        "change_detection",
        Some("BACKUP_CHANGE_DETECTION"),
        Form::Detection,
        "ctime+inode",
        "What must be as it was, besides type, size, mtime, mode and owner: ctime+inode, ctime, inode or mtime (neither). For sources where ctimes or inode numbers lie.",
    ),
    key(
        Scope::Job,
        "max_shrink",
        Some("BACKUP_MAX_SHRINK"),
        Form::Percent,
        "50%",
        "A source whose entries or content fell by more against the newest snapshot that was ok makes the run partial.",
    ),
    key(
        Scope::Job,
        "progress_timeout",
        Some("BACKUP_PROGRESS_TIMEOUT"),
        Form::Duration,
        "300s",
        "Fail when nothing moved for so long. Longer than the server's reboot and its grace period.",
    ),
    key(Scope::Job, "threads", Some("BACKUP_THREADS"), Form::Count, "", "Workers; default: one for each processor."),
    key(
        Scope::Job,
        "retention",
        None,
        Form::Rules,
        "",
        "Which snapshots stay, after each run that was ok and with `backup prune`; without any rule all of them.",
    ),
    key(
        Scope::Job,
        "trash_for",
        Some("BACKUP_TRASH_FOR"),
        Form::Duration,
        "24h",
        "How long a removed snapshot can be taken back with `backup undelete`.",
    ),
    key(
        Scope::Job,
        "verify",
        None,
        Form::Proofs,
        "",
        "When and how well the daemon proves what is stored: {schedule: \"0 5 * * 0\", level: deep}.",
    ),
    key(
        Scope::Verify,
        "schedule",
        Some("BACKUP_VERIFY_SCHEDULE"),
        Form::Schedules,
        "",
        "When the snapshot that was proven longest ago is verified again.",
    ),
    key(
        Scope::Verify,
        "level",
        Some("BACKUP_VERIFY_LEVEL"),
        Form::Level,
        "stored",
        "quick, stored, deep or drill, as `backup verify` has them.",
    ),
    key(
        Scope::Verify,
        "sample",
        Some("BACKUP_VERIFY_SAMPLE"),
        Form::Share,
        "",
        "Only this share of the frames, another one each time: 10%. Not with quick or drill.",
    ),
    key(
        Scope::Verify,
        "scratch",
        Some("BACKUP_VERIFY_SCRATCH"),
        Form::Path,
        "",
        "Where a drill restores to, in a folder of its own that is removed again. Default: in `state_dir`.",
    ),
    key(Scope::Retention, "last", Some("BACKUP_RETENTION_LAST"), Form::Number, "0", "The newest so many."),
    key(
        Scope::Retention,
        "hourly",
        Some("BACKUP_RETENTION_HOURLY"),
        Form::Number,
        "0",
        "The newest of each of the newest so many hours that have one.",
    ),
    key(Scope::Retention, "daily", Some("BACKUP_RETENTION_DAILY"), Form::Number, "0", "Likewise of days."),
    key(Scope::Retention, "weekly", Some("BACKUP_RETENTION_WEEKLY"), Form::Number, "0", "Likewise of weeks."),
    key(Scope::Retention, "monthly", Some("BACKUP_RETENTION_MONTHLY"), Form::Number, "0", "Likewise of months."),
    key(Scope::Retention, "yearly", Some("BACKUP_RETENTION_YEARLY"), Form::Number, "0", "Likewise of years."),
    key(
        Scope::Retention,
        "within",
        Some("BACKUP_RETENTION_WITHIN"),
        Form::Duration,
        "",
        "Everything that is not older than this.",
    ),
    key(
        Scope::Retention,
        "floor",
        Some("BACKUP_RETENTION_FLOOR"),
        Form::Number,
        "3",
        "So many good ones stay, the newest of them, whatever the other rules say.",
    ),
    key(
        Scope::Retention,
        "max_removals",
        Some("BACKUP_RETENTION_MAX_REMOVALS"),
        Form::Number,
        "50",
        "If more would be removed at once, none is.",
    ),
    key(
        Scope::Notify,
        "ca_file",
        None,
        Form::Path,
        "",
        "Certificates in PEM that are trusted besides the built-in ones, for all channels.",
    ),
    key(
        Scope::Notify,
        "allow_http",
        None,
        Form::Bool,
        "false",
        "Let messages go over http:// to addresses outside this machine and private networks.",
    ),
    key(Scope::Notify, "slack", None, Form::Inner(Scope::Slack), "", "An incoming webhook of Slack."),
    key(
        Scope::Notify,
        "jira",
        None,
        Form::Inner(Scope::Jira),
        "",
        "A ticket for each trouble in JIRA, Cloud or Data Center.",
    ),
    key(Scope::Notify, "webhook", None, Form::Inner(Scope::Webhook), "", "JSON to a program of one's own, signed."),
    key(
        Scope::Notify,
        "ping",
        None,
        Form::Inner(Scope::Ping),
        "",
        "A dead man's switch in the manner of healthchecks.",
    ),
    key(Scope::Notify, "email", None, Form::Inner(Scope::Email), "", "E-mail over SMTP."),
    key(
        Scope::Slack,
        "webhook_url",
        Some("SLACK_WEBHOOK_URL"),
        Form::Hidden,
        "",
        "The address of the incoming webhook; a secret. Better in a file: webhook_url_file.",
    ),
    key(Scope::Slack, "webhook_url_file", None, Form::Path, "", "The file that holds it."),
    key(
        Scope::Slack,
        "on",
        None,
        Form::Kinds,
        "failed, partial, missed, overdue, damage, recovered",
        "What is told: failed, partial, missed, recovered, ok, overdue, damage.",
    ),
    key(Scope::Slack, "jobs", None, Form::Names, "", "Only of these jobs."),
    key(
        Scope::Slack,
        "repeat_after",
        None,
        Form::DurationOrNone,
        "6h",
        "The same trouble is held back for so long; what was held back is counted.",
    ),
    key(
        Scope::Slack,
        "after_failures",
        None,
        Form::Count,
        "1",
        "Tell of runs that were not ok only when so many in a row were not.",
    ),
    key(Scope::Slack, "title", None, Form::Template, "", "A template for the headline; the fields are in README."),
    key(
        Scope::Slack,
        "body",
        None,
        Form::Template,
        "",
        "A template for the text below it, in place of the built-in one.",
    ),
    key(
        Scope::Jira,
        "url",
        Some("JIRA_URL"),
        Form::Url,
        "",
        "The address of JIRA, such as https://acme.atlassian.net.",
    ),
    key(Scope::Jira, "project", Some("JIRA_PROJECT"), Form::Text, "", "The key of the project, such as OPS."),
    key(Scope::Jira, "issue_type", Some("JIRA_ISSUE_TYPE"), Form::Text, "Task", "The name of the issue type."),
    key(
        Scope::Jira,
        "user",
        Some("JIRA_USER"),
        Form::Text,
        "",
        "On Cloud the e-mail address of the account. Without it the token is a personal access token of Data Center.",
    ),
    key(
        Scope::Jira,
        "token",
        Some("JIRA_TOKEN"),
        Form::Hidden,
        "",
        "The API token or personal access token; a secret. Better in a file: token_file.",
    ),
    key(Scope::Jira, "token_file", None, Form::Path, "", "The file that holds it."),
    key(
        Scope::Jira,
        "api",
        None,
        Form::JiraApi,
        "auto",
        "cloud, datacenter, or auto: cloud for addresses under atlassian.net.",
    ),
    key(Scope::Jira, "labels", None, Form::Names, "", "Labels besides our own; blanks become `-`."),
    key(Scope::Jira, "priority", None, Form::Text, "", "The name of a priority."),
    key(
        Scope::Jira,
        "reopen_within",
        None,
        Form::Duration,
        "7d",
        "A ticket that was closed less than this ago is opened again; later there is a new one.",
    ),
    key(
        Scope::Jira,
        "resolve",
        None,
        Form::Bool,
        "false",
        "Close the ticket when all is well again; otherwise it gets a comment.",
    ),
    key(
        Scope::Jira,
        "on",
        None,
        Form::Kinds,
        "failed, missed, overdue, damage",
        "What is told: failed, partial, missed, recovered, ok, overdue, damage.",
    ),
    key(Scope::Jira, "jobs", None, Form::Names, "", "Only of these jobs."),
    key(
        Scope::Jira,
        "repeat_after",
        None,
        Form::DurationOrNone,
        "6h",
        "The same trouble is held back for so long; what was held back is counted.",
    ),
    key(
        Scope::Jira,
        "after_failures",
        None,
        Form::Count,
        "1",
        "Tell of runs that were not ok only when so many in a row were not.",
    ),
    key(
        Scope::Webhook,
        "url",
        Some("WEBHOOK_URL"),
        Form::Hidden,
        "",
        "Where to; taken for a secret. Better in a file: url_file.",
    ),
    key(Scope::Webhook, "url_file", None, Form::Path, "", "The file that holds it."),
    key(
        Scope::Webhook,
        "secret",
        Some("WEBHOOK_SECRET"),
        Form::Hidden,
        "",
        "The key of the signature X-Backup-Signature. Better in a file: secret_file.",
    ),
    key(Scope::Webhook, "secret_file", None, Form::Path, "", "The file that holds it."),
    key(
        Scope::Webhook,
        "on",
        None,
        Form::Kinds,
        "failed, partial, missed, overdue, damage, recovered, ok",
        "What is told: failed, partial, missed, recovered, ok, overdue, damage.",
    ),
    key(Scope::Webhook, "jobs", None, Form::Names, "", "Only of these jobs."),
    key(
        Scope::Webhook,
        "repeat_after",
        None,
        Form::DurationOrNone,
        "0s",
        "The same trouble is held back for so long, with 0s not at all; what was held back is counted.",
    ),
    key(
        Scope::Webhook,
        "after_failures",
        None,
        Form::Count,
        "1",
        "Tell of runs that were not ok only when so many in a row were not.",
    ),
    key(
        Scope::Ping,
        "url",
        Some("PING_URL"),
        Form::Hidden,
        "",
        "The address that is pinged, with /start and /fail behind it; {job} in it is the job's name. Taken for a secret.",
    ),
    key(Scope::Ping, "url_file", None, Form::Path, "", "The file that holds it."),
    key(Scope::Ping, "jobs", None, Form::Names, "", "Only for these jobs."),
    key(Scope::Email, "host", Some("SMTP_HOST"), Form::Text, "", "The mail server."),
    key(Scope::Email, "port", Some("SMTP_PORT"), Form::Port, "", "Its port; default: 587, 465 or 25, by `tls`."),
    key(
        Scope::Email,
        "tls",
        Some("SMTP_TLS"),
        Form::Protection,
        "starttls",
        "starttls, tls (from the first byte), or none: for a server on this machine or in a private network.",
    ),
    key(Scope::Email, "user", Some("SMTP_USER"), Form::Text, "", "Who we are there."),
    key(
        Scope::Email,
        "password",
        Some("SMTP_PASSWORD"),
        Form::Hidden,
        "",
        "The password; a secret. Better in a file: password_file.",
    ),
    key(Scope::Email, "password_file", None, Form::Path, "", "The file that holds it."),
    key(Scope::Email, "from", Some("SMTP_FROM"), Form::Text, "", "From whom."),
    key(Scope::Email, "to", Some("SMTP_TO"), Form::Names, "", "To whom; one or several."),
    key(
        Scope::Email,
        "on",
        None,
        Form::Kinds,
        "failed, partial, missed, overdue, damage, recovered",
        "What is told: failed, partial, missed, recovered, ok, overdue, damage.",
    ),
    key(Scope::Email, "jobs", None, Form::Names, "", "Only of these jobs."),
    key(
        Scope::Email,
        "repeat_after",
        None,
        Form::DurationOrNone,
        "6h",
        "The same trouble is held back for so long; what was held back is counted.",
    ),
    key(
        Scope::Email,
        "after_failures",
        None,
        Form::Count,
        "1",
        "Tell of runs that were not ok only when so many in a row were not.",
    ),
    key(Scope::Email, "title", None, Form::Template, "", "A template for the subject; the fields are in README."),
    key(Scope::Email, "body", None, Form::Template, "", "A template for the text."),
];

/// Variables that are no key of the file: read elsewhere, or only for a job without a file.
pub(super) const OTHER_VARIABLES: &[(&str, &str)] = &[
    ("BACKUP_CONFIG", "the configuration file"),
    ("BACKUP_LOG_FORMAT", "how the daemon writes its log: `json` or `text`"),
    ("BACKUP_JOB", "the name of the job that the environment makes; default: the name of the folder"),
];

/// The keys of one scope.
pub(super) fn of(scope: Scope) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.scope == scope)
}

/// The key of this name in a scope.
pub(super) fn find(scope: Scope, name: &str) -> Option<&'static Key> {
    of(scope).find(|key| key.name == name || (name == "sources" && key.name == "source"))
}

/// Whether a variable belongs to `notify` or `web`.
pub(super) fn is_of_telling(variable: &str) -> bool {
    let is_outside = |scope| {
        matches!(
            scope,
            Scope::Notify | Scope::Slack | Scope::Jira | Scope::Webhook | Scope::Ping | Scope::Email | Scope::Web
        )
    };
    KEYS.iter().any(|key| key.variable == Some(variable) && is_outside(key.scope))
}

/// Every variable that means something, with what it means.
pub fn environment_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    let keys = KEYS.iter().filter_map(|key| Some((key.variable?, key.about)));
    keys.chain(OTHER_VARIABLES.iter().copied())
}
