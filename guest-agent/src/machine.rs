// SPDX-License-Identifier: Apache-2.0

//! Where the machine's parts are.

use std::path::PathBuf;

/// Paths of what the kernel offers; the default is what a virtual machine has. Tests that run the agent on a kernel that
/// is not its own give others.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The block devices of sysfs: `<name>/serial`.
    pub block: PathBuf,
    /// The device nodes.
    pub devices: PathBuf,
    /// The cgroup v2 hierarchy below which the workload's cgroup is made.
    pub cgroup: PathBuf,
    /// A directory to mount the parts of the workload's root on, in a mount namespace of its own.
    pub staging: PathBuf,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            block: "/sys/block".into(),
            devices: "/dev".into(),
            cgroup: "/sys/fs/cgroup".into(),
            staging: "/run".into(),
        }
    }
}
