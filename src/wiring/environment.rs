//! The machine's side of a start: environment, files of configuration, name, randomness.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::catalog::Claim;
use crate::config::{self, ConfigErrors, Need, Overrides, Settings};
use crate::domain::{Advise, Host, RunId, StoreId, Trouble};

/// Where a configuration is looked for when nobody says where.
const CONFIG_PATHS: [&str; 2] = ["/etc/backup/backup.yaml", "./backup.yaml"];

/// A configuration is a page or two; what is larger is another file.
const CONFIG_BYTES_MAX: u64 = 256 << 10;

/// What the process was given, read once.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Variables whose name and value are UTF-8.
    pub variables: BTreeMap<String, String>,
    /// The effective user.
    pub is_root: bool,
}

impl Environment {
    /// Reads it.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn read() -> Self {
        let text = |value: OsString| value.into_string().ok();
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
        Self { variables, is_root: rustix::process::geteuid().is_root() }
    }

    /// What commands and hooks get of it: where programs and homes are, language and time zone. Nothing else, since the
    /// rest may hold secrets.
    pub fn base(&self) -> BTreeMap<String, String> {
        const PASSED_ON: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"];
        let of = |name: &str| Some((name.to_owned(), self.variables.get(name)?.clone()));
        PASSED_ON.into_iter().filter_map(of).collect()
    }

    /// Where state lies unless it is configured.
    pub fn default_state_dir(&self) -> PathBuf {
        let of = |name: &str| self.variables.get(name).filter(|value| value.starts_with('/')).map(PathBuf::from);
        // a configuration reads it by its table of keys; who has none means the same by it
        if let Some(named) = of("BACKUP_STATE_DIR") {
            return named;
        }
        if self.is_root {
            return PathBuf::from("/var/lib/backup");
        }
        of("XDG_STATE_HOME")
            .or_else(|| of("HOME").map(|home| home.join(".local/state")))
            .map_or_else(|| PathBuf::from("/var/lib/backup"), |base| base.join("backup"))
    }

    /// Loads the configuration: the file that is named, or the first that is there, or the environment alone.
    ///
    /// # Errors
    /// If the named file cannot be read, none is there and the environment makes no job, or anything in it is wrong.
    pub fn load(&self, file: Option<&Path>, overrides: Overrides, need: Need) -> Result<Loaded, LoadError> {
        let named = file.map(Path::to_owned).or_else(|| self.variables.get("BACKUP_CONFIG").map(PathBuf::from));
        let found = match named {
            Some(path) => Some(path),
            None => CONFIG_PATHS.map(PathBuf::from).into_iter().find(|path| path.is_file()),
        };
        let file = match &found {
            None if !config::makes_a_job(&self.variables) => return Err(LoadError::None),
            None => None,
            Some(path) => {
                let text = read_text(path, CONFIG_BYTES_MAX)
                    .map_err(|source| LoadError::Unreadable { path: path.clone(), source })?;
                Some((path.clone(), text))
            }
        };
        let notices = RefCell::new(Vec::new());
        let settings = config::load(config::Inputs {
            need,
            file,
            env: &self.variables,
            overrides,
            default_state_dir: self.default_state_dir(),
            read_secret: &|path| {
                notices.borrow_mut().extend(open_to_others(path));
                read_small(path)
            },
        })
        .map_err(LoadError::Wrong)?;
        Ok(Loaded { settings, path: found, notices: notices.into_inner() })
    }
}

/// A configuration and where it came from; no path if the environment alone made it.
#[derive(Debug)]
pub struct Loaded {
    /// Checked.
    pub settings: Settings,
    /// The file.
    pub path: Option<PathBuf>,
    /// What is worth a line although it is no error: a secret that others can read.
    pub notices: Vec<String>,
}

/// No configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is none.
    #[error("there is no configuration")]
    None,
    /// It cannot be read.
    #[error("the configuration {path} could not be read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is wrong. The message is all that is wrong, drawn under the lines.
    #[error("{0}")]
    Wrong(ConfigErrors),
}

impl LoadError {
    /// For whoever does not sit at the terminal: what is wrong and where, without a line of the file.
    pub fn brief(&self) -> Trouble {
        match self {
            Self::Wrong(errors) => {
                Trouble { what: errors.headline(), causes: errors.brief().to_vec(), advice: self.advice() }
            }
            _ => Trouble::from(self),
        }
    }
}

impl Advise for LoadError {
    fn advice(&self) -> String {
        match self {
            Self::None => format!(
                "give --config FILE, or put one at {}, or set BACKUP_SOURCES and BACKUP_ARCHIVE, \
                 or need none: `backup run --source DIR --to STORE`",
                CONFIG_PATHS[0]
            ),
            Self::Unreadable { .. } => "check the path and that this user may read it".to_owned(),
            Self::Wrong(_) => "correct it; `backup config check` checks it without running anything".to_owned(),
        }
    }
}

/// A secret's file that everybody may read.
fn open_to_others(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o007 != 0)
        .then(|| format!("{} holds a secret, and every user of this machine may open it", path.display()))
}

/// A file of a page or two.
pub(super) fn read_small(path: &Path) -> io::Result<String> {
    read_text(path, CONFIG_BYTES_MAX)
}

fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if read as u64 > bytes_max {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(text)
}

/// What commands and hooks get of this process's environment.
pub fn base_environment() -> BTreeMap<String, String> {
    Environment::read().base()
}

/// The machine, as it calls itself.
pub fn machine_name() -> Host {
    Host(rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// This process.
pub fn pid() -> u32 {
    std::process::id()
}

/// The program and its version.
pub fn tool() -> String {
    crate::catalog::TOOL.to_owned()
}

/// This program's own file, to start itself.
///
/// # Errors
/// If the machine does not say.
pub fn own_path() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Lets this process have as many files open as it may: a search holds one manifest open for each snapshot. Where the
/// machine refuses, it stays as it was.
pub fn allow_many_open_files() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
}

/// A new run's id.
pub fn random_run() -> RunId {
    RunId::from_random(random())
}

/// What this process says when it asks for a lease.
pub fn claim(now: jiff::Timestamp, term: std::time::Duration) -> Claim {
    Claim { run: random_run(), host: machine_name(), pid: pid(), started: now, term_s: term.as_secs() }
}

/// A new store's id.
pub fn random_store() -> StoreId {
    StoreId::from_random(random())
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    assert_eq!(got, Ok(16), "the kernel gives 16 random bytes at once");
    bytes
}
