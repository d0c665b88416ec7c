//! What our writer makes comes back; what an enemy makes is refused; nothing panics.
//!
//! Headers that our writer never makes are put together by hand here ([`Block`]), because no program makes them.
//! Archives of other programs are read in `tests/foreign.rs`.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{EndMarker, Ended, Fault, Member, MemberKind, TarError, TarLimits, TarReader};
use crate::archive::{END_MARKER, SparseMap, TarHeader, TarKind, pad};
use crate::domain::{EntryPath, Extent, FileTime, Owner, Xattr, Xattrs};

/// A header block made by hand.
#[derive(Clone)]
struct Block([u8; 512]);

impl Block {
    fn new(name: &str, flag: u8, size: u64) -> Self {
        let mut block = Self([0; 512]);
        block.put(0, name.as_bytes());
        block.put(100, b"0000644\0");
        block.put(124, format!("{size:011o}\0").as_bytes());
        block.put(156, &[flag]);
        block.put(257, b"ustar\x0000");
        block
    }

    fn gnu(name: &str, flag: u8, size: u64) -> Self {
        let mut block = Self::new(name, flag, size);
        block.put(257, b"ustar  \0");
        block
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// With its checksum, and a body behind it.
    fn with(&self, body: &[u8]) -> Vec<u8> {
        let mut block = self.clone();
        block.put(148, b"        ");
        let sum: u32 = block.0.iter().map(|byte| u32::from(*byte)).sum();
        block.put(148, format!("{sum:06o}\0 ").as_bytes());
        let mut bytes = block.0.to_vec();
        bytes.extend_from_slice(body);
        pad(&mut bytes, body.len() as u64);
        bytes
    }
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let len = (rest..).find(|len| *len == rest + len.to_string().len()).expect("some length");
    [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
}

fn records(all: &[(&str, &str)]) -> Vec<u8> {
    all.iter().flat_map(|(key, value)| record(key, value.as_bytes())).collect()
}

fn pax(all: &[(&str, &str)]) -> Vec<u8> {
    let text = records(all);
    Block::new("PaxHeaders/x", b'x', text.len() as u64).with(&text)
}

fn file(name: &str, body: &[u8]) -> Vec<u8> {
    Block::new(name, b'0', body.len() as u64).with(body)
}

type Read = (Vec<(Member, Vec<u8>)>, Ended);

/// All members with their bytes.
fn read_all(archive: &[u8]) -> Result<Read, TarError> {
    let mut reader = TarReader::new(archive, TarLimits::default());
    let mut members = Vec::new();
    while let Some(member) = reader.next_member()? {
        let mut body = Vec::new();
        let mut part = [0; 700];
        loop {
            match reader.read(&mut part)? {
                0 => break,
                len => body.extend_from_slice(&part[..len]),
            }
        }
        assert_eq!(body.len() as u64, member.stored);
        members.push((member, body));
    }
    assert!(reader.next_member().expect("it stays at its end").is_none());
    Ok((members, reader.ended().expect("it ended")))
}

fn names(archive: &[u8]) -> Vec<String> {
    let (members, _) = read_all(archive).expect("it is read");
    members.iter().map(|(member, _)| String::from_utf8_lossy(&member.path).into_owned()).collect()
}

/// Where it is refused, and why.
fn refusal(archive: &[u8]) -> (u64, Fault) {
    match read_all(archive) {
        Err(TarError::Damaged { at, fault }) => (at, fault),
        Err(TarError::Input(error)) => panic!("the input failed: {error}"),
        Ok((members, _)) => panic!("it was read: {members:?}"),
    }
}

#[derive(Clone, Debug)]
enum Made {
    File(Vec<u8>),
    Sparse(u64, Vec<Extent>),
    Folder,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    Fifo,
    Char(u32, u32),
    Block(u32, u32),
}

#[derive(Clone, Debug)]
struct Entry {
    path: Vec<u8>,
    made: Made,
    mode: u32,
    uid: u32,
    gid: u32,
    user: Option<String>,
    group: Option<String>,
    mtime: FileTime,
    xattrs: Vec<Xattr>,
}

fn any_component() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[a-z]{1,12}".prop_map(String::into_bytes),
        2 => "[ -.0-~]{1,150}".prop_map(String::into_bytes),
        2 => "\\PC{1,20}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 1..200),
    ]
    .prop_filter("a component", |c| !c.contains(&b'/') && !c.contains(&0) && c != b"." && c != b".." && c.len() < 256)
}

fn any_path() -> impl Strategy<Value = Vec<u8>> {
    vec(any_component(), 1..6).prop_map(|parts| parts.join(&b'/'))
}

fn any_time() -> impl Strategy<Value = FileTime> {
    let sec = prop_oneof![Just(0), any::<i64>(), any::<u32>().prop_map(i64::from), any::<i32>().prop_map(i64::from)];
    (sec, prop_oneof![Just(0), 0..1_000_000_000u32]).prop_map(|(sec, nsec)| FileTime { sec, nsec })
}

fn any_made() -> impl Strategy<Value = Made> {
    let target = || vec(1..=u8::MAX, 1..300);
    prop_oneof![
        4 => vec(any::<u8>(), 0..2000).prop_map(Made::File),
        3 => (any::<u32>(), vec((1..5000u64, 1..3000u64), 0..60)).prop_map(|(tail, runs)| {
            let mut end = 0;
            let extents: Vec<Extent> = runs
                .into_iter()
                .map(|(gap, len)| {
                    let offset = end + gap;
                    end = offset + len;
                    Extent { offset, len }
                })
                .collect();
            Made::Sparse(end + u64::from(tail), extents)
        }),
        1 => Just(Made::Folder),
        2 => target().prop_map(Made::Symlink),
        2 => any_path().prop_map(Made::HardLink),
        1 => Just(Made::Fifo),
        1 => (0..0o7_777_777u32, 0..0o7_777_777u32).prop_map(|(a, b)| Made::Char(a, b)),
        1 => (0..0o7_777_777u32, 0..0o7_777_777u32).prop_map(|(a, b)| Made::Block(a, b)),
    ]
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let id = || prop_oneof![0..2000u32, any::<u32>()];
    let owner = || prop_oneof![Just(None), "[a-z]{1,8}".prop_map(Some), "\\PC{1,60}".prop_map(Some)];
    let xattr = (vec(1..=u8::MAX, 1..40), vec(any::<u8>(), 0..300))
        .prop_map(|(name, value)| Xattr { name: name.into(), value: value.into() });
    (any_path(), any_made(), 0..0o10000u32, id(), id(), owner(), owner(), any_time(), vec(xattr, 0..4)).prop_map(
        |(path, made, mode, uid, gid, user, group, mtime, xattrs)| {
            let mut entry = Entry { path, made, mode, uid, gid, user, group, mtime, xattrs };
            entry.xattrs.sort();
            entry.xattrs.dedup_by(|a, b| a.name == b.name);
            entry
        },
    )
}

impl Entry {
    /// The entry as our writer stores it, with a body, and the member that should come back.
    fn write(&self, out: &mut Vec<u8>) -> (Member, Vec<u8>) {
        let path = EntryPath::parse(&self.path).expect("a path");
        let owner = Owner { user: self.user.as_deref().map(Into::into), group: self.group.as_deref().map(Into::into) };
        let xattrs = Xattrs::new(self.xattrs.clone());
        let sparse = if let Made::Sparse(size, extents) = &self.made { SparseMap::new(*size, extents) } else { None };
        let first = if let Made::HardLink(target) = &self.made { EntryPath::parse(target).ok() } else { None };
        let mut body = Vec::new();
        let (kind, back) = match &self.made {
            Made::File(bytes) => {
                body.clone_from(bytes);
                (TarKind::File { size: bytes.len() as u64 }, MemberKind::File)
            }
            Made::Sparse(..) => match &sparse {
                Some(map) => {
                    let data = map.body_len() - map.text().len() as u64;
                    body = (0..data).map(|at| (at % 251) as u8).collect();
                    (TarKind::Sparse { map }, MemberKind::File)
                }
                None => (TarKind::File { size: 0 }, MemberKind::File),
            },
            Made::Folder => (TarKind::Folder, MemberKind::Folder),
            Made::Symlink(target) => (TarKind::Symlink { target }, MemberKind::Symlink { target: target[..].into() }),
            Made::HardLink(target) => (
                TarKind::HardLink { first: first.as_ref().expect("a path") },
                MemberKind::HardLink { target: target[..].into() },
            ),
            Made::Fifo => (TarKind::Fifo, MemberKind::Fifo),
            Made::Char(a, b) => {
                (TarKind::CharDevice { special: (*a, *b) }, MemberKind::CharDevice { special: (*a, *b) })
            }
            Made::Block(a, b) => {
                (TarKind::BlockDevice { special: (*a, *b) }, MemberKind::BlockDevice { special: (*a, *b) })
            }
        };
        let header = TarHeader {
            path: &path,
            kind,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            owner: &owner,
            mtime: self.mtime,
            xattrs: &xattrs,
        };
        let offset = out.len() as u64;
        header.encode(out);
        let begin = out.len() as u64;
        let map = sparse.as_ref().map(|map| map.text()).unwrap_or_default();
        out.extend_from_slice(map);
        out.extend_from_slice(&body);
        pad(out, (map.len() + body.len()) as u64);
        let mut name = self.path.clone();
        if back == MemberKind::Folder {
            name.push(b'/');
        }
        let text = |text: &Option<String>| text.as_deref().unwrap_or("").as_bytes().into();
        let member = Member {
            path: name.into(),
            kind: back,
            mode: self.mode,
            uid: u64::from(self.uid),
            gid: u64::from(self.gid),
            user: text(&self.user),
            group: text(&self.group),
            mtime: self.mtime,
            size: sparse.as_ref().map_or(body.len() as u64, SparseMap::real_size),
            stored: body.len() as u64,
            extents: sparse.as_ref().map(|map| map.extents().iter().filter(|run| run.len > 0).copied().collect()),
            map: map.into(),
            xattrs,
            acls_left_out: false,
            offset,
            body: begin,
        };
        (member, body)
    }
}

/// Archives of our own, with a few bytes changed, a piece cut out or doubled, and their checksums made right again
/// or not.
fn any_harmed() -> impl Strategy<Value = Vec<u8>> {
    let change =
        (any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0), b'0'..=b'9', Just(b'='), Just(b'\n')]);
    (vec(any_entry(), 1..4), vec(change, 0..6), any::<[prop::sample::Index; 2]>(), 0..4u8, any::<bool>()).prop_map(
        |(entries, changes, cut, how, mend)| {
            let mut bytes = Vec::new();
            for entry in &entries {
                entry.write(&mut bytes);
            }
            for (at, to) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *to;
            }
            let (from, to) = (cut[0].index(bytes.len()), cut[1].index(bytes.len()));
            let (from, to) = (from.min(to), from.max(to));
            match how {
                0 => bytes.truncate(to),
                1 => drop(bytes.drain(from / 512 * 512..to / 512 * 512)),
                2 => bytes.extend_from_within(from / 512 * 512..to / 512 * 512),
                _ => {}
            }
            if mend {
                for block in bytes.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
                    let whole = Block(block.try_into().expect("a block")).with(b"");
                    block.copy_from_slice(&whole);
                }
            }
            bytes.extend_from_slice(&END_MARKER);
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 256 }))]

    #[test]
    fn whatever_our_writer_writes_comes_back(entries in vec(any_entry(), 0..6)) {
        let mut archive = Vec::new();
        let told: Vec<_> = entries.iter().map(|entry| entry.write(&mut archive)).collect();
        archive.extend_from_slice(&END_MARKER);
        let (members, ended) = read_all(&archive).expect("it is read");
        prop_assert_eq!(members, told);
        prop_assert_eq!(ended, Ended { marker: EndMarker::TwoBlocks, data_after: None });
    }

    #[test]
    fn harmed_archives_end_in_an_error_or_in_members(archive in any_harmed()) {
        let _ = read_all(&archive);
    }

    #[test]
    fn any_bytes_end_in_an_error_or_in_members(bytes in vec(any::<u8>(), 0..3000)) {
        let _ = read_all(&bytes);
    }

    #[test]
    fn any_records_end_in_an_error_or_in_members(text in "([0-9]{1,3} (size|path|GNU.sparse.(map|major|numbytes|offset)|mtime|LIBARCHIVE.xattr.a)=[0-9.,-]{0,9}\n){0,4}") {
        let header = Block::new("x", b'x', text.len() as u64).with(text.as_bytes());
        let _ = read_all(&[header, file("a", b"hello")].concat());
    }
}

#[test]
fn a_body_may_be_left_unread() {
    let archive = [file("a", &[7; 5000]), file("b", b""), file("c", b"see"), END_MARKER.to_vec()].concat();
    let mut reader = TarReader::new(&archive[..], TarLimits::default());
    let a = reader.next_member().expect("sound").expect("a");
    assert_eq!((a.offset, a.body, a.stored), (0, 512, 5000));
    assert_eq!(reader.read(&mut [0; 100]).expect("sound"), 100);
    assert_eq!(&*reader.next_member().expect("sound").expect("b").path, b"b");
    let c = reader.next_member().expect("sound").expect("c");
    assert_eq!((c.offset, reader.offset()), (512 + 5120 + 512, 512 + 5120 + 512 + 512));
}

#[test]
fn it_is_told_how_a_stream_ended() {
    let ended = |tail: &[u8]| read_all(&[file("a", b"hello"), tail.to_vec()].concat()).expect("it is read").1;
    let zeros = [0; 4096];
    assert_eq!(ended(b""), Ended { marker: EndMarker::None, data_after: None });
    assert_eq!(ended(&zeros[..512]), Ended { marker: EndMarker::OneBlock, data_after: None });
    assert_eq!(ended(&zeros[..700]), Ended { marker: EndMarker::OneBlock, data_after: None });
    assert_eq!(ended(&zeros), Ended { marker: EndMarker::TwoBlocks, data_after: None });
    let more = [&zeros[..1536], &file("hidden", b"")].concat();
    assert_eq!(ended(&more), Ended { marker: EndMarker::TwoBlocks, data_after: Some(1024 + 1536) });
    assert_eq!(ended(&more[1024..]), Ended { marker: EndMarker::OneBlock, data_after: Some(1024 + 512) });
    assert_eq!(read_all(b"").expect("nothing at all").1.marker, EndMarker::None);
}

#[test]
fn an_archive_that_is_cut_is_refused_wherever_it_is_cut() {
    let archive = [pax(&[("path", "long")]), file("a", &[1; 1000])].concat();
    for len in 1..archive.len() {
        let (_, fault) = refusal(&archive[..len]);
        let expected = match len {
            0..512 => Fault::NotTar,
            1024 => Fault::Dangling,
            _ => Fault::Truncated,
        };
        assert_eq!(fault, expected, "cut at {len}");
    }
}

/// CVE-2025-62518, CVE-2026-33055: the body of a member whose pax size is larger than its block's held further
/// headers, which one reader passed over and another believed.
#[test]
fn a_pax_size_counts_for_the_length_of_the_body_whatever_the_block_says() {
    let hidden = file("hidden", b"");
    for block_size in [0, 1, 1 << 30] {
        let mut archive = pax(&[("size", "512")]);
        archive.extend(Block::new("outer", b'0', block_size).with(&hidden));
        archive.extend(file("after", b""));
        assert_eq!(names(&archive), ["outer", "after"], "block says {block_size}");
    }
    // and the other way round
    let archive = [pax(&[("size", "0")]), Block::new("outer", b'0', 512).with(b""), hidden].concat();
    assert_eq!(names(&archive), ["outer", "hidden"]);
    // a size for a header that is not the member's own
    let long = Block::gnu("././@LongLink", b'L', 4).with(b"abc\0");
    assert_eq!(refusal(&[pax(&[("size", "512")]), long, file("a", b"")].concat()), (1024, Fault::Contradiction));
}

#[test]
fn links_folders_and_devices_with_a_body_are_refused() {
    for flag in *b"123456" {
        assert_eq!(refusal(&Block::new("a", flag, 1).with(b"x")), (0, Fault::BodyOfNoFile { flag }));
        let by_pax = [pax(&[("size", "1")]), Block::new("a", flag, 0).with(b"x")].concat();
        assert_eq!(refusal(&by_pax), (1024, Fault::BodyOfNoFile { flag }));
    }
}

#[test]
fn metadata_beyond_the_limit_is_refused_before_it_is_read() {
    let max = TarLimits::default().metadata_bytes_max;
    for flag in *b"xgLKX" {
        for size in [max + 1, 0o77_777_777_777] {
            assert_eq!(refusal(&Block::new("a", flag, size).with(b"")), (0, Fault::MetadataTooLong { max }));
        }
        assert_eq!(refusal(&Block::new("a", flag, max).with(b"")), (0, Fault::Truncated), "just within");
    }
    // long name, long link and pax header count together
    let half = vec![b'n'; max as usize / 2 + 1];
    let long = |flag| Block::gnu("././@LongLink", flag, half.len() as u64).with(&half);
    let second = long(b'L').len() as u64;
    assert_eq!(refusal(&[long(b'L'), long(b'K')].concat()), (second, Fault::MetadataTooLong { max }));
}

#[test]
fn malformed_records_are_refused() {
    for text in [
        "nonsense",
        "0 path=a\n",
        "1 path=a\n",
        "8 path=a\n",
        "11 path=a\n",
        "9 path=ab",
        "99999999999999999999 path=a\n",
        "999999999999999999999999999 path=a\n",
        " 9 path=a\n",
        "-9 path=a\n",
        "+9 path=a\n",
        "5 =a\n",
        "7 path\n",
        "9 path=a\n\0\0",
        "10 pat\0=a\n",
    ] {
        let header = Block::new("x", b'x', text.len() as u64).with(text.as_bytes());
        let (at, fault) = refusal(&[header, file("a", b"")].concat());
        let expected = [Fault::Record, Fault::Value { key: "path" }];
        assert!(at == 0 && expected.contains(&fault), "{text:?}: {fault}");
    }
}

#[test]
fn values_that_cannot_be_are_refused() {
    for (key, value) in [
        ("size", "-1"),
        ("size", ""),
        ("size", "1 "),
        ("size", "0x10"),
        ("size", "9223372036854775808"),
        ("size", "99999999999999999999999"),
        ("path", ""),
        ("linkpath", ""),
        ("uid", "-1"),
        ("gid", "a"),
        ("mtime", "1e9"),
        ("GNU.sparse.major", "1.0"),
    ] {
        assert_eq!(
            refusal(&[pax(&[(key, value)]), file("a", b"")].concat()),
            (0, Fault::Value { key }),
            "{key}={value}"
        );
    }
    for key in ["path", "linkpath", "uname", "gname", "GNU.sparse.name"] {
        assert_eq!(refusal(&[pax(&[(key, "a\0b")]), file("a", b"")].concat()), (0, Fault::NulInName), "{key}");
    }
    let long = Block::gnu("././@LongLink", b'L', 4).with(b"a\0b\0");
    assert_eq!(refusal(&[long, file("a", b"")].concat()), (0, Fault::NulInName));
}

#[test]
fn extended_headers_stand_alone_before_their_entry() {
    let one = pax(&[("path", "one")]);
    let long = |flag, name: &[u8]| Block::gnu("././@LongLink", flag, name.len() as u64).with(name);
    let entry = || file("short", b"");
    assert_eq!(refusal(&[one.clone(), one.clone(), entry()].concat()), (1024, Fault::Stacked { flag: b'x' }));
    assert_eq!(refusal(&[long(b'L', b"a\0"), long(b'L', b"a\0")].concat()), (1024, Fault::Stacked { flag: b'L' }));
    assert_eq!(refusal(&[long(b'K', b"a\0"), long(b'K', b"a\0")].concat()), (1024, Fault::Stacked { flag: b'K' }));
    assert_eq!(refusal(&one), (1024, Fault::Dangling));
    assert_eq!(refusal(&[one.clone(), END_MARKER.to_vec()].concat()), (1024, Fault::Dangling));
    let global = Block::new("g", b'g', 0).with(b"");
    assert_eq!(refusal(&[one.clone(), global, entry()].concat()), (1024, Fault::Dangling));
    assert_eq!(refusal(&[long(b'L', b"two\0"), one.clone(), entry()].concat()), (2048, Fault::Contradiction));
    // commons-compress writes long names as GNU and large numbers as pax
    assert_eq!(names(&[long(b'L', b"one\0"), one, entry()].concat()), ["one"]);
    assert_eq!(names(&[long(b'L', b"two\0\0\0"), pax(&[("uid", "5")]), entry()].concat()), ["two"]);
}

#[test]
fn the_later_record_counts_but_a_size_is_said_once() {
    assert_eq!(names(&[pax(&[("path", "a"), ("path", "b")]), file("c", b"")].concat()), ["b"]);
    let twice = |a, b| [pax(&[("size", a), ("size", b)]), file("c", b"hello")].concat();
    assert_eq!(refusal(&twice("5", "0")), (0, Fault::SaidTwice { key: "size" }));
    assert_eq!(names(&twice("5", "5")), ["c"]);
}

#[test]
fn a_global_header_counts_until_it_is_overridden_and_says_nothing_of_names_or_sizes() {
    let global = |all: &[(&str, &str)]| {
        let text = records(all);
        Block::new("g", b'g', text.len() as u64).with(&text)
    };
    let archive = [
        global(&[("comment", "x"), ("uid", "7"), ("uname", "seven"), ("mtime", "1.5")]),
        file("a", b""),
        pax(&[("uid", "8"), ("uname", "")]),
        file("b", b""),
        global(&[("uid", "9"), ("mtime", "")]),
        file("c", b""),
    ]
    .concat();
    let (members, _) = read_all(&archive).expect("it is read");
    let told: Vec<_> = members
        .iter()
        .map(|(m, _)| (m.uid, String::from_utf8_lossy(&m.user).into_owned(), m.mtime.as_nanos()))
        .collect();
    let seven = || "seven".to_owned();
    assert_eq!(told, [(7, seven(), 1_500_000_000), (8, String::new(), 1_500_000_000), (9, seven(), 0)]);
    for key in ["path", "linkpath", "size"] {
        assert_eq!(refusal(&[global(&[(key, "1")]), file("a", b"")].concat()), (0, Fault::Global { key }));
    }
    assert_eq!(refusal(&global(&[("GNU.sparse.size", "1")])), (0, Fault::Global { key: "GNU.sparse." }));
    assert_eq!(refusal(&global(&[("uname", &"n".repeat(1025))])), (0, Fault::OwnerTooLong { max: 1024 }));
}

#[test]
fn numbers_in_the_block_are_checked() {
    let with = |at: usize, bytes: &[u8]| {
        let mut block = Block::gnu("a", b'0', 0);
        block.put(at, bytes);
        block.with(b"")
    };
    let number = |field| (0, Fault::Number { field });
    assert_eq!(refusal(&with(124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")), number("size"));
    assert_eq!(refusal(&with(124, b"\x80\0\0\0\xff\0\0\0\0\0\0\0")), number("size"));
    assert_eq!(refusal(&with(124, b"0000000000x\0")), number("size"));
    assert_eq!(refusal(&with(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")).1, Fault::Truncated, "no overflow");
    assert_eq!(refusal(&with(100, b"rw-r--r-")), number("mode"));
    assert_eq!(refusal(&with(108, b"\xff\0\0\0\0\0\0\0")), number("uid"));
    let (members, _) = read_all(&with(108, b"\xff\xff\xff\xff\xff\xff\xff\xfe")).expect("nobody");
    assert_eq!(members[0].0.uid, 4_294_967_294);
    let (members, _) = read_all(&with(136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe")).expect("before 1970");
    assert_eq!(members[0].0.mtime, FileTime { sec: -2, nsec: 0 });
    let (members, _) = read_all(&with(136, &[b"\x00", &b"0000000007 "[..]].concat())).expect("AIX' links");
    assert_eq!(members[0].0.mtime, FileTime { sec: 7, nsec: 0 });
    let mut device = Block::new("a", b'3', 0);
    device.put(329, b"\x80\0\0\x01\0\0\0\0");
    assert_eq!(refusal(&device.with(b"")), number("devmajor"));
}

#[test]
fn names_are_put_together_as_their_dialect_does() {
    let mut block = Block::new("name", b'0', 0);
    block.put(345, b"prefix");
    assert_eq!(names(&block.with(b"")), ["prefix/name"]);
    block.put(257, b"ustar  \0");
    assert_eq!(names(&block.with(b"")), ["name"], "GNU has other things there");
    block.put(257, b"\0\0\0\0\0\0\0\0");
    assert_eq!(names(&block.with(b"")), ["name"], "v7");
    let mut star = Block::new("name", b'0', 0);
    star.put(345, &[b'p'; 131]).put(476, b"00000000000 00000000000 ").put(508, b"tar\0");
    assert_eq!(names(&star.with(b"")), [format!("{}/name", "p".repeat(131))]);
    // all of the field, without a NUL
    let full = "n".repeat(100);
    let mut block = Block::new(&full, b'0', 0);
    block.put(345, &[b'p'; 155]);
    assert_eq!(names(&block.with(b"")), [format!("{}/{full}", "p".repeat(155))]);
}

#[test]
fn names_are_not_made_harmless_here() {
    for name in ["../x", "/abs", "a//b", "", "./", "a\nb"] {
        assert_eq!(names(&Block::new(name, b'5', 0).with(b"")), [name]);
        assert_eq!(names(&[pax(&[("path", "../../x")]), file(name, b"")].concat()), ["../../x"]);
    }
}

#[test]
fn old_ways_to_say_what_a_member_is_are_understood() {
    let kinds = |archive: &[u8]| -> Vec<MemberKind> {
        read_all(archive).expect("it is read").0.into_iter().map(|(member, _)| member.kind).collect()
    };
    for flag in [0, b'0', b'7', b'q', b'Z'] {
        assert_eq!(kinds(&Block::new("a", flag, 3).with(b"abc")), [MemberKind::File], "type {flag}");
        let folder = [Block::new("a/", flag, 3).with(b"abc"), file("b", b"")].concat();
        assert_eq!(kinds(&folder), [MemberKind::Folder, MemberKind::File], "a slash at its end says it");
    }
    let dump = [Block::gnu("a/", b'D', 7).with(b"Yfile\0\0"), file("b", b"")].concat();
    assert_eq!(kinds(&dump), [MemberKind::Folder, MemberKind::File]);
    let label =
        [Block::gnu("label", b'V', 0).with(b""), Block::gnu("rest", b'M', 4).with(b"rest"), file("b", b"")].concat();
    assert_eq!(names(&label), ["b"]);
    for flag in *b"AEINS" {
        assert_eq!(refusal(&Block::new("a", flag, 0).with(b"")), (0, Fault::Type { flag }));
    }
}

#[test]
fn bytes_that_are_no_header_are_told_from_a_damaged_one() {
    assert_eq!(refusal(&[b'x'; 1024]), (0, Fault::NotTar));
    assert_eq!(refusal(b"\x1f\x8b\x08"), (0, Fault::NotTar));
    let mut archive = [file("a", b""), file("b", b"")].concat();
    archive[513] ^= 1;
    assert_eq!(refusal(&archive), (512, Fault::Checksum));
}

#[test]
fn a_reader_does_not_go_on_after_an_error() {
    let archive = [Block::new("a", b'5', 3).with(b"abc"), file("b", b"")].concat();
    let mut reader = TarReader::new(&archive[..], TarLimits::default());
    reader.next_member().expect_err("a folder with a body");
    let again = reader.next_member().expect_err("no further");
    assert!(matches!(again, TarError::Damaged { fault: Fault::AfterError, .. }), "{again}");
    assert!(reader.ended().is_none());
}

#[test]
fn a_failing_input_is_told_apart_from_a_damaged_archive() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let good = file("a", b"hello");
    for len in [0, 100, 512, 515] {
        let mut reader = TarReader::new(std::io::Read::chain(&good[..len], Broken), TarLimits::default());
        let error = loop {
            match reader.next_member().and_then(|_| reader.read(&mut [0; 9])) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, TarError::Input(_)), "after {len}: {error}");
    }
}

#[test]
fn attributes_of_both_programs_are_read_and_acls_told() {
    let header = pax(&[
        ("LIBARCHIVE.xattr.user.a", "bGlicw"),
        ("LIBARCHIVE.xattr.user.%62", "bGlicw"),
        ("SCHILY.xattr.user.a", "first"),
        ("SCHILY.xattr.user.a", "star=1"),
        ("SCHILY.xattr.user.x%3Dy", ""),
        ("SCHILY.acl.access", "user::rwx"),
    ]);
    let (members, _) = read_all(&[header, file("a", b"")].concat()).expect("it is read");
    let member = &members[0].0;
    let told: Vec<(&[u8], &[u8])> = member.xattrs.iter().map(|x| (&*x.name, &*x.value)).collect();
    assert_eq!(told, [(&b"user.a"[..], &b"star=1"[..]), (b"user.b", b"libs"), (b"user.x=y", b"")]);
    assert!(member.acls_left_out);
}

/// A member of every sparse format, of a file of 4096 bytes with data at 512 (512 bytes) and 2048 (100 bytes).
fn sparse_in_all_formats() -> Vec<(&'static str, Vec<u8>)> {
    let data = [vec![b'a'; 512], vec![b'b'; 100]].concat();
    let v00 = [
        ("GNU.sparse.size", "4096"),
        ("GNU.sparse.numblocks", "2"),
        ("GNU.sparse.offset", "512"),
        ("GNU.sparse.numbytes", "512"),
        ("GNU.sparse.offset", "2048"),
        ("GNU.sparse.numbytes", "100"),
    ];
    let v01 = [
        ("GNU.sparse.size", "4096"),
        ("GNU.sparse.numblocks", "2"),
        ("GNU.sparse.name", "a"),
        ("GNU.sparse.map", "512,512,2048,100"),
    ];
    let v10 = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "a"),
        ("GNU.sparse.realsize", "4096"),
    ];
    let mut map = b"2\n512\n512\n2048\n100\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(&data);
    let mut old = Block::gnu("a", b'S', 612);
    let pair = |offset: u64, len: u64| format!("{offset:011o}\0{len:011o}\0").into_bytes();
    old.put(386, &pair(512, 512)).put(410, &pair(2048, 100)).put(483, b"00000010000\0");
    // the same in blocks behind the header
    let mut long = old.clone();
    let empties: Vec<Vec<u8>> = (0..3).map(|_| pair(512, 0)).collect();
    long.put(386, &empties.concat()).put(458, &pair(512, 512)).put(482, &[1]);
    let mut more = pair(2048, 100);
    more.resize(512, 0);
    vec![
        ("0.0", [pax(&v00), file("a", &data)].concat()),
        ("0.1", [pax(&v01), file("a.", &data)].concat()),
        ("1.0", [pax(&v10), file("a.", &map)].concat()),
        ("old GNU", old.with(&data)),
        ("old GNU with an extension", [long.with(b""), more, file("", &data)[512..].to_vec()].concat()),
    ]
}

#[test]
fn sparse_files_of_every_format_are_read() {
    for (format, mut archive) in sparse_in_all_formats() {
        archive.extend(file("after", b""));
        let (members, _) = read_all(&archive).unwrap_or_else(|error| panic!("{format}: {error}"));
        let (member, body) = &members[0];
        assert_eq!((&*member.path, &member.kind), (&b"a"[..], &MemberKind::File), "{format}");
        assert_eq!((member.size, member.stored, body.len()), (4096, 612, 612), "{format}");
        let runs = [Extent { offset: 512, len: 512 }, Extent { offset: 2048, len: 100 }];
        assert_eq!(member.extents.as_deref(), Some(&runs[..]), "{format}");
        assert_eq!(body[..512], [b'a'; 512], "{format}");
        assert_eq!(members.len(), 2, "{format}");
        for len in (1..archive.len() - 1024).step_by(97) {
            read_all(&archive[..len]).expect_err("a part of it");
        }
    }
}

#[test]
fn maps_that_lie_are_refused() {
    let why = |archive: &[u8]| match refusal(archive) {
        (_, Fault::Map { why }) => why,
        other => panic!("{other:?}"),
    };
    let v01 = |map: &str, size: &str, body: usize| {
        why(&[pax(&[("GNU.sparse.size", size), ("GNU.sparse.map", map)]), file("a", &vec![1; body])].concat())
    };
    assert_eq!(v01("512,512,0,512", "4096", 1024), "its runs are not in order");
    assert_eq!(v01("0,1024,512,512", "4096", 1536), "its runs are not in order");
    assert_eq!(v01("0,512,511,512", "4096", 1024), "its runs are not in order");
    assert_eq!(v01("3997,100", "4096", 100), "it reaches beyond the end of the file");
    assert_eq!(v01("0,512", "4096", 1024), "it is not of as many bytes as are stored");
    assert_eq!(v01("0,1024", "4096", 512), "it is not of as many bytes as are stored");
    assert_eq!(v01("0,100,512,100", "4096", 200), "a run that is not the last ends within a block");
    assert_eq!(
        v01("0,9223372036854775807,9223372036854775807,9223372036854775807", "4096", 0),
        "a run that is not the last ends within a block"
    );
    assert_eq!(v01("9223372036854775807,512", "9223372036854775807", 512), "it reaches beyond the end of the file");
    assert_eq!(v01("0", "4096", 0), "a run has no length");
    let with = |all: &[(&str, &str)]| why(&[pax(all), file("a", b"")].concat());
    assert_eq!(with(&[("GNU.sparse.size", "9")]), "a length, and no map");
    assert_eq!(with(&[("SCHILY.realsize", "9")]), "star's format is not read");
    assert_eq!(with(&[("SUN.holesdata", " 0 9 ")]), "Solaris' format is not read");
    assert_eq!(with(&[("GNU.sparse.numblocks", "0")]), "the file's length is not told");
    assert_eq!(
        with(&[("GNU.sparse.numblocks", "7"), ("GNU.sparse.size", "9")]),
        "it does not have as many runs as it says"
    );
    assert_eq!(with(&[("GNU.sparse.offset", "7"), ("GNU.sparse.offset", "9")]), "a run has no length");
    assert_eq!(with(&[("GNU.sparse.offset", "7")]), "a run has no length");
    assert_eq!(with(&[("GNU.sparse.numbytes", "7")]), "a run has no offset");
    assert_eq!(with(&[("GNU.sparse.major", "2")]), "a format that we do not know");
    assert_eq!(with(&[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "1")]), "a format that we do not know");
    assert_eq!(with(&[("GNU.sparse.major", "1"), ("GNU.sparse.map", "")]), "it is there twice");
    assert_eq!(with(&[("GNU.sparse.major", "1")]), "it is cut", "no body, so no map");
    let v10 = [("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "4096")];
    let text = |map: &[u8]| {
        let mut body = map.to_vec();
        pad(&mut body, map.len() as u64);
        why(&[pax(&v10), file("a", &body)].concat())
    };
    assert_eq!(text(b"-1\n"), "it is no text");
    assert_eq!(text(b"\n"), "it is no text");
    assert_eq!(text(b"x"), "it is no text");
    assert_eq!(text(b"99999999999999999999\n"), "it is no text");
    assert_eq!(text(&[b'1'; 600]), "it is no text");
    assert_eq!(text(b"9223372036854775807\n1\n1\n"), "it is no text", "zeros where a number should be");
    let link =
        [pax(&[("GNU.sparse.numblocks", "0"), ("GNU.sparse.size", "0")]), Block::new("a", b'2', 0).with(b"")].concat();
    assert_eq!(why(&link), "it is not of a file");
}

/// CVE-2025-58183: a map without end, read into memory.
#[test]
fn a_map_without_end_is_refused_within_its_limit() {
    let limits = TarLimits { map_bytes_max: 4096, ..TarLimits::default() };
    let too_long = |archive: Vec<u8>| {
        let mut reader = TarReader::new(std::io::Read::chain(&archive[..], Endless), limits);
        let error = reader.next_member().expect_err("an endless map");
        assert!(matches!(error, TarError::Damaged { fault: Fault::MapTooLong { max: 4096 }, .. }), "{error}");
        assert!(reader.offset() <= archive.len() as u64 + 4096, "{}", reader.offset());
    };
    let mut v10 = pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "4096")]);
    v10.extend(Block::new("a", b'0', 1 << 32).with(&[&b"9999999\n"[..], &b"1\n".repeat(252)].concat()));
    too_long(v10);
    let pair = [&[b'0'; 11][..], &[0]].concat().repeat(2);
    let mut old = Block::gnu("a", b'S', 0);
    old.put(386, &pair.repeat(4)).put(482, &[1]);
    let mut more = pair.repeat(21);
    more.resize(512, 1);
    too_long([old.with(b""), more.repeat(8)].concat());
}

/// `1`, line feed, for ever.
struct Endless;

impl std::io::Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        // blocks are asked for whole
        into.chunks_mut(2).for_each(|pair| pair.copy_from_slice(&b"1\n"[..pair.len()]));
        Ok(into.len())
    }
}
