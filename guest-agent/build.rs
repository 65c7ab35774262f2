// SPDX-License-Identifier: Apache-2.0

//! Generates the messages and the service of the agent's contract.

use std::error::Error;

const ROOT: &str = "../proto/src/main/protobuf";
const FILE: &str = "nacelle/agent/v1/agent.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}/{FILE}");
    println!("cargo::rerun-if-changed=build.rs");
    let descriptors = protox::compile([FILE], [ROOT])?;
    tonic_prost_build::configure()
        .build_transport(false)
        // `Bytes`: stdin goes from the connection's buffer to the pipe, output from the pipe to the connection's.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
