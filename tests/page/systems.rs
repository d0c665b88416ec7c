//! Three systems to look at: an empty one, a healthy one, a troubled one. No clock: it is always the same morning.

use backup::domain::{
    EntryPath, Host, JobName, Kind, Outcome, RunId, Skip, SkipCause, Skips, SnapshotName, StopReason, Totals, Trouble,
    Verdict,
};
use backup::page::{
    Counts, EntryView, FolderView, JobView, Progress, Proof, RunView, SilentChannel, SnapshotView, StoreView, View,
};
use backup::report::RunRecord;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A name that is markup, a quote, a control byte and an override of the direction.
pub const HOSTILE: &str = "<script>alert(1)</script>\"'&\u{1b}[31m\u{202e}gpj.exe";

pub fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn now() -> Timestamp {
    at("2026-11-21T08:30:00Z")
}

/// A daemon that began this morning and has nothing to do.
pub fn empty() -> View {
    View {
        now: now(),
        zone: TimeZone::get("Europe/Berlin").expect("the zones are built in"),
        instance: "main".into(),
        tool: "backup 0.1.0".into(),
        started: at("2026-11-21T08:29:00Z"),
        ticked: at("2026-11-21T08:29:40Z"),
        jobs: Vec::new(),
        stores: Vec::new(),
        spooled: 0,
        undelivered: 0,
        silent_channels: Vec::new(),
        config_refused: None,
        state_trouble: None,
        token_refusals: 0,
        may_sign_in: false,
    }
}

/// Half a year of nights in which all went well, and a job that was added today.
pub fn healthy() -> View {
    let mut upload = job("upload", 180);
    upload.sources.push("/var/www/shared assets".into());
    let mut ledger = job("ledger", 60);
    ledger.running = Some(Progress {
        started: at("2026-11-21T08:28:12Z"),
        phase: "reading and writing".into(),
        entries: 18_204,
        bytes: 1_204_000_000,
    });
    let mut added = job("photos", 0);
    added.first_due = Some(at("2026-11-22T02:00:00Z"));
    (added.last_success, added.last, added.last_verified) = (None, None, None);
    View {
        started: at("2026-10-02T06:00:00Z"),
        jobs: vec![ledger, added, upload],
        stores: vec![store("nas", "/mnt/backup")],
        may_sign_in: true,
        ..empty()
    }
}

/// Everything that can be wrong at once: late, failed, partial, damaged, missed, silent, refused.
pub fn troubled() -> View {
    let mut upload = job("upload", 120);
    for (back, verdict) in [(1, Verdict::Partial), (9, Verdict::Skipped), (23, Verdict::Partial), (40, Verdict::Failed)]
    {
        set(&mut upload, back, Some(verdict));
    }
    set(&mut upload, 31, None);
    upload.last = Some(Box::new(RunRecord::from(&partial(&upload.name))));
    upload.last_success = Some(at("2026-11-20T01:04:00Z"));
    upload.failures_in_a_row = 1;
    upload.snapshots[0].is_ok = false;
    upload.snapshots[3].damage = Some("volume 2 has a bad sha256: 3 files are lost".into());

    let mut ledger = job("ledger", 120);
    for back in 1..=4 {
        set(&mut ledger, back, Some(Verdict::Failed));
    }
    for back in 5..=7 {
        set(&mut ledger, back, None);
    }
    ledger.last = Some(Box::new(RunRecord::from(&failed(&ledger.name))));
    ledger.last_success = Some(at("2026-11-13T01:04:00Z"));
    (ledger.failures_in_a_row, ledger.missed) = (4, 3);
    ledger.last_verified = None;
    ledger.snapshots.drain(..7);

    let mut remote = store("offsite", "/mnt/offsite");
    remote.trouble = Some("nothing is mounted at /mnt/offsite; mount the share, or correct `path`".into());
    (remote.free, remote.total, remote.skew_s) = (None, None, None);
    let mut near = store("nas", "/mnt/backup");
    (near.free, near.skew_s) = (Some(61_000_000_000), Some(95));
    View {
        jobs: vec![ledger, upload],
        stores: vec![near, remote],
        spooled: 7,
        undelivered: 2,
        silent_channels: vec![SilentChannel { name: "slack".into(), why: "answered 404: no_service".into() }],
        config_refused: Some("line 12: unknown key `shedule`; did you mean `schedule`?".into()),
        ..healthy()
    }
}

/// A folder with every kind of entry, and names that mean harm.
pub fn folder() -> FolderView {
    let path = EntryPath::parse(b"site/caf\xc3\xa9").expect("a path");
    let entry = |name: &[u8], kind, bytes| EntryView {
        path: path.join(name),
        kind,
        bytes,
        modified: Some(at("2026-11-19T17:42:00Z")),
        target: None,
        skipped: None,
    };
    let mut link = entry(b"latest", Some(Kind::Symlink), 0);
    link.target = Some(b"../releases/<b>42</b>".to_vec());
    let mut lost = entry(b"secret.key", None, 0);
    (lost.skipped, lost.modified) = (Some("could not be read: Permission denied".into()), None);
    let long = [b"a-very-long-name-without-any-place-to-break-".repeat(4), b".tar".to_vec()].concat();
    // a name holds no slash
    let hostile = HOSTILE.replace('/', "\u{2044}");
    FolderView {
        snapshot: name("upload", 1),
        path: path.clone(),
        entries: vec![
            entry(b"images", Some(Kind::Folder), 0),
            entry(format!("{hostile}.d").as_bytes(), Some(Kind::Folder), 0),
            entry(hostile.as_bytes(), Some(Kind::File), 4_096),
            entry(b"bytes-\xff\xfe.bin", Some(Kind::File), 1),
            entry(b"index.html", Some(Kind::File), 18_402),
            link,
            entry(&long, Some(Kind::File), 7_340_032_000),
            entry(b"queue", Some(Kind::Fifo), 0),
            lost,
        ],
        more: 1_200,
    }
}

fn name(job: &str, days_ago: i64) -> SnapshotName {
    SnapshotName::new(&job.parse().expect("a name"), night(days_ago))
}

fn night(days_ago: i64) -> Timestamp {
    at("2026-11-21T01:00:00Z") - SignedDuration::from_hours(24 * (days_ago - 1))
}

fn store(name: &str, path: &str) -> StoreView {
    StoreView {
        name: name.into(),
        path: path.into(),
        trouble: None,
        free: Some(2_410_000_000_000),
        total: Some(4_000_000_000_000),
        skew_s: Some(0),
    }
}

/// A job with a good run in each of the last `nights` nights, growing slowly.
fn job(text: &str, nights: i64) -> JobView {
    let name: JobName = text.parse().expect("a name");
    let runs: Vec<RunView> = (1..=nights).rev().map(|back| run(back, nights)).collect();
    JobView {
        store: "nas".into(),
        sources: vec![format!("/var/www/{text}")],
        schedules: vec!["0 2 * * * (Europe/Berlin)".into()],
        first_due: Some(at("2026-05-01T00:00:00Z")),
        next_run: Some(at("2026-11-22T01:00:00Z")),
        age_max_s: Some(129_600),
        running: None,
        last_success: Some(at("2026-11-21T01:04:00Z")),
        last_verified: Some(Proof { at: at("2026-11-15T05:12:00Z"), level: "deep".into() }),
        failures_in_a_row: 0,
        missed: 0,
        counts: Counts { ok: nights.unsigned_abs(), ..Counts::default() },
        retention_undone: None,
        last: runs.last().map(|_| Box::new(RunRecord::from(&good(&name)))),
        runs,
        snapshots: (1..=nights.min(24)).map(|back| snapshot(&name, back)).collect(),
        is_listed: true,
        unlisted: None,
        name,
    }
}

fn run(back: i64, nights: i64) -> RunView {
    let age = (nights - back).unsigned_abs();
    // a wobble without chance, and a full snapshot every thirty nights
    let wobble = age * 7919 % 97;
    let stored = if back % 30 == 0 { 9_000_000_000 } else { 40_000_000 + wobble * 3_000_000 };
    RunView {
        verdict: Some(Verdict::Ok),
        at: night(back),
        took_ms: 60_000 + wobble * 1_700 + if back % 30 == 0 { 540_000 } else { 0 },
        bytes: 11_000_000_000 + age * 14_000_000 + wobble * 2_000_000,
        stored,
        why: None,
    }
}

fn set(job: &mut JobView, back: i64, verdict: Option<Verdict>) {
    let at = night(back);
    let run = job.runs.iter_mut().find(|run| run.at == at).expect("a night with a run");
    run.verdict = verdict;
    run.why = match verdict {
        Some(Verdict::Partial) => Some("3 entries were skipped".into()),
        Some(Verdict::Failed) => Some("nothing is mounted at /mnt/backup".into()),
        Some(Verdict::Skipped) => Some("another run held the lease".into()),
        _ => None,
    };
    match verdict {
        Some(Verdict::Ok) => {}
        Some(Verdict::Partial) => (job.counts.ok, job.counts.partial) = (job.counts.ok - 1, job.counts.partial + 1),
        Some(Verdict::Failed) => (job.counts.ok, job.counts.failed) = (job.counts.ok - 1, job.counts.failed + 1),
        _ => job.counts.ok -= 1,
    }
    if verdict != Some(Verdict::Partial) {
        (run.bytes, run.stored, run.took_ms) = (0, 0, 2_000);
    }
}

fn snapshot(job: &JobName, back: i64) -> SnapshotView {
    let reasons: &[&str] = match back {
        1 => &["newest", "last", "daily"],
        2..=7 => &["last", "daily"],
        8..=14 => &["daily"],
        15 | 22 => &["weekly", "held"],
        _ => &[],
    };
    SnapshotView {
        name: SnapshotName::new(job, night(back)),
        at: night(back),
        bytes: 12_500_000_000 - back.unsigned_abs() * 14_000_000,
        entries: 412_300 - back.unsigned_abs() * 17,
        is_ok: true,
        verified: (back >= 6).then(|| Proof { at: at("2026-11-15T05:12:00Z"), level: "deep".into() }),
        kept_for: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
        damage: None,
    }
}

pub fn good(job: &JobName) -> Outcome {
    Outcome {
        job: job.clone(),
        run: RunId::from_random([3; 16]),
        host: Host("web1".into()),
        store: "nas".into(),
        sources: vec![format!("/var/www/{job}")],
        started: night(1),
        finished: at("2026-11-21T01:04:00Z"),
        took_ms: 240_000,
        snapshot: Some(SnapshotName::new(job, night(1))),
        record: None,
        totals: Totals {
            entries: 412_283,
            files: 380_112,
            folders: 32_160,
            symlinks: 11,
            content_bytes: backup::domain::ByteCount(12_486_000_000),
            read_bytes: backup::domain::ByteCount(310_000_000),
            stored_bytes: backup::domain::ByteCount(148_000_000),
            reused_bytes: backup::domain::ByteCount(9_120_000_000),
            ..Totals::default()
        },
        skips: Skips::default(),
        doubts: Vec::new(),
        notices: Vec::new(),
        failure: None,
    }
}

fn partial(job: &JobName) -> Outcome {
    let mut skips = Skips::default();
    for (path, cause, why) in [
        (HOSTILE.as_bytes(), SkipCause::Unreadable, "Permission denied"),
        (b"site/db.sqlite".as_slice(), SkipCause::Changed, "it changed in each of 3 readings"),
        (b"tmp/\xff\xfe".as_slice(), SkipCause::Vanished, "No such file or directory"),
    ] {
        skips.add(Skip { path: EntryPath::parse(path).expect("a path"), cause, why: why.into() });
    }
    for number in 0..40 {
        let path = EntryPath::parse(format!("cache/{number:04}").as_bytes()).expect("a path");
        skips.add(Skip { path, cause: SkipCause::Vanished, why: "No such file or directory".into() });
    }
    Outcome { skips, doubts: vec!["the source shrank from 12.5 GB to 9.1 GB".into()], ..good(job) }
}

fn failed(job: &JobName) -> Outcome {
    Outcome {
        snapshot: None,
        totals: Totals::default(),
        failure: Some((
            StopReason::StoreAbsent,
            Trouble {
                what: "nothing is mounted at /mnt/backup".into(),
                causes: vec!["the marker is missing".into(), "No such file or directory (os error 2)".into()],
                advice: "mount the share, or correct `path`; nothing was written".into(),
            },
        )),
        ..good(job)
    }
}
