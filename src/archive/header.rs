//! Tar headers: ustar blocks, with pax records where ustar cannot say it (POSIX.1-2001, pax interchange format).
//!
//! The danger here is a reader that understands less than we do. So the ustar block says as much as it can even
//! where a pax record says it exactly (numbers beyond octal are also written in base 256, as GNU, BSD, busybox and
//! Python read them), and pax records are written only when they are needed. The layout is specified in `FORMAT.md`.
//!
//! No compression, no I/O; what is encoded here is decoded next door, in `tar`, which shares no code with it.

use tar::{EntryType, Header};

use crate::domain::{EntryPath, Extent, FileTime, Owner, Xattrs};

/// The unit of a tar stream, in bytes.
pub const BLOCK: u64 = 512;

/// The end of a volume's tar stream: two blocks of zeros.
pub const END_MARKER: [u8; 1024] = [0; 1024];

const USTAR_NAME_MAX: usize = 100;
const USTAR_PREFIX_MAX: usize = 155;
const USTAR_OWNER_MAX: usize = 32;
/// The largest uid and gid that seven octal digits say.
const OCTAL_7_MAX: u32 = 0o7_777_777;
/// The largest size and time that eleven octal digits say: 8 GiB less one.
const OCTAL_11_MAX: u64 = 0o77_777_777_777;

/// What the header says the entry is.
#[derive(Clone, Copy, Debug)]
pub enum TarKind<'a> {
    /// A regular file whose body of `size` bytes follows.
    File {
        /// Bytes that follow.
        size: u64,
    },
    /// A regular file with holes; map and data follow (GNU sparse format 1.0).
    Sparse {
        /// Where its data lies.
        map: &'a SparseMap,
    },
    /// A folder.
    Folder,
    /// A symlink.
    Symlink {
        /// Where it points, any bytes.
        target: &'a [u8],
    },
    /// A further name of a file that came before in the same volume.
    HardLink {
        /// The name that came before.
        first: &'a EntryPath,
    },
    /// A FIFO.
    Fifo,
    /// A character device.
    CharDevice {
        /// Major, minor.
        special: (u32, u32),
    },
    /// A block device.
    BlockDevice {
        /// Major, minor.
        special: (u32, u32),
    },
}

/// Everything a header says.
#[derive(Clone, Copy, Debug)]
pub struct TarHeader<'a> {
    /// The entry's path.
    pub path: &'a EntryPath,
    /// What it is.
    pub kind: TarKind<'a>,
    /// 12 bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names of owner and group.
    pub owner: &'a Owner,
    /// Modification time.
    pub mtime: FileTime,
    /// Extended attributes.
    pub xattrs: &'a Xattrs,
}

impl TarHeader<'_> {
    /// Appends the header's blocks to `out`: a pax header if one is needed, then the ustar block. The length appended
    /// is a multiple of [`BLOCK`]. Equal values give equal bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let name = self.tar_name();
        let records = self.pax_records(&name);
        if !records.is_empty() {
            let mut pax_name = b"PaxHeaders/".to_vec();
            pax_name.extend(self.path.name().iter().take(USTAR_NAME_MAX - pax_name.len()));
            let mut header = Header::new_ustar();
            put_name(&mut header, &pax_name);
            header.set_entry_type(EntryType::XHeader);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(records.len() as u64);
            header.set_cksum();
            out.extend_from_slice(header.as_bytes());
            out.extend_from_slice(&records);
            pad(out, records.len() as u64);
        }
        out.extend_from_slice(self.ustar_block(&name).as_bytes());
    }

    /// The bytes of the body that follows, before padding to a block.
    pub fn body_len(&self) -> u64 {
        match self.kind {
            TarKind::File { size } => size,
            TarKind::Sparse { map } => map.body_len(),
            _ => 0,
        }
    }

    /// The name as tar writes it: `./` for the root, a trailing slash for folders.
    fn tar_name(&self) -> Vec<u8> {
        let mut name = if self.path.is_root() { b".".to_vec() } else { self.path.as_bytes().to_vec() };
        if matches!(self.kind, TarKind::Folder) {
            name.push(b'/');
        }
        name
    }

    fn ustar_block(&self, name: &[u8]) -> Header {
        let mut header = Header::new_ustar();
        let (kind, link, special): (_, &[u8], _) = match self.kind {
            TarKind::File { .. } | TarKind::Sparse { .. } => (EntryType::Regular, b"", None),
            TarKind::Folder => (EntryType::Directory, b"", None),
            TarKind::Symlink { target } => (EntryType::Symlink, target, None),
            TarKind::HardLink { first } => (EntryType::Link, first.as_bytes(), None),
            TarKind::Fifo => (EntryType::Fifo, b"", None),
            TarKind::CharDevice { special } => (EntryType::Char, b"", Some(special)),
            TarKind::BlockDevice { special } => (EntryType::Block, b"", Some(special)),
        };
        if let TarKind::Sparse { .. } = self.kind {
            // a reader that does not know sparse files shall not take the map for the file
            let mut placeholder = self.path.parent().map(|p| p.as_bytes().to_vec()).unwrap_or_default();
            if !placeholder.is_empty() {
                placeholder.push(b'/');
            }
            placeholder.extend_from_slice(b"GNUSparseFile.0/");
            placeholder.extend_from_slice(self.path.name());
            put_name(&mut header, &placeholder);
        } else {
            put_name(&mut header, name);
        }
        header.set_entry_type(kind);
        header.set_mode(self.mode);
        header.set_uid(u64::from(self.uid));
        header.set_gid(u64::from(self.gid));
        header.set_size(self.body_len());
        header.set_mtime(u64::try_from(self.mtime.sec).unwrap_or(0));
        let ustar = header.as_ustar_mut().expect("the header was made as ustar");
        put(&mut ustar.linkname, link);
        put(&mut ustar.uname, self.owner.user.as_deref().unwrap_or("").as_bytes());
        put(&mut ustar.gname, self.owner.group.as_deref().unwrap_or("").as_bytes());
        let (major, minor) = special.unwrap_or((0, 0));
        ustar.set_device_major(major);
        ustar.set_device_minor(minor);
        header.set_cksum();
        header
    }

    /// The pax records, sorted by keyword; empty if ustar says everything.
    fn pax_records(&self, name: &[u8]) -> Vec<u8> {
        let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut add = |key: &[u8], value: &[u8]| records.push((key.to_vec(), value.to_vec()));
        let mut binary = false;
        if let TarKind::Sparse { map } = self.kind {
            add(b"GNU.sparse.major", b"1");
            add(b"GNU.sparse.minor", b"0");
            add(b"GNU.sparse.name", name);
            add(b"GNU.sparse.realsize", map.real_size.to_string().as_bytes());
            binary |= std::str::from_utf8(name).is_err();
        } else if needs_pax_path(name) {
            add(b"path", name);
            binary |= std::str::from_utf8(name).is_err();
        }
        let link: &[u8] = match self.kind {
            TarKind::Symlink { target } => target,
            TarKind::HardLink { first } => first.as_bytes(),
            _ => b"",
        };
        if needs_pax_text(link, USTAR_NAME_MAX) {
            add(b"linkpath", link);
            binary |= std::str::from_utf8(link).is_err();
        }
        if binary {
            add(b"hdrcharset", b"BINARY");
        }
        for (key, value) in [(&b"uname"[..], &self.owner.user), (b"gname", &self.owner.group)] {
            if let Some(text) = value
                && needs_pax_text(text.as_bytes(), USTAR_OWNER_MAX)
            {
                add(key, text.as_bytes());
            }
        }
        for (key, id) in [(&b"uid"[..], self.uid), (b"gid", self.gid)] {
            if id > OCTAL_7_MAX {
                add(key, id.to_string().as_bytes());
            }
        }
        if self.body_len() > OCTAL_11_MAX {
            add(b"size", self.body_len().to_string().as_bytes());
        }
        if self.mtime.nsec != 0 || self.mtime.sec < 0 || self.mtime.sec as u64 > OCTAL_11_MAX {
            add(b"mtime", pax_time(self.mtime).as_bytes());
        }
        for xattr in self.xattrs.iter() {
            let mut key = b"SCHILY.xattr.".to_vec();
            for byte in &xattr.name {
                // as GNU tar does: the first `=` ends a keyword
                match byte {
                    b'%' => key.extend_from_slice(b"%25"),
                    b'=' => key.extend_from_slice(b"%3D"),
                    other => key.push(*other),
                }
            }
            add(&key, &xattr.value);
        }
        records.sort();
        let mut bytes = Vec::new();
        for (key, value) in &records {
            put_record(&mut bytes, key, value);
        }
        bytes
    }
}

/// Where the data of a sparse file lies, as it stands at the head of its body (GNU sparse format 1.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparseMap {
    real_size: u64,
    extents: Vec<Extent>,
    text: Vec<u8>,
}

impl SparseMap {
    /// From the extents that hold data, in order and apart. They are widened to whole blocks, because readers differ
    /// on whether data of odd lengths is padded; none for a file that has no hole worth keeping.
    pub fn new(real_size: u64, extents: &[Extent]) -> Option<Self> {
        let mut widened: Vec<Extent> = Vec::with_capacity(extents.len() + 1);
        for extent in extents {
            let start = extent.offset / BLOCK * BLOCK;
            let end = (extent.offset.saturating_add(extent.len)).next_multiple_of(BLOCK).min(real_size);
            match widened.last_mut() {
                Some(last) if last.offset + last.len >= start => {
                    last.len = end.max(last.offset + last.len) - last.offset
                }
                _ if end > start => widened.push(Extent { offset: start, len: end - start }),
                _ => {}
            }
        }
        let data: u64 = widened.iter().map(|e| e.len).sum();
        if data >= real_size {
            return None;
        }
        // the file's length is told by a last, empty extent where it ends in a hole
        if widened.last().is_none_or(|last| last.offset + last.len < real_size) {
            widened.push(Extent { offset: real_size, len: 0 });
        }
        let mut text = format!("{}\n", widened.len()).into_bytes();
        for Extent { offset, len } in &widened {
            text.extend_from_slice(format!("{offset}\n{len}\n").as_bytes());
        }
        let len = text.len() as u64;
        pad(&mut text, len);
        Some(Self { real_size, extents: widened, text })
    }

    /// The file's length, holes included.
    pub fn real_size(&self) -> u64 {
        self.real_size
    }

    /// Map and data together: the length of the body in the tar stream.
    pub fn body_len(&self) -> u64 {
        self.text.len() as u64 + self.extents.iter().map(|e| e.len).sum::<u64>()
    }

    /// The map itself, whole blocks.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The runs of data, in order; the last may be empty.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }
}

/// Appends zeros up to a whole block, after a body of `len` bytes.
pub fn pad(out: &mut Vec<u8>, len: u64) {
    out.resize(out.len() + padding(len), 0);
}

/// How many zeros follow a body of `len` bytes.
pub fn padding(len: u64) -> usize {
    (len.next_multiple_of(BLOCK) - len) as usize
}

fn put(field: &mut [u8], text: &[u8]) {
    let len = field.len().min(text.len());
    field[..len].copy_from_slice(&text[..len]);
}

/// Where a name can be cut so that the rest fits: `None` if it cannot be said in ustar.
fn split(name: &[u8]) -> Option<usize> {
    if name.len() <= USTAR_NAME_MAX {
        return Some(0);
    }
    // the slash at the cut is not stored; both parts hold something
    (1..name.len().min(USTAR_PREFIX_MAX + 1))
        .find(|at| name[*at] == b'/' && name.len() - at - 1 <= USTAR_NAME_MAX && at + 1 < name.len())
}

fn put_name(header: &mut Header, name: &[u8]) {
    let ustar = header.as_ustar_mut().expect("the header was made as ustar");
    match split(name) {
        Some(0) => put(&mut ustar.name, name),
        Some(at) => {
            put(&mut ustar.prefix, &name[..at]);
            put(&mut ustar.name, &name[at + 1..]);
        }
        None => put(&mut ustar.name, name),
    }
}

/// Names that are not UTF-8 stand raw in the ustar block where they fit, because a pax path is UTF-8 by the standard.
fn needs_pax_path(name: &[u8]) -> bool {
    match std::str::from_utf8(name) {
        Ok(text) => !text.is_ascii() || split(name).is_none(),
        Err(_) => split(name).is_none(),
    }
}

fn needs_pax_text(text: &[u8], max: usize) -> bool {
    text.len() > max || std::str::from_utf8(text).is_ok_and(|text| !text.is_ascii())
}

/// Seconds with as many decimals as are needed. Before 1970 the decimals count away from zero, as in GNU tar.
fn pax_time(time: FileTime) -> String {
    let nanos = time.as_nanos();
    let sign = if nanos < 0 { "-" } else { "" };
    let (sec, nsec) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    if nsec == 0 {
        return format!("{sign}{sec}");
    }
    format!("{sign}{sec}.{}", format!("{nsec:09}").trim_end_matches('0'))
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn put_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::{Extent, FileTime, SparseMap, pax_time, put_record, split};

    #[test]
    fn a_record_counts_its_own_digits_at_every_length() {
        for value_len in 0..2000 {
            let mut record = Vec::new();
            put_record(&mut record, b"path", &vec![b'x'; value_len]);
            let space = record.iter().position(|b| *b == b' ').expect("a space");
            let told: usize = std::str::from_utf8(&record[..space]).expect("digits").parse().expect("a number");
            assert_eq!(told, record.len(), "value of {value_len}");
        }
    }

    #[test]
    fn times_before_1970_count_away_from_zero() {
        let text = |sec, nsec| pax_time(FileTime { sec, nsec });
        assert_eq!(text(0, 0), "0");
        assert_eq!(text(1, 500_000_000), "1.5");
        assert_eq!(text(-1, 500_000_000), "-0.5");
        assert_eq!(text(-2, 999_999_999), "-1.000000001");
        assert_eq!(text(i64::MAX, 1), "9223372036854775807.000000001");
    }

    #[test]
    fn long_names_are_cut_at_a_slash_or_not_at_all() {
        assert_eq!(split(&[b'a'; 100]), Some(0));
        assert_eq!(split(&[b'a'; 101]), None);
        let name = |folder: usize, file: usize| [vec![b'd'; folder], vec![b'/'], vec![b'f'; file]].concat();
        assert_eq!(split(&name(155, 100)), Some(155));
        assert_eq!(split(&name(156, 100)), None);
        assert_eq!(split(&name(99, 101)), None);
        assert_eq!(split(&[name(155, 0).as_slice()].concat()), None, "an empty name part is no name");
    }

    #[test]
    fn extents_are_widened_to_blocks_and_a_last_hole_is_told() {
        let map = SparseMap::new(10_000, &[Extent { offset: 700, len: 10 }, Extent { offset: 1000, len: 100 }])
            .expect("there are holes");
        assert_eq!(
            map.extents(),
            [Extent { offset: 512, len: 1024 }, Extent { offset: 10_000, len: 0 }],
            "neighbours after widening are one"
        );
        assert_eq!(&map.text()[..20], b"2\n512\n1024\n10000\n0\n\0");
        assert_eq!(map.body_len(), 512 + 1024);
        assert_eq!(SparseMap::new(1000, &[Extent { offset: 0, len: 1000 }]), None, "nothing but data");
        let hole = SparseMap::new(1 << 40, &[]).expect("nothing but a hole");
        assert_eq!(hole.body_len(), 512);
    }
}
