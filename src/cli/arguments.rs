//! The command line as a type.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

/// Complete, ordinary, checksummed tarballs of a folder
///
/// Needs no configuration: `backup run --source DIR --to STORE` makes a snapshot, `backup list --store STORE` shows it.
#[derive(Debug, Parser)]
#[command(name = "backup", version, max_term_width = 100, after_help = EXIT_HELP, disable_help_subcommand = true)]
pub struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What is to be done.
    #[command(subcommand)]
    pub verb: Verb,
}

const EXIT_HELP: &str = "Exit status: 0 ok, 1 failed, 2 usage or configuration (also: no such snapshot; a restore into a folder that is not empty), 3 partial (a snapshot was made, but something of \
the source is missing in it; verify --against-source: the source differs), 4 damage found, 5 another run holds the lease, 6 the store is not there, 130/143 stopped by a signal. Of several jobs \
the first that any of them had of 130, 143, 1, 6, 4, 3, 5. Treat any other as failure.";

/// Taken by every command.
#[derive(Args, Debug)]
pub struct Global {
    /// The configuration; default: $BACKUP_CONFIG, /etc/backup/backup.yaml, ./backup.yaml
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON lines, each with a `type`
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but failures
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Where this machine remembers stores and undelivered outcomes
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// For all but `run`: when the store does not answer for so long (5m), say so, and without a terminal end with 6;
    /// default: the jobs' progress_timeout, else 300s
    #[arg(long, global = true, value_name = "DURATION", value_parser = crate::config::duration_of)]
    pub store_timeout: Option<std::time::Duration>,
}

/// The verbs.
#[expect(missing_docs, reason = "a verb's own words are shown in its help, and words here would hide them")]
#[derive(Debug, Subcommand)]
pub enum Verb {
    Run(super::run::Verb),
    Daemon(super::daemon::Verb),
    List(super::list::Verb),
    Show(super::show::Verb),
    Ls(super::ls::Verb),
    Find(super::find::Verb),
    Diff(super::diff::Verb),
    Verify(super::verify::Verb),
    Restore(super::restore::Verb),
    Cat(super::cat::Verb),
    Prune(super::prune::Verb),
    Undelete(super::undelete::Verb),
    Hold(super::hold::HoldVerb),
    Release(super::hold::ReleaseVerb),
    Index(super::index::Verb),
    /// Tell when jobs are due
    #[command(subcommand)]
    Schedule(super::schedule::Verb),
    Status(super::status::Verb),
    Doctor(super::doctor::Verb),
    Init(super::init::Verb),
    Unlock(super::unlock::Verb),
    /// Check, show or describe the configuration
    #[command(subcommand)]
    Config(super::config::Verb),
    /// Try who would be told
    #[command(subcommand)]
    Notify(super::notify::Verb),
    Completions(super::completions::Verb),
    Man(super::man::Verb),
}

/// Which store and job: taken by every command that reads.
#[derive(Args, Clone, Debug, Default)]
pub struct Which {
    /// The store: its folder, or its name in the configuration
    #[arg(long, short, value_name = "STORE")]
    pub store: Option<PathBuf>,
    /// What the store must be mounted as, where the daemon passes on what its configuration says
    #[arg(long, hide = true, requires = "store", value_parser = crate::config::mount_of)]
    pub require_mount: Option<crate::store::RequireMount>,
    /// The job; needed where a store or a configuration holds several
    #[arg(long, short, value_name = "NAME")]
    pub job: Option<String>,
}

/// What a run may be told against its configuration.
#[derive(Args, Clone, Debug, Default)]
pub struct RunOverrides {
    /// Leave out what matches this pattern; may be given several times
    #[arg(long, value_name = "GLOB", action = ArgAction::Append)]
    pub exclude: Vec<String>,
    /// zstd, gzip or none, with a level if wanted: zstd:6
    #[arg(long, value_name = "CODEC")]
    pub compression: Option<String>,
    /// Take an empty source for well
    #[arg(long)]
    pub allow_empty: bool,
    /// Workers; default: one for each processor
    #[arg(long, value_name = "N")]
    pub threads: Option<String>,
    /// Fail when nothing moved for so long, such as 300s
    #[arg(long, value_name = "DURATION")]
    pub progress_timeout: Option<String>,
    /// By how much the source may shrink before the run is partial, such as 50%
    #[arg(long, value_name = "PERCENT")]
    pub max_shrink: Option<String>,
    /// Read and store everything anew, and say what changed without a change of its times
    #[arg(long)]
    pub fresh: bool,
    /// Begin another volume when one has reached this size, such as 10GiB
    #[arg(long, value_name = "SIZE")]
    pub volume_size: Option<String>,
}
