//! How deep a snapshot is verified, and which part of it.
//!
//! A sample takes turns: of a snapshot's frames each run reads the next part, so that everything has been read when the
//! turns are through. Which part is arithmetic; the number of the turn is remembered by whoever asks.

use std::num::NonZeroU8;
use std::ops::Range;

/// How deep. Each level proves what the one before it proves, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Names, sizes, records and the whole manifest: nothing is missing or cut. No byte of a volume is read.
    Quick,
    /// Every stored byte against its checksums.
    Stored,
    /// Every byte decompressed: every header against the manifest, every file's sha256, nothing besides.
    Deep,
    /// Restored into a scratch folder and compared with the manifest, after every stored byte.
    Drill,
}

impl Level {
    /// The word for people and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Stored => "stored",
            Self::Deep => "deep",
            Self::Drill => "drill",
        }
    }
}

/// How much of a snapshot one run reads: 1 to 100 per cent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(NonZeroU8);

/// No share of a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a share such as 10%: a whole number from 1 to 100")]
pub struct PercentError(String);

impl std::str::FromStr for Percent {
    type Err = PercentError;

    fn from_str(text: &str) -> Result<Self, PercentError> {
        let number = text.strip_suffix('%').unwrap_or(text).trim();
        let known = number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse::<NonZeroU8>().ok()).flatten();
        known.filter(|n| n.get() <= 100).map(Self).ok_or_else(|| PercentError(text.to_owned()))
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Percent {
    /// In how many runs everything has been seen: 100 divided by it, rounded up.
    pub fn turns(self) -> u32 {
        100_u32.div_ceil(u32::from(self.0.get()))
    }
}

/// One of so many parts of a snapshot's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// Which, from 1.
    pub number: u32,
    /// Of how many.
    pub of: u32,
}

impl Part {
    /// The part whose turn it is, after `last`. With another share the turns begin anew.
    pub fn after(last: Option<Self>, percent: Percent) -> Self {
        let of = percent.turns();
        match last {
            Some(last) if last.of == of && last.number < of => Self { number: last.number + 1, of },
            _ => Self { number: 1, of },
        }
    }

    /// Its share of `count` things in a row. The shares of all parts follow each other, and differ by one at the most.
    pub fn share(self, count: u64) -> Range<u64> {
        let cut = |parts: u32| {
            let cut = u128::from(count) * u128::from(parts.min(self.of)) / u128::from(self.of.max(1));
            u64::try_from(cut).expect("not more than `count`")
        };
        cut(self.number.saturating_sub(1))..cut(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, Percent};

    #[test]
    fn every_sample_comes_to_everything_in_its_turns_in_shares_that_differ_by_one() {
        let mut looked = 0_u64;
        for percent in 1..=100_u32 {
            let share: Percent = format!("{percent}%").parse().expect("a share");
            assert_eq!(share.turns(), 100_u32.div_ceil(percent));
            for count in (0..=250_u64).chain([999, 1000, 1001, u64::MAX]) {
                let (mut last, mut end, mut least, mut most) = (None, 0, u64::MAX, 0);
                for turn in 1..=share.turns() {
                    let part = Part::after(last, share);
                    assert_eq!(part, Part { number: turn, of: share.turns() });
                    let frames = part.share(count);
                    assert_eq!(frames.start, end, "{percent} of {count}: nothing is left out, nothing is read twice");
                    let len = frames.end - frames.start;
                    (end, least, most) = (frames.end, least.min(len), most.max(len));
                    last = Some(part);
                    looked += 1;
                }
                assert_eq!(end, count, "{percent}% of {count}");
                assert!(most - least <= 1, "{percent}% of {count}: {least} to {most}");
                assert_eq!(Part::after(last, share).number, 1, "and then from the beginning");
            }
        }
        assert!(looked > 100_000);
    }

    #[test]
    fn another_share_begins_anew_and_what_is_no_share_is_refused() {
        let ten: Percent = "10%".parse().expect("a share");
        assert_eq!(Part::after(Some(Part { number: 3, of: 4 }), ten), Part { number: 1, of: 10 });
        for text in ["0%", "101%", "", "%", "ten", "-5%", "+5%", "1.5%", "300"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
        assert_eq!("10".parse(), Ok(ten));
    }
}
