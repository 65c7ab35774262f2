// SPDX-License-Identifier: Apache-2.0

//! Users and groups by the rules of an image's configuration (OCI image specification, config.User), against the
//! image's own passwd(5) and group(5), which may hold anything.

use std::fmt;

/// The largest uid_t and gid_t: one more is (uid_t) -1, which means "unchanged" to setresuid(2).
const MAX_ID: u32 = u32::MAX - 1;

/// NGROUPS_MAX of linux/limits.h.
const MAX_GROUPS: usize = 65536;

/// Who a process runs as.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups: `gid`, and those whose members name the user, unless a group was given. `gid` is one of them
    /// so that a process which changes its group, as by a set-group-ID file, stays a member of its own: a file closed to
    /// that group would open to it otherwise (CVE-2022-36109).
    pub(crate) groups: Vec<u32>,
    pub(crate) home: Vec<u8>,
}

/// A user or a group that is not there.
#[derive(Debug, PartialEq)]
pub(crate) enum Unknown {
    User(String),
    Group(String),
    /// The file that would say who that is cannot be read.
    Unreadable(String, String),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "no user '{name}' in the image's /etc/passwd"),
            Self::Group(name) => write!(f, "no group '{name}' in the image's /etc/group"),
            Self::Unreadable(name, why) => write!(f, "'{name}' is a name, not a number, and {why}"),
        }
    }
}

/// Resolves "", "user", "uid", "user:group", "uid:gid", "uid:group" or "user:gid". A number need not be in the files, nor
/// need they be readable for it: what the workload makes of them keeps nobody out who is named by number.
///
/// `read` gives the content of a file below /etc, empty when there is none, or says why it cannot.
pub(crate) fn resolve(
    specification: &str,
    read: impl Fn(&'static str) -> Result<Vec<u8>, String>,
) -> Result<Identity, Unknown> {
    let file = |name, who: &str, number: Option<u32>| match read(name) {
        Err(why) if number.is_none() => Err(Unknown::Unreadable(who.into(), why)),
        content => Ok(content.unwrap_or_default()),
    };
    let (user, group_name) = specification.split_once(':').unwrap_or((specification, ""));
    let user = if user.is_empty() { "0" } else { user };
    let user_id = id(user.as_bytes());
    let passwd = file("passwd", user, user_id)?;
    let entry = users(&passwd).find(|entry| entry.name == user.as_bytes() || Some(entry.uid) == user_id);
    let mut identity = match (&entry, user_id) {
        (Some(entry), _) => Identity { uid: entry.uid, gid: entry.gid, groups: Vec::new(), home: entry.home.into() },
        (None, Some(uid)) => Identity { uid, gid: 0, groups: Vec::new(), home: Vec::new() },
        (None, None) => return Err(Unknown::User(user.into())),
    };
    if identity.home.is_empty() {
        identity.home = b"/".into();
    }
    if !group_name.is_empty() {
        let group_id = id(group_name.as_bytes());
        let group = file("group", group_name, group_id)?;
        let named = groups(&group).find(|entry| entry.name == group_name.as_bytes()).map(|entry| entry.gid);
        identity.gid = named.or(group_id).ok_or_else(|| Unknown::Group(group_name.into()))?;
    }
    identity.groups.push(identity.gid);
    if let (Some(entry), true) = (entry, group_name.is_empty()) {
        let group = file("group", user, user_id)?;
        let others = groups(&group)
            .filter(|group| group.gid != identity.gid)
            .filter(|group| group.members.split(|&byte| byte == b',').any(|member| member == entry.name))
            .map(|group| group.gid);
        identity.groups.extend(others.take(MAX_GROUPS - 1));
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
        resolved_in(specification, PASSWD, GROUP)
    }

    fn resolved_in(specification: &str, passwd: &[u8], group: &[u8]) -> Result<Identity, Unknown> {
        resolve(specification, |name| Ok(if name == "passwd" { passwd } else { group }.into()))
    }

    #[test]
    fn nothing_is_root() {
        assert_eq!(resolved(""), identity(0, 0, &[0, 10], "/root"));
        assert_eq!(resolved_in("", b"", b""), identity(0, 0, &[0], "/"));
    }

    #[test]
    fn a_name_brings_its_groups_and_its_home() {
        assert_eq!(resolved("app"), identity(1000, 1001, &[1001, 10, 29], "/home/app"));
    }

    #[test]
    fn a_number_that_is_known_is_that_user() {
        assert_eq!(resolved("1000"), resolved("app"));
    }

    #[test]
    fn a_number_that_is_unknown_has_the_root_group() {
        assert_eq!(resolved("4242"), identity(4242, 0, &[0], "/"));
    }

    #[test]
    fn a_given_group_replaces_all_groups() {
        assert_eq!(resolved("app:audio"), identity(1000, 29, &[29], "/home/app"));
        assert_eq!(resolved("app:55"), identity(1000, 55, &[55], "/home/app"));
        assert_eq!(resolved("1000:wheel"), identity(1000, 10, &[10], "/home/app"));
        assert_eq!(resolved("4242:4343"), identity(4242, 4343, &[4343], "/"));
    }

    #[test]
    fn an_empty_half_is_the_default() {
        assert_eq!(resolved(":wheel"), identity(0, 10, &[10], "/root"));
        assert_eq!(resolved("app:"), resolved("app"));
    }

    #[test]
    fn a_name_of_digits_is_a_name_before_it_is_a_number() {
        assert_eq!(resolved("7"), identity(70, 70, &[70], "/seven"));
        assert_eq!(resolved("app:12"), identity(1000, 120, &[120], "/home/app"));
    }

    #[test]
    fn a_user_without_a_home_has_the_root_directory() {
        assert_eq!(resolved("homeless"), identity(1002, 1002, &[1002], "/"));
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
        assert_eq!(resolved("4294967294:4294967294"), identity(4294967294, 4294967294, &[4294967294], "/"));
        for specification in ["4294967295", "4294967296", "99999999999999999999", "-1", "+1", " 1", "0x1"] {
            assert_eq!(resolved(specification), Err(Unknown::User(specification.into())), "{specification}");
        }
        // (uid_t) -1 means "unchanged" to setresuid(2): such an entry must not become a way to stay root.
        assert_eq!(resolved_in("x", b"x:x:4294967295:4294967295::/:\n", b""), Err(Unknown::User("x".into())));
    }

    #[test]
    fn a_group_that_is_named_twice_is_one() {
        let group = b"app:x:1001:app\naudio:x:29:app\n";
        assert_eq!(resolved_in("app", PASSWD, group), identity(1000, 1001, &[1001, 29], "/home/app"));
    }

    #[test]
    fn numbers_need_no_files() {
        let unreadable = |specification: &str| resolve(specification, |_| Err("it is a directory".into()));
        assert_eq!(unreadable(""), identity(0, 0, &[0], "/"));
        assert_eq!(unreadable("1000:29"), identity(1000, 29, &[29], "/"));
        for (specification, name) in [("app", "app"), ("1000:audio", "audio"), ("app:29", "app")] {
            let unknown = Unknown::Unreadable(name.into(), "it is a directory".into());
            assert_eq!(unreadable(specification), Err(unknown), "{specification}");
        }
        let only_passwd = |specification: &str| {
            resolve(specification, |name| if name == "passwd" { Ok(PASSWD.into()) } else { Err("?".into()) })
        };
        assert_eq!(only_passwd("1000"), identity(1000, 1001, &[1001], "/home/app"));
        assert_eq!(only_passwd("app"), Err(Unknown::Unreadable("app".into(), "?".into())));
    }

    proptest! {
        #[test]
        fn any_files_give_an_answer(specification in ".{0,20}", passwd: Vec<u8>, group: Vec<u8>) {
            if let Ok(identity) = resolved_in(&specification, &passwd, &group) {
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
            let found = resolved_in("Nobody", passwd.as_bytes(), b"");
            prop_assert_eq!(found, identity(uid, gid, &[gid], "/h"));
        }
    }
}
