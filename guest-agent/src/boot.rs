// SPDX-License-Identifier: Apache-2.0

//! From the kernel's hand-over to the dial, and from the stream's end to the power switch.
//!
//! Only what the dial needs comes before it; the host's first call takes longer to arrive than the rest to do.

use std::fs;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_remount};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::agent::{Agent, Boot, Marks};
use crate::error::{Step, StepError};
use crate::machine::Machine;
use crate::server::serve;
use crate::{clock, log, modules, network, vsock};

/// The modules to load, as the host wrote them into the initramfs.
const MODULES: &str = "/nacelle/modules";
/// What the initramfs holds for the agent's start.
const BOOT_FILES: &str = "/nacelle";

/// How long the host may take to listen.
const DIAL: Duration = Duration::from_secs(10);

/// Pipes of every process that may run, and room.
const OPEN_FILES: u64 = 1 << 16;

/// The machine's life, up to the moment to power it off; `entered` is [`crate::boot_nanos`] on entry of main. The error
/// is for the console.
pub fn run(entered: u64) -> Result<(), String> {
    mount_first().map_err(|error| error.to_string())?;
    let modules = modules::listed(Path::new(MODULES));
    let failures = modules.load_for_the_dial();
    let modules_loaded = clock::boot_nanos();
    // The host begins to speak while the other modules are loaded.
    let stream = vsock::dial(vsock::AGENT, DIAL).map_err(|errno| cannot_dial(errno, &failures))?;
    let marks = Marks { entered, modules_loaded, connected: clock::boot_nanos() };
    let failures = [failures, modules.load_the_rest()].concat();
    for failure in &failures {
        log!("{failure}");
    }
    finish();
    let broken = failures.iter().find(|failure| failure.promised).map(ToString::to_string);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("starting the event loop: {error}"))?;
    let agent = runtime.block_on(async { Agent::new(Machine::default(), Boot { marks, broken }) });
    runtime.block_on(serve(&agent, stream)).map_err(|error| format!("serving the host: {error}"))
}

fn cannot_dial(errno: Errno, failures: &[modules::Failure]) -> String {
    let reason = std::io::Error::from(errno);
    let mut message = format!("cannot dial the host on vsock (CID 2, port 1024): {reason}");
    if matches!(errno, Errno::AFNOSUPPORT | Errno::NODEV | Errno::NETUNREACH) {
        message += "; the kernel has no vsock device or driver";
    }
    for failure in failures {
        message += &format!("; {failure}");
    }
    message
}

/// What modules and the dial need.
fn mount_first() -> Result<(), StepError> {
    for (filesystem, target) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        mount_on(filesystem, target)?;
    }
    open_standard_streams();
    Ok(())
}

/// The kernel opens the console as 0, 1 and 2 where it has one. Where it has not, the next files that are opened would
/// become them.
fn open_standard_streams() {
    while let Ok(file) = open_console() {
        if file.as_raw_fd() > 2 {
            break;
        }
        let _ = file.into_raw_fd();
    }
}

fn open_console() -> std::io::Result<fs::File> {
    let open = |path| fs::File::options().read(true).write(true).open(path);
    open("/dev/console").or_else(|_| open("/dev/null"))
}

/// What the first calls need.
fn finish() {
    let report = |result: Result<(), StepError>| {
        if let Err(error) = result {
            log!("{error}");
        }
    };
    report(mount_on("cgroup2", "/sys/fs/cgroup"));
    // Linux 4.13 and later: a process's cgroup's own limits are not its to change, in whatever namespaces it makes.
    let _ = mount_remount("/sys/fs/cgroup", MountFlags::empty(), c"nsdelegate");
    report(fs::write("/proc/self/oom_score_adj", "-1000").step(|| "leaving the OOM killer's list".into()));
    let limit = Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) };
    report(setrlimit(Resource::Nofile, limit).step(|| "raising the limit of open files".into()));
    report(set_dumpable_behavior(DumpableBehavior::NotDumpable).step(|| "hiding from ptrace(2)".into()));
    report(network::set_up());
    // As distributions do: a link or a file that somebody else put into a shared directory leads no program astray.
    for name in ["protected_hardlinks", "protected_symlinks", "protected_fifos", "protected_regular"] {
        let _ = fs::write(Path::new("/proc/sys/fs").join(name), "1");
    }
    // The modules are in the kernel now; their files would only hold memory.
    let _ = fs::remove_dir_all(BOOT_FILES);
}

fn mount_on(filesystem: &str, target: &str) -> Result<(), StepError> {
    let step = || format!("mounting {filesystem} on {target}");
    match fs::create_dir(target) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error).step(step),
        _ => {}
    }
    match mount(filesystem, target, filesystem, MountFlags::empty(), c"") {
        // The kernel mounted it itself (CONFIG_DEVTMPFS_MOUNT).
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(errno) => Err(errno).step(step),
    }
}
