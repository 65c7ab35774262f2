// SPDX-License-Identifier: Apache-2.0

//! The workload's sysctls: sysctl(8).

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Step, StepError};
use crate::proto::Sysctl;

const MAX: usize = 256;
const MAX_NAME_BYTES: usize = 255;
const MAX_VALUE_BYTES: usize = 1024;

/// Says what breaks the contract.
pub(crate) fn check(sysctls: &[Sysctl]) -> Result<(), String> {
    if sysctls.len() > MAX {
        return Err(format!("{} sysctls are more than {MAX}", sysctls.len()));
    }
    let named = |sysctl: &&Sysctl| {
        let mut parts = sysctl.name.split('.');
        sysctl.name.len() > MAX_NAME_BYTES
            || sysctl.name.contains('\0')
            || parts.any(|part| matches!(part, "" | "/" | "//"))
    };
    if let Some(sysctl) = sysctls.iter().find(named) {
        return Err(format!("'{}' is no sysctl's name", sysctl.name));
    }
    match sysctls.iter().find(|sysctl| sysctl.value.len() > MAX_VALUE_BYTES || sysctl.value.contains(['\n', '\0'])) {
        Some(sysctl) => Err(format!("the value of {} is not one line of at most {MAX_VALUE_BYTES} bytes", sysctl.name)),
        None => Ok(()),
    }
}

/// Sets them in the namespaces of the calling thread, whose /proc is the kernel's.
pub(crate) fn set(sysctls: &[Sysctl]) -> Result<(), StepError> {
    sysctls.iter().try_for_each(|Sysctl { name, value }| {
        let written = fs::OpenOptions::new()
            .write(true)
            .open(path(name))
            .and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()));
        written.step(|| format!("setting the sysctl {name} to '{value}'")).map_err(|error| match error.errno {
            Errno::NOENT => {
                StepError { step: format!("setting the sysctl {name}, which this kernel does not have"), ..error }
            }
            _ => error,
        })
    })
}

/// Limits the System V shared memory of the calling thread's IPC namespace, where the kernel has it. It outlives the
/// processes that made it, so the OOM killer could not make room.
pub(crate) fn limit_system_v(bytes: u64) -> Result<(), StepError> {
    let pages = bytes / 4096; // of x86-64
    match fs::write(path("kernel.shmall"), format!("{}\n", pages.max(1))) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        written => written.step(|| "limiting System V shared memory".into()),
    }
}

fn path(name: &str) -> PathBuf {
    let swap = |character| match character {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    Path::new("/proc/sys").join(name.chars().map(swap).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysctl(name: &str, value: &str) -> Sysctl {
        Sysctl { name: name.into(), value: value.into() }
    }

    #[test]
    fn a_name_is_a_path() {
        assert_eq!(path("net.core.somaxconn"), Path::new("/proc/sys/net/core/somaxconn"));
        assert_eq!(path("net.ipv4.conf.eth0/100.forwarding"), Path::new("/proc/sys/net/ipv4/conf/eth0.100/forwarding"));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        assert_eq!(check(&[sysctl("kernel.shmmax", "1"), sysctl("net.ipv4.conf.eth0/1.x", "a b\tc")]), Ok(()));
        for name in ["", ".", ".kernel", "kernel..shmmax", "kernel./.shmmax", "kernel.//.sys", "a\0", &"x".repeat(256)]
        {
            assert_eq!(check(&[sysctl(name, "1")]), Err(format!("'{name}' is no sysctl's name")));
        }
    }

    #[test]
    fn values_and_their_number_have_bounds() {
        for value in ["1\n2", "\0", &"x".repeat(1025)] {
            assert!(check(&[sysctl("a.b", value)]).unwrap_err().contains("the value of a.b"), "{value}");
        }
        assert_eq!(check(&vec![sysctl("a.b", ""); 257]), Err("257 sysctls are more than 256".into()));
    }

    #[test]
    fn one_that_the_kernel_does_not_have_is_named() {
        let error = set(&[sysctl("kernel.no_such_thing", "1")]).unwrap_err().to_string();
        assert_eq!(
            error,
            "setting the sysctl kernel.no_such_thing, which this kernel does not have: No such file or directory (os error 2)"
        );
    }
}
