// SPDX-License-Identifier: Apache-2.0

//! Entropy from the host for the kernel's pool: random(4).

use std::fs::File;
use std::path::Path;

use rustix::ioctl::{Setter, ioctl, opcode};

use crate::error::{Step, StepError};

/// The most that one call takes, so that the kernel's structure has a fixed size.
pub(crate) const MAX_BYTES: usize = 512;

/// `struct rand_pool_info` of linux/random.h.
#[repr(C)]
struct PoolInfo {
    entropy_bits: i32,
    buffer_bytes: i32,
    buffer: [u8; MAX_BYTES],
}

/// _IOW('R', 0x03, int[2]): the kernel declares it with the size of the structure's fixed part.
const RNDADDENTROPY: u32 = opcode::write::<[i32; 2]>(b'R', 0x03);
/// _IO('R', 0x07)
const RNDRESEEDCRNG: u32 = opcode::none(b'R', 0x07);

/// Credits `bytes` (at most [`MAX_BYTES`]) to the pool behind `random`, and reseeds the generator from it.
pub(crate) fn credit(random: &Path, bytes: &[u8]) -> Result<(), StepError> {
    let mut info =
        PoolInfo { entropy_bits: bytes.len() as i32 * 8, buffer_bytes: bytes.len() as i32, buffer: [0; MAX_BYTES] };
    info.buffer[..bytes.len()].copy_from_slice(bytes);
    let device = File::options().write(true).open(random).step(|| format!("opening {}", random.display()))?;
    // SAFETY: the kernel reads a rand_pool_info and `buffer_bytes` bytes after it, which the structure holds.
    unsafe { ioctl(&device, Setter::<RNDADDENTROPY, PoolInfo>::new(info)) }
        .step(|| "crediting the host's entropy (RNDADDENTROPY)".into())?;
    // SAFETY: RNDRESEEDCRNG takes no argument. Kernels before 4.14 lack it, and reseed by themselves later.
    let _ = unsafe { ioctl(&device, rustix::ioctl::NoArg::<RNDRESEEDCRNG>::new()) };
    Ok(())
}
