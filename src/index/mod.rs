//! Making a lost manifest and record anew, from the volumes alone.
//!
//! For the day on which the small files of a snapshot are gone or damaged and its tarballs are not. Everything that the
//! tar streams say is read again, every byte hashed; a new folder is made beside with links to the same volumes, and takes
//! the snapshot's name in one rename, after the old folder went to the trash. So nothing is lost by trying, and a death
//! in between leaves the old folder in the trash, from where it can be taken back.
//!
//! What only the manifest knew is gone: inodes, change times, what the run could not read. The new record says so.
//! Entries are sorted in memory, about half a kilobyte for each. A damaged volume is not indexed.

mod rebuild;
mod scan;

pub use rebuild::{IndexError, Indexed, index};
