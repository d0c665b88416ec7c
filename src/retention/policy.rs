//! What somebody wants to keep.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many snapshots of which kind stay. A snapshot stays if any rule wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of the newest so many hours that have one; calendar hours of the job's zone.
    pub hourly: u32,
    /// Likewise of days.
    pub daily: u32,
    /// Likewise of ISO weeks, which begin on Monday.
    pub weekly: u32,
    /// Likewise of months.
    pub monthly: u32,
    /// Likewise of years.
    pub yearly: u32,
    /// Everything that is not older than this before now.
    pub within: Option<Duration>,
    /// So many good ones stay, the newest of them, whatever the other rules say.
    pub floor: u32,
    /// If more than so many would be removed at once, none is.
    pub max_removals: u32,
}

impl Default for Policy {
    /// No rule, so nothing is ever removed. With a rule, at least 3 stay, and at most 50 go at once.
    fn default() -> Self {
        Self {
            last: 0,
            hourly: 0,
            daily: 0,
            weekly: 0,
            monthly: 0,
            yearly: 0,
            within: None,
            floor: 3,
            max_removals: 50,
        }
    }
}

impl Policy {
    /// Whether anything is ever removed by it.
    pub fn has_rules(&self) -> bool {
        let counts = [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        self.within.is_some() || counts.iter().any(|count| *count > 0)
    }
}
