//! `backup status`: the daemon, jobs, their newest snapshots, their last runs and their next ones.
//!
//! What the daemon says comes from the file it writes as it goes; so that is told even while a store hangs.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::arguments::{Global, Which};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::which::{self, Meant};
use crate::catalog::Catalog;
use crate::config::Settings;
use crate::daemon::{LIVE_BYTES_MAX, LIVE_FILE, Live};
use crate::domain::{Clock, SystemClock};
use crate::report::duration_words;

/// A holder that cannot be read is shown as stale after this.
const TERM_UNKNOWN_S: u64 = 900;

/// A door that has not answered for so long is closed.
const DOOR_WITHIN: Duration = Duration::from_secs(2);

/// Of its answer; a reason a line.
const DOOR_BYTES_MAX: u64 = 1 << 20;

/// Show the daemon, jobs, their last runs and their next ones
///
/// With --json lines of the `type` daemon (what it knows; not there if none has run here), and status, one for each job.
#[derive(Debug, clap::Args)]
pub struct Verb {
    /// As a health check: exit with 0 if the daemon is alive and everything is as it should be, else say why and exit with
    /// 1. Looks at no store
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(verb: &Verb, global: &Global, screen: &Screen) -> Result<Exit, Failure> {
    let clock = SystemClock::new();
    let now = clock.now();
    let settings = which::settings_of(&verb.which, global)?;
    let state = which::state(global, settings.as_ref());
    let live = state.kept(LIVE_FILE, LIVE_BYTES_MAX).as_deref().and_then(Live::decode);
    let live = live.map(|live| live.seen_by(state.daemon()));
    if verb.check {
        // a folder of state that takes nothing says nothing, or something old: the door knows better
        let listen = settings.as_ref().and_then(|settings| settings.web.listen);
        let complaints = listen.and_then(ask_door).unwrap_or_else(|| match &live {
            Some(live) => live.complaints(now),
            None => vec!["no daemon has run here: there is no word of one in the folder of state".to_owned()],
        });
        return Ok(check(&complaints, screen));
    }
    if let Some(live) = live.filter(|_| verb.which.store.is_none()) {
        show(&live, now, settings.as_ref(), screen);
    }
    for Meant { store, jobs } in which::meant(&verb.which, global)? {
        let room = store.room()?;
        if !screen.is_json() {
            screen.result(&format!("store {}: {} free of {}", store.name(), room.free, room.total));
        }
        for job in jobs {
            let catalog = Catalog::new(Arc::clone(&store), job.clone());
            let snapshots = catalog.snapshots()?;
            let last_run = catalog.runs(1)?.pop();
            let lease = catalog.lease_state(TERM_UNKNOWN_S)?;
            let schedules = settings.as_ref().and_then(|s| s.jobs.get(&job)).map(|job| job.schedules.as_slice());
            let next = schedules.unwrap_or_default().iter().filter_map(|s| s.next_after(now)).min();
            if screen.is_json() {
                screen.json(&serde_json::json!({
                    "type": "status", "store": store.name(), "free_bytes": room.free, "job": job,
                    "snapshots": snapshots.len(), "newest": snapshots.last(), "last_run": last_run, "next_due": next,
                    "leased_by": lease.as_ref().map(|lease| lease.holder.to_string()),
                }));
                continue;
            }
            let mut lines = vec![format!("job {job}: {} snapshots", snapshots.len())];
            if let Some(newest) = snapshots.last() {
                let age = Duration::try_from(now.duration_since(newest.at())).unwrap_or_default();
                lines.push(format!("  newest    {newest}, {} ago", duration_words(age)));
            }
            if let Some(run) = last_run {
                let ago = Duration::try_from(now.duration_since(run.finished)).unwrap_or_default();
                lines.push(format!("  last run  {}, {} ago", run.verdict.word(), duration_words(ago)));
                if let Some(failure) = &run.failure {
                    lines.push(format!("            {}", failure.what));
                }
            }
            if let Some(lease) = lease {
                let state = if lease.is_stale() { "stale" } else { "at work" };
                lines.push(format!(
                    "  lease     {} ({state}, renewed {} ago)",
                    lease.holder,
                    duration_words(lease.silent)
                ));
            }
            if let (Some(next), Some(settings)) = (next, &settings) {
                let local = next.to_zoned(settings.timezone.clone());
                lines.push(format!("  next run  {}", local.strftime("%A %Y-%m-%d %H:%M %Z")));
            }
            screen.result(&lines.join("\n"));
        }
    }
    Ok(Exit::Ok)
}

/// What the daemon's door says against it; none if nobody answers there in time, or something else does.
fn ask_door(listen: SocketAddr) -> Option<Vec<String>> {
    let here = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let address = SocketAddr::new(here, listen.port());
    let mut stream = TcpStream::connect_timeout(&address, DOOR_WITHIN).ok()?;
    stream.set_read_timeout(Some(DOOR_WITHIN)).ok()?;
    stream.set_write_timeout(Some(DOOR_WITHIN)).ok()?;
    stream.write_all(format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.take(DOOR_BYTES_MAX).read_to_end(&mut answer).ok()?;
    said_at_the_door(&String::from_utf8_lossy(&answer))
}

fn said_at_the_door(answer: &str) -> Option<Vec<String>> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = body.lines().filter(|line| !line.is_empty()).map(str::to_owned).peekable();
    match head.strip_prefix("HTTP/1.")?.split(' ').nth(1)? {
        "200" => (body.trim() == "ok").then(Vec::new),
        "503" => lines.peek().is_some().then(|| lines.collect()),
        _ => None,
    }
}

fn check(complaints: &[String], screen: &Screen) -> Exit {
    let is_well = complaints.is_empty();
    if screen.is_json() {
        screen.json(&serde_json::json!({"type": "check", "well": is_well, "complaints": complaints}));
    } else if is_well {
        screen.result("ok");
    } else {
        let mut err = anstream::stderr();
        for complaint in complaints {
            let _ = writeln!(err, "{complaint}");
        }
    }
    if is_well { Exit::Ok } else { Exit::Failed }
}

/// What the daemon knows.
fn show(live: &Live, now: Timestamp, settings: Option<&Settings>, screen: &Screen) {
    if screen.is_json() {
        let mut value = serde_json::to_value(live).expect("plain values");
        value["type"] = "daemon".into();
        value["complaints"] = live.complaints(now).into();
        screen.json(&value);
        return;
    }
    let zone = settings.map_or(jiff::tz::TimeZone::UTC, |settings| settings.timezone.clone());
    let at = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%A %Y-%m-%d %H:%M %Z").to_string();
    let ago = |at: Timestamp| {
        let ago = Duration::try_from(now.duration_since(at)).unwrap_or_default();
        format!("{} ago", duration_words(ago))
    };
    let state = match (live.stopping, live.complaints(now).is_empty()) {
        _ if live.is_gone => format!("GONE, was process {}, last seen {}", live.pid, ago(live.ticked)),
        (true, _) => format!("stopped, {}", ago(live.ticked)),
        (false, true) => format!("ready, process {}, since {}", live.pid, at(live.started)),
        (false, false) => format!("NOT READY, process {}, since {}", live.pid, at(live.started)),
    };
    let mut lines = vec![format!("daemon: {state}")];
    lines.extend(live.complaints(now).into_iter().filter(|_| !live.stopping).map(|why| format!("  because   {why}")));
    lines.extend(live.config_refused.iter().map(|why| format!("  config    not taken: {why}")));
    if live.spooled + live.undelivered > 0 {
        lines.push(format!("  notices   {} wait, {} were given up", live.spooled, live.undelivered));
    }
    lines.extend(live.silent_channels.iter().map(|(name, why)| format!("  notices   {name}: {why}")));
    for job in &live.jobs {
        let mut said = Vec::new();
        said.extend(job.running.iter().map(|phase| format!("at work, {phase}")));
        said.extend(job.last.iter().map(|word| format!("last run {word}")));
        said.extend(job.last_success.map(|at| format!("last good run {}", ago(at))));
        if job.failures_in_a_row > 0 {
            said.push(format!("{} not ok in a row", job.failures_in_a_row));
        }
        if job.missed > 0 {
            said.push(format!("{} missed", job.missed));
        }
        said.extend(job.next_run.filter(|_| !live.stopping).map(|next| format!("next {}", at(next))));
        lines.push(format!("  {:<9} {}", job.name, said.join("; ")));
    }
    screen.result(&lines.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::said_at_the_door;

    #[test]
    fn a_door_is_believed_if_it_says_what_ours_says() {
        let said = |text: &str| said_at_the_door(text);
        assert_eq!(said("HTTP/1.0 200 OK\r\na: b\r\n\r\nok\n"), Some(Vec::new()));
        let late = "HTTP/1.1 503 Service Unavailable\r\n\r\nstore nas cannot be used: gone\njob a: late\n";
        assert_eq!(said(late), Some(vec!["store nas cannot be used: gone".to_owned(), "job a: late".to_owned()]));
        for other in ["", "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n<html>", "HTTP/1.1 404 No\r\n\r\nno"] {
            assert_eq!(said(other), None, "{other}");
        }
    }
}
