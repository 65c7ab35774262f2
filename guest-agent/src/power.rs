// SPDX-License-Identifier: Apache-2.0

//! The machine's end. The return of PID 1 would be a kernel panic; a machine that hangs would cost its host a time-out.

use rustix::system::{RebootCommand, reboot};

use crate::log;

/// Powers the machine off. Returns only where the kernel refuses. Nothing is flushed first: of disks that outlive it Shutdown
/// has taken care, where there was one.
pub fn off() {
    if let Err(error) = reboot(RebootCommand::PowerOff) {
        log!("powering off: {error}");
    }
}

/// Makes a panic of the agent a message on the console and the machine's end.
pub fn off_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        log!("{panic}");
        off();
    }));
}
