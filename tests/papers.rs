//! Papers: what is written about the program is what the program does.

#![expect(clippy::disallowed_methods, reason = "tests read the project's own files")]

mod site;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backup::config::{Inputs, Need, Overrides, Settings, environment_names, load, schema, show};
use proptest::prelude::*;
use site::{Site, has, names_in};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Loads a configuration file's text.
fn settings(text: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
    let env: BTreeMap<String, String> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    load(Inputs {
        need: Need::All,
        file: Some(("backup.yaml".into(), text.to_owned())),
        env: &env,
        overrides: Overrides::default(),
        default_state_dir: "/var/lib/backup".into(),
        // long enough for a token, and an address where one is expected
        read_secret: &|_: &Path| Ok("https://example.org/secret\n".to_owned()),
    })
    .map_err(|error| error.to_string())
}

/// The message if it is wrong.
fn loaded(text: &str, env: &[(&str, &str)]) -> Result<(), String> {
    settings(text, env).map(drop)
}

#[test]
fn the_schema_in_the_repository_is_current() {
    let path = root().join("config/schema.json");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, schema()).expect("written");
    }
    assert!(read("config/schema.json") == schema(), "run `UPDATE=1 cargo test --test papers` and commit");
}

#[test]
fn the_manual_pages_in_the_repository_are_current() {
    let site = Site::new();
    let fresh = site.path().join("man");
    site.backup(["man".as_ref(), fresh.as_os_str()]).exits(0);
    let kept = root().join("man");
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&kept).expect("a folder");
        for name in names_in(&kept) {
            fs::remove_file(kept.join(name)).expect("removed");
        }
        for name in names_in(&fresh) {
            fs::copy(fresh.join(&name), kept.join(&name)).expect("copied");
        }
    }
    assert_eq!(names_in(&kept), names_in(&fresh));
    for name in names_in(&fresh) {
        let same = fs::read(kept.join(&name)).expect("a page") == fs::read(fresh.join(&name)).expect("a page");
        assert!(same, "{name}: run `UPDATE=1 cargo test --test papers` and commit");
    }
}

#[test]
fn the_example_configuration_loads_and_names_every_key() {
    let text = read("config/backup.yaml");
    loaded(&text, &[]).unwrap_or_else(|error| panic!("{error}"));
    let schema: serde_json::Value = serde_json::from_str(&schema()).expect("JSON");
    let keys_of = |at: &str| {
        schema.pointer(at).and_then(|v| v.as_object()).expect("an object").keys().cloned().collect::<Vec<_>>()
    };
    let mut keys = keys_of("/properties");
    keys.extend(keys_of("/properties/notify/properties"));
    for channel in ["slack", "jira", "webhook", "ping", "email"] {
        keys.extend(keys_of(&format!("/properties/notify/properties/{channel}/properties")));
    }
    keys.extend(keys_of("/properties/stores/additionalProperties/properties"));
    keys.extend(keys_of("/properties/jobs/additionalProperties/properties"));
    assert!(keys.len() > 20);
    for key in keys {
        // of a secret and the file that holds it one is shown, and the other is named
        let shown = [format!("{key}:"), format!("{key}_file:"), format!("{key}."), format!("{key},")];
        assert!(shown.iter().any(|shown| text.contains(shown)), "config/backup.yaml does not show `{key}`");
    }
}

#[test]
fn names_of_the_environment_are_filled_in_everywhere_or_refused_where_they_stand() {
    let path_of = |written: &str| {
        let text = format!("stores:\n  nas:\n    path: {written}\njobs: {{up: {{source: /srv}}}}\n");
        let settings = settings(&text, &[("SHARE", "/mnt/${nas}"), ("PRICE", "5$")]);
        settings.map(|settings| settings.stores["nas"].path.display().to_string())
    };
    for (written, path) in [
        ("${SHARE}/a", "/mnt/${nas}/a"),
        ("\"${SHARE}/a\"", "/mnt/${nas}/a"),
        ("'/x/${SHARE}'", "/x/mnt/${nas}"),
        ("'/x/$${SHARE}'", "/x/${SHARE}"),
        ("/x/$SHARE$", "/x/$SHARE$"),
        ("/x/${PRICE}${SHARE}", "/x/5$/mnt/${nas}"),
        ("'/x/${PRICE}$${SHARE}'", "/x/5$${SHARE}"),
    ] {
        assert_eq!(path_of(written).as_deref(), Ok(path), "{written}");
    }
    for wrong in ["${NO_SUCH}/a", "'${NO_SUCH}'", "'/x/${SHARE'", "'/x/${}'", "'${a b}'"] {
        let error = path_of(wrong).expect_err(wrong);
        assert!(error.contains("backup.yaml:3:11"), "{error}");
    }
}

/// A job that was called `shell` had no name filled in.
#[test]
fn only_what_a_shell_reads_is_left_to_the_shell_whatever_else_has_that_name() {
    let hook = "{shell: 'echo ${SHARE}'}";
    let text = format!(
        "stores: {{notify: {{path: '${{SHARE}}/store'}}}}\njobs:\n  shell:\n    source: '${{SHARE}}/source'\n    commands:\n\
         \x20     - {{name: a, run: [dump, '${{SHARE}}'], environment: {{shell: '${{SHARE}}', hooks: '${{SHARE}}'}}}}\n\
         \x20     - {{name: b, shell: 'echo ${{SHARE}}'}}\n    \
         hooks: {{before: [{{shell: 'echo ${{SHARE}}', undo: {hook}}}], after: [{hook}], always: [{hook}]}}\n"
    );
    let settings = settings(&text, &[("SHARE", "/mnt")]).expect("it is right");
    assert_eq!(settings.stores["notify"].path, Path::new("/mnt/store"));
    let job = settings.jobs.values().next().expect("a job");
    assert_eq!(job.sources, [Path::new("/mnt/source")]);
    let spec = &job.commands[0].spec;
    assert_eq!([&spec.argv[1], &spec.environment["shell"], &spec.environment["hooks"]], ["/mnt"; 3]);
    let shells = job.hooks.all().into_iter().map(|(_, spec)| spec).chain([&job.commands[1].spec]);
    let read = shells.map(|spec| spec.argv[2].as_str()).collect::<Vec<_>>();
    assert_eq!(read, ["echo ${SHARE}"; 5]);
    let rows = show(&settings);
    let shown = rows.iter().find(|row| row.key.ends_with("commands.1.run")).expect("a row");
    assert_eq!(shown.value, "dump ${SHARE}", "what is filled in may be a password");
    let error = self::settings(&text, &[]).expect_err("a store and a job are no listeners");
    assert!(error.contains("`SHARE` is not set"), "{error}");
}

#[test]
fn who_needs_the_stores_alone_needs_no_secret() {
    let text = "stores: {nas: {path: /mnt/nas}}\njobs: {up: {source: /srv, commands: [{name: a.sql, \
                run: [dump], environment_files: {PW: \"${CREDENTIALS}/pw\"}}]}}\n\
                notify: {slack: {webhook_url_file: \"${CREDENTIALS}/slack\"}, jira: {url: https://jira.test}}\n\
                web: {token_file: \"${CREDENTIALS}/web\", listen: \"127.0.0.1:${PORT}\"}\n";
    let env: BTreeMap<String, String> = [("SMTP_PASSWORD_FILE", "/run/secrets/gone"), ("PORT", "1234")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let load = |text: &str, need| {
        load(Inputs {
            need,
            file: Some(("backup.yaml".into(), text.to_owned())),
            env: &env,
            overrides: Overrides::default(),
            default_state_dir: "/state".into(),
            read_secret: &|_| Err(std::io::ErrorKind::PermissionDenied.into()),
        })
    };
    let settings = load(text, Need::Stores).expect("stores and jobs are right");
    assert_eq!((settings.stores.len(), settings.jobs.len(), settings.notify.listeners.len()), (1, 1, 0));
    let listen = settings.web.listen.map(|listen| listen.to_string());
    assert_eq!(
        (listen.as_deref(), settings.web.token.is_none()),
        (Some("127.0.0.1:1234"), true),
        "a health check asks there"
    );
    let shell = text.replace("run: [dump]", "shell: 'echo ${HOME}'").replace("${CREDENTIALS}/pw", "/pw");
    let settings = load(&shell, Need::Stores).expect("stores and jobs are right");
    let argv = settings.jobs.values().flat_map(|job| &job.commands).flat_map(|one| &one.spec.argv).cloned();
    assert!(argv.into_iter().any(|word| word.contains("echo ${HOME}")), "that is for the shell");
    load(text, Need::All).expect_err("a run is to tell people, and cannot");
    let error =
        load(&text.replace("/srv", "\"${NO_SUCH}\""), Need::Stores).expect_err("a job's own folder is not known");
    assert!(error.to_string().contains("NO_SUCH"), "{error}");
}

#[test]
fn readme_names_every_variable_and_every_exit_code() {
    let text = read("README.md");
    for (name, _) in environment_names() {
        assert!(text.contains(&format!("`{name}`")), "README.md does not name {name}");
    }
    for code in ["0", "1", "2", "3", "4", "5", "6", "130", "143"] {
        assert!(text.contains(&format!("\n| {code} |")), "README.md does not tell exit code {code}");
    }
}

#[test]
fn the_benchmarks_page_gives_the_commands_that_the_benchmark_itself_gives() {
    let (page, script) = (read("benches/README.md"), read("benches/peers"));
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains("benches/peers"));
    let commands: Vec<&str> = rows.filter_map(|line| line.split('`').nth(1)).collect();
    assert_eq!(commands.len(), 2);
    for command in commands {
        let is_said = script.lines().any(|line| line.trim().split("   ").next() == Some(command));
        assert!(is_said, "benches/peers does not say `{command}`");
    }
}

#[test]
fn the_benchmark_judges_as_its_own_tests_say() {
    if !has("python3", "the tests of benches/peers") {
        return;
    }
    let done = Command::new("python3").arg(root().join("benches/race/tests.py")).output().expect("python3 starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// What stands between backticks, and lines of examples, that begin with our name; a comment behind them cut off.
fn commands_in(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.trim().trim_start_matches("$ "));
    let inline = text.split('`').skip(1).step_by(2);
    let found = lines.chain(inline).filter(|text| text.starts_with("backup ") && !text.contains('\n'));
    found.map(|text| text.split(" #").next().unwrap_or_default().trim().to_owned()).collect()
}

/// The words of a command line: blanks part them, quotes hold them together.
fn words_of(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for sign in command.chars() {
        match (quote, sign) {
            (None, '\'' | '"') => quote = Some(sign),
            (Some(open), _) if open == sign => quote = None,
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().expect("one").push(sign),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// An alert once said `backup verify JOB --deep`, which parses: but what stands there is a snapshot.
#[test]
fn every_command_in_the_papers_parses_and_alerts_put_jobs_and_stores_where_they_belong() {
    use clap::CommandFactory;
    use clap::error::ErrorKind;
    const PAPERS: [&str; 10] = [
        "README.md",
        "CHANGELOG.md",
        "BENCHMARKS.md",
        "config/README.md",
        "config/backup.yaml",
        "config/backup.example.yaml",
        "config/prometheus-alerts.yaml",
        "systemd/README.md",
        "kubernetes/README.md",
        "jenkins/README.md",
    ];
    let command = backup::cli::Arguments::command();
    let mut labels_seen = 0;
    for paper in PAPERS {
        for text in commands_in(&read(paper)) {
            let filled =
                text.replace("{{ $labels.job_name }}", "job-of-label").replace("{{ $labels.store }}", "store-of-label");
            let matches = match command.clone().try_get_matches_from(words_of(&filled)) {
                Ok(matches) => matches,
                Err(error) if error.kind() == ErrorKind::DisplayHelp => continue,
                // a mention of a command's name alone
                Err(error) if error.kind() == ErrorKind::MissingRequiredArgument && !text.contains(" -") => continue,
                Err(error) => panic!("{paper}: `{text}`: {error}"),
            };
            let mut at = Some(&matches);
            while let Some(matches) = at {
                for id in matches.ids() {
                    for value in matches.try_get_raw(id.as_str()).ok().flatten().into_iter().flatten() {
                        for (label, place) in [("job-of-label", "job"), ("store-of-label", "store")] {
                            if value == label {
                                assert_eq!(id.as_str(), place, "{paper}: `{text}`");
                                labels_seen += 1;
                            }
                        }
                    }
                }
                at = matches.subcommand().map(|(_, inner)| inner);
            }
        }
    }
    assert!(labels_seen >= 4, "{labels_seen}");
    assert_eq!(commands_in("`backup ls -l` and\n$ backup run  # all\n"), ["backup run", "backup ls -l"]);
}

#[test]
fn every_dependency_has_its_reason() {
    let (manifest, text) = (read("Cargo.toml"), read("ARCHITECTURE.md"));
    let section = manifest.split("[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next()).expect("a section");
    for name in section.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name) {
        assert!(text.contains(&format!("| `{name}` |")), "ARCHITECTURE.md gives no reason for {name}");
    }
}

/// The commonest mistakes: what is said of each.
#[test]
fn mistakes_are_shown_where_they_stand_with_what_would_be_right() {
    const HEAD: &str = "stores: {nas: {path: /mnt/nas}}\njobs:\n  upload:\n    source: /var/www\n";
    let with = |line: &str| format!("{HEAD}    {line}\n");
    let cases: Vec<(String, &[&str])> = vec![
        (
            with("shedule: '0 2 * * *'"),
            &["`shedule` is not a key of a job", "backup.yaml:5:5", "did you mean `schedule`?"],
        ),
        (with("schedule: '0 25 * * *'"), &["`0 25 * * *` is not a schedule", "5:15", "every day at two"]),
        (with("schedule: '0 2 31 2 *'"), &["`0 2 31 2 *` never comes"]),
        (with("schedule: '* * * * * *'"), &["it has 6 fields, and five are expected"]),
        (with("catch_up: 24h"), &["takes true or false"]),
        (with("catch_up_within: never"), &["`never` is not a length of time"]),
        (with("jitter: a bit"), &["`a bit` is not a length of time"]),
        (
            with("verify: {schedule: '@daily', level: deep, scratch: /srv}"),
            &["`scratch` with the level deep", "`level: drill`"],
        ),
        (with("retry: 3"), &["`retry` takes a map", "{times: 3, after: 10m}"]),
        (with("retry: {tries: 3}"), &["`tries` is not a key of `retry`", "did you mean `times`?"]),
        (with("retry: {times: -1}"), &["`-1` is not a number of attempts"]),
        (with("exclude: ['[a']"), &["`[a` is not a pattern", "5:15"]),
        (with("exclude: {a: b}"), &["`exclude` takes a text or a list of texts, and this is a map"]),
        (with("max_file_size: 5 potatoes"), &["`5 potatoes` is not a size", "500MB"]),
        (with("progress_timeout: 300"), &["`300` is not a length of time", "300s"]),
        (with("max_shrink: 50"), &["`50` is not a share", "with its sign"]),
        (with("compression: zstandard"), &["is not a compression", "zstd:6"]),
        (with("compression: {gzip: {level: 13}}"), &["`13` is not a level of gzip", "5:33"]),
        (
            with("compression: {gzip: {levl: 3}}"),
            &["`levl` is not a setting of a compression", "did you mean `level`?"],
        ),
        (with("store: nass"), &["there is no store `nass`", "did you mean `nas`?"]),
        (with("allow_empty: yes"), &["takes true or false"]),
        (with("threads: 0"), &["from 1 to 1024"]),
        (with("source: /again"), &["duplicate mapping key"]),
        (format!("timezone: Europe/Madird\n{HEAD}"), &["is not a time zone", "1:11", "did you mean `Europe/Madrid`?"]),
        (format!("{HEAD}notfy: {{}}\n"), &["`notfy` is not a key of the configuration", "did you mean `notify`?"]),
        (format!("{HEAD}notify: {{slak: {{}}}}\n"), &["`slak` is not a key of `notify`", "did you mean `slack`?"]),
        (format!("{HEAD}notify: {{slack: {{}}}}\n"), &["`slack` has no `webhook_url`", "SLACK_WEBHOOK_URL"]),
        (
            format!("{HEAD}notify: {{ping: {{url: 'https://x/y', jobs: uplaod}}}}\n"),
            &["there is no job `uplaod`", "did you mean `upload`?"],
        ),
        (
            format!("{HEAD}notify: {{webhook: {{url: 'http://example.com/y', on: fialed}}}}\n"),
            &["this address begins with http://", "`fialed` is none of these", "did you mean `failed`?"],
        ),
        (
            format!("{HEAD}notify: {{jira: {{url: 'https://a.atlassian.net', project: OPS, token: x}}}}\n"),
            &["`jira` has no `user`"],
        ),
        (
            format!("{HEAD}notify: {{email: {{host: h, from: me, to: [a@b.org], title: '{{{{ jbo }}}}'}}}}\n"),
            &["`me` is not an e-mail address", "the template fails"],
        ),
        (
            format!(
                "{HEAD}notify: {{email: {{host: h.org, from: a@b.org, to: a@b.org, user: u, password: p, tls: none}}}}\n"
            ),
            &["the password would go over an unprotected line"],
        ),
        (HEAD.replace("/var/www", "var/www"), &["`var/www` is not an absolute path"]),
        (HEAD.replace("/var/www", "[/a, /a/b]"), &["`/a/b` and `/a` lie in each other"]),
        (HEAD.replace("source", "target"), &["`target` is not a key", "the job has no `source`"]),
        (
            HEAD.replace("/mnt/nas", "/var/lib/backup/store"),
            &["the store lies in `state_dir` (/var/lib/backup)", "1:22", "a folder outside it"],
        ),
        (format!("state_dir: /mnt\n{HEAD}"), &["the store lies in `state_dir` (/mnt)", "2:22"]),
        (
            HEAD.replace("path: /mnt/nas", "require_mount: nsf, path: /x"),
            &["is not a kind of mount", "did you mean `nfs`?"],
        ),
        (HEAD.replace("path: /mnt/nas", "path: /x, file_mode: '0400'"), &["at least 0600 for the owner"]),
        (
            HEAD.replace("{nas: {path: /mnt/nas}}", "{a: {path: /a}, b: {path: /b}}"),
            &["the job has no `store`, and there are several"],
        ),
        (HEAD.replace("upload", "'up load'"), &["`up load` is not a name"]),
        ("jobs:\n\tupload: {}\n".to_owned(), &["a tab at the beginning of a line", "2:1"]),
        ("stores: [\n".to_owned(), &["backup.yaml:"]),
        (String::new(), &["this is not a configuration"]),
        ("just text\n".to_owned(), &["this is not a configuration"]),
        ("stores: {}\njobs: {}\n".to_owned(), &["`stores` takes a map of names", "`jobs` takes a map of names"]),
    ];
    assert_eq!(loaded(HEAD, &[]), Ok(()));
    for (text, expected) in cases {
        let told = loaded(&text, &[]).expect_err(&text);
        for part in expected {
            assert!(told.contains(part), "`{part}` is not said of\n{text}\nbut\n{told}");
        }
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_in_the_files_order() {
    let told = loaded("timezone: Nowhere\nstores: {nas: {path: x}}\njobs: {j: {source: y, thread: 1}}\n", &[])
        .expect_err("wrong");
    let places: Vec<usize> =
        ["Nowhere", "`x` is", "`y` is", "`thread`"].map(|text| told.find(text).expect(text)).to_vec();
    assert!(places.is_sorted(), "{told}");
    assert!(told.starts_with("the configuration cannot be used: several things are wrong"));
}

#[test]
fn a_variable_nobody_knows_is_refused_with_the_one_that_was_meant() {
    const FILE: &str = "stores: {nas: {path: /mnt/nas}}\njobs: {upload: {source: /var/www}}\n";
    let told = loaded(FILE, &[("BACKUP_COMPRESION", "gzip")]).expect_err("unknown");
    assert!(
        told.contains("no such variable is known") && told.contains("did you mean `BACKUP_COMPRESSION`?"),
        "{told}"
    );
    let told = loaded(FILE, &[("BACKUP_COMPRESSION", "lz4")]).expect_err("wrong");
    assert!(told.contains("environment variable BACKUP_COMPRESSION") && told.contains("`lz4` is not"), "{told}");
    let told = loaded(FILE, &[("BACKUP_THREADS", "2"), ("BACKUP_THREADS_FILE", "/x")]).expect_err("both");
    assert!(told.contains("BACKUP_THREADS is set as well"), "{told}");
    let two = "stores: {nas: {path: /mnt/nas}}\njobs: {a: {source: /a}, b: {source: /b}}\n";
    let told = loaded(two, &[("BACKUP_COMPRESSION", "gzip")]).expect_err("a guess");
    assert!(told.contains("it speaks of one job, and the file has 2"), "{told}");
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let site = Site::new();
    site.configure("threads: 3, compression: none");
    let show = |env: &[(&str, &str)]| {
        let mut command = site.command(["config", "show"]);
        let ran: site::Ran = command.envs(env.iter().copied()).output().expect("it starts").into();
        ran.exits(0)
    };
    show(&[]).says("threads = 3  # file, line 2").says("jobs.upload.max_shrink = 50%  # default");
    show(&[("BACKUP_THREADS", "4")])
        .says("threads = 4  # environment BACKUP_THREADS")
        .says("compression = none  # file, line 2");
    site.file("a", "a");
    fs::create_dir(site.store()).expect("a folder");
    site.backup(["init"]).exits(0);
    let mut command = site.command(["run", "--compression", "gzip", "--json"]);
    let ran: site::Ran = command.env("BACKUP_COMPRESSION", "zstd").output().expect("it starts").into();
    ran.exits(0);
    assert!(site.volume().to_str().expect("plain").ends_with(".tar.gz"));
}

#[test]
fn what_a_job_wants_of_time_is_read_from_file_and_environment() {
    use std::time::Duration;
    let host = backup::domain::Host("here".to_owned());
    let plan = |line: &str, variables: &[(&str, &str)]| {
        let text = format!("stores: {{nas: {{path: /x}}}}\njobs:\n  up:\n    source: /y\n    {line}\n");
        let settings = settings(&text, variables);
        settings.expect("it is right").jobs.values().map(|job| job.plan(&host)).next().expect("a job")
    };
    let of = |plan: backup::schedule::Plan| {
        let seconds = |duration: Duration| duration.as_secs();
        (plan.catch_up.map(seconds), seconds(plan.jitter), plan.retry.times, seconds(plan.retry.after))
    };
    assert_eq!(of(plan("", &[])), (Some(86_400), 0, 0, 600));
    assert_eq!(plan("", &[]).seed, "here/up");
    assert_eq!(of(plan("catch_up: false", &[("BACKUP_CATCH_UP_WITHIN", "2h")])), (None, 0, 0, 600));
    let line = "catch_up_within: 2h\n    jitter: 30m\n    retry: {times: 3, after: 1m}";
    assert_eq!(of(plan(line, &[])), (Some(7200), 1800, 3, 60));
    let variables = [
        ("BACKUP_CATCH_UP", "false"),
        ("BACKUP_JITTER", "0s"),
        ("BACKUP_RETRY_TIMES", "1"),
        ("BACKUP_RETRY_AFTER", "5m"),
    ];
    assert_eq!(of(plan(line, &variables)), (None, 0, 1, 300));
}

#[test]
fn the_environment_alone_makes_a_job() {
    let site = Site::new();
    site.file("a", "a").file("b.tmp", "b");
    fs::create_dir(site.store()).expect("a folder");
    fs::write(site.path().join("codec"), "gzip:9\n").expect("a file");
    let with_env = |arguments: &[&str]| -> site::Ran {
        let mut command = site.command(arguments);
        command.env("BACKUP_SOURCES", site.source()).env("BACKUP_ARCHIVE", site.store()).env("BACKUP_EXCLUDE", "*.tmp");
        command.env("BACKUP_CRON_EXPRESSION", "@daily").env("TZ", "Europe/Madrid");
        command.env("BACKUP_COMPRESSION_FILE", site.path().join("codec")).output().expect("it starts").into()
    };
    with_env(&["config", "show"])
        .exits(0)
        .says("jobs.upload.compression = gzip:9")
        .says("timezone = Europe/Madrid  # environment TZ");
    with_env(&["init"]).exits(0);
    with_env(&["run"]).exits(0).says("next run").says("1 excluded");
    assert!(site.volume().to_str().expect("plain").ends_with(".tar.gz"));
}

proptest! {
    #[test]
    fn any_text_is_loaded_or_refused_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        lines in prop::collection::vec("[ a-z\\[\\]{}:,&*!|>'\"#-]{0,20}", 0..10),
        at in 0usize..1500, junk in "[\\PC\n\t]{0,6}",
    ) {
        let _ = loaded(&String::from_utf8_lossy(&bytes), &[]);
        let _ = loaded(&lines.join("\n"), &[]);
        let mut text: Vec<char> = read("config/backup.yaml").chars().collect();
        let at = at.min(text.len());
        text.splice(at..at, junk.chars());
        let _ = loaded(&text.into_iter().collect::<String>(), &[]);
    }
}

#[test]
fn how_long_the_same_trouble_is_held_back_is_what_the_schema_says_for_each_who_is_told() {
    let told = [
        ("slack", "webhook_url: https://a.test/x"),
        ("jira", "url: https://a.test, project: OPS, token: a-token-of-some-length"),
        ("webhook", "url: https://a.test/x"),
        ("email", "host: mail.a.test, from: b@a.test, to: [c@a.test]"),
    ];
    let schema: serde_json::Value = serde_json::from_str(&schema()).expect("JSON");
    for (who, keys) in told {
        let held_back = |more: &str| {
            let text = format!(
                "stores: {{a: {{path: /a}}}}\njobs: {{b: {{source: /b}}}}\nnotify: {{{who}: {{{keys}{more}}}}}\n"
            );
            let settings = settings(&text, &[]).unwrap_or_else(|error| panic!("{who}: {error}"));
            settings.notify.listeners[0].rules.repeat_after
        };
        let default = &schema["properties"]["notify"]["properties"][who]["properties"]["repeat_after"]["default"];
        let default = default.as_str().unwrap_or_else(|| panic!("{who}: {default}"));
        assert_eq!(held_back(""), held_back(&format!(", repeat_after: {default}")), "{who}: {default}");
    }
}

#[test]
fn what_the_schema_can_say_it_says_like_the_program() {
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema()).expect("JSON")).expect("a schema");
    let good = serde_json::json!({"stores": {"nas": {"path": "/x", "require_mount": "nfs", "file_mode": "0640"}},
        "jobs": {"up": {"sources": ["/a", "/b"], "compression": {"zstd": {"level": 6}}, "schedule": ["@daily"], "max_shrink": "10%"},
            "shop": {"commands": [{"name": "dumps/shop.sql", "run": ["mariadb-dump", "shop"], "deadline": "1h",
                "environment": {"LANG": "C"}, "environment_files": {"MYSQL_PWD": "/run/secrets/shop"}}]}}});
    assert!(validator.is_valid(&good), "{:?}", validator.iter_errors(&good).map(|e| e.to_string()).collect::<Vec<_>>());
    assert_eq!(loaded(&good.to_string(), &[]), Ok(()));
    for (pointer, wrong) in [
        ("/stores/nas/path", serde_json::json!("x")),
        ("/stores/nas/require_mount", serde_json::json!("nsf")),
        ("/stores/nas/file_mode", serde_json::json!("rw")),
        ("/jobs/up/compression", serde_json::json!("lz4")),
        ("/jobs/up/compression", serde_json::json!({"zstd": {"level": 30}})),
        ("/jobs/up/max_shrink", serde_json::json!("half")),
        ("/jobs/up/sources", serde_json::json!({"a": 1})),
        ("/jobs/shop/commands/0/name", serde_json::json!("/etc/passwd")),
        ("/jobs/shop/commands/0/run", serde_json::json!("mariadb-dump shop")),
        ("/jobs/shop/commands/0/run", serde_json::json!([])),
        ("/jobs/shop/commands/0/environment", serde_json::json!({"A B": "x"})),
        ("/jobs/shop/commands/0/environment", serde_json::json!({"BACKUP_JOB": "x"})),
        ("/jobs/shop/commands/0/environment_files", serde_json::json!({"A": "x"})),
        ("/jobs/shop/commands/0", serde_json::json!({"name": "x"})),
        ("/jobs/shop", serde_json::json!({"schedule": "@daily"})),
        ("/jobs", serde_json::json!({})),
        ("/stores", serde_json::json!({"a b": {"path": "/x"}})),
    ] {
        let mut config = good.clone();
        *config.pointer_mut(pointer).expect("there") = wrong;
        assert!(!validator.is_valid(&config), "the schema takes {config}");
        assert!(loaded(&config.to_string(), &[]).is_err(), "the program takes {config}");
    }
}
