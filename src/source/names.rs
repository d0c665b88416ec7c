//! Names of users and groups, from `/etc/passwd` and `/etc/group`.
//!
//! Read once and by hand: a static program in a bare container has no name service. Users that only a directory
//! server knows are stored by number, which is what a restore elsewhere needs anyway.

use std::collections::HashMap;

use crate::domain::Owner;

/// Who is who on this machine.
#[derive(Clone, Debug, Default)]
pub struct Names {
    users: HashMap<u32, Box<str>>,
    groups: HashMap<u32, Box<str>>,
    user_numbers: HashMap<Box<str>, u32>,
    group_numbers: HashMap<Box<str>, u32>,
}

impl Names {
    /// Reads the machine's files. What cannot be read gives no names.
    pub fn load() -> Self {
        let table = |path| parse(&std::fs::read(path).unwrap_or_default());
        let ((users, user_numbers), (groups, group_numbers)) = (table("/etc/passwd"), table("/etc/group"));
        Self { users, groups, user_numbers, group_numbers }
    }

    /// The number of a user; the first of that name, as in the C library.
    pub fn user(&self, name: &str) -> Option<u32> {
        self.user_numbers.get(name).copied()
    }

    /// The number of a group.
    pub fn group(&self, name: &str) -> Option<u32> {
        self.group_numbers.get(name).copied()
    }

    /// Whether these names belong to other numbers now, or these numbers to other names. What one of both does not know
    /// says nothing: names may be missing in a container.
    pub fn contradict(&self, uid: u32, gid: u32, then: &Owner) -> bool {
        let differ = |now: Option<&Box<str>>, then: &Option<Box<str>>| matches!((now, then), (Some(now), Some(then)) if now != then);
        differ(self.users.get(&uid), &then.user) || differ(self.groups.get(&gid), &then.group)
    }

    /// The names of an owner.
    pub fn owner(&self, uid: u32, gid: u32) -> Owner {
        Owner { user: self.users.get(&uid).cloned(), group: self.groups.get(&gid).cloned() }
    }
}

/// `name:password:number:…`; the first line of a number, and of a name, counts, as in the C library.
fn parse(text: &[u8]) -> (HashMap<u32, Box<str>>, HashMap<Box<str>, u32>) {
    let (mut names, mut numbers) = (HashMap::new(), HashMap::new());
    for line in text.split(|b| *b == b'\n') {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next().and_then(|name| std::str::from_utf8(name).ok());
        let number = fields.nth(1).and_then(|n| std::str::from_utf8(n).ok()).and_then(|n| n.parse().ok());
        if let (Some(name), Some(number)) = (name, number)
            && !name.is_empty()
            && !name.starts_with('#')
            && !name.contains('\0')
        {
            names.entry(number).or_insert_with(|| name.into());
            numbers.entry(name.into()).or_insert(number);
        }
    }
    (names, numbers)
}

#[cfg(test)]
mod tests {
    use super::{Names, parse};
    use crate::domain::Owner;

    #[test]
    fn a_name_that_another_number_has_now_is_a_contradiction_and_one_that_nobody_knows_is_none() {
        let names = Names { users: [(7, "web".into())].into(), groups: [(8, "www".into())].into(), ..Names::default() };
        let owner = |user: Option<&str>, group: Option<&str>| Owner {
            user: user.map(Into::into),
            group: group.map(Into::into),
        };
        assert!(!names.contradict(7, 8, &owner(Some("web"), Some("www"))));
        assert!(names.contradict(7, 8, &owner(Some("mail"), Some("www"))));
        assert!(names.contradict(7, 8, &owner(None, Some("mail"))));
        for (uid, gid, then) in [(7, 8, owner(None, None)), (1, 2, owner(Some("mail"), Some("x")))] {
            assert!(!names.contradict(uid, gid, &then), "{uid} {gid}");
        }
    }

    #[test]
    fn the_first_name_of_a_number_counts_and_odd_lines_are_passed_over() {
        let (names, numbers) = parse(b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n#c:x:5:\n:x:6:\nbad\n+\nweb:x:33:33:::\nn:x:-1:\n\xff:x:7:");
        assert_eq!(names.get(&0).map(|n| &**n), Some("root"));
        assert_eq!(names.get(&33).map(|n| &**n), Some("web"));
        assert_eq!(names.len(), 2);
        assert_eq!((numbers.get("toor"), numbers.get("web"), numbers.len()), (Some(&0), Some(&33), 3));
    }
}
