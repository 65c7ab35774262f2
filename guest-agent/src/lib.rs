// SPDX-License-Identifier: Apache-2.0

//! PID 1 of Nacelle's utility virtual machine.
//!
//! `boot` brings the machine up to the dial, `vsock` dials the host, `server` speaks HTTP/2 on that stream, `service`
//! answers the calls of `nacelle.agent.v1`. Behind it: `root` builds the workload's world on the thread of `spawn`,
//! which lives in it from then on and starts every process (`exec`, `init`); `process` carries one process's streams;
//! `reaper` hands out exit statuses; `cgroup` limits and kills.

pub mod boot;
mod bounds;
mod cgroup;
mod clock;
mod disk;
mod entropy;
mod error;
mod exec;
mod init;
mod io;
pub mod log;
mod machine;
mod modules;
pub mod power;
mod process;
mod reaper;
mod root;
mod server;
mod service;
mod spawn;
mod sysctl;
mod user;
mod vsock;

pub use boot::run;
pub use clock::boot_nanos;
pub use machine::Machine;
pub use server::serve;
pub use service::Agent;

/// The messages and the service of `nacelle/agent/v1/agent.proto`.
#[allow(missing_docs)]
pub mod proto {
    tonic::include_proto!("nacelle.agent.v1");
}
