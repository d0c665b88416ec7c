//! Trees: what is in a folder, as a value that can be compared, and trees made to be awkward.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Everything that must come back, by path. Sockets are left out: they are never stored.
pub fn picture(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    let mut inodes = HashMap::new();
    visit(root, root, &mut found, &mut inodes);
    found
}

fn visit(root: &Path, path: &Path, found: &mut BTreeMap<Vec<u8>, String>, inodes: &mut HashMap<u64, Vec<u8>>) {
    let meta = fs::symlink_metadata(path).expect("an entry");
    let kind = meta.file_type();
    if kind.is_socket() {
        return;
    }
    let relative = path.strip_prefix(root).expect("below the root").as_os_str().as_bytes().to_vec();
    let mut text = format!("mode {:o} uid {} gid {}", meta.mode(), meta.uid(), meta.gid());
    write!(text, " mtime {}.{:09}", meta.mtime(), meta.mtime_nsec()).expect("text");
    if kind.is_symlink() {
        write!(text, " -> {:?}", fs::read_link(path).expect("a link")).expect("text");
    }
    if kind.is_char_device() || kind.is_block_device() {
        write!(text, " device {:x}", meta.rdev()).expect("text");
    }
    if kind.is_file() {
        write!(text, " size {}", meta.size()).expect("text");
        if meta.nlink() > 1 {
            let first = inodes.entry(meta.ino()).or_insert_with(|| relative.clone());
            write!(text, " links {} first {}", meta.nlink(), first.escape_ascii()).expect("text");
        }
        // a huge file is mostly hole: its allocation is compared, its content by the parts that have data
        if meta.size() <= 64 << 20 {
            write!(text, " {:x?}", Sha256::digest(fs::read(path).expect("a file"))).expect("text");
        }
        if meta.size() >= 1 << 20 {
            write!(text, " sparse {}", meta.blocks() * 512 < meta.size() / 2).expect("text");
        }
    }
    for (name, value) in xattrs(path) {
        write!(text, " {}={}", name.escape_ascii(), value.escape_ascii()).expect("text");
    }
    found.insert(relative, text);
    if kind.is_dir() {
        let mut names: Vec<_> =
            fs::read_dir(path).expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
        names.sort();
        for name in names {
            visit(root, &path.join(name), found, inodes);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let Ok(len) = rustix::fs::llistxattr(path, &mut names[..]) else { return BTreeMap::new() };
    names[..len]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let len = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).expect("an attribute");
            value.truncate(len);
            (name.to_vec(), value)
        })
        .collect()
}

/// Fails with the paths that differ.
#[track_caller]
pub fn assert_same(before: &BTreeMap<Vec<u8>, String>, after: &BTreeMap<Vec<u8>, String>) {
    let mut differences = String::new();
    let paths: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for path in paths {
        if before.get(path) != after.get(path) {
            let absent = "not there".to_owned();
            let show = |side: &BTreeMap<Vec<u8>, String>| {
                let text = side.get(path).unwrap_or(&absent);
                text.chars().take(400).collect::<String>()
            };
            writeln!(differences, "{}\n  was {}\n  is  {}", path.escape_ascii(), show(before), show(after))
                .expect("text");
        }
    }
    assert!(differences.is_empty(), "the trees differ:\n{differences}");
}

/// Sets a time that may lie before 1970 or beyond 2038.
pub fn set_mtime(path: &Path, sec: i64, nsec: u32) {
    let time = rustix::fs::Timespec { tv_sec: sec, tv_nsec: i64::from(nsec) };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).expect("a time");
}

/// Bytes that do not shrink, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// Every kind of entry, odd names, odd numbers, holes, links, attributes. What needs root is left out without it.
pub fn awkward(root: &Path) {
    let write = |name: &[u8], content: &[u8]| fs::write(root.join(OsStr::from_bytes(name)), content).expect("a file");
    for name in [
        &b"plain"[..],
        b"not\xffutf8",
        "gr\u{fc}n\u{1f600}".as_bytes(),
        b"-rf",
        b"new\nline",
        b"\x1b[2Jescape",
        b" spaces ",
    ] {
        write(name, name);
    }
    let every_byte: Vec<u8> = (1..=255).filter(|b| *b != b'/').collect();
    for half in every_byte.chunks(128) {
        write(half, b"every byte");
    }
    for len in [99, 100, 101, 155, 156, 255] {
        write(&vec![b'n'; len], b"long");
        write(&[vec![b'u'; len - 1], b"\xfe".to_vec()].concat(), b"long and not UTF-8");
    }
    let mut deep = root.to_path_buf();
    for _ in 0..12 {
        deep.push("d".repeat(30));
        fs::create_dir(&deep).expect("a folder");
    }
    fs::write(deep.join("bottom"), "bottom").expect("a file");
    std::os::unix::fs::symlink("plain", root.join("link")).expect("a link");
    std::os::unix::fs::symlink("x".repeat(300), root.join("long link")).expect("a link");
    std::os::unix::fs::symlink(OsStr::from_bytes(b"/not\xff/there"), root.join("dangling")).expect("a link");
    fs::create_dir(root.join("z")).expect("a folder");
    write(b"hard1", &noise(1, 3000));
    fs::hard_link(root.join("hard1"), root.join("hard2")).expect("a link");
    fs::hard_link(root.join("hard1"), root.join("z/hard3")).expect("a link");
    write(b"large hard", &noise(2, (1 << 20) + 5));
    fs::hard_link(root.join("large hard"), root.join("z/large hard")).expect("a link");
    for size in [0, 1, 511, 512, 513, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 511, 3 << 20] {
        write(format!("size {size}").as_bytes(), &noise(size as u64, size));
    }
    write(b"text", &b"all work and no play\n".repeat(200_000));
    sparse(&root.join("sparse"), 1 << 40, &[(1 << 30, 4096), ((1 << 40) - 4096, 4096)]);
    sparse(&root.join("sparse small"), 600_000, &[(100_000, 5000)]);
    sparse(&root.join("only a hole"), 5 << 20, &[]);
    sparse(&root.join("hole at the end"), 3 << 20, &[(0, 1 << 20)]);
    rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), rustix::fs::FileType::Fifo, 0o640.into(), 0)
        .expect("a FIFO");
    std::os::unix::net::UnixListener::bind(root.join("socket")).expect("a socket");
    for (number, (sec, nsec)) in
        [(-1, 500_000_000), (-2_147_483_648, 0), (8_589_934_592, 1), (0, 0), (1, 999_999_999)].into_iter().enumerate()
    {
        let name = format!("time {number}");
        write(name.as_bytes(), b"time");
        set_mtime(&root.join(name), sec, nsec);
    }
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(root.join(path), name, value, rustix::fs::XattrFlags::empty()).is_ok()
    };
    if !(set("plain", "user.a=b%c", b"any\0bytes\n\xff") && set("z", "user.folder", &[b'v'; 2000])) {
        eprintln!("SKIPPED: this file system has no extended attributes");
    }
    if rustix::process::geteuid().is_root() {
        use rustix::fs::{CWD, FileType, mknodat};
        mknodat(CWD, root.join("char"), FileType::CharacterDevice, 0o600.into(), rustix::fs::makedev(1, 3))
            .expect("a device");
        mknodat(CWD, root.join("block"), FileType::BlockDevice, 0o600.into(), rustix::fs::makedev(259, 300))
            .expect("a device");
        write(b"owned", b"owned");
        std::os::unix::fs::chown(root.join("owned"), Some(u32::MAX - 1), Some(2_097_152)).expect("an owner");
        // a POSIX ACL and a file capability, as the kernel stores them
        let acl = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x06\0\x21\0\0\0\x04\0\x04\0\xff\xff\xff\xff\x10\0\x06\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";
        set("text", "system.posix_acl_access", acl);
        set("hard1", "security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        write(b"setuid", b"setuid");
        fs::set_permissions(root.join("setuid"), fs::Permissions::from_mode(0o6755)).expect("a mode");
    }
    fs::set_permissions(root.join("z"), fs::Permissions::from_mode(0o1777)).expect("a mode");
    set_mtime(&root.join("z"), 1_000_000_000, 123_456_789);
    set_mtime(&root.join("link"), 1_000_000_001, 5);
    set_mtime(root, 1_100_000_000, 987_654_321);
}

/// A file of `size` with data only at these places.
pub fn sparse(path: &Path, size: u64, data: &[(u64, usize)]) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::create(path).expect("a file");
    file.set_len(size).expect("a length");
    for (offset, len) in data {
        file.write_all_at(&noise(*offset + 7, *len), *offset).expect("data");
    }
}
