// SPDX-License-Identifier: Apache-2.0

//! PID 1 of Nacelle's utility virtual machine.
//!
//! `boot` brings the machine up to the dial, `vsock` dials the host, `server` speaks HTTP/2 on that stream, `service`
//! answers the calls of `nacelle.agent.v1`, and `agent` is what they share. Behind it: `prepare` has `root` build the
//! workload's world on the thread of `spawn`, which lives in it from then on and starts every process (`fork`, `exec`,
//! `init`); how that world differs from the usual one is in `furnishing`, made by `mounts`, `namespaces` and `network`, and
//! what a process may do in `security`; `process` carries one call, `output` its streams within the memory of `budget`; `registry` knows what was
//! started and what is left of it; `reaper` hands out exit statuses; `cgroup` limits and kills; `statistics`
//! reads what was used, and `watch` sees what happens, which `events` keeps for those who ask. Files are the business of
//! workers: `files` carries one call, and `worker` is the process behind it (`operate`, `tree`, `file`, `resolve`; `exchange`, `heap`).
//! A network is the business of a thread: `relay` carries what passes between the interface that `tun` makes and the host's link
//! (`packets`, `fragments`, `flow`; `frames`; `denials`).
//!
//! Modules use each other in one direction only; a test holds them to it.

mod agent;
#[cfg(test)]
mod architecture;
pub mod boot;
mod bounds;
mod budget;
mod cgroup;
mod chunk;
mod clock;
mod copy_up;
mod data;
mod denials;
mod disk;
mod entropy;
mod error;
mod events;
mod exchange;
mod exec;
mod file;
mod files;
mod flow;
mod fork;
mod fragments;
mod frames;
mod furnishing;
mod heap;
mod init;
mod io;
pub mod log;
mod machine;
mod modules;
mod mounts;
mod namespaces;
mod network;
mod operate;
mod output;
mod packets;
pub mod power;
mod prepare;
mod process;
mod reaper;
mod registry;
mod relay;
mod requests;
mod resolve;
mod responses;
mod root;
mod security;
mod server;
mod service;
mod spawn;
mod statistics;
mod sysctl;
mod tree;
mod tun;
mod user;
mod vsock;
mod watch;
mod wire;
mod worker;

pub use agent::Agent;
pub use boot::run;
pub use clock::boot_nanos;
pub use machine::Machine;
pub use relay::carry_network;
pub use server::serve;

/// The messages and the service of `nacelle/agent/v1/agent.proto`.
#[allow(missing_docs)]
pub mod proto {
    tonic::include_proto!("nacelle.agent.v1");
}
