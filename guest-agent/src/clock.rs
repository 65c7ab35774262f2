// SPDX-License-Identifier: Apache-2.0

//! The machine's clocks.

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use crate::error::{Step, StepError};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// CLOCK_BOOTTIME in nanoseconds.
pub fn boot_nanos() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * NANOS_PER_SECOND + now.tv_nsec as u64
}

/// Sets the wall clock to a time in nanoseconds since the Unix epoch.
pub(crate) fn set_realtime(nanos: u64) -> Result<(), StepError> {
    let time = Timespec { tv_sec: (nanos / NANOS_PER_SECOND) as i64, tv_nsec: (nanos % NANOS_PER_SECOND) as i64 };
    clock_settime(ClockId::Realtime, time).step(|| "setting the clock".into())
}
