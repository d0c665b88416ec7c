//! Snapshots: what a run makes, as other programs see it.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

mod site;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use site::tree::{assert_same, awkward, noise, picture, sparse};
use site::{Site, has, is_root, names_in};

#[test]
fn an_awkward_tree_comes_back_from_plain_tar_in_every_detail() {
    let site = Site::new();
    awkward(&site.source());
    let before = picture(&site.source());
    for codec in ["zstd", "gzip", "none"] {
        site.run(&["--compression", codec]).exits(0).says("1 sockets");
        assert_same(&before, &picture(&site.untar()));
    }
    assert_same(&before, &picture(&site.source()));
    site.on_store(&["verify", "--all"]).exits(0);
}

/// What a generated tree holds.
#[derive(Clone, Debug)]
enum Made {
    Folder,
    File { size: usize, text: bool },
    Sparse { size: u64, at: u64, len: usize },
    Link(Vec<u8>),
    Hard,
    Fifo,
}

fn any_made() -> impl Strategy<Value = Made> {
    // sizes around every block and frame boundary, and any other
    let around = prop::sample::select(vec![0, 512, 1024, 16 << 10, 32 << 10, (1 << 20) - 1536, 1 << 20, 2 << 20]);
    let size =
        prop_oneof![(around, -2i64..3).prop_map(|(size, by)| usize::try_from(size + by).unwrap_or(0)), 0usize..3000];
    prop_oneof![
        3 => Just(Made::Folder),
        6 => (size, any::<bool>()).prop_map(|(size, text)| Made::File { size, text }),
        1 => (1u64..1 << 42, any::<u64>(), 1usize..9000)
            .prop_map(|(size, at, len)| Made::Sparse { size, at: at % size, len }),
        2 => prop::collection::vec(1u8..=255, 1..200).prop_map(Made::Link),
        2 => Just(Made::Hard),
        1 => Just(Made::Fifo),
    ]
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no separator", |b| *b != 0 && *b != b'/');
    prop_oneof![
        "[a-c]{1,2}".prop_map(String::into_bytes),
        prop::collection::vec(byte.clone(), 1..20),
        prop::collection::vec(byte, 90..255),
    ]
    .prop_filter("a name", |name| name != b"." && name != b"..")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 50, ..ProptestConfig::default() })]
    #[test]
    fn any_tree_comes_back_from_plain_tar_and_from_restore(
        entries in prop::collection::vec(
            (any_name(), any_made(), 0u32..0o1000, -2_000_000_000i64..15_000_000_000, 0u32..1_000_000_000, any::<usize>()),
            1..25,
        ),
        codec in prop::sample::select(vec!["zstd", "gzip", "none", "zstd:19", "gzip:12"]),
        threads in prop::sample::select(vec!["1", "2", "5"]),
    ) {
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::fs::PermissionsExt;
        let site = Site::new();
        let mut folders = vec![site.source()];
        let mut files = Vec::new();
        let mut made = Vec::new();
        for (name, kind, mode, sec, nsec, pick) in entries {
            let path = folders[pick % folders.len()].join(std::ffi::OsStr::from_bytes(&name));
            if fs::symlink_metadata(&path).is_ok() {
                continue;
            }
            match kind {
                Made::Folder => {
                    fs::create_dir(&path).expect("a folder");
                    folders.push(path.clone());
                }
                Made::File { size, text } => {
                    let content = if text { vec![b'a' + (size % 7) as u8; size] } else { noise(size as u64, size) };
                    fs::write(&path, content).expect("a file");
                    files.push(path.clone());
                }
                Made::Sparse { size, at, len } => sparse(&path, size.max(at + len as u64), &[(at, len)]),
                Made::Link(target) => {
                    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(&target), &path).expect("a link");
                }
                Made::Hard if files.is_empty() => continue,
                Made::Hard => fs::hard_link(&files[pick % files.len()], &path).expect("a link"),
                Made::Fifo => {
                    let (cwd, kind) = (rustix::fs::CWD, rustix::fs::FileType::Fifo);
                    rustix::fs::mknodat(cwd, &path, kind, 0o600.into(), 0).expect("a FIFO");
                }
            }
            made.push((path, mode, sec, nsec));
        }
        // an ordinary user must be able to read all of it, and to enter its folders
        for (path, mode, sec, nsec) in made.into_iter().rev() {
            if !path.is_symlink() {
                let least = if path.is_dir() { 0o700 } else { 0o600 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode | least)).expect("a mode");
            }
            site::tree::set_mtime(&path, sec, nsec);
        }
        let before = picture(&site.source());
        let ran = site.run(&["--compression", codec, "--threads", threads]);
        if before.len() == 1 {
            ran.exits(1);
        } else {
            ran.exits(0);
            assert_same(&before, &picture(&site.untar()));
            site.on_store(&["verify"]).exits(0);
            let to = site.path().join("restored");
            let to_text = to.to_str().expect("UTF-8");
            site.on_store(&["restore", "--privileged", "--threads", threads, "--to", to_text]).exits(0);
            assert_same(&before, &picture(&to));
        }
    }
}

#[test]
fn an_independent_script_agrees_with_every_line_of_the_manifest_and_every_frame() {
    if !(has("python3", "the independent script") && has("zstd", "the independent script")) {
        return;
    }
    let site = Site::new();
    awkward(&site.source());
    for codec in ["zstd", "gzip", "none"] {
        site.run(&["--compression", codec]).exits(0);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_snapshot.py");
        let check = |folder: &Path| Command::new("python3").arg(&script).arg(folder).output().expect("python3 starts");
        let done = check(&site.newest());
        assert!(done.status.success(), "{codec}: {}", String::from_utf8_lossy(&done.stdout));
        // the script can fail: one flipped bit in the middle of the volume
        let mut bytes = fs::read(site.volume()).expect("a volume");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(site.volume(), bytes).expect("a volume");
        assert!(!check(&site.newest()).status.success(), "{codec}: a flipped bit");
        fs::remove_dir_all(site.newest()).expect("removed");
    }
}

#[test]
fn other_readers_see_the_same_files() {
    let site = Site::new();
    for number in 0..300 {
        site.file(&format!("folder {}/file {number}", number % 7), noise(number, (number * 97) as usize));
    }
    site.file("large", noise(9, 5 << 20)).file("text", "a line of text\n".repeat(300_000));
    let before = contents(&site.source());
    site.run(&["--compression", "gzip"]).exits(0);
    let gzip = site.volume();
    let gzip = gzip.to_str().expect("a plain path");
    site.run(&["--compression", "zstd"]).exits(0);
    let zstd = site.volume();
    let zstd = zstd.to_str().expect("a plain path");
    let python = "import sys,tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])";
    let readers: Vec<(&str, Vec<String>)> = vec![
        ("tar", vec!["tar".into(), "-xf".into(), zstd.into(), "-C".into()]),
        ("tar", vec!["tar".into(), "-xzf".into(), gzip.into(), "-C".into()]),
        ("bsdtar", vec!["bsdtar".into(), "-xf".into(), zstd.into(), "-C".into()]),
        ("bsdtar", vec!["bsdtar".into(), "-xf".into(), gzip.into(), "-C".into()]),
        ("busybox", vec!["busybox".into(), "tar".into(), "-xzf".into(), gzip.into(), "-C".into()]),
        ("python3", vec!["python3".into(), "-c".into(), python.into(), gzip.into()]),
    ];
    for (tool, arguments) in readers {
        if !has(tool, "reading a volume with it")
            || (arguments.contains(&zstd.to_owned()) && !has("zstd", "reading a zstd volume"))
        {
            continue;
        }
        let to = tempfile::tempdir_in(site.path()).expect("a folder");
        let done = Command::new(&arguments[0]).args(&arguments[1..]).arg(to.path()).output().expect("it starts");
        assert!(done.status.success(), "{tool}: {}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(contents(to.path()), before, "{arguments:?}");
    }
    for (tool, file) in [("zstd", zstd), ("gzip", gzip), ("pigz", gzip)] {
        if has(tool, "testing a volume with it") {
            let done = Command::new(tool).args(["-t", file]).output().expect("it starts");
            assert!(done.status.success(), "{tool}: {}", String::from_utf8_lossy(&done.stderr));
        }
    }
}

/// Names and contents only.
fn contents(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for name in names_in(&folder) {
            let path = folder.join(name);
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
                found.push((name, fs::read(path).expect("a file")));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_commands_of_restore_txt_give_the_tree_back() {
    if !is_root("RESTORE.txt restores owners and attributes") {
        return;
    }
    let site = Site::new();
    awkward(&site.source());
    for codec in ["zstd", "gzip", "none"] {
        if codec == "zstd" && !has("zstd", "the commands of a zstd snapshot") {
            continue;
        }
        site.run(&["--compression", codec]).exits(0);
        let text = fs::read_to_string(site.newest().join("RESTORE.txt")).expect("RESTORE.txt");
        let to = site.path().join(format!("restored by {codec}"));
        let script: String = text
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .map(|line| line.replace("TO=/path/to/an/empty/folder", &format!("TO='{}'", to.display())) + "\n")
            .collect();
        assert!(script.contains("sha256sum -c") && script.contains("tar "), "commands are indented:\n{text}");
        let done =
            Command::new("sh").args(["-e", "-c", &script]).current_dir(site.newest()).output().expect("sh starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_same(&picture(&site.source()), &picture(&to));
    }
}

#[test]
fn equal_input_gives_equal_volumes_for_any_number_of_threads() {
    let site = Site::new();
    awkward(&site.source());
    for number in 0..400 {
        site.file(&format!("many/{}/{number}", number % 13), noise(number, (number * 131) as usize));
    }
    let mut volumes = Vec::new();
    for threads in ["1", "2", "3", "8"] {
        site.run(&["--threads", threads]).exits(0);
        volumes.push(fs::read(site.volume()).expect("a volume"));
    }
    assert!(volumes.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn another_program_finds_its_way_by_the_seek_table() {
    let site = Site::new();
    site.file("a large file", noise(5, 6 << 20)).file("text", "words ".repeat(500_000));
    site.run(&[]).exits(0);
    let raw = fs::read(site.volume()).map(std::io::Cursor::new).expect("a volume");
    let mut decoder = zeekstd::Decoder::new(raw).expect("a seek table");
    let mut whole = Vec::new();
    std::io::Read::read_to_end(&mut decoder, &mut whole).expect("decodes");
    let at = whole.len() as u64 - 3_000_000;
    decoder.set_offset(at).expect("an offset");
    let mut tail = Vec::new();
    std::io::Read::read_to_end(&mut decoder, &mut tail).expect("decodes");
    assert_eq!(tail, whole[at as usize..]);
}

#[test]
fn several_sources_lie_under_their_full_paths() {
    let site = Site::new();
    let (one, other) = (site.path().join("one/data"), site.path().join("other"));
    for folder in [&one, &other] {
        fs::create_dir_all(folder).expect("a folder");
        fs::write(folder.join("file"), folder.to_str().expect("plain")).expect("a file");
    }
    let mut command = site.command(["run", "--job", "upload"]);
    for folder in [&other, &one] {
        command.arg("--source").arg(folder);
    }
    let ran: site::Ran = command.arg("--to").arg(site.store()).output().expect("it starts").into();
    ran.exits(0);
    let back = site.untar();
    for folder in [&one, &other] {
        let relative = folder.strip_prefix("/").expect("absolute");
        assert_eq!(
            fs::read_to_string(back.join(relative).join("file")).expect("a file"),
            folder.to_str().expect("plain")
        );
    }
}

#[test]
fn what_is_excluded_is_left_out_and_counted() {
    let site = Site::new();
    site.file("keep", "k").file("a.tmp", "t").file("deep/b.tmp", "t").file("cache/x", "c").file("cache/keep", "c");
    site.file("tagged/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n").file("tagged/big", "b");
    site.configure("exclude: ['*.tmp', 'cache/**'], exclude_caches: true, exclude_if_present: .no");
    site.file("secret/.no", "").file("secret/file", "s");
    site.backup(["init", "--store", "nas", "--config", "backup.yaml"]).exits(6).says("does not exist");
    fs::create_dir(site.store()).expect("a folder");
    site.backup(["init", "--config", "backup.yaml"]).exits(0);
    let ran = site.backup(["run", "--config", "backup.yaml", "--json"]).exits(0);
    assert_eq!(ran.json()["totals"]["excluded"], 7);
    let back = contents(&site.untar());
    let names: Vec<&str> = back.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["keep", "tagged/CACHEDIR.TAG"]);
}

#[test]
fn sixty_thousand_names_of_one_file_stay_one_file() {
    let site = Site::new();
    site.file("first", noise(4, 10_000));
    for number in 0..59_999 {
        let folder = site.source().join(format!("{}", number / 1000));
        if number % 1000 == 0 {
            fs::create_dir(&folder).expect("a folder");
        }
        fs::hard_link(site.source().join("first"), folder.join(number.to_string())).expect("a link");
    }
    let ran = site.run(&["--json"]).exits(0);
    assert_eq!((&ran.json()["totals"]["files"], &ran.json()["totals"]["hard_links"]), (&1.into(), &59_999.into()));
    use std::os::unix::fs::MetadataExt;
    let back = site.untar();
    assert_eq!(fs::metadata(back.join("59/59998")).expect("a name").nlink(), 60_000);
}

#[test]
fn a_terabyte_of_hole_costs_next_to_nothing() {
    let site = Site::new();
    sparse(&site.source().join("disk.img"), 1 << 40, &[(1 << 35, 100_000)]);
    let ran = site.run(&["--json"]).exits(0);
    assert!(ran.json()["totals"]["stored_bytes"].as_u64().expect("a number") < 200_000);
    assert_same(&picture(&site.source()), &picture(&site.untar()));
}

#[test]
fn a_path_beyond_what_the_kernel_takes_at_once_is_stored() {
    let site = Site::new();
    let name = "p".repeat(200);
    // by handle: no call of the kernel takes such a path
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    let open = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = openat(CWD, site.source(), open, Mode::empty()).expect("a folder");
    for _ in 0..30 {
        mkdirat(&at, &name, Mode::RWXU).expect("a folder");
        at = openat(&at, &name, open, Mode::empty()).expect("a folder");
    }
    openat(&at, "bottom", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).expect("a file");
    site.run(&["--compression", "none"]).exits(0);
    let listed = Command::new("tar").arg("-tf").arg(site.volume()).stderr(Stdio::null()).output().expect("tar starts");
    let list = String::from_utf8(listed.stdout).expect("UTF-8");
    let longest = list.lines().map(str::len).max().expect("a line");
    assert_eq!(longest, 30 * 201 + "bottom".len());
    let removed = Command::new("rm").arg("-rf").arg(site.source()).status();
    assert!(removed.expect("rm starts").success());
}
