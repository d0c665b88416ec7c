//! File, environment and flags → settings that are right. (minimal)

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::archive::Codec;
use crate::domain::{ByteCount, JobName};
use crate::schedule::Schedule;
use crate::store::{Permissions, RequireMount};

#[derive(Clone, Debug)]
pub struct Settings {
    pub timezone: TimeZone,
    pub state_dir: PathBuf,
    pub stores: BTreeMap<String, StoreSettings>,
    pub jobs: BTreeMap<JobName, JobSettings>,
}
#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub name: String,
    pub path: PathBuf,
    pub require_mount: RequireMount,
    pub permissions: Permissions,
    pub lease_term: Duration,
}
impl StoreSettings {
    pub fn local(path: PathBuf) -> Self {
        Self { name: "local".into(), path, require_mount: RequireMount::No, permissions: Permissions::default(), lease_term: Duration::from_secs(900) }
    }
}
#[derive(Clone, Debug)]
pub struct JobSettings {
    pub name: JobName,
    pub sources: Vec<PathBuf>,
    pub exclude: Vec<String>,
    pub exclude_caches: bool,
    pub exclude_if_present: Option<String>,
    pub one_file_system: bool,
    pub max_file_size: Option<ByteCount>,
    pub allow_empty: bool,
    pub store: String,
    pub schedules: Vec<Schedule>,
    pub codec: Codec,
    pub max_shrink_percent: u8,
    pub progress_timeout: Duration,
    pub threads: Option<NonZeroUsize>,
}
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub timezone: Option<String>,
    pub state_dir: Option<PathBuf>,
    pub exclude: Vec<String>,
    pub compression: Option<String>,
    pub allow_empty: Option<bool>,
    pub threads: Option<String>,
    pub progress_timeout: Option<String>,
    pub max_shrink: Option<String>,
}
pub struct Inputs<'a> {
    pub file: Option<(PathBuf, String)>,
    pub env: &'a BTreeMap<String, String>,
    pub overrides: Overrides,
    pub default_state_dir: PathBuf,
    pub read_secret: &'a dyn Fn(&Path) -> io::Result<String>,
}
#[derive(Debug)]
pub struct ConfigErrors(String);
impl std::fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) }
}
pub struct Row { pub key: String, pub value: String, pub origin: String }
pub fn show(_: &Settings) -> Vec<Row> { Vec::new() }
pub fn schema() -> String { String::new() }
pub fn makes_a_job(_: &BTreeMap<String, String>) -> bool { false }
pub fn load(_: Inputs<'_>) -> Result<Settings, ConfigErrors> { Err(ConfigErrors("not yet".into())) }
pub fn from_flags(sources: &[PathBuf], to: &Path, job: Option<&str>, overrides: Overrides, state_dir: PathBuf, _tz: Option<&str>) -> Result<Settings, ConfigErrors> {
    use std::os::unix::ffi::OsStrExt;
    let name = job.map(|j| j.parse().map_err(|e: crate::domain::IdError| ConfigErrors(e.to_string()))).transpose()?
        .or_else(|| JobName::from_folder(sources[0].file_name()?.as_bytes())).ok_or(ConfigErrors("job".into()))?;
    let store = StoreSettings::local(to.to_owned());
    let codec = match overrides.compression.as_deref() { Some("gzip") => Codec::Gzip { level: 6 }, Some("none") => Codec::None, _ => Codec::default() };
    let job = JobSettings { name: name.clone(), sources: sources.to_vec(), exclude: overrides.exclude, exclude_caches: false, exclude_if_present: None, one_file_system: true, max_file_size: None,
        allow_empty: overrides.allow_empty.unwrap_or(false), store: store.name.clone(), schedules: vec![], codec, max_shrink_percent: 50, progress_timeout: Duration::from_secs(300), threads: overrides.threads.and_then(|t| t.parse().ok()) };
    Ok(Settings { timezone: TimeZone::UTC, state_dir: overrides.state_dir.unwrap_or(state_dir), stores: BTreeMap::from([(store.name.clone(), store)]), jobs: BTreeMap::from([(name, job)]) })
}
