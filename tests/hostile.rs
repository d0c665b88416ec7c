//! Archives made by an enemy: every shape of which an extractor is known to have fallen, for each kind of entry, each
//! dialect and each compression. Whatever becomes of the archive, nothing outside the folder is touched.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

mod site;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use site::tree::{picture, set_mtime};
use site::{Ran, Site};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Ustar,
    Pax,
    Gnu,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packed {
    Plain,
    Gzip,
    Zstd,
}

/// What the last entry of a shape is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    File,
    Folder,
    Symlink,
    HardLink,
}

const DIALECTS: [Dialect; 3] = [Dialect::Ustar, Dialect::Pax, Dialect::Gnu];
const PACKED: [Packed; 3] = [Packed::Plain, Packed::Gzip, Packed::Zstd];
const LASTS: [Last; 4] = [Last::File, Last::Folder, Last::Symlink, Last::HardLink];

/// A tar stream being made by hand.
struct Tar {
    dialect: Dialect,
    bytes: Vec<u8>,
}

impl Tar {
    fn new(dialect: Dialect) -> Self {
        Self { dialect, bytes: Vec::new() }
    }

    /// One header block, whatever it says.
    fn block(&mut self, name: &[u8], flag: u8, size: u64, link: &[u8], mode: u32) {
        let mut block = [0_u8; 512];
        let put = |block: &mut [u8; 512], at: usize, max: usize, text: &[u8]| {
            let len = text.len().min(max);
            block[at..at + len].copy_from_slice(&text[..len]);
        };
        put(&mut block, 0, 100, name);
        put(&mut block, 100, 8, format!("{mode:07o}\0").as_bytes());
        put(&mut block, 108, 8, b"0000000\0");
        put(&mut block, 116, 8, b"0000000\0");
        put(&mut block, 124, 12, format!("{size:011o}\0").as_bytes());
        put(&mut block, 136, 12, b"14000000000\0");
        block[156] = flag;
        put(&mut block, 157, 100, link);
        match self.dialect {
            Dialect::Gnu => put(&mut block, 257, 8, b"ustar  \0"),
            Dialect::Ustar | Dialect::Pax => put(&mut block, 257, 8, b"ustar\x0000"),
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut block, 148, 8, format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&block);
    }

    fn body(&mut self, body: &[u8]) {
        self.bytes.extend_from_slice(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    /// An entry whose names are said in the dialect's own way.
    fn entry(&mut self, name: &[u8], flag: u8, link: &[u8], body: &[u8]) -> &mut Self {
        match self.dialect {
            Dialect::Ustar => {}
            Dialect::Pax => {
                let mut records = Vec::new();
                record(&mut records, b"path", name);
                if !link.is_empty() {
                    record(&mut records, b"linkpath", link);
                }
                self.block(b"PaxHeaders/x", b'x', records.len() as u64, b"", 0o644);
                self.body(&records);
            }
            Dialect::Gnu => {
                for (flag, text) in [(b'L', name), (b'K', link)] {
                    if !text.is_empty() {
                        let long = [text, b"\0"].concat();
                        self.block(b"././@LongLink", flag, long.len() as u64, b"", 0o644);
                        self.body(&long);
                    }
                }
            }
        }
        let mode = if flag == b'5' { 0o777 } else { 0o666 };
        self.block(name, flag, body.len() as u64, link, mode);
        self.body(body);
        self
    }

    fn file(&mut self, name: &[u8]) -> &mut Self {
        self.entry(name, b'0', b"", b"WRITTEN BY AN ENEMY")
    }

    fn folder(&mut self, name: &[u8]) -> &mut Self {
        self.entry(name, b'5', b"", b"")
    }

    fn symlink(&mut self, name: &[u8], to: &[u8]) -> &mut Self {
        self.entry(name, b'2', to, b"")
    }

    fn hard_link(&mut self, name: &[u8], to: &[u8]) -> &mut Self {
        self.entry(name, b'1', to, b"")
    }

    fn last(&mut self, last: Last, name: &[u8], to: &[u8]) -> &mut Self {
        match last {
            Last::File => self.file(name),
            Last::Folder => self.folder(name),
            Last::Symlink => self.symlink(name, to),
            Last::HardLink => self.hard_link(name, to),
        }
    }

    fn packed(&self, packed: Packed) -> Vec<u8> {
        let bytes = [&self.bytes[..], &[0; 1024]].concat();
        pack(&bytes, packed)
    }
}

fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    out.extend_from_slice(format!("{len} ").as_bytes());
    out.extend_from_slice(&[key, b"=", value, b"\n"].concat());
}

fn pack(bytes: &[u8], packed: Packed) -> Vec<u8> {
    match packed {
        Packed::Plain => bytes.to_vec(),
        Packed::Gzip => {
            let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::new(6).expect("a level"));
            let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
            let len = compressor.gzip_compress(bytes, &mut out).expect("room");
            out.truncate(len);
            out
        }
        Packed::Zstd => {
            let mut out = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
            zstd_safe::compress(&mut out, bytes, 3).expect("room");
            out
        }
    }
}

/// A site with a tree outside that must never change.
struct Arena {
    site: Site,
    canary: BTreeMap<Vec<u8>, String>,
}

impl Arena {
    fn new() -> Self {
        let site = Site::new();
        let outside = site.path().join("outside");
        fs::create_dir_all(outside.join("folder")).expect("a folder");
        for name in ["file", "folder/inner"] {
            fs::write(outside.join(name), "outside").expect("a file");
            set_mtime(&outside.join(name), 1_000_000_000, 1);
        }
        std::os::unix::fs::symlink("file", outside.join("link")).expect("a link");
        set_mtime(&outside.join("folder"), 1_000_000_000, 2);
        set_mtime(&outside, 1_000_000_000, 3);
        let canary = picture(&outside);
        Self { site, canary }
    }

    fn outside(&self) -> PathBuf {
        self.site.path().join("outside")
    }

    /// Restores, and makes sure that nothing outside was touched. The target stays for a second archive.
    fn restore(&self, archive: &[u8], more: &[&str]) -> Ran {
        let path = self.site.path().join("archive");
        fs::write(&path, archive).expect("an archive");
        let mut command = self.site.command(["restore", "--archive"]);
        let ran: Ran = command.arg(&path).args(["--to", "target"]).args(more).output().expect("starts").into();
        let said = format!("{}{}", ran.out, ran.err);
        assert!(!said.contains("panicked"), "{said}");
        assert!(matches!(ran.code, Some(0 | 1 | 3 | 4)), "{:?}: {said}", ran.code);
        assert_eq!(picture(&self.outside()), self.canary, "something outside was touched");
        let mut names = site::names_in(self.site.path());
        names.retain(|name| !["archive", "outside", "target", "upload"].contains(&name.as_str()));
        assert_eq!(names, [""; 0], "something was made beside the target");
        ran
    }

    fn target(&self) -> PathBuf {
        self.site.path().join("target")
    }

    fn clear(&self) {
        let _ = std::process::Command::new("chmod").args(["-R", "u+rwx"]).arg(self.target()).output();
        let _ = fs::remove_dir_all(self.target());
    }
}

/// Makes a shape for each kind, dialect and compression, restores it, and gives how many there were.
fn every(shape: impl Fn(&Arena, &mut Tar, Last), check: impl Fn(&Arena, &Ran, Last)) -> u32 {
    let arena = Arena::new();
    let mut count = 0;
    for dialect in DIALECTS {
        for packed in PACKED {
            for last in LASTS {
                let mut tar = Tar::new(dialect);
                shape(&arena, &mut tar, last);
                // what follows a hostile entry is still restored
                tar.file(b"after");
                let ran = arena.restore(&tar.packed(packed), &[]);
                check(&arena, &ran, last);
                arena.clear();
                count += 1;
            }
        }
    }
    count
}

fn after_is_there(arena: &Arena) {
    assert_eq!(fs::read(arena.target().join("after")).expect("what follows is restored"), b"WRITTEN BY AN ENEMY");
}

#[test]
fn e1_names_that_climb_or_are_absolute_are_refused_by_name() {
    let names =
        ["../x", "/tmp/x", "./..", "..", "//..", "a/../../outside/file", "a/..", "/", "../outside/folder/inner"];
    for name in names {
        every(
            |_, tar, last| {
                tar.last(last, name.as_bytes(), b"after");
            },
            |arena, ran, _| {
                assert_eq!(ran.code, Some(3), "{name}: {}", ran.err);
                assert!(ran.err.contains("REFUSED"), "{name}: {}", ran.err);
                after_is_there(arena);
            },
        );
    }
}

#[test]
fn e2_a_name_that_climbs_is_not_rewritten_into_one_that_is_wanted() {
    let arena = Arena::new();
    for dialect in DIALECTS {
        let mut tar = Tar::new(dialect);
        tar.file(b"etc/shadow/../../wanted/file").file(b"wanted/real");
        arena.restore(&tar.packed(Packed::Plain), &["wanted"]);
        assert_eq!(site::names_in(&arena.target().join("wanted")), ["real"]);
        arena.clear();
    }
}

#[test]
fn e3_nothing_is_written_through_a_link_of_the_same_name() {
    every(
        |arena, tar, last| {
            let file = arena.outside().join("file");
            tar.symlink(b"a", file.as_os_str().as_encoded_bytes());
            tar.last(last, b"a", b"after");
        },
        |arena, ran, last| {
            assert_eq!(ran.code, Some(0), "{}", ran.err);
            let meta = fs::symlink_metadata(arena.target().join("a")).expect("the later entry counts");
            assert_eq!(meta.is_dir(), last == Last::Folder);
            assert_eq!(meta.is_symlink(), last == Last::Symlink);
            after_is_there(arena);
        },
    );
}

#[test]
fn e4_nothing_is_written_through_a_link_in_a_folders_place() {
    for (with_folder, link, below) in [
        (true, "d", "d/f"),
        (false, "d", "d/f"),
        (true, "d", "d/folder/inner"),
        (false, "D", "D/f"),
        (false, "d/", "d/f"),
    ] {
        every(
            |arena, tar, last| {
                if with_folder {
                    tar.folder(b"d");
                }
                let outside = arena.outside();
                tar.symlink(link.as_bytes(), outside.as_os_str().as_encoded_bytes());
                tar.last(last, below.as_bytes(), b"after");
            },
            |arena, _, last| {
                // links come last: of two, the one below the other is told as not possible
                let top = arena.target().join(below.split('/').next().expect("a name"));
                let is_folder = fs::symlink_metadata(&top).is_ok_and(|meta| meta.is_dir());
                assert!(
                    is_folder || (!with_folder && matches!(last, Last::Symlink | Last::HardLink)),
                    "{below} {last:?}"
                );
                after_is_there(arena);
            },
        );
    }
}

#[test]
fn e5_paths_too_long_for_the_kernel_lead_nowhere() {
    let long = "l".repeat(200);
    for depth in [30, 45] {
        let path = vec![long.as_str(); depth].join("/");
        for dialect in [Dialect::Pax, Dialect::Gnu] {
            let arena = Arena::new();
            let mut tar = Tar::new(dialect);
            let outside = arena.outside();
            tar.symlink(path.as_bytes(), outside.as_os_str().as_encoded_bytes());
            tar.file(format!("{path}/file").as_bytes())
                .file(format!("{path}/../../../outside/file").as_bytes())
                .file(b"after");
            arena.restore(&tar.packed(Packed::Plain), &[]);
            after_is_there(&arena);
            let removed = std::process::Command::new("rm").arg("-rf").arg(arena.target()).status();
            assert!(removed.expect("rm starts").success());
        }
    }
}

#[test]
fn a_name_of_thousands_of_folders_costs_neither_memory_nor_minutes() {
    let arena = Arena::new();
    for dialect in [Dialect::Pax, Dialect::Gnu] {
        for (depth, code) in [(15_000, 3), (3_000, 0)] {
            let mut tar = Tar::new(dialect);
            tar.file(format!("{}f", "a/".repeat(depth)).as_bytes()).folder(b"other").file(b"after");
            let path = arena.site.path().join("archive");
            fs::write(&path, tar.packed(Packed::Zstd)).expect("an archive");
            let (ran, peak_kib) = bomb(&arena, &path);
            assert_eq!(ran.code, Some(code), "{depth}: {}", ran.err.chars().take(300).collect::<String>());
            assert!(peak_kib < 64 << 10, "{depth}: {peak_kib} KiB");
            after_is_there(&arena);
            let removed = std::process::Command::new("rm").arg("-rf").arg(arena.target()).status();
            assert!(removed.expect("rm starts").success());
        }
    }
}

#[test]
fn e6_and_e8_modes_and_times_of_folders_do_not_land_on_what_a_link_points_to() {
    every(
        |arena, tar, last| {
            let folder = arena.outside().join("folder");
            tar.folder(b"foo").folder(b"foo/bar");
            tar.symlink(b"foo/bar", folder.as_os_str().as_encoded_bytes());
            tar.symlink(b"link", folder.as_os_str().as_encoded_bytes());
            tar.folder(b"link").folder(b"link/.").last(last, b"foo/bar/x", b"after");
        },
        |arena, _, _| {
            assert!(fs::symlink_metadata(arena.target().join("link")).expect("the later entry counts").is_dir());
            after_is_there(arena);
        },
    );
}

#[test]
fn e7_hard_links_lead_nowhere_outside() {
    let targets =
        ["../outside/file", "ABSOLUTE", "link-to-outside/file", "link-to-file", "..", "", "after/../../outside/file"];
    for target in targets {
        every(
            |arena, tar, last| {
                let outside = arena.outside();
                let file = outside.join("file");
                tar.symlink(b"link-to-outside", outside.as_os_str().as_encoded_bytes());
                tar.symlink(b"link-to-file", file.as_os_str().as_encoded_bytes());
                let target = if target == "ABSOLUTE" { file.as_os_str().as_encoded_bytes() } else { target.as_bytes() };
                tar.hard_link(b"h", target).last(last, b"h", b"after");
            },
            |arena, _, _| {
                let there = fs::symlink_metadata(arena.target().join("h"));
                assert!(
                    !there.is_ok_and(|meta| meta.is_file() && meta.len() == 7),
                    "{target}: it is what lies outside"
                );
                after_is_there(arena);
            },
        );
    }
}

#[test]
fn e9_a_prefix_of_dots_is_the_same_name() {
    every(
        |arena, tar, last| {
            let outside = arena.outside();
            tar.symlink(b"./././d", outside.as_os_str().as_encoded_bytes());
            tar.last(last, b".//d/./file", b"after");
        },
        |arena, _, last| {
            let is_link = fs::symlink_metadata(arena.target().join("d")).is_ok_and(|meta| meta.is_symlink());
            assert_eq!(is_link, matches!(last, Last::Symlink | Last::HardLink));
            after_is_there(arena);
        },
    );
}

#[test]
fn e10_a_body_that_looks_like_headers_stays_a_body() {
    // pax says that the body is long, ustar that it is empty: whoever believes ustar reads the body as entries
    for packed in PACKED {
        let arena = Arena::new();
        let mut hidden = Tar::new(Dialect::Ustar);
        hidden.file(b"hidden");
        let mut tar = Tar::new(Dialect::Ustar);
        let mut records = Vec::new();
        record(&mut records, b"size", hidden.bytes.len().to_string().as_bytes());
        tar.block(b"x", b'x', records.len() as u64, b"", 0o644);
        tar.body(&records);
        tar.block(b"visible", b'0', 0, b"", 0o644);
        tar.body(&hidden.bytes);
        tar.file(b"after");
        arena.restore(&tar.packed(packed), &[]).exits(0);
        assert_eq!(fs::read(arena.target().join("visible")).expect("a file"), hidden.bytes);
        assert!(!arena.target().join("hidden").exists());
        after_is_there(&arena);
    }
}

#[test]
fn e11_extended_headers_that_are_none_end_the_archive_and_nothing_else() {
    let malformed: [&[u8]; 9] = [
        b"",
        b"5",
        b"x path=a\n",
        b"99999999999999999999 path=a\n",
        b"9 path=a",
        b"0 path=a\n",
        b"8 pathaa\n",
        b"10 path=\0a\n",
        b"30 path=a\n",
    ];
    for records in malformed {
        for packed in PACKED {
            let arena = Arena::new();
            let mut tar = Tar::new(Dialect::Ustar);
            tar.file(b"before");
            tar.block(b"x", b'x', records.len() as u64, b"", 0o644);
            tar.body(records);
            tar.file(b"named");
            let ran = arena.restore(&tar.packed(packed), &[]);
            assert!(arena.target().join("before").exists(), "what came before stays");
            assert!(
                records.is_empty() || ran.code == Some(4),
                "{:?}: {:?} {}",
                records.escape_ascii().to_string(),
                ran.code,
                ran.err
            );
        }
    }
}

/// Restores under a bound on memory and gives the peak, in KiB.
fn bomb(arena: &Arena, archive: &Path) -> (Ran, u64) {
    let mut command = std::process::Command::new("/usr/bin/time");
    command.args(["-f", "PEAK %M"]).arg(env!("CARGO_BIN_EXE_backup")).args(["restore", "--to", "target", "--archive"]);
    let ran: Ran = command.arg(archive).current_dir(arena.site.path()).output().expect("time starts").into();
    let peak = ran.err.lines().rev().find_map(|line| line.strip_prefix("PEAK ")).expect("a peak").parse();
    (ran, peak.expect("a number"))
}

#[test]
fn e12_to_e16_bombs_are_refused_in_little_memory() {
    if !Path::new("/usr/bin/time").exists() {
        eprintln!("SKIPPED: without `time` nobody tells the peak of memory");
        return;
    }
    let arena = Arena::new();
    let zeros = |len: usize| vec![0_u8; len];
    let mut shapes: Vec<(&str, Vec<u8>, Option<i32>)> = Vec::new();
    // E12: an extended header of gigabytes
    for (name, flag) in [("pax", b'x'), ("global", b'g'), ("long name", b'L'), ("long link", b'K')] {
        let mut tar = Tar::new(Dialect::Gnu);
        tar.block(b"x", flag, 6 << 30, b"", 0o644);
        tar.body(&zeros(300 << 20));
        shapes.push((name, pack(&tar.bytes, Packed::Zstd), Some(4)));
    }
    // E13: a map without end
    let mut tar = Tar::new(Dialect::Pax);
    let mut records = Vec::new();
    for (key, value) in [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "s"),
        ("GNU.sparse.realsize", "9000000000"),
    ] {
        record(&mut records, key.as_bytes(), value.as_bytes());
    }
    let map = format!("40000000\n{}", "1\n0\n".repeat(50 << 20));
    tar.block(b"x", b'x', records.len() as u64, b"", 0o644);
    tar.body(&records);
    tar.block(b"s", b'0', map.len() as u64, b"", 0o644);
    tar.body(map.as_bytes());
    shapes.push(("map", pack(&tar.bytes, Packed::Zstd), Some(4)));
    // E14: one file, a hundred thousand links
    let mut tar = Tar::new(Dialect::Ustar);
    tar.entry(b"first", b'0', b"", &zeros(1 << 20));
    (0..100_000).for_each(|number| _ = tar.hard_link(format!("link {number}").as_bytes(), b"first"));
    shapes.push(("links", tar.packed(Packed::Zstd), None));
    // E16: links that wait without end
    let mut tar = Tar::new(Dialect::Ustar);
    (0..400_000).for_each(|number| _ = tar.symlink(format!("link {number}").as_bytes(), b"nowhere"));
    shapes.push(("waiting", tar.packed(Packed::Zstd), Some(4)));
    // a file of one EiB that is one hole
    let mut tar = Tar::new(Dialect::Pax);
    let mut records = Vec::new();
    for (key, value) in [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "s"),
        ("GNU.sparse.realsize", "1152921504606846976"),
    ] {
        record(&mut records, key.as_bytes(), value.as_bytes());
    }
    tar.block(b"x", b'x', records.len() as u64, b"", 0o644);
    tar.body(&records);
    tar.block(b"s", b'0', 512, b"", 0o644);
    tar.body(b"1\n1152921504606846976\n0\n");
    shapes.push(("hole", tar.packed(Packed::Plain), None));
    // four gigabytes of zeros in some kilobytes
    let mut tar = Tar::new(Dialect::Ustar);
    tar.block(b"zeros", b'0', 4 << 30, b"", 0o644);
    let mut packed = pack(&tar.bytes, Packed::Zstd);
    let frame = pack(&zeros(64 << 20), Packed::Zstd);
    (0..64).for_each(|_| packed.extend_from_slice(&frame));
    shapes.push(("zeros", packed, Some(4)));
    // a window of two gigabytes
    let mut window = zstd_safe::CCtx::create();
    window.set_parameter(zstd_safe::CParameter::WindowLog(31)).expect("a parameter");
    window.set_parameter(zstd_safe::CParameter::ContentSizeFlag(false)).expect("a parameter");
    let mut out = vec![0_u8; 1 << 20];
    let written = {
        let mut output = zstd_safe::OutBuffer::around(&mut out[..]);
        let mut input = zstd_safe::InBuffer::around(&[7_u8; 100_000][..]);
        window.compress_stream(&mut output, &mut input).expect("compressed");
        while window.end_stream(&mut output).expect("ended") > 0 {}
        output.pos()
    };
    out.truncate(written);
    shapes.push(("window", out, Some(4)));
    for (name, archive, code) in shapes {
        let path = arena.site.path().join("archive");
        fs::write(&path, archive).expect("an archive");
        let (ran, peak_kib) = bomb(&arena, &path);
        if let Some(code) = code {
            assert!(ran.code == Some(code), "{name}: {:?} {}", ran.code, ran.err);
        }
        assert!(!ran.err.contains("panicked"), "{name}: {}", ran.err);
        eprintln!("{name}: exit {:?}, peak {peak_kib} KiB", ran.code);
        assert!(peak_kib < 64 << 10, "{name}: {peak_kib} KiB");
        arena.clear();
    }
}

#[test]
fn e15_a_second_archive_does_not_write_through_what_the_first_left() {
    for dialect in DIALECTS {
        for (policy, below) in [("always", "d/file"), ("never", "d/file"), ("older", "d/folder/inner")] {
            let arena = Arena::new();
            let outside = arena.outside();
            let mut first = Tar::new(dialect);
            first.symlink(b"d", outside.as_os_str().as_encoded_bytes());
            arena.restore(&first.packed(Packed::Plain), &[]).exits(0);
            assert!(fs::symlink_metadata(arena.target().join("d")).expect("a link").is_symlink());
            let mut second = Tar::new(dialect);
            second.file(below.as_bytes()).folder(b"d").hard_link(b"h", b"d/file").file(b"after");
            arena.restore(&second.packed(Packed::Plain), &["--overwrite", policy]);
            after_is_there(&arena);
        }
    }
}

/// Every archive of the collections, sound and damaged, by every policy in turn into one folder.
#[test]
fn archives_of_many_programs_touch_nothing_outside() {
    let corpora = std::env::var_os("BACKUP_CORPORA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora"), PathBuf::from);
    let mut archives = Vec::new();
    let mut folders = vec![corpora.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { archives.push(path) }
        }
    }
    if archives.is_empty() {
        eprintln!("SKIPPED: there are no collections of archives at {}", corpora.display());
        return;
    }
    archives.sort();
    let arena = Arena::new();
    let mut codes: BTreeMap<Option<i32>, u32> = BTreeMap::new();
    for archive in &archives {
        let bytes = fs::read(archive).expect("an archive");
        for policy in ["always", "never"] {
            *codes.entry(arena.restore(&bytes, &["--overwrite", policy, "--quiet"]).code).or_default() += 1;
        }
    }
    eprintln!("{} archives, exit codes and how often: {codes:?}", archives.len());
    assert!(codes.get(&Some(0)).is_some_and(|count| *count > 20), "sound ones are among them: {codes:?}");
}

#[test]
fn devices_and_ids_come_only_when_asked() {
    let arena = Arena::new();
    let mut tar = Tar::new(Dialect::Ustar);
    tar.block(b"device", b'3', 0, b"", 0o666);
    tar.block(b"setuid", b'0', 4, b"", 0o6755);
    tar.body(b"text");
    let ran = arena.restore(&tar.packed(Packed::Gzip), &[]).exits(3);
    assert!(ran.err.contains("left out: device"), "{}", ran.err);
    assert!(!arena.target().join("device").exists());
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(arena.target().join("setuid")).expect("a file"));
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn what_tar_makes_of_an_awkward_tree_comes_back_the_same() {
    for (format, packed) in [("gnu", Packed::Gzip), ("posix", Packed::Zstd), ("posix", Packed::Plain)] {
        let site = Site::new();
        site::tree::awkward(&site.source());
        let mut tar = std::process::Command::new("tar");
        tar.args(["--sort=name", "--sparse", "--numeric-owner", "--format", format]);
        if format == "posix" {
            tar.args(["--xattrs", "--xattrs-include=*"]);
        }
        let tar = tar.args(["-cf", "-", "-C"]).arg(site.source()).arg(".").output().expect("tar starts");
        assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        let path = site.path().join("archive");
        fs::write(&path, pack(&tar.stdout, packed)).expect("an archive");
        let mut command = site.command(["restore", "--privileged", "--to", "target", "--archive"]);
        let ran: Ran = command.arg(&path).output().expect("starts").into();
        ran.exits(0);
        let (before, after) = (picture(&site.source()), picture(&site.path().join("target")));
        if format == "gnu" {
            // the old format has whole seconds only, and no attributes
            assert!(before.keys().eq(after.keys()), "the same names");
        } else {
            site::tree::assert_same(&before, &after);
        }
    }
}

#[test]
fn what_is_no_archive_is_told_and_not_taken_for_an_empty_one() {
    let arena = Arena::new();
    for (bytes, says) in
        [(&b""[..], "it is empty"), (b"hello, this is no archive", "archive"), (&[7; 2000], "not a tar archive")]
    {
        let ran = arena.restore(bytes, &[]).exits(4).says(says);
        assert!(ran.err.contains("do: "), "{}", ran.err);
    }
    arena.restore(&[0; 1024], &[]).exits(0);
}
