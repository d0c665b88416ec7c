//! A header in a volume against its line in the manifest: one comparison, for restore and for verify.
//!
//! The danger is a header that agrees in every field and lies elsewhere: a body that begins later than the manifest
//! says, or another member smuggled in before it. So where it lies is compared as well as what it says.
//!
//! Reads no content: whoever asks hashes that.

use std::io::Read;

use crate::archive::manifest::{Entry, EntryKind};
use crate::archive::tar::{Member, MemberKind, TarReader};

/// The next header of `reader`, which begins where the manifest says that `entry` does, if it says what the manifest
/// says.
///
/// # Errors
/// What is otherwise, in words.
pub fn header_of<R: Read>(reader: &mut TarReader<R>, entry: &Entry) -> Result<Member, String> {
    let begin = reader.offset();
    let member = match reader.next_member() {
        Ok(Some(member)) => member,
        Ok(None) => return Err(format!("there is no header where {} should begin", entry.path)),
        Err(error) => return Err(format!("the header of {}: {error}", entry.path)),
    };
    match difference(&member, entry, begin) {
        None => Ok(member),
        Some(what) => Err(format!("{what} of {} is another in the volume", entry.path)),
    }
}

/// What the header says otherwise than the manifest. `begin` is where the reader stood before it read the header.
fn difference(member: &Member, entry: &Entry, begin: u64) -> Option<&'static str> {
    let kind_fits = match (&member.kind, &entry.kind) {
        (MemberKind::File, EntryKind::File)
        | (MemberKind::Folder, EntryKind::Folder)
        | (MemberKind::Fifo, EntryKind::Fifo) => true,
        (MemberKind::Symlink { target }, EntryKind::Symlink { target: told }) => target == told,
        (MemberKind::HardLink { target }, EntryKind::HardLink { first }) => **target == *first.as_bytes(),
        (MemberKind::CharDevice { special }, EntryKind::CharDevice { special: told })
        | (MemberKind::BlockDevice { special }, EntryKind::BlockDevice { special: told }) => special == told,
        _ => false,
    };
    let name = member.path.strip_suffix(b"/").unwrap_or(&member.path);
    let path = if entry.path.is_root() { &b"."[..] } else { entry.path.as_bytes() };
    // the map of a sparse file is a part of its body
    let (map, placed) = (member.map.len() as u64, entry.placed);
    let place_fits = member.offset == begin
        && Some(member.body - begin) == placed.body.checked_sub(placed.offset)
        && member.stored.checked_add(map) == Some(placed.stored);
    let checks = [
        (name == path, "the name"),
        (kind_fits, "the kind"),
        (member.mode == entry.mode, "the mode"),
        (member.uid == u64::from(entry.uid) && member.gid == u64::from(entry.gid), "the owner"),
        (member.mtime == entry.mtime, "the time"),
        (member.size == entry.size, "the length"),
        (member.extents.is_some() == entry.sparse, "the map of holes"),
        (member.xattrs.digest() == entry.xattrs, "the attributes"),
        (place_fits, "the place"),
    ];
    checks.into_iter().find(|(fits, _)| !fits).map(|(_, what)| what)
}
