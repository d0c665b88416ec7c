//! Metrics: they parse, their names are those of the papers, hostile labels stay labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use backup::page::{SilentChannel, View, metrics};

use crate::systems::{HOSTILE, empty, healthy, troubled};
use crate::{file, read};

/// Sample → value, after reading the text by OpenMetrics' rules: strictly, so that a flaw is a panic.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    let (body, end) = text.split_at(text.len() - "# EOF\n".len());
    assert_eq!(end, "# EOF\n");
    let (mut family, mut kind, mut samples) = (String::new(), String::new(), BTreeMap::new());
    for line in body.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, _] => name.clone_into(&mut family),
            ["#", "TYPE", name, type_word] => {
                assert_eq!(name, family, "each family once, its help first");
                type_word.clone_into(&mut kind);
            }
            _ => {
                let (sample, value) = line.rsplit_once(' ').expect("a value");
                let name = sample.split('{').next().expect("a name");
                let suffix = if kind == "counter" { "_total" } else { "" };
                assert_eq!(name, format!("{family}{suffix}"), "{line}");
                assert!(labels_are_closed(&sample[name.len()..]), "{line}");
                let value = value.parse().expect("a number");
                assert_eq!(samples.insert(sample.to_owned(), value), None, "twice: {line}");
            }
        }
    }
    samples
}

/// Whether `{a="…",b="…"}` is what it seems, with `\\`, `\"` and `\n` inside.
fn labels_are_closed(text: &str) -> bool {
    let Some(mut rest) = text.strip_prefix('{') else { return text.is_empty() };
    loop {
        let Some((key, value)) = rest.split_once("=\"") else { return false };
        let mut escaped = false;
        let end = value.find(|c| match (escaped, c) {
            (true, _) => {
                escaped = false;
                false
            }
            (false, '\\') => {
                escaped = true;
                false
            }
            (false, c) => c == '"',
        });
        let Some(end) = end else { return false };
        if !key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') || value[..end].contains('\n') {
            return false;
        }
        match &value[end + 1..] {
            "}" => return true,
            more if more.starts_with(',') => rest = &more[1..],
            _ => return false,
        }
    }
}

fn names(view: &View) -> BTreeSet<String> {
    parsed(&metrics(view)).into_keys().map(|sample| sample.split('{').next().expect("a name").to_owned()).collect()
}

/// Everything in a text that is a name of ours.
fn named_in(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("backup_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn what_is_known_of_a_system_can_be_scraped() {
    let samples = parsed(&metrics(&troubled()));
    for (sample, value) in [
        ("backup_ready", 0.0),
        ("backup_alive", 1.0),
        ("backup_config_refused", 1.0),
        ("backup_state_writable", 1.0),
        ("backup_notices_spooled", 7.0),
        ("backup_channel_silent{channel=\"slack\"}", 1.0),
        ("backup_store_usable{store=\"offsite\"}", 0.0),
        ("backup_store_skew_seconds{store=\"nas\"}", 95.0),
        ("backup_last_run_outcome{job_name=\"ledger\",store=\"nas\",outcome=\"failed\"}", 1.0),
        ("backup_last_run_outcome{job_name=\"ledger\",store=\"nas\",outcome=\"ok\"}", 0.0),
        ("backup_last_run_skipped_entries{job_name=\"upload\",store=\"nas\"}", 43.0),
        ("backup_last_run_stored_bytes{job_name=\"upload\",store=\"nas\"}", 148_000_000.0),
        ("backup_last_success_timestamp_seconds{job_name=\"upload\",store=\"nas\"}", 1_795_136_640.0),
        ("backup_last_success_age_seconds{job_name=\"upload\",store=\"nas\"}", 113_160.0),
        ("backup_runs_total{job_name=\"ledger\",store=\"nas\",outcome=\"missed\"}", 3.0),
        ("backup_runs_total{job_name=\"upload\",store=\"nas\",outcome=\"partial\"}", 2.0),
        ("backup_snapshots_damaged{job_name=\"upload\",store=\"nas\"}", 1.0),
    ] {
        assert_eq!(samples.get(sample), Some(&value), "{sample}");
    }
    assert!(!samples.keys().any(|sample| sample.starts_with("backup_store_free_bytes{store=\"offsite\"")), "unknown");
    assert_eq!(parsed(&metrics(&healthy()))["backup_ready"], 1.0);
    assert_eq!(parsed(&metrics(&empty()))["backup_ready"], 1.0);
}

#[test]
fn state_that_cannot_be_kept_is_in_the_metrics_and_on_the_page() {
    let mut view = healthy();
    view.state_trouble = Some("no space left on device".into());
    assert_eq!(parsed(&metrics(&view))["backup_state_writable"], 0.0);
    let found = backup::page::concerns(&view);
    assert!(found[0].what.contains("no space left on device") && found[0].about == "the state", "{found:?}");
}

#[test]
fn names_that_mean_harm_stay_inside_their_label() {
    let mut view = healthy();
    view.stores[0].name = format!("{HOSTILE}\n}} 7\nforged 1");
    view.jobs[0].store = view.stores[0].name.clone();
    view.silent_channels = vec![SilentChannel { name: "a\"b\\\nc".into(), why: String::new() }];
    let samples = parsed(&metrics(&view));
    assert_eq!(samples.len(), parsed(&metrics(&healthy())).len() + 1);
    assert!(samples.keys().all(|sample| !sample.starts_with("forged")));
}

#[test]
fn alerts_dashboard_and_table_name_metrics_that_exist_and_the_table_names_all() {
    let mut known = names(&troubled());
    known.extend(names(&healthy()));
    for path in ["config/prometheus-alerts.yaml", "config/grafana-dashboard.json"] {
        let named = named_in(&read(path));
        let unknown: Vec<&String> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{path} names what does not exist: {unknown:?}");
        assert!(named.len() > 10, "{path} names few: {named:?}");
    }
    assert_eq!(named_in(&read("config/README.md")), known, "the table in config/README.md");
}

#[test]
fn the_dashboard_is_json_with_panels_that_ask_something() {
    let board: serde_json::Value = serde_json::from_str(&read("config/grafana-dashboard.json")).expect("JSON");
    let panels = board["panels"].as_array().expect("panels");
    let asking = panels.iter().filter(|panel| panel["targets"][0]["expr"].is_string()).count();
    assert!(asking >= 10, "{asking}");
}

#[test]
fn promtool_accepts_rules_and_metrics() {
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("SKIPPED: there is no promtool (Debian's package `prometheus`)");
        return;
    }
    let accepts = |what: &str, arguments: &[&str], input: &str| {
        let mut child = Command::new("promtool")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
        let answer = child.wait_with_output().expect("an answer");
        let said = String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned();
        assert!(answer.status.success(), "{what}: {said}");
    };
    let rules = file("config/prometheus-alerts.yaml");
    let rules = rules.to_str().expect("a path in UTF-8");
    accepts("the alerts", &["check", "rules", "--lint=all", "--lint-fatal", rules], "");
    accepts(
        "the alerts on invented series",
        &["test", "rules", file("tests/page/alerts.yaml").to_str().expect("UTF-8")],
        "",
    );
    for view in [empty(), healthy(), troubled()] {
        let text = metrics(&view);
        // `check metrics` reads the older format, in which a counter's family has the name of its samples
        let older = ["backup_runs", "backup_token_refusals"].iter().fold(text.clone(), |text, family| {
            text.replace(&format!("HELP {family} "), &format!("HELP {family}_total "))
                .replace(&format!("{family} counter"), &format!("{family}_total counter"))
        });
        accepts("the metrics", &["check", "metrics"], &older);
        // the reader of OpenMetrics itself wants a time behind each sample
        let dated: String = text
            .lines()
            .map(|line| if line.starts_with('#') { format!("{line}\n") } else { format!("{line} 1795250000\n") })
            .collect();
        let folder = tempfile::tempdir().expect("a folder");
        let page = folder.path().join("metrics");
        fs::write(&page, dated).expect("written");
        let (page, blocks) = (page.to_str().expect("UTF-8"), folder.path().join("blocks"));
        accepts("a scrape", &["tsdb", "create-blocks-from", "openmetrics", page, blocks.to_str().expect("UTF-8")], "");
    }
}
