//! Archives that other programs made, read by us, by GNU tar and by libarchive (`bsdtar`).
//!
//! The two are the judges: what both read without a complaint we read as they do, member by member: name, type, mode,
//! owner, time, target, length, content. What they do not read we refuse, or read as they do. Never a panic. A judge that
//! is not installed is told as skipped, and so is the folder of archives (`BACKUP_CORPORA`, or `../shared/corpora`).
//!
//! The same archives, harmed at random, are read without a panic and without a member that cannot be. As a campaign:
//! `cargo test --test foreign -- --ignored --nocapture`, of `CAMPAIGN_SECONDS`, from `CAMPAIGN_SEED`.

#![expect(clippy::disallowed_methods, reason = "tests build their worlds by hand")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backup::archive::expand::{ExpandLimits, Expander};
use backup::archive::tar::{Member, MemberKind, TarError, TarLimits, TarReader};
use backup::archive::{Codec, FrameMaker};
use backup::domain::{Digest, Hasher};

/// Larger files, holes included, are compared without their content.
const CONTENT_BYTES_MAX: u64 = 64 << 20;

/// What both judges read and we do not, and why.
const REFUSED: &[(&str, &str)] = &[];

/// Where we read as GNU tar does, and libarchive does not.
const AS_GNU_ALONE: &[(&str, &str)] =
    &[("commons-compress/simple-aix-native-tar.tar", "libarchive takes a time that begins with a NUL for 0")];

/// One member, as any of the three see it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    name: Vec<u8>,
    /// As `ls` and GNU tar write it, `h` for a hard link.
    what: String,
    owner: String,
    /// `major,minor` of a device.
    size: String,
    mtime_nanos: i128,
    target: Vec<u8>,
    /// Of a file not too large.
    content: Option<Digest>,
    /// The judges do not tell.
    sparse: Option<bool>,
}

fn letters(member: &Member) -> String {
    let kind = match member.kind {
        MemberKind::File => '-',
        MemberKind::Folder => 'd',
        MemberKind::Symlink { .. } => 'l',
        MemberKind::HardLink { .. } => 'h',
        MemberKind::Fifo => 'p',
        MemberKind::CharDevice { .. } => 'c',
        MemberKind::BlockDevice { .. } => 'b',
    };
    let bit = |bit: u32, letter: char| if member.mode & bit != 0 { letter } else { '-' };
    let run = |run: u32, extra: u32, small: char, large: char| match (member.mode & extra != 0, member.mode & run != 0)
    {
        (false, false) => '-',
        (false, true) => 'x',
        (true, true) => small,
        (true, false) => large,
    };
    [
        kind,
        bit(0o400, 'r'),
        bit(0o200, 'w'),
        run(0o100, 0o4000, 's', 'S'),
        bit(0o040, 'r'),
        bit(0o020, 'w'),
        run(0o010, 0o2000, 's', 'S'),
        bit(0o004, 'r'),
        bit(0o002, 'w'),
        run(0o001, 0o1000, 't', 'T'),
    ]
    .into_iter()
    .collect()
}

/// The member's content with its holes, hashed; none if it is too large.
fn content(reader: &mut TarReader<&[u8]>, member: &Member) -> Result<Option<Digest>, TarError> {
    let mut stored = Vec::new();
    let mut part = [0; 4096];
    loop {
        match reader.read(&mut part)? {
            0 => break,
            len => stored.extend_from_slice(&part[..len]),
        }
    }
    if member.kind != MemberKind::File || member.size > CONTENT_BYTES_MAX {
        return Ok(None);
    }
    let mut hasher = Hasher::new();
    match &member.extents {
        None => hasher.update(&stored),
        Some(extents) => {
            let mut whole = vec![0; usize::try_from(member.size).expect("not too large")];
            let mut rest = &stored[..];
            for extent in extents {
                let (now, later) = rest.split_at(usize::try_from(extent.len).expect("not too large"));
                let at = usize::try_from(extent.offset).expect("not too large");
                whole[at..at + now.len()].copy_from_slice(now);
                rest = later;
            }
            hasher.update(&whole);
        }
    }
    Ok(Some(hasher.finish()))
}

/// What we see, up to an error.
fn ours(archive: &[u8]) -> (Vec<Seen>, Result<(), TarError>) {
    let mut reader = TarReader::new(archive, TarLimits::default());
    let mut all = Vec::new();
    let mut read = || -> Result<(), TarError> {
        while let Some(member) = reader.next_member()? {
            let content = content(&mut reader, &member)?;
            let (size, target) = match &member.kind {
                MemberKind::Symlink { target } | MemberKind::HardLink { target } => ("0".to_owned(), target.to_vec()),
                MemberKind::CharDevice { special } | MemberKind::BlockDevice { special } => {
                    (format!("{},{}", special.0, special.1), Vec::new())
                }
                _ => (member.size.to_string(), Vec::new()),
            };
            all.push(Seen {
                what: letters(&member),
                owner: format!("{}/{}", member.uid, member.gid),
                size,
                mtime_nanos: member.mtime.as_nanos(),
                target,
                content,
                sparse: Some(member.extents.is_some()),
                name: member.path.into(),
            });
        }
        Ok(())
    };
    let end = read();
    (all, end)
}

/// Runs a judge over the archive; its output if it is content, else what it complains of. None if it is not there.
fn judge(program: &str, arguments: &[&str], archive: &Path) -> Option<Result<Vec<u8>, String>> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(fs::File::open(archive).expect("the archive"))
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .ok()?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(if output.status.success() { Ok(output.stdout) } else { Err(complaint) })
}

/// A name in C's quotes, and what follows it.
fn unquote(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut rest = text.strip_prefix(b"\"").expect("a quoted name");
    let mut name = Vec::new();
    loop {
        let (first, behind) = rest.split_first().expect("a closing quote");
        rest = behind;
        match first {
            b'"' => return (name, rest),
            b'\\' => {
                let (letter, behind) = rest.split_first().expect("an escape");
                rest = behind;
                name.push(match letter {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'a' => 7,
                    b'b' => 8,
                    b'v' => 11,
                    b'f' => 12,
                    b'0'..=b'7' => {
                        let digits = [*letter, rest[0], rest[1]];
                        rest = &rest[2..];
                        let text = std::str::from_utf8(&digits).expect("digits");
                        u8::try_from(u32::from_str_radix(text, 8).expect("octal digits")).expect("a byte")
                    }
                    other => *other,
                });
            }
            other => name.push(*other),
        }
    }
}

/// What GNU tar sees.
fn gnu(archive: &Path) -> Option<Result<Vec<Seen>, String>> {
    let list = ["-tv", "--full-time", "--numeric-owner", "--quoting-style=c"];
    let listed = match judge("tar", &list, archive)? {
        Ok(listed) => listed,
        Err(complaint) => return Some(Err(complaint)),
    };
    let mut all = Vec::new();
    for line in listed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let quote = line.iter().position(|byte| *byte == b'"').expect("a quoted name");
        let head = std::str::from_utf8(&line[..quote]).expect("ASCII");
        let fields: Vec<&str> = head.split_whitespace().collect();
        let [what, owner, size, date, time] = fields[..] else { panic!("GNU tar lists {head:?}") };
        if what.starts_with(['V', 'M']) {
            continue;
        }
        let at: jiff::civil::DateTime = format!("{date}T{time}").parse().expect("a time");
        let at = at.to_zoned(jiff::tz::TimeZone::UTC).expect("a time").timestamp().as_nanosecond();
        // before 1970 it shows the second nearer to 1970, and behind it a fraction that counts away from there
        let fraction = at.rem_euclid(1_000_000_000);
        let at = if at < 0 { at - 2 * fraction } else { at };
        let (name, rest) = unquote(&line[quote..]);
        let target = rest.strip_prefix(b" -> ").or_else(|| rest.strip_prefix(b" link to "));
        all.push(Seen {
            name,
            what: what.replacen('C', "-", 1),
            owner: owner.to_owned(),
            // a folder's, if it has one, is of the list of what was in it
            size: if what.starts_with('d') { "0".to_owned() } else { size.to_owned() },
            mtime_nanos: at,
            target: target.map(|target| unquote(target).0).unwrap_or_default(),
            content: None,
            sparse: None,
        });
    }
    if all.iter().any(|seen| seen.what.starts_with('-') && seen.size.parse().unwrap_or(u64::MAX) > CONTENT_BYTES_MAX) {
        println!("  {}: content not compared with GNU tar, a file is too large", archive.display());
        return Some(Ok(all));
    }
    // in the same order, and for files alone
    match judge("tar", &["-x", "-P", "--to-command=sha256sum"], archive)? {
        Err(complaint) => Some(Err(complaint)),
        Ok(sums) => {
            let mut sums =
                String::from_utf8(sums).expect("digests").lines().map(digest).collect::<Vec<_>>().into_iter();
            for seen in all.iter_mut().filter(|seen| seen.what.starts_with('-')) {
                seen.content = sums.next();
            }
            assert!(sums.next().is_none(), "{}: GNU tar gives more files than it lists", archive.display());
            Some(Ok(all))
        }
    }
}

fn digest(line: &str) -> Digest {
    line.split_whitespace().next().expect("a digest").parse().expect("a digest")
}

/// Without `./` and slashes at the end.
fn plain(name: &[u8]) -> Vec<u8> {
    let parts = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}

/// Names, and what is told of each.
type Listed = BTreeMap<Vec<u8>, Vec<String>>;

/// The names that libarchive sees, with type, owner, time, and of files length and digest. Hard links are left out: its
/// list has them as empty files.
fn bsd(archive: &Path) -> Option<Result<Listed, String>> {
    let options = "--options=mtree:!all,mtree:type,mtree:size,mtree:uid,mtree:gid,mtree:time,mtree:sha256";
    let listed = match judge("bsdtar", &["-cf", "-", "--format=mtree", options, "@-"], archive)? {
        Ok(listed) => listed,
        Err(complaint) => return Some(Err(complaint)),
    };
    let mut all = BTreeMap::new();
    for line in listed.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b".")) {
        let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let quoted = line[..space].iter().flat_map(|byte| if *byte == b'"' { vec![b'\\', b'"'] } else { vec![*byte] });
        let quoted: Vec<u8> = std::iter::once(b'"').chain(quoted).chain([b'"']).collect();
        let words = std::str::from_utf8(&line[space..]).expect("ASCII");
        let word = |key: &str| words.split(' ').find_map(|word| word.strip_prefix(key)).unwrap_or("").to_owned();
        let kind = word("type=");
        let mut text = vec![format!("{}/{}", word("uid="), word("gid="))];
        let (seconds, nanos) = words.split_once("time=").and_then(|(_, at)| at.split_once('.')).expect("a time");
        let nanos = nanos.split(' ').next().unwrap_or("");
        text.push(time(seconds.parse().expect("seconds"), nanos.parse().expect("nanoseconds")));
        if kind == "file" {
            text.extend([word("size="), word("sha256digest=")]);
        }
        text.push(kind);
        all.insert(plain(&unquote(&quoted).0), text);
    }
    Some(Ok(all))
}

/// A time, but for fractions before 1970: libarchive counts them towards 1970, GNU tar and we away from it.
fn time(sec: i128, nsec: i128) -> String {
    if sec < 0 && nsec > 0 { "before 1970".to_owned() } else { format!("{sec}.{nsec}") }
}

/// Whether our member is as [`bsd`] tells it.
fn is_as_bsd_says(seen: &Seen, words: &[String]) -> bool {
    let kind = match &seen.what[..1] {
        "-" => "file",
        "d" => "dir",
        "l" => "link",
        "p" => "fifo",
        "c" => "char",
        _ => "block",
    };
    let at = time(seen.mtime_nanos.div_euclid(1_000_000_000), seen.mtime_nanos.rem_euclid(1_000_000_000));
    let [owner, theirs, rest @ .., their_kind] = words else { return false };
    let content = match rest {
        [size, sum] => {
            // of sparse files it hashes the data alone; of nothing it may write no digest
            let known = seen.content.filter(|_| seen.sparse == Some(false) && seen.size != "0");
            *size == seen.size && known.is_none_or(|known| known.to_string() == *sum)
        }
        _ => kind != "file",
    };
    *owner == seen.owner && *theirs == at && their_kind == kind && content
}

#[derive(Debug, Default)]
struct Tally {
    agreed: u32,
    refused: u32,
    skipped: u32,
    differ: Vec<String>,
}

/// Compares the three over one archive.
fn compare(name: &str, archive: &Path, tally: &mut Tally) {
    let bytes = fs::read(archive).expect("the archive");
    let (seen, end) = ours(&bytes);
    let (Some(gnu), Some(bsd)) = (gnu(archive), bsd(archive)) else {
        tally.skipped += 1;
        return println!("  SKIPPED {name}: GNU tar or bsdtar is not installed");
    };
    if let Err(error) = &end {
        let why = match &gnu {
            Err(complaint) => complaint.lines().next().unwrap_or("").to_owned(),
            Ok(_) => "it reads it".to_owned(),
        };
        println!("  refused {name}: {error} (GNU tar: {why})");
        tally.refused += 1;
        if gnu.is_ok() && bsd.is_ok() && !REFUSED.iter().any(|(known, _)| *known == name) {
            tally.differ.push(format!("{name}: both read it, and we do not: {error}"));
        }
        return;
    }
    if REFUSED.iter().any(|(known, _)| *known == name) {
        tally.differ.push(format!("{name}: it is read now; take it off the list"));
    }
    let before = tally.differ.len();
    match &gnu {
        Err(complaint) => println!("  {name}: read by us, not by GNU tar: {complaint}"),
        Ok(gnu) => {
            if seen.len() != gnu.len() {
                tally.differ.push(format!("{name}: {} members, GNU tar has {}", seen.len(), gnu.len()));
            }
            for (ours, theirs) in seen.iter().zip(gnu) {
                let mut ours = Seen { sparse: None, ..ours.clone() };
                if theirs.content.is_none() {
                    ours.content = None;
                }
                if ours != *theirs {
                    tally.differ.push(format!("{name}:\n   we  {ours:?}\n   GNU {theirs:?}"));
                }
            }
        }
    }
    match &bsd {
        _ if before == tally.differ.len() && AS_GNU_ALONE.iter().any(|(known, _)| *known == name) => {}
        Err(complaint) => println!("  {name}: read by us, not by bsdtar: {complaint}"),
        Ok(bsd) => {
            // the last of a name counts, as in its list
            let words: BTreeMap<_, _> = seen.iter().map(|seen| (plain(&seen.name), seen)).collect();
            for (path, ours) in words.iter().filter(|(path, _)| !path.is_empty()) {
                match bsd.get(path) {
                    None => tally.differ.push(format!("{name}: bsdtar has no {}", String::from_utf8_lossy(path))),
                    Some(theirs) if !ours.what.starts_with('h') && !is_as_bsd_says(ours, theirs) => {
                        tally.differ.push(format!("{name}:\n   we  {ours:?}\n   bsd {theirs:?}"));
                    }
                    Some(_) => {}
                }
            }
            for path in bsd.keys().filter(|path| !path.is_empty() && !words.contains_key(*path)) {
                tally.differ.push(format!("{name}: bsdtar alone has {}", String::from_utf8_lossy(path)));
            }
        }
    }
    if before == tally.differ.len() {
        tally.agreed += 1;
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("read a folder") {
        let path = entry.expect("read a folder").path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}

/// The folder of archives, if there is one.
fn corpora() -> Option<PathBuf> {
    let folder = std::env::var_os("BACKUP_CORPORA").map_or_else(|| PathBuf::from("../shared/corpora"), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: no folder of foreign archives at {}; name one in BACKUP_CORPORA", folder.display());
    None
}

#[test]
fn archives_of_other_programs_are_read_as_gnu_tar_and_libarchive_read_them() {
    let Some(folder) = corpora() else { return };
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let mut tally = Tally::default();
    for path in files(&folder) {
        let name = path.strip_prefix(&folder).expect("within").to_string_lossy().into_owned();
        match path.extension().and_then(|e| e.to_str()) {
            Some("tar") => compare(&name, &path, &mut tally),
            Some("gz" | "tgz") => {
                let plain = scratch.path().join("plain.tar");
                let mut bytes = Vec::new();
                let file = fs::File::open(&path).expect("the archive");
                let expander = Expander::new(file, ExpandLimits::default());
                match expander.and_then(|mut expander| expander.read_to_end(&mut bytes)) {
                    Ok(_) => {
                        fs::write(&plain, bytes).expect("write");
                        compare(&name, &plain, &mut tally);
                    }
                    Err(error) => tally.differ.push(format!("{name}: it is not expanded: {error}")),
                }
            }
            _ => {}
        }
    }
    println!(
        "agreed {}, refused {}, skipped {}, differ {}",
        tally.agreed,
        tally.refused,
        tally.skipped,
        tally.differ.len()
    );
    assert!(tally.differ.is_empty(), "\n{}", tally.differ.join("\n"));
    assert!(tally.agreed > 0 || tally.skipped > 0);
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> Option<bool> {
    let status = Command::new(program).args(arguments).current_dir(folder).stderr(Stdio::null()).status();
    status.ok().map(|status| status.success())
}

/// A tree that every format can hold.
fn simple_tree(root: &Path) {
    fs::create_dir_all(root.join("folder/empty")).expect("create");
    fs::write(root.join("folder/file"), b"hello").expect("write");
    fs::write(root.join("folder/nothing"), b"").expect("write");
    fs::write(root.join("block"), [b'x'; 512]).expect("write");
    fs::write(root.join("name with spaces"), [b'y'; 513]).expect("write");
    fs::hard_link(root.join("block"), root.join("hard")).expect("link");
    std::os::unix::fs::symlink("folder/file", root.join("soft")).expect("link");
}

/// What only some formats can hold.
fn awkward_tree(root: &Path) {
    simple_tree(root);
    let long = "n".repeat(200);
    let deep = root.join(&long).join(&long);
    fs::create_dir_all(&deep).expect("create");
    fs::write(deep.join(&long), b"deep").expect("write");
    fs::hard_link(deep.join(&long), root.join("hard to deep")).expect("link");
    std::os::unix::fs::symlink("t".repeat(300), root.join("long target")).expect("link");
    let strange = std::ffi::OsString::from_vec(b"line\nfeed \"quoted\" \\ \xc3\xa9".to_vec());
    fs::write(root.join(strange), b"strange").expect("write");
    fs::write(root.join("old"), b"old").expect("write");
    let before_1970 = std::time::UNIX_EPOCH - std::time::Duration::from_millis(86_400_500);
    let old = fs::File::options().write(true).open(root.join("old")).expect("open");
    old.set_modified(before_1970).expect("set the time");
    for (name, runs) in [("few holes", 2), ("many holes", 200)] {
        let file = fs::File::create(root.join(name)).expect("create");
        for run in 0..runs {
            file.write_all_at(&[b'd'; 4096], (2 * run + 1) * 65536).expect("write");
        }
        file.set_len(runs * 2 * 65536 + 100_000).expect("set the length");
    }
    let all_hole = fs::File::create(root.join("all hole")).expect("create");
    all_hole.set_len(1 << 20).expect("set the length");
}

#[test]
fn what_gnu_tar_and_libarchive_write_in_every_format_is_read() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let (simple, awkward) = (scratch.path().join("simple"), scratch.path().join("awkward"));
    simple_tree(&simple);
    awkward_tree(&awkward);
    let mut tally = Tally::default();
    let sparse = |version| ["--format=pax", "--sparse", version];
    let ways: [(&str, &[&str], &Path); 13] = [
        ("tar", &["--format=v7"], &simple),
        ("tar", &["--format=ustar"], &simple),
        ("tar", &["--format=oldgnu"], &awkward),
        ("tar", &["--format=gnu"], &awkward),
        ("tar", &["--format=gnu", "--sparse"], &awkward),
        ("tar", &["--format=gnu", "--listed-incremental=/dev/null", "--label=label"], &simple),
        ("tar", &["--format=pax", "--label=label"], &awkward),
        ("tar", &sparse("--sparse-version=0.0"), &awkward),
        ("tar", &sparse("--sparse-version=0.1"), &awkward),
        ("tar", &sparse("--sparse-version=1.0"), &awkward),
        ("bsdtar", &["--format=pax"], &awkward),
        ("bsdtar", &["--format=gnutar", "--no-read-sparse"], &awkward),
        ("bsdtar", &["--format=ustar"], &simple),
    ];
    for (at, (program, options, tree)) in ways.into_iter().enumerate() {
        let archive = scratch.path().join(format!("{at}.tar"));
        let target = archive.to_str().expect("UTF-8");
        let arguments = [&["-c", "-f", target], options, &["."]].concat();
        let name = format!("{program} {}", options.join(" "));
        match run(program, &arguments, tree) {
            None => {
                tally.skipped += 1;
                println!("  SKIPPED {name}: it is not installed");
            }
            // a format may not hold everything, and says so
            Some(_) => compare(&name, &archive, &mut tally),
        }
    }
    println!("agreed {}, refused {}, skipped {}", tally.agreed, tally.refused, tally.skipped);
    assert!(tally.differ.is_empty(), "\n{}", tally.differ.join("\n"));
    assert_eq!(tally.refused, 0);
}

/// Numbers that look random, the same for the same seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("64 bits") % bound.max(1)
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// Archives harmed at random; a compressed one now and then.
fn harmed(archives: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = archives[dice.below(archives.len())].clone();
    let mut right: Vec<bool> =
        bytes.chunks(512).map(|block| sum(block).is_some_and(|(told, sum)| told == sum)).collect();
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len());
        let (block, from) = (at / 512 * 512, dice.below(bytes.len()) / 512 * 512);
        match dice.below(9) {
            0 | 1 => bytes[at] ^= 1 << dice.below(8),
            2 => bytes[at] = dice.of(&[b"\0", b"=", b"\n", b" ", b"9", b"\xff"])[0],
            // the type, and the size
            3 if block + 512 <= bytes.len() => {
                bytes[block + 156] = b"0123456789gxXLKDSVMNAEIz\0"[dice.below(25)];
            }
            4 if block + 512 <= bytes.len() => {
                let size = dice.of(&[
                    &b"00000000000\0"[..],
                    b"00000000001\0",
                    b"00000001000\0",
                    b"77777777777\0",
                    b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                ]);
                bytes[block + 124..block + 136].copy_from_slice(size);
            }
            5 => {
                let other = &archives[dice.below(archives.len())];
                let from = dice.below(other.len()) / 512 * 512;
                let end = (from + 512 * (1 + dice.below(3))).min(other.len());
                bytes.splice(block..block, other[from..end].iter().copied());
            }
            6 => drop(bytes.drain(block.min(from)..block.max(from).min(block.min(from) + 1024))),
            7 => bytes.truncate(at),
            _ => {
                // digits of records and maps
                if let Some(digit) = bytes[at..].iter().position(u8::is_ascii_digit) {
                    bytes[at + digit] = b'0' + u8::try_from(dice.below(10)).expect("a digit");
                }
            }
        }
        if bytes.is_empty() {
            return bytes;
        }
    }
    if dice.below(4) > 0 {
        right.resize(bytes.len().div_ceil(512), true);
        for block in
            bytes.chunks_exact_mut(512).zip(right).filter(|(block, right)| *right || &block[257..262] == b"ustar")
        {
            if let Some((_, sum)) = sum(block.0) {
                block.0[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
    }
    if dice.below(8) == 0 {
        let mut stored = Vec::new();
        FrameMaker::new(if dice.below(2) == 0 { Codec::Zstd { level: 1 } } else { Codec::Gzip { level: 1 } })
            .make(&bytes, &mut stored);
        for _ in 0..dice.below(3) {
            let at = dice.below(stored.len());
            stored[at] ^= 1 << dice.below(8);
        }
        return stored;
    }
    bytes
}

/// The checksum that a block tells, and the one that it has.
fn sum(block: &[u8]) -> Option<(u32, u32)> {
    let told = std::str::from_utf8(block.get(148..156)?).ok()?.trim_matches(['\0', ' ']);
    let bytes = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) });
    Some((u32::from_str_radix(told, 8).unwrap_or(0), bytes.sum()))
}

/// Reads it all; what a member says must be possible. Whether it was read to its end.
fn read_possible(bytes: &[u8]) -> bool {
    let limits = ExpandLimits { output_bytes_max: 16 << 20, ..ExpandLimits::default() };
    let Ok(expander) = Expander::new(bytes, limits) else { return false };
    let mut reader = TarReader::new(expander, TarLimits::default());
    loop {
        match reader.next_member() {
            Err(_) => return false,
            Ok(None) => return reader.ended().is_some(),
            Ok(Some(member)) => {
                assert!(member.offset < member.body && member.body <= reader.offset());
                assert!(member.mode <= 0o7777 && member.mtime.nsec < 1_000_000_000);
                assert!(
                    member.kind == MemberKind::File || (member.size, member.stored, &member.extents) == (0, 0, &None)
                );
                match &member.extents {
                    None => assert_eq!(member.size, member.stored),
                    Some(extents) => {
                        let mut end = 0;
                        for extent in extents {
                            assert!(extent.offset >= end && extent.len > 0);
                            end = extent.offset + extent.len;
                        }
                        assert!(end <= member.size && member.stored == extents.iter().map(|e| e.len).sum::<u64>());
                    }
                }
                let mut part = [0; 1000];
                let mut read = 0;
                loop {
                    match reader.read(&mut part) {
                        Ok(0) => break assert_eq!(read, member.stored),
                        Ok(len) => read += len as u64,
                        Err(_) => return false,
                    }
                }
            }
        }
    }
}

fn small_archives(folder: &Path) -> Vec<Vec<u8>> {
    let small = |path: &PathBuf| path.metadata().is_ok_and(|meta| (512..40_000).contains(&meta.len()));
    files(folder).iter().filter(|path| small(path)).map(|path| fs::read(path).expect("the archive")).collect()
}

/// Reads harmed archives while `more` says so; how many, and how many of them were read to their end.
fn read_harmed(folder: &Path, seed: u64, mut more: impl FnMut(u64) -> bool) -> (u64, u64) {
    let archives = small_archives(folder);
    let mut dice = Dice(seed | 1);
    let (mut n, mut whole) = (0, 0);
    while more(n) {
        let bytes = harmed(&archives, &mut dice);
        let read = std::panic::catch_unwind(|| read_possible(&bytes));
        n += 1;
        match read {
            Ok(read) => whole += u64::from(read),
            Err(_) => panic!("archive {n} from seed {seed} panics"),
        }
    }
    (n, whole)
}

#[test]
fn harmed_archives_of_other_programs_do_not_panic_nor_give_members_that_cannot_be() {
    let Some(folder) = corpora() else { return };
    let (n, whole) = read_harmed(&folder, 0x9E37_79B9_7F4A_7C15, |n| n < 20_000);
    println!("n {n}, read to the end {whole}, panics 0");
}

#[test]
#[ignore = "a campaign: cargo test --test foreign -- --ignored --nocapture"]
fn a_campaign_of_harmed_archives() {
    let Some(folder) = corpora() else { return };
    let (seed, seconds) = campaign();
    let start = std::time::Instant::now();
    let (n, whole) = read_harmed(&folder, seed, |_| start.elapsed().as_secs() < seconds);
    println!("n {n}, read to the end {whole}, panics 0, seed {seed}");
}

/// A member that one program lists and another does not is how an attacker hides one (CVE-2025-62518).
#[test]
#[ignore = "a campaign: cargo test --test foreign -- --ignored --nocapture"]
fn a_campaign_of_harmed_archives_in_which_three_programs_see_the_same_names() {
    let Some(folder) = corpora() else { return };
    let (seed, seconds) = campaign();
    let start = std::time::Instant::now();
    let archives = small_archives(&folder);
    let mut dice = Dice(seed | 1);
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let path = scratch.path().join("harmed.tar");
    let (mut n, mut all_read, mut not_as_gnu, mut not_as_bsd) = (0, 0, 0, 0);
    while start.elapsed().as_secs() < seconds {
        let bytes = harmed(&archives, &mut dice);
        n += 1;
        let (seen, end) = ours(&bytes);
        // bsdtar's list is a tree: it has no names that climb, and none that are empty
        let climbs = |seen: &Seen| seen.name.split(|byte| *byte == b'/').any(|part| part == b"..");
        if end.is_err() || seen.iter().any(climbs) {
            continue;
        }
        fs::write(&path, &bytes).expect("write");
        let Some(Ok(listed)) = judge("tar", &["-tv", "--quoting-style=c"], &path) else { continue };
        let Some(Ok(bsd)) = bsd(&path) else { continue };
        all_read += 1;
        let gnu: Vec<Vec<u8>> = listed
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty() && !line.starts_with(b"V") && !line.starts_with(b"M"))
            .map(|line| unquote(&line[line.iter().position(|byte| *byte == b'"').expect("a name")..]).0)
            .collect();
        let names: Vec<Vec<u8>> = seen.iter().map(|seen| seen.name.clone()).collect();
        let set = |all: &mut dyn Iterator<Item = &Vec<u8>>| -> BTreeSet<Vec<u8>> {
            all.map(|name| plain(name)).filter(|name| !name.is_empty()).collect()
        };
        let (as_gnu, as_bsd) = (names == gnu, set(&mut names.iter()) == set(&mut bsd.keys()));
        not_as_gnu += u32::from(!as_gnu);
        not_as_bsd += u32::from(!as_bsd);
        if !as_gnu || !as_bsd {
            let text = |all: &mut dyn Iterator<Item = &Vec<u8>>| -> Vec<String> {
                all.map(|name| name.escape_ascii().to_string()).collect()
            };
            let (we, gnu, bsd) = (text(&mut names.iter()), text(&mut gnu.iter()), text(&mut bsd.keys()));
            println!("archive {n}:\n  we  {we:?}\n  GNU {gnu:?}\n  bsd {bsd:?}");
        }
    }
    println!("n {n}, read by all three {all_read}, not as GNU {not_as_gnu}, not as bsdtar {not_as_bsd}, seed {seed}");
    // libarchive takes the rest of another volume's file for a file, and its tree drops what is below a link or FIFO
    assert_eq!(not_as_gnu, 0);
}

/// Seed and seconds.
fn campaign() -> (u64, u64) {
    let set = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let nanos = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| u64::from(since.subsec_nanos()));
    let (seed, seconds) = (set("CAMPAIGN_SEED").unwrap_or_else(nanos), set("CAMPAIGN_SECONDS").unwrap_or(60));
    println!("seed {seed}, {seconds} s");
    (seed, seconds)
}
