//! `backup run` and `backup notify test`, as a person sees them: the run is what it was, whoever could not be told.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

use std::fs;

use super::ear::{Ear, Heard, Reply};
use super::site::{Ran, Site, names_in};

const OK: Reply = Reply::Say(200, "", "ok");

/// A configuration with these lines in `notify`.
fn configured(site: &Site, notify: &str) {
    let text = format!(
        "stores:\n  nas:\n    path: {}\njobs:\n  upload:\n    source: {}\n    schedule: \"0 2 * * *\"\nnotify:\n{notify}",
        site.store().display(),
        site.source().display(),
    );
    fs::write(site.path().join("backup.yaml"), text).expect("written");
}

fn init(site: &Site) {
    site.on_store(&["init"]).exits(0);
}

fn run(site: &Site) -> Ran {
    site.backup(["run", "upload"])
}

fn texts(heard: &[Heard]) -> Vec<String> {
    heard.iter().map(|heard| heard.json()["text"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_run_tells_what_went_wrong_and_that_it_is_well_again_and_stays_what_it_was() {
    let site = Site::new();
    site.file("a.txt", "a");
    let ear = Ear::new(&[OK]);
    configured(&site, &format!("  slack: {{webhook_url: \"{}\"}}\n", ear.url("/services/canary")));
    run(&site).exits(6).does_not_say("notify:");
    init(&site);
    run(&site).exits(0);
    run(&site).exits(0);
    let texts = texts(&ear.heard());
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].starts_with("upload on ") && texts[0].contains(": failed"), "{texts:?}");
    assert!(texts[1].contains("well again"), "{texts:?}");
    let payload = ear.heard()[1].json().to_string();
    for part in ["Next run", "Snapshot", "upload-20", "1 files", "nas"] {
        assert!(payload.contains(part), "{part} in {payload}");
    }
}

#[test]
fn a_dead_notifier_changes_nothing_but_a_line_and_its_message_goes_with_the_next_run() {
    let site = Site::new();
    site.file("a.txt", "a");
    // somebody was there once
    let dead = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    configured(&site, &format!("  slack: {{webhook_url: \"http://{dead}/services/canary\", on: [ok, failed]}}\n"));
    init(&site);
    let ran = run(&site).exits(0).says("could not be reached");
    assert!(!ran.err.contains("canary") && !ran.out.contains("canary"), "{}", ran.err);
    let waiting = || names_in(&site.path().join("state/notify/outbox")).iter().filter(|n| n.ends_with(".json")).count();
    assert_eq!(waiting(), 1);
    let ear = Ear::new(&[OK]);
    configured(&site, &format!("  slack: {{webhook_url: \"{}\", on: [ok, failed]}}\n", ear.url("/services/canary")));
    // the wait after a failed attempt grows from two seconds; nothing is lost if it is not over yet
    let deadline = std::time::Duration::from_secs(60);
    let begun = backup::domain::SystemClock::new();
    while waiting() > 0 && backup::domain::Clock::since_start(&begun) < deadline {
        run(&site).exits(0);
    }
    assert_eq!(waiting(), 0);
    assert!(texts(&ear.heard()).len() >= 2);
}

#[test]
fn with_a_state_folder_that_cannot_be_written_the_run_and_the_message_are_what_they_would_be() {
    let site = Site::new();
    site.file("a.txt", "a");
    let ear = Ear::new(&[OK]);
    configured(&site, &format!("  slack: {{webhook_url: \"{}\", on: ok}}\n", ear.url("/services/canary")));
    init(&site);
    let _ = fs::remove_dir_all(site.path().join("state"));
    fs::write(site.path().join("state"), "a file where a folder should be").expect("written");
    run(&site).exits(0);
    assert_eq!(ear.heard().len(), 1);
}

#[test]
fn pings_frame_a_run() {
    let site = Site::new();
    site.file("a.txt", "a");
    let ear = Ear::new(&[OK]);
    configured(&site, &format!("  ping: {{url: \"{}\"}}\n", ear.url("/{job}")));
    init(&site);
    run(&site).exits(0);
    fs::remove_file(site.store().join("backup-store.json"))
        .or_else(|_| fs::remove_dir_all(site.store()))
        .expect("gone");
    run(&site).exits(6);
    let lines: Vec<String> = ear.heard().into_iter().map(|heard| heard.line).collect();
    assert_eq!(lines, ["POST /upload/start", "POST /upload", "POST /upload/start", "POST /upload/fail"]);
}

#[test]
fn the_environment_alone_tells_and_says_which_build_called() {
    let site = Site::new();
    site.file("a.txt", "a");
    let ear = Ear::new(&[OK]);
    let secret = site.path().join("slack-secret");
    fs::write(&secret, ear.url("/services/canary\n")).expect("written");
    let mut command = site.command(["run"]);
    command
        .env("BACKUP_SOURCES", site.source())
        .env("BACKUP_ARCHIVE", site.store())
        .env("SLACK_WEBHOOK_URL_FILE", &secret)
        .env("SLACK_WEBHOOK_URL", "")
        .env("JIRA_URL", "")
        .env("BUILD_URL", "https://ci.example/job/7/");
    let ran: Ran = command.output().expect("the binary starts").into();
    let ran = ran.exits(6);
    assert!(ran.err.contains("slack-secret holds a secret"), "{}", ran.err);
    let payload = ear.heard()[0].json().to_string();
    assert!(payload.contains("<https://ci.example/job/7/|CI build>"), "{payload}");
}

#[test]
fn a_test_is_marked_goes_through_every_channel_and_shows_the_answers() {
    let site = Site::new();
    let (good, bad) = (Ear::new(&[OK]), Ear::new(&[Reply::Say(404, "", "canary")]));
    let good_lines = format!("  slack: {{webhook_url: \"{}\", on: failed}}\n", good.url("/services/canary"));
    configured(&site, &format!("{good_lines}  webhook: {{url: \"{}\"}}\n", bad.url("/canary")));
    let ran = site.backup(["notify", "test"]).exits(1).says("slack: delivered (ok)");
    assert!(ran.err.contains("webhook: not delivered: the webhook answered 404"), "{}", ran.err);
    assert!(!format!("{}{}", ran.out, ran.err).contains("canary"));
    assert!(texts(&good.heard())[0].starts_with("TEST: "));
    site.backup(["notify", "test", "slack"]).exits(0);
    site.backup(["notify", "test", "jira"]).exits(2).says("there is no channel jira");
    assert_eq!(bad.heard().len(), 1);
    let json = site.backup(["notify", "test", "slack", "--json"]).exits(0).json();
    assert_eq!((&json["channel"], &json["delivered"]), (&"slack".into(), &true.into()));
}

#[test]
fn a_configuration_never_shows_a_secret_whatever_is_wrong_with_it() {
    let site = Site::new();
    for wrong in [
        "  slack: {webhook_url: canary}\n",
        "  slack: {webhook_url: \"http://example.com/canary\"}\n",
        "  slack: {webhook_url: \"https://x/canary\", onn: 1, on: [fialed], title: \"{{ jbo }}\", jobs: uplaod}\n",
        "  jira: {token: canary, url: \"https://acme.atlassian.net\", project: OPS}\n",
        "  email: {password: [canary], host: h}\n  webhook: {url: >-\n    canary\n  }\n",
        "  ping: {url: canary}\n  slack: {webhook_url: 'canary\n",
        "  jira: {token: canary, token_file: /x, url: \"https://a\", project: OPS, labels: a}\n",
    ] {
        configured(&site, wrong);
        let ran = site.backup(["config", "check"]).exits(2);
        assert!(!format!("{}{}", ran.out, ran.err).contains("canary"), "{wrong}: {}", ran.err);
    }
    configured(&site, "  slack: {webhook_url: \"https://x/canary\", on: [failed]}\n");
    let ran = site.backup(["config", "show"]).exits(0).says("notify.slack.webhook_url = (secret)");
    assert!(ran.out.contains("notify.slack.repeat_after = 6h") && !ran.out.contains("canary"), "{}", ran.out);
    let hints = site.backup(["config", "check"]).exits(0);
    assert!(!hints.err.contains("canary"));
}
