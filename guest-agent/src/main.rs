// SPDX-License-Identifier: Apache-2.0

//! The init of the utility virtual machine: see the library.
//!
//! Without Rust's own start-up, which aborts when 0, 1 and 2 are closed and there is no /dev/null: the state in which a
//! kernel without a console starts its init.
#![no_main]

use nacelle_agent::{boot_nanos, log, power};

/// C's main, which the C runtime calls.
// SAFETY: no other symbol of this name is linked.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let entered = boot_nanos();
    if std::process::id() != 1 {
        log!("this is the init of a Nacelle virtual machine; it does not run elsewhere");
        return 2;
    }
    power::off_on_panic();
    // SAFETY: no thread exists yet. Rust's start-up would do the same.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    if let Err(message) = nacelle_agent::run(entered) {
        log!("{message}");
    }
    power::off();
    1
}
