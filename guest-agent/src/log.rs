// SPDX-License-Identifier: Apache-2.0

//! What people need to see of a machine that does not work, on its console (file descriptor 2).
//!
//! Nothing is written in a machine that works: the console may be a serial port at milliseconds a line.

use rustix::io::write;

/// Writes one line to the console. A console that cannot be written is nobody's loss.
pub fn line(message: &str) {
    let _ = write(rustix::stdio::stderr(), format!("nacelle-agent: {message}\n").as_bytes());
}

/// Formats one line for the console.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { $crate::log::line(&format!($($argument)*)) };
}
