//! `backup config`: check, show or describe the configuration.

use super::arguments::Global;
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::config::{self, Overrides};

/// Check, show or describe the configuration
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Check it without running anything
    Check,
    /// Show every value and where it came from
    Show,
    /// Print the JSON Schema of the file
    Schema,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    if let Verb::Schema = verb {
        screen.result(config::schema().trim_end());
        return Ok(Exit::Ok);
    }
    let overrides = Overrides { state_dir: global.state_dir.clone(), ..Overrides::default() };
    let loaded = which::loaded(global, overrides).map_err(|error| Failure::of(Exit::Usage, &error))?;
    loaded.notices.iter().for_each(|notice| screen.note(notice));
    let settings = loaded.settings;
    match verb {
        Verb::Check => {
            let jobs: Vec<String> = settings.jobs.keys().map(ToString::to_string).collect();
            if screen.is_json() {
                screen.json(&serde_json::json!({"type": "config", "well": true, "jobs": jobs}));
            } else {
                screen.result(&format!("the configuration is well: jobs {}", jobs.join(", ")));
            }
        }
        Verb::Show | Verb::Schema => {
            for row in config::show(&settings) {
                if screen.is_json() {
                    screen.json(&serde_json::json!({
                        "type": "setting", "key": row.key, "value": row.value, "origin": row.origin.to_string(),
                    }));
                } else {
                    screen.result(&format!("{} = {}  # {}", row.key, row.value, row.origin));
                }
            }
        }
    }
    Ok(Exit::Ok)
}
