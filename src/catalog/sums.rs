//! `SHA256SUMS`: what `sha256sum -c` reads.
//!
//! Exactly one text says a given list, and reading refuses every other, so that a flipped bit in it cannot hide.

use crate::domain::Digest;

/// Checksums by file name, in order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums(Vec<(String, Digest)>);

/// A text that is not in the one form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not `SHA256  NAME`, or not in order of names")]
pub struct SumsError {
    /// Counted from 1.
    pub line: usize,
}

impl Sums {
    /// Sorts by name.
    ///
    /// # Panics
    /// If a name is there twice.
    pub fn new(mut all: Vec<(String, Digest)>) -> Self {
        all.sort();
        assert!(all.windows(2).all(|pair| pair[0].0 != pair[1].0), "a folder holds a name once");
        Self(all)
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Digest)> {
        self.0.iter().map(|(name, digest)| (name.as_str(), *digest))
    }

    /// The file's checksum.
    pub fn get(&self, name: &str) -> Option<Digest> {
        self.iter().find(|(known, _)| *known == name).map(|(_, digest)| digest)
    }

    /// As it stands in the file.
    pub fn encode(&self) -> String {
        self.0.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect()
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// If it is not exactly what `encode` would give.
    pub fn parse(text: &[u8]) -> Result<Self, SumsError> {
        let mut all: Vec<(String, Digest)> = Vec::new();
        let mut rest = text;
        let mut line = 0;
        while !rest.is_empty() {
            line += 1;
            let refuse = || SumsError { line };
            let end = rest.iter().position(|b| *b == b'\n').ok_or_else(refuse)?;
            let (this, next) = rest.split_at(end);
            let this = std::str::from_utf8(this).map_err(|_| refuse())?;
            let (digest, name) = this.split_once("  ").ok_or_else(refuse)?;
            let digest = digest.parse().map_err(|_| refuse())?;
            if name.is_empty()
                || name.contains(['/', '\\'])
                || all.last().is_some_and(|(last, _)| last.as_str() >= name)
            {
                return Err(refuse());
            }
            all.push((name.to_owned(), digest));
            rest = &next[1..];
        }
        Ok(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, Sums};

    #[test]
    fn sums_come_back_and_every_flipped_bit_is_refused_or_another_list() {
        let sums = Sums::new(vec![("b.tar".into(), Digest::of(b"b")), ("a.json".into(), Digest::of(b"a"))]);
        let text = sums.encode().into_bytes();
        assert_eq!(Sums::parse(&text), Ok(sums.clone()));
        for bit in 0..text.len() * 8 {
            let mut harmed = text.clone();
            harmed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Sums::parse(&harmed), Ok(sums.clone()), "bit {bit}");
        }
    }
}
