// SPDX-License-Identifier: Apache-2.0

//! The agent on this machine's own kernel: its calls, over a Unix socket in place of vsock.

mod apart;
mod data;
mod ending;
mod entrypoint;
mod files;
mod furnished;
mod held;
mod image;
mod limits;
mod network;
mod prepare;
mod reports;
mod security;
mod sight;
mod start;
mod streams;
mod support;
mod terminal;
mod users;
mod world;
