// SPDX-License-Identifier: Apache-2.0

//! Numbers of the contract as the kernel's own types.

use rustix::process::Signal;
use rustix::termios::Winsize;
use tonic::Status;

use crate::proto::WindowSize;

/// A signal by its number.
pub(crate) fn signal_of(number: u32) -> Result<Signal, Status> {
    let number = i32::try_from(number).ok().filter(|number| (1..=64).contains(number)).ok_or(number);
    let number = number.map_err(|number| Status::invalid_argument(format!("signal {number} is not in 1 to 64")))?;
    // SAFETY: the kernel defines these numbers; the two that the C library keeps for itself are never handled here.
    Ok(unsafe { Signal::from_raw_unchecked(number) })
}

/// A terminal's size; 80 by 24 where it is not given.
pub(crate) fn window_size(size: Option<WindowSize>) -> Result<Winsize, Status> {
    let size = size.unwrap_or_default();
    let bounded = |number: u32, default: u16| match u16::try_from(number) {
        Ok(0) => Ok(default),
        Ok(number) => Ok(number),
        Err(_) => Err(Status::invalid_argument("a terminal has at most 65535 rows and columns")),
    };
    Ok(Winsize { ws_row: bounded(size.rows, 24)?, ws_col: bounded(size.columns, 80)?, ws_xpixel: 0, ws_ypixel: 0 })
}
