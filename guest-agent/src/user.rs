// SPDX-License-Identifier: Apache-2.0

//! Users and groups by the rules of an image's configuration (OCI image specification, config.User), against the
//! image's own passwd(5) and group(5), which may hold anything.

use std::fmt;

/// Docker's bound: larger numbers do not survive conversions to a signed 32-bit number in common programs.
const MAX_ID: u32 = i32::MAX as u32;

/// NGROUPS_MAX of linux/limits.h.
const MAX_GROUPS: usize = 65536;

/// Who a process runs as.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups: those whose members name the user, unless a group was given.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: Vec<u8>,
}

/// A user or a group that is not there.
#[derive(Debug, PartialEq)]
pub(crate) enum Unknown {
    User(String),
    Group(String),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "no user '{name}' in the image's /etc/passwd"),
            Self::Group(name) => write!(f, "no group '{name}' in the image's /etc/group"),
        }
    }
}

/// Resolves "", "user", "uid", "user:group", "uid:gid", "uid:group" or "user:gid". A number need not be in the files.
pub(crate) fn resolve(specification: &str, passwd: &[u8], group: &[u8]) -> Result<Identity, Unknown> {
    let (user, group_name) = specification.split_once(':').unwrap_or((specification, ""));
    let user = if user.is_empty() { "0" } else { user };
    let user_id = id(user.as_bytes());
    let entry = users(passwd).find(|entry| entry.name == user.as_bytes() || Some(entry.uid) == user_id);
    let mut identity = match (&entry, user_id) {
        (Some(entry), _) => Identity { uid: entry.uid, gid: entry.gid, groups: Vec::new(), home: entry.home.into() },
        (None, Some(uid)) => Identity { uid, gid: 0, groups: Vec::new(), home: Vec::new() },
        (None, None) => return Err(Unknown::User(user.into())),
    };
    if identity.home.is_empty() {
        identity.home = b"/".into();
    }
    if !group_name.is_empty() {
        let named = groups(group).find(|entry| entry.name == group_name.as_bytes()).map(|entry| entry.gid);
        let gid = named.or_else(|| id(group_name.as_bytes()));
        identity.gid = gid.ok_or_else(|| Unknown::Group(group_name.into()))?;
    } else if let Some(user) = entry {
        identity.groups = groups(group)
            .filter(|group| group.members.split(|&byte| byte == b',').any(|member| member == user.name))
            .map(|group| group.gid)
            .take(MAX_GROUPS)
            .collect();
    }
    Ok(identity)
}

struct UserEntry<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

struct GroupEntry<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

/// name:password:uid:gid:gecos:home:shell. Lines that are none are skipped, as the C library does.
fn users(passwd: &[u8]) -> impl Iterator<Item = UserEntry<'_>> {
    lines(passwd).filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        let home = fields.nth(1).unwrap_or_default();
        Some(UserEntry { name, uid, gid, home })
    })
}

/// name:password:gid:member,member
fn groups(group: &[u8]) -> impl Iterator<Item = GroupEntry<'_>> {
    lines(group).filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = id(fields.nth(1)?)?;
        Some(GroupEntry { name, gid, members: fields.next().unwrap_or_default() })
    })
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    // A NUL cannot be part of a name or a path that the kernel takes.
    file.split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.starts_with(b"#") && !line.contains(&0))
}

/// Digits only: "+1" and " 1" are names.
fn id(field: &[u8]) -> Option<u32> {
    if field.is_empty() || !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(field).ok()?.parse().ok().filter(|&id| id <= MAX_ID)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        # comment:x:9:9::/:\n\
        broken\n\
        also:x:broken:0::/:\n\
        app:x:1000:1001:The App,,,:/home/app:/bin/sh\n\
        7:x:70:70::/seven:\n\
        homeless:x:1002:1002\n";
    const GROUP: &[u8] =
        b"root:x:0:\nwheel:x:10:root,app\napp:x:1001:\naudio:x:29:apple,app\nvideo:x:44:apple\n12:x:120:\n";

    fn identity(uid: u32, gid: u32, groups: &[u32], home: &str) -> Result<Identity, Unknown> {
        Ok(Identity { uid, gid, groups: groups.into(), home: home.into() })
    }

    fn resolved(specification: &str) -> Result<Identity, Unknown> {
        resolve(specification, PASSWD, GROUP)
    }

    #[test]
    fn nothing_is_root() {
        assert_eq!(resolved(""), identity(0, 0, &[10], "/root"));
        assert_eq!(resolve("", b"", b""), identity(0, 0, &[], "/"));
    }

    #[test]
    fn a_name_brings_its_groups_and_its_home() {
        assert_eq!(resolved("app"), identity(1000, 1001, &[10, 29], "/home/app"));
    }

    #[test]
    fn a_number_that_is_known_is_that_user() {
        assert_eq!(resolved("1000"), resolved("app"));
    }

    #[test]
    fn a_number_that_is_unknown_has_the_root_group() {
        assert_eq!(resolved("4242"), identity(4242, 0, &[], "/"));
    }

    #[test]
    fn a_given_group_replaces_all_groups() {
        assert_eq!(resolved("app:audio"), identity(1000, 29, &[], "/home/app"));
        assert_eq!(resolved("app:55"), identity(1000, 55, &[], "/home/app"));
        assert_eq!(resolved("1000:wheel"), identity(1000, 10, &[], "/home/app"));
        assert_eq!(resolved("4242:4343"), identity(4242, 4343, &[], "/"));
    }

    #[test]
    fn an_empty_half_is_the_default() {
        assert_eq!(resolved(":wheel"), identity(0, 10, &[], "/root"));
        assert_eq!(resolved("app:"), resolved("app"));
    }

    #[test]
    fn a_name_of_digits_is_a_name_before_it_is_a_number() {
        assert_eq!(resolved("7"), identity(70, 70, &[], "/seven"));
        assert_eq!(resolved("app:12"), identity(1000, 120, &[], "/home/app"));
    }

    #[test]
    fn a_user_without_a_home_has_the_root_directory() {
        assert_eq!(resolved("homeless"), identity(1002, 1002, &[], "/"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        assert_eq!(resolved("nobody"), Err(Unknown::User("nobody".into())));
        assert_eq!(resolved("app:staff"), Err(Unknown::Group("staff".into())));
        assert_eq!(resolved("broken"), Err(Unknown::User("broken".into())));
        assert_eq!(resolved("# comment"), Err(Unknown::User("# comment".into())));
    }

    #[test]
    fn numbers_have_a_bound_and_no_sign() {
        assert_eq!(resolved("2147483647").map(|identity| identity.uid), Ok(i32::MAX as u32));
        for specification in ["2147483648", "4294967295", "99999999999999999999", "-1", "+1", " 1", "0x1"] {
            assert_eq!(resolved(specification), Err(Unknown::User(specification.into())), "{specification}");
        }
        // (uid_t) -1 means "unchanged" to setresuid(2): such an entry must not become a way to stay root.
        assert_eq!(resolve("x", b"x:x:4294967295:4294967295::/:\n", b""), Err(Unknown::User("x".into())));
    }

    proptest! {
        #[test]
        fn any_files_give_an_answer(specification in ".{0,20}", passwd: Vec<u8>, group: Vec<u8>) {
            if let Ok(identity) = resolve(&specification, &passwd, &group) {
                prop_assert!(identity.uid <= MAX_ID && identity.gid <= MAX_ID);
                prop_assert!(!identity.home.is_empty() && !identity.home.contains(&0));
            }
        }

        #[test]
        fn an_entry_is_found_among_any_others(
            before in "[a-z:0-9\n]{0,60}",
            after in "[a-z:0-9\n]{0,60}",
            uid in 0..=MAX_ID,
            gid in 0..=MAX_ID,
        ) {
            let passwd = format!("{before}\nNobody:x:{uid}:{gid}::/h:/bin/sh\n{after}");
            let found = resolve("Nobody", passwd.as_bytes(), b"");
            prop_assert_eq!(found, identity(uid, gid, &[], "/h"));
        }
    }
}
