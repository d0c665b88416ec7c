//! `backup schedule next`: what will run and when, and why a time is not the one that was written.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::arguments::Global;
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which;
use crate::config::{JobSettings, Need, Overrides};
use crate::domain::{Clock, Moment, SystemClock};
use crate::schedule::{Firing, Plan};
use crate::wiring;

/// Tell when jobs are due
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Show what will run and when, and why a time was moved
    ///
    /// Times are those of the schedule, in the zone of the configuration and in UTC. At daylight-saving changes a time
    /// that does not exist runs once, right after the gap, and one that comes twice runs once; a schedule with `*` in minute or hour follows
    /// the clock. What the daemon does besides (catching up, retrying) is not known here: `backup status`.
    ///
    /// With --json each line is {"type":"firing"} with `job`, `slot` (UTC), `local`, `zone`, `start` (UTC, with jitter),
    /// `schedules` and `moved` (null, or why the time was moved).
    Next(Next),
}

/// Of `backup schedule next`.
#[derive(Debug, clap::Args)]
pub struct Next {
    /// The jobs; default: all
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    /// How many of each job
    #[arg(long, short = 'n', value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    count: u16,
    /// Those after this time instead of now: 2027-03-27, 2027-03-27 14:00, 2027-03-27T14:00:00Z
    #[arg(long, value_name = "TIME")]
    after: Option<String>,
}

pub(super) fn run(Verb::Next(verb): &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let overrides = Overrides { state_dir: global.state_dir.clone(), ..Overrides::default() };
    let settings = which::load(global, overrides, Need::Stores).map_err(|error| Failure::of(Exit::Usage, &error))?;
    let jobs = if verb.jobs.is_empty() {
        settings.jobs.values().collect()
    } else {
        let named = verb.jobs.iter().map(|name| {
            let job = settings.jobs.values().find(|job| job.name.as_str() == name);
            job.ok_or_else(|| {
                let known: Vec<String> = settings.jobs.keys().map(ToString::to_string).collect();
                Failure::usage(format!("there is no job {name}"), format!("the configuration has {}", known.join(", ")))
            })
        });
        named.collect::<Result<Vec<_>, _>>()?
    };
    let now = SystemClock::new().now();
    let after = match &verb.after {
        None => now,
        Some(text) => {
            Moment::parse(text, now, &settings.timezone)
                .map_err(|error| Failure::usage(error.to_string(), "times without a zone are in the configuration's"))?
                .first
        }
    };
    let host = wiring::machine_name();
    for job in jobs {
        let plan = job.plan(&host);
        let firings = plan.firings(after, usize::from(verb.count));
        if screen.is_json() {
            firings.iter().for_each(|firing| screen.json(&json(job, firing, &settings.timezone)));
        } else {
            screen.result(&words(job, &plan, &firings, &settings.timezone));
        }
    }
    Ok(Exit::Ok)
}

fn zone_name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("unknown zone")
}

fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
}

fn json(job: &JobSettings, firing: &Firing, zone: &TimeZone) -> serde_json::Value {
    serde_json::json!({
        "type": "firing", "job": job.name, "slot": firing.slot, "zone": zone_name(zone),
        "local": firing.slot.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        "start": firing.start, "schedules": firing.schedules,
        "moved": firing.moved.map(|moved| moved.to_string()),
    })
}

fn words(job: &JobSettings, plan: &Plan, firings: &[Firing], zone: &TimeZone) -> String {
    let texts: Vec<String> = plan.schedules.iter().map(|s| format!("`{}`", s.text())).collect();
    if texts.is_empty() {
        return format!("job {}: no schedule, it runs when it is asked to", job.name);
    }
    let mut lines = vec![format!("job {}: {}, {}", job.name, texts.join(" and "), zone_name(zone))];
    for firing in firings {
        let slot = firing.slot;
        let mut line = format!("  {:<27} {slot}", local(slot, zone));
        if firing.start > slot {
            let start = firing.start.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string();
            line.push_str(&format!("  starts at {start} (jitter)"));
        }
        if let Some(moved) = firing.moved {
            line.push_str(&format!("  {moved}"));
        }
        lines.push(line);
    }
    lines.join("\n")
}
