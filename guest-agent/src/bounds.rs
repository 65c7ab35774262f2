// SPDX-License-Identifier: Apache-2.0

//! What a process may be asked to be, in size. The kernel has most of these bounds, too; held before anything is made of
//! the request, they keep what the agent spends on it in proportion.

use crate::proto::ProcessSpec;

/// PATH_MAX of linux/limits.h, without the NUL.
const MAX_PATH_BYTES: usize = 4095;
/// Directories that a command is looked up in.
const MAX_PATH_ENTRIES: usize = 256;
const MAX_USER_BYTES: usize = 512;
/// Arguments and variables together.
const MAX_STRINGS: usize = 1 << 16;
/// What execve(2) has room for below a stack limit of 8 MiB, with a NUL and a pointer for each string.
const MAX_STRINGS_BYTES: usize = 2 << 20;
const BYTES_BESIDES: usize = 1 + size_of::<u64>();
/// The largest message that the host sends: a process's strings, and room for the rest of `start`.
pub(crate) const MAX_REQUEST_BYTES: usize = MAX_STRINGS_BYTES + (64 << 10);
/// Of a message for people.
const MAX_MESSAGE_BYTES: usize = 1024;

/// Says what breaks the contract.
pub(crate) fn check(specification: &ProcessSpec) -> Result<(), String> {
    let at_most = |what: &str, length: usize, most: usize| match length <= most {
        true => Ok(()),
        false => Err(format!("{what}: {length} bytes are more than {most}")),
    };
    let Some(command) = specification.arguments.first() else {
        return Err("no arguments: the first is the command".into());
    };
    at_most("the command", command.len(), MAX_PATH_BYTES)?;
    at_most("executable", specification.executable.len(), MAX_PATH_BYTES)?;
    at_most("working_directory", specification.working_directory.len(), MAX_PATH_BYTES)?;
    at_most("user", specification.user.len(), MAX_USER_BYTES)?;
    let strings = || specification.arguments.iter().chain(&specification.environment);
    let count = strings().count();
    if count > MAX_STRINGS {
        return Err(format!("{count} arguments and variables are more than {MAX_STRINGS}"));
    }
    let bytes = strings().map(|string| string.len() + BYTES_BESIDES).sum();
    at_most("the arguments and variables together", bytes, MAX_STRINGS_BYTES)?;
    match specification.environment.iter().find_map(|entry| entry.strip_prefix("PATH=")) {
        Some(path) if path.split(':').nth(MAX_PATH_ENTRIES).is_some() => {
            Err(format!("PATH has more than {MAX_PATH_ENTRIES} directories"))
        }
        _ => Ok(()),
    }
}

/// A message for people, cut where it is longer than any of them reads.
pub(crate) fn message(mut text: String) -> String {
    if text.len() > MAX_MESSAGE_BYTES {
        let end = (0..=MAX_MESSAGE_BYTES - '…'.len_utf8()).rev().find(|&end| text.is_char_boundary(end));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::run_process_request::Request;
    use crate::proto::{RunProcessRequest, Seccomp, Security};

    fn specification() -> ProcessSpec {
        ProcessSpec { arguments: vec!["true".into()], ..ProcessSpec::default() }
    }

    #[test]
    fn what_execve_has_room_for_is_taken() {
        let long = "x".repeat(MAX_PATH_BYTES);
        let path = format!("PATH={}", vec!["/x"; MAX_PATH_ENTRIES].join(":"));
        let most = ProcessSpec {
            arguments: vec![long.clone()],
            environment: vec![path],
            working_directory: long,
            user: "u".repeat(MAX_USER_BYTES),
            ..specification()
        };
        assert_eq!(check(&most), Ok(()));
        let many = vec![String::new(); MAX_STRINGS];
        assert_eq!(check(&ProcessSpec { arguments: many, ..specification() }), Ok(()));
        let full = vec!["x".repeat(MAX_PATH_BYTES - BYTES_BESIDES); MAX_STRINGS_BYTES / MAX_PATH_BYTES];
        assert_eq!(check(&ProcessSpec { arguments: full, ..specification() }), Ok(()));
    }

    /// However it is made up: a string's tag and length take less than what it counts for besides its bytes.
    #[test]
    fn the_largest_start_fits_into_a_request() {
        let path = "x".repeat(MAX_PATH_BYTES);
        let seccomp = Some(Seccomp { filter: vec![0; 8 * 4096].into(), flags: u32::MAX });
        let security = Some(Security { seccomp, additional_gids: vec![u32::MAX; 1024], ..Security::default() });
        let user = "u".repeat(MAX_USER_BYTES);
        let rest = ProcessSpec { executable: path.clone(), working_directory: path, user, security, ..specification() };
        let room = MAX_STRINGS_BYTES - BYTES_BESIDES - "true".len();
        let empty = vec![String::new(); MAX_STRINGS - 1];
        let even = vec!["x".repeat(room / (MAX_STRINGS - 1) - BYTES_BESIDES); MAX_STRINGS - 1];
        for environment in [empty, even, vec!["x".repeat(room - BYTES_BESIDES)]] {
            let start = ProcessSpec { environment, ..rest.clone() };
            assert_eq!(check(&start), Ok(()));
            let request = RunProcessRequest { request: Some(Request::Start(start)), ..Default::default() };
            assert!(request.encoded_len() <= MAX_REQUEST_BYTES - 4096, "{}", request.encoded_len());
        }
    }

    #[test]
    fn more_than_that_is_named() {
        let long = "x".repeat(MAX_PATH_BYTES + 1);
        for (specification, words) in [
            (ProcessSpec::default(), "no arguments: the first is the command"),
            (
                ProcessSpec { arguments: vec![long.clone()], ..specification() },
                "the command: 4096 bytes are more than 4095",
            ),
            (
                ProcessSpec { working_directory: long, ..specification() },
                "working_directory: 4096 bytes are more than 4095",
            ),
            (ProcessSpec { user: "u".repeat(513), ..specification() }, "user: 513 bytes are more than 512"),
            (
                ProcessSpec { environment: vec![String::new(); MAX_STRINGS], ..specification() },
                "65537 arguments and variables are more than 65536",
            ),
            (
                ProcessSpec { environment: vec!["x".repeat(MAX_STRINGS_BYTES)], ..specification() },
                "the arguments and variables together: ",
            ),
            (
                ProcessSpec { environment: vec![format!("PATH={}", ":".repeat(256))], ..specification() },
                "PATH has more than 256 directories",
            ),
        ] {
            let refusal = check(&specification).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        assert_eq!(message("é".repeat(512)), "é".repeat(512));
        let cut = message("é".repeat(513));
        assert_eq!(cut, format!("{}…", "é".repeat(510)));
    }
}
