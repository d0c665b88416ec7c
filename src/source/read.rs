//! Reading one open file, and extended attributes.
//!
//! Never by memory map: a file that is cut under a map kills the program.

use std::os::fd::OwnedFd;

use rustix::fs::{Advice, SeekFrom};
use rustix::io::Errno;

use super::error::SourceError;
use super::folder::stat_fd;
use crate::domain::{Extent, Kind, Stat, Xattr, Xattrs};

/// A file with more runs of data than this is stored with its holes filled: its map alone would be megabytes.
const EXTENTS_MAX: usize = 1 << 16;

/// The kernel's own limits (xattr(7)).
const LIST_BYTES_MAX: usize = 64 << 10;
const VALUE_BYTES_MAX: usize = 64 << 10;

/// An entry with more than this is stored without: a header is held in memory.
const ATTRIBUTES_BYTES_MAX: usize = 1 << 20;

/// How often attributes that change between two calls are asked for again.
const ATTRIBUTE_TRIES: usize = 4;

/// An open regular file.
#[derive(Debug)]
pub struct OpenFile {
    fd: OwnedFd,
    stat: Stat,
}

impl OpenFile {
    pub(super) fn new(fd: OwnedFd, stat: Stat) -> Self {
        Self { fd, stat }
    }

    /// A file that somebody else opened, by handle and for reading.
    ///
    /// # Errors
    /// [`SourceError::Replaced`] if it is no regular file.
    pub fn from_handle(fd: OwnedFd) -> Result<Self, SourceError> {
        let stat = stat_fd(&fd)?;
        if stat.kind == Kind::File { Ok(Self::new(fd, stat)) } else { Err(SourceError::Replaced) }
    }

    /// As it was when it was opened.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// As it is now.
    ///
    /// # Errors
    /// If the machine does not say.
    pub fn stat_now(&self) -> Result<Stat, SourceError> {
        stat_fd(&self.fd)
    }

    /// Reads from `offset` until `into` is full or the file ends; gives how much.
    ///
    /// # Errors
    /// If the machine cannot read.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, SourceError> {
        let mut done = 0;
        while done < into.len() {
            match rustix::io::pread(&self.fd, &mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(len) => done += len,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(SourceError::Unreadable(errno.into())),
            }
        }
        Ok(done)
    }

    /// Whether it takes less of the disk than its length, so that asking for holes is worth it.
    pub fn is_sparse(&self) -> bool {
        self.stat.allocated < self.stat.size
    }

    /// The runs of data between the holes, as far as the length it had when it was opened. Everything, where the
    /// file system does not know or there are too many.
    ///
    /// # Errors
    /// If the machine cannot say.
    pub fn extents(&self) -> Result<Vec<Extent>, SourceError> {
        let size = self.stat.size;
        let everything = || vec![Extent { offset: 0, len: size }];
        let mut extents = Vec::new();
        let mut at = 0;
        while at < size {
            let start = match rustix::fs::seek(&self.fd, SeekFrom::Data(at)) {
                Ok(start) => start.min(size),
                // no data from here on
                Err(Errno::NXIO) => break,
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(everything()),
                Err(errno) => return Err(SourceError::Unreadable(errno.into())),
            };
            let end = match rustix::fs::seek(&self.fd, SeekFrom::Hole(start)) {
                Ok(end) => end.min(size),
                Err(Errno::NXIO) => size,
                Err(errno) => return Err(SourceError::Unreadable(errno.into())),
            };
            if end > start {
                extents.push(Extent { offset: start, len: end - start });
            }
            if extents.len() > EXTENTS_MAX {
                return Ok(everything());
            }
            // a file that changes under us could answer in a circle
            at = end.max(at + 1);
        }
        Ok(extents)
    }

    /// Its extended attributes.
    ///
    /// # Errors
    /// [`SourceError::Attributes`] if they cannot be read.
    pub fn xattrs(&self) -> Result<Xattrs, SourceError> {
        read_attributes(
            |into| rustix::fs::flistxattr(&self.fd, into),
            |name, into| rustix::fs::fgetxattr(&self.fd, name, into),
        )
    }

    /// Tells the kernel that it will be read from beginning to end.
    pub fn will_read(&self) {
        // advice only: where it is not understood nothing is lost
        let _ = rustix::fs::fadvise(&self.fd, 0, None, Advice::Sequential);
    }
}

/// Lists and reads extended attributes by the calls that reach them.
pub(super) fn read_attributes(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&std::ffi::CStr, &mut [u8]) -> Result<usize, Errno>,
) -> Result<Xattrs, SourceError> {
    let fail = |errno: Errno| SourceError::Attributes(errno.into());
    // nearly every entry has none: a small buffer on the stack answers that without asking for the size first
    let mut small = [0; 256];
    let names = match list(&mut small) {
        Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Xattrs::default()),
        Ok(len) => small[..len].to_vec(),
        Err(Errno::RANGE) => {
            let mut large = vec![0; LIST_BYTES_MAX];
            let len = list(&mut large).map_err(fail)?;
            large.truncate(len);
            large
        }
        Err(Errno::NOENT) => return Err(SourceError::Vanished),
        Err(errno) => return Err(fail(errno)),
    };
    let mut found = Vec::new();
    let mut bytes = 0;
    for name in names.split_inclusive(|b| *b == 0) {
        let Ok(name) = std::ffi::CStr::from_bytes_with_nul(name) else { continue };
        let mut value = vec![0; 256];
        for attempt in 1.. {
            match get(name, &mut value) {
                Ok(len) => {
                    value.truncate(len);
                    bytes += name.to_bytes().len() + len;
                    if bytes > ATTRIBUTES_BYTES_MAX {
                        return Err(fail(Errno::TOOBIG));
                    }
                    found.push(Xattr { name: name.to_bytes().into(), value: value.into() });
                    break;
                }
                Err(Errno::RANGE) if attempt < ATTRIBUTE_TRIES => value = vec![0; VALUE_BYTES_MAX],
                // it went between the two calls
                Err(Errno::NODATA) => break,
                Err(errno) => return Err(fail(errno)),
            }
        }
    }
    Ok(Xattrs::new(found))
}
