#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs Cargo for Maven: says what to install where there is none, and keeps this machine's paths out of the binary, so
# that the same sources and compiler give the same file everywhere.
set -eu
cd "$(dirname "$0")"

command -v cargo >/dev/null || {
  echo "The guest agent is written in Rust, and there is no cargo on the PATH. Install Rust 1.85 or newer:" >&2
  echo "  Debian 12:  apt-get install cargo-web rustc-web" >&2
  echo "  elsewhere:  https://rustup.rs" >&2
  exit 1
}

flags="'--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo', '--remap-path-prefix=$PWD=/guest-agent'"
command=$1
shift
exec cargo "$command" --config "target.x86_64-unknown-linux-gnu.rustflags=[$flags]" "$@"
