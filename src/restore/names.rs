//! Owners: from the names and numbers of the snapshot to the numbers of this machine.

use crate::domain::Owner;
use crate::source::Names;

/// Whose the restored entries shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// By name where this machine knows it, else by number.
    Name,
    /// By number.
    Number,
    /// Whoever restores.
    None,
}

/// Maps owners.
#[derive(Debug)]
pub(super) struct Owners {
    ownership: Ownership,
    names: Names,
}

impl Owners {
    pub(super) fn new(ownership: Ownership) -> Self {
        let names = if ownership == Ownership::Name { Names::load() } else { Names::default() };
        Self { ownership, names }
    }

    /// User and group, if they are to be set.
    pub(super) fn of(&self, owner: &Owner, uid: u32, gid: u32) -> Option<(u32, u32)> {
        match self.ownership {
            Ownership::None => None,
            Ownership::Number => Some((uid, gid)),
            Ownership::Name => {
                let user = owner.user.as_deref().and_then(|name| self.names.user(name));
                let group = owner.group.as_deref().and_then(|name| self.names.group(name));
                Some((user.unwrap_or(uid), group.unwrap_or(gid)))
            }
        }
    }
}
