// SPDX-License-Identifier: Apache-2.0

//! Where the machine's parts are, and how much memory it has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::system::sysinfo;

use crate::error::{Step, StepError};

/// Paths of what the kernel offers; the default is what a virtual machine has. Tests that run the agent on a kernel that
/// is not its own give others.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The block devices of sysfs: `<name>/serial`.
    pub block: PathBuf,
    /// The devices of Hyper-V's VMBus in sysfs: `<controller>/host*/target*:0:0/*:0:0:<lun>/block/<name>`.
    pub vmbus: PathBuf,
    /// The device nodes.
    pub devices: PathBuf,
    /// The cgroup v2 hierarchy below which the workload's cgroup is made.
    pub cgroup: PathBuf,
    /// A directory to mount the parts of the workload's root on, in a mount namespace of its own.
    pub staging: PathBuf,
    /// A Unix socket in the place of the host's port for the workload's network.
    pub network: Option<PathBuf>,
    /// The agent's executable, where nobody else has a use for it.
    pub executable: Option<PathBuf>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            block: "/sys/block".into(),
            vmbus: "/sys/bus/vmbus/devices".into(),
            devices: "/dev".into(),
            cgroup: "/sys/fs/cgroup".into(),
            staging: "/run".into(),
            network: None,
            executable: Some("/init".into()),
        }
    }
}

impl Machine {
    /// Puts away, in the calling thread's mount namespace, what has no use once the workload is prepared: should a process
    /// of it get hold of something in that namespace, it finds no disk, and no switch of the kernel's.
    pub(crate) fn put_away(&self) -> Result<(), StepError> {
        unmount(&self.devices, UnmountFlags::DETACH)
            .step(|| format!("detaching the agent's {}", self.devices.display()))?;
        for path in ["/proc", "/sys"] {
            let flags =
                MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            mount_remount(path, flags, c"").step(|| format!("making the agent's {path} read-only"))?;
        }
        if let Some(executable) = &self.executable {
            // A new process is a copy of the agent until execve(2), and its /proc/self/exe is the agent's executable. Without
            // a mode to execute it by, not even root can make that its command, or the interpreter of its script.
            fs::set_permissions(executable, PermissionsExt::from_mode(0o000))
                .and_then(|()| fs::remove_file(executable))
                .step(|| format!("removing the agent's {}", executable.display()))?;
        }
        Ok(())
    }
}

/// MemTotal of /proc/meminfo.
pub(crate) fn memory_bytes() -> u64 {
    let memory = sysinfo();
    memory.totalram * u64::from(memory.mem_unit)
}
